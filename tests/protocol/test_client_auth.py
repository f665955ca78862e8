"""Exactly one credential, read as RFC 6749 §2.3.1 writes it."""

from __future__ import annotations

from base64 import b64encode

import pytest

from authsvc.protocol.client_auth import JWT_BEARER, parse_basic, presented_client
from authsvc.protocol.clients import AuthMethod
from authsvc.protocol.oauth_errors import InvalidClient, InvalidRequest
from authsvc_client.tokens import base64url

ASSERTION = ".".join(base64url.encode(part) for part in (b"{}", b'{"sub":"shop"}', b"signature"))
BY_JWT = {"client_assertion_type": JWT_BEARER, "client_assertion": ASSERTION}


def basic(text: str) -> str:
    return "Basic " + b64encode(text.encode()).decode()


@pytest.mark.requirement("A2")
@pytest.mark.parametrize(
    ("sent", "read"),
    [
        ("shop:secret", ("shop", "secret")),
        ("s%68op:a%3Ab+c%2B", ("shop", "a:b c+")),
        ("shop:a:b", ("shop", "a:b")),
        ("shop:%C3%BC", ("shop", "ü")),
        ("shop:", ("shop", "")),
    ],
)
def test_basic_credentials_are_form_decoded(sent: str, read: tuple[str, str]) -> None:
    assert read == parse_basic(basic(sent))


@pytest.mark.requirement("A2")
@pytest.mark.parametrize(
    "header",
    ["", "Basic", "Basic ", "Basic !!!!", "Bearer c2hvcDpz", basic("no colon"), basic("shop:%"),
     basic("shop:%2"), basic("shop:%zz"), basic("shop:%+1"), basic("shop:%ff"), basic("ü:s"),
     basic("shop:" + "x" * 9000)],
)  # fmt: skip
def test_anything_else_is_no_client(header: str) -> None:
    with pytest.raises(InvalidClient):
        parse_basic(header)


@pytest.mark.requirement("A1")
def test_each_method_is_told_from_the_others() -> None:
    found = [
        presented_client(basic("shop:secret"), {"client_id": "shop"}),
        presented_client(None, {"client_id": "shop", "client_secret": "secret"}),
        presented_client(None, BY_JWT),
        presented_client(None, {"client_id": "shop"}),
    ]

    assert [*AuthMethod, None] == [client.method for client in found]
    assert {"shop"} == {client.client_id for client in found}


@pytest.mark.requirement("A1")
@pytest.mark.parametrize(
    ("authorization", "form"),
    [
        (basic("shop:secret"), {"client_id": "shop", "client_secret": "secret"}),
        (basic("shop:secret"), BY_JWT),
        (basic("shop:secret"), {"client_assertion_type": JWT_BEARER}),
        (None, {**BY_JWT, "client_id": "shop", "client_secret": "secret"}),
    ],
)
def test_two_credentials_are_one_too_many(authorization: str | None, form: dict[str, str]) -> None:
    with pytest.raises(InvalidRequest):
        presented_client(authorization, form)


@pytest.mark.requirement("A3")
@pytest.mark.parametrize(
    ("authorization", "form"), [(basic("shop:secret"), {}), (None, BY_JWT)], ids=["basic", "jwt"]
)
def test_the_body_cannot_name_another_client(
    authorization: str | None, form: dict[str, str]
) -> None:
    with pytest.raises(InvalidRequest):
        presented_client(authorization, {**form, "client_id": "admin"})


@pytest.mark.requirement("A8")
@pytest.mark.parametrize(
    "form",
    [
        {},
        {"client_secret": "secret"},
        {"client_assertion": ASSERTION},
        {"client_assertion_type": JWT_BEARER},
        {**BY_JWT, "client_assertion_type": "urn:ietf:params:oauth:client-assertion-type:saml2"},
        {**BY_JWT, "client_assertion": "not.a.jwt"},
        {**BY_JWT, "client_assertion": "e30.e30.c2ln"},
    ],
)
def test_half_a_credential_is_none(form: dict[str, str]) -> None:
    with pytest.raises(InvalidClient):
        presented_client(None, form)
