"""The headers that the edge looks at, gathered in one pass."""

from __future__ import annotations

from starlette.types import Scope

Headers = dict[bytes, list[bytes]]

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
INTERESTING = frozenset(
    {
        *ONCE,
        b"access-control-request-headers",
        b"access-control-request-method",
        b"transfer-encoding",
        b"x-forwarded-for",
        b"x-forwarded-proto",
    }
)


def read_head(scope: Scope) -> Headers:
    """The values of the interesting headers by name, in the order in which they came."""
    found: Headers = {}
    for name, value in scope["headers"]:
        if name in INTERESTING:
            if name in found:
                found[name].append(value)
            else:
                found[name] = [value]
    return found
