"""The checker itself: for every rule a history that breaks it, and its twin that does not."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from random import Random
from time import process_time
from typing import Any

import pytest

from proof.checker.check import check
from proof.checker.families import take_apart
from proof.checker.linearizable import Projected, check_family, project
from proof.checker.rules import State, Unborn, Window
from proof.checker.simulated import WINDOW, Simulation
from proof.checker.story import Story
from proof.history import Operation

HISTORIES = 150
LENGTH = 120


def begun() -> Story:
    return Story().login()


def rotated() -> Story:
    return begun().refresh(0)


# Each twin: what is broken, a history that breaks it, one that is like it and legal.
TWINS: dict[str, tuple[Story, Story]] = {
    "I1 a generation rotates once": (
        begun().refresh(0, at=1).refresh(0, at=1.001),
        begun().refresh(0, at=1).refresh(0, "err", at=1.001),
    ),
    "I1 who hears of a rotation without having made it has a key": (
        begun().refresh(0, "replayed", delivery="native"),
        begun().refresh(0, "replayed", key="k", delivery="native"),
    ),
    "I1 a second request with its key has not rotated": (
        begun().refresh(0, key="k", at=1).refresh(0, key="k", at=1.001),
        begun().refresh(0, key="k", at=1).refresh(0, "replayed", key="k", at=1.001),
    ),
    "I1 a generation has one successor": (
        begun().refresh(0, key="k").refresh(0, "replayed", key="k", token="other"),
        begun().refresh(0, key="k").refresh(0, "replayed", key="k"),
    ),
    "I1 kept is the same token": (
        begun().refresh(0, delivery="spa").refresh(1, "kept", delivery="spa", token="other"),
        begun().refresh(0, delivery="spa").refresh(1, "kept", delivery="spa"),
    ),
    "I2 the chain has no gap": (begun().refresh(0, to=2), begun().refresh(0).refresh(1)),
    "I2 a token was issued before it is accepted": (
        begun().refresh(1),
        begun().refresh(0, "info").refresh(1),
    ),
    "I4 reuse ends the family": (
        rotated().refresh(0, "err").refresh(1),
        rotated().refresh(0, "err").refresh(1, "err"),
    ),
    "I4 reuse ends its access tokens": (
        rotated().refresh(0, "err").me(),
        rotated().refresh(0, "err").me("err"),
    ),
    "I4 reuse is not answered": (
        rotated().refresh(1).refresh(0, "replayed"),
        rotated().refresh(1).refresh(0, "err"),
    ),
    "I4 a body token twice without the key is reuse at once": (
        begun().refresh(0).refresh(0, "replayed"),
        begun().refresh(0, delivery="spa").refresh(0, "replayed", delivery="spa"),
    ),
    "I4 another key is no retry": (
        begun().refresh(0, key="k").refresh(0, "replayed", key="l"),
        begun().refresh(0, key="k").later(60).refresh(0, "replayed", key="k"),
    ),
    "I4 a cookie's window ends": (
        begun().refresh(0, delivery="spa").later(2).refresh(0, "replayed", delivery="spa"),
        begun().refresh(0, delivery="spa").later(2).refresh(0, "err", delivery="spa"),
    ),
    "rule 3 a cookie rotates once per window": (
        begun().refresh(0, delivery="spa").refresh(1, delivery="spa"),
        begun().refresh(0, delivery="spa").later(2).refresh(1, delivery="spa"),
    ),
    "rule 3 after the window nothing is kept": (
        begun().refresh(0, delivery="spa").later(2).refresh(1, "kept", delivery="spa"),
        begun().refresh(0, delivery="spa").later(0.9).refresh(1, "kept", delivery="spa"),
    ),
    "I6 logout": (begun().logout().refresh(0), begun().logout().refresh(0, "err")),
    "I6 logout beside a refresh": (
        begun().logout(at=1).refresh(0, at=1.001).refresh(1),
        begun().logout(at=1).refresh(0, at=1.001).refresh(1, "err"),
    ),
    "I6 logout ends access tokens": (begun().logout().me(), begun().me().logout()),
    "I6 logout of unknown outcome binds nobody, until it shows": (
        begun().logout("session", "info").me("err").me(),
        begun().logout("session", "info").me().me("err"),
    ),
    "I6 logout of all": (
        begun().login(family="g").logout("all", family="g").me(),
        begun().login(family="g").logout("all", family="g").me("err"),
    ),
    "I6 logout of the others": (
        begun().login(family="g").logout("others", family="g").me(),
        begun().login(family="g").logout("others", family="g").me(family="g"),
    ),
    "I6 a dead session logs nobody out": (
        begun().login(family="g").logout("others", family="g").refresh(0),
        begun().login(family="g").logout(family="g").logout("others", family="g").refresh(0),
    ),
    "I6 disable": (begun().disable().me(), begun().disable().me("err")),
    "I5 enable brings nothing back": (
        begun().disable().enable().me(),
        begun().disable().enable().login(family="g").me(family="g"),
    ),
    "I6 a login beside a disable is ended by it": (
        Story().login(at=1).disable(at=1.001).enable().me(),
        Story().login(at=1).disable(at=1.001).enable(at=1.002).me(),
    ),
    "I6 change of the password": (
        begun().login(family="g").change_password(1, family="g").me(),
        begun().login(family="g").change_password(1, family="g").me(family="g"),
    ),
    "a disabled user does not log in": (
        Story().disable().login(),
        Story().disable("info").login(),
    ),
    "an old password does not work": (
        begun().change_password(1).login(family="g"),
        begun().change_password(1).login(family="g", password=1),
    ),
    "an old password does not work after it was seen to be old": (
        begun().change_password(1, "info").login(family="g", password=1).login(family="h"),
        begun().change_password(1, "info").login(family="g").login(family="h", password=1),
    ),
    "I7 no refusal without a cause": (
        begun().refresh(0, "err"),
        begun().logout().refresh(0, "err"),
    ),
    "I7 no access token is refused without a cause": (
        rotated().me("err"),
        rotated().logout("session", "info").me("err"),
    ),
    "I7 others spare the one that asks": (
        begun().logout("others").me("err"),
        begun().logout("others").me(),
    ),
    "I8 a retry with the key is no reuse": (
        begun().refresh(0, "info", key="k").refresh(0, "err", key="k"),
        begun().refresh(0, "info", key="k").refresh(0, "replayed", key="k"),
    ),
    "I8 a lost answer took effect at most once": (
        begun().refresh(0, "info", key="k").refresh(0, key="l").refresh(0, "replayed", key="k"),
        begun().refresh(0, "info", key="k").refresh(0, "rotated", key="k").refresh(1),
    ),
    "I8 a lost answer cannot be older than it is": (
        rotated().refresh(0, "replayed", key="k").refresh(1, "info", key="k"),
        begun().refresh(0, "info", key="k").refresh(0, "replayed", key="k"),
    ),
    "I9 what was refused for its form changed nothing": (
        begun().refresh(0, "err").refresh(0),
        begun()
        .add(
            "refresh",
            "err",
            result={"status": 403},
            token="f0",
            generation=0,
            key=None,
            delivery="native",
        )
        .refresh(0),
    ),
    "I13 a token is of one family": (
        begun().login(family="g").refresh(0).refresh(0, family="g", token="f1"),
        begun().login(family="g").refresh(0).refresh(0, family="g"),
    ),
    "I17 nobody else's data": (
        begun().me(result={"session_id": "g", "id": "u"}),
        begun().me(result={"session_id": "f", "id": "u"}),
    ),
    "I17 nobody else's tokens": (
        begun().refresh(0, whose={"session_id": "g", "id": "u"}),
        begun().refresh(0, whose={"session_id": "f", "id": "u"}),
    ),
    "revoke_session": (
        begun().login(family="g").add("revoke_session", family="g", target="f").me(),
        begun().login(family="g").add("revoke_session", family="g", target="f").me("err"),
    ),
}


@pytest.mark.parametrize("rule", TWINS)
def test_a_broken_rule_is_told(rule: str) -> None:
    broken, _ = TWINS[rule]

    assert check(broken.operations, retry_window=WINDOW)


@pytest.mark.parametrize("rule", TWINS)
def test_its_legal_twin_passes(rule: str) -> None:
    _, legal = TWINS[rule]

    assert [] == check(legal.operations, retry_window=WINDOW)


def test_an_operation_takes_no_effect_after_every_deadline() -> None:
    """What is known of deadlines makes the search sharper."""
    story = begun().logout("session", "info").later(20).me().me("err")

    assert [] == check(story.operations, retry_window=WINDOW)
    assert check(story.operations, retry_window=WINDOW, late=10)


def test_the_failing_answer_is_named() -> None:
    """The shortest prefix that no order explains ends with it."""
    story = rotated().refresh(0, "err").me().refresh(1, "err")

    found = check(story.operations, retry_window=WINDOW)

    assert "no order of its operations explains me" in found[-1]
    assert "before or beside it: refresh" in found[-1]


def test_sixty_four_at_once_are_checked_fast() -> None:
    """All but one are refused, and any order of them will do."""
    story = begun().refresh(0, at=1, lasts=1)
    for _ in range(63):
        story.refresh(0, "err", at=1, lasts=1)
    broken = replace(story, operations=[*story.operations]).me()

    assert [] == check(story.operations, retry_window=WINDOW)
    assert check(broken.operations, retry_window=WINDOW)


def simulated(seed: int) -> list[Operation]:
    chance = Random(seed)  # noqa: S311 - reproducible
    return Simulation(chance, lost=(0.0, 0.05, 0.2)[seed % 3]).run(LENGTH)


def explained_by_trying_all(projected: list[Projected], window: Window) -> bool:
    """The definition itself: every order that real time allows, and every fate of the unknown."""

    def explained(state: State, left: list[Projected]) -> bool:
        known = [p for p in left if p.operation.outcome != "info"]
        if not known:
            return True
        deadline = min(p.operation.returned for p in known)
        return any(
            explained(following, [other for other in left if other is not p])
            for p in left
            if p.operation.invoked <= deadline
            for following in p.after(state, window)
        )

    return explained(Unborn(disabled=False, password=0), projected)


def test_the_search_agrees_with_trying_all() -> None:
    """Its short cuts lose nothing and add nothing, on histories with a random answer swapped."""
    window = Window(WINDOW, 0.001)
    agreed: Counter[bool] = Counter()
    for seed in range(1500):
        chance = Random(seed)  # noqa: S311 - reproducible
        history = Simulation(chance, clients=5, users=1, lost=0.3).run(14)
        mutation = chance.choice([accept_what_was_refused, refuse_what_was_accepted])
        taken = take_apart(mutation(history, chance) or history)
        for family in taken.families.values():
            projected = project(taken, family)
            if family.login is not None and len(projected) <= 10:
                expected = explained_by_trying_all(projected, window)
                assert expected == (check_family(taken, family, window) is None), seed
                agreed[expected] += 1

    assert min(agreed.values()) > 100, agreed


@pytest.mark.parametrize("seed", range(HISTORIES))
def test_a_perfect_service_passes(seed: int) -> None:
    assert [] == check(simulated(seed), retry_window=WINDOW, tolerance=0.001)


def test_the_simulation_covers_the_rules() -> None:
    seen: Counter[tuple[str, str]] = Counter()
    for seed in range(HISTORIES):
        for operation in simulated(seed):
            seen[operation.operation, operation.result.get("how", operation.outcome)] += 1

    for expected in ("rotated", "replayed", "kept", "err", "info"):
        assert seen["refresh", expected] > HISTORIES, seen
    for name in ("me", "login", "logout", "disable", "enable", "password_change"):
        assert seen[name, "ok"], seen
        assert seen[name, "info"], seen


Mutation = Callable[[list[Operation], Random], list[Operation] | None]


def rotate_twice(history: list[Operation], random: Random) -> list[Operation] | None:
    """Somebody else presented the same token, and it was rotated for them, too."""
    rotations = [o for o in history if o.result.get("how") == "rotated"]
    if not rotations:
        return None
    chosen = random.choice(rotations)
    return [*history, replace(chosen, process="other", value=chosen.value | {"key": "another"})]


def accept_what_was_refused(history: list[Operation], random: Random) -> list[Operation] | None:
    """An access token of a dead session worked."""
    return _swap(history, random, lambda o: o.operation == "me" and o.outcome == "err", "ok", {})


def refuse_what_was_accepted(history: list[Operation], random: Random) -> list[Operation] | None:
    """A refresh that was answered was refused."""
    refused = {"status": 401, "code": "refused"}
    return _swap(history, random, lambda o: o.result.get("how") is not None, "err", refused)


def drop_a_revocation(history: list[Operation], random: Random) -> list[Operation] | None:
    """The refusals after it have lost their cause."""
    revocations = [o for o in history if o.operation == "logout" and o.outcome == "ok"]
    if not revocations:
        return None
    dropped = random.choice(revocations)
    return [operation for operation in history if operation is not dropped]


def skip_a_generation(history: list[Operation], random: Random) -> list[Operation] | None:
    """The successor is one too far."""
    rotations = [o for o in history if o.result.get("how") == "rotated"]
    if not rotations:
        return None
    chosen = random.choice(rotations)
    result = chosen.result | {"generation": chosen.result["generation"] + 1}
    return [replace(o, result=result) if o is chosen else o for o in history]


def _swap(
    history: list[Operation],
    random: Random,
    wanted: Callable[[Operation], bool],
    outcome: Any,
    result: dict[str, Any],
) -> list[Operation] | None:
    found = [operation for operation in history if wanted(operation)]
    if not found:
        return None
    chosen = random.choice(found)
    return [replace(o, outcome=outcome, result=result) if o is chosen else o for o in history]


# The share that must be told. What a client never looked at again, nobody can tell; and a lost
# answer explains much.
@pytest.mark.parametrize(
    ("mutation", "share"),
    [
        (rotate_twice, 1.0),
        (skip_a_generation, 1.0),
        (accept_what_was_refused, 0.7),
        (refuse_what_was_accepted, 0.8),
        (drop_a_revocation, 0.2),
    ],
    ids=lambda value: getattr(value, "__name__", str(value)),
)
def test_a_mutation_of_a_legal_history_is_told(mutation: Mutation, share: float) -> None:
    tried = told = 0
    for seed in range(HISTORIES):
        mutated = mutation(simulated(seed), Random(seed))  # noqa: S311 - reproducible
        if mutated is not None:
            tried += 1
            told += bool(check(mutated, retry_window=WINDOW, tolerance=0.001))

    assert tried > HISTORIES / 2
    assert told >= share * tried, f"{told} of {tried}"


def test_the_checker_keeps_up() -> None:
    """More than 5,000 operations a second."""
    chance = Random(1)  # noqa: S311 - reproducible
    history = Simulation(chance, clients=40, users=20).run(20_000)

    started = process_time()
    found = check(history, retry_window=WINDOW, tolerance=0.001)
    took = process_time() - started

    assert [] == found
    assert len(history) / took > 5_000, took
