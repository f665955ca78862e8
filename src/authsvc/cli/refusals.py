"""A refusal in words for a terminal, where there is neither a form nor a status."""

from __future__ import annotations

from authsvc.operator_errors import OperatorError
from authsvc.protocol.errors import (
    DatabaseUnavailable,
    EmailTaken,
    NotFound,
    OutcomeUnknown,
    Refusal,
    ValidationFailed,
)

# What a failed connection means, by the exception's name or its SQLSTATE.
CAUSES = {
    "ConnectionRefusedError": "nothing listens there",
    "FileNotFoundError": "its socket does not exist",
    "PermissionError": "this user has no permission for its socket",
    "TimeoutError": "it does not answer",
    "gaierror": "its host name is unknown",
    "28P01": "it refuses the password",
    "28000": "it refuses the user",
    "3D000": "there is no such database",
    "53300": "it has no free connection",
    "57P03": "it is starting up or shutting down",
}


def in_words(refusal: Refusal | OperatorError) -> str:
    """One line for an operator."""
    if isinstance(refusal, OperatorError):
        return str(refusal)
    if isinstance(refusal, ValidationFailed):
        return "; ".join(f"{error.loc[-1]}: {error.msg}" for error in refusal.errors)
    if isinstance(refusal, OutcomeUnknown):
        return (
            f"The connection to the database broke ({refusal.detail}); it is not known whether "
            "the change was made. Check, and repeat it if it was not."
        )
    if isinstance(refusal, DatabaseUnavailable):
        return f"The database cannot be used: {unreachable(refusal)}"
    if isinstance(refusal, EmailTaken):
        return "An account with this e-mail address exists already."
    if isinstance(refusal, NotFound):
        return f"There is no such {refusal.detail}; see `authsvc {refusal.detail}s list`"
    return refusal.description


def unreachable(refusal: DatabaseUnavailable) -> str:
    """Why the database cannot be used, and where that is set."""
    words = refusal.detail.split()
    cause = next((CAUSES[word] for word in words if word in CAUSES), None)
    said = f"{cause} ({refusal.detail})" if cause else refusal.detail
    return f"{said}. Check AUTHSVC_DATABASE_URL and that PostgreSQL runs"
