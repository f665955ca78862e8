"""GET /auth/me."""

from datetime import datetime
from uuid import UUID

from fastapi import APIRouter
from pydantic import BaseModel

from authsvc.http.account.current_user import CurrentUser
from authsvc.http.request.strict_json import StrictJSONRoute
from authsvc.http.response.errors import refusals
from authsvc.protocol.errors import DatabaseUnavailable, DuplicateCredentials, Unauthenticated

router = APIRouter(route_class=StrictJSONRoute)


class Me(BaseModel):
    """The account behind the access token."""

    id: UUID
    email: str
    roles: list[str]
    created_at: datetime
    session_id: UUID


@router.get(
    "/auth/me",
    tags=["account"],
    summary="The current account",
    responses=refusals(Unauthenticated, DuplicateCredentials, DatabaseUnavailable),
)
async def me(account: CurrentUser) -> Me:
    """Read the current state of the account that the access token belongs to."""
    return Me(
        id=account.id,
        email=account.email,
        roles=list(account.roles),
        created_at=account.created_at,
        session_id=account.session_id,
    )
