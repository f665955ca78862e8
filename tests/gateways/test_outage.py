"""What a gateway makes of an authsvc that cannot know, or that is not there."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Thread

import pytest

from tests.gateways.client import send_once
from tests.gateways.conftest import GATEWAYS, Gateway, running
from tests.gateways.upstream import upstream
from tests.support.live import free_port

EACH = pytest.mark.parametrize("gateway", GATEWAYS, ids=lambda gateway: gateway.name)
UNKNOWN = (
    b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1\r\nContent-Length: 0\r\n"
    b"X-User-ID: 7\r\nConnection: close\r\n\r\n"
)
# A refused demand: a slip in the gateway's configuration.
UNPROCESSABLE = b"HTTP/1.1 422 Unprocessable\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"


@contextmanager
def always(answer: bytes) -> Iterator[int]:
    """The port of a server that says one thing."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return  # closed
                with connection:
                    connection.recv(65536)
                    connection.sendall(answer)

        thread = Thread(target=serve)
        thread.start()
        try:
            port: int = listener.getsockname()[1]
            yield port
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join()


@EACH
async def test_what_cannot_be_known_is_503_and_not_let_pass(
    gateway: Gateway, tmp_path_factory: pytest.TempPathFactory
) -> None:
    with (
        always(UNKNOWN) as authsvc,
        upstream() as orders,
        running(gateway, authsvc, orders.port, tmp_path_factory) as port,
    ):
        answer = await send_once(port, headers=[("Authorization", "Bearer x")])

        assert (503, "1") == (answer.status, answer.headers["retry-after"])
        assert [] == orders.received


@EACH
async def test_without_authsvc_it_is_503_and_nobody_passes(
    gateway: Gateway, tmp_path_factory: pytest.TempPathFactory
) -> None:
    with (
        upstream() as orders,
        running(gateway, free_port(), orders.port, tmp_path_factory) as port,
    ):
        answer = await send_once(port, headers=[("Authorization", "Bearer x"), ("X-User-ID", "7")])

        assert (503, "1") == (answer.status, answer.headers["retry-after"])
        assert [] == orders.received


@EACH
async def test_an_authsvc_that_does_not_answer_in_time_is_503(
    gateway: Gateway, tmp_path_factory: pytest.TempPathFactory
) -> None:
    sooner = {
        "nginx": ("read_timeout 5s", "read_timeout 1s"),
        "caddy": ("timeout 5s", "timeout 1s"),
    }
    with (
        socket.create_server(("127.0.0.1", 0)) as silent,
        upstream() as orders,
        running(
            gateway,
            silent.getsockname()[1],
            orders.port,
            tmp_path_factory,
            instead=sooner.get(gateway.name, ("timeout = 5000", "timeout = 1000")),
        ) as port,
    ):
        answer = await send_once(port, headers=[("Authorization", "Bearer x")])

        assert (503, "1") == (answer.status, answer.headers["retry-after"])
        assert [] == orders.received


@EACH
async def test_a_slip_in_the_configuration_lets_nobody_pass(
    gateway: Gateway, tmp_path_factory: pytest.TempPathFactory
) -> None:
    with (
        always(UNPROCESSABLE) as authsvc,
        upstream() as orders,
        running(gateway, authsvc, orders.port, tmp_path_factory) as port,
    ):
        answer = await send_once(port, headers=[("Authorization", "Bearer x")])

        assert answer.status in {422, 503}
        assert [] == orders.received


@EACH
async def test_an_error_of_the_service_is_its_own(
    gateway: Gateway, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Not taken for one of authsvc."""
    passed = b"HTTP/1.1 200 OK\r\nX-User-ID: 7\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
    broken = b"HTTP/1.1 500 Broken\r\nContent-Length: 4\r\nConnection: close\r\n\r\nmine"
    with (
        always(passed) as authsvc,
        always(broken) as orders,
        running(gateway, authsvc, orders, tmp_path_factory) as port,
    ):
        answer = await send_once(port)

        assert (500, b"mine") == (answer.status, answer.body)
