"""uvicorn, in this process or in several workers."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable

import uvicorn
from uvicorn.config import STARTUP_FAILURE
from uvicorn.supervisors import Multiprocess

from authsvc.cli.errors import CommandError

GRACE = 10  # seconds for requests that run when the end is asked for
# Longer than the 60 s after which the common load balancers drop an idle connection: if we
# dropped it first, a request already on its way would be lost.
KEEP_ALIVE = 75  # seconds
START_TIMEOUT = 60.0  # seconds; many workers on few cores import slowly
FAILED = "The service did not start; the lines above say why."


def run(workers: int, sockets: list[socket.socket], *, on_ready: Callable[[], None]) -> None:
    """
    Serve until SIGINT or SIGTERM, then drain.

    Args:
        workers: With one, the service runs in this process.
        sockets: Listening; closed at the end.
        on_ready: Called once, when requests are answered.

    Raises:
        CommandError: The service did not start.
        KeyboardInterrupt: It was stopped by a signal, when it runs in this process.
    """
    config = uvicorn.Config(
        # By name: each worker builds its own, from the environment, so that no secret stands in
        # a command line.
        "authsvc.app:app_from_environment",
        factory=True,
        workers=workers,
        loop="uvloop",
        http="authsvc.http.framing:StrictHttpProtocol",
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,  # our middleware believes TRUSTED_PROXIES only
        timeout_keep_alive=KEEP_ALIVE,
        timeout_graceful_shutdown=GRACE,
        timeout_worker_healthcheck=int(START_TIMEOUT),
    )
    if workers > 1:
        supervisor = Supervisor(config, sockets, on_ready=on_ready)
        supervisor.run()
        if supervisor.failed:
            raise CommandError(FAILED)
        return
    server = Server(config, on_ready=on_ready)
    try:
        server.run(sockets)
    except SystemExit as exc:
        raise CommandError(FAILED) from exc


class Server(uvicorn.Server):
    """A server that says when it is ready."""

    def __init__(self, config: uvicorn.Config, *, on_ready: Callable[[], None]) -> None:
        super().__init__(config)
        self._on_ready = on_ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start, then say so."""
        await super().startup(sockets)
        if self.started:
            self._on_ready()


class Supervisor(Multiprocess):
    """A supervisor that says when all workers are ready, and waits for none for ever."""

    def __init__(
        self, config: uvicorn.Config, sockets: list[socket.socket], *, on_ready: Callable[[], None]
    ) -> None:
        super().__init__(config, sockets)
        self._on_ready = on_ready
        self._counted: set[int] = set()

    @property
    def failed(self) -> bool:
        """Whether a worker could not even start."""
        return any(worker.exitcode == STARTUP_FAILURE for worker in self.processes)

    def init_processes(self) -> None:
        """Start the workers, then say so."""
        super().init_processes()
        deadline = time.monotonic() + START_TIMEOUT
        if all(
            worker.wait_until_ready(deadline - time.monotonic(), self.should_exit)
            for worker in self.processes
        ):
            self._on_ready()

    def keep_subprocess_alive(self) -> None:
        """Replace dead workers, and take their gauges out of the metrics."""
        super().keep_subprocess_alive()
        alive = {worker.pid for worker in self.processes if worker.pid is not None}
        for pid in self._counted - alive:
            from prometheus_client.multiprocess import (  # noqa: PLC0415 - seldom needed
                mark_process_dead,
            )

            mark_process_dead(pid)  # type: ignore[no-untyped-call]  # prometheus has no types
        self._counted = alive

    def terminate_all(self) -> None:
        """Stop accepting, everywhere, then let the workers drain."""
        for listening in self.sockets:
            listening.close()
        super().terminate_all()

    def join_all(self) -> None:
        """Wait for the workers, the hanging ones not for ever."""
        deadline = time.monotonic() + 2 * GRACE
        for worker in self.processes:
            worker.process.join(max(0.0, deadline - time.monotonic()))
            if worker.process.is_alive():
                worker.kill()
                worker.process.join()
