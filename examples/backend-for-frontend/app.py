"""
A backend for frontend: pages without any script, and no token in the browser.

The browser holds a random name of a session and nothing else. The tokens are here, in a file for
each session that all workers share; `authsvc_client.session` refreshes them, one refresh at a
time. What the pages show comes from a service that trusts access tokens. See README.md beside
this file.
"""

from __future__ import annotations

import hmac
import os
import secrets
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from functools import lru_cache
from hashlib import sha256
from html import escape
from pathlib import Path
from typing import Annotated

import httpx
from fastapi import Depends, FastAPI, Form, HTTPException, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response

from authsvc_client.session import (
    AuthsvcUnavailable,
    FileStore,
    LoginRefused,
    NativeSession,
    NotLoggedIn,
    SessionAuth,
    SessionProblem,
)
from authsvc_client.verifier import CookieSessions, CsrfRefused

ISSUER = os.environ.get("ISSUER", "http://localhost:8000")
# The service whose data is shown: examples/resource-service.
API = os.environ.get("API", "http://localhost:8001")
ORIGIN = os.environ.get("ORIGIN", "http://localhost:8002")
# Refresh tokens lie here: a directory that only this user can read.
STATE = Path(os.environ.get("STATE", "state"))

# A page of another origin can neither sign a browser in nor write; see check_page below.
pages = CookieSessions(origins=[ORIGIN])
SECURE = ORIGIN.startswith("https://")
COOKIE = "__Host-notes" if SECURE else "notes"
POLICY = "default-src 'none'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"

app = FastAPI(title="Notes", docs_url=None, redoc_url=None, openapi_url=None)


def file_of(name: str) -> Path:
    """Where the tokens of a session are. Who reads the file's name cannot make the cookie of it."""
    return STATE / f"{sha256(name.encode()).hexdigest()}.json"


@lru_cache(maxsize=10_000)
def tokens_of(file: Path) -> NativeSession:
    """The session of that file: one object for all requests of this process."""
    return NativeSession(ISSUER, FileStore(file), patience=timedelta(seconds=5))


class BrowserSession:
    """A browser that is signed in: the name in its cookie, and the tokens here."""

    def __init__(self, request: Request) -> None:
        self.name = request.cookies.get(COOKIE, "")
        file = file_of(self.name)
        # Before anything is made for it: a made-up name must not cost a file.
        if not self.name or not file.is_file():
            raise NotLoggedIn("no session of this name")
        self.tokens = tokens_of(file)

    @property
    def csrf_token(self) -> str:
        """What a form of this session repeats. No page but ours can know it."""
        return hmac.digest(self.name.encode(), b"csrf token", "sha256").hex()

    def ask(self, method: str, path: str, **body: object) -> httpx.Response:
        """Ask the service with the access token, which is renewed if need be."""
        auth = SessionAuth(self.tokens, origins=[API])
        with httpx.Client(base_url=API, auth=auth, timeout=10) as client:
            answer = client.request(method, path, json=body or None)
        if answer.is_error:
            raise HTTPException(502, f"The service answered {answer.status_code}.")
        return answer


def written_by_our_page(request: Request) -> None:
    """Refuse what a page of another origin sends, also before there is a session."""
    try:
        pages.check_page(request.headers.getlist)
    except CsrfRefused as refusal:
        raise HTTPException(403, refusal.description) from None


SignedIn = Annotated[BrowserSession, Depends(BrowserSession)]
OURS = Depends(written_by_our_page)
Text = Annotated[str, Form(max_length=1000)]


def check_csrf(session: BrowserSession, csrf_token: str) -> None:
    """Refuse a form that is not of this session."""
    if not hmac.compare_digest(csrf_token.encode(), session.csrf_token.encode()):
        raise HTTPException(403, "This form is not of your session. Load the page again.")


# Functions without `async`: FastAPI runs them in threads, and what they do may wait.


@app.get("/sign-in")
def sign_in_form() -> HTMLResponse:
    """The form."""
    return sign_in_page()


@app.post("/sign-in", dependencies=[OURS])
def sign_in(request: Request, email: Text, password: Text) -> Response:
    """Log in here, and give the browser a name that nobody knew before."""
    name = secrets.token_urlsafe(32)
    try:
        # Or all customers would share one network in authsvc's throttle (see the README).
        address = request.client.host if request.client else None
        tokens_of(file_of(name)).login(email, password, client_address=address)
    except LoginRefused as refusal:
        status = 429 if refusal.code == "too_many_attempts" else 403
        return sign_in_page(refusal.description, status)
    if (old := request.cookies.get(COOKIE, "")) and file_of(old).is_file():
        end(tokens_of(file_of(old)).logout)
    answer = RedirectResponse("/notes", 303)
    answer.set_cookie(COOKIE, name, secure=SECURE, httponly=True, samesite="lax")
    return answer


@app.post("/sign-out", dependencies=[OURS])
def sign_out(session: SignedIn, csrf_token: Text) -> RedirectResponse:
    """End the session, at authsvc first: a 503 says that it has not ended."""
    check_csrf(session, csrf_token)
    session.tokens.logout()
    answer = RedirectResponse("/sign-in", 303)
    answer.delete_cookie(COOKIE, secure=SECURE, httponly=True, samesite="lax")
    return answer


@app.get("/notes")
def list_notes(session: SignedIn) -> HTMLResponse:
    """What the service keeps for this user, and two forms."""
    items = "".join(f"<li>{escape(note)}</li>" for note in session.ask("GET", "/notes").json())
    hidden = f'<input type="hidden" name="csrf_token" value="{session.csrf_token}">'
    return page(
        "Notes",
        f"""<ul>{items}</ul>
        <form method="post" action="/notes">{hidden}
        <label>Note <input name="text" maxlength="1000" required></label>
        <button>Add</button></form>
        <form method="post" action="/sign-out">{hidden}<button>Sign out</button></form>""",
    )


@app.post("/notes", dependencies=[OURS])
def add_note(session: SignedIn, text: Text, csrf_token: Text) -> RedirectResponse:
    """Hand a note to the service."""
    check_csrf(session, csrf_token)
    session.ask("POST", "/notes", text=text)
    return RedirectResponse("/notes", 303)


@app.get("/")
def home() -> RedirectResponse:
    """Begin with the notes."""
    return RedirectResponse("/notes", 303)


@app.exception_handler(NotLoggedIn)
async def to_the_form(_: Request, __: Exception) -> RedirectResponse:
    """There is no session, or it has just ended."""
    return RedirectResponse("/sign-in", 303)


@app.exception_handler(SessionProblem)  # authsvc is away, or the store cannot be written
@app.exception_handler(httpx.TransportError)  # the service is away
async def later(_: Request, __: Exception) -> HTMLResponse:
    """Nothing is lost: the session works once what is missing is back."""
    text = "A service that this page needs does not answer. You are still signed in: try again."
    return page("Sorry", text, 503, {"Retry-After": "5"})


@app.exception_handler(HTTPException)
async def refuse(_: Request, refusal: HTTPException) -> HTMLResponse:
    """All else, as a page."""
    return page("Sorry", escape(str(refusal.detail)), refusal.status_code)


def end(logout: Callable[[], None]) -> None:
    """Log out a session that another one replaces; if authsvc is away, it idles out."""
    with suppress(AuthsvcUnavailable):
        logout()


def sign_in_page(problem: str = "", status: int = 200) -> HTMLResponse:
    """The form, with what was wrong."""
    return page(
        "Sign in",
        f"""<form method="post" action="/sign-in">
        <label>E-mail <input name="email" type="email" autocomplete="username" required></label>
        <label>Password <input name="password" type="password" autocomplete="current-password"
          required></label>
        <p role="alert">{escape(problem)}</p><button>Sign in</button></form>""",
        status,
    )


def page(
    title: str, body: str, status: int = 200, headers: dict[str, str] | None = None
) -> HTMLResponse:
    """A page of this application; `body` is HTML, so what goes into it is escaped before."""
    return HTMLResponse(
        f"""<!DOCTYPE html><html lang="en"><head><meta charset="utf-8">
        <meta name="viewport" content="width=device-width, initial-scale=1">
        <meta name="color-scheme" content="light dark"><title>{escape(title)}</title></head>
        <body><main><h1>{escape(title)}</h1>{body}</main></body></html>""",
        status,
        {"Cache-Control": "no-store", **(headers or {}), "Content-Security-Policy": POLICY},
    )
