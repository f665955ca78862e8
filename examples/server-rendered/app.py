"""
A server-rendered application on the verifier: notes, as pages, with cookies.

The browser holds the tokens in cookies that no script can read (`web` delivery). Pages are made
here from the access cookie; when that has run out, the browser is sent to authsvc, which renews
it and sends the browser back. See README.md beside this file.
"""

from __future__ import annotations

import os
from collections import defaultdict
from html import escape
from pathlib import Path
from typing import Annotated
from urllib.parse import urlencode

from fastapi import FastAPI, Form, HTTPException, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response
from fastapi.staticfiles import StaticFiles

from authsvc_client.verifier import CookieSessions, CsrfRefused, TokenVerifier
from authsvc_client.verifier.fastapi import CurrentUser, protect

ISSUER = os.environ.get("ISSUER", "http://localhost:8000")
AUDIENCE = os.environ.get("AUDIENCE", "authsvc")
# Where the pages of this application are: only they may write.
ORIGIN = os.environ.get("ORIGIN", "http://localhost:8001")
# Whether authsvc has AUTHSVC_COOKIE_DOMAIN set, to share its cookies with this host.
SHARED = os.environ.get("SHARED") == "yes"
# What authsvc has as AUTHSVC_COOKIE_SUFFIX.
SUFFIX = os.environ.get("SUFFIX")

cookies = CookieSessions(origins=[ORIGIN], shared=SHARED, suffix=SUFFIX)
app = FastAPI(title="Notes", docs_url=None, redoc_url=None, openapi_url=None)
protect(app, TokenVerifier(issuer=ISSUER, audience=AUDIENCE), cookies=cookies)
app.mount("/static", StaticFiles(directory=Path(__file__).with_name("static")))

# By user: `sub` never changes and is never given to anybody else. An e-mail address may be.
notes: dict[str, list[str]] = defaultdict(list)

POLICY = (
    f"default-src 'none'; script-src 'self'; style-src 'self'; connect-src {ISSUER}; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
NoteText = Annotated[str, Form(max_length=1000)]


@app.get("/sign-in")
async def sign_in() -> HTMLResponse:
    """The form. Its script gives the password to authsvc: this application never sees it."""
    return page(
        "Sign in",
        f"""<form id="sign-in" data-authsvc="{escape(ISSUER)}">
        <label>E-mail <input name="email" type="email" autocomplete="username" required></label>
        <label>Password <input name="password" type="password" autocomplete="current-password"
          required></label>
        <p id="problem" role="alert"></p>
        <button>Sign in</button></form>""",
    )


@app.get("/notes")
async def list_notes(request: Request, user: CurrentUser) -> HTMLResponse:
    """The user's own notes, and a form for another one."""
    return notes_page(request, user.sub)


@app.post("/notes")
async def add_note(user: CurrentUser, text: NoteText) -> RedirectResponse:
    """Keep a note. `CurrentUser` has checked the page that sent it, and its `csrf_token`."""
    if len(notes[user.sub]) >= 100:  # noqa: PLR2004 - an example's bound
        raise HTTPException(409, "You have 100 notes. That is enough.")
    notes[user.sub].append(text)
    return RedirectResponse("/notes", 303)


@app.exception_handler(HTTPException)
async def refuse(request: Request, refusal: HTTPException) -> Response:
    """Without a valid access cookie: to authsvc, and back. All else: a page that says it."""
    if refusal.status_code != 401:  # noqa: PLR2004 - HTTP
        # A 503 (the keys cannot be fetched) has a Retry-After to keep.
        return page("Sorry", escape(str(refusal.detail)), refusal.status_code, refusal.headers)
    if request.method in {"GET", "HEAD"}:
        return RedirectResponse(renewal_of(request), 303)
    # What was typed must not be lost; what a foreign page has put there must not be shown.
    try:
        cookies.check_page(request.headers.getlist)
    except CsrfRefused as foreign:
        return page("Sorry", escape(foreign.description), foreign.status)
    form = await request.form()
    return notes_page(request, None, draft=str(form.get("text", ""))[:1000])


def renewal_of(request: Request) -> str:
    """The address at which authsvc renews the cookies and sends the browser back to this page."""
    query = urlencode(request.query_params.multi_items())
    back = f"{ORIGIN}{request.url.path}{f'?{query}' if query else ''}"
    parameters = urlencode({"return_to": back, "sign_in": f"{ORIGIN}/sign-in"})
    return f"{ISSUER}/auth/continue?{parameters}"


def notes_page(request: Request, sub: str | None, *, draft: str = "") -> HTMLResponse:
    """
    The notes of a user.

    Args:
        sub: None: the access cookie ran out while the form was filled in.
        draft: What is in the form.
    """
    renewal = f"{ISSUER}/auth/continue?{urlencode({'return_to': f'{ORIGIN}/renewed'})}"
    above = (
        "<ul>" + "".join(f"<li>{escape(note)}</li>" for note in notes[sub]) + "</ul>"
        if sub is not None
        else '<p role="alert">Your session had to be renewed, and nothing is saved yet. '
        f'<a href="{escape(renewal)}" target="_blank" rel="noopener">Renew it in a new tab</a>, '
        "then add the note once more.</p>"
    )
    csrf_token = request.cookies.get(cookies.csrf_cookie, "")
    return page(
        "Notes",
        f"""{above}
        <form method="post" action="/notes">
        <input type="hidden" name="csrf_token" value="{escape(csrf_token)}">
        <label>Note <input name="text" maxlength="1000" required value="{escape(draft)}"></label>
        <button>Add</button></form>
        <button id="sign-out" data-authsvc="{escape(ISSUER)}" data-csrf-token="{escape(csrf_token)}"
          >Sign out</button>
        <p id="problem" role="alert"></p>""",
        200 if sub is not None else 401,
    )


@app.get("/renewed")
async def renewed(_: CurrentUser) -> HTMLResponse:
    """Where a session comes back to that was renewed in a tab of its own."""
    return page("Renewed", "You can close this tab.")


@app.get("/")
async def home() -> RedirectResponse:
    """Begin with the notes."""
    return RedirectResponse("/notes", 303)


def page(
    title: str, body: str, status: int = 200, headers: dict[str, str] | None = None
) -> HTMLResponse:
    """A page of this application; `body` is HTML, so what goes into it is escaped before."""
    return HTMLResponse(
        f"""<!DOCTYPE html><html lang="en"><head><meta charset="utf-8">
        <meta name="viewport" content="width=device-width, initial-scale=1">
        <title>{escape(title)}</title><link rel="stylesheet" href="/static/app.css">
        <script type="module" src="/static/app.js"></script></head>
        <body><main><h1>{escape(title)}</h1>{body}</main></body></html>""",
        status,
        # Pages of a session are nobody else's: not in a cache, not behind the back button.
        {"Cache-Control": "no-store", **(headers or {}), "Content-Security-Policy": POLICY},
    )
