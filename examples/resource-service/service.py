"""
A resource service on the verifier: notes, which belong to whoever wrote them.

It never talks to authsvc about a token; it fetches the public keys, keeps a copy on its disk,
and starts and works while authsvc is away. See README.md beside this file.
"""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI, HTTPException, Response
from pydantic import BaseModel, Field

from authsvc_client.verifier import CookieSessions, KeysUnavailable, TokenVerifier
from authsvc_client.verifier.fastapi import CurrentUser, protect, require_roles

ISSUER = os.environ.get("ISSUER", "http://localhost:8000")
AUDIENCE = os.environ.get("AUDIENCE", "authsvc")
# Where the pages of this application are: only they may write by cookie.
ORIGIN = os.environ.get("ORIGIN", "http://localhost:8001")

verifier = TokenVerifier(
    issuer=ISSUER, audience=AUDIENCE, key_file=os.environ.get("KEY_FILE", "state/keys.json")
)


@asynccontextmanager
async def lifespan(_: FastAPI) -> AsyncIterator[None]:
    """Have the keys before the first request; without them start all the same."""
    try:
        await verifier.prefetch()
    except KeysUnavailable as refusal:
        print(f"authsvc is away ({refusal.detail}): requests get 503 until it is back.")  # noqa: T201 - for whoever started it
    yield


app = FastAPI(title="Notes", lifespan=lifespan)
protect(app, verifier, cookies=CookieSessions(origins=[ORIGIN]))

# By user: `sub` never changes and is never given to anybody else. An e-mail address may be.
notes: dict[str, list[str]] = defaultdict(list)


class Note(BaseModel):
    """A note."""

    text: str = Field(max_length=1000)


@app.get("/notes")
async def list_notes(user: CurrentUser) -> list[str]:
    """The caller's own notes, and nobody else's."""
    return notes[user.sub]


@app.post("/notes", status_code=201)
async def add_note(note: Note, user: CurrentUser) -> Note:
    """Keep a note. By cookie, this needs a page of ours and its CSRF value."""
    if len(notes[user.sub]) >= 100:  # noqa: PLR2004 - an example's bound
        raise HTTPException(409, "You have 100 notes. Delete some.")
    notes[user.sub].append(note.text)
    return note


@app.delete("/notes", status_code=204)
async def delete_notes(user: CurrentUser) -> None:
    """Forget the caller's notes."""
    notes.pop(user.sub, None)


@app.get("/statistics", dependencies=[require_roles("admin")])
async def statistics() -> dict[str, int]:
    """For administrators: `authsvc users set-roles alice@example.com admin`."""
    return {"users": len(notes), "notes": sum(map(len, notes.values()))}


@app.get("/healthz")
async def healthz(response: Response) -> dict[str, Any]:
    """For everybody: whether tokens can be verified, and how old the keys are."""
    keys = verifier.key_status()
    response.status_code = 200 if keys.usable else 503
    return {"keys": keys.kids, "fetched_at": keys.fetched_at, "failure": keys.failure}
