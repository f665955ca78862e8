"""POST /oauth/revoke (RFC 7009)."""

from fastapi import APIRouter, Request, Response

from authsvc.flows.revoke_token import Revoked, revoke_client_token, revoke_user_token
from authsvc.http.request.caller import caller
from authsvc.http.request.oauth_request import (
    TOKEN_BODY,
    authenticated,
    form_of,
    presented_by,
    token_of,
)
from authsvc.http.request.service import Service, service_of
from authsvc.http.response.oauth_errors import NO_STORE, REVOCATION_PATH, oauth_refusals
from authsvc.observe.metrics import revocation_total
from authsvc.protocol.client_auth import PresentedClient
from authsvc.protocol.form import Form
from authsvc.protocol.grants import FIRST_PARTY
from authsvc.protocol.oauth_errors import UnsupportedTokenType

router = APIRouter()


@router.post(
    REVOCATION_PATH,
    name="revoke",
    response_class=Response,
    tags=["clients"],
    summary="Revoke a token",
    responses=oauth_refusals(UnsupportedTokenType),
    openapi_extra=TOKEN_BODY,
)
async def post(request: Request) -> Response:
    """
    Revoke your own token; 200 also for a token that is unknown, has ended, or is another client's.

    A client ends its own access tokens: introspection refuses them from then on, and the
    revocation feed lists them. The public client `authsvc` (`client_id=authsvc`, no credential)
    ends sessions: the `refresh_token` of a `native` login ends its whole session with all
    tokens. Access tokens of users cannot be revoked individually.
    """
    service = service_of(request)
    with revocation_total.refusals():
        form = await form_of(request)
        presented = presented_by(request, form)
        revoked = await _revoked(service, request, presented, form)
    revocation_total.labels(outcome=revoked).inc()
    request.state.facts = {"client_id": presented.client_id, "outcome": revoked}
    return Response(headers=NO_STORE)


async def _revoked(
    service: Service, request: Request, presented: PresentedClient, form: Form
) -> Revoked:
    now, who = service.clock.now(), caller(request)
    if presented.method is None and presented.client_id == FIRST_PARTY:
        return await revoke_user_token(
            service.db,
            service.issuer,
            service.keys,
            token=token_of(form),
            caller=who,
            now=now,
        )
    client = await authenticated(service, request, presented)
    return await revoke_client_token(
        service.db,
        service.issuer,
        client,
        token=token_of(form),
        caller=who,
        now=now,
    )
