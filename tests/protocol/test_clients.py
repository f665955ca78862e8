"""What a client may have: allow-lists, and ids that are nobody's `sub`."""

from __future__ import annotations

from dataclasses import replace
from uuid import uuid4

import pytest

from authsvc.protocol.clients import (
    MAX_SCOPES_TOGETHER,
    AuthMethod,
    Client,
    check_client,
    granted_audience,
    granted_scope,
)
from authsvc.protocol.errors import ValidationFailed
from authsvc.protocol.oauth_errors import InvalidScope, InvalidTarget

ORDERS, BILLING = "https://orders.example.com", "https://billing.example.com"
CLIENT = Client(
    client_id="shop",
    name="Shop",
    auth_method=AuthMethod.CLIENT_SECRET_BASIC,
    grant_types=("client_credentials",),
    scopes=("orders:read", "orders:write"),
    resources=(ORDERS,),
    audiences=(),
)


@pytest.mark.requirement("O16")
def test_without_a_wish_the_scope_is_what_was_given() -> None:
    assert "orders:read orders:write" == granted_scope(CLIENT, None)
    assert "" == granted_scope(replace(CLIENT, scopes=()), None)


@pytest.mark.requirement("O16")
@pytest.mark.parametrize(
    "requested",
    ["admin", "orders:read admin", "orders", "ORDERS:READ", "", " ", "orders:read  orders:write",
     'orders:read"', "orders:read\t", "orders:read\n", "ördern"],
)  # fmt: skip
def test_no_scope_beyond_the_list_is_granted(requested: str) -> None:
    with pytest.raises(InvalidScope):
        granted_scope(CLIENT, requested)


@pytest.mark.requirement("O16")
def test_a_client_without_scopes_gets_none() -> None:
    with pytest.raises(InvalidScope):
        granted_scope(replace(CLIENT, scopes=()), "orders:read")


@pytest.mark.finding("P37")
def test_all_scopes_together_leave_a_token_that_every_reader_takes() -> None:
    fits = tuple(f"{n:0127}" for n in range(16))
    too_long = (*fits, "s")
    check_client(replace(CLIENT, scopes=fits))

    with pytest.raises(ValidationFailed) as refused:
        check_client(replace(CLIENT, scopes=too_long))
    assert f"at most {MAX_SCOPES_TOGETHER} characters" in refused.value.errors[0].msg
    # A row that is older than the limit.
    old = replace(CLIENT, scopes=too_long)
    for requested in (None, " ".join(too_long)):
        with pytest.raises(InvalidScope, match="too_long"):
            granted_scope(old, requested)
    assert "s" == granted_scope(old, "s")


@pytest.mark.requirement("O12")
def test_the_audience_is_the_resource_that_was_named() -> None:
    both = replace(CLIENT, resources=(ORDERS, BILLING))

    assert (BILLING, ORDERS) == (granted_audience(both, [BILLING]), granted_audience(CLIENT, []))


@pytest.mark.requirement("O12")
@pytest.mark.parametrize(
    ("allowed", "resources"),
    [
        ((ORDERS,), ["https://evil.example"]),
        ((ORDERS,), [ORDERS + "/"]),
        ((ORDERS,), [ORDERS.upper()]),
        ((ORDERS, BILLING), []),
        ((ORDERS, BILLING), [ORDERS, BILLING]),
        ((ORDERS,), [ORDERS, ORDERS]),
        ((), []),
        ((), [ORDERS]),
    ],
    ids=repr,
)
def test_any_other_target_is_invalid(allowed: tuple[str, ...], resources: list[str]) -> None:
    with pytest.raises(InvalidTarget):
        granted_audience(replace(CLIENT, resources=allowed), resources)


@pytest.mark.requirement("T15")
@pytest.mark.parametrize(
    "client_id",
    [str(uuid4()), uuid4().hex, "authsvc", "", "Shop", "a b", "-shop", "shop-", "x" * 65, "a:b"],
    ids=range(10),
)
def test_no_client_can_be_named_like_a_user_or_the_first_party(client_id: str) -> None:
    with pytest.raises(ValidationFailed) as refused:
        check_client(replace(CLIENT, client_id=client_id))

    assert ("body", "client_id") == refused.value.errors[0].loc


@pytest.mark.requirement("A7")
@pytest.mark.parametrize(
    "uri",
    ["http://shop.example/jwks", "https://", "file:///etc/passwd", "https://u:p@shop.example/",
     "https://shop.example/#x", "https://shop.example:port/", "https://[::1/", "//shop.example"],
)  # fmt: skip
def test_keys_are_fetched_by_https_only(uri: str) -> None:
    with pytest.raises(ValidationFailed):
        check_client(replace(CLIENT, jwks_uri=uri))


def test_a_sound_registration_passes() -> None:
    check_client(replace(CLIENT, jwks_uri="https://shop.example:8443/jwks.json"))


@pytest.mark.parametrize(
    ("member", "changed"),
    [
        ("name", replace(CLIENT, name="")),
        ("name", replace(CLIENT, name="a\nb")),
        ("scope", replace(CLIENT, scopes=("two words",))),
        ("resource", replace(CLIENT, resources=("",))),
        ("resource", replace(CLIENT, resources=(ORDERS + "#part",))),
        ("audience", replace(CLIENT, audiences=("x" * 256,))),
    ],
    ids=repr,
)
def test_a_bad_member_is_named(member: str, changed: Client) -> None:
    with pytest.raises(ValidationFailed) as refused:
        check_client(changed)

    assert ("body", member) == refused.value.errors[0].loc
