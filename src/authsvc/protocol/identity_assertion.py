"""Write identity assertions, which a gateway hands to a service behind it (`typ` `ia+jwt`)."""

from __future__ import annotations

from datetime import datetime

from authsvc_client.tokens.access_token import LEEWAY
from authsvc_client.tokens.claims import AccessTokenClaims, moment
from authsvc_client.tokens.identity_assertion import LIFE, audience


def to_json(
    token: AccessTokenClaims, *, upstream: str, jti: str, now: datetime
) -> dict[str, object]:
    """
    The payload of an assertion about the bearer of an access token that is valid now.

    It ends when no verifier would take the token any more, if that is sooner than a minute.
    """
    iat = int(now.timestamp())
    end = min(moment(iat) + LIFE, token.exp + LEEWAY)
    claims: dict[str, object] = {
        "iss": token.iss,
        "sub": token.sub,
        "aud": audience(upstream),
        "exp": int(end.timestamp()),
        "iat": iat,
        "jti": jti,
        "sid": str(token.sid),
        "roles": list(token.roles),
    }
    if token.scope:
        claims["scope"] = token.scope
    if token.auth_time is not None:
        claims["auth_time"] = int(token.auth_time.timestamp())
    if token.amr:
        claims["amr"] = list(token.amr)
    return claims
