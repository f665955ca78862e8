"""
What a request says of its client (RFC 6749 §2.3, RFC 7521 §4.2): exactly one credential, or none.

Nothing here is verified; it is read.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass

from authsvc.protocol.client_assertion import unverified_client_id
from authsvc.protocol.clients import CLIENT_ID, AuthMethod
from authsvc.protocol.form import form_decoded
from authsvc.protocol.oauth_errors import InvalidClient, OtherClientId, SeveralCredentials
from authsvc_client.tokens.secret import Secret

JWT_BEARER = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"  # RFC 7523 §2.2
MAX_BASIC = 4096  # characters; an id and a secret of ours have 112 together


@dataclass(frozen=True, slots=True)
class PresentedClient:
    """
    A client's credential as it was sent.

    Args:
        client_id: Of the form that ids have; nothing else is known of it.
        method: None: the client names itself and proves nothing.
        credential: The secret, or the assertion.
    """

    client_id: str
    method: AuthMethod | None
    credential: Secret


def presented_client(authorization: str | None, form: Mapping[str, str]) -> PresentedClient:
    """
    The one credential of a request.

    Args:
        authorization: The whole header value, if there is one.
        form: The parameters of the body.

    Raises:
        SeveralCredentials: More than one credential.
        OtherClientId: Two names for the client.
        InvalidClient: None at all, or one that cannot be read.
    """
    by_assertion = "client_assertion" in form or "client_assertion_type" in form
    ways = [authorization is not None, "client_secret" in form, by_assertion]
    if sum(ways) > 1:
        raise SeveralCredentials("several_credentials")
    named = form.get("client_id")
    if authorization is not None:
        found = _basic(authorization)
    elif by_assertion:
        found = _assertion(form)
    elif named is None:
        raise InvalidClient("none_presented")
    else:
        secret = form.get("client_secret")
        method = None if secret is None else AuthMethod.CLIENT_SECRET_POST
        found = PresentedClient(named, method, Secret(secret or ""))
    # Whoever authenticates is the client; the body must not name a stronger one.
    if named is not None and named != found.client_id:
        raise OtherClientId("client_id_differs")
    # Nobody has another; the rest of us can then log it, and ask the database for it.
    if not CLIENT_ID.fullmatch(found.client_id):
        raise InvalidClient("malformed")
    return found


def parse_basic(header: str) -> tuple[str, Secret]:
    """
    Read client credentials from an Authorization header (RFC 6749 §2.3.1).

    Args:
        header: The whole header value, such as ``Basic czZC…``.

    Returns:
        ``(client_id, client_secret)``, form-decoded.

    Raises:
        InvalidClient: Not Basic, not base64, no colon, or not form-encoded UTF-8.
    """
    scheme, _, encoded = header.strip().partition(" ")
    if scheme.lower() != "basic" or len(encoded) > MAX_BASIC:
        raise InvalidClient("malformed")
    try:
        text = base64.b64decode(encoded.strip(), validate=True).decode("ascii")
        client_id, colon, secret = text.partition(":")
        if not colon:
            raise ValueError
        return form_decoded(client_id), Secret(form_decoded(secret))
    except ValueError:
        raise InvalidClient("malformed") from None


def _basic(authorization: str) -> PresentedClient:
    client_id, secret = parse_basic(authorization)
    return PresentedClient(client_id, AuthMethod.CLIENT_SECRET_BASIC, secret)


def _assertion(form: Mapping[str, str]) -> PresentedClient:
    """The assertion names the client itself; `client_id` beside it is optional (RFC 7521 §4.2)."""
    if form.get("client_assertion_type") != JWT_BEARER or "client_assertion" not in form:
        raise InvalidClient("assertion_type")
    assertion = Secret(form["client_assertion"])
    return PresentedClient(unverified_client_id(assertion), AuthMethod.PRIVATE_KEY_JWT, assertion)
