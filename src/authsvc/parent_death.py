"""Ending with the parent: nothing that authsvc started outlives it, not even after `kill -9`."""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Callable

PR_SET_PDEATHSIG = 1  # linux/prctl.h
POLL = 1.0  # seconds; where the kernel cannot tell us


def signal_on_parent_death(signum: signal.Signals) -> Callable[[], None]:
    """
    Prepare what a child does first: ask the kernel for a signal at its parent's death.

    Call this in the parent, on its main thread: the kernel means the thread that started the
    child. The answer runs in the child after it has changed its user, since a change of user
    takes the request back (prctl(2)). Elsewhere than on Linux it does nothing.
    """
    if sys.platform != "linux":
        return lambda: None
    # Loaded before the fork: between fork and exec little is safe to do.
    prctl = ctypes.CDLL(None, use_errno=True).prctl
    parent = os.getpid()

    def ask() -> None:
        prctl(PR_SET_PDEATHSIG, signum)
        if os.getppid() != parent:  # it died before the kernel was asked
            os._exit(1)

    return ask


def die_with_parent() -> None:
    """
    Make a worker process stop when its supervisor has died; the app's lifespan calls it.

    In a process that is nobody's worker it does nothing.
    """
    supervisor = multiprocessing.parent_process()
    if supervisor is None or supervisor.pid is None:
        return
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != supervisor.pid:
            os.kill(os.getpid(), signal.SIGTERM)
        return
    threading.Thread(
        target=_watch, args=(supervisor.pid,), name="supervisor-watch", daemon=True
    ).start()


def _watch(supervisor: int) -> None:
    while os.getppid() == supervisor:
        # An event that nobody sets: a pause that ends with the process.
        threading.Event().wait(POLL)
    os.kill(os.getpid(), signal.SIGTERM)
