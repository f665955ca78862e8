"""
Read a JWS in compact serialisation (RFC 7515 §7.1, RFC 8725): one strict reader for every `typ`.

It knows one form: header exactly `alg typ kid`, RS256, the `typ` in one spelling, canonical
base64url. There is no option that relaxes any of it.

    jws = read(token, "at+jwt")
    payload = jws.verify(keys[jws.kid])
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.hashes import SHA256

from authsvc_client.tokens import base64url, json_object
from authsvc_client.tokens.errors import BadHeader, BadSignature, Malformed

MAX_LENGTH = 8192  # characters; ours stay under 900, and nothing is decoded before this check
HEADER_MEMBERS = {"alg", "typ", "kid"}
COMPACT = re.compile(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+", re.ASCII)
KID = re.compile(r"[A-Za-z0-9_-]{43}", re.ASCII)  # a SHA-256 thumbprint (RFC 7638)

PADDING = PKCS1v15()
DIGEST = SHA256()


@dataclass(frozen=True)
class Jws:
    """
    A JWS of good form, whose signature has not been verified yet.

    Args:
        kid: The name of the key that is said to have signed it.
        signed: Header and payload as they were signed.
    """

    kid: str
    signed: str
    signature: bytes

    def verify(self, key: RSAPublicKey) -> dict[str, object]:
        """
        The payload, if that key signed it.

        Args:
            key: The issuer's key of that `kid`. Nothing in the token itself is ever used as a
                key or fetched (RFC 7515 §4.1.2-4.1.6).

        Raises:
            BadSignature, Malformed: It did not; or it signed something that is no JSON object.
        """
        try:
            key.verify(self.signature, self.signed.encode("ascii"), PADDING, DIGEST)
        except (InvalidSignature, ValueError):
            raise BadSignature from None
        return _object(self.signed.partition(".")[2])


def read(token: str, typ: str, *, max_length: int = MAX_LENGTH) -> Jws:
    """
    Parse a compact JWS and check its header (RFC 7515 §7.1); never fails with another error.

    Args:
        typ: What it must be, such as ``at+jwt``: a token of one kind is none of another
            (RFC 8725 §3.11).
        max_length: In characters.

    Raises:
        Malformed, BadHeader: It is none of ours.
    """
    # Size and form first: they cost nothing, whatever the length.
    if not isinstance(token, str) or len(token) > max_length or not COMPACT.fullmatch(token):
        raise Malformed
    signed, _, signature = token.rpartition(".")
    return Jws(_key_id(_object(signed.partition(".")[0]), typ), signed, _decode(signature))


def _key_id(header: dict[str, object], typ: str) -> str:
    """
    The `kid` of a header that is exactly ours.

    An unknown member is refused rather than ignored: `crit` and `b64` would change what the
    rest means, `jwk jku x5u x5c` would bring a key along (RFC 8725 §3.10, RFC 7515 §4.1.11).
    """
    kid = header.get("kid")
    if (
        set(header) != HEADER_MEMBERS
        or header["alg"] != "RS256"
        or header["typ"] != typ
        or not isinstance(kid, str)
        or not KID.fullmatch(kid)
    ):
        raise BadHeader
    return kid


def _object(part: str) -> dict[str, object]:
    try:
        return json_object.decode(_decode(part))
    except ValueError:
        raise Malformed from None


def _decode(part: str) -> bytes:
    try:
        return base64url.decode(part)
    except ValueError:
        raise Malformed from None
