"""
Requests that are refused before anything looks at what they want (RFC 9110, RFC 9112).

The HTTP parser has refused what is not HTTP. This holds behind any parser.
"""

from __future__ import annotations

import re

import structlog
from starlette.types import Scope

from authsvc.http.wire.head import ONCE, Headers
from authsvc.protocol.errors import BadRequest, NotFound, UnknownHost
from authsvc.settings import LOOPBACK_NAMES, Settings

MAX_URL = 8 * 1024  # bytes of path and query
MAX_HEADERS = 100
# Probes and scrapers ask a container by its address, by its pod's name, or in HTTP/1.0 without
# any Host (HAProxy's `option httpchk`). Nothing in these answers depends on it.
PROBES = frozenset({"/healthz", "/readyz", "/metrics"})

MAX_NAMED = 32  # foreign hosts that are logged
MAX_NAME = 255  # characters; no host name is longer (RFC 1035 §2.3.4)

log = structlog.get_logger()

_HOST = re.compile(r"(\[[0-9a-f:.]+\]|[a-z0-9._-]+)(?::[0-9]{1,5})?")


class Guard:
    """The rules for the head of a request."""

    def __init__(self, settings: Settings) -> None:
        loopback = () if settings.production else LOOPBACK_NAMES
        self._hosts = frozenset({settings.issuer_host, *settings.allowed_hosts, *loopback})
        self._named: set[str] = set()

    def check(self, scope: Scope, head: Headers) -> None:
        """
        Let a well-formed request for one of our hosts pass.

        Raises:
            BadRequest: `detail` names the rule.
            NotFound: The path is spelled in another way than ours are.
        """
        path: str = scope["path"]
        query = scope["query_string"]
        raw_path: bytes = scope.get("raw_path") or path.encode()
        if len(raw_path) + bool(query) + len(query) > MAX_URL:
            raise BadRequest("URL too long")
        if len(scope["headers"]) > MAX_HEADERS:
            raise BadRequest("too many headers")
        if b"%" in raw_path:
            # No path of ours needs it, and a proxy that closes one may compare the bytes.
            raise NotFound("percent-encoded path")
        # A router that matches up to a line break, or a log, would read `/a%0A` differently.
        if not (path.startswith("/") or path == "*") or not path.isprintable():
            raise BadRequest("target")
        for name in ONCE:
            if len(head.get(name, ())) > 1:
                raise BadRequest(f"{name.decode()} twice")
        if b"content-length" in head and b"transfer-encoding" in head:
            raise BadRequest("both Content-Length and Transfer-Encoding")
        if path not in PROBES:
            self._check_host(head)

    def _check_host(self, head: Headers) -> None:
        if b"host" not in head:
            raise BadRequest("no Host")
        match = _HOST.fullmatch(head[b"host"][0].decode("latin-1").lower())
        if match is None:
            raise BadRequest("malformed Host")
        host = match[1]
        if host in self._hosts:
            return
        if host[:MAX_NAME] not in self._named and len(self._named) < MAX_NAMED:
            # Once per name, and for so many names only: a stranger chooses them. The pattern
            # above has left nothing in it that a log or a terminal could misread.
            self._named.add(host[:MAX_NAME])
            log.warning(
                "unknown_host", host=host[:MAX_NAME], hint="list it in AUTHSVC_ALLOWED_HOSTS"
            )
        raise UnknownHost("foreign Host: not in AUTHSVC_ALLOWED_HOSTS")
