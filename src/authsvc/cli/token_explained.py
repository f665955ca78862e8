"""What a verifier would say to a token, and why: its own refusals, in words."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from authsvc.cli.token_checks import Check, check_access_token, decode, ok, refused
from authsvc.cli.token_keys import Keys
from authsvc.keys.refresh_tokens import PREFIX, UnknownMacKey, open_token, unverified_claims
from authsvc.protocol.errors import InvalidRefreshToken
from authsvc.protocol.refresh import RefreshToken


@dataclass(frozen=True, slots=True)
class Explanation:
    """
    Args:
        kind: ``access_token``, ``refresh_token`` or ``unknown``.
        claims: Of a refresh token: session_id, generation, delivery, mac_key_id.
    """

    kind: str
    checks: tuple[Check, ...]
    header: Mapping[str, object] | None = None
    claims: Mapping[str, object] | None = None
    refresh_token: RefreshToken | None = None

    @property
    def accepted(self) -> bool:
        """Whether a verifier would accept it."""
        return all(check.passed for check in self.checks)

    @property
    def summary(self) -> str:
        """The verdict in a sentence."""
        noun = self.kind.replace("_", " ")
        if self.kind == "unknown":
            return f"This is not a token: it {self.checks[0].words}."
        if self.accepted:
            asked = any(check.name in {"session", "client"} for check in self.checks)
            rest = (
                "" if asked else "; only the database knows whether it has been ended (--session)"
            )
            return f"A verifier would accept this {noun}{rest}."
        if failed := self._those(passed=False):
            return f"A verifier would refuse this {noun}: {failed}."
        open_questions = self._those(passed=None)
        return f"Whether a verifier would accept this {noun} is not known: {open_questions}."

    def _those(self, *, passed: bool | None) -> str:
        those = (check for check in self.checks if check.passed is passed)
        return "; ".join(f"{check.name} {check.words}" for check in those)


def explain(token: str, *, keys: Keys, issuer: str, audience: str, now: datetime) -> Explanation:
    """Explain a token of either kind; nothing in it is trusted."""
    if token.startswith(PREFIX):
        return _refresh_token(token, keys)
    if token.count(".") == 2:  # noqa: PLR2004 - RFC 7515 §7.1
        header, claims = (decode(part) for part in token.split(".")[:2])
        checks = check_access_token(
            token,
            header=header,
            claims=claims,
            find_key=keys.find,
            issuer=issuer,
            audience=audience,
            now=now,
        )
        return Explanation("access_token", tuple(checks), header, claims)
    words = "is neither three parts with dots (an access token) nor art1.… (a refresh token)"
    return Explanation("unknown", (refused("form", words),))


def _refresh_token(token: str, keys: Keys) -> Explanation:
    try:
        claimed = unverified_claims(token)
    except InvalidRefreshToken:
        words = "begins like a refresh token, but was cut off or changed"
        return Explanation("refresh_token", (refused("form", words),))
    place = "its cookie" if claimed.delivery.by_cookie else "a request body"
    form = ok("form", f"is a refresh token of {claimed.delivery} delivery, in {place} only")
    claims = {
        "session_id": str(claimed.family_id),
        "generation": claimed.generation,
        "delivery": str(claimed.delivery),
        "mac_key_id": claimed.mac_key_id.hex(),
    }
    mac = _mac(token, claimed.mac_key_id.hex(), keys)
    return Explanation("refresh_token", (form, mac), claims=claims, refresh_token=claimed)


def _mac(token: str, key_id: str, keys: Keys) -> Check:
    if keys.refresh is None:
        return Check("MAC key", None, keys.nowhere)
    try:
        open_token(keys.refresh, token)
    except UnknownMacKey:
        words = f"{key_id} is unknown here: it was deleted, or the token belongs to another service"
        return refused("MAC key", words)
    except InvalidRefreshToken:
        return refused("MAC", "is wrong: the token was changed or made up")
    return ok("MAC", "is right: authsvc made this token")
