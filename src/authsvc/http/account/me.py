"""GET /auth/me."""

from uuid import UUID

from fastapi import APIRouter

from authsvc.http.account.current_user import REFUSALS, CurrentUser
from authsvc.http.account.register import Registered
from authsvc.http.request.strict_json import StrictJSONRoute
from authsvc.http.response.problem_schema import refusals

router = APIRouter(route_class=StrictJSONRoute)


class Me(Registered):
    """The account behind the access token."""

    session_id: UUID


@router.get(
    "/auth/me",
    name="me",
    tags=["account"],
    summary="The current account",
    responses=refusals(*REFUSALS),
)
async def get(account: CurrentUser) -> Me:
    """Read the current state of the account that the access token belongs to."""
    return Me(
        id=account.id,
        email=account.email,
        roles=list(account.roles),
        created_at=account.created_at,
        session_id=account.session_id,
    )
