"""What an operator has to put right."""

from __future__ import annotations


class OperatorError(Exception):
    """Its text is a line for each cause: what is wrong, and what to do about it."""
