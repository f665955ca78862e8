"""What an examination finds: a stable id, how bad it is, and what to do next."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

# Ids are for ever: monitoring may know them. A check that goes takes its number with it.
TITLES = {
    "AUTHSVC-CFG-001": "configuration",
    "AUTHSVC-CFG-002": "unknown settings",
    "AUTHSVC-CFG-003": "mode",
    "AUTHSVC-CFG-004": "workers",
    "AUTHSVC-CFG-005": "throttling",
    "AUTHSVC-CFG-006": "metrics",
    "AUTHSVC-CFG-007": "docs page",
    "AUTHSVC-CFG-008": "token lifetimes",
    "AUTHSVC-KEY-001": "key directory",
    "AUTHSVC-KEY-002": "signing key",
    "AUTHSVC-KEY-003": "rotation",
    "AUTHSVC-KEY-004": "refresh MAC key",
    "AUTHSVC-KEY-005": "refused key files",
    "AUTHSVC-KEY-006": "key file warnings",
    "AUTHSVC-KEY-007": "who can write keys",
    "AUTHSVC-KEY-008": "old keys",
    "AUTHSVC-KEY-009": "encryption of keys",
    "AUTHSVC-DB-001": "database",
    "AUTHSVC-DB-002": "PostgreSQL version",
    "AUTHSVC-DB-003": "durability",
    "AUTHSVC-DB-004": "writable",
    "AUTHSVC-DB-005": "clocks",
    "AUTHSVC-DB-006": "schema",
    "AUTHSVC-DB-007": "privileges",
    "AUTHSVC-DB-008": "least privilege",
    "AUTHSVC-DB-009": "encryption to the database",
    "AUTHSVC-DB-010": "connections",
    "AUTHSVC-DB-011": "encoding of the database",
    "AUTHSVC-WEB-001": "issuer",
    "AUTHSVC-WEB-002": "cookies",
    "AUTHSVC-WEB-003": "proxies",
    "AUTHSVC-WEB-004": "CORS",
    "AUTHSVC-WEB-005": "cookie domain",
    "AUTHSVC-WEB-006": "listening address",
    "AUTHSVC-WEB-007": "sign-in networks",
    "AUTHSVC-PWD-001": "argon2 parameters",
    "AUTHSVC-PWD-002": "argon2 build",
    "AUTHSVC-PWD-003": "argon2 speed",
    "AUTHSVC-PWD-004": "argon2 memory",
}


class Severity(StrEnum):
    """How bad it is."""

    OK = "ok"
    INFO = "info"  # worth knowing; a choice, or a fact
    WARNING = "warning"  # works, with a risk
    ERROR = "error"  # does not work, or must not be used like this


@dataclass(frozen=True, slots=True)
class Finding:
    """
    One thing that was found.

    Args:
        id: One of TITLES, without the prefix.
        found: What is the case, as a clause.
        next_step: What to do about it; empty if nothing is to be done.
    """

    id: str
    severity: Severity
    found: str
    next_step: str = ""

    @property
    def full_id(self) -> str:
        """With the prefix, as it is shown."""
        return f"AUTHSVC-{self.id}"

    @property
    def title(self) -> str:
        """What it is about."""
        return TITLES[self.full_id]


def ok(id_: str, found: str) -> Finding:
    """Looked at, and in order."""
    return Finding(id_, Severity.OK, found)


def info(id_: str, found: str, next_step: str = "") -> Finding:
    """Worth knowing."""
    return Finding(id_, Severity.INFO, found, next_step)


def warning(id_: str, found: str, next_step: str) -> Finding:
    """A risk."""
    return Finding(id_, Severity.WARNING, found, next_step)


def error(id_: str, found: str, next_step: str) -> Finding:
    """Something that does not work."""
    return Finding(id_, Severity.ERROR, found, next_step)
