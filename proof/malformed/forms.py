"""
Requests of service clients that are none: forms, Basic credentials and assertions.

RFC 6749 (forms, §2.3.1 Basic), RFC 7523 (assertions), RFC 7009, RFC 7662, RFC 8707.
"""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Callable
from random import Random
from typing import Any
from urllib.parse import quote_plus, urlencode

from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.hashes import SHA256

from proof.malformed.access_tokens import ACCESS_MUTATIONS
from proof.malformed.attempt import Attempt, Header, Text, World, make
from proof.malformed.base64url_text import encode
from proof.malformed.bodies import TEXTS

TOKEN, INTROSPECT, REVOKE = ENDPOINTS = (
    ("POST", "/oauth/token"),
    ("POST", "/oauth/introspect"),
    ("POST", "/oauth/revoke"),
)
FORM = "application/x-www-form-urlencoded"
JWT_BEARER = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
GRANTS = ("", "password", "refresh_token", "authorization_code", "CLIENT_CREDENTIALS", "\0")
RESOURCES = (
    "", "x", "http://", "https://orders.example.com#a", "//a", "urn:x", "https://[::1", "\0",
    "https://a/" + "b" * 3000, "HTTPS://ORDERS.example.com", "javascript:alert(1)",
)  # fmt: skip
SCOPES = (
    '"',
    "\\",
    "\t",
    "a  b",
    " a",
    "ü",
    "\0",
    "a " * 2000,
    "admin",
    "orders:read\norders:write",
)
TYPES: tuple[Text, ...] = (
    "application/json", "text/plain", "", FORM + "; charset=utf-16", FORM.upper(),
    "multipart/form-data; boundary=x", FORM + ", application/json", b"\xff", FORM + ";" * 2000,
)  # fmt: skip
Pairs = list[tuple[str, str]]


def form(world: World, random: Random) -> Attempt:
    """A request of a service client with something wrong, from a stranger or from a real one."""
    endpoint = random.choice(ENDPOINTS)
    known = random.random() < 0.5
    client_id, secret = world.client if known else ("nobody", world.secret(random))
    pairs = _members(endpoint, world, random)
    headers: list[Header] = [("content-type", FORM)]
    if random.random() < 0.6:
        headers.append(("authorization", _basic(client_id, secret, random)))
    else:
        pairs += _credentials(client_id, secret, world, random)
    body = random.choice(MUTATIONS)(pairs, random)
    if random.random() < 0.1:
        headers[0] = ("content-type", random.choice(TYPES))
    return make("form", endpoint, headers, body, forged=not known, secrets=(secret,))


def _members(endpoint: tuple[str, str], world: World, random: Random) -> Pairs:
    if endpoint != TOKEN:
        true = random.choice(world.honest).access_token
        mutant = random.choice(ACCESS_MUTATIONS)(true, world, random)
        hint = random.choice(("access_token", "refresh_token", "", "\0", "x" * 3000))
        return [("token", mutant), ("token_type_hint", hint)]
    wrong = random.randrange(3)
    return [
        ("grant_type", random.choice(GRANTS) if wrong == 0 else "client_credentials"),
        ("resource", random.choice(RESOURCES) if wrong == 1 else world.resource),
        ("scope", random.choice((*SCOPES, *TEXTS))),
    ]


def _credentials(client_id: str, secret: str, world: World, random: Random) -> Pairs:
    """In the form: a secret, or an assertion that nobody of that name has signed."""
    if random.random() < 0.4:
        return [("client_id", client_id), ("client_secret", secret)]
    text = random.choice(("", ".", "..", "a.b.c", _assertion(client_id, world, random)))
    kind = random.choice((JWT_BEARER, JWT_BEARER, "", "urn:ietf:params:oauth:x"))
    return [("client_assertion_type", kind), ("client_assertion", text)]


def _assertion(client_id: str, world: World, random: Random) -> str:
    issuer = random.choice((client_id, "", None, ["a"], {"a": 1}, "\0", 2**70))
    claims: dict[str, Any] = {
        "iss": issuer,
        "sub": random.choice((issuer, client_id)),
        "aud": random.choice(("http://localhost:8000", ["http://localhost:8000"], "", None, 1)),
        "exp": random.choice((2**33, 2**70, 1e308, -1, "1", None, True)),
        "iat": random.choice((0, 2**33, 1.5, "x")),
        "jti": random.choice(("a", "", None, "j" * 3000, {"a": []})),
    }
    head: dict[str, Any] = {
        "alg": random.choice(("RS256", "PS256", "ES256", "EdDSA", "none", "HS256", "", None, 1)),
        "kid": random.choice(("a", "", None, "../" * 50, [])),
        "typ": random.choice(("JWT", "client-authentication+jwt", 1)),
    }
    signed = f"{encode(json.dumps(head))}.{encode(json.dumps(claims))}"
    if random.random() < 0.8:
        return f"{signed}.{encode(random.randbytes(random.choice((0, 1, 64, 256))))}"
    return f"{signed}.{encode(world.attacker.sign(signed.encode(), PKCS1v15(), SHA256()))}"


def _basic(client_id: str, secret: str, random: Random) -> Text:
    pair = f"{quote_plus(client_id)}:{quote_plus(secret)}".encode()
    return random.choice(
        (
            lambda: b"Basic " + b64encode(pair),
            lambda: b"basic " + b64encode(pair),
            lambda: b"Basic " + b64encode(pair)[:-1],
            lambda: b"Basic " + b64encode(pair) + b"=",
            lambda: b"Basic " + b64encode(pair.replace(b":", b"")),
            lambda: b"Basic " + b64encode(b"\xff" + pair),
            lambda: b"Basic " + b64encode(b"%00%zz%" + pair + b"%c0%af"),
            lambda: b"Basic " + b64encode(b"\0" + pair),
            lambda: b"Basic " + b64encode(pair * 300),
            lambda: b"Basic  " + b64encode(pair),
            lambda: b"Basic",
            lambda: b"Basic " + pair,
            lambda: b"Basic " + b64encode(pair) + b", Bearer x",
            lambda: b"Bearer " + b64encode(pair),
        )
    )()


def _encoded(pairs: Pairs, random: Random) -> bytes:
    random.shuffle(pairs)
    return urlencode(pairs, errors="surrogatepass").encode()


def _twice(pairs: Pairs, random: Random) -> bytes:
    return _encoded([*pairs, *random.choices(pairs, k=random.choice((1, 2, 1500)))], random)


def _one_missing(pairs: Pairs, random: Random) -> bytes:
    return _encoded(random.sample(pairs, len(pairs) - 1), random)


def _bytes_changed(pairs: Pairs, random: Random) -> bytes:
    data = bytearray(_encoded(pairs, random))
    for _ in range(random.randrange(1, 4)):
        at = random.randrange(len(data))
        data[at:at] = random.choice((b"%", b"%zz", b"&&", b"=", b";", b"\0", b"\xff", b"+", b"%00"))
        del data[at + 1 : at + random.randrange(1, 3)]
    return bytes(data)


def _something_else(pairs: Pairs, random: Random) -> bytes:
    return random.choice(
        (
            lambda: b"",
            lambda: b"&" * 5000,
            lambda: b"=" * 5000,
            lambda: json.dumps(dict(pairs)).encode(),
            lambda: urlencode(pairs, errors="surrogatepass").encode("utf-16"),
            lambda: _encoded(pairs, random)[: random.randrange(40)],
            lambda: _encoded(pairs, random) + b"&" + b"a" * 66_000 + b"=1",
            lambda: random.randbytes(random.randrange(300)),
        )
    )()


MUTATIONS: tuple[Callable[[Pairs, Random], bytes], ...] = (
    _encoded,
    _encoded,
    _twice,
    _one_missing,
    _bytes_changed,
    _something_else,
)
