"""The composition root: what lives as long as the process is built here, once, and passed on."""

from __future__ import annotations

import asyncio
import gc
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import timedelta
from importlib.metadata import version

import structlog
from fastapi import FastAPI
from starlette.types import Receive, Scope, Send

from authsvc.flows.follow_revocations import LOOK_INTERVAL, FollowedRevocations
from authsvc.flows.maintain import prune
from authsvc.http.account import change_password, me, register, sessions
from authsvc.http.auth import login, logout, refresh
from authsvc.http.gateway import verify
from authsvc.http.oauth import introspect, revoke, token
from authsvc.http.openapi import install_openapi
from authsvc.http.ops import health, metrics
from authsvc.http.pages import continue_session
from authsvc.http.pages.demo import demo_router
from authsvc.http.pages.docs import docs_router
from authsvc.http.request.cookies import Cookies
from authsvc.http.request.csrf import Origins
from authsvc.http.request.service import Service
from authsvc.http.response.errors import install_errors
from authsvc.http.wellknown import jwks, revocations
from authsvc.http.wellknown.metadata import metadata_router
from authsvc.http.wire import Direct, Edge
from authsvc.http.wire.connections import Connections
from authsvc.keys.directory import KeyDirectory
from authsvc.keys.issuer import Issuer
from authsvc.keys.password_blocklist import blocked_passwords
from authsvc.keys.passwords import PasswordHasher
from authsvc.observe.logging import configure_logging
from authsvc.observe.metrics import key_problems_total
from authsvc.parent_death import die_with_parent
from authsvc.protocol.errors import DatabaseUnavailable
from authsvc.protocol.refresh import Lifetimes
from authsvc.remote.client_jwks import RemoteKeys
from authsvc.remote.fetch import Fetcher
from authsvc.settings import Settings, usable_cores
from authsvc.store import readiness
from authsvc.store.database import Database
from authsvc.store.group_commit import GroupCommit
from authsvc_client.clock import Clock, SystemClock

SAMPLE_INTERVAL = timedelta(seconds=5)
RELOAD_INTERVAL = timedelta(seconds=15)
PRUNE_INTERVAL = timedelta(minutes=5)

# What is asked for most (see Edge).
DIRECT: Direct = {
    ("POST", refresh.PATH): refresh.post,
    ("POST", login.PATH): login.post,
    ("GET", jwks.PATH): jwks.get,
    ("GET", verify.PATH): verify.get,
    ("HEAD", verify.PATH): verify.get,
}

log = structlog.get_logger("authsvc")


class Application(FastAPI):
    """FastAPI inside our edge; what stands in DIRECT is answered without it."""

    edge: Edge
    connections: Connections
    """Where our HTTP protocol counts."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve, from the outside in."""
        scope["app"] = self
        await self.edge(scope, receive, send)


def app_from_environment() -> FastAPI:
    """What each worker process runs."""
    settings = Settings.load()
    sink = configure_logging(settings, background=True)
    app = create_app(settings, at_end=sink.end)
    gc.collect()
    gc.freeze()  # what was imported lives as long as the process: never look at it again
    # A request leaves next to no cycles: looking for them every 700 allocations cost it 3 %.
    gc.set_threshold(50_000, 20, 100)
    return app


def create_app(
    settings: Settings,
    *,
    clock: Clock | None = None,
    at_end: Callable[[], None] = lambda: None,
) -> FastAPI:
    """
    The service as an ASGI application.

    Args:
        clock: Only tests pass one; then it is the database's, too.
        at_end: Called last; a worker process is ended by a signal soon after.
    """
    connections = Connections(settings.max_connections_per_address, settings.trusted_proxies)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        die_with_parent()
        async with AsyncExitStack() as stack:
            stack.callback(at_end)
            service = await _open(settings, clock, stack)
            app.state.service = service
            app.state.readiness = lambda: _readiness(service)
            await _sample(service, connections)
            for interval, act in (
                (SAMPLE_INTERVAL, lambda: _sample(service, connections)),
                (RELOAD_INTERVAL, lambda: _reload_keys(service)),
                (PRUNE_INTERVAL, lambda: _prune(service)),
            ):
                task = asyncio.create_task(_every(interval, act))
                stack.callback(task.cancel)
            stack.callback(asyncio.create_task(_follow_revocations(service)).cancel)
            yield

    app = Application(
        title="authsvc",
        version=version("authsvc"),
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
        redirect_slashes=False,
        telemetry={"logs": False},  # they would record what did not validate
    )
    app.edge = Edge(super(Application, app).__call__, settings=settings, direct=DIRECT)
    app.connections = connections
    install_errors(app, issuer=settings.issuer)
    app.include_router(docs_router(settings))
    app.include_router(demo_router(settings))
    app.include_router(metadata_router(settings))
    for module in (jwks, revocations, health, metrics, register, login, refresh, logout):
        app.include_router(module.router)
    for module in (me, sessions, change_password, verify, continue_session):
        app.include_router(module.router)
    for module in (token, introspect, revoke):
        app.include_router(module.router)
    install_openapi(app, settings)
    return app


async def _open(settings: Settings, clock: Clock | None, stack: AsyncExitStack) -> Service:
    """Build what lives as long as the process; the database may be down meanwhile."""
    if settings.database_url is None:
        raise RuntimeError("`authsvc serve` starts the embedded database and passes its URL")
    db = await Database.open(
        settings.database_url.get_secret_value(), now=clock.now if clock else None
    )
    stack.push_async_callback(db.close)
    clock = clock or SystemClock()
    passphrase = settings.keys_passphrase
    keys = KeyDirectory(
        settings.keys_dir,
        passphrase=passphrase.get_secret_value() if passphrase else None,
        strict_modes=settings.production,
    )
    for problem in keys.load(clock.now()):
        log.warning("key_problem", problem=str(problem))
    hasher = PasswordHasher(
        settings.argon2_memory_kib,
        settings.argon2_time,
        settings.argon2_parallelism,
        threads=max(1, usable_cores() // settings.workers),
        memory_budget_mib=settings.hash_memory_budget_mib,
        queue_seconds=settings.hash_queue_seconds,
    )
    stack.callback(hasher.queue.close)
    remote_keys = RemoteKeys(Fetcher(loopback=not settings.production).fetch)
    stack.callback(remote_keys.close)
    known = FollowedRevocations(db, keys, issuer=settings.issuer, monotonic=time.monotonic)
    return Service(
        settings=settings,
        db=db,
        group_commit=GroupCommit(db.autocommit),
        keys=keys,
        issuer=Issuer(
            keys,
            issuer=settings.issuer,
            audience=settings.audience,
            access_ttl=settings.access_ttl,
            revoked=known.names_key,
        ),
        revocations=known,
        hasher=hasher,
        limits=settings.limits,
        blocked_passwords=blocked_passwords(),
        lifetimes=Lifetimes(
            idle=settings.refresh_idle_ttl,
            absolute=settings.refresh_absolute_ttl,
            retry_window=settings.refresh_retry_window,
            max_sessions=settings.max_sessions,
        ),
        cookies=Cookies.configured(settings),
        origins=Origins.configured(settings),
        remote_keys=remote_keys,
        clock=clock,
    )


async def _readiness(service: Service) -> dict[str, str]:
    """What must work before traffic makes sense: a word or a sentence for each."""
    try:
        database = await readiness.examine(service.db, production=service.settings.production)
    except DatabaseUnavailable:
        database = {"database": "unavailable", "schema": "unknown"}
    return database | {"signing_key": _signing_key(service)}


def _signing_key(service: Service) -> str:
    if service.keys.ring.find_signing_key(service.clock.now()) is not None:
        return "ok"
    return (
        "none is active yet: set this machine's clock, or see `authsvc keys list` for the first "
        "activation"
    )


async def _reload_keys(service: Service) -> None:
    for problem in await asyncio.to_thread(service.keys.reload, service.clock.now()):
        key_problems_total.inc()
        log.error("key_problem", problem=str(problem))


async def _follow_revocations(service: Service) -> None:
    """Look for revocations for as long as the process lives; from the start on."""
    lost = False
    while True:
        try:
            if await service.revocations.look():
                # Its file is gone, and the next reading may be 15 s away.
                await _reload_keys(service)
            if lost:
                log.info("revocations_followed_again")
            lost = False
        except DatabaseUnavailable as exc:
            if not lost:  # once, not four times a second
                log.warning("revocations_not_followed", detail=exc.detail)
            lost = True
        except Exception:
            if not lost:
                log.exception("revocations_not_followed")
            lost = True
        await asyncio.sleep(LOOK_INTERVAL.total_seconds())


async def _sample(service: Service, connections: Connections) -> None:
    """What a gauge shows between two requests."""
    metrics.record(service)
    connections.record()


async def _prune(service: Service) -> None:
    pruned = await prune(service.db, audit_retention=service.settings.audit_retention)
    log.info("pruned", families=pruned.families, audit_records=pruned.audit_records)


async def _every(interval: timedelta, act: Callable[[], Awaitable[None]]) -> None:
    """Repeat for as long as the process lives; one failure does not end it."""
    seconds = interval.total_seconds()
    while True:
        # Spread, so that replicas which started together do not stay together.
        await asyncio.sleep(seconds * random.uniform(0.9, 1.0))  # noqa: S311 - not a secret
        try:
            await act()
        except DatabaseUnavailable as exc:
            log.warning("maintenance_postponed", detail=exc.detail)
        except Exception:
            log.exception("maintenance_failed")
