"""
The control: the same refresh, by the same rules, the way most services are written.

FastAPI with dependencies, a pydantic body, one SQLModel session and transaction per request, rows
loaded, locked, changed and flushed by the ORM. Keys, tokens, claims and answer are ours.
"""

from __future__ import annotations

import hashlib
import os
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated

from fastapi import Depends, FastAPI, HTTPException, Request
from pydantic import BaseModel
from sqlalchemy.ext.asyncio import async_sessionmaker, create_async_engine
from sqlmodel import select
from sqlmodel.ext.asyncio.session import AsyncSession

from authsvc.keys.directory import KeyDirectory
from authsvc.keys.issuer import Issuer
from authsvc.protocol.grants import Grant
from authsvc.protocol.refresh import Delivery, RefreshToken
from authsvc.store.connections import normalise
from authsvc.store.database import SERVER_SETTINGS
from authsvc.store.tables import RefreshFamily, User

ACCESS_TTL = timedelta(minutes=15)


class Body(BaseModel):
    refresh_token: str


class Tokens(BaseModel):
    access_token: str
    token_type: str = "Bearer"
    expires_in: int
    refresh_expires_in: int
    session_expires_at: datetime
    session_id: str
    refresh_token: str


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    engine = create_async_engine(
        normalise(os.environ["AUTHSVC_DATABASE_URL"]),
        pool_size=10,
        connect_args={"server_settings": SERVER_SETTINGS},
    )
    keys = KeyDirectory(
        Path(os.environ["AUTHSVC_KEYS_DIR"]),
        passphrase=None,
        strict_modes=False,
    )
    keys.load(datetime.now(UTC))
    app.state.sessions = async_sessionmaker(engine, class_=AsyncSession, expire_on_commit=False)
    app.state.keys = keys
    app.state.issuer = Issuer(
        keys, issuer="http://localhost:8000", audience="authsvc", access_ttl=ACCESS_TTL
    )
    yield
    await engine.dispose()


app = FastAPI(lifespan=lifespan)


async def session(request: Request) -> AsyncIterator[AsyncSession]:
    async with request.app.state.sessions() as made, made.begin():
        yield made


@app.get("/readyz")
async def ready() -> dict[str, str]:
    return {"status": "ok"}


@app.post("/auth/refresh")
async def refresh(
    body: Body, request: Request, session: Annotated[AsyncSession, Depends(session)]
) -> Tokens:
    keys, issuer = request.app.state.keys, request.app.state.issuer
    now = datetime.now(UTC)
    token = keys.open_refresh_token(body.refresh_token, now=now)
    found = await session.exec(
        select(RefreshFamily).where(RefreshFamily.id == token.family_id).with_for_update()
    )
    family = found.one()
    user = await session.get_one(User, family.user_id)
    if (
        family.generation != token.generation
        or family.revoked_at is not None
        or family.idle_expires_at <= now
        or family.absolute_expires_at <= now
        or user.disabled_at is not None
    ):
        raise HTTPException(401)
    family.generation += 1
    family.mac_key_id = keys.refresh.sealing_key(now).key_id
    family.rotated_at = now
    family.attempt_digest = hashlib.sha256(secrets.token_bytes(32)).digest()
    family.idle_expires_at = min(now + timedelta(days=7), family.absolute_expires_at)
    family.last_ip = request.client.host if request.client else ""
    family.last_user_agent = request.headers.get("user-agent", "")
    session.add(family)
    await session.flush()
    grant = Grant(
        user_id=user.id,
        session_id=family.id,
        client_id=family.client_id,
        roles=tuple(user.roles),
        scope=family.scope,
        auth_time=family.auth_time,
        amr=tuple(family.amr),
        ver=user.ver,
    )
    successor = RefreshToken(family.mac_key_id, family.id, family.generation, Delivery.NATIVE)
    return Tokens(
        access_token=issuer.access_token(grant, now=now),
        expires_in=int(ACCESS_TTL.total_seconds()),
        refresh_expires_in=int((family.idle_expires_at - now).total_seconds()),
        session_expires_at=family.absolute_expires_at,
        session_id=str(family.id),
        refresh_token=keys.seal_refresh_token(successor, now=now),
    )
