"""Identity assertions: what they say, for how long, and that nothing else is taken for one."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest

from authsvc.protocol.identity_assertion import to_json
from authsvc_client.tokens.claims import AccessTokenClaims
from authsvc_client.tokens.errors import BadHeader, InvalidToken
from authsvc_client.tokens.identity_assertion import TYP, IdentityClaims, verify_identity_assertion
from authsvc_client.tokens.jws import read
from tests.support import forge
from tests.support.forge import HEADER, ISSUER, NOW, our_key, sign, without
from tests.support.key_material import T0, rsa_key

IA = HEADER | {"typ": "ia+jwt"}
URN = "urn:authsvc:upstream:orders"
CLAIMS: dict[str, Any] = {
    "iss": ISSUER,
    "sub": "7d0f5c1e-6a0c-4f57-9d4c-2f9f5b9a4f10",
    "aud": URN,
    "exp": NOW + 60,
    "iat": NOW,
    "jti": "b2pMa5AuinvdBr1xhpDhfg",
    "sid": "1f6f2a38-9d1c-4a8e-9a55-0f7f3b0c2d11",
    "roles": ["admin"],
}


def verify(assertion: str, *, after: timedelta = timedelta(0)) -> IdentityClaims:
    jws = read(assertion, TYP)
    return verify_identity_assertion(
        jws, our_key(jws.kid), issuer=ISSUER, upstream="orders", now=T0 + after
    )


def refused(assertion: str, *, after: timedelta = timedelta(0)) -> str:
    with pytest.raises(InvalidToken) as caught:
        verify(assertion, after=after)
    return caught.value.detail


def token(**changes: Any) -> AccessTokenClaims:
    return forge.verify(sign(HEADER, forge.CLAIMS | changes))


def test_it_says_what_the_token_says() -> None:
    said = to_json(token(scope="a b"), upstream="orders", jti="unique", now=T0)

    claims = verify(sign(IA, said))

    assert (forge.CLAIMS["sub"], UUID(forge.CLAIMS["sid"])) == (claims.sub, claims.sid)
    assert (("admin",), "a b", ("pwd",), T0) == (
        claims.roles,
        claims.scope,
        claims.amr,
        claims.auth_time,
    )
    assert (URN, "unique", timedelta(seconds=60)) == (
        claims.aud,
        claims.jti,
        claims.exp - claims.iat,
    )


def test_it_does_not_outlive_the_token() -> None:
    """Nor has it ended when a token is accepted that has just expired."""
    ending = token(exp=NOW + 10)

    for passed, life in ((0, 40), (10, 30), (39.9, 1)):
        said = to_json(ending, upstream="orders", jti="j", now=T0 + timedelta(seconds=passed))

        assert (passed, life) == (passed, int(str(said["exp"])) - int(str(said["iat"])))


@pytest.mark.requirement("T9")
def test_it_is_no_access_token_and_an_access_token_is_none() -> None:
    assertion = sign(IA, CLAIMS)

    with pytest.raises(BadHeader):
        forge.verify(assertion)
    assert "bad_header" == refused(sign(HEADER, CLAIMS | {"aud": URN}))


@pytest.mark.requirement("T9")
@pytest.mark.parametrize("typ", ["JWT", "IA+JWT", "application/ia+jwt", "rvk+jwt", "", None])
def test_no_other_kind_of_token_is_one(typ: str | None) -> None:
    assert "bad_header" == refused(sign(HEADER | {"typ": typ}, CLAIMS))


@pytest.mark.requirement("T7")
@pytest.mark.parametrize(
    "aud",
    [
        "urn:authsvc:upstream:billing",
        "urn:authsvc:upstream:order",
        "urn:authsvc:upstream:orders:x",
        "URN:authsvc:upstream:orders",
        "orders",
    ],
)
def test_it_is_for_one_service(aud: str) -> None:
    assert "wrong_audience" == refused(sign(IA, CLAIMS | {"aud": aud}))


def test_it_lives_a_minute_at_most() -> None:
    assert "bad_claims" == refused(sign(IA, CLAIMS | {"exp": NOW + 61}))
    assert "bad_claims" == refused(sign(IA, CLAIMS | {"exp": NOW}))
    assert verify(sign(IA, CLAIMS), after=timedelta(seconds=89))
    assert "expired" == refused(sign(IA, CLAIMS), after=timedelta(seconds=90))
    assert verify(sign(IA, CLAIMS), after=timedelta(seconds=-30))
    assert "not_yet_valid" == refused(sign(IA, CLAIMS), after=timedelta(seconds=-31))


@pytest.mark.requirement("T3", "T4", "T5", "T6", "T11")
@pytest.mark.parametrize(
    ("assertion", "detail"),
    [
        ("", "malformed"),
        ("a.b", "malformed"),
        ("a.b.c.d", "malformed"),
        (sign(IA, CLAIMS) + "=", "malformed"),
        (sign(IA, CLAIMS) + ", " + sign(IA, CLAIMS), "malformed"),
        ("a" * 9000, "malformed"),
        (sign(IA, "[]"), "malformed"),
        (sign(IA, '{"iss":1,"iss":2}'), "malformed"),
        (sign(IA | {"alg": "none"}, CLAIMS), "bad_header"),
        (sign(IA | {"alg": "HS256"}, CLAIMS), "bad_header"),
        (sign(IA | {"crit": ["exp"]}, CLAIMS), "bad_header"),
        (sign(IA | {"jku": "https://evil.example"}, CLAIMS), "bad_header"),
        (sign(without(IA, "kid"), CLAIMS), "bad_header"),
        (sign(IA | {"kid": "x" * 43}, CLAIMS), "unknown_kid"),
        (sign(IA, CLAIMS, rsa_key(1)), "bad_signature"),
        (sign(IA, CLAIMS)[:-8] + "AAAAAAAA", "bad_signature"),
        (sign(IA, CLAIMS | {"iss": ISSUER + "/"}), "wrong_issuer"),
    ],
)
def test_it_is_read_as_strictly_as_an_access_token(assertion: str, detail: str) -> None:
    assert detail == refused(assertion)


@pytest.mark.requirement("T8")
@pytest.mark.parametrize(
    ("name", "value"),
    [
        *((name, None) for name in CLAIMS),
        *((name, 7) for name in ("iss", "sub", "aud", "jti", "sid", "roles", "scope", "amr")),
        *((name, "x") for name in ("exp", "iat", "sid", "roles", "auth_time")),
        ("exp", True),
        ("exp", -1),
        ("exp", 1.5),
        ("exp", 10**12),
        ("exp", {}),
        ("aud", [URN]),
        ("sub", ""),
        ("sid", CLAIMS["sid"].upper()),
        ("roles", [7]),
    ],
)
def test_every_claim_has_its_type(name: str, value: object) -> None:
    assert "bad_claims" == refused(sign(IA, CLAIMS | {name: value}))


@pytest.mark.parametrize("name", CLAIMS)
def test_no_claim_may_be_missing(name: str) -> None:
    assert "bad_claims" == refused(sign(IA, without(CLAIMS, name)))
