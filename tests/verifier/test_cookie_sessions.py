"""Cookies of `web` delivery: which are read, and from which pages a write is taken."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest

from authsvc_client.tokens.secret import Secret
from authsvc_client.verifier import CookieSessions, CsrfRefused, InvalidRequest, MissingToken
from authsvc_client.verifier.credentials import Presented, presented

PAGE = "https://app.example.com"
SESSIONS = CookieSessions(origins=[PAGE, "https://www.example.com"])
GOOD = {
    "origin": PAGE,
    "sec-fetch-site": "same-origin",
    "x-csrf-token": "t0ken",
    "cookie": "__Host-authsvc_access=abc; __Host-authsvc_csrf=t0ken",
}


def headers(
    found: dict[str, str], *, twice: tuple[str, str] | None = None
) -> Callable[[str], Sequence[str]]:
    def values(name: str) -> list[str]:
        more = [twice[1]] if twice is not None and twice[0] == name else []
        return ([found[name]] if name in found else []) + more

    return values


def check_write(headers: Callable[[str], Sequence[str]], *, form_token: str | None = None) -> None:
    """What every adapter asks, with the token between the two."""
    SESSIONS.check_page(headers)
    SESSIONS.check_csrf_token(headers, form_token=form_token)


def refused(found: dict[str, str], *, form_token: str | None = None) -> str:
    with pytest.raises(CsrfRefused) as refusal:
        check_write(headers(found), form_token=form_token)
    return refusal.value.detail


def without(*names: str) -> dict[str, str]:
    return {name: value for name, value in GOOD.items() if name not in names}


@pytest.mark.requirement("X2")
@pytest.mark.finding("P06")
@pytest.mark.parametrize(
    "found",
    [
        GOOD,
        without("sec-fetch-site"),
        without("origin"),
        without("origin", "sec-fetch-site"),
        without("origin") | {"referer": f"{PAGE}/form?x=1"},
        GOOD | {"origin": "https://www.example.com", "sec-fetch-site": "same-site"},
        without("origin") | {"sec-fetch-site": "none"},
        # P06: under `Referrer-Policy: no-referrer`.
        GOOD | {"origin": "null", "sec-fetch-site": "same-origin"},
    ],
    ids=str,
)
def test_a_write_of_a_page_of_ours_is_taken(found: dict[str, str]) -> None:
    check_write(headers(found))


@pytest.mark.requirement("X2")
@pytest.mark.parametrize(
    ("changes", "detail"),
    [
        ({"origin": "https://attacker.test"}, "origin"),
        ({"origin": "null", "sec-fetch-site": "none"}, "origin"),
        ({"origin": "null", "sec-fetch-site": "same-site"}, "origin"),
        ({"origin": "null", "sec-fetch-site": "cross-site"}, "origin"),
        ({"origin": "https://app.example.com.attacker.test"}, "origin"),
        ({"origin": "http://app.example.com"}, "origin"),
        ({"origin": "https://app.example.com:444"}, "origin"),
        ({"origin": "https://APP.example.com"}, "origin"),
        ({"origin": ""}, "origin"),
        ({"sec-fetch-site": "cross-site"}, "sec-fetch-site"),
        ({"sec-fetch-site": "Same-Origin"}, "sec-fetch-site"),
        ({"sec-fetch-site": ""}, "sec-fetch-site"),
    ],
)
def test_a_write_of_a_foreign_page_is_refused(changes: dict[str, str], detail: str) -> None:
    """Though it brought the right CSRF value, as a sibling host that plants cookies could."""
    assert detail == refused(GOOD | changes)


@pytest.mark.requirement("X2")
@pytest.mark.parametrize(
    "changes",
    [
        {"referer": "https://attacker.test/https://app.example.com"},
        {"referer": "https://app.example.com@attacker.test/"},
        {"referer": "https://["},
        {"referer": ""},
        {"sec-fetch-site": "same-site"},
    ],
    ids=str,
)
def test_without_origin_the_others_decide(changes: dict[str, str]) -> None:
    assert refused(without("origin", "sec-fetch-site") | changes) in {"origin", "sec-fetch-site"}


@pytest.mark.requirement("X1")
@pytest.mark.parametrize(
    "changes",
    [
        {"x-csrf-token": ""},
        {"x-csrf-token": "other"},
        {"x-csrf-token": "t0ken "},
        {"x-csrf-token": "t0ké"},
        {"cookie": "__Host-authsvc_access=abc"},
        {"cookie": "__Host-authsvc_access=abc; __Host-authsvc_csrf=", "x-csrf-token": ""},
        {"cookie": "__Host-authsvc_access=abc; authsvc_csrf=t0ken"},
    ],
    ids=str,
)
def test_a_write_repeats_the_csrf_cookie(changes: dict[str, str]) -> None:
    assert "csrf_token" == refused(GOOD | changes)


@pytest.mark.requirement("X1")
def test_a_form_field_stands_for_the_header() -> None:
    without_header = headers(without("x-csrf-token"))

    check_write(without_header, form_token="t0ken")

    assert "csrf_token" == refused(without("x-csrf-token"), form_token="other")
    assert "csrf_token" == refused(without("x-csrf-token"), form_token="\ud800")
    assert "csrf_token" == refused(GOOD, form_token="t0ken")


def test_what_comes_twice_proves_nothing() -> None:
    for name in ("origin", "sec-fetch-site", "x-csrf-token"):
        with pytest.raises(CsrfRefused):
            check_write(headers(GOOD, twice=(name, GOOD[name])))
    with pytest.raises(InvalidRequest):
        check_write(headers(GOOD, twice=("cookie", "__Host-authsvc_csrf=t0ken")))


def test_a_handshake_must_tell_its_page() -> None:
    SESSIONS.check_page(headers(GOOD), must_tell=True)

    for found in ({}, {"sec-fetch-site": "same-origin"}, {"origin": "https://attacker.test"}):
        with pytest.raises(CsrfRefused):
            SESSIONS.check_page(headers(found), must_tell=True)


@pytest.mark.requirement("T13")
def test_authorization_outranks_the_cookie() -> None:
    both = headers(GOOD | {"authorization": "Bearer xyz"})

    assert Presented(Secret("xyz")) == presented(both, SESSIONS, method="POST")
    assert SESSIONS is presented(headers(GOOD), SESSIONS, method="POST").writes
    assert presented(headers(GOOD), SESSIONS, method="GET").writes is None


@pytest.mark.requirement("T13")
@pytest.mark.parametrize("value", ["Bearer", "Bearer ", "bearer\t", "BEARER   "])
def test_a_scheme_alone_is_no_credential(value: str) -> None:
    with pytest.raises((InvalidRequest, MissingToken)):
        presented(headers({"authorization": value}), None, method="POST")


@pytest.mark.requirement("T13")
@pytest.mark.parametrize("value", ["Basic YTpi", "DPoP abc", "abc", ""])
def test_another_scheme_is_no_credential_of_ours(value: str) -> None:
    with pytest.raises(MissingToken):
        presented(headers({"authorization": value}), None, method="POST")


@pytest.mark.requirement("T13", "C3")
def test_a_credential_comes_once() -> None:
    twice = headers({"authorization": "Bearer a"}, twice=("authorization", "Bearer b"))
    cookies = {"cookie": "__Host-authsvc_access=a; __Host-authsvc_access=b"}

    with pytest.raises(InvalidRequest):
        presented(twice, None, method="POST")
    with pytest.raises(InvalidRequest):
        presented(headers(cookies), SESSIONS, method="POST")


def test_cookies_are_read_where_they_were_asked_for_only() -> None:
    with pytest.raises(MissingToken):
        presented(headers(GOOD), None, method="POST")


@pytest.mark.requirement("C3")
@pytest.mark.parametrize(
    ("sessions", "name"),
    [
        (SESSIONS, "__Host-authsvc_access"),
        (CookieSessions(origins=[PAGE], shared=True), "__Secure-authsvc_access"),
        (CookieSessions(origins=["http://localhost:8001"]), "authsvc_access"),
    ],
)
def test_only_the_configured_spelling_is_read(sessions: CookieSessions, name: str) -> None:
    names = ("__Host-authsvc_access", "__Secure-authsvc_access", "authsvc_access")
    every = "; ".join(f"{each}={each}" for each in names)

    assert name == sessions.access_token([every])


@pytest.mark.parametrize(
    "origins",
    [
        [],
        PAGE,
        ["*"],
        ["null"],
        ["app.example.com"],
        [f"{PAGE}/"],
        ["http://app.example.com"],
        ["https://user@app.example.com"],
        [PAGE, "http://localhost:8001"],
        ["http://localhost.attacker.test"],
    ],
    ids=str,
)
def test_origins_are_exact_and_safe(origins: list[str]) -> None:
    with pytest.raises(ValueError, match="origins:"):
        CookieSessions(origins=origins)
