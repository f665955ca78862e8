"""
Requests that are refused before anything looks at what they want (RFC 9110, RFC 9112).

The HTTP parser has refused what is not HTTP. This holds behind any parser.
"""

from __future__ import annotations

import re

from starlette.types import Scope

from authsvc.http.client_ip import parse_address
from authsvc.http.middleware.head import Headers
from authsvc.protocol.errors import BadRequest
from authsvc.settings import LOOPBACK_NAMES, Settings

MAX_URL = 8 * 1024  # bytes of path and query
MAX_HEADERS = 100
# A second one of these would be read by one component and overlooked by another.
ONCE = (
    b"authorization",
    b"content-length",
    b"content-type",
    b"host",
    b"origin",
    b"referer",
    b"sec-fetch-site",
)
# Probes and scrapers ask a container by its address. An address is not a name that somebody
# else could point at us (DNS rebinding), and nothing there depends on it.
PROBES = frozenset({"/healthz", "/readyz", "/metrics"})

_HOST = re.compile(r"(\[[0-9a-f:.]+\]|[a-z0-9._-]+)(?::[0-9]{1,5})?")


class Guard:
    """The rules for the head of a request."""

    def __init__(self, settings: Settings) -> None:
        loopback = () if settings.production else LOOPBACK_NAMES
        self._hosts = frozenset({settings.issuer_host, *settings.allowed_hosts, *loopback})

    def check(self, scope: Scope, head: Headers) -> None:
        """
        Let a well-formed request for one of our hosts pass.

        Raises:
            BadRequest: `detail` names the rule.
        """
        path: str = scope["path"]
        query = scope["query_string"]
        if len(scope.get("raw_path") or path) + bool(query) + len(query) > MAX_URL:
            raise BadRequest("URL too long")
        if len(scope["headers"]) > MAX_HEADERS:
            raise BadRequest("too many headers")
        # A router that matches up to a line break, or a log, would read `/a%0A` differently.
        if not (path.startswith("/") or path == "*") or not path.isprintable():
            raise BadRequest("target")
        for name in ONCE:
            if len(head.get(name, ())) > 1:
                raise BadRequest(f"{name.decode()} twice")
        if b"content-length" in head and b"transfer-encoding" in head:
            raise BadRequest("both Content-Length and Transfer-Encoding")
        self._check_host(path, head)

    def _check_host(self, path: str, head: Headers) -> None:
        if b"host" not in head:
            raise BadRequest("no Host")
        match = _HOST.fullmatch(head[b"host"][0].decode("latin-1").lower())
        if match is None:
            raise BadRequest("malformed Host")
        host = match[1]
        if host in self._hosts:
            return
        if path in PROBES and parse_address(host.strip("[]")) is not None:
            return
        raise BadRequest("foreign Host")
