"""The answer that carries tokens (RFC 6749 §5.1), by delivery (CONTRACT §6)."""

from __future__ import annotations

import secrets
from datetime import datetime
from typing import Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import JSONResponse

from authsvc.flows.login import Device
from authsvc.flows.session import Outcome, Session
from authsvc.http.request.cookies import DEVICE_LIFE
from authsvc.http.request.service import Service
from authsvc.keys.csrf_tokens import csrf_token
from authsvc.keys.device_cookies import device_cookie
from authsvc.protocol.refresh import Delivery
from authsvc_client.tokens.secret import Secret


class TokenAnswer(BaseModel):
    """Tokens, or for `web` delivery the news that they are in the cookies."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "access_token": "eyJhbGciOiJSUzI1NiIsInR5cCI6ImF0K2p3dCIsImtpZCI6Ii4uLiJ9…",
                    "token_type": "Bearer",
                    "expires_in": 900,
                    "refresh_expires_in": 604800,
                    "session_expires_at": "2026-12-22T10:00:00Z",
                    "session_id": "1f6f2a38-9d1c-4a8e-9a55-0f7f3b0c2d11",
                }
            ]
        }
    )

    access_token: str | None = Field(
        default=None, description="RS256 JWT (RFC 9068). Not with `web` delivery."
    )
    token_type: Literal["Bearer"] = "Bearer"  # noqa: S105 - RFC 6749 §7.1
    expires_in: int = Field(description="Life of the access token in seconds.")
    refresh_expires_in: int = Field(
        description="Seconds until the session idles out, unless it is refreshed before."
    )
    session_expires_at: datetime = Field(description="When the session ends in any case.")
    session_id: UUID = Field(description="The refresh family; `sid` in the access token.")
    refresh_token: str | None = Field(default=None, description="Only with `native` delivery.")
    device_token: str | None = Field(
        default=None,
        description="Only in the answer to a `native` login: keep it, also after logout.",
    )
    csrf_token: str | None = Field(
        default=None,
        description="Only with `web` delivery: send it as X-CSRF-Token with every write.",
    )


def token_answer(
    service: Service,
    session: Session,
    *,
    device_token: Secret | None = None,
    twins_of: str | None = None,
) -> JSONResponse:
    """
    Body and cookies of a session; after a login also the device's token.

    A kept refresh token is not sent again: the cookie that the browser holds stays.

    Args:
        twins_of: The host that was asked, where twins of its cookies are to be cleared.
    """
    family = session.family
    access_ttl = service.settings.access_ttl
    idle = family.idle_expires_at - family.now
    body: dict[str, object] = {
        "token_type": "Bearer",
        "expires_in": int(access_ttl.total_seconds()),
        "refresh_expires_in": int(idle.total_seconds()),
        "session_expires_at": family.absolute_expires_at.isoformat().replace("+00:00", "Z"),
        "session_id": str(family.id),
    }
    # First, so that a reader who keeps one cookie of a name keeps the one that is set.
    cookies = [] if twins_of is None else service.cookies.clear_twins(twins_of)
    if family.delivery is not Delivery.WEB:
        body = {"access_token": session.access_token, **body}
    if family.delivery is Delivery.NATIVE:
        body["refresh_token"] = session.refresh_token
    elif session.outcome is not Outcome.KEPT:
        cookies.append(
            service.cookies.refresh.set(
                session.refresh_token, max_age=idle if family.remember else None
            )
        )
    if family.delivery is Delivery.WEB:
        csrf = csrf_token(service.keys.refresh, family.id, family.created_at)
        body["csrf_token"] = csrf
        life = family.absolute_expires_at - family.now
        cookies += [
            service.cookies.access.set(
                session.access_token, max_age=access_ttl if family.remember else None
            ),
            service.cookies.csrf.set(csrf, max_age=life if family.remember else None),
        ]
    if device_token is not None:
        if family.delivery.by_cookie:
            cookies.append(service.cookies.device.set(device_token, max_age=DEVICE_LIFE))
        else:
            body["device_token"] = device_token
    answer = JSONResponse(body, headers={"Cache-Control": "no-store"})
    for cookie in cookies:
        answer.headers.append("set-cookie", cookie)
    return answer


def device_token(service: Service, user_id: UUID, *, known: Device | None, now: datetime) -> Secret:
    """
    Cookie or token of a device that logged this user in; it outlives the session.

    A stranger's failed logins then do not throttle this device.
    """
    nonce = known.nonce if known and known.user_id == user_id else secrets.token_urlsafe(16)
    return device_cookie(service.keys.refresh, user_id, nonce, now=now)
