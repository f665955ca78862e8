"""Which passwords are accepted (NIST SP 800-63B §3.1.1.2)."""

from __future__ import annotations

import unicodedata

import pytest

from authsvc.keys.password_blocklist import blocked_passwords
from authsvc.protocol import password_policy
from authsvc.protocol.errors import ValidationFailed, WeakPassword
from authsvc.protocol.password_policy import check_password, normalize

BLOCKED = blocked_passwords()
EMAIL = "alice.liddell@example.com"


def check(password: str, *, email: str = EMAIL) -> None:
    check_password(password, email=email, blocked=BLOCKED)


def kind_of_refusal(password: str, *, email: str = EMAIL) -> str:
    with pytest.raises(ValidationFailed) as caught:
        check(password, email=email)
    (error,) = caught.value.errors
    assert not password or password not in error.msg
    assert not password or password not in str(caught.value)
    return error.type.removeprefix("password_")


@pytest.mark.requirement("P3")
@pytest.mark.parametrize(
    "password",
    [
        "x" * 7 + "y",
        "correct horse battery staple",
        "   spaces at both ends   ",
        "ÄÖÜäöüßé",
        "пароль-который-никто-не-знает",
        "🔑🔒🗝️🚪🪟🧱🏠🌳",
        "only lower case letters",
        "7391846250173948",
        "q" + "ä" * 127,
        "\t\r\n tabs and lines",
    ],
)
def test_anything_long_enough_is_accepted(password: str) -> None:
    """No composition rules; every character counts."""
    check(password)


@pytest.mark.requirement("P3")
@pytest.mark.parametrize(
    ("password", "kind"),
    [
        ("", "too_short"),
        ("a1b2c3d", "too_short"),
        ("🔑" * 7, "too_short"),
        ("x" * 129, "too_long"),
        ("ä" * 129, "too_long"),
        ("x" * 1_000_000, "too_long"),
    ],
    ids=lambda value: value[:9],
)
def test_length_is_counted_in_characters(password: str, kind: str) -> None:
    assert kind == kind_of_refusal(password)


@pytest.mark.requirement("P4")
def test_length_is_counted_after_composition() -> None:
    """A keyboard that sends "é" as two code points neither gains nor loses."""
    decomposed = unicodedata.normalize("NFD", "é")

    assert "too_short" == kind_of_refusal(decomposed * 7)
    check("x" + decomposed * 127)
    # The form with the most code points for one: four.
    assert 4 == len(unicodedata.normalize("NFD", "\u1f82"))
    check(unicodedata.normalize("NFD", "\u1f82" * 128))


@pytest.mark.requirement("P4", "B2")
@pytest.mark.parametrize("character", ["\0", "\ud800"], ids=ascii)
def test_what_no_keyboard_sends_is_refused(character: str) -> None:
    assert "characters" == kind_of_refusal(f"long enough{character}")


@pytest.mark.requirement("P8")
def test_a_huge_password_is_refused_by_its_length_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(password_policy, "normalize", None)

    with pytest.raises(TypeError, match="not callable"):  # the control
        check("e\u0301" * 8)

    assert "too_long" == kind_of_refusal("e\u0301" * 5_000_000)


@pytest.mark.requirement("P5")
@pytest.mark.parametrize(
    "password",
    [
        "password",
        "12345678",
        "qwerty123",
        "Password1",
        "PASSWORD123",
        "iloveyou1",
        "Baseball",
        "superman",
        "1q2w3e4r5t",
        "trustno1",
        "aaaaaaaa",
        "passw0rd",
    ],
)
def test_the_commonest_passwords_are_refused_in_any_case(password: str) -> None:
    with pytest.raises(WeakPassword):
        check(password)


@pytest.mark.requirement("P5")
@pytest.mark.parametrize(
    "password",
    [
        EMAIL,
        EMAIL.upper(),
        f"{EMAIL}!2026",
        "alice.liddell",
        "Alice.Liddell99",
        "99alice.liddell",
        "authsvc1",
        "AuthSvc-2026-spring",
        "my authsvc password",
    ],
)
def test_the_accounts_own_words_are_refused(password: str) -> None:
    assert "context" == kind_of_refusal(password)


@pytest.mark.requirement("P5")
def test_own_words_do_no_harm_in_a_long_password() -> None:
    check("alice.liddell fell down a hole")
    check("a very fine password", email="a@example.com")
    check("samovar and tea", email="sam@example.com")


@pytest.mark.requirement("P5")
def test_an_address_in_another_unicode_form_is_recognized() -> None:
    email = normalize("zoë.müller@example.com")

    assert "context" == kind_of_refusal(unicodedata.normalize("NFD", "Zoë.Müller1"), email=email)


@pytest.mark.requirement("P5")
def test_the_block_list_has_more_than_ten_thousand_that_the_length_lets_through() -> None:
    assert len(BLOCKED) >= 10_000
    assert all(8 <= len(password) <= 128 for password in BLOCKED)
    assert all(password == normalize(password.lower()) for password in BLOCKED)


def test_the_refusal_names_the_member_that_was_sent() -> None:
    with pytest.raises(WeakPassword) as caught:
        check_password("password", email=EMAIL, blocked=BLOCKED, loc=("body", "new_password"))

    assert [("body", "new_password")] == [error.loc for error in caught.value.errors]
