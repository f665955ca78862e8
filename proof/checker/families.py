"""A history taken apart: each family, and what its user did that touches it."""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property
from math import inf

from proof.checker.rules import INVALID
from proof.history import Operation

# What a user's operation does to families other than the one it presents.
USER_WIDE = frozenset({"disable", "enable", "password_change", "logout", "revoke_session"})

# What only a live session can do. (A logout is answered the same to the dead.)
CREDENTIAL_NEEDED = frozenset({"refresh", "me", "password_change", "revoke_session"})


@dataclass
class Family:
    """
    One session of a history.

    Args:
        own: What presented a credential of it, in the order of invocation; its login is among
            them unless the answer to the login was lost.
    """

    id: str
    user: str | None = None
    login: Operation | None = None
    own: list[Operation] = field(default_factory=list)

    @cached_property
    def last(self) -> float:
        """When the last of its own operations had returned."""
        return max(operation.returned for operation in self.own)


@dataclass
class History:
    """
    Args:
        wide: By user: what may touch families that it does not present, by invocation.
        logins: Of all users, successful or not, by user.
    """

    families: dict[str, Family]
    wide: dict[str, list[Operation]]
    logins: dict[str, list[Operation]]

    def foreign(self, family: Family) -> list[Operation]:
        """What other sessions of the user, or an administrator, may have done to the family."""
        found = []
        for operation in self.wide.get(family.user or "", ()):
            if operation.invoked > family.last:
                break
            if operation.family == family.id and operation.family is not None:
                continue
            if operation.operation == "revoke_session":
                if operation.value["target"] == family.id:
                    found.append(operation)
            elif operation.outcome != "err":
                found.append(operation)
        return found

    @cached_property
    def _threats(self) -> dict[str, list[tuple[float, float, Operation]]]:
        """By family: what may have ended it, as (invoked, returned, operation)."""
        return {family.id: list(self._threats_to(family)) for family in self.families.values()}

    def threatened(self, family_id: str, *, before: float, but: Operation) -> bool:
        """Whether anything but that operation, invoked earlier, may have ended the family."""
        return any(
            invoked < before and operation is not but
            for invoked, _, operation in self._threats.get(family_id, ())
        )

    def threats(self, family_id: str) -> list[Operation]:
        """What may have ended the family, in the order of invocation."""
        return [operation for _, _, operation in self._threats[family_id]]

    def _threats_to(self, family: Family) -> Iterable[tuple[float, float, Operation]]:
        born = family.login.invoked if family.login else -inf
        reached = _Potential(family)
        found = [
            operation
            for operation in self.wide.get(family.user or "", ())
            if operation.outcome != "err"
            and (operation.outcome == "info" or operation.returned >= born)
            and _may_end(operation, family.id)
        ]
        found += [
            operation
            for operation in family.own
            if operation.operation == "refresh"
            and operation.outcome != "ok"
            and operation.value["generation"] < reached.before(operation)
        ]
        found.sort(key=lambda operation: operation.invoked)
        for operation in found:
            yield operation.invoked, operation.returned, operation

    def certain_ends(self, family: Family) -> Iterable[Operation]:
        """What, once it had returned, must have left the family dead (I4, I6)."""
        for operation in family.own:
            if refused(operation):
                yield operation  # refused because it was dead, or dead because it was refused
            elif operation.outcome == "ok" and (
                (operation.operation == "logout" and operation.value["scope"] != "others")
                or (
                    operation.operation == "revoke_session"
                    and operation.value["target"] == family.id
                )
            ):
                yield operation
        login = family.login
        if login is None:
            return
        wide = self.wide.get(family.user or "", [])
        start = bisect_left(
            wide, login.invoked - MAX_OPERATION, key=lambda operation: operation.invoked
        )
        for operation in wide[start:]:
            if operation.outcome == "ok" and self._certainly_ends(operation, family, login):
                yield operation

    def _certainly_ends(self, operation: Operation, family: Family, login: Operation) -> bool:
        if operation.family == family.id:
            return False
        existed = login.returned <= operation.invoked
        match operation.operation:
            case "disable":
                # A login beside it is refused or revoked, unless it came after an enable.
                return existed or (
                    login.invoked < operation.returned and not self._enabled(operation, login)
                )
            case "password_change":
                return existed or bool(login.value["password"] < operation.value["password"])
            case "revoke_session":
                return bool(operation.value["target"] == family.id)
            case "logout" if operation.value["scope"] != "session" and operation.family:
                # Only a live credential ends others than its own.
                return existed and not self.threatened(
                    operation.family, before=operation.returned, but=operation
                )
        return False

    def _enabled(self, disable: Operation, login: Operation) -> bool:
        """Whether the user may have been enabled between the two."""
        return any(
            operation.operation == "enable"
            and operation.outcome != "err"
            and operation.invoked < login.returned
            and (operation.outcome == "info" or operation.returned > disable.invoked)
            for operation in self.wide.get(login.user or "", ())
        )


# Seconds; no operation takes longer than a client's patience, and a user-wide operation that
# had returned before the login was invoked ends nothing.
MAX_OPERATION = 60.0


class _Potential:
    """How far a family may have come by a moment, lost answers included."""

    def __init__(self, family: Family) -> None:
        highest = second = 0
        # (invoked, the highest generation so far, the highest but for one operation)
        self._steps: list[tuple[float, int, int]] = []
        for operation in family.own:
            if operation.operation == "refresh" and operation.outcome != "err":
                reached = operation.value["generation"] + 1
                highest, second = max(highest, reached), max(second, min(highest, reached))
                self._steps.append((operation.invoked, highest, second))

    def before(self, operation: Operation) -> int:
        """What others may have brought it to by the time the operation took effect."""
        latest = inf if operation.outcome == "info" else operation.returned
        index = bisect_left(self._steps, (latest, -1, -1))
        if index == 0:
            return 0
        _, highest, second = self._steps[index - 1]
        by_itself = operation.outcome != "err" and highest == operation.value["generation"] + 1
        return second if by_itself else highest


def take_apart(operations: Iterable[Operation]) -> History:
    """Group a history by family and user; `fault` lines are for the reader only."""
    families: dict[str, Family] = {}
    wide: dict[str, list[Operation]] = defaultdict(list)
    logins: dict[str, list[Operation]] = defaultdict(list)
    for operation in sorted(operations, key=lambda operation: operation.invoked):
        if operation.operation == "fault":
            continue
        if operation.operation in USER_WIDE and operation.user is not None:
            wide[operation.user].append(operation)
        if operation.operation == "login" and operation.user is not None:
            logins[operation.user].append(operation)
        if operation.family is None:
            continue
        family = families.setdefault(operation.family, Family(operation.family))
        family.user = family.user or operation.user
        if operation.operation in {"disable", "enable"}:
            continue
        family.own.append(operation)
        if operation.operation == "login":
            family.login = operation
    return History(families, dict(wide), dict(logins))


def _may_end(operation: Operation, family_id: str) -> bool:
    """Whether it is of a kind that ends the family, if it took effect."""
    own = operation.family == family_id
    match operation.operation:
        case "disable":
            return True
        case "logout":
            return operation.value["scope"] in ({"session", "all"} if own else {"others", "all"})
        case "password_change":
            return not own
        case "revoke_session":
            return bool(operation.value["target"] == family_id)
    return False


def refused(operation: Operation) -> bool:
    """Whether a credential of a session was found dead."""
    return (
        operation.operation in CREDENTIAL_NEEDED
        and operation.outcome == "err"
        and operation.result.get("status") == INVALID
    )


def accepted(operation: Operation) -> bool:
    """Whether a credential of a session was found good."""
    return operation.operation in CREDENTIAL_NEEDED and operation.outcome == "ok"
