"""Secrets as a type of their own, so that neither a log line nor a traceback can hold one."""

from __future__ import annotations


class Secret(str):
    """A secret text. It works as a `str`; its `repr` says nothing."""

    __slots__ = ()

    def __repr__(self) -> str:
        """Redacted: this is what logs and tracebacks print."""
        return "Secret('…')"


class SecretBytes(bytes):
    """Secret bytes. They work as `bytes`; their `repr` says nothing."""

    __slots__ = ()

    def __repr__(self) -> str:
        """Redacted: this is what logs and tracebacks print."""
        return "SecretBytes(b'…')"

    __str__ = __repr__
