"""Real gateways with the configurations of examples/gateway, a real authsvc, and what is behind."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from authsvc.embedded_postgres import EmbeddedPostgres
from tests.gateways.upstream import Upstream, upstream
from tests.support.databases import database
from tests.support.live import free_port, log_in, serving

EXAMPLES = Path(__file__).parents[2] / "examples" / "gateway"
AUTHSVC, ORDERS = "127.0.0.1:8000", "127.0.0.1:9000"
# Debian keeps servers where only root's PATH leads.
PATH = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/sbin"])


@dataclass
class World:
    """
    authsvc and the service behind.

    Args:
        replica: Of authsvc, another process on the same database.
        access_token: Of the user, by `native` delivery.
        cookies: Of the same user, by `web` delivery.
    """

    authsvc: int
    replica: int
    orders: Upstream
    user_id: str
    session_id: str
    access_token: str
    cookies: dict[str, str]
    csrf_token: str

    @property
    def bearer(self) -> tuple[str, str]:
        return "Authorization", f"Bearer {self.access_token}"

    @property
    def cookie(self) -> tuple[str, str]:
        return "Cookie", "; ".join(f"{name}={value}" for name, value in self.cookies.items())


@pytest.fixture(scope="module")
async def world(
    postgres: EmbeddedPostgres, template: str, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[World]:
    """The issuer is `http://localhost:{port}`, and pages of the gateway's port are its own."""
    directory = tmp_path_factory.mktemp("authsvc")
    settings = {"TRUSTED_PROXIES": "127.0.0.0/8,::1", "ASSERTION_UPSTREAMS": "orders"}
    with upstream() as orders:
        async with (
            database(postgres, template) as url,
            serving(url, directory, **settings) as ports,
            httpx.AsyncClient(base_url=f"http://localhost:{ports[0]}") as client,
        ):
            native = (await log_in(str(client.base_url))).json()
            me = await client.get(
                "/auth/me", headers={"authorization": f"Bearer {native['access_token']}"}
            )
            web = await log_in(str(client.base_url), "web")
            yield World(
                authsvc=ports[0],
                replica=ports[1],
                orders=orders,
                user_id=me.json()["id"],
                session_id=native["session_id"],
                access_token=native["access_token"],
                cookies=dict(web.cookies),
                csrf_token=web.json()["csrf_token"],
            )


@dataclass(frozen=True)
class Gateway:
    """
    A program that can be a gateway.

    Args:
        package: What Debian calls it.
        files: Its configuration in examples/gateway; the first is what it is started with.
    """

    name: str
    package: str
    files: tuple[str, ...]
    command: Callable[[str, Path], list[str]]


def _nginx(program: str, file: Path) -> list[str]:
    paths = "".join(
        f"{kind}_temp_path {file.parent / kind};"
        for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    config = file.read_text().replace("http {", f"http {{ {paths} access_log off;", 1)
    file.write_text(f"daemon off; worker_processes 1; pid {file.parent / 'pid'};\n{config}")
    return [program, "-p", str(file.parent), "-e", "stderr", "-c", str(file)]


def _caddy(program: str, file: Path) -> list[str]:
    file.write_text("{\n\tadmin off\n}\n" + file.read_text())
    return [program, "run", "--config", str(file), "--adapter", "caddyfile"]


def _haproxy(program: str, file: Path) -> list[str]:
    return [program, "-db", "-f", str(file)]


NGINX = Gateway("nginx", "nginx-light", ("nginx.conf",), _nginx)
CADDY = Gateway("caddy", "caddy", ("Caddyfile",), _caddy)
HAPROXY = Gateway("haproxy", "haproxy", ("haproxy.cfg", "verify.lua"), _haproxy)
GATEWAYS = (NGINX, CADDY, HAPROXY)


@pytest.fixture(scope="module", params=GATEWAYS, ids=lambda gateway: gateway.name)
def gateway(
    request: pytest.FixtureRequest, world: World, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[int]:
    """The port of a real gateway in front of the world."""
    with running(request.param, world.authsvc, world.orders.port, tmp_path_factory) as port:
        yield port


@contextmanager
def running(
    gateway: Gateway,
    authsvc: int,
    orders: int,
    factory: pytest.TempPathFactory,
    *,
    instead: tuple[str, str] = ("", ""),
) -> Iterator[int]:
    """
    A gateway with its example's configuration, but for the ports.

    Args:
        instead: Of the first text in the configuration, the second.

    Returns:
        Where it listens.
    """
    texts = {name: (EXAMPLES / name).read_text() for name in gateway.files}
    assert all(each in "".join(texts.values()) for each in (AUTHSVC, ORDERS, "8080", instead[0]))
    places = {AUTHSVC: f"127.0.0.1:{authsvc}", ORDERS: f"127.0.0.1:{orders}"}
    for name, text in texts.items():
        changed = text.replace(*instead)
        for written, used in places.items():
            changed = changed.replace(written, used)
        texts[name] = changed
    with started(gateway, texts, factory) as port:
        yield port


@contextmanager
def started(
    gateway: Gateway, texts: dict[str, str], factory: pytest.TempPathFactory
) -> Iterator[int]:
    """
    A gateway with these files, on another port than the 8080 in them.

    Returns:
        Where it listens.
    """
    program = shutil.which(gateway.name, path=PATH)
    if program is None:
        pytest.skip(f"needs {gateway.name} (Debian: apt-get install {gateway.package})")
    port = free_port()
    # Workers of a gateway that was started by root are somebody else.
    directory = factory.mktemp(gateway.name)
    directory.chmod(0o755)
    for name, text in texts.items():
        (directory / name).write_text(text.replace("8080", str(port)))
    file = directory / gateway.files[0]
    environment = {"PATH": PATH, "HOME": str(directory), "XDG_DATA_HOME": str(directory)}
    with (directory / "log").open("wb") as log:
        process = subprocess.Popen(
            gateway.command(program, file),
            cwd=directory,
            env=environment,
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    try:
        for _ in range(200):
            assert process.poll() is None, (directory / "log").read_text()
            with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
                break
            time.sleep(0.05)
        yield port
    finally:
        process.terminate()
        process.wait(timeout=20)
