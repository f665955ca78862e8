"""uvicorn, in this process or in several workers."""

from __future__ import annotations

import signal
import socket
import time
from collections.abc import Callable

import uvicorn
from uvicorn.supervisors import Multiprocess

from authsvc.operator_errors import OperatorError

GRACE = 10  # seconds for requests that run when the end is asked for
# Longer than the 60 s after which the common load balancers drop an idle connection: if we
# dropped it first, a request already on its way would be lost.
KEEP_ALIVE = 75  # seconds
START_TIMEOUT = 60.0  # seconds; many workers on few cores import slowly
HEALTH_TIMEOUT = 10  # seconds; a worker that does not answer its supervisor for so long is replaced
FAILED = "The service did not start; the lines above say why."


def run(workers: int, sockets: list[socket.socket], *, on_ready: Callable[[], None]) -> None:
    """
    Serve until SIGINT or SIGTERM, then drain.

    Args:
        workers: With one, the service runs in this process.
        sockets: Listening; closed at the end.
        on_ready: Called once, when requests are answered.

    Raises:
        OperatorError: The service did not start.
        KeyboardInterrupt: It was stopped by a signal, when it runs in this process.
    """
    config = uvicorn.Config(
        # By name: each worker builds its own, from the environment, so that no secret stands in
        # a command line.
        "authsvc.app:app_from_environment",
        factory=True,
        workers=workers,
        loop="uvloop",
        http="authsvc.http.wire.framing:StrictHttpProtocol",
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,  # our middleware believes TRUSTED_PROXIES only
        timeout_keep_alive=KEEP_ALIVE,
        timeout_graceful_shutdown=GRACE,
        timeout_worker_healthcheck=HEALTH_TIMEOUT,
    )
    if workers > 1:
        supervisor = Supervisor(config, sockets, on_ready=on_ready)
        supervisor.run()
        if supervisor.failed:
            raise OperatorError(FAILED)
        return
    server = Server(config, on_ready=on_ready)
    try:
        server.run(sockets)
    except SystemExit as exc:
        raise OperatorError(FAILED) from exc


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
        self.failed = False
        """Whether a worker could not even start."""

    def init_processes(self) -> None:
        """Start the workers, and say so when they answer; give up if one cannot start."""
        # A worker that is still importing must not print a traceback for a Ctrl-C. It inherits
        # this, and hears of the end from us.
        heard = signal.signal(signal.SIGINT, signal.SIG_IGN)
        super().init_processes()
        signal.signal(signal.SIGINT, heard)
        waiting = list(self.processes)
        deadline = time.monotonic() + START_TIMEOUT
        while waiting and not self.signal_queue and time.monotonic() < deadline:
            if any(worker.exitcode is not None for worker in waiting):
                # Another try would end the same way; uvicorn itself would try for ever.
                self.failed = True
                self.should_exit.set()
                return
            if waiting[0].is_ready(timeout=0.5):
                del waiting[0]
            else:
                time.sleep(0.05)
        if not waiting:
            self._on_ready()

    def keep_subprocess_alive(self) -> None:
        """Replace dead workers, and take their gauges out of the metrics."""
        asked_to_end = self.should_exit.is_set()
        super().keep_subprocess_alive()
        # Unasked, uvicorn ends only for a worker that reported that it could not start.
        self.failed = self.should_exit.is_set() and not asked_to_end
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
