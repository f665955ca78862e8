"""What `authsvc serve` does: the sockets, the database and the keys, then the processes."""

from __future__ import annotations

import asyncio
import os
import shutil
import tempfile
from contextlib import ExitStack
from datetime import UTC, datetime

import structlog
import typer

from authsvc import embedded_postgres
from authsvc.cli.database import open_database
from authsvc.cli.key_directory import passphrase_of
from authsvc.cli.listening import listen
from authsvc.cli.processes import run
from authsvc.cli.refusals import unreachable
from authsvc.cli.serve import say
from authsvc.keys.directory import KeyDirectory
from authsvc.keys.rotation import create_first_keys
from authsvc.observe.logging import configure_logging
from authsvc.protocol.errors import DatabaseUnavailable
from authsvc.settings import Settings, service_links, unknown_names
from authsvc.store import migrate, readiness

SHARED_MEMORY = "/dev/shm"  # noqa: S108 - a directory with a random name is made in it
ROOM = 16 * 2**20  # bytes; a worker takes less than one


def serve_until_stopped() -> None:
    """Bring up what the service needs, and serve until a signal."""
    settings = Settings.load()
    _warn_of_unknown_names()
    for name, reason in settings.ignored_in_database_url.items():
        typer.echo(f"{name} in the database's URL is ignored: {reason}.", err=True)
    with ExitStack() as stack:
        sockets = listen(settings.host, settings.port)
        for listening in sockets:
            stack.callback(listening.close)
        place = _database(settings, stack)
        _prepare_keys(settings)
        if settings.workers > 1:
            # Each worker counts in files here, and any of them answers with the sum.
            directory = tempfile.TemporaryDirectory(prefix="authsvc-metrics-", dir=_memory())
            metrics = stack.enter_context(directory)
            os.environ["PROMETHEUS_MULTIPROC_DIR"] = metrics
        lacking = _what_is_lacking(settings)
        run(settings.workers, sockets, on_ready=lambda: _announce(settings, place, lacking))
    say("authsvc has stopped.")


def _memory() -> str | None:
    """
    A file system in memory, where there is one with some room.

    On a disk, a count is a write to a page that every fsync nearby cleans and locks: two workers
    beside a busy PostgreSQL were a third slower.
    """
    try:
        room = shutil.disk_usage(SHARED_MEMORY).free
    except OSError:
        return None
    return SHARED_MEMORY if room >= ROOM and os.access(SHARED_MEMORY, os.W_OK | os.X_OK) else None


def _database(settings: Settings, stack: ExitStack) -> str:
    """Start and migrate the embedded PostgreSQL unless another is configured; name either."""
    if settings.database_url is not None:
        return f"PostgreSQL at {', '.join(settings.database_hosts) or 'a local socket'}"
    server = stack.enter_context(_embedded(settings))
    os.environ["AUTHSVC_DATABASE_URL"] = server.url
    asyncio.run(migrate.upgrade(server.url))
    return f"{server.data_dir} (embedded PostgreSQL)"


def _embedded(settings: Settings) -> embedded_postgres.EmbeddedPostgres:
    # What the pools of the workers can take, and some for whoever looks in with psql.
    options = {"max_connections": str(max(100, 20 * settings.workers + 20))}
    try:
        return embedded_postgres.start(settings.data_dir, options=options)
    except embedded_postgres.DataDirUnwritableError as exc:
        say(
            f"NOT PERSISTENT: {exc} Everything will be stored in a temporary directory and "
            "DELETED when authsvc stops. Set AUTHSVC_DATA_DIR to a directory that can be written."
        )
        return embedded_postgres.start_temporary(options=options)


def _prepare_keys(settings: Settings) -> None:
    """Outside production, make sure that there are keys; everywhere, that they can be used."""
    passphrase = passphrase_of(settings)
    now = datetime.now(UTC)
    if not settings.production:
        create_first_keys(settings.keys_dir, now=now, passphrase=passphrase)
    # The workers read them again; here a refusal is one line instead of their tracebacks.
    problems = KeyDirectory(
        settings.keys_dir, passphrase=passphrase, strict_modes=settings.production
    ).load(now)
    if problems:
        # What was repaired here, no worker finds any more.
        configure_logging(settings)
        for problem in problems:
            structlog.get_logger().warning("key_problem", problem=str(problem))


def _warn_of_unknown_names() -> None:
    if links := service_links():
        say(
            f"Ignoring {', '.join(links)}: Kubernetes set them for a Service named authsvc. "
            "`enableServiceLinks: false` in the pod leaves them out."
        )
    for name, meant in unknown_names().items():
        hint = f"; did you mean {meant}?" if meant else "."
        say(f"{name} is set but means nothing{hint}")


def _what_is_lacking(settings: Settings) -> str | None:
    """What `/readyz` would say of the database, asked at the start, where it is read."""

    async def ask() -> str | None:
        # Read again: an embedded server has put its URL into the environment.
        async with open_database(Settings.load()) as db:
            checks = await readiness.examine(db, production=settings.production)
        red = (f"the {name} {said}" for name, said in checks.items() if said != readiness.OK)
        return next(red, None)

    try:
        return asyncio.run(ask())
    except DatabaseUnavailable as exc:
        return f"the database cannot be used: {unreachable(exc)}"


def _announce(settings: Settings, place: str, lacking: str | None) -> None:
    if lacking is None:
        _print_pages(settings, place)
        return
    where = settings.issuer if settings.production else _address(settings)
    say(f"authsvc serves {where} but cannot work yet: {lacking}. `authsvc doctor` says more.")


def _address(settings: Settings) -> str:
    if settings.host in {None, "0.0.0.0", "::", "127.0.0.1", "::1"}:  # noqa: S104 - compared
        return f"http://localhost:{settings.port}"
    return f"http://{settings.host}:{settings.port}"


def _print_pages(settings: Settings, place: str) -> None:
    if settings.production:
        say(f"authsvc serves {settings.issuer} on port {settings.port}.")
        return
    url = _address(settings)
    docs = [f"  {url}/docs                    try it out"] if settings.docs else []
    demo = [f"  {url}/demo                    see it work"] if settings.serves_demo else []
    lines = [
        f"authsvc is ready: {url}",
        "",
        *docs,
        *demo,
        f"  {url}/.well-known/jwks.json   public keys",
        f"  {url}/healthz                 health",
        "",
        f"  data  {place}",
        f"  keys  {settings.keys_dir}",
        "",
        "Ctrl-C stops it.",
    ]
    say("\n".join(lines))
