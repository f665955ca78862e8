"""The listening sockets, bound before anything else is started: a busy port is known at once."""

from __future__ import annotations

import errno
import socket
from ipaddress import IPv4Address, ip_address

from authsvc.operator_errors import OperatorError

BACKLOG = 2048  # connections that wait for a worker
SEND_BUFFER = 128 * 1024  # bytes; the kernel doubles it
LOOPBACKS = ("127.0.0.1", "::1")  # "localhost" is either, as each client likes


def listen(host: str | None, port: int) -> list[socket.socket]:
    """
    Bind one address, or both loopbacks where there are two.

    Raises:
        OperatorError: The port is taken, or the address is not ours; the text says what to do.
    """
    sockets: list[socket.socket] = []
    try:
        for address in [host] if host else LOOPBACKS:
            bound = _bind(address, port, needed=host is not None or not sockets)
            if bound is not None:
                sockets.append(bound)
    except BaseException:
        for bound in sockets:
            bound.close()
        raise
    return sockets


def _bind(address: str, port: int, *, needed: bool) -> socket.socket | None:
    """One listening socket; None if this system has no such address and can do without."""
    family = socket.AF_INET if isinstance(ip_address(address), IPv4Address) else socket.AF_INET6
    try:
        bound = socket.socket(family)
    except OSError as exc:  # a kernel without IPv6
        if needed:
            raise OperatorError(f"Cannot listen on {address}: {exc.strerror}.") from exc
        return None
    try:
        # A port whose last connections are still in TIME_WAIT is free.
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if address == "::1":
            bound.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        # Connections inherit it. Without a bound the kernel takes a whole answer, and a client
        # that never reads costs us megabytes which no time limit of ours can see.
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER)
        bound.bind((address, port))
        # Now rather than when the workers are ready: two that have only bound would both
        # succeed, and a client that comes early waits instead of being turned away.
        bound.listen(BACKLOG)
    except OSError as exc:
        bound.close()
        if exc.errno == errno.EADDRNOTAVAIL and not needed:
            return None
        raise OperatorError(_explain(exc, address, port)) from exc
    return bound


def _explain(exc: OSError, address: str, port: int) -> str:
    if exc.errno == errno.EADDRINUSE:
        return (
            f"Port {port} is taken on {address}. Stop the program that has it, or choose another "
            "port with AUTHSVC_PORT, or with --port of `authsvc serve`."
        )
    if exc.errno == errno.EACCES:
        return f"Port {port} is for root only. Choose one above 1023, such as AUTHSVC_PORT=8000."
    if exc.errno == errno.EADDRNOTAVAIL:
        return (
            f"{address} is not an address of this machine. Set AUTHSVC_HOST to one that is, to "
            "0.0.0.0 for all of them, or unset it for loopback."
        )
    return f"Cannot listen on {address} port {port}: {exc.strerror}."
