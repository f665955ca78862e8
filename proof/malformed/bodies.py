"""JSON bodies that are none, or that two parsers read in two ways (RFC 8259, RFC 7493)."""

from __future__ import annotations

import json
from collections.abc import Callable
from random import Random
from typing import Any

from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from proof.malformed.attempt import JSON, Attempt, Header, World, make

LOGIN = ("POST", "/auth/login")
TYPES: tuple[Any, ...] = (
    None,
    True,
    0,
    -1,
    1.5,
    2**63,
    2**64,
    10**19,
    "",
    [],
    {},
    [[]],
    {"": None},
)
TEXTS = (
    "\0",
    "a\0b@example.com",
    "a@b",
    "@",
    "a@" + "b" * 300 + ".com",
    "ü@exämple.com",
    "a@xn--a.com",
    "\u202ea@example.com",
    "a" * 70 + "@example.com",
    '"a b"@example.com',
    "a@[127.0.0.1]",
    "a@example.com\r\nX: y",
    "ﬁ" * 64,
    "\u0344" * 128,  # twice as long after NFC
    "\U0010ffff" * 20,
    "p" * 129,
    "p" * 30_000,
    "native",
    "NATIVE",
)
LITERALS = (
    b"NaN",
    b"Infinity",
    b"-Infinity",
    b"1e999",
    b"-1e999",
    b"-0",
    b"01",
    b"1.",
    b".5",
    b"+1",
    b"0x10",
    b"9" * 5000,
    b'"\\ud800"',
    b'"\\udc00\\ud800"',
    b'"\\u0000"',
    b'"\\x41"',
    b"'a'",
    b'"\xff"',
    b'"\xc0\xaf"',
    b'"\xed\xa0\x80"',
    b'"\t"',
    b"undefined",
    b"truE",
    b"/* */1",
    b"[" * 33 + b"]" * 33,
    b"[" * 20_000,
    b'{"a":' * 31 + b"1" + b"}" * 31,
    b'{"a":' * 33 + b"1" + b"}" * 33,
    b'{"a":1,"a":1}',
)


def json_body(world: World, random: Random) -> Attempt:
    """A body with one thing wrong, for each endpoint that takes one."""
    endpoint = random.choice(world.writes)
    secret = world.secret(random)
    members = _members(endpoint[1], world, secret, random)
    body = random.choice(MUTATIONS)(members, world, random)
    headers: list[Header] = [JSON]
    if endpoint[1] == "/auth/password/change" and random.random() < 0.9:
        headers.append(("authorization", f"Bearer {world.spent[0].access_token}"))
    return make("JSON body", endpoint, headers, body, secrets=(secret,))


def hypothesis_values(number: int, amount: int = 150) -> list[bytes]:
    """JSON texts that Hypothesis finds interesting; the same for the same number."""
    found: list[bytes] = []
    scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text()
    names = st.sampled_from(["email", "password", "refresh_token", "scope", "alg", "kid", ""])

    @seed(number)
    @settings(
        max_examples=amount,
        phases=[Phase.generate],
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(
        st.recursive(
            scalars,
            lambda inner: st.lists(inner) | st.dictionaries(names | st.text(), inner),
            max_leaves=30,
        ),
        st.booleans(),
    )
    def collect(value: object, ascii_only: bool) -> None:  # noqa: FBT001 - Hypothesis passes it
        text = json.dumps(value, ensure_ascii=ascii_only)
        found.append(text.encode("utf-8", "surrogatepass"))

    collect()
    return found


def _members(path: str, world: World, secret: str, random: Random) -> dict[str, Any]:
    if path == "/auth/password/change":
        return {"current_password": secret, "new_password": secret[::-1]}
    if path in {"/auth/refresh", "/auth/logout"}:
        return {"refresh_token": secret}
    email = f"{random.getrandbits(40):010x}@example.com"
    members: dict[str, Any] = {"email": email, "password": secret}
    if path == LOGIN[1]:
        members["delivery"] = random.choice(("native", "spa", "web"))
        if random.random() < 0.2:
            members["email"] = world.spent[0].account.email
    return members


def _wrong_value(members: dict[str, Any], _: World, random: Random) -> bytes:
    name = random.choice(list(members))
    return json.dumps({**members, name: random.choice((*TYPES, *TEXTS))}).encode()


def _literal(members: dict[str, Any], world: World, random: Random) -> bytes:
    """A raw text in the place of one value, or as one more."""
    name = random.choice([*members, "remember", "scope", world.secret(random)])
    rest = {key: value for key, value in members.items() if key != name}
    text = json.dumps(rest).encode()[:-1]
    comma = b", " if rest else b""
    values = random.choice((LITERALS, world.values or LITERALS))
    return text + comma + json.dumps(name).encode() + b": " + random.choice(values) + b"}"


def _structure(members: dict[str, Any], world: World, random: Random) -> bytes:
    text = json.dumps(members).encode()
    first = next(iter(members))
    return random.choice(
        (
            lambda: text[: random.randrange(len(text))],
            lambda: text[random.randrange(1, len(text)) :],
            lambda: text + random.choice((b"}", b"x", b"\0", text, b",", b"\xef\xbb\xbf")),
            lambda: b"\xef\xbb\xbf" + text,
            lambda: text.decode().encode(random.choice(("utf-16", "utf-16-be", "utf-32"))),
            lambda: b"[" + text + b"]",
            lambda: json.dumps(text.decode()).encode(),
            lambda: b"",
            lambda: random.choice((b"null", b"true", b"0", b'""', b"[]", b"{}", b" ")),
            lambda: b'{"%s": 1, ' % first.encode() + text[1:],
            lambda: b'{"\\u%04x%s": 1, ' % (ord(first[0]), first[1:].encode()) + text[1:],
            lambda: text.replace(b'"', b"'"),
            lambda: text.replace(b'"', "“".encode()),
            lambda: text[:-1] + b',"' + b"a" * random.choice((1, 66_000)) + b'":1}',
            lambda: json.dumps({**members, **dict.fromkeys(map(str, range(3000)))}).encode(),
            lambda: json.dumps({**members, "admin": True, "roles": ["admin"]}).encode(),
            lambda: random.choice(world.values or [b"{}"]),
            lambda: random.randbytes(random.randrange(200)),
        )
    )()


def _bytes_changed(members: dict[str, Any], world: World, random: Random) -> bytes:
    del world
    data = bytearray(json.dumps(members).encode())
    for _ in range(random.randrange(1, 4)):
        at = random.randrange(len(data))
        kind = random.randrange(3)
        if kind == 0:
            data[at] = random.randrange(256)
        elif kind == 1:
            data.insert(at, random.choice(b'"{}[]:,\\\0\xff\xed'))
        else:
            del data[at : at + random.randrange(1, 5)]
        if not data:
            break
    return bytes(data)


MUTATIONS: tuple[Callable[[dict[str, Any], World, Random], bytes], ...] = (
    _wrong_value,
    _literal,
    _structure,
    _bytes_changed,
)
