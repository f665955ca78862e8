"""A session as the flows hand it out: the family, and the pair of tokens for it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from authsvc.keys.directory import KeyDirectory
from authsvc.keys.issuer import Issuer
from authsvc.store.refresh_families import Family
from authsvc_client.tokens.secret import Secret


class Outcome(StrEnum):
    """What a successful call did to the family; the `Authsvc-Refresh` header."""

    ROTATED = "rotated"
    KEPT = "kept"
    REPLAYED = "replayed"


@dataclass(frozen=True, slots=True)
class Session:
    """
    A live session.

    Args:
        healed: The rotation made good a commit that the database had lost.
    """

    family: Family
    outcome: Outcome
    access_token: Secret
    refresh_token: Secret
    healed: bool = False


def issue(
    family: Family,
    outcome: Outcome,
    *,
    issuer: Issuer,
    keys: KeyDirectory,
    now: datetime,
    healed: bool = False,
) -> Session:
    """
    Sign an access token and seal the newest refresh token; no I/O.

    The refresh token is a pure function of the family, its generation and the MAC key that the
    row names, so a replay hands out the same bytes.

    Args:
        now: The process's clock; it decides `iat`, `exp` and which key signs.
    """
    return Session(
        family=family,
        outcome=outcome,
        access_token=issuer.access_token(family.grant, now=now),
        refresh_token=keys.seal_refresh_token(family.newest_token, now=now),
        healed=healed,
    )
