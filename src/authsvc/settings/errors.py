"""What is said of bad settings."""

from __future__ import annotations

from collections.abc import Callable

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from authsvc.operator_errors import OperatorError

PREFIX = "AUTHSVC_"


class SettingsError(OperatorError):
    """One line per bad setting: its name, what is wrong, what to write instead."""


def explain(exc: ValidationError, *, written_as: Callable[[str], str]) -> list[str]:
    """
    One line per bad value; values are never repeated, since some are secrets.

    Args:
        written_as: The name by which a field was given.
    """
    lines = []
    for error in exc.errors(include_input=False, include_url=False):
        if error["loc"]:
            lines.append(f"{written_as(str(error['loc'][0]))}: {_in_words(error)}")
        else:
            lines += _in_words(error).split("\n")
    return lines


def _in_words(error: ErrorDetails) -> str:
    """What is wrong and what to write, where pydantic says only the former."""
    limits = error.get("ctx", {})
    match error["type"]:
        case "literal_error":
            return f"is not one of its values; write {limits['expected'].replace(chr(39), '')}"
        case "bool_parsing" | "bool_type":
            return "is neither on nor off; write on or off"
        case "int_parsing" | "int_type" | "int_from_float" | "int_parsing_size":
            return "is not a whole number; write digits only"
        case "float_parsing" | "float_type" | "finite_number":
            return "is not a number; write one such as 2 or 0.5"
        case "greater_than_equal":
            return f"is too small; write {limits['ge']} or more"
        case "less_than_equal":
            return f"is too large; write {limits['le']} or less"
        case "string_too_short":
            return "is empty; write a value, or remove the name"
        case "string_too_long":
            return f"is too long; write at most {limits['max_length']} characters"
        case _:
            return error["msg"].removeprefix("Value error, ")
