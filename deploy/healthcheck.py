#!/usr/bin/env python3
"""
Ask the authsvc of this container whether it is alive; exit code 0 says yes.

It needs the standard library only: a health check runs every few seconds, and importing the
service would cost more than its answer.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from http import HTTPStatus
from http.client import HTTPConnection, HTTPException
from urllib.parse import urlsplit

TIMEOUT = 3.0  # seconds; less than the 5 s that Docker gives the check
# Listening everywhere includes loopback.
LOOPBACK = {"": "127.0.0.1", "localhost": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - compared


def target(environment: Mapping[str, str]) -> tuple[str, int, str]:
    """
    Where to ask, and by which name.

    Returns:
        ``(address, port, host)``, the last for the Host header. In production authsvc answers to
        the names of ``AUTHSVC_ALLOWED_HOSTS`` only, which are the issuer's host if none are set.
    """
    address = environment.get("AUTHSVC_HOST", "")
    # In Kubernetes a Service called authsvc sets ours to tcp://…, which authsvc ignores as well.
    named = (environment.get(name, "").strip() for name in ("AUTHSVC_PORT", "PORT"))
    port = next((int(value) for value in named if value.isdigit()), 8000)
    allowed = environment.get("AUTHSVC_ALLOWED_HOSTS", "").replace(",", " ").split()
    issuer = environment.get("AUTHSVC_ISSUER") or "http://localhost"
    host = allowed[0] if allowed else urlsplit(issuer).netloc
    return LOOPBACK.get(address, address), port, host


def alive(address: str, port: int, host: str) -> bool:
    """Whether the service answers."""
    connection = HTTPConnection(address, port, timeout=TIMEOUT)
    try:
        connection.request("GET", "/healthz", headers={"Host": host})
        status = connection.getresponse().status
    except (OSError, HTTPException) as exc:
        sys.stderr.write(f"{address} port {port}: {exc or type(exc).__name__}\n")
        return False
    finally:
        connection.close()
    if status != HTTPStatus.OK:
        sys.stderr.write(f"/healthz answers {status} to Host {host}\n")
    return status == HTTPStatus.OK


if __name__ == "__main__":
    sys.exit(0 if alive(*target(os.environ)) else 1)
