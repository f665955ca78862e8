"""Admission to costly work: memory, threads, waiting time (SECURITY P7)."""

from __future__ import annotations

import asyncio
import os
import sys
import threading
from collections.abc import AsyncIterator, Callable
from datetime import timedelta

import pytest

from authsvc.keys import passwords
from authsvc.keys.hashing_queue import HashingQueue
from authsvc.keys.passwords import PasswordHasher
from authsvc.protocol.errors import Overloaded
from tests.support.waiting import HANGS, eventually


class Work:
    """Work that goes on until it is told to end; counts how many run at a time."""

    def __init__(self) -> None:
        self.end = threading.Event()
        self.lock = threading.Lock()
        self.running = 0
        self.most = 0
        self.done: list[str] = []

    def named(self, name: str) -> Callable[[], str]:
        def work() -> str:
            with self.lock:
                self.running += 1
                self.most = max(self.most, self.running)
            assert self.end.wait(HANGS)
            with self.lock:
                self.running -= 1
                self.done.append(name)
            return name

        return work


def queue_with(
    *,
    threads: int = 1,
    budget_kib: int = 1000,
    usual_kib: int = 100,
    usual_seconds: float = 0.001,
    queue_seconds: float = HANGS,
) -> HashingQueue:
    return HashingQueue(
        threads=threads,
        budget_kib=budget_kib,
        usual_kib=usual_kib,
        usual_seconds=usual_seconds,
        queue_seconds=queue_seconds,
    )


@pytest.fixture
async def work() -> AsyncIterator[Work]:
    made = Work()
    yield made
    made.end.set()


@pytest.mark.requirement("P7")
async def test_no_more_than_the_threads_run_at_a_time(work: Work) -> None:
    queue = queue_with(threads=2)
    tasks = [asyncio.create_task(queue.run(work.named(n), memory_kib=100)) for n in "abcde"]

    await eventually(lambda: work.running == 2)
    assert (2, 3) == (queue.running, queue.queued)
    work.end.set()

    assert list("abcde") == await asyncio.gather(*tasks)
    assert 2 == work.most
    await eventually(lambda: (0, 0) == (queue.running, queue.queued))
    queue.close()


@pytest.mark.requirement("P7")
async def test_no_more_runs_than_the_memory_allows(work: Work) -> None:
    queue = queue_with(threads=8, budget_kib=350)
    tasks = [asyncio.create_task(queue.run(work.named(n), memory_kib=100)) for n in "abcde"]

    await eventually(lambda: work.running == 3)
    assert (3, 2) == (queue.running, queue.queued)
    work.end.set()
    await asyncio.gather(*tasks)

    assert 3 == work.most
    queue.close()


@pytest.mark.requirement("P7")
async def test_work_that_needs_more_waits_for_more(work: Work) -> None:
    """A hash with larger, older parameters; nobody overtakes it for ever."""
    queue = queue_with(threads=4, budget_kib=400)
    small = [asyncio.create_task(queue.run(work.named(n), memory_kib=100)) for n in "ab"]
    await eventually(lambda: work.running == 2)
    large = asyncio.create_task(queue.run(work.named("large"), memory_kib=400))
    behind = asyncio.create_task(queue.run(work.named("c"), memory_kib=100))
    await eventually(lambda: queue.queued == 2)

    work.end.set()
    await asyncio.gather(*small, large, behind)

    assert "large" == work.done[2]
    queue.close()


@pytest.mark.requirement("P7")
async def test_a_wait_that_would_be_too_long_is_refused_at_once(work: Work) -> None:
    queue = queue_with(usual_seconds=1.0, queue_seconds=2.5)
    tasks = [asyncio.create_task(queue.run(work.named(n), memory_kib=100)) for n in "abc"]
    await eventually(lambda: queue.queued == 2)

    with pytest.raises(Overloaded) as caught:
        await queue.run(work.named("d"), memory_kib=100)

    assert timedelta(seconds=3) == caught.value.retry_after
    work.end.set()
    assert list("abc") == await asyncio.gather(*tasks)
    assert list("abc") == work.done
    queue.close()


@pytest.mark.finding("11.4")
@pytest.mark.requirement("P7")
async def test_networks_take_turns(work: Work) -> None:
    """One that sends more than can be hashed waits behind its own."""
    queue = queue_with()
    arrivals = ["a0", "a1", "a2", "a3", "b0", "c0", "b1"]
    tasks = []
    for count, name in enumerate(arrivals):
        run = queue.run(work.named(name), memory_kib=100, network=name[0])
        tasks.append(asyncio.create_task(run))
        await eventually(lambda: queue.queued + queue.running > count)  # noqa: B023 - in this turn

    assert (1, 6) == (queue.running, queue.queued)
    work.end.set()
    await asyncio.gather(*tasks)

    assert ["a0", "a1", "b0", "c0", "a2", "b1", "a3"] == work.done
    queue.close()


@pytest.mark.finding("11.4")
@pytest.mark.requirement("P7")
async def test_a_full_queue_of_one_network_is_not_full_for_another(work: Work) -> None:
    queue = queue_with(usual_seconds=1.0, queue_seconds=3.5)
    tasks = [
        asyncio.create_task(queue.run(work.named(f"a{n}"), memory_kib=100, network="a"))
        for n in range(4)
    ]
    await eventually(lambda: queue.queued == 3)

    with pytest.raises(Overloaded) as caught:
        queue.refuse_if_full("a")
    assert timedelta(seconds=4) == caught.value.retry_after
    queue.refuse_if_full("b")
    tasks.append(asyncio.create_task(queue.run(work.named("b0"), memory_kib=100, network="b")))
    await eventually(lambda: queue.queued == 4)
    work.end.set()

    assert ["a0", "a1", "a2", "a3", "b0"] == await asyncio.gather(*tasks)
    assert ["a0", "a1", "b0", "a2", "a3"] == work.done
    queue.close()


@pytest.mark.finding("11.4")
@pytest.mark.requirement("P7")
async def test_who_gives_up_leaves_no_network_behind(work: Work) -> None:
    queue = queue_with()
    tasks = [
        asyncio.create_task(queue.run(work.named(name), memory_kib=100, network=name))
        for name in "abc"
    ]
    await eventually(lambda: queue.queued == 2)

    tasks[1].cancel()
    await eventually(lambda: queue.queued == 1)
    work.end.set()

    assert ["a", "c"] == [await tasks[0], await tasks[2]]
    queue.close()


@pytest.mark.requirement("P7", "F23")
async def test_a_caller_can_ask_before_it_does_anything_else(work: Work) -> None:
    """While there is room nothing happens; then the same refusal, at no cost."""
    queue = queue_with(usual_seconds=1.0, queue_seconds=2.5)
    queue.refuse_if_full()
    tasks = [asyncio.create_task(queue.run(work.named(n), memory_kib=100)) for n in "ab"]
    await eventually(lambda: queue.queued == 1)
    queue.refuse_if_full()
    tasks.append(asyncio.create_task(queue.run(work.named("c"), memory_kib=100)))
    await eventually(lambda: queue.queued == 2)

    with pytest.raises(Overloaded) as caught:
        queue.refuse_if_full()

    assert timedelta(seconds=3) == caught.value.retry_after
    work.end.set()
    await asyncio.gather(*tasks)
    queue.refuse_if_full()
    queue.close()


@pytest.mark.requirement("P7")
async def test_retry_after_is_at_least_a_whole_second(work: Work) -> None:
    queue = queue_with(usual_seconds=0.3, queue_seconds=0.2)
    task = asyncio.create_task(queue.run(work.named("a"), memory_kib=100))
    await eventually(lambda: work.running == 1)

    with pytest.raises(Overloaded) as caught:
        await queue.run(work.named("b"), memory_kib=100)

    assert timedelta(seconds=1) == caught.value.retry_after
    work.end.set()
    await task
    queue.close()


@pytest.mark.requirement("P7")
async def test_work_that_waited_too_long_is_refused_and_never_done(work: Work) -> None:
    """The estimate was wrong: what ran took longer than expected."""
    queue = queue_with(usual_seconds=0.001, queue_seconds=0.05)
    first = asyncio.create_task(queue.run(work.named("a"), memory_kib=100))
    await eventually(lambda: work.running == 1)

    with pytest.raises(Overloaded, match="waited too long"):
        await queue.run(work.named("b"), memory_kib=100)

    assert 0 == queue.queued
    work.end.set()
    await first
    assert ["a"] == work.done
    queue.close()


@pytest.mark.requirement("P7")
async def test_work_whose_caller_has_gone_is_never_done(work: Work) -> None:
    queue = queue_with()
    first = asyncio.create_task(queue.run(work.named("a"), memory_kib=100))
    await eventually(lambda: work.running == 1)
    gone = asyncio.create_task(queue.run(work.named("gone"), memory_kib=100))
    stays = asyncio.create_task(queue.run(work.named("c"), memory_kib=100))
    await eventually(lambda: queue.queued == 2)

    gone.cancel()
    await eventually(lambda: queue.queued == 1)
    work.end.set()

    assert ("a", "c") == (await first, await stays)
    assert ["a", "c"] == work.done
    queue.close()


@pytest.mark.requirement("P7")
async def test_memory_is_free_only_when_the_thread_is_done(work: Work) -> None:
    """A caller that goes away does not stop its thread."""
    queue = queue_with()
    first = asyncio.create_task(queue.run(work.named("a"), memory_kib=100))
    await eventually(lambda: work.running == 1)
    first.cancel()
    await asyncio.gather(first, return_exceptions=True)
    second = asyncio.create_task(queue.run(work.named("b"), memory_kib=100))
    await eventually(lambda: queue.queued == 1)

    assert 1 == queue.running
    work.end.set()
    assert "b" == await second
    assert 1 == work.most
    queue.close()


@pytest.mark.requirement("P7", "F08")
async def test_a_storm_of_cancellations_loses_no_slot() -> None:
    queue = queue_with(threads=2, usual_seconds=1e-6)
    for round_ in range(200):
        tasks = [asyncio.create_task(queue.run(lambda: None, memory_kib=100)) for _ in range(6)]
        for _ in range(round_ % 7):
            await asyncio.sleep(0)
        for task in tasks[round_ % 3 :: 2]:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    await eventually(lambda: (0, 0) == (queue.running, queue.queued))
    assert 7 == await queue.run(lambda: 7, memory_kib=1000)
    queue.close()


async def test_work_that_fails_frees_its_slot() -> None:
    queue = queue_with()

    def fail() -> None:
        raise ArithmeticError

    with pytest.raises(ArithmeticError):
        await queue.run(fail, memory_kib=100)

    assert 7 == await queue.run(lambda: 7, memory_kib=100)
    queue.close()


async def test_closing_refuses_what_waits_and_finishes_what_runs(work: Work) -> None:
    queue = queue_with()
    first = asyncio.create_task(queue.run(work.named("a"), memory_kib=100))
    await eventually(lambda: work.running == 1)
    second = asyncio.create_task(queue.run(work.named("b"), memory_kib=100))
    await eventually(lambda: queue.queued == 1)

    queue.close()
    work.end.set()

    assert "a" == await first
    with pytest.raises(Overloaded, match="closed"):
        await second
    with pytest.raises(Overloaded, match="closed"):
        await queue.run(work.named("c"), memory_kib=100)


def test_a_budget_below_one_hash_is_a_mistake() -> None:
    with pytest.raises(ValueError, match="budget"):
        queue_with(budget_kib=99)


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere threads have no niceness")
async def test_hashing_yields_the_processor_to_everything_else() -> None:
    queue = queue_with()

    niceness = await queue.run(
        lambda: os.getpriority(os.PRIO_PROCESS, threading.get_native_id()), memory_kib=100
    )

    assert niceness > os.getpriority(os.PRIO_PROCESS, 0)
    queue.close()


@pytest.mark.requirement("P7", "F23")
async def test_a_flood_neither_blocks_the_loop_nor_waits_for_ever(
    work: Work, monkeypatch: pytest.MonkeyPatch
) -> None:
    """200 logins at once, one thread: the refusals are there before the first hash is."""

    def computed(*_: object) -> bool:
        return work.named("hash")() == ""

    monkeypatch.setattr(passwords, "verify_secret", computed)
    # As it stands there a hash takes 9.4 s: the first runs, and ten may wait.
    hasher = PasswordHasher(262_144, 40, 1, threads=1, memory_budget_mib=256, queue_seconds=100)
    logins = [asyncio.create_task(hasher.verify(None, "x")) for _ in range(200)]
    await eventually(lambda: sum(login.done() for login in logins) == 189)
    await eventually(lambda: work.running == 1)
    assert [] == work.done

    work.end.set()
    answers = await asyncio.gather(*logins, return_exceptions=True)
    hasher.queue.close()

    refused = [answer for answer in answers if isinstance(answer, Overloaded)]
    assert (11, 189) == (answers.count(False), len(refused))
    assert all(answer.retry_after and answer.retry_after.seconds >= 1 for answer in refused)


@pytest.mark.finding("11.5")
async def test_a_stuck_thread_shows_as_the_age_of_its_work() -> None:
    """And the age is that of the oldest work, gone when it ends."""
    queue, work = queue_with(threads=2), Work()
    idle = queue.longest_seconds
    first = asyncio.create_task(queue.run(work.named("first"), memory_kib=1))
    await eventually(lambda: work.running == 1)
    alone = queue.longest_seconds
    second = asyncio.create_task(queue.run(work.named("second"), memory_kib=1))
    await eventually(lambda: work.running == 2)

    older = queue.longest_seconds
    work.end.set()
    await asyncio.gather(first, second)
    await eventually(lambda: queue.running == 0)

    assert 0 == idle
    assert 0 < alone < older
    assert 0 == queue.longest_seconds
    queue.close()
