"""One malformed request, and what it is made from."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from random import Random
from typing import TypeAlias

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

from proof.client import Session

Text: TypeAlias = str | bytes
Header: TypeAlias = tuple[str, Text]

# With one of these the parser refuses the head and closes the connection.
UNSAFE = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")
JSON: Header = ("content-type", "application/json")


@dataclass(frozen=True, slots=True)
class Attempt:
    """
    What is sent once, and what its answer must not be.

    Args:
        grammar: What made it.
        endpoint: As in the OpenAPI document, or `elsewhere`.
        forged: It presents a credential that nobody issued, so that 2xx is a break-in.
        secrets: What no answer may repeat.
        framed: The server can tell where it ends, so that the next may follow at once.
        answers: At most so many; one more would be a smuggled request.
    """

    grammar: str
    endpoint: str
    request: bytes
    forged: bool = False
    secrets: tuple[bytes, ...] = ()
    framed: bool = True
    answers: int = 1

    @property
    def has_body_in_answer(self) -> bool:
        return not self.request.startswith(b"HEAD ")


@dataclass
class World:
    """
    What mutations begin with.

    Args:
        honest: Live sessions, one of each delivery: only mutants of their tokens are sent, so
            that they must still be alive after any number of requests.
        spent: Sessions whose true tokens are sent too, with something else that is malformed.
        endpoints: Method and path template of each operation of the OpenAPI document.
        writes: Those that take a body.
        client: Id and secret of a service client, whose tokens are for `resource`.
        values: JSON texts that Hypothesis made.
    """

    honest: Sequence[Session]
    spent: Sequence[Session]
    endpoints: Sequence[tuple[str, str]]
    writes: Sequence[tuple[str, str]]
    attacker: RSAPrivateKey
    jwks: dict[str, list[dict[str, str]]]
    sentinel: str
    client: tuple[str, str]
    resource: str
    values: Sequence[bytes] = field(default_factory=list)

    def of(self, delivery: str) -> Session:
        """The honest session of that delivery."""
        return next(session for session in self.honest if session.delivery == delivery)

    def secret(self, random: Random) -> str:
        """A value that nobody has seen and no answer may repeat."""
        return f"{self.sentinel}{random.getrandbits(64):016x}"


def render(
    method: str, target: Text, headers: Sequence[Header] = (), body: bytes | None = None
) -> tuple[bytes, bool]:
    """A request with a true Content-Length, and whether its framing is beyond doubt."""
    target = _bytes(target)
    lines = [_bytes(method) + b" " + target + b" HTTP/1.1"]
    if not any(name == "host" for name, _ in headers):
        lines.append(b"host: localhost")
    if body is not None:
        lines.append(b"content-length: %d" % len(body))
    lines += [_bytes(name) + b": " + _bytes(value) for name, value in headers]
    # The server closes after answers to these: a second host, a target that is none.
    clean = (
        not any(UNSAFE.search(line) for line in lines)
        and target.startswith(b"/")
        and not any(byte in b" #\t" or byte >= 0x80 for byte in target)
        and [name for name, _ in headers].count("host") < 2
    )
    return b"\r\n".join(lines) + b"\r\n\r\n" + (body or b""), clean


def make(
    grammar: str,
    endpoint: tuple[str, str],
    headers: Sequence[Header] = (),
    body: bytes | None = None,
    *,
    target: Text | None = None,
    forged: bool = False,
    secrets: Sequence[Text] = (),
) -> Attempt:
    """An attempt against a documented endpoint."""
    method, template = endpoint
    path = template.replace("{session_id}", "1f6f2a38-9d1c-4a8e-9a55-0f7f3b0c2d11")
    request, framed = render(method, path if target is None else target, headers, body)
    return Attempt(
        grammar=grammar,
        endpoint=f"{method} {template}",
        request=request,
        forged=forged,
        secrets=tuple(text for secret in secrets if len(text := _bytes(secret)) > 15),
        framed=framed,
    )


def _bytes(text: Text) -> bytes:
    return text if isinstance(text, bytes) else text.encode("utf-8", "surrogateescape")
