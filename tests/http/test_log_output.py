"""No sink of the log can stop the service that logs."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

import pytest

from authsvc.observe.log_output import Background, dropped


@pytest.fixture(autouse=True)
def none_dropped() -> None:
    dropped.take()


def test_lines_are_written_in_order_and_all_of_them_by_the_end(tmp_path: Path) -> None:
    with (tmp_path / "log").open("wb") as file:
        log = Background(file.fileno())
        for number in range(100):
            log.write(str(number))
        log.end()
        log.write("after the end")

    assert [*map(str, range(100)), "after the end"] == (tmp_path / "log").read_text().splitlines()
    assert 0 == dropped.take()


@pytest.mark.finding("P19")
def test_lines_beyond_the_queue_are_dropped_and_counted_while_a_pipe_is_not_read() -> None:
    """The writer hangs in the pipe with some of the ten that wait, and the rest are lost."""
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    with suppress(BlockingIOError):
        while True:
            os.write(writer, b"x" * 4096)
    os.set_blocking(writer, True)
    log = Background(writer, max_lines=10)

    for _ in range(100):
        log.write("line")

    assert 90 == dropped.take()
    os.close(reader)  # the writer gets an error, and goes on
    log.end()
    os.close(writer)


@pytest.mark.finding("P19")
def test_lines_that_the_sink_refuses_are_counted() -> None:
    full = os.open("/dev/full", os.O_WRONLY)
    log = Background(full)

    log.write("one")
    log.write("two")
    log.end()

    assert 2 == dropped.take()
    os.close(full)


@pytest.mark.finding("P19")
def test_a_closed_pipe_does_not_end_the_writer(tmp_path: Path) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    log = Background(writer)
    log.write("lost")
    log.end()

    with (tmp_path / "log").open("wb") as file:
        os.dup2(file.fileno(), writer)
    log.write("written")

    assert (tmp_path / "log").read_text() == "written\n"
    assert 1 == dropped.take()
    os.close(writer)
