"""What is signed (RFC 9068 §2), checked by a library that is not ours."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from uuid import uuid4

import jwt
import pytest

from authsvc.keys.issuer import Issuer
from authsvc.protocol.clients import MAX_SCOPES_TOGETHER
from authsvc.protocol.errors import NoSigningKey, Unauthenticated
from authsvc.protocol.grants import ClientGrant, Grant
from tests.keys.conftest import Opener
from tests.support.key_material import T0, kid, put_signing, rsa_key

TTL = timedelta(seconds=900)
ISSUER = "https://auth.example.com"
GRANT = Grant(
    user_id=uuid4(),
    session_id=uuid4(),
    client_id="authsvc",
    roles=("admin", "staff"),
    scope="",
    auth_time=T0 - timedelta(hours=1),
    amr=("pwd",),
    ver=1,
)


@pytest.fixture
def issuer(open_keys: Opener) -> Issuer:
    return Issuer(open_keys(), issuer=ISSUER, audience="authsvc", access_ttl=TTL)


@pytest.mark.requirement("T1")
def test_the_header_is_exactly_alg_typ_kid(issuer: Issuer) -> None:
    header = jwt.get_unverified_header(issuer.access_token(GRANT, now=T0))

    assert {"alg": "RS256", "typ": "at+jwt", "kid": kid(0)} == header


def test_auth_time_is_never_after_iat(issuer: Issuer) -> None:
    """It is the database's clock, which may be ahead of ours."""
    ahead = replace(GRANT, auth_time=T0 + timedelta(seconds=2))

    claims = jwt.decode(issuer.access_token(ahead, now=T0), options={"verify_signature": False})

    assert claims["iat"] == claims["auth_time"]


@pytest.mark.requirement("T2", "T12", "T15")
def test_the_claims_are_those_of_the_profile(issuer: Issuer) -> None:
    claims = jwt.decode(
        issuer.access_token(GRANT, now=T0),
        rsa_key().public_key(),
        algorithms=["RS256"],
        audience="authsvc",
        options={"verify_exp": False, "verify_nbf": False, "verify_iat": False},
    )

    jti = claims.pop("jti")
    now = int(T0.timestamp())
    assert {
        "iss": ISSUER,
        "sub": str(GRANT.user_id),
        "aud": "authsvc",
        "exp": now + 900,
        "iat": now,
        "nbf": now - 30,
        "sid": str(GRANT.session_id),
        "client_id": "authsvc",
        "roles": ["admin", "staff"],
        "auth_time": now - 3600,
        "amr": ["pwd"],
        "ver": 1,
    } == claims
    assert 22 == len(jti), "16 random bytes"


@pytest.mark.requirement("T2", "I13")
def test_no_two_tokens_have_one_id(issuer: Issuer) -> None:
    ids = {issuer.verify(issuer.access_token(GRANT, now=T0), now=T0).jti for _ in range(50)}

    assert 50 == len(ids)


@pytest.mark.requirement("T2")
def test_a_token_stays_under_900_bytes(issuer: Issuer) -> None:
    long_name = Issuer(
        issuer._keys,
        issuer="https://identity.department.example.com",
        audience="authsvc",
        access_ttl=TTL,
    )

    assert len(long_name.access_token(GRANT, now=T0)) < 900


@pytest.mark.finding("P37")
def test_the_longest_token_of_a_client_can_be_read(issuer: Issuer) -> None:
    grant = ClientGrant("c" * 64, audience='"' * 255, scope="s" * MAX_SCOPES_TOGETHER)

    token = issuer.client_access_token(grant, now=T0)

    assert grant.scope == issuer.verify_for_others(token, now=T0).scope


def test_what_was_issued_is_verified(issuer: Issuer) -> None:
    claims = issuer.verify(issuer.access_token(replace(GRANT, scope="read"), now=T0), now=T0)

    assert (str(GRANT.user_id), GRANT.session_id) == (claims.sub, claims.sid)
    assert ("admin", "staff") == claims.roles
    assert "read" == claims.scope
    assert GRANT.auth_time == claims.auth_time


def test_a_roles_name_of_any_script_survives(issuer: Issuer) -> None:
    token = issuer.access_token(replace(GRANT, roles=("Prüfer", "検査官")), now=T0)

    assert ("Prüfer", "検査官") == issuer.verify(token, now=T0).roles


@pytest.mark.requirement("T8")
def test_an_expired_token_is_still_authentic(issuer: Issuer) -> None:
    token = issuer.access_token(GRANT, now=T0)

    with pytest.raises(Unauthenticated, match="expired"):
        issuer.verify(token, now=T0 + timedelta(hours=1))
    assert GRANT.session_id == issuer.verify_authentic(token, now=T0 + timedelta(hours=1)).sid


@pytest.mark.requirement("T7")
def test_another_issuer_with_the_same_key_is_refused(issuer: Issuer) -> None:
    other = Issuer(
        issuer._keys, issuer="https://other.example.com", audience="authsvc", access_ttl=TTL
    )

    with pytest.raises(Unauthenticated, match="wrong_issuer"):
        issuer.verify(other.access_token(GRANT, now=T0), now=T0)


def test_before_any_activation_nothing_is_signed(issuer: Issuer) -> None:
    with pytest.raises(NoSigningKey):
        issuer.access_token(GRANT, now=T0 - timedelta(days=2))


def test_the_header_follows_the_rotation(open_keys: Opener, directory: Path) -> None:
    put_signing(directory, T0 + timedelta(hours=1), 1)
    issuer = Issuer(open_keys(), issuer=ISSUER, audience="authsvc", access_ttl=TTL)

    before = jwt.get_unverified_header(issuer.access_token(GRANT, now=T0))
    after = jwt.get_unverified_header(issuer.access_token(GRANT, now=T0 + timedelta(hours=1)))

    assert (kid(0), kid(1)) == (before["kid"], after["kid"])


@pytest.mark.requirement("S3")
def test_a_token_does_not_print(issuer: Issuer) -> None:
    assert "eyJ" not in repr([issuer.access_token(GRANT, now=T0)])
