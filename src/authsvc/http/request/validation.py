"""
pydantic's findings as our own: where, what, which rule, and nothing of what was sent.

By default FastAPI repeats the input in a 422, passwords included, and some of pydantic's
messages quote it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from authsvc.protocol.errors import FieldError, ValidationFailed

Model = TypeVar("Model", bound=BaseModel)

# What a form can show; filled in from our own schema.
WORDS = {
    "bool_type": "Write true or false.",
    "int_type": "Write a whole number.",
    "list_type": "Write a JSON array.",
    "literal_error": "Write one of these: {expected}.",
    "missing": "This is required.",
    "model_attributes_type": "Write a JSON object.",
    "model_type": "Write a JSON object.",
    "string_too_long": "Use at most {max_length} characters.",
    "string_too_short": "Use at least {min_length} characters.",
    "string_type": "Write a text.",
}
# Messages that are made of our own schema only. Others may quote the input
# (`uuid_parsing`, `union_tag_invalid` and `url_parsing` do).
SAFE_TYPES = frozenset(
    {
        *WORDS,
        "dict_type",
        "enum",
        "float_type",
        "greater_than",
        "greater_than_equal",
        "less_than",
        "less_than_equal",
        "string_pattern_mismatch",
        "string_unicode",
        "too_long",
        "too_short",
        "value_error",  # our own validators; they quote nothing
    }
)
EMPTY = "This must not be empty."
UNKNOWN_MEMBER = FieldError(
    loc=(), msg="This object has a member that is not known here.", type="extra_forbidden"
)


def read_body(model: type[Model], members: Mapping[str, Any]) -> Model:
    """
    A body as its model, where FastAPI does not do that.

    Raises:
        ValidationFailed: It is not one.
    """
    try:
        return model.model_validate(members)
    except ValidationError as exc:
        found = [{**error, "loc": ("body", *error["loc"])} for error in exc.errors()]
    # Outside the handler: pydantic's exception holds the input.
    raise validation_failed(found)


def validation_failed(found: Sequence[Mapping[str, Any]]) -> ValidationFailed:
    """The refusal that pydantic's findings mean; each once, in order."""
    errors = tuple(dict.fromkeys(_field_error(error) for error in found))
    detail = ", ".join(f"{'.'.join(map(str, error.loc))}: {error.type}" for error in errors[:5])
    return ValidationFailed(detail, errors=errors)


def _field_error(error: Mapping[str, Any]) -> FieldError:
    loc = tuple(error["loc"])
    kind = str(error["type"])
    if kind == UNKNOWN_MEMBER.type:
        # Its name was chosen by the caller; only where it stands is told.
        return FieldError(loc=loc[:-1], msg=UNKNOWN_MEMBER.msg, type=kind)
    if kind not in SAFE_TYPES:
        return FieldError(loc=loc, msg="The value is not valid.", type=kind)
    return FieldError(loc=loc, msg=_words(kind, error), type=kind)


def _words(kind: str, error: Mapping[str, Any]) -> str:
    found = error.get("ctx", {})
    if kind == "string_too_short" and found["min_length"] == 1:
        return EMPTY
    if kind in WORDS:
        return WORDS[kind].format_map(found)
    return str(error["msg"]).removeprefix("Value error, ")
