"""
Is there one order of a family's operations that a single copy of the service could have run?

Families are independent, so each is searched alone (locality), in the manner of Wing, Gong and
Lowe with the memory of porcupine: a configuration is how far the history has come, which of the
operations under way have taken effect, and the state. An operation of unknown outcome may take
effect at any later moment, or never. Operations of the whole user are projected on each of its
families.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import inf

from proof.checker import rules
from proof.checker.families import Family, History
from proof.checker.rules import State, Unborn, Window
from proof.history import Operation

SHOWN = 6  # operations before the one that nothing explains
LIMIT = 500_000  # configurations of one family; real histories need about one per operation


class UndecidedError(Exception):
    """Too many operations at once; a checker that gives up must say so."""


@dataclass(slots=True)
class Projected:
    """
    An operation as one family feels it.

    Args:
        own: Whether it presents a credential of the family.
        may_miss: A logout of the others ends them only if its own session was alive.
    """

    operation: Operation
    own: bool
    may_miss: bool = False

    @property
    def kind(self) -> tuple[object, ...]:
        """Of two unknown ones of a kind, the earlier can do whatever the later can."""
        operation = self.operation
        if operation.operation == "logout":
            return ("logout", self.own and operation.value["scope"] == "others")
        return (operation.operation, self.own, *operation.value.values())

    def after(self, state: State, window: Window) -> Iterator[State]:
        """The states that it may leave behind, if its outcome can be explained."""
        operation = self.operation
        if self.own:
            yield from rules.own(state, operation, window)
            return
        match operation.operation:
            case "disable":
                yield rules.disabled(state)
            case "enable":
                yield rules.enabled(state)
            case "password_change":
                yield from rules.password_changed(state, operation)
            case "revoke_session":
                yield from rules.targeted(state, operation)
            case "logout":
                yield rules.ended(state)
                if self.may_miss:
                    yield state


def check_family(history: History, family: Family, window: Window) -> str | None:
    """What no order explains, in words; None if some order explains everything."""
    projected = project(history, family)
    try:
        if family.login is None or _search(projected, window):
            return None
    except UndecidedError:
        return f"family {family.id}: undecided after {LIMIT} configurations"
    # The shortest prefix that fails: an operation that had not returned by then is unknown.
    ends = sorted(p.operation.returned for p in projected if p.operation.outcome != "info")
    low, high = 0, len(ends) - 1
    while low < high:
        middle = (low + high) // 2
        if _search(_until(projected, ends[middle]), window):
            low = middle + 1
        else:
            high = middle
    return _explain(family, projected, ends[low])


def project(history: History, family: Family) -> list[Projected]:
    """Everything that the family feels, in the order of invocation."""
    born = family.login.invoked if family.login else -inf
    found = [Projected(operation, own=True) for operation in family.own]
    for operation in history.foreign(family):
        logout = operation.operation == "logout"
        if logout and operation.value["scope"] == "session":
            continue
        if logout and operation.outcome == "ok" and operation.returned < born:
            continue  # nothing was there to be ended
        may_miss = logout and (
            operation.family is None
            or history.threatened(operation.family, before=operation.returned, but=operation)
        )
        found.append(Projected(operation, own=False, may_miss=may_miss))
    found.sort(key=lambda p: p.operation.invoked)
    return found


def _until(projected: list[Projected], moment: float) -> list[Projected]:
    """The history as it stood at a moment."""
    found = []
    for p in projected:
        if p.operation.invoked > moment:
            break
        known = p.operation.returned <= moment
        # The reader's copy: its answer had not come.
        found.append(p if known else Projected(_unknown(p.operation), p.own, p.may_miss))
    return found


def _unknown(operation: Operation) -> Operation:
    return Operation(
        operation.process,
        operation.operation,
        # A login has begun no family before its answer; without it there is none to look at.
        operation.outcome if operation.operation == "login" else "info",
        operation.invoked,
        operation.returned,
        operation.family,
        operation.user,
        operation.value,
        operation.result,
    )


@dataclass(frozen=True, slots=True)
class _Configuration:
    """
    Args:
        base: All completed operations before this index have been placed.
        placed: Bits: those from `base` on that have been, too.
        unknown: Bits: operations of unknown outcome that have taken effect.
    """

    base: int
    placed: int
    unknown: int
    state: State


class _Search:
    def __init__(self, projected: list[Projected], window: Window) -> None:
        self.completed = [p for p in projected if p.operation.outcome != "info"]
        self.unknown = [p for p in projected if p.operation.outcome == "info"]
        # Among the unknown ones, the one before it that is of the same kind.
        self.twin: list[int | None] = []
        last: dict[tuple[object, ...], int] = {}
        for index, p in enumerate(self.unknown):
            self.twin.append(last.get(p.kind))
            last[p.kind] = index
        self.window = window
        self.configurations = 0

    def run(self) -> bool:
        """Depth first; the operation that returned first is tried first."""
        first = _Configuration(0, 0, 0, Unborn(disabled=False, password=0))
        seen: dict[tuple[int, int, State], list[int]] = {}
        stack = [self._following(first)]
        while stack:
            configuration = next(stack[-1], None)
            if configuration is None:
                stack.pop()
            elif configuration.base == len(self.completed):
                return True
            elif self._is_new(seen, configuration):
                stack.append(self._following(configuration))
        return not self.completed

    def _is_new(
        self, seen: dict[tuple[int, int, State], list[int]], configuration: _Configuration
    ) -> bool:
        """Whether nothing as far and with at least as many unknown ones to spare was seen."""
        key = (configuration.base, configuration.placed, configuration.state)
        spent = seen.setdefault(key, [])
        if any(earlier & configuration.unknown == earlier for earlier in spent):
            return False
        spent.append(configuration.unknown)
        self.configurations += 1
        if self.configurations > LIMIT:
            raise UndecidedError
        return True

    def _following(self, now: _Configuration) -> Iterator[_Configuration]:
        under_way, deadline = self._under_way(now)
        alone = not isinstance(now.state, Unborn)
        branches = []
        for index in under_way:
            states = list(self.completed[index].after(now.state, self.window))
            if alone and states and all(state == now.state for state in states):
                # It only looked. If it can have looked now, nothing is lost by placing it now:
                # once the family exists, nothing that fits as a look is needed as a change.
                yield self._place(now, index, now.state)
                return
            branches.append((index, states))
        for index, states in branches:
            for state in states:
                yield self._place(now, index, state)
        yield from self._unknown_ones(now, deadline)

    def _unknown_ones(self, now: _Configuration, deadline: float) -> Iterator[_Configuration]:
        """What becomes of it if one of the unknown takes effect now."""
        latest = self._latest(now)
        for index, p in enumerate(self.unknown):
            if p.operation.invoked > deadline:
                break
            if now.unknown >> index & 1 or self._is_late(index, latest):
                continue
            twin = self.twin[index]
            if twin is not None and not now.unknown >> twin & 1 and not self._is_late(twin, latest):
                continue  # that one first
            for state in p.after(now.state, self.window):
                if state != now.state:
                    # Nothing can happen to the dead, so it does not matter what has.
                    spent = 0 if state == rules.DEAD else now.unknown | 1 << index
                    yield _Configuration(now.base, now.placed, spent, state)

    def _is_late(self, index: int, latest: float) -> bool:
        return self.unknown[index].operation.returned + self.window.late < latest

    def _latest(self, now: _Configuration) -> float:
        """When the operation invoked last, of those that have been placed, was invoked."""
        index = now.base + now.placed.bit_length() - 1
        return self.completed[index].operation.invoked if index >= 0 else -inf

    def _under_way(self, now: _Configuration) -> tuple[list[int], float]:
        """What may come next: all that was invoked before the first one left had returned."""
        deadline, found = inf, []
        for index in range(now.base, len(self.completed)):
            operation = self.completed[index].operation
            if operation.invoked > deadline:
                break
            if now.placed >> (index - now.base) & 1:
                continue
            deadline = min(deadline, operation.returned)
            found.append(index)
        found = [index for index in found if self.completed[index].operation.invoked <= deadline]
        found.sort(key=lambda index: self.completed[index].operation.returned)
        return found, deadline

    def _place(self, now: _Configuration, index: int, state: State) -> _Configuration:
        base, placed = now.base, now.placed | 1 << (index - now.base)
        while placed & 1:
            base, placed = base + 1, placed >> 1
        return _Configuration(base, placed, 0 if state == rules.DEAD else now.unknown, state)


def _search(projected: list[Projected], window: Window) -> bool:
    return _Search(projected, window).run()


def _explain(family: Family, projected: list[Projected], moment: float) -> str:
    """The answer that no order explains, and what came before it."""
    prefix = [p for p in projected if p.operation.invoked <= moment]
    last = next(p for p in prefix if p.operation.returned == moment)
    before = [p for p in prefix if p is not last][-SHOWN:]
    lines = [f"family {family.id}: no order of its operations explains {describe(last.operation)}"]
    lines += [f"    before or beside it: {describe(p.operation)}" for p in before]
    return "\n".join(lines)


def describe(operation: Operation) -> str:
    """One operation in one line."""
    asked = " ".join(f"{name}={value}" for name, value in operation.value.items())
    came = " ".join(str(value) for value in operation.result.values())
    return (
        f"{operation.operation} {asked} by {operation.process} -> {operation.outcome} {came} "
        f"[{operation.invoked:.4f}, {operation.returned:.4f}]"
    )
