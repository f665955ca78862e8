"""A form is read in one way or not at all."""

from __future__ import annotations

import pytest

from authsvc.protocol.errors import PayloadTooLarge
from authsvc.protocol.form import MAX_FIELDS, MAX_FORM, Form, read_form
from authsvc.protocol.oauth_errors import InvalidRequest


@pytest.mark.requirement("B4")
@pytest.mark.parametrize(
    ("body", "parameters"),
    [
        (b"", {}),
        (b"a=1&b=2", {"a": "1", "b": "2"}),
        (b"a=b=c", {"a": "b=c"}),
        (b"a+b=%2B+%26%3b", {"a b": "+ &;"}),
        (b"a=%C3%BC", {"a": "ü"}),
        (b"&a=1&&", None),
        (b"a=1&b", {"a": "1"}),
        (b"a=1&b=", {"a": "1"}),
    ],
    ids=repr,
)
def test_a_form_is_decoded_and_what_is_empty_did_not_come(
    body: bytes, parameters: dict[str, str] | None
) -> None:
    if parameters is None:  # two fields without a name are two of one name
        with pytest.raises(InvalidRequest):
            read_form(body)
    else:
        assert Form(parameters, ()) == read_form(body)


@pytest.mark.requirement("B4")
@pytest.mark.parametrize(
    "body",
    [b"a=1&a=1", b"a=1&a=", b"a=&a=", b"a=1&%61=2", b"a=1;b=2", b"a=%", b"a=%1", b"a=%zz",
     b"a=%ff", b"a=%00", b"%00=a", b"a=%0a", b"a=\n", b"a=%7f", b"a=\xc3\xbc", b"a=%ED%A0%80",
     b"&".join(b"a%d=1" % n for n in range(MAX_FIELDS + 1))],
    ids=lambda body: repr(body[:20]),
)  # fmt: skip
def test_what_could_be_read_in_two_ways_is_refused(body: bytes) -> None:
    with pytest.raises(InvalidRequest):
        read_form(body)


@pytest.mark.requirement("B4")
def test_size_is_bounded_before_anything_is_read() -> None:
    assert {"a": "x" * (MAX_FORM - 2)} == read_form(b"a=" + b"x" * (MAX_FORM - 2)).parameters
    with pytest.raises(PayloadTooLarge):
        read_form(b"a=" + b"x" * (MAX_FORM - 1))


@pytest.mark.requirement("B4")
def test_as_many_fields_as_are_allowed_pass() -> None:
    body = b"&".join(b"a%d=1" % number for number in range(MAX_FIELDS))

    assert MAX_FIELDS == len(read_form(body).parameters)


@pytest.mark.requirement("O12")
def test_a_resource_may_come_several_times() -> None:
    form = read_form(b"resource=https%3A%2F%2Fa.example&resource=&resource=b&scope=x")

    assert Form({"scope": "x"}, ("https://a.example", "b")) == form


def test_a_form_does_not_print_what_it_holds() -> None:
    assert "hidden" not in repr(read_form(b"client_secret=hidden"))
