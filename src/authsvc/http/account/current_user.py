"""The signed-in user, as the endpoints of an account ask for it."""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends, Request

from authsvc.flows.authenticate import authenticate
from authsvc.http.request.credentials import Use, access_credential, check_csrf_token
from authsvc.http.request.service import service_of
from authsvc.protocol.errors import DatabaseUnavailable, DuplicateCredentials, Unauthenticated
from authsvc.store.users import Account

# What every endpoint refuses that asks for it; a write also refuses with CsrfFailed.
REFUSALS = (Unauthenticated, DuplicateCredentials, DatabaseUnavailable)


async def current_user(request: Request) -> Account:
    """
    The account that the access token stands for.

    Raises:
        Unauthenticated: No token, or one that is not (or no longer) valid.
        DuplicateCredentials: Two access cookies.
        CsrfFailed: A write by cookie that does not provably come from a page of ours.
    """
    service = service_of(request)
    presented = access_credential(request, service, lambda asked: Use.of_method(asked.method))
    if presented is None:
        raise Unauthenticated("no credential", error=None)
    account = await authenticate(
        service.db,
        service.issuer,
        access_token=presented.token,
        now=service.clock.now(),
    )
    if presented.needs_csrf_token:
        check_csrf_token(request, service, (account.session_id,))
    return account


CurrentUser = Annotated[Account, Depends(current_user)]
