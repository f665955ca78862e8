"""`private_key_jwt`: the pinned algorithm, our issuer alone, a short life, the client's own key."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm

from authsvc.protocol.client_assertion import verify_assertion
from authsvc.protocol.client_keys import BadKeySet, ClientKey, find_key, read_jwks
from authsvc.protocol.oauth_errors import InvalidClient
from authsvc_client.tokens.secret import Secret

NOW = datetime(2026, 11, 22, 10, 0, 0, tzinfo=UTC)
ISSUER = "https://auth.example.com"
PrivateKey = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey


@cache
def private_key(alg: str) -> PrivateKey:
    if alg == "ES256":
        return ec.generate_private_key(ec.SECP256R1())
    if alg == "EdDSA":
        return ed25519.Ed25519PrivateKey.generate()
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


def public_jwk(algorithm_name: str, /, **members: object) -> dict[str, Any]:
    algorithm: Any = {"ES256": ECAlgorithm, "EdDSA": OKPAlgorithm}.get(algorithm_name, RSAAlgorithm)
    jwk = algorithm.to_jwk(private_key(algorithm_name).public_key(), as_dict=True)
    jwk.pop("key_ops", None)
    return {**jwk, **members}


def key_of(alg: str) -> ClientKey:
    (key,) = read_jwks(json.dumps({"keys": [public_jwk(alg)]}), alg=alg)
    return key


def claims(**changes: object) -> dict[str, Any]:
    seconds = int(NOW.timestamp())
    usual = {
        "iss": "shop", "sub": "shop", "aud": ISSUER, "jti": "1", "iat": seconds,
        "exp": seconds + 60,
    }  # fmt: skip
    return {name: value for name, value in {**usual, **changes}.items() if value is not None}


def signed(alg: str = "ES256", header: dict[str, Any] | None = None, **changes: object) -> Secret:
    return Secret(jwt.encode(claims(**changes), private_key(alg), alg, headers=header))


def verify(assertion: Secret, alg: str = "ES256", now: datetime = NOW) -> str:
    return verify_assertion(
        assertion, client_id="shop", alg=alg, key=key_of(alg), issuer=ISSUER, now=now
    ).jti


@pytest.mark.requirement("A5")
@pytest.mark.parametrize("alg", ["RS256", "PS256", "ES256", "EdDSA"])
def test_an_assertion_of_each_algorithm_is_accepted(alg: str) -> None:
    assert "1" == verify(signed(alg), alg)


@pytest.mark.requirement("A5")
@pytest.mark.parametrize("typ", ["JWT", "client-authentication+jwt"])
def test_the_types_of_an_assertion_are_accepted(typ: str) -> None:
    assert "1" == verify(signed(header={"typ": typ}))


@pytest.mark.requirement("A5")
def test_the_same_key_with_another_algorithm_is_refused() -> None:
    with pytest.raises(InvalidClient, match="assertion_header"):
        verify(
            Secret(jwt.encode(claims(), private_key("RS256"), "PS256")),
            "RS256",
        )


@pytest.mark.requirement("A5", "T9")
@pytest.mark.parametrize(
    "header",
    [{"typ": "at+jwt"}, {"typ": "dpop+jwt"}, {"crit": ["x"]}, {"jwk": {}}, {"jku": "https://e"},
     {"x5u": "https://e"}, {"x5c": []}, {"zip": "DEF"}],
    ids=repr,
)  # fmt: skip
def test_a_header_with_other_business_is_refused(header: dict[str, Any]) -> None:
    with pytest.raises(InvalidClient, match="assertion_header"):
        verify(signed(header=header))


@pytest.mark.requirement("A5")
def test_neither_no_signature_nor_a_public_key_as_a_secret_works() -> None:
    unsigned = Secret(jwt.encode(claims(), "", "none") + "AA")
    by_hmac = Secret(jwt.encode(claims(), "x" * 32, "HS256"))

    for forged in (unsigned, by_hmac):
        with pytest.raises(InvalidClient, match="assertion_header"):
            verify(forged)


@pytest.mark.requirement("A5")
def test_a_changed_assertion_is_refused() -> None:
    header, _, signature = signed().split(".")
    _, payload, _ = signed(jti="2").split(".")

    with pytest.raises(InvalidClient, match="assertion_signature"):
        verify(Secret(f"{header}.{payload}.{signature}"))


SECONDS = int(NOW.timestamp())


@pytest.mark.requirement("A5")
@pytest.mark.parametrize(
    ("cause", "changes"),
    [
        ("assertion_claims", {"iss": "other"}),
        ("assertion_claims", {"iss": None}),
        ("assertion_claims", {"sub": "other"}),
        ("assertion_claims", {"jti": None}),
        ("assertion_claims", {"jti": ""}),
        ("assertion_claims", {"jti": "x" * 256}),
        ("assertion_claims", {"exp": None}),
        ("assertion_claims", {"exp": 1e300}),
        ("assertion_audience", {"aud": None}),
        ("assertion_audience", {"aud": [ISSUER]}),
        ("assertion_audience", {"aud": ISSUER + "/"}),
        ("assertion_audience", {"aud": ISSUER + "/oauth/token"}),
        ("assertion_lives_too_long", {"exp": SECONDS + 331}),
        ("assertion_lives_too_long", {"exp": 253_402_300_799}),
        ("assertion_not_yet_valid", {"iat": SECONDS + 31}),
        ("assertion_not_yet_valid", {"nbf": SECONDS + 31}),
        ("assertion_expired", {"exp": SECONDS - 30}),
    ],
    ids=repr,
)
def test_a_claim_that_is_not_right_is_refused(cause: str, changes: dict[str, Any]) -> None:
    with pytest.raises(InvalidClient, match=cause):
        verify(signed(**changes))


@pytest.mark.requirement("A5")
@pytest.mark.parametrize(
    "changes",
    [{"exp": SECONDS + 330}, {"iat": SECONDS + 30}, {"nbf": SECONDS + 30}, {"exp": SECONDS - 29},
     {"iat": None}, {"exp": SECONDS + 60.5}],
    ids=repr,
)  # fmt: skip
def test_clocks_may_differ_by_half_a_minute(changes: dict[str, Any]) -> None:
    assert "1" == verify(signed(**changes))


@pytest.mark.requirement("A6")
def test_the_jti_is_remembered_as_long_as_the_assertion_could_be_accepted() -> None:
    assertion = signed()
    found = verify_assertion(
        assertion, client_id="shop", alg="ES256", key=key_of("ES256"), issuer=ISSUER, now=NOW
    )

    verify(assertion, now=found.expires_at - timedelta(microseconds=1))
    with pytest.raises(InvalidClient, match="assertion_expired"):
        verify(assertion, now=found.expires_at)


def small_rsa() -> dict[str, Any]:
    key = rsa.generate_private_key(public_exponent=65537, key_size=1024).public_key()  # noqa: S505 - refused
    found: dict[str, Any] = RSAAlgorithm.to_jwk(key, as_dict=True)
    return {"kty": "RSA", "n": found["n"], "e": found["e"]}


@pytest.mark.requirement("A5")
@pytest.mark.parametrize(
    ("alg", "jwks"),
    [
        ("ES256", lambda: "not JSON"),
        ("ES256", lambda: "[]"),
        ("ES256", lambda: {"keys": {}}),
        ("ES256", lambda: {"keys": []}),
        ("ES256", lambda: {"keys": [public_jwk("RS256")]}),
        ("ES256", lambda: {"keys": [public_jwk("ES256", use="enc")]}),
        ("ES256", lambda: {"keys": [public_jwk("ES256", alg="ES384")]}),
        ("ES256", lambda: {"keys": [public_jwk("ES256", d="AA")]}),
        ("ES256", lambda: {"keys": [public_jwk("ES256", x="AA")]}),
        ("ES256", lambda: {"keys": [public_jwk("ES256", kid=7)]}),
        ("ES256", lambda: {"keys": [public_jwk("ES256"), public_jwk("ES256")]}),
        ("ES256", lambda: {"keys": [public_jwk("ES256", kid=str(n)) for n in range(21)]}),
        ("RS256", lambda: {"keys": [small_rsa()]}),
        ("RS256", lambda: {"keys": [public_jwk("RS256", e="Ag")]}),
    ],
)
def test_keys_that_cannot_be_trusted_are_refused(alg: str, jwks: Callable[[], object]) -> None:
    found = jwks()
    with pytest.raises(BadKeySet):
        read_jwks(found if isinstance(found, str) else json.dumps(found), alg=alg)


def test_keys_for_other_purposes_are_passed_over() -> None:
    mixed = [public_jwk("RS256"), public_jwk("ES256", kid="a"), public_jwk("ES256", use="enc")]

    assert ["a"] == [k.kid for k in read_jwks(json.dumps({"keys": mixed}), alg="ES256")]


def test_a_key_is_found_by_its_name_and_without_one_only_if_it_is_alone() -> None:
    two = [public_jwk("ES256", kid="a"), public_jwk("ES256", kid="b")]
    keys = read_jwks(json.dumps({"keys": two}), alg="ES256")

    assert ("b", None, None) == (
        getattr(find_key(keys, "b"), "kid", None),
        find_key(keys, "c"),
        find_key(keys, None),
    )
    assert keys[0] is find_key(keys[:1], None)
