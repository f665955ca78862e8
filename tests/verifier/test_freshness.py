"""Cache-Control of another server costs as much as it is long, and no more."""

from __future__ import annotations

import time

import pytest

from authsvc_client.verifier.freshness import freshness

LONG, SHORT = 65_536, 4_096  # characters; the long one costs 16 times as much, by squares 256 times
TOO_MUCH = 64


@pytest.mark.finding("11.3")
@pytest.mark.parametrize(
    ("begin", "filling", "end"),
    [
        ("a", " ", "!"),
        ("", " ", "!"),
        ("max-age", " ", "=300!"),
        ("max-age=", " ", "!"),
        ("", "a", "!"),
        ("", ",", "!"),
        ("", '"', "="),
        ("max-age=", "9", "!"),
    ],
)
def test_the_cost_grows_with_the_length_and_not_with_its_square(
    begin: str, filling: str, end: str
) -> None:
    def cost(length: int) -> int:
        """CPU time of this thread, which other processes do not spend; the least of some."""
        text = begin + filling * length + end
        least = 2**62
        for _ in range(10):
            before = time.thread_time_ns()
            freshness(text)
            least = min(least, time.thread_time_ns() - before)
        return least

    assert cost(LONG) < TOO_MUCH * cost(SHORT)


@pytest.mark.finding("11.3")
def test_a_malformed_directive_says_nothing() -> None:
    assert freshness("") == freshness("max-age=soon")
    assert freshness("") == freshness("max-age=")
    assert freshness("") == freshness("max-age=12345678901")
    assert freshness("max-age=60") == freshness(' Max-Age = "60" ')
