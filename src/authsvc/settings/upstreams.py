"""
The services behind a gateway that identity assertions are made for, and what each demands.

    orders, billing=role:billing role:admin scope:invoices.read

A gateway names the upstream in a query, which a slip in its configuration may leave to a client;
what the upstream demands therefore stands here, and a query can only add to it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Annotated

from pydantic import BeforeValidator
from pydantic_settings import NoDecode

from authsvc.protocol.clients import SCOPE_TOKEN
from authsvc_client.tokens.claims import ROLE_NAME

# It stands in `aud: urn:authsvc:upstream:NAME`.
NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Upstream:
    """
    A service behind a gateway.

    Args:
        roles: The user must have any of these; empty: every user.
        scope: The token must have all of these.
    """

    name: str
    roles: frozenset[str] = frozenset()
    scope: frozenset[str] = frozenset()


def _upstreams(value: object) -> object:
    if not isinstance(value, str):
        return value
    found = tuple(_upstream(part) for part in value.split(",") if part.strip())
    if len({upstream.name for upstream in found}) < len(found):
        raise ValueError(
            "names an upstream twice; write all its requirements after its name, such as "
            "billing=role:billing scope:invoices.read"
        )
    return found


def _upstream(text: str) -> Upstream:
    name, demanding, demands = text.strip().partition("=")
    if not NAME.fullmatch(name):
        raise ValueError(
            "holds something that is not a name; write names of a-z 0-9 . _ and -, at most "
            "64 characters long, with commas between, such as orders"
        )
    pairs = [demand.partition(":") for demand in demands.split()]
    # `billing=` and a slip in a demand must not become "whoever logs in".
    if demanding and not (pairs and all(_is_demand(kind, told) for kind, _, told in pairs)):
        raise ValueError(
            f"says something of {name} that is not a requirement; write role:NAME (any of them "
            "suffices) and scope:TOKEN (all are needed) with spaces between, such as "
            "billing=role:billing scope:invoices.read"
        )
    return Upstream(
        name,
        roles=frozenset(told for kind, _, told in pairs if kind == "role"),
        scope=frozenset(told for kind, _, told in pairs if kind == "scope"),
    )


def _is_demand(kind: str, told: str) -> bool:
    patterns = {"role": ROLE_NAME, "scope": SCOPE_TOKEN}
    return kind in patterns and patterns[kind].fullmatch(told) is not None


Upstreams = Annotated[tuple[Upstream, ...], NoDecode, BeforeValidator(_upstreams)]
