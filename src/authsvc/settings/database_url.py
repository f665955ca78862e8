"""The URL of the database: libpq's spellings brought to the driver's, each part looked at."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from urllib.parse import unquote

from pydantic import SecretStr
from sqlalchemy import URL, make_url
from sqlalchemy.exc import ArgumentError

# What may stand behind the `?`; the driver would stumble over others.
PARAMETERS = frozenset(
    {
        "dbname",
        "host",
        "options",
        "passfile",
        "password",
        "port",
        "prepared_statement_cache_size",
        "ssl",
        "ssl_max_protocol_version",
        "ssl_min_protocol_version",
        "sslcert",
        "sslcrl",
        "sslkey",
        "sslmode",
        "sslnegotiation",
        "sslpassword",
        "sslrootcert",
        "target_session_attrs",
        "user",
    }
)
# What libpq knows and the URLs of managed databases carry; here it is decided already. Of the rest
# of libpq's, those that demand a protection which the driver has not are refused with the unknown.
_SILENCE = "a connection that is silent for 2 s is given up"
_PROTOCOL = "it is always 3.0"
_KERBEROS = "the driver uses passwords and certificates"
IGNORED = {
    "application_name": "authsvc names its connections itself",
    "channel_binding": "the driver cannot do that; sslmode=verify-full prevents interception",
    "client_encoding": "it is always UTF8",
    "connect_timeout": "it is 1.5 s, so that a request is answered in time",
    "fallback_application_name": "authsvc names its connections itself",
    "gssdelegation": _KERBEROS,
    "gssencmode": "the driver uses TLS only",
    "gsslib": _KERBEROS,
    "hostaddr": "the host is connected to, by its name",
    "keepalives": _SILENCE,
    "keepalives_count": _SILENCE,
    "keepalives_idle": _SILENCE,
    "keepalives_interval": _SILENCE,
    "krbsrvname": _KERBEROS,
    "load_balance_hosts": "all hosts are asked at once, and the primary is taken",
    "max_protocol_version": _PROTOCOL,
    "min_protocol_version": _PROTOCOL,
    "replication": "authsvc makes ordinary connections",
    "service": "no service file is read; write host, user and name into the URL",
    "servicefile": "no service file is read; write host, user and name into the URL",
    "sslcompression": "TLS is never compressed",
    "sslkeylogfile": "keys of TLS are not written down",
    "sslsni": "the server's name is always sent",
    "tcp_user_timeout": _SILENCE,
}
NUMBERS = (
    "connect_timeout",
    "keepalives",
    "keepalives_count",
    "keepalives_idle",
    "keepalives_interval",
    "prepared_statement_cache_size",
    "tcp_user_timeout",
)
_VERSIONS = ("TLSv1", "TLSv1.1", "TLSv1.2", "TLSv1.3")
CHOICES = {
    "ssl_max_protocol_version": _VERSIONS,
    "ssl_min_protocol_version": _VERSIONS,
    "sslmode": ("disable", "allow", "prefer", "require", "verify-ca", "verify-full"),
    "sslnegotiation": ("postgres", "direct"),
    "target_session_attrs": (
        "any",
        "primary",
        "standby",
        "read-write",
        "read-only",
        "prefer-standby",
    ),
}
# As SQLAlchemy finds user and password; then hosts, and the rest.
PARTS = re.compile(r"([\w+.-]+://(?:[^:/]*(?::[^@]*)?@)?)([^/?#]*)(.*)", re.DOTALL)
# An IPv6 address in brackets, a directory or a name; and a port.
HOST = re.compile(r"(\[[^]]*\]|/.*?|[^:\[\]]*)(?::(.*))?")
LAST_PORT = 65535
NO_URL = "is not a URL; write postgresql://user:password@host:5432/name"


def checked_url(value: SecretStr | None) -> SecretStr | None:
    """A URL that the driver understands, in every part; no error repeats one, a secret perhaps."""
    if value is None:
        return None
    given = value.get_secret_value()
    try:
        given.encode()  # of other bytes than UTF-8 there is no password to send
        found = PARTS.fullmatch(given)
        if found is None or "%00" in given:
            raise ValueError
        before, authority, rest = found.groups()
        url = make_url(before + rest)
    except (ArgumentError, ValueError):
        raise ValueError(NO_URL) from None
    if url.get_backend_name() not in {"postgresql", "postgres"}:
        raise ValueError("is not a PostgreSQL URL; write postgresql://user@host/name")
    if "@" in authority:
        raise ValueError("has an @ within its user or password; write it as %40")
    query = {name: tuple(values) for name, values in url.normalized_query.items()}
    _check(query)
    hosts = _hosts(authority, query)
    url = url.set(
        username="".join(query.pop("user", ())) or None,
        password="".join(query.pop("password", ())) or None,
        database="".join(query.pop("dbname", ())) or None,
    ).set(query=query)
    return SecretStr(_with_hosts(url, hosts).render_as_string(hide_password=False))


def _check(query: Mapping[str, Sequence[str]]) -> None:
    """Whether each parameter is known, once there, and one of its values."""
    unknown = sorted(set(query) - PARAMETERS - IGNORED.keys())
    if unknown:
        raise ValueError(
            f"has parameters that mean nothing here: {', '.join(unknown)}; known are "
            f"{', '.join(sorted(PARAMETERS))}"
        )
    for name, values in query.items():
        if len(values) > 1 and name not in {"host", "port"}:
            raise ValueError(f"has {name} more than once; leave one of them")
        if name in NUMBERS and not re.fullmatch(r"-?[0-9]{1,9}", values[0]):
            raise ValueError(f"has a {name} that is not a number; write one")
    for name, choices in CHOICES.items():
        environment = f"PG{name.replace('_', '').upper()}"
        chosen = query.get(name) or (os.environ.get(environment) or choices[0],)
        if chosen[0] not in choices:
            where = name if name in query else environment
            raise ValueError(f"has a {where} that is unknown; write one of {', '.join(choices)}")


def _hosts(authority: str, query: dict[str, tuple[str, ...]]) -> list[tuple[str, str]]:
    """
    Host and port of each, either perhaps empty, taken out of the query.

    libpq has `a:1,b:2` and `?host=a,b&port=1,2`, where one port is that of all; SQLAlchemy has
    `?host=a:1&host=b:2`.
    """
    named = ",".join(query.pop("host", ()))
    ports = ",".join(query.pop("port", ()))
    named, quoted = (named, False) if named else (authority, True)
    if not named:
        named, quoted = ",".join(query.get("hostaddr", ())), False
    hosts = [_host(each, quoted=quoted, alone=bool(ports)) for each in named.split(",")]
    if ports:
        given = ports.split(",") * (1 if "," in ports else len(hosts))
        if len(given) != len(hosts):
            raise ValueError("has another number of ports than of hosts; write one for each")
        hosts = [(host, port) for (host, _), port in zip(hosts, given, strict=True)]
    if len(hosts) > 1 and not all(host for host, _ in hosts):
        raise ValueError("has an empty host among several; write them all")
    for _, port in hosts:
        _check_ports(port, "has a port")
        if not port:
            _check_ports(os.environ.get("PGPORT", ""), "names no port, and PGPORT is one")
    return hosts


def _host(text: str, *, quoted: bool, alone: bool) -> tuple[str, str]:
    if not quoted and "[" not in text and (alone or text.count(":") > 1):
        host, port = text, ""  # with its port elsewhere, or an IPv6 address
    elif (found := HOST.fullmatch(text)) is not None:
        host, port = found[1].strip("[]"), found[2] or ""
    else:
        raise ValueError(NO_URL)
    host = unquote(host) if quoted else host
    if not host.startswith("/"):
        try:
            host.encode("idna")  # as the driver does
        except UnicodeError:
            raise ValueError(
                "has a host that cannot be a name; see its dots and its length"
            ) from None
    return host, port


def _check_ports(ports: str, found: str) -> None:
    for port in filter(None, ports.split(",")):
        if not re.fullmatch(r"[0-9]{1,5}", port) or not 0 < int(port) <= LAST_PORT:
            raise ValueError(f"{found} that is not a number from 1 to 65535; write one")


def _with_hosts(url: URL, hosts: Sequence[tuple[str, str]]) -> URL:
    (host, port), *others = hosts
    if not others and not host.startswith("/"):
        return url.set(host=host or None, port=int(port) if port else None)
    default = os.environ.get("PGPORT") or "5432"
    query = {"host": ",".join(host for host, _ in hosts)}
    if others or port:
        query["port"] = ",".join(port or default for _, port in hosts)
    return url.update_query_dict(query)


def ignored_parameters(url: str) -> dict[str, str]:
    """Parameters of a database URL that change nothing here, each with the reason."""
    return {name: IGNORED[name] for name in make_url(url).query if name in IGNORED}


def named_hosts(url: str) -> tuple[str, ...]:
    """The hosts that a database URL names, several with their ports; none for a Unix socket."""
    parsed = make_url(url)
    if parsed.host:
        return (parsed.host,)
    hosts, ports = (
        "".join(parsed.normalized_query.get(n, ())).split(",") for n in ("host", "port")
    )
    named = zip(hosts, ports * (len(hosts) if len(ports) == 1 else 1), strict=True)
    return tuple(f"{host}:{port}" for host, port in named if host and not host.startswith("/"))
