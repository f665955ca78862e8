"""POST /auth/refresh."""

import re
from typing import Any

from fastapi import APIRouter, Request
from pydantic import Field
from starlette.responses import JSONResponse

from authsvc.flows.refresh import RefreshRequest, refresh
from authsvc.http.request.caller import caller
from authsvc.http.request.credentials import open_refresh_token, refresh_credential
from authsvc.http.request.fields import StrictBody, json_body, parameter
from authsvc.http.request.service import service_of
from authsvc.http.request.strict_json import read_object
from authsvc.http.request.validation import read_body
from authsvc.http.response.problem_schema import refusals
from authsvc.http.response.token_answer import TokenAnswer, token_answer
from authsvc.observe.metrics import REFRESH_OUTCOMES, refresh_total
from authsvc.protocol import errors
from authsvc_client.tokens.secret import Secret

PATH = "/auth/refresh"

router = APIRouter()

IDEMPOTENCY_KEY = re.compile(r"[!-~]{16,255}", re.ASCII)  # visible ASCII


class Refresh(StrictBody):
    """The refresh token of a `native` session; cookie sessions send no body."""

    refresh_token: str | None = Field(default=None, examples=["art1.AAAAAAAAAAAA…"])


PARAMETERS_AND_BODY: dict[str, Any] = {
    "parameters": [
        parameter(
            "Idempotency-Key",
            "header",
            "16 to 255 visible ASCII characters, a new random value for each token that is spent. "
            "Repeat it when an answer was lost: the same successor comes again, at any time. "
            "**Without it a 503 or a lost answer may cost a native session.**",
            {"type": "string", "minLength": 16, "maxLength": 255, "pattern": "^[!-~]+$"},
        )
    ],
    **json_body(Refresh, required=False),
}


@router.post(
    PATH,
    name="refresh",
    response_model=TokenAnswer,
    tags=["session"],
    summary="Exchange the refresh token for fresh tokens",
    responses=refusals(
        errors.InvalidRefreshToken,
        errors.DuplicateCredentials,
        errors.CsrfFailed,
        errors.ValidationFailed,
        errors.DatabaseUnavailable,
    )
    | {
        200: {
            "headers": {
                "Authsvc-Refresh": {
                    "description": "What happened to the refresh token.",
                    "schema": {"type": "string", "enum": ["rotated", "kept", "replayed"]},
                }
            }
        }
    },
    openapi_extra=PARAMETERS_AND_BODY,
)
async def post(request: Request) -> JSONResponse:
    """
    Rotate the refresh token and sign a new access token.

    A token that was already spent ends its session, unless the request is a retry: it repeats
    the Idempotency-Key, or (cookies only) it comes within seconds of the rotation. No answer
    but 200 sets or clears a cookie. After a 503 nothing is lost: repeat the request with the
    same Idempotency-Key.
    """
    service = service_of(request)
    came = service.clock.now()
    members = await read_object(request, optional=True)
    body = Refresh() if members is None else read_body(Refresh, members)
    presented, by_cookie = refresh_credential(request, service, in_body=body.refresh_token)
    key = _idempotency_key(request)
    try:
        asked = RefreshRequest(
            token=open_refresh_token(request, service, presented, by_cookie=by_cookie, now=came),
            idempotency_key=key,
            caller=caller(request),
            under_way=lambda: service.clock.now() - came,
            abandoned=request.is_disconnected,
        )
        session = await refresh(service, asked, now=came)
    except errors.Refusal as refusal:
        cause = refusal.detail if refusal.detail in REFRESH_OUTCOMES else refusal.code
        refresh_total.labels(outcome=cause).inc()
        raise
    refresh_total.labels(outcome="healed" if session.healed else session.outcome).inc()
    # Rotations are not audited; the request's log line tells which session it was.
    request.state.facts = {
        "outcome": "healed" if session.healed else session.outcome,
        "session_id": str(session.family.id),
        "generation": session.family.generation,
    }
    answer = token_answer(service, session)
    answer.headers["Authsvc-Refresh"] = session.outcome
    return answer


def _idempotency_key(request: Request) -> Secret | None:
    values = request.headers.getlist("idempotency-key")
    if not values:
        return None
    if len(values) > 1 or not IDEMPOTENCY_KEY.fullmatch(values[0]):
        raise errors.ValidationFailed.of(
            "header",
            "Idempotency-Key",
            msg="Send it once, as 16 to 255 visible ASCII characters.",
            type="idempotency_key",
        )
    return Secret(values[0])
