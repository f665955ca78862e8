"""Only what we issued ourselves is an access token, and only while it lives (RFC 9068 §4)."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

from authsvc_client.tokens.access_token import TYP, verify_authentic
from authsvc_client.tokens.errors import InvalidToken
from authsvc_client.tokens.jws import read
from tests.support.forge import (
    AUDIENCE,
    CLAIMS,
    HEADER,
    ISSUER,
    NOW,
    our_key,
    sign,
    verify,
    without,
)
from tests.support.key_material import T0

SECOND = timedelta(seconds=1)
MISSING = object()


def refused(token: Any, *, after: timedelta = timedelta(0)) -> str:
    with pytest.raises(InvalidToken) as caught:
        verify(token, after=after)
    return caught.value.detail


def test_a_token_of_ours_is_read_in_full() -> None:
    claims = verify(sign(HEADER, CLAIMS))

    assert (ISSUER, (AUDIENCE,)) == (claims.iss, claims.aud)
    assert UUID(CLAIMS["sid"]) == claims.sid
    assert datetime.fromtimestamp(NOW + 900, UTC) == claims.exp
    assert (("admin",), ("pwd",), "") == (claims.roles, claims.amr, claims.scope)


def test_claims_that_say_nothing_may_be_left_out() -> None:
    minimal = without(CLAIMS, "sid", "roles", "auth_time", "amr")

    claims = verify(sign(HEADER, minimal))

    assert (None, (), None, ()) == (claims.sid, claims.roles, claims.auth_time, claims.amr)


@pytest.mark.requirement("T8", "I11")
def test_leeway_is_thirty_seconds_both_ways() -> None:
    late = sign(HEADER, CLAIMS)
    early = sign(HEADER, CLAIMS | {"iat": NOW + 30, "nbf": NOW + 30})

    assert verify(late, after=929 * SECOND)
    assert "expired" == refused(late, after=930 * SECOND)
    assert verify(early)
    assert "not_yet_valid" == refused(early, after=-SECOND)


@pytest.mark.requirement("T8")
def test_the_last_moment_of_the_calendar_is_a_date() -> None:
    """Never another error than a refusal, though no leeway can be added to it."""
    assert 9999 == verify(sign(HEADER, CLAIMS | {"exp": 253_402_300_799})).exp.year


@pytest.mark.requirement("T8")
def test_an_issue_date_in_the_future_is_refused() -> None:
    """Also if `nbf` is fine (PYSEC-2020-69)."""
    assert "not_yet_valid" == refused(sign(HEADER, CLAIMS | {"iat": NOW + 31}))


def test_an_authentic_token_is_recognized_long_after_it_expired() -> None:
    jws = read(
        sign(HEADER, CLAIMS | {"exp": NOW - 90_000, "iat": NOW - 90_900, "nbf": NOW - 90_930}), TYP
    )
    claims = verify_authentic(
        jws,
        our_key(jws.kid),
        issuer=ISSUER,
        audience=AUDIENCE,
    )

    assert CLAIMS["sub"] == claims.sub


DATES: dict[str, object] = {
    "missing": MISSING,
    "null": None,
    "true": True,
    "false": False,
    "string": str(NOW + 900),
    "float": float(NOW + 900),
    "fraction": NOW + 900.5,
    "negative": -1,
    "year 10000": 253_402_300_800,
    "beyond every calendar": 10**30,
    "list": [NOW + 900],
    "object": {"seconds": NOW + 900},
}


@pytest.mark.requirement("T8")
@pytest.mark.parametrize("value", DATES.values(), ids=DATES.keys())
@pytest.mark.parametrize("claim", ["exp", "iat", "nbf"])
def test_dates_are_whole_seconds_of_this_calendar(claim: str, value: object) -> None:
    claims = without(CLAIMS, claim) if value is MISSING else CLAIMS | {claim: value}

    assert "bad_claims" == refused(sign(HEADER, claims))


@pytest.mark.requirement("T8")
@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e400", "1" * 5000, "0x10"])
def test_numbers_that_are_none_are_refused(number: str) -> None:
    """Never a 5xx: 1e400 is infinity to Python, and 5000 digits raise (CVE-2020-10735)."""
    payload = '{"iss":"%s","aud":"authsvc","iat":0,"nbf":0,"exp":%s}' % (ISSUER, number)  # noqa: UP031

    assert refused(sign(HEADER, payload)) in {"malformed", "bad_claims"}


@pytest.mark.requirement("T8")
def test_a_token_that_expires_before_it_begins_is_refused() -> None:
    assert "bad_claims" == refused(sign(HEADER, CLAIMS | {"iat": NOW + 900}))
    assert "bad_claims" == refused(sign(HEADER, CLAIMS | {"nbf": NOW + 900}))


@pytest.mark.requirement("T7")
@pytest.mark.parametrize(
    "issuer",
    [ISSUER + "/", ISSUER[:-1], "https://auth.example.com.evil.test", "HTTPS://AUTH.EXAMPLE.COM"],
)
def test_issuer_is_compared_as_a_whole(issuer: str) -> None:
    """CVE-2024-53861 and CVE-2026-75509: partial and membership matches."""
    assert "wrong_issuer" == refused(sign(HEADER, CLAIMS | {"iss": issuer}))


@pytest.mark.requirement("T7")
@pytest.mark.parametrize("claim", ["iss", "sub", "jti", "client_id"])
@pytest.mark.parametrize("value", [MISSING, None, "", 7, True, [ISSUER], {"a": ISSUER}])
def test_names_are_texts(claim: str, value: object) -> None:
    claims = without(CLAIMS, claim) if value is MISSING else CLAIMS | {claim: value}

    assert "bad_claims" == refused(sign(HEADER, claims))


@pytest.mark.requirement("T7")
@pytest.mark.parametrize(
    ("aud", "detail"),
    [
        ("authsv", "wrong_audience"),
        ("authsvc2", "wrong_audience"),
        ("", "wrong_audience"),
        ([], "wrong_audience"),
        (["other", "authsvc "], "wrong_audience"),
        ([["authsvc"]], "bad_claims"),
        (["authsvc", 7], "bad_claims"),
        ({"authsvc": True}, "bad_claims"),
        (7, "bad_claims"),
        (None, "bad_claims"),
    ],
)
def test_audience_must_hold_this_consumer(aud: object, detail: str) -> None:
    assert detail == refused(sign(HEADER, CLAIMS | {"aud": aud}))


@pytest.mark.requirement("T7")
def test_audience_may_be_one_of_several() -> None:
    assert ("other", "authsvc") == verify(sign(HEADER, CLAIMS | {"aud": ["other", "authsvc"]})).aud


@pytest.mark.parametrize(
    "changed",
    [
        {"sid": "not-a-uuid"},
        {"sid": CLAIMS["sid"].upper()},
        {"sid": CLAIMS["sid"].replace("-", "")},
        {"sid": f"urn:uuid:{CLAIMS['sid']}"},
        {"sid": None},
        {"scope": ["read"]},
        {"scope": None},
        {"roles": "admin"},
        {"roles": [None]},
        {"roles": {"admin": True}},
        {"amr": "pwd"},
        {"ver": 0},
        {"ver": True},
        {"ver": "1"},
        {"ver": 1.5},
        {"ver": 2**31},
        {"amr": [1]},
        {"auth_time": "now"},
        {"auth_time": -1},
    ],
    ids=str,
)
def test_other_claims_have_their_types(changed: dict[str, object]) -> None:
    assert "bad_claims" == refused(sign(HEADER, CLAIMS | changed))


def test_a_claim_that_we_do_not_know_is_ignored() -> None:
    """RFC 7519 §4: claims that are not understood must be ignored; header members are not."""
    assert verify(sign(HEADER, CLAIMS | {"cnf": {"jkt": "x"}})).sub == CLAIMS["sub"]


def test_time_is_an_argument() -> None:
    assert "expired" == refused(sign(HEADER, CLAIMS), after=timedelta(days=400))
    assert T0.tzinfo is UTC
