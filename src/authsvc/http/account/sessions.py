"""GET /auth/sessions and DELETE /auth/sessions/{id}."""

from datetime import datetime
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query, Request, Response
from pydantic import BaseModel, Field

from authsvc.flows.sessions import end_session, list_sessions
from authsvc.http.account.current_user import REFUSALS, CurrentUser
from authsvc.http.request.caller import caller
from authsvc.http.request.service import service_of
from authsvc.http.request.strict_json import StrictJSONRoute
from authsvc.http.response.problem_schema import refusals
from authsvc.protocol import errors
from authsvc.protocol.refresh import Delivery

router = APIRouter(route_class=StrictJSONRoute)


class SessionEntry(BaseModel):
    """One session: a login on one device."""

    id: UUID
    current: bool
    created_at: datetime
    last_used_at: datetime
    ip: str
    user_agent: str
    delivery: Delivery


class Sessions(BaseModel):
    """A page of the live sessions, the one used last first."""

    sessions: list[SessionEntry]
    next: str | None = Field(description="`cursor` of the next page; null at the end.")


@router.get(
    "/auth/sessions",
    name="list_sessions",
    tags=["session"],
    summary="List your sessions",
    responses=refusals(*REFUSALS, errors.ValidationFailed),
)
async def get(
    request: Request,
    account: CurrentUser,
    cursor: Annotated[str | None, Query(description="`next` of the previous page.")] = None,
) -> Sessions:
    """
    List the account's live sessions, a hundred at a time.

    `ip` and `user_agent` are those of the last use.
    """
    db = service_of(request).db
    families, following = await list_sessions(db, account=account, cursor=cursor)
    return Sessions(
        sessions=[
            SessionEntry(
                id=family.id,
                current=family.id == account.session_id,
                created_at=family.created_at,
                last_used_at=family.rotated_at,
                ip=family.last_ip,
                user_agent=family.last_user_agent,
                delivery=Delivery(family.delivery),
            )
            for family in families
        ],
        next=following,
    )


@router.delete(
    "/auth/sessions/{session_id}",
    name="end_session",
    status_code=204,
    response_class=Response,
    tags=["session"],
    summary="End one of your sessions",
    responses=refusals(*REFUSALS, errors.NotFound, errors.CsrfFailed),
)
async def delete(session_id: str, request: Request, account: CurrentUser) -> Response:
    """End one of your sessions; its tokens are refused here at once. Others are not found."""
    try:
        wanted = UUID(session_id)
    except ValueError:
        raise errors.NotFound("session") from None
    await end_session(
        service_of(request).db, account=account, session_id=wanted, caller=caller(request)
    )
    return Response(status_code=204)
