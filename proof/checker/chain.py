"""
The chain check: each refresh reads T(g) and writes T(g+1), so the order of versions shows.

One pass over each family, in the manner of Elle: a fork is a lost update, a token that nobody
issued an aborted read, a use after a revocation a stale read. It knows less than the search for
an order, and says more plainly what is wrong.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from math import inf

from proof.checker.families import Family, History, accepted, refused
from proof.checker.linearizable import describe
from proof.history import Operation


def check_chains(history: History) -> Iterator[str]:
    """Every violation that the chains show, a sentence each."""
    yield from _unique_tokens(history)
    for family in history.families.values():
        yield from _one_chain(family)
        yield from _known_tokens(family)
        yield from _own_data(family)
        yield from _dead_stays_dead(history, family)
        yield from _no_refusal_without_cause(history, family)
    for user, logins in history.logins.items():
        yield from _logins(history.wide.get(user, []), logins)


def _refreshes(family: Family) -> Iterator[Operation]:
    return (operation for operation in family.own if operation.operation == "refresh")


def _one_chain(family: Family) -> Iterator[str]:
    """I1: one rotation and one successor for each generation. I2: steps of one."""
    rotations: dict[int, Operation] = {}
    successors: dict[int, set[str]] = {}
    for operation in _refreshes(family):
        if operation.outcome != "ok":
            continue
        presented, result = operation.value["generation"], operation.result
        step = 0 if result["how"] == "kept" else 1
        if result["generation"] != presented + step:
            yield f"I2: family {family.id}: not the next generation: {describe(operation)}"
        if step == 0:
            if result["token"] != operation.value["token"]:
                yield f"I1: family {family.id}: kept, but another: {describe(operation)}"
            continue
        successors.setdefault(presented, set()).add(result["token"])
        if result["how"] == "rotated":
            first = rotations.setdefault(presented, operation)
            if first is not operation:
                yield (
                    f"I1: family {family.id}: generation {presented} was rotated twice: "
                    f"{describe(first)} and {describe(operation)}"
                )
    for generation, tokens in successors.items():
        if len(tokens) > 1:
            yield f"I1: family {family.id}: generation {generation} has {len(tokens)} successors"


def _unique_tokens(history: History) -> Iterator[str]:
    """I13: a token is of one family and one generation."""
    places: dict[str, tuple[str, int]] = {}
    for family in history.families.values():
        for operation in family.own:
            if operation.outcome == "ok" and operation.operation in {"login", "refresh"}:
                place = (family.id, operation.result["generation"])
                earlier = places.setdefault(operation.result["token"], place)
                if earlier != place:
                    yield f"I13: one token for {earlier} and for {place}"


def _known_tokens(family: Family) -> Iterator[str]:
    """Whatever was accepted had been issued, or by an answer that was lost."""
    issued: dict[str, float] = {}
    lost: dict[int, float] = {}
    for operation in family.own:
        if operation.operation not in {"login", "refresh"}:
            continue
        if operation.outcome == "ok" and operation.result.get("how") != "kept":
            token = operation.result["token"]
            issued[token] = min(issued.get(token, inf), operation.invoked)
        elif operation.outcome == "info" and operation.operation == "refresh":
            successor = operation.value["generation"] + 1
            lost[successor] = min(lost.get(successor, inf), operation.invoked)
    for operation in _refreshes(family):
        source = min(
            issued.get(operation.value["token"], inf),
            lost.get(operation.value["generation"], inf),
        )
        if operation.outcome == "ok" and source > operation.returned:
            yield f"family {family.id}: accepted a token that was not issued: {describe(operation)}"


def _own_data(family: Family) -> Iterator[str]:
    """I17: an answer is about whoever asked."""
    for operation in family.own:
        if operation.outcome != "ok":
            continue
        about = operation.result.get("session_id", family.id), operation.result.get("id")
        if about not in {(family.id, None), (family.id, operation.user)}:
            yield f"I17: family {family.id}: somebody else's data: {describe(operation)}"


def _dead_stays_dead(history: History, family: Family) -> Iterator[str]:
    """I4, I5, I6: nothing is accepted that was invoked after an end of the family returned."""
    end = min(history.certain_ends(family), key=lambda operation: operation.returned, default=None)
    if end is None:
        return
    for operation in family.own:
        if operation.invoked > end.returned and accepted(operation):
            yield (
                f"I6: family {family.id}: {describe(operation)} although it had ended by "
                f"{describe(end)}"
            )


def _no_refusal_without_cause(history: History, family: Family) -> Iterator[str]:
    """I7: a refusal has a revocation, or a possible reuse, that it may have come after."""
    first = min((operation.invoked for operation in history.threats(family.id)), default=inf)
    for operation in family.own:
        # A reuse is a threat itself.
        if refused(operation) and first > operation.returned:
            yield f"I7: family {family.id}: refused without a cause: {describe(operation)}"


def _logins(wide: list[Operation], logins: list[Operation]) -> Iterator[str]:
    """No login of a user who is disabled, or with a password that was replaced."""
    disables = [o for o in wide if o.operation == "disable" and o.outcome == "ok"]
    enables = [o for o in wide if o.operation == "enable" and o.outcome != "err"]
    changes = [o for o in wide if o.operation == "password_change" and o.outcome == "ok"]
    newest: Operation | None = None
    for login in (login for login in logins if login.outcome == "ok"):
        if newest is None or login.value["password"] > newest.value["password"]:
            newest = login
        elif newest.returned < login.invoked and (
            login.value["password"] < newest.value["password"]
        ):
            yield f"an old password worked: {describe(login)} after {describe(newest)}"
        for disable in disables:
            if disable.returned >= login.invoked:
                continue
            if not _enabled_between(enables, disable, login):
                yield f"a disabled user logged in: {describe(login)} after {describe(disable)}"
        for change in changes:
            if (
                change.returned < login.invoked
                and login.value["password"] < change.value["password"]
            ):
                yield f"an old password worked: {describe(login)} after {describe(change)}"


def _enabled_between(enables: Iterable[Operation], disable: Operation, login: Operation) -> bool:
    return any(
        enable.invoked < login.returned
        and (enable.outcome == "info" or enable.returned > disable.invoked)
        for enable in enables
    )
