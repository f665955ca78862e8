"""Access tokens that nobody issued (RFC 7515, RFC 7519, RFC 8725)."""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Callable
from random import Random
from typing import Any

from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.hashes import SHA256

from proof.malformed.attempt import JSON, Attempt, Header, World, make
from proof.malformed.base64url_text import (
    ALPHABET,
    LOOKALIKES,
    decode,
    encode,
    flip,
    insert,
    next_character,
)

LOGOUT = ("POST", "/auth/logout")
READ = (("GET", "/auth/me"), ("GET", "/auth/sessions"))
WRITE = (("DELETE", "/auth/sessions/{session_id}"), LOGOUT)
CHANGE = ("POST", "/auth/password/change")


def access_token(world: World, random: Random) -> Attempt:
    """A mutant of a live access token, in the header or the cookie, to all that take one."""
    session = random.choice(world.honest)
    true = {one.access_token for one in world.honest}
    while True:
        mutant = random.choice(ACCESS_MUTATIONS)(session.access_token, world, random)
        if mutant.strip(" \t") not in true:
            break
    endpoint = random.choice((*READ, *READ, *WRITE, CHANGE))
    headers: list[Header] = []
    if random.random() < 0.75:
        headers.append(("authorization", f"Bearer {mutant}"))
    else:
        headers.append(("cookie", f"authsvc_access={mutant}"))
        if session.csrf_token:
            headers.append(("x-csrf-token", session.csrf_token))
    body = None
    if endpoint == CHANGE:
        headers.append(JSON)
        body = json.dumps(
            {"current_password": session.account.secret(0), "new_password": world.secret(random)}
        ).encode()
    target = None
    if "{" in endpoint[1]:
        target = f"/auth/sessions/{random.choice(world.honest).family}"
    return make(
        "access token",
        endpoint,
        headers,
        body,
        target=target,
        forged=True,
        secrets=(mutant, session.account.secret(0)),
    )


def _header(token: str, world: World, random: Random) -> str:
    """Another header over the true payload and signature."""
    head, payload, signature = token.split(".")
    members = json.loads(decode(head))
    random.choice(
        (
            lambda: members.update(alg=random.choice(ALGORITHMS)),
            lambda: members.update(
                typ=random.choice(("JWT", "at+JWT", "application/at+jwt", "", None, 1))
            ),
            lambda: members.update(kid=random.choice(_kids(world, random))),
            lambda: members.update({random.choice(EXTRA): random.choice(_lures(world))}),
            lambda: members.pop(random.choice(list(members))),
        )
    )()
    text = json.dumps(members, ensure_ascii=random.random() < 0.9)
    if random.random() < 0.1:
        text = text.replace("{", random.choice(('{"alg":"RS256",', '{"kid":"x",', "[{")), 1)
    return f"{encode(text)}.{payload}.{random.choice((signature, signature, ''))}"


def _payload(token: str, world: World, random: Random) -> str:
    """Other claims over the true header and signature."""
    head, payload, signature = token.split(".")
    return f"{head}.{encode(_claims(payload, world, random))}.{signature}"


def _signature(token: str, _: World, random: Random) -> str:
    head, payload, signature = token.split(".")
    data = decode(signature)
    number = int.from_bytes(data)
    made = random.choice(
        (
            lambda: flip(data, random),
            lambda: data[:-1],
            lambda: b"\0" + data,
            lambda: bytes(len(data)),
            lambda: b"",
            lambda: (number + random.choice((1, -1))).to_bytes(len(data)),
            lambda: ((1 << 2048) - number).to_bytes(257)[-256:],
            lambda: random.randbytes(random.choice((32, 64, 256, 384, 6000))),
        )
    )()
    return f"{head}.{payload}.{encode(made)}"


def _resigned(token: str, world: World, random: Random) -> str:
    """Whole and well signed, with a key that is not ours (RFC 8725 §2.1, §3.1)."""
    head, payload, _ = token.split(".")
    claims = _claims(payload, world, random) if random.random() < 0.5 else decode(payload).decode()
    own: dict[str, Any] = json.loads(decode(head))
    if random.random() < 0.1:  # the one that costs a signature
        if random.random() < 0.7:
            numbers = world.attacker.public_key().public_numbers()
            own["jwk"] = {"kty": "RSA", "n": _number(numbers.n), "e": _number(numbers.e)}
        signed = f"{encode(json.dumps(own))}.{encode(claims)}"
        return f"{signed}.{encode(world.attacker.sign(signed.encode(), PKCS1v15(), SHA256()))}"
    # The public key as the secret of an HMAC, in the spellings that libraries have confused.
    own["alg"] = random.choice(("HS256", "RS256"))
    jwk = random.choice(world.jwks["keys"])
    secret = random.choice((jwk["n"].encode(), decode(jwk["n"]), json.dumps(jwk).encode(), b""))
    signed = f"{encode(json.dumps(own))}.{encode(claims)}"
    return f"{signed}.{encode(hmac.digest(secret, signed.encode(), hashlib.sha256))}"


def _serialisation(token: str, world: World, random: Random) -> str:
    head, payload, signature = token.split(".")
    return random.choice(
        (
            lambda: json.dumps({"protected": head, "payload": payload, "signature": signature}),
            lambda: f"{token}.",
            lambda: f".{token}",
            lambda: f"{head}.{payload}",
            lambda: f"{head}..{signature}",
            lambda: f"{head}.{payload}.{signature}.{signature}.{head}",
            lambda: f"{head}={'=' * random.randrange(2)}.{payload}.{signature}",
            lambda: f"{head}.{payload}.{signature[:-1]}{next_character(signature[-1])}",
            lambda: insert(
                token, random.choice((*LOOKALIKES, "%", " ", "\t", ",", ";", '"')), random
            ),
            lambda: insert(token, world.secret(random), random),
            token.swapcase,
            lambda: f'"{token}"',
            lambda: f"{encode('[' * random.choice((20, 4000)))}.{payload}.{signature}",
            lambda: f"{head}.{encode(random.choice(world.values or [b'null']))}.{signature}",
            lambda: f"{encode(random.choice(world.values or [b'null']))}.{payload}.{signature}",
            lambda: token + "A" * random.choice((1, 7000, 20_000)),
            lambda: "." * random.choice((1, 2, 3, 8000)),
            lambda: "".join(random.choices(ALPHABET + ".", k=random.randrange(900))),
        )
    )()


ACCESS_MUTATIONS: tuple[Callable[[str, World, Random], str], ...] = (
    _header,
    _header,
    _payload,
    _signature,
    _resigned,
    _serialisation,
)
ALGORITHMS: tuple[Any, ...] = (
    "none",
    "None",
    "NONE",
    "HS256",
    "RS384",
    "PS256",
    "ES256",
    "EdDSA",
    "",
    None,
    1,
    [],
)
EXTRA = ("crit", "jwk", "jku", "x5u", "x5c", "b64", "zip", "cty", "enc", "p2c", "__proto__")


def _kids(world: World, random: Random) -> tuple[Any, ...]:
    kid = world.jwks["keys"][0]["kid"]
    return (
        "",
        "../../../../dev/null",
        "x' OR '1'='1",
        kid[:-1],
        kid + "\0",
        kid.swapcase(),
        "".join(random.choices(ALPHABET, k=43)),
        "A" * 6000,
        None,
        0,
        [kid],
        {"kid": kid},
        "\ud800",
    )


def _lures(world: World) -> tuple[Any, ...]:
    numbers = world.attacker.public_key().public_numbers()
    return (
        {"kty": "RSA", "n": _number(numbers.n), "e": _number(numbers.e)},
        "http://127.0.0.1:1/jwks.json",
        "file:///etc/passwd",
        ["exp"],
        ["b64"],
        [],
        False,
        2**70,
        "DEF",
    )


def _claims(payload: str, world: World, random: Random) -> str:
    members = json.loads(decode(payload))
    random.choice(
        (
            lambda: members.update(exp=random.choice((2**31, 2**63, 1e300, -1, "9", None, True))),
            lambda: members.update(iat=0, nbf=0),
            lambda: members.update(sub=random.choice(world.honest).account.id[::-1]),
            lambda: members.update(sid=random.choice(world.honest).family.upper()),
            lambda: members.update(roles=["admin"]),
            lambda: members.update(aud=["authsvc", "*"]),
            lambda: members.update(iss=f"{members['iss']}/"),
            lambda: members.update(jti=world.secret(random)),
            lambda: members.pop(random.choice(list(members))),
        )
    )()
    return json.dumps(members)


def _number(value: int) -> str:
    return encode(value.to_bytes(-(-value.bit_length() // 8)))
