"""JWKs and their thumbprints (RFC 7517, RFC 7638)."""

from __future__ import annotations

import pytest
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicNumbers
from jwt.algorithms import RSAAlgorithm

from authsvc_client.tokens import base64url
from authsvc_client.tokens.jwk import rsa_jwk, thumbprint
from tests.support.key_material import rsa_key

RFC7638_N = (
    "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_B"
    "JECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_F"
    "DW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4"
    "vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw"
)


@pytest.mark.requirement("K1")
def test_thumbprint_is_that_of_the_rfc() -> None:
    numbers = RSAPublicNumbers(65_537, int.from_bytes(base64url.decode(RFC7638_N), "big"))

    assert "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs" == thumbprint(numbers.public_key())


@pytest.mark.requirement("K1")
def test_jwk_has_public_members_only() -> None:
    jwk = rsa_jwk(rsa_key().public_key())

    assert ["kty", "n", "e", "use", "alg", "kid"] == list(jwk)
    assert ("RSA", "AQAB", "sig", "RS256") == (jwk["kty"], jwk["e"], jwk["use"], jwk["alg"])
    assert thumbprint(rsa_key().public_key()) == jwk["kid"]


def test_jwk_is_read_by_another_implementation() -> None:
    key = RSAAlgorithm.from_jwk(rsa_jwk(rsa_key().public_key()))

    assert rsa_key().public_key().public_numbers() == key.public_numbers()  # type: ignore[union-attr]


@pytest.mark.requirement("T6")
@pytest.mark.parametrize(
    "text", ["YQ==", "YR", "Y", "YWJ+", "YWJ/", "YW Jj", "YWJj\n", "é", "=", "\x00AAA"]
)
def test_only_the_canonical_base64url_is_read(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        base64url.decode(text)


@pytest.mark.requirement("T6")
@pytest.mark.parametrize("length", range(5))
def test_base64url_is_read_as_it_is_written(length: int) -> None:
    data = bytes(range(250, 250 + length))

    assert data == base64url.decode(base64url.encode(data))
