"""Refresh tokens that nobody issued (CONTRACT §5.2)."""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Callable
from random import Random

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

# key id, family id, generation, delivery, MAC (CONTRACT §5.2)
FIELDS = (slice(0, 8), slice(8, 24), slice(24, 32), slice(32, 33), slice(33, 65))
REFRESH, LOGOUT = ("POST", "/auth/refresh"), ("POST", "/auth/logout")


def refresh_token(world: World, random: Random) -> Attempt:
    """A mutant of a live refresh token, in the body or the cookie, to refresh or logout."""
    session = random.choice(world.honest)
    token = session.refresh_token
    endpoint = random.choice((REFRESH, REFRESH, REFRESH, LOGOUT))
    in_cookie = random.random() < 0.4
    if in_cookie != session.by_cookie and endpoint == REFRESH and random.random() < 0.1:
        mutant = token  # a true token by the wrong transport is no better than a forged one
    else:
        mutant = mutate_refresh_token(token, world, random)
    secrets = (mutant.encode("utf-8", "surrogateescape"),)
    if in_cookie:
        headers: list[Header] = [("cookie", f"authsvc_refresh={mutant}")]
        if session.csrf_token:
            headers.append(("x-csrf-token", session.csrf_token))
        return make("refresh token", endpoint, headers, b"", forged=True, secrets=secrets)
    body = json.dumps({"refresh_token": mutant}, ensure_ascii=random.random() < 0.5)
    content = body.encode("utf-8", "surrogateescape")
    return make("refresh token", endpoint, [JSON], content, forged=True, secrets=secrets)


def mutate_refresh_token(token: str, world: World, random: Random) -> str:
    """Another text than `token`, also after the optional whitespace that HTTP allows."""
    while True:
        mutant = random.choice(REFRESH_MUTATIONS)(token, world, random)
        if mutant.strip(" \t") not in {session.refresh_token for session in world.honest}:
            return mutant


def _field(token: str, world: World, random: Random) -> str:
    data = bytearray(_payload(token))
    part = random.choice(FIELDS)
    size = part.stop - part.start
    other = _payload(random.choice(world.honest).refresh_token)
    data[part] = random.choice(
        (
            bytes(size),
            b"\xff" * size,
            random.randbytes(size),
            other[part],
            _add(bytes(data[part]), random.choice((-1, 1, 2, 256, 1 << 63))),
            flip(bytes(data[part]), random),
        )
    )
    return _token(bytes(data))


def _length(token: str, _: World, random: Random) -> str:
    return random.choice(
        (
            lambda: token[: random.randrange(len(token))],
            lambda: token[random.randrange(1, len(token)) :],
            lambda: token + random.choice(ALPHABET) * random.choice((1, 2, 4, 60, 9000)),
            lambda: token + token,
            lambda: _token(_payload(token)[: random.randrange(65)]),
            lambda: _token(_payload(token) + random.randbytes(random.randrange(1, 9))),
            lambda: "",
        )
    )()


def _alphabet(token: str, world: World, random: Random) -> str:
    prefix, data = token[:5], _payload(token)
    return random.choice(
        (
            lambda: prefix + b64encode(data).decode(),
            lambda: token + "=",
            lambda: (
                token[:-1] + next_character(token[-1])
            ),  # the two spare bits of the last character
            token.swapcase,
            lambda: token.replace(".", random.choice(("..", "", "%2e", ".", ":")), 1) + "A",
            lambda: random.choice(("ART1.", "art2.", "art1.art1.", "art1 ", "")) + token[5:],
            lambda: insert(
                token, random.choice((*LOOKALIKES, "%41", "=", "+", "/", " ", '"')), random
            ),
            lambda: insert(token, world.secret(random), random),
            lambda: prefix + data.hex(),
            lambda: prefix + "".join(random.choices(ALPHABET, k=len(token) - 5)),
        )
    )()


def _character(token: str, _: World, random: Random) -> str:
    at = random.randrange(len(token))
    return token[:at] + random.choice(ALPHABET) + token[at + 1 :]


REFRESH_MUTATIONS: tuple[Callable[[str, World, Random], str], ...] = (
    _field,
    _field,
    _length,
    _alphabet,
    _character,
)


def _payload(token: str) -> bytes:
    return decode(token[5:])


def _token(data: bytes) -> str:
    return "art1." + encode(data)


def _add(data: bytes, value: int) -> bytes:
    return ((int.from_bytes(data) + value) % (1 << 8 * len(data))).to_bytes(len(data))
