"""GET /auth/sessions and DELETE /auth/sessions/{id}."""

from datetime import datetime
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query, Response
from pydantic import BaseModel, Field

from authsvc.flows.sessions import end_session as end_session_flow
from authsvc.flows.sessions import list_sessions as list_sessions_flow
from authsvc.http.account.current_user import CurrentUser
from authsvc.http.request.caller import TheCaller
from authsvc.http.request.service import TheService
from authsvc.http.request.strict_json import StrictJSONRoute
from authsvc.http.response.errors import refusals
from authsvc.protocol.errors import (
    CsrfFailed,
    DatabaseUnavailable,
    DuplicateCredentials,
    NotFound,
    Unauthenticated,
    ValidationFailed,
)
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
    tags=["session"],
    summary="List your sessions",
    responses=refusals(
        ValidationFailed, Unauthenticated, DuplicateCredentials, DatabaseUnavailable
    ),
)
async def list_sessions(
    account: CurrentUser,
    service: TheService,
    cursor: Annotated[str | None, Query(description="`next` of the previous page.")] = None,
) -> Sessions:
    """
    List the account's live sessions, a hundred at a time.

    `ip` and `user_agent` are those of the last use.
    """
    families, following = await list_sessions_flow(service.db, account=account, cursor=cursor)
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
    status_code=204,
    response_class=Response,
    tags=["session"],
    summary="End one of your sessions",
    responses=refusals(
        NotFound, CsrfFailed, Unauthenticated, DuplicateCredentials, DatabaseUnavailable
    ),
)
async def end_session(
    session_id: str, account: CurrentUser, service: TheService, caller: TheCaller
) -> Response:
    """End one of your sessions; its tokens are refused here at once. Others are not found."""
    try:
        wanted = UUID(session_id)
    except ValueError:
        raise NotFound("session") from None
    await end_session_flow(
        service.db,
        account=account,
        session_id=wanted,
        caller=caller,
    )
    return Response(status_code=204)
