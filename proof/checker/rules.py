"""
The rules of one refresh family as a pure sequential machine, read from CONTRACT §5.3.

Nothing of authsvc is imported: where this reading and the service's differ, one is wrong. The
clock is not known here, only when each operation was invoked and had returned; where it is
uncertain whether a rotation was still within the retry window, both answers are legal. Expiry
is out of scope: histories are recorded with lifetimes that outlast them.
"""

from __future__ import annotations

from collections.abc import Iterator
from math import inf
from typing import NamedTuple, TypeAlias

from proof.history import Operation

INVALID = 401  # the status of every refusal that says something about the session


class Unborn(NamedTuple):
    """Before the login: all there is to know is the user."""

    disabled: bool
    password: int


class Alive(NamedTuple):
    """
    A family that may be refreshed.

    Args:
        key: The id of the Idempotency-Key of the last rotation; None if it had none.
        rotated: When the last rotation took place: between these two moments.
        password: The version that the user's password has.
    """

    generation: int
    key: str | None
    rotated: tuple[float, float]
    password: int


class Dead(NamedTuple):
    """Revoked, for whatever reason, for good (I5)."""


State: TypeAlias = Unborn | Alive | Dead
DEAD = Dead()


class Window(NamedTuple):
    """
    What time decides, in seconds.

    Args:
        seconds: REFRESH_RETRY_WINDOW.
        tolerance: How far two clocks may drift apart meanwhile.
        late: How long after the client gave up an operation may still take effect.
    """

    seconds: float
    tolerance: float = 0.05
    late: float = inf

    def may_be_open(self, rotated: tuple[float, float], operation: Operation) -> bool:
        """Whether some moments of both lie within the window."""
        youngest = max(0.0, operation.invoked - rotated[1])
        return self.seconds > 0 and youngest < self.seconds + self.tolerance

    def may_be_closed(self, rotated: tuple[float, float], operation: Operation) -> bool:
        """Whether some moments of both lie further apart."""
        oldest = operation.returned - rotated[0]
        return operation.outcome == "info" or oldest >= self.seconds - self.tolerance


# How a refresh is answered, as a history spells it; and the refusal.
Answer: TypeAlias = tuple[str, int]
REFUSED: Answer = ("refused", 0)


def refresh(
    state: Alive, operation: Operation, window: Window
) -> Iterator[tuple[State, Answer | None]]:
    """Every legal transition and its answer (rules 3 to 5; ahead of the family is rule 6)."""
    presented, key = operation.value["generation"], operation.value["key"]
    by_cookie = operation.value["delivery"] != "native"
    behind = state.generation - presented
    open_, closed = False, True
    if by_cookie:
        open_ = window.may_be_open(state.rotated, operation)
        closed = window.may_be_closed(state.rotated, operation)
    if behind == 0:
        if state.generation > 0 and open_:
            yield state, ("kept", presented)
        if state.generation == 0 or closed:
            moment = (
                operation.invoked,
                inf if operation.outcome == "info" else operation.returned,
            )
            successor = Alive(presented + 1, key, moment, state.password)
            yield successor, ("rotated", presented + 1)
            if key is not None:
                # After a lost reply of the database nobody can tell which of the requests with
                # this key has rotated: "replayed" is true of all.
                yield successor, ("replayed", presented + 1)
    elif behind == 1 and key is not None and key == state.key:
        yield state, ("replayed", state.generation)
    elif behind > 0:
        if behind == 1 and open_:
            yield state, ("replayed", state.generation)
        if behind > 1 or closed:
            yield DEAD, REFUSED
    # Ahead: an acknowledged commit was lost. No single copy ever comes to that.


def own(state: State, operation: Operation, window: Window) -> Iterator[State]:
    """
    What an operation with a credential of this family may leave behind, given its outcome.

    Nothing, if no state explains the outcome.
    """
    if operation.operation == "login":
        yield from _login(state, operation)
        return
    if isinstance(state, Unborn):
        return  # nobody holds a credential yet
    match operation.operation:
        case "refresh":
            yield from _refresh(state, operation, window)
        case "logout":
            spared = operation.outcome == "err" or operation.value["scope"] == "others"
            yield state if spared else DEAD
        case "password_change":
            yield from _password_change(state, operation)
        case "revoke_session" if operation.value["target"] == operation.family:
            yield from _end_oneself(state, operation)
        case _:  # me, and whatever else an access token is needed for
            refused = operation.outcome == "err" and operation.result.get("status") == INVALID
            if refused == isinstance(state, Dead):
                yield state


def ended(state: State) -> State:
    """After somebody revoked the family: only what exists can be."""
    return state if isinstance(state, Unborn) else DEAD


def targeted(state: State, operation: Operation) -> Iterator[State]:
    """Another session of the user ended this one by its id; it says whether it was alive."""
    if operation.outcome == "ok":
        yield from [DEAD] if isinstance(state, Alive) else []
    elif operation.outcome == "info":
        yield ended(state)
    elif operation.result.get("status") == INVALID or not isinstance(state, Alive):
        yield state


def disabled(state: State) -> State:
    """The user is disabled: the family dies, a login to come is refused."""
    return Unborn(True, state.password) if isinstance(state, Unborn) else DEAD


def enabled(state: State) -> State:
    """The user may log in again; what died stays dead."""
    return Unborn(False, state.password) if isinstance(state, Unborn) else state


def password_changed(state: State, operation: Operation) -> Iterator[State]:
    """Another session changed the user's password: all but that session end."""
    version = operation.value["password"]
    if isinstance(state, Unborn):
        if state.password == version - 1:
            yield Unborn(state.disabled, version)
    else:
        yield DEAD


def _login(state: State, operation: Operation) -> Iterator[State]:
    version = operation.value["password"]
    if isinstance(state, Unborn) and not state.disabled and state.password == version:
        yield Alive(0, None, (operation.invoked, operation.returned), version)


def _refresh(state: Alive | Dead, operation: Operation, window: Window) -> Iterator[State]:
    result = operation.result
    if operation.outcome == "err" and result.get("status") != INVALID:
        yield state  # not a word about the token
        return
    answer: Answer = REFUSED
    if operation.outcome == "ok":
        answer = (result["how"], result["generation"])
    if isinstance(state, Dead):
        if answer == REFUSED:
            yield state
        return
    for successor, given in refresh(state, operation, window):
        if operation.outcome == "info" or given == answer:
            yield successor


def _password_change(state: Alive | Dead, operation: Operation) -> Iterator[State]:
    version = operation.value["password"]
    if operation.outcome == "err":
        match operation.result.get("status"):
            case 401:
                fits = isinstance(state, Dead)
            case 403:  # another password by now; whoever changed it may have ended this session
                fits = isinstance(state, Dead) or state.password != version - 1
            case _:
                fits = True
        if fits:
            yield state
    elif isinstance(state, Alive) and state.password == version - 1:
        yield state._replace(password=version)


def _end_oneself(state: Alive | Dead, operation: Operation) -> Iterator[State]:
    refused = operation.outcome == "err"
    if refused == isinstance(state, Dead):
        yield state if refused else DEAD
