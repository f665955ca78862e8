"""F24: thousands of clients that send and read as slowly as they can, or not at all."""

from __future__ import annotations

import asyncio
import re
import resource
import socket
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from random import Random

from authsvc.http.wire.framing import BODY_SECONDS, HEAD_SECONDS, WRITE_SECONDS
from proof.client import Client, Session
from proof.experiment import Experiment, Findings, Stage
from proof.http_proxy import read_answer
from proof.replica import Replica
from tests.support.fault_proxy import Stream

DEADLINE = 5.0  # seconds for an honest answer
SLACK = 5.0  # seconds that the service's clocks may be late on a busy machine
DRIP = 1.0  # seconds between two bytes
WINDOW = 2048  # bytes that a client which reads nothing lets its kernel take
PER_CONNECTION = 40 * 1024  # bytes of memory that a slow client may cost the service
MARGIN = 16 * 1024 * 1024  # bytes that honest work may add
ASKED = 6  # times 1.7 MB; one of them would vanish in the kernel's buffer
OPENED_AT_ONCE = 50
PAUSE = 0.05  # seconds

HEAD = b"POST /auth/login HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"
BODY = b'{"email": "slow@example.com", "password": "' + b"x" * 400
SCRIPT = re.compile(rb"/docs/assets/[^\"]+/swagger-ui-bundle\.js")


class SlowClients:
    """
    A wave of slow clients rolls over a service that somebody else is using.

    Args:
        hurry: The service's own time-outs are divided by this; its code stays as it is.
    """

    name = "F24-slow-clients"
    promise = (
        "However many clients send headers or bodies byte by byte, read nothing or say nothing: "
        "others are answered in time, memory is bounded, and the service hangs up by itself."
    )
    unit = "slow connections"
    goal = 40_000
    batch = 2_000

    def __init__(self, *, hurry: float = 1.0) -> None:
        self._hurry = hurry

    async def run(self, stage: Stage, *, units: int, random: Random) -> Findings:
        """One wave of `units` connections."""
        wave = Wave(Findings(), random, hurry=self._hurry)
        await wave.roll(stage, units)
        return wave.findings

    async def control(self, stage: Stage, *, random: Random) -> Findings:
        """A service that never loses its patience keeps every connection."""
        wave = Wave(Findings(), random, hurry=20.0, patience=1e6, slack=1.0)
        await wave.roll(stage, 40)
        return wave.findings


EXPERIMENTS: tuple[Experiment, ...] = (SlowClients(),)


async def _drip_head(stream: Stream, script: bytes) -> None:
    """Slowloris."""
    del script
    for byte in HEAD + b"x-slow: " + b"y" * 4000:
        stream[1].write(bytes([byte]))
        await asyncio.sleep(DRIP)


async def _drip_body(stream: Stream, script: bytes) -> None:
    del script
    stream[1].write(HEAD + b"content-length: %d\r\n\r\n" % (2 * len(BODY)))
    for byte in BODY:
        stream[1].write(bytes([byte]))
        await asyncio.sleep(DRIP)


async def _say_nothing(stream: Stream, script: bytes) -> None:
    """A client that vanished before it asked, or a port scanner."""
    del stream, script
    await asyncio.Event().wait()


async def _vanish(stream: Stream, script: bytes) -> None:
    """Half-open: half a request, and never another packet."""
    del script
    stream[1].write(HEAD)
    await asyncio.Event().wait()


async def _read_nothing(stream: Stream, script: bytes) -> None:
    """Ask for more than a kernel buffers, and let it lie."""
    stream[0]._transport.pause_reading()  # type: ignore[attr-defined]  # no public way
    stream[1].write(b"GET %s HTTP/1.1\r\nhost: localhost\r\n\r\n" % script * ASKED)
    await asyncio.Event().wait()


Act = Callable[[Stream, bytes], Awaitable[None]]
# Its share of the crowd in percent, and whether a head's time-out ends it (else a body's).
KINDS: dict[Act, tuple[int, bool]] = {
    _drip_head: (50, True),
    _say_nothing: (15, True),
    _vanish: (10, True),
    _drip_body: (20, False),
    _read_nothing: (5, False),
}


@dataclass
class Wave:
    """
    Open them, wait until the service has dropped them, and work meanwhile.

    Args:
        patience: How many times its proper time-outs the service really has.
        slack: Seconds that its clocks may be late.
    """

    findings: Findings
    random: Random
    hurry: float
    patience: float = 1.0
    slack: float = SLACK

    async def roll(self, stage: Stage, units: int) -> None:
        """From the first connection to the last."""
        _allow_descriptors(units + 300)
        async with self._serving(stage) as replica:
            assert replica.process is not None
            pid = replica.process.pid
            client = Client(
                f"f24-{self.random.getrandbits(32):08x}", stage.recorder, [replica.port]
            )
            session = await client.login(await client.register(f"{client.name}@example.com"))
            assert session is not None
            await self._work(client, session)
            sockets, memory = _sockets(pid), _resident(pid)
            leaving = asyncio.Event()
            honest = asyncio.create_task(self._work_until(leaving, client, session))
            crowd: list[asyncio.Task[None]] = []
            try:
                kinds = await self._open(replica.port, units, crowd)
                await self._outlast(pid, sockets, memory, kinds)
            finally:
                for task in crowd:
                    task.cancel()
                await asyncio.gather(*crowd, return_exceptions=True)
                leaving.set()
                await honest
            await self._work(client, session)
            self.findings.at_most("memory afterwards, MiB", (_resident(pid) - memory) / 2**20)
            await client.close()
            if self.findings.worst["memory, MiB"] * 2**20 > PER_CONNECTION * units + MARGIN:
                self.findings.violations.append("memory grew without a bound")
            self.findings.done = units

    async def _open(self, port: int, units: int, crowd: list[asyncio.Task[None]]) -> list[Act]:
        script = await _script(port)
        weights = [share for share, _ in KINDS.values()]
        kinds = self.random.choices(list(KINDS), weights=weights, k=units)
        for begin in range(0, units, OPENED_AT_ONCE):
            some = kinds[begin : begin + OPENED_AT_ONCE]
            streams = await asyncio.gather(*(_connect(port) for _ in some))
            for kind, stream in zip(some, streams, strict=True):
                crowd.append(asyncio.create_task(_until_dropped(kind, stream, script)))
        self.findings.counted.update(kind.__name__.strip("_") for kind in kinds)
        return kinds

    async def _outlast(self, pid: int, sockets: int, memory: int, kinds: list[Act]) -> None:
        """First those with the head's time-out must be gone, then all."""
        opened = time.monotonic()
        longer = sum(not KINDS[kind][1] for kind in kinds)
        for seconds, allowed in (
            (HEAD_SECONDS, longer),
            (max(BODY_SECONDS, WRITE_SECONDS), 0),
        ):
            deadline = opened + seconds / self.hurry + self.slack
            while (open_ones := _sockets(pid) - sockets) > allowed and time.monotonic() < deadline:
                self.findings.at_most("connections held", open_ones)
                self.findings.at_most("memory, MiB", (_resident(pid) - memory) / 2**20)
                await asyncio.sleep(PAUSE)
            if open_ones > allowed:
                self.findings.violations.append(
                    f"{open_ones - allowed} connections outlive {seconds} s"
                )
            which = "all" if allowed == 0 else "slow heads"
            self.findings.at_most(f"{which} dropped after, seconds", time.monotonic() - opened)

    async def _work_until(self, leaving: asyncio.Event, client: Client, session: Session) -> None:
        while not leaving.is_set():
            await self._work(client, session)
            await asyncio.sleep(PAUSE)

    async def _work(self, client: Client, session: Session) -> None:
        """Refresh, use the token, and log in from another device; as if nobody else were there."""
        key = f"{self.random.getrandbits(128):032x}"
        await client.refresh(session, key=key)
        last = await client.me(session)
        began = time.monotonic()
        if await client.login(session.account) is None or last.outcome != "ok":
            self.findings.violations.append(f"an honest client was refused: {last.result}")
        self.findings.at_most("honest login, seconds", time.monotonic() - began)
        self.findings.counted["honest operations"] += 3
        if time.monotonic() - last.invoked > DEADLINE:
            self.findings.violations.append("an honest client waited too long")

    @asynccontextmanager
    async def _serving(self, stage: Stage) -> AsyncIterator[Replica]:
        factor = self.patience / self.hurry
        clocks = ("HEAD_SECONDS", "BODY_SECONDS", "WRITE_SECONDS")
        lines = [
            "import authsvc.http.wire.framing as framing",
            *(f"framing.{name} *= {factor}" for name in clocks),
            "from authsvc.cli.main import main",
            "main()",
        ]
        async with stage.database() as url:
            with stage.place() as place:
                command = (sys.executable, "-c", "\n".join(lines), "serve")
                replica = Replica(url, place, command=command)
                replica.start()
                try:
                    await replica.ready()
                    yield replica
                finally:
                    replica.kill()


async def _connect(port: int) -> Stream:
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, WINDOW)
    client.setblocking(False)
    await asyncio.get_running_loop().sock_connect(client, ("127.0.0.1", port))
    return await asyncio.open_connection(sock=client)


async def _until_dropped(act: Act, stream: Stream, script: bytes) -> None:
    """Act until the service hangs up."""
    acting = asyncio.ensure_future(act(stream, script))
    try:
        with suppress(OSError):
            while await stream[0].read(WINDOW):
                pass
    finally:
        acting.cancel()
        stream[1].transport.abort()


async def _script(port: int) -> bytes:
    """The path of the longest answer that the service gives."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"GET /docs HTTP/1.1\r\nhost: localhost\r\n\r\n")
    found = SCRIPT.search(await read_answer(reader))
    writer.close()
    assert found is not None
    return found[0]


def _sockets(pid: int) -> int:
    """How many sockets the process has open."""
    count = 0
    for descriptor in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(OSError):
            count += str(descriptor.readlink()).startswith("socket:")
    return count


def _resident(pid: int) -> int:
    """Bytes of memory that the process holds."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * resource.getpagesize()


def _allow_descriptors(count: int) -> None:
    """For us and the service that we start."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < count:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(count, hard), hard))
