"""
Connection limits: a bound for each client address, and what is left to open.

Each costs a file descriptor, and when those run out, clients and the database are shut out alike.
"""

from __future__ import annotations

import errno
import resource
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import structlog

from authsvc.http.request.client_ip import Network, client_network, is_trusted_proxy
from authsvc.observe import metrics

LOG_SECONDS = 60.0  # between two lines about clients with too many connections
FEW_LEFT = 100  # descriptors

log = structlog.get_logger()


class Connections:
    """
    The open connections by client address (IPv4 address or IPv6 /64).

    Args:
        limit: How many one address may have open; trusted proxies carry many clients' requests.
        trusted: The networks of those.
    """

    def __init__(self, limit: int, trusted: Sequence[Network] = ()) -> None:
        self._most = limit
        self._trusted = trusted
        self._open: Counter[str] = Counter()
        self._refused = 0
        self._log_after = float("-inf")

    def __len__(self) -> int:
        return self._open.total()

    def admit(self, peer: str, *, now: float) -> str | None:
        """
        Count one connection in.

        Args:
            peer: The address at its other end.
            now: In seconds, of a clock that never goes back.

        Returns:
            What `release` wants; None for one that is refused.
        """
        network = client_network(peer)
        if self._open[network] >= self._most and not is_trusted_proxy(peer, self._trusted):
            self._refused += 1
            if now >= self._log_after:
                log.warning(
                    "too_many_connections",
                    client=network,
                    refused=self._refused,
                    hint="AUTHSVC_MAX_CONNECTIONS_PER_ADDRESS; or list your proxy in "
                    "AUTHSVC_TRUSTED_PROXIES",
                )
                self._refused = 0
                self._log_after = now + LOG_SECONDS
            return None
        self._open[network] += 1
        return network

    def release(self, network: str) -> None:
        """Count one out."""
        self._open[network] -= 1
        if not self._open[network]:
            del self._open[network]

    def record(self) -> None:
        """Set the gauges; say so where next to no descriptors are left."""
        metrics.open_connections.set(len(self))
        left = descriptors_left()
        metrics.descriptors_left.set(left)
        if left < FEW_LEFT:
            log.warning("few_descriptors_left", left=left, hint="raise the limit of open files")


def descriptors_left() -> int:
    """How many more files and connections this process may open."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        return soft - sum(1 for _ in Path("/dev/fd").iterdir())
    except OSError as exc:
        if exc.errno == errno.EMFILE:  # counting needs one
            return 0
        raise
