"""One address cannot take all descriptors."""

from __future__ import annotations

import resource
import socket
from ipaddress import ip_network

import pytest
import structlog.testing

from authsvc.http.wire.connections import Connections, descriptors_left

pytestmark = pytest.mark.finding("11.6")


def test_an_address_has_so_many_connections_and_others_theirs() -> None:
    connections = Connections(2)

    first = [connections.admit("192.0.2.1", now=0.0) for _ in range(3)]
    other = connections.admit("192.0.2.2", now=0.0)
    assert first[0] is not None
    connections.release(first[0])
    again = connections.admit("192.0.2.1", now=0.0)

    assert ["192.0.2.1/32", "192.0.2.1/32", None] == first
    assert "192.0.2.2/32" == other
    assert again is not None
    assert 3 == len(connections)


def test_ipv6_addresses_of_one_subscriber_count_together() -> None:
    connections = Connections(1)

    assert connections.admit("2001:db8::1", now=0.0) is not None
    assert connections.admit("2001:db8::2", now=0.0) is None
    assert connections.admit("2001:db8:0:1::1", now=0.0) is not None


def test_a_trusted_proxy_has_as_many_as_it_likes() -> None:
    connections = Connections(1, [ip_network("10.0.0.0/8")])

    assert None not in [connections.admit("10.0.0.1", now=0.0) for _ in range(5)]


def test_the_log_has_one_line_a_minute_with_what_was_refused() -> None:
    connections = Connections(1)
    connections.admit("192.0.2.1", now=0.0)

    with structlog.testing.capture_logs() as lines:
        for now in (0.0, 1.0, 59.0, 60.0):
            connections.admit("192.0.2.1", now=now)

    assert [1, 3] == [line["refused"] for line in lines]
    assert "AUTHSVC_MAX_CONNECTIONS_PER_ADDRESS" in lines[0]["hint"]


def test_an_open_file_is_one_descriptor_less() -> None:
    before = descriptors_left()

    with socket.socket():
        assert before - 1 == descriptors_left()

    assert before < resource.getrlimit(resource.RLIMIT_NOFILE)[0]


@pytest.mark.finding("11.6")
def test_without_a_descriptor_none_is_left() -> None:
    """Counting takes one itself."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (3, hard))
        left = descriptors_left()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))

    assert 0 == left
