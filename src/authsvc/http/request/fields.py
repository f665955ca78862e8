"""The members that several request bodies share, and how the document describes requests."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from authsvc.protocol.password_policy import MAX_LENGTH, MAX_RAW_LENGTH, MIN_LENGTH, normalize
from authsvc_client.tokens.secret import Secret


class StrictBody(BaseModel):
    """A request body: no unknown members, no coercion."""

    model_config = ConfigDict(extra="forbid", strict=True, hide_input_in_errors=True)


def json_body(model: type[StrictBody], *, required: bool = True) -> dict[str, Any]:
    """What FastAPI has to be told of an endpoint that reads its request itself (`app.DIRECT`)."""
    content = {"application/json": {"schema": model.model_json_schema()}}
    return {"requestBody": {"required": required, "content": content}}


def parameter(
    name: str, where: str, description: str, schema: dict[str, Any], **more: object
) -> dict[str, Any]:
    """As `json_body`, of an optional parameter."""
    said = {"required": False, "description": description, "schema": schema}
    return {"name": name, "in": where, **said, **more}


def _password(presented: str) -> Secret:
    # Refused before it is hashed: a long password must not cost more than a short one.
    if len(normalize(presented)) > MAX_LENGTH:
        raise ValueError(f"A password has at most {MAX_LENGTH} characters.")
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
        max_length=MAX_RAW_LENGTH,
        examples=["correct horse battery staple"],
        json_schema_extra={"format": "password", "maxLength": MAX_LENGTH},
    ),
    AfterValidator(_password),
]
NewPassword = Annotated[
    Password,
    Field(
        json_schema_extra={"format": "password", "minLength": MIN_LENGTH, "maxLength": MAX_LENGTH},
        description="8 to 128 characters of any kind, not a common password.",
    ),
]
