"""Lower the priority of a thread of long computations, so that short work goes first."""

from __future__ import annotations

import ctypes
import os
import platform
import struct
import sys
import threading
from contextlib import suppress

# Weighed against the event loops, which a flood of logins must not hold up, and honest logins,
# which at 19 had no turn for seconds on a busy machine (docs/decisions/0012).
NICENESS = 4  # more than the rest of the process

# How long a thread may run at a stretch, as it asks of the scheduler (Linux 6.12 and newer; 0.1 to
# 100 ms). Whoever asks for less, as everybody else does by default, goes first when it wakes.
SLICE_NS = 100_000_000

_SCHED_SETATTR = {"x86_64": 314, "aarch64": 274}  # sched_setattr(2) has no wrapper in glibc < 2.41
_ATTR = struct.Struct("=IIQiIQQQ")  # size, policy, flags, nice, priority, runtime, deadline, period
_KEEP_POLICY = 0x08


def lower_priority() -> None:
    """
    Lower this thread's priority, and lengthen its turns so that others need not wait for their end.

    On Linux a thread has a niceness of its own; elsewhere it would be the whole process that
    steps back, so nothing is done. What a kernel does not know or a sandbox forbids is left out.
    """
    if sys.platform != "linux":
        return
    thread = threading.get_native_id()
    niceness = min(19, os.getpriority(os.PRIO_PROCESS, thread) + NICENESS)
    with suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, thread, niceness)
    number = _SCHED_SETATTR.get(platform.machine())
    if number is not None:
        attributes = _ATTR.pack(_ATTR.size, 0, _KEEP_POLICY, niceness, 0, SLICE_NS, 0, 0)
        ctypes.CDLL(None).syscall(number, 0, attributes, 0)
