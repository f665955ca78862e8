"""How a connection is opened: of several hosts, to the one that is the primary."""

from __future__ import annotations

import asyncio
import os
import secrets
import socket
import ssl
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, Protocol
from urllib.parse import urlencode

import asyncpg
from sqlalchemy import URL, make_url
from sqlalchemy.dialects.postgresql.asyncpg import dialect

CONNECT_TIMEOUT = 1.5  # seconds
# With these modes libpq asks no authority.
UNVERIFIED = frozenset({None, "disable", "allow", "prefer"})
# What asyncpg raises when the server or the way to it fails; the third is "no primary here".
DRIVER_ERRORS = (
    OSError,
    TimeoutError,
    asyncpg.InternalClientError,
    asyncpg.InterfaceError,
    asyncpg.PostgresError,
)


# OpenSSL's X509_V_ERR_… for a certificate of another host name or address, and for one whose
# authority is not among ours.
OTHER_HOST = frozenset({62, 64})
OTHER_AUTHORITY = frozenset({18, 19, 20, 21})
# What asyncpg reads from a DSN only.
TLS_ARGUMENTS = (
    "ssl_max_protocol_version",
    "ssl_min_protocol_version",
    "sslcert",
    "sslcrl",
    "sslkey",
    "sslnegotiation",
    "sslpassword",
    "sslrootcert",
)
FILES = ("sslcert", "sslkey", "sslrootcert", "sslcrl")
UNDERSTOOD = frozenset(
    {"database", "host", "passfile", "password", "port", "ssl", "target_session_attrs", "user"}
)


# Of this program; forks of it differ by their process id.
PROGRAM = secrets.token_hex(8)


class OwnNames(asyncpg.Connection):  # type: ignore[misc]  # asyncpg has no types
    """
    A connection whose prepared statements have names that no other process uses.

    Behind a transaction pooler that the URL does not tell of, processes share the server's
    connections. By asyncpg's own names, which are numbers, one would run the statements of
    another on values of its own; so it finds none, and is told so.
    """

    def _get_unique_id(self, prefix: str) -> str:
        return f"{super()._get_unique_id(prefix)}{os.getpid():x}_{PROGRAM}"


class UnresolvedHost(OSError):  # noqa: N818 - a cause, read as one
    """A host name that DNS does not know, and which it was."""


class Connect(Protocol):
    """Opens connections to one database."""

    async def __call__(self, settings: Mapping[str, str] | None = None) -> asyncpg.Connection:
        """
        Open one.

        A transaction pooler refuses settings it does not know (PgBouncer: 08P01); then they are
        left out.

        Raises:
            DRIVER_ERRORS: None could be opened.
        """


def normalise(url: str) -> URL:
    """
    Any common spelling of a PostgreSQL URL as SQLAlchemy's asyncpg URL.

    libpq's `sslmode` becomes asyncpg's `ssl`.
    """
    if url.startswith("postgres://"):
        url = "postgresql://" + url.removeprefix("postgres://")
    parsed = make_url(url).set(drivername="postgresql+asyncpg")
    mode = parsed.query.get("sslmode")
    if mode is not None:
        parsed = parsed.difference_update_query(["sslmode"])
        parsed = parsed.update_query_dict({"ssl": mode})
    return parsed


def connector(url: URL, **options: object) -> Connect:
    """
    What opens connections to a database.

    Args:
        url: As `normalise` returns it; also with several hosts or a Unix socket.
        options: Further arguments of `asyncpg.connect`.
    """
    _, arguments = dialect().create_connect_args(url)  # type: ignore[no-untyped-call]
    # Behind a transaction pooler (PgBouncer) a prepared statement belongs to another
    # client's connection: `?prepared_statement_cache_size=0` switches the caches off.
    cache = arguments.pop("prepared_statement_cache_size", None)
    if cache is not None:
        options["statement_cache_size"] = cache
    given = arguments.pop("options", None)
    tls = {name: arguments.pop(name) for name in TLS_ARGUMENTS if name in arguments}
    if tls:
        options["dsn"] = f"postgresql://?{urlencode(tls)}"
    # The settings have looked at all names, and said which of libpq's change nothing here.
    arguments = {name: value for name, value in arguments.items() if name in UNDERSTOOD}
    hosts = [arguments]
    if isinstance(arguments.get("host"), list):
        # A standby knows nothing of the latest revocations.
        arguments.setdefault("target_session_attrs", "primary")
        pairs = zip(arguments["host"], arguments["port"], strict=True)
        hosts = [arguments | {"host": host, "port": port} for host, port in pairs]
    return partial(_open, [host | options for host in hosts], tls=tls, given=given)


async def _open(
    hosts: Sequence[dict[str, Any]],
    settings: Mapping[str, str] | None = None,
    *,
    tls: Mapping[str, str],
    given: str | None,
) -> asyncpg.Connection:
    hosts = [_with_tls_files(host, tls) for host in hosts]
    its_own = {} if given is None else {"options": given}
    try:
        return await _first(hosts, server_settings=its_own | dict(settings or {}))
    except asyncpg.ProtocolViolationError:
        return await _first(hosts, server_settings=its_own)


def _with_tls_files(host: dict[str, Any], tls: Mapping[str, str]) -> dict[str, Any]:
    """
    The arguments, with the system's authorities where libpq 16 takes them.

    Raises:
        asyncpg.ClientConfigurationError: A file cannot be read; asyncpg would not say which.
    """
    mode = host.get("ssl", os.environ.get("PGSSLMODE"))
    if mode in {None, "disable"}:
        return host
    names = ("sslcert", "sslkey") if mode in UNVERIFIED else FILES
    files = {name: tls.get(name) or os.environ.get(f"PG{name.upper()}") for name in names}
    if not files["sslcert"]:
        del files["sslkey"]  # read beside a certificate only
    system = files.get("sslrootcert") == "system"
    if system:
        del files["sslrootcert"]
    for name, path in files.items():
        if path and not os.access(path, os.R_OK):
            raise asyncpg.ClientConfigurationError(
                f'the file "{path}" ({name}, PG{name.upper()}) cannot be read'
            )
    return host | {"ssl": _of_the_system(files, tls)} if system else host


def _of_the_system(files: Mapping[str, str | None], tls: Mapping[str, str]) -> ssl.SSLContext:
    context = ssl.create_default_context()
    if files["sslcert"]:
        context.load_cert_chain(files["sslcert"], files["sslkey"], tls.get("sslpassword") or "")
    if files["sslcrl"]:
        context.load_verify_locations(files["sslcrl"])
        context.verify_flags |= ssl.VERIFY_CRL_CHECK_CHAIN
    for bound in ("minimum", "maximum"):
        version = tls.get(f"ssl_{bound[:3]}_protocol_version")
        if version:
            setattr(context, f"{bound}_version", ssl.TLSVersion[version.replace(".", "_")])
    return context


def cause(exc: BaseException) -> str | None:
    """Why a connection could not be opened, where the class alone does not say it."""
    if isinstance(exc, asyncpg.ClientConfigurationError):
        return str(exc).partition("\n")[0]
    if isinstance(exc, ssl.SSLCertVerificationError):
        return f"its certificate is refused: {exc.verify_message.rstrip('.')}{_advice(exc)}"
    if isinstance(exc, ssl.SSLError):  # OpenSSL's name of the cause, which holds no value
        return f"TLS failed: {exc.reason}"
    if isinstance(exc, UnresolvedHost):
        return str(exc)
    if type(exc) is ConnectionError:  # asyncpg's word for it
        return "the server offers no TLS, which sslmode demands"
    return None


def _advice(exc: ssl.SSLCertVerificationError) -> str:
    if exc.verify_code in OTHER_HOST:
        return "; connect to a host name that the certificate has"
    if exc.verify_code in OTHER_AUTHORITY:
        return "; sslrootcert (PGSSLROOTCERT) must be the authority that issued it"
    return ""


async def _one(host: dict[str, Any], **options: object) -> asyncpg.Connection:
    try:
        return await asyncpg.connect(
            timeout=CONNECT_TIMEOUT, connection_class=OwnNames, **host, **options
        )
    except socket.gaierror as exc:
        raise UnresolvedHost(f"its host name is unknown: {host.get('host')}") from exc
    except (ValueError, OverflowError) as exc:  # in what the environment adds to the URL
        if isinstance(exc, DRIVER_ERRORS):
            raise
        raise asyncpg.ClientConfigurationError(
            "the URL, or a PG… variable beside it, holds what the driver cannot use"
        ) from exc


async def _first(hosts: Sequence[dict[str, Any]], **options: object) -> asyncpg.Connection:
    """
    The first host that lets us in.

    All are asked at once: asyncpg asks one after the other, and a primary whose machine is gone,
    so that nothing answers, would use up the time of the one that was promoted in its place.
    """
    asked = [asyncio.ensure_future(_one(host, **options)) for host in hosts]
    chosen = None
    failures: list[Exception] = []

    def hang_up(other: asyncio.Future[asyncpg.Connection]) -> None:
        if not other.cancelled() and not other.exception() and other.result() is not chosen:
            other.result().terminate()

    try:
        for answer in asyncio.as_completed(asked):
            try:
                chosen = await answer
            except DRIVER_ERRORS as exc:
                failures.append(exc)
            else:
                return chosen
    finally:
        for other in asked:
            other.cancel()  # one that had its connection in that very moment may still return it
            other.add_done_callback(hang_up)
    # What a server said says more than silence.
    raise next((said for said in failures if isinstance(said, asyncpg.PostgresError)), failures[0])
