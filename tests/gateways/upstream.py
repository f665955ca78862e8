"""A service behind a gateway that tells which headers it was sent, name by name as they came."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from threading import Thread

END = b"\r\n\r\n"


@dataclass
class Received:
    """A request as it came."""

    line: str
    headers: list[tuple[str, str]]
    body: bytes

    def named(self, name: str) -> list[str]:
        """The values under any name that some framework takes for this one."""
        return [value for key, value in self.headers if alike(key) == alike(name)]


@dataclass
class Upstream:
    """What it was sent; every answer is 200."""

    port: int
    received: list[Received] = field(default_factory=list)


def alike(name: str) -> str:
    """Names that WSGI, CGI or PHP make the same variable of."""
    return name.lower().replace("-", "_").replace(".", "_")


@contextmanager
def upstream() -> Iterator[Upstream]:
    """One, on a free port; a thread for each connection, one request on each."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        running = Upstream(listener.getsockname()[1])

        def accept() -> None:
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return  # closed
                Thread(target=_answer, args=(connection, running), daemon=True).start()

        thread = Thread(target=accept)
        thread.start()
        try:
            yield running
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join()


def _answer(connection: socket.socket, running: Upstream) -> None:
    with connection:
        connection.settimeout(10)
        data = b""
        while END not in data:
            part = connection.recv(65536)
            if not part:
                return
            data += part
        head, _, body = data.partition(END)
        line, *lines = head.decode("latin-1").split("\r\n")
        headers = [(name, value.strip()) for name, _, value in (x.partition(":") for x in lines)]
        length = next((int(v) for k, v in headers if k.lower() == "content-length"), 0)
        while len(body) < length:
            body += connection.recv(65536)
        running.received.append(Received(line, headers, body))
        said = json.dumps({"line": line}).encode()
        answer = f"HTTP/1.1 200 OK\r\nContent-Length: {len(said)}\r\nConnection: close\r\n\r\n"
        connection.sendall(answer.encode() + said)
