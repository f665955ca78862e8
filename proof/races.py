"""F12, F13: one refresh token, presented many times in the same moment."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Sequence
from random import Random

import asyncpg

from proof.experiment import Experiment, Findings, Stage
from proof.presentations import (
    KINDS,
    PRESENTATIONS,
    Kind,
    Login,
    Race,
    keys_of,
    log_in,
    started,
    successor_of,
)
from tests.support.wire import Answer, Connection

PLANT = "proof.race_plants:read_then_count"
TABS = range(2, 11)
CONTROL_ROUNDS = 9
DEADLINE = 5.0  # seconds; for every answer


class OneTokenManyTimes:
    """F13: 64 presentations at once, to four processes of the service."""

    name = "F13-one-token-many-times"
    promise = (
        f"A refresh token that is presented {PRESENTATIONS} times in the same moment to four "
        "processes of the service is rotated once and has one successor; the session goes on if "
        "it was one client, and ends if it was not."
    )
    unit = "race rounds"
    goal = 20_000
    batch = 250
    aborts = False

    def presentations(self, kind: Kind, random: Random) -> int:
        """How many come at once."""
        del kind, random
        return PRESENTATIONS

    async def run(self, stage: Stage, *, units: int, random: Random) -> Findings:
        """`units` rounds, of all kinds in turn."""
        async with started(stage, random) as race:
            return await self.rounds(race, units)

    async def control(self, stage: Stage, *, random: Random) -> Findings:
        """A build that reads, decides, and then writes."""
        async with started(stage, random, PLANT) as race:
            return await self.rounds(race, CONTROL_ROUNDS)

    async def rounds(self, race: Race, units: int) -> Findings:
        """At a service that runs already."""
        race.findings = Findings()
        for number in range(units):
            await self._round(race, KINDS[number % len(KINDS)])
        await _check_rows(race)
        return race.findings

    async def _round(self, race: Race, kind: Kind) -> None:
        random, findings = race.random, race.findings
        login = await log_in(race, kind)
        requests = [
            login.presentation(login.refresh_token, key)
            for key in keys_of(kind, self.presentations(kind, random), random)
        ]
        answers = await self._at_once(race, requests)
        seen = Counter(answer.outcome for answer in answers if answer)
        findings.counted.update(seen)
        findings.counted[str(kind)] += 1
        findings.done += 1
        others = set(seen) - {"rotated", "replayed"} - (set() if kind.survives else {"401"})
        race.demand(not others, f"{kind}: {others} among the answers")
        # The answer of the tab that hung up may be the one that says "rotated".
        rotated = {1} if None not in answers else {0, 1}
        race.demand(seen["rotated"] in rotated, f"I1, {kind}: {seen['rotated']} rotated")
        won = [answer for answer in answers if answer is not None and answer.status == 200]
        findings.counted["the first did not win"] += bool(
            answers[0] and answers[0].outcome != "rotated"
        )
        successors = {successor_of(answer, kind) for answer in won}
        race.demand(len(successors) <= 1, f"I1, {kind}: {len(successors)} successors")
        if won:
            await _go_on(race, login, won[0], rotate=not self.aborts)

    async def _at_once(self, race: Race, requests: Sequence[bytes]) -> list[Answer | None]:
        """All are sent before the first answer is read; None where a tab hung up."""
        random = race.random
        places = random.sample(range(len(race.connections)), len(requests))
        aborted = places[random.randrange(len(places))] if self.aborts else None
        sent_at = time.monotonic()
        for place, request in zip(places, requests, strict=True):
            race.connections[place].send(request)
        if aborted is not None:
            await asyncio.sleep(random.choice((0, 0, 0.001, 0.003)))
            race.connections[aborted].abort()
        answers = await asyncio.gather(
            *(_receive(race.connections[place], place == aborted) for place in places)
        )
        took = time.monotonic() - sent_at
        race.findings.at_most("answer, seconds", took)
        race.demand(took <= DEADLINE, f"an answer took {took:.1f} s")
        if aborted is not None:
            race.connections[aborted] = await race.connection(aborted)
            race.findings.counted["hung up"] += 1
        return answers


class Tabs(OneTokenManyTimes):
    """F12: two to ten tabs with one cookie jar, one of which is closed meanwhile."""

    name = "F12-two-to-ten-tabs"
    promise = (
        "Two to ten tabs (or threads of one program) that refresh in the same moment, one of them "
        "closed before its answer came, get one successor, and none of them is logged out."
    )
    goal = 20_000
    batch = 1_000
    aborts = True

    def presentations(self, kind: Kind, random: Random) -> int:
        """How many tabs; two answers must be read where two presentations mean theft."""
        return max(random.choice(TABS), 2 if kind.survives else 3)


EXPERIMENTS: tuple[Experiment, ...] = (OneTokenManyTimes(), Tabs())


async def _receive(connection: Connection, aborted: bool) -> Answer | None:  # noqa: FBT001
    if aborted:
        return None
    async with asyncio.timeout(2 * DEADLINE):
        return await connection.receive()


async def _go_on(race: Race, login: Login, answer: Answer, *, rotate: bool) -> None:
    """
    The successor and its access token work if the session lives, and not if it is dead.

    Args:
        rotate: Whether a body token may go on; not while the request of a tab that hung up may
            still be unread, which would then come two generations late.
    """
    kind = login.kind
    access_token = answer.body.get("access_token") or answer.cookie("authsvc_access")
    me = await race.ask(
        f"GET /auth/me HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {access_token}"
        "\r\n\r\n".encode()
    )
    race.demand(
        me.status == (200 if kind.survives else 401), f"{kind}: afterwards /auth/me {me.status}"
    )
    # Within the window a cookie's token is kept.
    generation = 1
    if rotate or kind.delivery != "native" or not kind.survives:
        key = f"{race.random.getrandbits(128):032x}"
        again = await race.ask(login.presentation(successor_of(answer, kind), key))
        expected = "rotated" if kind.delivery == "native" else "kept"
        if not kind.survives:
            expected = "401"
        race.demand(again.outcome == expected, f"{kind}: afterwards {again.outcome}")
        generation += again.outcome == "rotated"
    race.expected[login.family] = (generation, kind.survives)


async def _check_rows(race: Race) -> None:
    """Each rotation that was answered is in the database, and none besides (I2)."""
    connection = await asyncpg.connect(race.deployment.url)
    try:
        rows = await connection.fetch("SELECT id, generation, revoked_at FROM refresh_families")
    finally:
        await connection.close()
    found = {str(row["id"]): (row["generation"], row["revoked_at"] is None) for row in rows}
    for family, state in race.expected.items():
        race.demand(found[family] == state, f"I2: {found[family]}, expected {state}")
