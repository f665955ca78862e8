"""
Access tokens in cookies (`web` delivery), and where a write by cookie comes from.

A browser adds cookies to requests that foreign pages make. So a write must come from a page of
ours, as Sec-Fetch-Site and Origin (else Referer) say, **and** repeat the value of the CSRF
cookie in X-CSRF-Token, which a foreign page can neither read nor send along.

authsvc itself also checks that the value is this session's, for which it has a key; a resource
service does not. So whoever can plant cookies on this host, such as a sibling host where
cookies are shared with AUTHSVC_COOKIE_DOMAIN, can satisfy the second rule, and the first one
alone stands between.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable, Sequence
from urllib.parse import urlsplit

from authsvc_client.tokens.loopback import is_loopback
from authsvc_client.tokens.secret import Secret
from authsvc_client.verifier.errors import CsrfRefused, InvalidRequest

ACCESS = "authsvc_access"
CSRF = "authsvc_csrf"


class CookieSessions:
    """
    Accept the cookies of `web` delivery.

    Args:
        origins: Whose pages may write, each exact, such as ``https://app.example.com``: the
            origin of this application. All https, or all http on this machine, where browsers
            get the cookies without prefix.
        shared: Whether authsvc has AUTHSVC_COOKIE_DOMAIN set; the prefix is `__Secure-` then,
            else `__Host-`.
        suffix: What authsvc has as AUTHSVC_COOKIE_SUFFIX.

    Raises:
        ValueError: There is no origin, or one that is none.
    """

    def __init__(
        self, *, origins: Sequence[str], shared: bool = False, suffix: str | None = None
    ) -> None:
        if isinstance(origins, str) or not origins:
            raise ValueError("origins: give a list of the origins whose pages may write")
        for origin in origins:
            _check_origin(origin)
        schemes = {origin.partition(":")[0] for origin in origins}
        if len(schemes) > 1:
            raise ValueError("origins: either all https or all http on this machine")
        prefix = ("__Secure-" if shared else "__Host-") if schemes == {"https"} else ""
        self._origins = frozenset(origins)
        last = f"_{suffix}" if suffix else ""
        self.access_cookie = f"{prefix}{ACCESS}{last}"
        self.csrf_cookie = f"{prefix}{CSRF}{last}"

    def access_token(self, cookie_headers: Sequence[str]) -> Secret | None:
        """
        The token of the access cookie; None without one.

        Raises:
            InvalidRequest: It comes twice, so that one of the two was planted.
        """
        return _read(cookie_headers, self.access_cookie)

    def check_page(
        self, headers: Callable[[str], Sequence[str]], *, must_tell: bool = False
    ) -> None:
        """
        Refuse a request of a foreign page.

        Args:
            headers: All values of the header of that name.
            must_tell: Whether to refuse a request without Origin: the handshake of a WebSocket,
                which every browser sends with it, and which cannot bring the CSRF header.

        Raises:
            CsrfRefused: `detail` names the header that spoke against it.
        """
        origins, sites = list(headers("origin")), list(headers("sec-fetch-site"))
        if len(origins) > 1 or len(sites) > 1:
            raise CsrfRefused("origin twice")
        if origins == ["null"] and sites == ["same-origin"] and not must_tell:
            # The application's own page under `Referrer-Policy: no-referrer`: its browser does
            # not say which, but that it is one. No page can forge that header.
            return
        page = origins[0] if origins else _page_of(headers("referer"))
        if (page is not None or must_tell) and page not in self._origins:
            raise CsrfRefused("origin")
        if not sites or sites[0] in {"same-origin", "none"}:
            return
        # `same-site` is a sibling host: only a listed one.
        if sites[0] != "same-site" or page is None:
            raise CsrfRefused("sec-fetch-site")

    def check_csrf_token(
        self, headers: Callable[[str], Sequence[str]], *, form_token: str | None = None
    ) -> None:
        """
        Refuse a write that does not repeat the value of the CSRF cookie; after `check_page`.

        Args:
            form_token: The field `csrf_token` of a form, instead of X-CSRF-Token.

        Raises:
            CsrfRefused: It does not.
            InvalidRequest: The CSRF cookie comes twice.
        """
        cookie = _read(headers("cookie"), self.csrf_cookie)
        sent = [*headers("x-csrf-token"), *([] if form_token is None else [form_token])]
        if (
            cookie is None
            or len(sent) != 1
            or not hmac.compare_digest(_bytes(sent[0]), _bytes(cookie))
        ):
            raise CsrfRefused("csrf_token")


def _read(cookie_headers: Sequence[str], name: str) -> Secret | None:
    """An empty cookie counts as none."""
    pairs = (pair.strip(" \t").partition("=") for h in cookie_headers for pair in h.split(";"))
    found = [value for key, _, value in pairs if key == name]
    if len(found) > 1:
        raise InvalidRequest("cookie twice")
    return Secret(found[0]) if found and found[0] else None


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


def _page_of(referers: Sequence[str]) -> str | None:
    if not referers:
        return None
    try:
        parts = urlsplit(referers[0])
    except ValueError:
        return "null"
    return f"{parts.scheme}://{parts.netloc}"


def _check_origin(origin: str) -> None:
    parts = urlsplit(origin)
    host = parts.hostname or ""
    if origin != f"{parts.scheme}://{parts.netloc}" or not host or "@" in parts.netloc:
        raise ValueError(f"origins: {origin!r} is no origin, such as https://app.example.com")
    if parts.scheme != "https" and not (parts.scheme == "http" and is_loopback(host)):
        raise ValueError(f"origins: {origin!r} must be https (http only on this machine)")
