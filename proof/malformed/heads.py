"""Headers, cookies and targets of a shape that no honest client sends."""

from __future__ import annotations

import json
from random import Random

from proof.malformed.attempt import (
    JSON,
    Attempt,
    Header,
    Text,
    World,
    make,
    render,
)

COOKIES = ("authsvc_refresh", "authsvc_access", "authsvc_csrf", "authsvc_device")
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "PROPFIND", "QUERY")
ODD: tuple[Text, ...] = (
    "",
    " ",
    ",",
    ";",
    "*",
    "null",
    "0",
    "-1",
    "9" * 400,
    "%00",
    "a" * 5000,
    b"\x80\xff",
    b"\xc3\xa9",
    b"\xe2\x80\xa8",
    b"\x1f",
    b"a\tb",
    '"unclosed',
    "a=b; c=d",
    "=?utf-8?q?=00?=",
    "${jndi:ldap://127.0.0.1:1/a}",
    "() { :; }",
    "<script>",
    "'; DROP TABLE users; --",
)
VALUES: dict[str, tuple[Text, ...]] = {
    "idempotency-key": ("k" * 15, "k" * 256, "k" * 16 + " k", b"k" * 16 + b"\x80", "k" * 60_000),
    "content-type": (
        "text/plain",
        "application/json; charset=utf-16",
        "application/json; charset=utf-8; charset=latin-1",
        "application/json, text/plain",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
        "application/json;",
        "APPLICATION/JSON",
    ),
    "x-forwarded-for": (
        "127.0.0.1, ::1",
        "1.2.3.4:80",
        "[::ffff:1.2.3.4]",
        "unknown",
        "1.2.3.4 " * 900,
    ),
    "x-forwarded-proto": ("https, http", "javascript", "https\thttp"),
    "x-forwarded-host": ("evil.example", "localhost, evil.example"),
    "forwarded": ("for=127.0.0.1;host=evil.example", 'for="[::1'),
    "origin": (
        "http://localhost.evil.example",
        "null",
        "http://localhost:0",
        "http://[::1",
        "HTTP://LOCALHOST",
    ),
    "referer": (
        "http://[",
        "http://user:pass@localhost/",
        "//localhost",
        "http://localhost:99999/",
    ),
    "host": (
        "localhost:99999999",
        "evil.example",
        "localhost:80:80",
        "[::1",
        "127.0.0.1\\@x",
        "localhost.",
        "",
    ),
    "sec-fetch-site": ("cross-site", "same-origin, cross-site", "SAME-ORIGIN"),
    "content-encoding": ("gzip", "identity, gzip", "br"),
    "x-csrf-token": ("a.b", "a" * 9000, b"\xff" * 40),
    "authorization": (
        "Bearer",
        "Bearer ",
        "Basic Og==",
        "Bearer a b",
        "bearer\ta",
        "Digest x=",
        "Bearer a, Bearer b",
    ),
    "if-none-match": ('W/"a"', '"a', "*, *", '"' * 4000),
    "if-modified-since": ("Thu, 99 Jan 1970 00:00:00 GMT", "0"),
    "range": ("bytes=0-0", "bytes=-1", "bytes=9-1,0-0" * 100),
    "accept": ("*/*;q=NaN", "text/html;" * 500),
    "accept-encoding": ("gzip;q=2", "identity;q=0, *;q=0"),
    "user-agent": (b"\x80\x81\x82", "a" * 30_000, b"\xed\xa0\x80"),
    "x-request-id": ("a" * 4000, b"\xff"),
    "x-http-method-override": ("DELETE",),
    "access-control-request-method": ("DELETE", "\x7f", ""),
    "access-control-request-headers": ("a" * 5000, "authorization,*"),
    "expect": ("100-continue", "200-ok"),
    "upgrade": ("websocket", "h2c", "TLS/1.2"),
    "traceparent": ("00-0-0-00", "ff-" + "0" * 60),
    "": ("no name",),
    "a b": ("space in the name",),
    "content-length ": ("1",),
}
PIECES = (
    "/", "//", "/.", "/..", "/../", "/./", "%2f", "%2e%2e", "%00", "%0a", "%0d%0a", "%", "%g1",
    "%c0%af", "%ff", "%ed%a0%80", "%e2%80%a8", "\\", ";a=b", ";", "?", "??", "&", "=", "#",
    "+", "~",
    "auth", "login", "me", "sessions", "healthz", ".well-known", "jwks.json", "AUTH", "*", "é", " ",
)  # fmt: skip
IDS = (
    "{1f6f2a38-9d1c-4a8e-9a55-0f7f3b0c2d11}",
    "urn:uuid:1f6f2a38-9d1c-4a8e-9a55-0f7f3b0c2d11",
    "1F6F2A38-9D1C-4A8E-9A55-0F7F3B0C2D11",
    "1f6f2a389d1c4a8e9a550f7f3b0c2d11",
    "00000000-0000-0000-0000-000000000000",
    "ffffffff-ffff-ffff-ffff-ffffffffffff",
    "1f6f2a38-9d1c-4a8e-9a55-0f7f3b0c2d1g",
    "%00", "..", "0", "null", "-1", "1" * 3000, "1f6f2a38%2d9d1c-4a8e-9a55-0f7f3b0c2d11",
)  # fmt: skip


def header(world: World, random: Random) -> Attempt:
    """A request that would be right, with one to three headers that are not."""
    endpoint, headers, body = _rightful(world, random)
    for _ in range(random.choice((1, 1, 1, 2, 3))):
        name = random.choice(tuple(VALUES))
        value = random.choice(random.choice((VALUES[name], VALUES[name], ODD)))
        for _ in range(random.choice((1, 1, 1, 2))):
            headers.append((name, value))
        if random.random() < 0.3:
            headers = [pair for pair in headers if pair[0] != name or pair[1] == value]
    if random.random() < 0.02:
        headers += [(f"x-{n}", "a") for n in range(random.choice((90, 101, 260)))]
    secret = world.secret(random)
    headers.append(("x-api-key", secret))
    return make("header", endpoint, headers, body, secrets=(secret,))


def cookie(world: World, random: Random) -> Attempt:
    """Cookie headers as no browser writes them (RFC 6265bis §5.7)."""
    endpoint = random.choice(world.endpoints)
    session = random.choice(world.spent)
    name = random.choice(COOKIES)
    value = random.choice(
        (
            session.refresh_token,
            session.access_token,
            f'"{session.access_token}"',
            world.secret(random),
            "",
            "a" * 4097,
        )
    )
    pair = f"{name}={value}"
    lines: list[Text] = list(
        random.choice(
            (
                lambda: (f"{pair}; {pair}",),
                lambda: (pair, pair),
                lambda: (f"{pair}; {name}=other",),
                lambda: (f"$Version=1; {pair}; $Path=/",),
                lambda: (f"{name.upper()}={value}", f"__Host-{pair}", f"__Secure-{pair}"),
                lambda: (f" \t{name} = {value} ;;;; ",),
                lambda: (f"{pair},{pair}",),
                lambda: (f"{name}",),
                lambda: (f"={pair}",),
                lambda: (pair.encode() + random.choice((b"\x80", b"\xff", b"\x1f", b"\xc2\xa0")),),
                lambda: (
                    "; ".join(f"c{n}=v" for n in range(random.choice((50, 4000)))) + f"; {pair}",
                ),
                lambda: (pair.replace("=", "%3d"),),
                lambda: (f'{name}="{value}; a=b"',),
                lambda: (random.choice(ODD),),
                lambda: (random.randbytes(40).replace(b"\r", b"").replace(b"\n", b""),),
            )
        )()
    )
    headers: list[Header] = [("cookie", line) for line in lines]
    if session.csrf_token and random.random() < 0.5:
        headers.append(("x-csrf-token", session.csrf_token))
    return make("cookie", endpoint, headers, None if endpoint[0] == "GET" else b"")


def target(world: World, random: Random) -> Attempt:
    """Paths and queries: percent signs, dots, other methods, ids that are none."""
    secret = world.secret(random)
    method, template = random.choice(world.endpoints)
    path = template.replace("{session_id}", random.choice(IDS))
    kind = random.randrange(6)
    if kind == 0:
        path = "/" + "".join(random.choices(PIECES, k=random.randrange(1, 9)))
    elif kind == 1:
        at = random.randrange(1, len(path) + 1)
        path = path[:at] + random.choice(PIECES) + path[at:]
    elif kind == 2:
        at = random.randrange(1, len(path) + 1)
        path = path[:at] + "".join(f"%{ord(c):02x}" for c in path[at : at + 3]) + path[at + 3 :]
    elif kind == 3:
        method = random.choice(METHODS)
    elif kind == 4:
        path = random.choice((path.upper(), path + "/", path + "/" * 9000, "/" * 3000, path * 40))
    query = random.choice(
        ("", "", f"?token={secret}", f"?a=%{secret}&a=&=&%ff=%", "?" + "&" * 5000)
    )
    session = random.choice(world.spent)
    headers: list[Header] = []
    if random.random() < 0.5:
        headers.append(("authorization", f"Bearer {session.access_token}"))
    request, framed = render(method, path + query, headers)
    documented = (method, template) in world.endpoints and kind not in {0, 4}
    return Attempt(
        grammar="target",
        endpoint=f"{method} {template}" if documented else "elsewhere",
        request=request,
        secrets=(secret.encode(),),
        framed=framed,
    )


def _rightful(world: World, random: Random) -> tuple[tuple[str, str], list[Header], bytes | None]:
    """A request that may well succeed, with tokens that may be spent."""
    method, path = endpoint = random.choice(world.endpoints)
    session = random.choice(world.spent)
    headers: list[Header] = []
    if path in {"/auth/refresh", "/auth/logout"}:
        if session.by_cookie:
            headers.append(("cookie", f"authsvc_refresh={session.refresh_token}"))
            headers.append(("x-csrf-token", session.csrf_token or "none"))
            return endpoint, headers, b""
        return endpoint, [JSON], json.dumps({"refresh_token": session.refresh_token}).encode()
    if path in {"/auth/login", "/auth/register"}:
        email = random.choice((session.account.email, f"{random.getrandbits(48):x}@example.com"))
        body = {"email": email, "password": session.account.secret(0)}
        return endpoint, [JSON], json.dumps(body).encode()
    if path == "/auth/password/change":
        body = {"current_password": world.secret(random), "new_password": world.secret(random)}
        headers.append(JSON)
    headers.append(("authorization", f"Bearer {session.access_token}"))
    if method == "GET":
        return endpoint, headers, None
    return endpoint, headers, json.dumps(body).encode() if headers[0] == JSON else None
