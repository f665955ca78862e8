"""POST /auth/refresh."""

from typing import Any

from fastapi import APIRouter, Request
from pydantic import Field
from starlette.responses import JSONResponse

from authsvc.flows.refresh import RefreshRequest
from authsvc.flows.refresh import refresh as refresh_flow
from authsvc.http.request.caller import caller
from authsvc.http.request.credentials import open_refresh_token, refresh_credential
from authsvc.http.request.fields import StrictBody
from authsvc.http.request.service import service_of
from authsvc.http.request.strict_json import read_object
from authsvc.http.request.validation import read_body
from authsvc.http.response.errors import refusals
from authsvc.http.response.token_answer import TokenAnswer, token_answer
from authsvc.observe.metrics import REFRESH_OUTCOMES, refresh_total
from authsvc.protocol.errors import (
    CsrfFailed,
    DatabaseUnavailable,
    DuplicateCredentials,
    FieldError,
    InvalidRefreshToken,
    Refusal,
    ValidationFailed,
)
from authsvc_client.tokens.secret import Secret

PATH = "/auth/refresh"

router = APIRouter()

KEY_LENGTHS = range(16, 256)
VISIBLE_ASCII = range(0x21, 0x7F)


class Refresh(StrictBody):
    """The refresh token of a `native` session; cookie sessions send no body."""

    refresh_token: str | None = Field(default=None, examples=["art1.AAAAAAAAAAAA…"])


# The endpoint reads its request itself (see app.create_app), so FastAPI has to be told.
PARAMETERS_AND_BODY: dict[str, Any] = {
    "parameters": [
        {
            "name": "Idempotency-Key",
            "in": "header",
            "required": False,
            "description": (
                "16 to 255 visible ASCII characters, a new random value for each token that is "
                "spent. Repeat it when an answer was lost: the same successor comes again, at "
                "any time. **Without it a 503 or a lost answer may cost a native session.**"
            ),
            "schema": {"type": "string", "minLength": 16, "maxLength": 255, "pattern": "^[!-~]+$"},
        }
    ],
    "requestBody": {
        "required": False,
        "content": {"application/json": {"schema": Refresh.model_json_schema()}},
    },
}


@router.post(
    PATH,
    response_model=TokenAnswer,
    tags=["session"],
    summary="Exchange the refresh token for fresh tokens",
    responses=refusals(
        InvalidRefreshToken, DuplicateCredentials, CsrfFailed, ValidationFailed, DatabaseUnavailable
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
async def refresh(request: Request) -> JSONResponse:
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
    presented = refresh_credential(request, service, in_body=body.refresh_token)
    key = _idempotency_key(request)
    try:
        asked = RefreshRequest(
            token=open_refresh_token(request, service, presented, now=came),
            idempotency_key=key,
            caller=caller(request),
            under_way=lambda: service.clock.now() - came,
            abandoned=request.is_disconnected,
        )
        session = await refresh_flow(service, asked, now=came)
    except Refusal as refusal:
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
    key = values[0]
    if (
        len(values) > 1
        or len(key) not in KEY_LENGTHS
        or any(ord(character) not in VISIBLE_ASCII for character in key)
    ):
        raise ValidationFailed(
            errors=(
                FieldError(
                    loc=("header", "Idempotency-Key"),
                    msg="Send it once, as 16 to 255 visible ASCII characters.",
                    type="idempotency_key",
                ),
            )
        )
    return Secret(key)
