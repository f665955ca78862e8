"""Check a history: the chains, and for each family the search for an order."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice
from math import inf

from proof.checker.chain import check_chains
from proof.checker.families import take_apart
from proof.checker.linearizable import check_family
from proof.checker.rules import Window
from proof.history import Operation


def check(
    operations: Iterable[Operation],
    *,
    retry_window: float,
    tolerance: float = 0.05,
    late: float = inf,
    at_most: int = 50,
) -> list[str]:
    """
    Every violation of the refresh rules that a history shows; empty is the promise.

    Args:
        retry_window: REFRESH_RETRY_WINDOW of the service, in seconds.
        tolerance: Seconds by which the harness's clock and the database's may drift apart
            during a window.
        late: Seconds after a client gave up within which its operation may still take effect;
            what is known of the deadlines makes the search sharper.
        at_most: So many of the chains and so many of the search are told.
    """
    history = take_apart(operations)
    window = Window(retry_window, tolerance, late)
    violations = list(islice(check_chains(history), at_most))
    searched = (check_family(history, family, window) for family in history.families.values())
    return violations + list(islice((found for found in searched if found), at_most))
