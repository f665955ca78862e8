"""People who log in and others who guess, over a day; how often the rules get it wrong."""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import count
from random import Random

from proof.guessing.rules import Rule, Try

BEGIN = datetime(2026, 1, 5, tzinfo=UTC)
DAY = timedelta(hours=24)
SECOND = timedelta(seconds=1)
TYPING = 10 * SECOND  # until somebody who mistyped has typed it again
MISTYPES = 0.15  # of all entries
OWNER, HOME = "owner", "203.0.113.7"


@dataclass(frozen=True, slots=True)
class Visit:
    """
    One person who wants in: types until it is right, and waits as long as they are told.

    Args:
        group: How the person is called in the table.
        mistypes: Entries before the right one.
    """

    at: datetime
    group: str
    account: str
    network: str
    device: str | None
    mistypes: int


@dataclass(frozen=True, slots=True)
class Guesser:
    """Guesses without pause, whatever it is told; each time from one of its networks."""

    networks: tuple[str, ...]
    accounts: tuple[str, ...]
    every: timedelta


@dataclass(frozen=True, slots=True)
class Population:
    """
    A day.

    Args:
        known: Accounts and the networks they signed in from before.
    """

    name: str
    visits: tuple[Visit, ...]
    known: tuple[tuple[str, str], ...] = ()
    guesser: Guesser | None = None


@dataclass
class Outcome:
    """
    What a rule did to a population.

    Args:
        waits: How long each visitor of a group was kept waiting by the rule.
        guessed: How many guesses reached the password, by account.
    """

    waits: dict[str, list[timedelta]] = field(default_factory=dict)
    guessed: Counter[str] = field(default_factory=Counter)

    def delayed(self, group: str) -> float:
        """The share of the group's visits that had to wait."""
        waits = self.waits[group]
        return sum(wait > timedelta(0) for wait in waits) / len(waits)

    def longest(self, group: str) -> timedelta:
        """The longest wait of one visit."""
        return max(self.waits[group])


def live(population: Population, rule: Rule, random: Random) -> Outcome:
    """Live that day under that rule."""
    for account, network in population.known:
        rule.remember(account, network, BEGIN - DAY)
    outcome, order = Outcome(), count()
    # When, in which order, who, which mistypes are left, how long it has waited.
    waiting = [(v.at, next(order), v, v.mistypes, timedelta(0)) for v in population.visits]
    heapq.heapify(waiting)
    guesses = _guesses(population.guesser, random)
    guess = next(guesses, None)
    while waiting:
        while guess is not None and guess.at <= waiting[0][0]:
            outcome.guessed[guess.account] += rule.attempt(guess) is None
            guess = next(guesses, None)
        at, _, visit, left, waited = heapq.heappop(waiting)
        tried = Try(at, visit.account, visit.network, visit.device, right=left == 0)
        wait = rule.attempt(tried)
        if wait is not None and at + wait < BEGIN + 2 * DAY:
            # Retry-After is in whole seconds, rounded up.
            wait = -(-wait // SECOND) * SECOND
            heapq.heappush(waiting, (at + wait, next(order), visit, left, waited + wait))
        elif wait is None and left:
            heapq.heappush(waiting, (at + TYPING, next(order), visit, left - 1, waited))
        else:  # in, or not in for as long as we look
            outcome.waits.setdefault(visit.group, []).append(waited if wait is None else DAY)
    while guess is not None:
        outcome.guessed[guess.account] += rule.attempt(guess) is None
        guess = next(guesses, None)
    return outcome


def _guesses(guesser: Guesser | None, random: Random) -> Iterator[Try]:
    at = BEGIN
    while guesser is not None and at < BEGIN + DAY:
        account, network = random.choice(guesser.accounts), random.choice(guesser.networks)
        yield Try(at, account, network, None, right=False)
        at += guesser.every * random.uniform(0.5, 1.5)


def populations(random: Random, *, scale: float = 1) -> tuple[Population, ...]:
    """Those of CONTRACT 6a.6; `scale`: of the people, and of the guesses."""
    return (
        _office(),
        _carrier_nat(random, people=int(5_000 * scale)),
        _backend_for_frontend(random, people=int(5_000 * scale), every=4 * SECOND / scale),
        _botnet(random, every=4 * SECOND / scale),
        _neighbour(random, every=2 * SECOND / scale),
    )


def _office() -> Population:
    """34 people mistype twice each within half an hour, then one who does not: nobody is known."""
    visits = [_visit(minute=480 + n * 0.9, account=f"clerk {n}", mistypes=2) for n in range(34)]
    visits.append(_visit(minute=511, account="the 35th"))
    return Population("office, all new, 34 mistype twice", tuple(visits))


def _carrier_nat(random: Random, *, people: int) -> Population:
    """One address for all, half of the devices known; nobody has signed in from it before."""
    visits = []
    for n in range(people):
        device = "phone" if random.random() < 0.5 else None
        visits.append(
            _visit(
                minute=random.uniform(0, 1440),
                group="known device" if device else "new device",
                account=f"subscriber {n}",
                device=device,
                mistypes=_mistypes(random),
            )
        )
    return Population(f"carrier NAT, {people:,} people, one address", tuple(visits))


def _backend_for_frontend(random: Random, *, people: int, every: timedelta) -> Population:
    """One address, no device cookies; behind it also somebody who tries leaked passwords."""
    accounts = tuple(f"customer {n}" for n in range(people))
    known = {account for account in accounts if random.random() < 0.95}
    visits = tuple(
        _visit(
            minute=random.uniform(0, 1440),
            group="signed in before" if account in known else "first time",
            account=account,
            mistypes=_mistypes(random),
        )
        for account in accounts
    )
    return Population(
        f"backend-for-frontend, {people:,} people, and leaked passwords every {every.seconds} s",
        visits,
        tuple((account, HOME) for account in sorted(known)),
        Guesser((HOME,), accounts, every),
    )


def _botnet(random: Random, *, every: timedelta) -> Population:
    """20,000 addresses against one account, whose owner logs in now and then."""
    networks = tuple(f"bot {n}" for n in range(20_000))
    return Population(
        f"botnet, 20,000 addresses, a guess at one account every {every.seconds} s",
        _owner(random, abroad="new device in a new network"),
        ((OWNER, HOME),),
        Guesser(networks, (OWNER,), every),
    )


def _neighbour(random: Random, *, every: timedelta) -> Population:
    """One who guesses at the account from the owner's own address."""
    return Population(
        f"neighbour behind the same gateway, a guess every {every.seconds} s",
        _owner(random, abroad="new device elsewhere"),
        ((OWNER, HOME),),
        Guesser((HOME,), (OWNER,), every),
    )


def _owner(random: Random, *, abroad: str) -> tuple[Visit, ...]:
    """24 logins of a known device and at home, and 4 elsewhere: 8 networks are remembered."""
    visits = []
    for hour in range(24):
        for group, network, device in (
            ("known device", "train", "laptop"),
            ("known network", HOME, None),
            (abroad, f"hotel {hour}", None),
        ):
            if group == abroad and hour % 6:
                continue
            minute = 60 * hour + random.uniform(0, 60)
            visits.append(
                _visit(minute=minute, group=group, account=OWNER, network=network, device=device)
            )
    return tuple(visits)


def _visit(
    *,
    minute: float,
    account: str,
    group: str = "everybody",
    network: str = HOME,
    device: str | None = None,
    mistypes: int = 0,
) -> Visit:
    at = BEGIN + timedelta(minutes=minute)
    return Visit(at, group, account, network, device, mistypes)


def _mistypes(random: Random) -> int:
    wrong = 0
    while random.random() < MISTYPES:
        wrong += 1
    return wrong
