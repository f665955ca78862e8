"""The members that several request bodies share."""

from __future__ import annotations

import unicodedata
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from authsvc_client.tokens.secret import Secret

MAX_PASSWORD = 128  # characters, after NFC


class StrictBody(BaseModel):
    """A request body: no unknown members, no coercion."""

    model_config = ConfigDict(extra="forbid", strict=True, hide_input_in_errors=True)


def _password(presented: str) -> Secret:
    # Refused before it is hashed: a long password must not cost more than a short one.
    if len(unicodedata.normalize("NFC", presented)) > MAX_PASSWORD:
        raise ValueError(f"A password has at most {MAX_PASSWORD} characters.")
    if "\0" in presented:
        raise ValueError("A password must not contain a NUL character.")
    return Secret(presented)


def _text(presented: str) -> str:
    if "\0" in presented:
        raise ValueError("An e-mail address must not contain a NUL character.")
    return presented


Email = Annotated[
    str,
    Field(
        min_length=1,
        max_length=320,
        examples=["alice@example.com"],
        description="Compared in its normal form: NFC, lower case.",
        json_schema_extra={"format": "email"},
    ),
    AfterValidator(_text),
]
Password = Annotated[
    str,
    Field(
        min_length=1,
        max_length=4 * MAX_PASSWORD,  # a character has at most 4 code points before NFC, or so
        examples=["correct horse battery staple"],
        json_schema_extra={"format": "password", "maxLength": MAX_PASSWORD},
    ),
    AfterValidator(_password),
]
NewPassword = Annotated[
    Password,
    Field(
        json_schema_extra={"format": "password", "minLength": 8, "maxLength": MAX_PASSWORD},
        description="8 to 128 characters of any kind, not a common password.",
    ),
]
