"""One small application, written once for each framework, and what all must have in common."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import httpx

CSRF = "t0ken"
PAGE = "http://localhost:8001"


@dataclass(frozen=True)
class Case:
    """A request, and the answer that every adapter gives."""

    name: str
    request: dict[str, Any]
    status: int
    challenge: str | None = None

    def check(self, answer: httpx.Response) -> None:
        assert self.status == answer.status_code, (self.name, answer.text)
        assert self.challenge == answer.headers.get("www-authenticate"), self.name
        if self.status != 200:
            assert "no-store" == answer.headers["cache-control"], self.name


INVALID = (
    'Bearer realm="authsvc", error="invalid_token", '
    'error_description="The access token is not valid"'
)
SCOPE = (
    'Bearer realm="authsvc", error="insufficient_scope", '
    'error_description="The access token does not allow this"'
)
TWICE = (
    'Bearer realm="authsvc", error="invalid_request", '
    'error_description="Send one access token, as Authorization: Bearer"'
)
NONE = 'Bearer realm="authsvc"'


def bearer(token: str) -> dict[str, str]:
    return {"authorization": f"Bearer {token}"}


def cookies(token: str, csrf: str = CSRF) -> dict[str, str]:
    return {"cookie": f"authsvc_access={token}; authsvc_csrf={csrf}"}


def cases(good: str, *, expired: str, service: str, admin: str, scoped: str) -> list[Case]:
    """
    Routes: GET and POST `/hello`, for users; GET `/any`, for everybody; GET `/admin`, for the
    roles admin or root; GET `/orders`, for the scope orders:read and orders:list.
    """
    form = {"headers": cookies(good) | {"origin": PAGE}, "data": {"csrf_token": CSRF}}
    return [
        Case("a good token", {"url": "/hello", "headers": bearer(good)}, 200),
        Case("no token", {"url": "/hello"}, 401, NONE),
        Case("another scheme", {"url": "/hello", "headers": {"authorization": "Basic x"}},
             401, NONE),
        Case("garbage", {"url": "/hello", "headers": bearer("a.b.c")}, 401, INVALID),
        Case("expired", {"url": "/hello", "headers": bearer(expired)}, 401, INVALID),
        Case("in the query", {"url": f"/hello?access_token={good}"}, 401, NONE),
        Case("no text after Bearer", {"url": "/hello", "headers": {"authorization": "Bearer  "}},
             400, TWICE),
        Case("a write by header",
             {"url": "/hello", "method": "POST", "headers": bearer(good)}, 200),
        Case("a service's token", {"url": "/any", "headers": bearer(service)}, 200),
        Case("a service is no user", {"url": "/hello", "headers": bearer(service)}, 403, SCOPE),
        Case("a role", {"url": "/admin", "headers": bearer(admin)}, 200),
        Case("no such role", {"url": "/admin", "headers": bearer(good)}, 403, SCOPE),
        Case("no token for a role", {"url": "/admin"}, 401, NONE),
        Case("scope", {"url": "/orders", "headers": bearer(scoped)}, 200),
        Case("not all of the scope", {"url": "/orders", "headers": bearer(good)}, 403,
             f'{SCOPE}, scope="orders:read orders:list"'),
        Case("a cookie", {"url": "/hello", "headers": cookies(good)}, 200),
        Case("an expired cookie", {"url": "/hello", "headers": cookies(expired)}, 401, INVALID),
        Case("a cookie twice",
             {"url": "/hello", "headers": {"cookie": "authsvc_access=a; authsvc_access=b"}},
             400, TWICE),
        Case("a write by cookie",
             {"url": "/hello", "method": "POST",
              "headers": cookies(good) | {"origin": PAGE, "x-csrf-token": CSRF}}, 200),
        Case("a write by cookie without the CSRF value",
             {"url": "/hello", "method": "POST", "headers": cookies(good) | {"origin": PAGE}}, 403),
        Case("a write by cookie of a foreign page",
             {"url": "/hello", "method": "POST",
              "headers": cookies(good) | {"origin": "https://attacker.test",
                                          "x-csrf-token": CSRF}}, 403),
        Case("a form", {"url": "/hello", "method": "POST"} | form, 200),
        Case("a form of a foreign page",
             {"url": "/hello", "method": "POST"} | form
             | {"headers": cookies(good) | {"origin": "null"}}, 403),
        Case("a form with another value",
             {"url": "/hello", "method": "POST"} | form | {"data": {"csrf_token": "other"}}, 403),
    ]  # fmt: skip
