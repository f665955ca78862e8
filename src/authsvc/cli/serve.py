"""`authsvc serve`: the service, and in development the PostgreSQL and the keys that it needs."""

from __future__ import annotations

import asyncio
import os
import resource
import shutil
import signal
import tempfile
from contextlib import ExitStack, suppress
from datetime import UTC, datetime
from types import FrameType
from typing import TYPE_CHECKING, Annotated

import typer

from authsvc.cli.errors import CommandError

if TYPE_CHECKING:
    from authsvc.embedded_postgres import EmbeddedPostgres
    from authsvc.settings import Settings

SHARED_MEMORY = "/dev/shm"  # noqa: S108 - a directory with a random name is made in it
ROOM = 16 * 2**20  # bytes; a worker takes less than one


def serve(
    *,
    host: Annotated[
        str | None, typer.Option(help="Address to listen on; by default both loopbacks.")
    ] = None,
    port: Annotated[int | None, typer.Option(help="Port to listen on; by default 8000.")] = None,
    workers: Annotated[int | None, typer.Option(help="Processes; by default one per core.")] = None,
) -> None:
    """Run the service until Ctrl-C; in development with its own PostgreSQL."""
    # Through the environment, where the worker processes find them too.
    for name, value in {"HOST": host, "PORT": port, "WORKERS": workers}.items():
        if value is not None:
            os.environ[f"AUTHSVC_{name}"] = str(value)
    # A core file would hold the keys.
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    # The usual soft limit of 1,024 is for programs that use select(2).
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(OSError, ValueError):  # macOS has a lower limit than the one that it names
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    # From here on an end that is asked for unwinds everything, in whatever phase it comes.
    signal.signal(signal.SIGINT, _interrupt)
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        _serve()
    except KeyboardInterrupt:
        _say("authsvc has stopped.")


def _serve() -> None:
    from authsvc.cli.configuration import load_settings  # noqa: PLC0415 - see cli/main.py
    from authsvc.cli.listening import listen  # noqa: PLC0415
    from authsvc.cli.processes import run  # noqa: PLC0415

    settings = load_settings()
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
    _say("authsvc has stopped.")


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
    from authsvc.store import migrate  # noqa: PLC0415

    try:
        asyncio.run(migrate.upgrade(server.url))
    except migrate.MigrationRefused as exc:
        raise CommandError(str(exc)) from exc
    return f"{server.data_dir} (embedded PostgreSQL)"


def _embedded(settings: Settings) -> EmbeddedPostgres:
    from authsvc import embedded_postgres  # noqa: PLC0415

    # What the pools of the workers can take, and some for whoever looks in with psql.
    options = {"max_connections": str(max(100, 20 * settings.workers + 20))}
    try:
        try:
            return embedded_postgres.start(settings.data_dir, options=options)
        except embedded_postgres.DataDirUnwritableError as exc:
            _say(
                f"NOT PERSISTENT: {exc} Everything will be stored in a temporary directory and "
                "DELETED when authsvc stops. Set AUTHSVC_DATA_DIR to a directory that can be "
                "written."
            )
            return embedded_postgres.start_temporary(options=options)
    except embedded_postgres.EmbeddedPostgresError as exc:
        raise CommandError(str(exc)) from exc


def _prepare_keys(settings: Settings) -> None:
    """Outside production, make sure that there are keys; everywhere, that they can be used."""
    from authsvc.keys.directory import KeyDirectory  # noqa: PLC0415
    from authsvc.keys.key_files import KeyDirectoryError  # noqa: PLC0415
    from authsvc.keys.rotation import create_first_keys  # noqa: PLC0415

    passphrase = settings.keys_passphrase.get_secret_value() if settings.keys_passphrase else None
    now = datetime.now(UTC)
    try:
        if not settings.production:
            create_first_keys(settings.keys_dir, now=now, passphrase=passphrase)
        # The workers read them again; here a refusal is one line instead of their tracebacks.
        KeyDirectory(
            settings.keys_dir,
            passphrase=passphrase,
            refresh_absolute_ttl=settings.refresh_absolute_ttl,
            strict_modes=settings.production,
        ).load(now)
    except KeyDirectoryError as exc:
        raise CommandError(str(exc)) from exc


def _warn_of_unknown_names() -> None:
    from authsvc.settings import service_links, unknown_names  # noqa: PLC0415

    if links := service_links():
        _say(
            f"Ignoring {', '.join(links)}: Kubernetes set them for a Service named authsvc. "
            "`enableServiceLinks: false` in the pod leaves them out."
        )
    for name, meant in unknown_names().items():
        hint = f"; did you mean {meant}?" if meant else "."
        _say(f"{name} is set but means nothing{hint}")


def _what_is_lacking(settings: Settings) -> str | None:
    """What `/readyz` would say of the database; asked here, where somebody reads it."""
    from authsvc.cli.database import open_database, unreachable  # noqa: PLC0415
    from authsvc.protocol.errors import DatabaseUnavailable  # noqa: PLC0415
    from authsvc.settings import Settings  # noqa: PLC0415
    from authsvc.store import readiness  # noqa: PLC0415

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
    _say(f"authsvc serves {where} but cannot work yet: {lacking}. `authsvc doctor` says more.")


def _address(settings: Settings) -> str:
    if settings.host in {None, "0.0.0.0", "::", "127.0.0.1", "::1"}:  # noqa: S104 - compared
        return f"http://localhost:{settings.port}"
    return f"http://{settings.host}:{settings.port}"


def _print_pages(settings: Settings, place: str) -> None:
    if settings.production:
        _say(f"authsvc serves {settings.issuer} on port {settings.port}.")
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
    _say("\n".join(lines))


def _say(text: str) -> None:
    """Tell a person, on stderr: stdout is for the log. That it cannot be told ends no service."""
    with suppress(OSError):
        typer.echo(text, err=True)


def _interrupt(signum: int, frame: FrameType | None) -> None:
    """SIGTERM is told the way Ctrl-C is, and Ctrl-C also where a shell has us ignore it."""
    del signum, frame
    raise KeyboardInterrupt
