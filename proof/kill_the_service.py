"""
F01: `kill -9` of the service at every system call of refresh, login and logout.

strace counts the calls of one operation in a running service, then kills the service as it enters
the n-th call of a name. A second process takes its place, the client repeats its request, and
must be served as if nothing had happened.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from random import Random
from typing import Any

import asyncpg

from proof.client import Client
from proof.experiment import Findings, Stage
from proof.honest_load import HALF_MADE
from proof.killed_operations import ATTEMPTS, DEADLINE, SETTINGS, Attempt, World, quiet
from proof.strace import Trace, is_dead, traced
from proof.zygote import Zygote
from tests.support.live import free_port

AFTERWARDS = 0.03  # seconds; what follows the answer is part of the operation


class KillTheService:
    """Every call of every operation in turn, in an order of chance."""

    name = "F01-kill-the-service-at-every-system-call"
    promise = (
        "The service is killed as it enters any system call of refresh, login or logout: the "
        "client repeats its request and is served; nobody is logged out, no token has two "
        "successors, no logout is lost, nothing is half made."
    )
    unit = "kills"
    goal = 10_000
    batch = 40

    async def run(self, stage: Stage, *, units: int, random: Random) -> Findings:
        """Sample the calls of all operations evenly."""
        return await _kill(stage, units=units, random=random, names=list(ATTEMPTS))

    async def control(self, stage: Stage, *, random: Random) -> Findings:
        """A build that forgets the attempt, and one that answers before it has committed."""
        found = Findings()
        for plant, name in (
            (forget_the_attempt, "refresh (native)"),
            (answer_before_commit, "logout"),
        ):
            path = f"proof.kill_the_service:{plant.__name__}"
            one = await _kill(
                stage, units=200, random=random, names=[name], plant=path, until_found=True
            )
            if not one.violations:
                return Findings(done=found.done + one.done)  # one undetected bug is enough
            found.done += one.done
            found.violations += one.violations
        return found


EXPERIMENTS = (KillTheService(),)


async def _kill(
    stage: Stage,
    *,
    units: int,
    random: Random,
    names: Sequence[str],
    plant: str | None = None,
    until_found: bool = False,
) -> Findings:
    async with _world(stage, random, plant) as world:
        findings = world.findings
        rounds = 0
        while findings.done < units and rounds < 4 * units:
            # A round visits every call of every operation once, unless it is cut short.
            targets = []
            for name in names:
                points = await _points(world, ATTEMPTS[name])
                findings.at_most(f"system calls of one {name}", len(points))
                targets += [(name, point) for point in points]
            random.shuffle(targets)
            for name, (call, nth) in targets:
                rounds += 1
                world.where = f"{name} killed at {call} {nth}"
                if await _kill_at(world, ATTEMPTS[name], call, nth):
                    findings.done += 1
                    findings.counted[f"kills of a {name}"] += 1
                else:
                    findings.counted["not reached"] += 1
                if findings.done >= units or (until_found and findings.violations):
                    return findings
    return findings


async def _points(world: World, kind: type[Attempt]) -> list[tuple[str, int]]:
    """The calls of one operation: each name with its numbers, counted as strace will."""
    attempt = kind(world)
    await world.warm()
    await attempt.prepare()
    async with traced([world.service.pid]) as trace:
        await _idle(world, trace)
        await attempt.act()
        return list(dict.fromkeys((c.name, c.nth) for c in trace.calls(since_mark=True)))


async def _kill_at(world: World, kind: type[Attempt], call: str, nth: int) -> bool:
    """Kill, start anew, check; False if the process did not get there."""
    attempt = kind(world)
    await world.warm()
    await attempt.prepare()
    before = world.service
    async with traced([before.pid], inject=[f"{call}:signal=KILL:when={nth}"]) as trace:
        await _idle(world, trace)
        idle = not is_dead(before.pid)
        if idle:
            await attempt.act()
            await asyncio.sleep(AFTERWARDS)
    if not is_dead(before.pid):
        return False
    # Its death is complete only when strace has let go.
    assert await before.ended(DEADLINE)
    await world.start()
    if not idle:
        return False
    await attempt.check()
    await quiet(world.database)
    half = await world.database.fetchval(HALF_MADE)
    world.demand(half == 0, f"{half} families whose audit trail tells something else")
    return True


@asynccontextmanager
async def _world(stage: Stage, random: Random, plant: str | None) -> AsyncIterator[World]:
    async with stage.database() as url:
        with stage.place() as place, Zygote(place, plant=plant) as zygote:
            database = await asyncpg.connect(url)
            port = free_port()
            client = Client(f"kill-{random.getrandbits(32):08x}", stage.recorder, [port])
            try:
                world = World(
                    zygote=zygote,
                    url=url,
                    client=client,
                    database=database,
                    findings=Findings(),
                    random=random,
                    service=zygote.spawn(port, url, SETTINGS),
                )
                await world.service.ready()
                world.account = await client.register(world.account.email)
                yield world
            finally:
                await client.close()
                await database.close()


async def _idle(world: World, trace: Trace) -> None:
    """Wait until the loop waits again: attaching has interrupted it."""
    pid = world.service.pid
    async with asyncio.timeout(DEADLINE):
        while not is_dead(pid):
            last = [call for call in trace.calls() if call.thread == pid][-1:]
            if last and last[0].name.startswith("epoll_"):
                break
            await asyncio.sleep(0)
    trace.set_mark()


def forget_the_attempt() -> None:
    """A planted bug: the digest that is stored is not the one of the request."""
    from authsvc.store import rotation  # noqa: PLC0415 - in the child only
    from proof.race_plants import nobody_goes_together  # noqa: PLC0415 - as above

    genuine = rotation.rotate

    async def rotate(connection: Any, request: Any, **kwargs: Any) -> Any:
        other = replace(request, digest=secrets.token_bytes(32))
        return await genuine(connection, other, **kwargs)

    rotation.rotate = rotate
    nobody_goes_together()


def answer_before_commit() -> None:
    """A planted bug: the logout is answered while it is still to be done."""
    from authsvc.http.auth import logout  # noqa: PLC0415 - in the child only

    genuine: Callable[..., Awaitable[bool]] = logout.logout  # type: ignore[attr-defined]  # replaced on purpose
    running = set()

    async def later(*args: Any, **kwargs: Any) -> bool:
        task = asyncio.ensure_future(genuine(*args, **kwargs))
        running.add(task)
        task.add_done_callback(running.discard)
        return True

    logout.logout = later  # type: ignore[attr-defined]
