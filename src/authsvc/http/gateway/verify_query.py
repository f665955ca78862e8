"""
The query of /auth/verify: what a gateway demands, as it stands in the gateway's configuration.

A slip there must not open a door. So an unknown name, an empty list or a name that no token could
have is refused, whoever asks, with the first request that comes through. What an upstream demands
stands in AUTHSVC_ASSERTION_UPSTREAMS: a query adds demands to those, and never relaxes one.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from urllib.parse import parse_qsl

from authsvc.flows.verify import Demands
from authsvc.http.request.fields import parameter
from authsvc.protocol.errors import ValidationFailed
from authsvc.settings.upstreams import Upstream
from authsvc_client.tokens.claims import ROLE_NAME
from authsvc_client.verifier.authorization import SCOPE_TOKEN

NAMES = ("roles", "scope", "upstream")

PARAMETERS = [
    parameter(
        "roles",
        "query",
        "The user must have **any** of these roles; comma separated.",
        {"type": "string", "pattern": "^[A-Za-z0-9_.:,-]+$"},
        example="admin,editor",
    ),
    parameter(
        "scope",
        "query",
        "The token must have **all** of this scope (RFC 6749 §3.3).",
        {"type": "string"},
        example="orders:read orders:write",
    ),
    parameter(
        "upstream",
        "query",
        "Sign an identity assertion for this service, one of `AUTHSVC_ASSERTION_UPSTREAMS`; for a "
        "proxy in `AUTHSVC_TRUSTED_PROXIES` only. What that setting requires for it is required "
        "as well.",
        {"type": "string", "pattern": "^[a-z0-9][a-z0-9._-]*$", "maxLength": 64},
        example="orders",
    ),
]


@dataclass(frozen=True, slots=True)
class Query:
    """
    What a gateway asks.

    Args:
        demands: All of them must be met: the query's, and those of its upstream.
        upstream: For whom to sign an identity assertion.
    """

    demands: tuple[Demands, ...]
    upstream: str | None


def read_query(query: bytes, *, upstreams: Iterable[Upstream]) -> Query:
    """
    What is asked.

    Args:
        query: As it came, percent-encoded.
        upstreams: Those that may be asked for, with what they demand.

    Raises:
        ValidationFailed: It asks nothing that makes sense.
    """
    try:
        pairs = parse_qsl(
            query.decode("ascii"), keep_blank_values=True, strict_parsing=bool(query),
            errors="strict", max_num_fields=len(NAMES),
        )  # fmt: skip
    except ValueError:
        raise _bad("The query cannot be read.", "query") from None
    given = dict(pairs)
    if not given.keys() <= set(NAMES) or len(given) < len(pairs):
        raise _bad(f"Give each of {', '.join(NAMES)} at most once, and nothing else.", "query")
    asked = Demands(
        roles=_roles(given["roles"]) if "roles" in given else frozenset(),
        scope=_scope(given["scope"]) if "scope" in given else frozenset(),
    )
    if "upstream" not in given:
        return Query((asked,), None)
    upstream = _upstream(given["upstream"], upstreams)
    return Query((Demands(upstream.roles, upstream.scope), asked), upstream.name)


def _upstream(name: str, upstreams: Iterable[Upstream]) -> Upstream:
    for upstream in upstreams:
        if upstream.name == name:
            return upstream
    raise _bad("Name one of AUTHSVC_ASSERTION_UPSTREAMS.", "upstream", "upstream")


def _roles(text: str) -> frozenset[str]:
    roles = text.split(",")
    if not all(ROLE_NAME.fullmatch(role) for role in roles):
        raise _bad(
            "Name roles of 1 to 64 characters of A-Z a-z 0-9 _ . : and -, with commas between.",
            "role_name",
            "roles",
        )
    return frozenset(roles)


def _scope(text: str) -> frozenset[str]:
    tokens = text.split(" ")
    if not all(SCOPE_TOKEN.fullmatch(token) for token in tokens):
        raise _bad("Name scope tokens (RFC 6749 §3.3), with a space between.", "scope", "scope")
    return frozenset(tokens)


def _bad(message: str, kind: str, *parameter: str) -> ValidationFailed:
    # A gateway throws the body away: the log has the parameter and what is wrong with it.
    detail = f"{'.'.join(('query', *parameter))}: {message}"
    return ValidationFailed.of("query", *parameter, msg=message, type=kind, detail=detail)
