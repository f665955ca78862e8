"""What the parts cost by themselves: no service can be faster than these."""

from __future__ import annotations

import json
import math
import re
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from argon2 import PasswordHasher
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key
from cryptography.hazmat.primitives.hashes import SHA256

from authsvc.embedded_postgres import EmbeddedPostgres
from authsvc.store.rotation import _rotate
from bench import load
from tests.support.live import free_port

TOKEN = b"x" * 600  # what is signed of an access token, about
PASSWORD = "correct horse battery staple"

# What the binds of the statement are in the service; the family and its generation are the
# virtual user's own.
BINDS = {
    "family_id": ":family::uuid",
    "presented": ":generation",
    "window": "interval '0'",
    "successor_key_id": ":key::bytea",
    "digest": "sha256('idempotency')",
    "idle": "interval '7 days'",
    "short_idle": "interval '12 hours'",
    "caller_ip": "'203.0.113.7'",
    "caller_agent": "'Mozilla/5.0 (X11; Linux x86_64) Firefox/145.0'",
    "now": "NULL",
}


@dataclass(frozen=True)
class Statement:
    """The refresh statement alone, as fast as pgbench drives it."""

    clients: int
    rate: float
    database_cpu: float
    """Microseconds for each statement."""
    generator_cpu: float


def rsa_signatures(seconds: float) -> float:
    """RSA-2048 signatures per second of one core (RS256)."""
    key = generate_private_key(65537, 2048)
    padding, digest = PKCS1v15(), SHA256()
    return _rate(lambda: key.sign(TOKEN, padding, digest), seconds)


def python(seconds: float) -> float:
    """Access-token claims written and read as JSON, per second of one core: Python's own pace."""
    claims = {"iss": "https://auth.example.com", "aud": ["api"], "roles": ["user"], "exp": 2**31}
    return _rate(lambda: json.loads(json.dumps(claims)), seconds)


def on_all_cores(measure: str, cores: int) -> float:
    """
    What one core does of something while every core does it.

    Cores of rented machines are often threads of one: two at once are not twice as fast.

    Args:
        measure: A call of a function of this module.
    """
    code = f"from bench.limits import *; print({measure})"
    started = [
        subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
        for _ in range(cores)
    ]
    return sum(float(process.communicate()[0]) for process in started) / cores


def argon2_verifications(
    seconds: float, *, memory_kib: int, rounds: int, python: str = sys.executable
) -> float:
    """Verifications per second of one core with the build of argon2 that `python` has."""
    if python != sys.executable:
        code = (
            "from bench.limits import argon2_verifications as run;"
            f"print(run({seconds}, memory_kib={memory_kib}, rounds={rounds}))"
        )
        return float(subprocess.check_output([python, "-c", code], text=True))
    hasher = PasswordHasher(time_cost=rounds, memory_cost=memory_kib, parallelism=1)
    stored = hasher.hash(PASSWORD)
    return _rate(lambda: hasher.verify(stored, PASSWORD), seconds)


def refresh_statement(
    postgres: EmbeddedPostgres,
    url: str,
    *,
    key_id: bytes,
    clients: int,
    seconds: float,
    directory: Path,
) -> Statement:
    """The statement of a refresh, prepared, each client with a family of its own."""
    script = directory / "rotate.sql"
    script.write_text(_pgbench_script())
    before = load.cpu_of_server(postgres.pid)
    began = load.cpu_of_children()
    run = subprocess.run(
        [
            str(postgres.programs / "pgbench"),
            "-n",
            "-M",
            "prepared",
            "-c",
            str(clients),
            "-j",
            "1",
            "-T",
            str(math.ceil(seconds)),
            "-D",
            "started=0",
            "-D",
            f"key=\\x{key_id.hex()}",
            "-f",
            str(script),
            url,
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    output = run.stdout + run.stderr
    found = re.search(r"actually processed: (\d+)", output)
    rate = re.search(r"tps = ([\d.]+)", output)
    assert found is not None, output
    assert rate is not None, output
    each = int(found[1]) / 1e6
    return Statement(
        clients=clients,
        rate=float(rate[1]),
        database_cpu=(load.cpu_of_server(postgres.pid) - before) / each,
        generator_cpu=(load.cpu_of_children() - began) / each,
    )


def bare_uvicorn(seconds: float, *, users: int) -> load.Load:
    """A constant answer from the same server that the service runs in."""
    port = free_port()
    code = (
        "import uvicorn; from bench.bare import app;"
        f"uvicorn.run(app, host='127.0.0.1', port={port}, loop='uvloop', http='httptools',"
        " access_log=False, server_header=False, ws='none', log_level='error')"
    )
    process = subprocess.Popen([sys.executable, "-c", code])
    try:
        load.wait_for(port)
        return load.run("plain", port, ["-"] * users, seconds=seconds, service=[process.pid])
    finally:
        process.terminate()
        process.wait()


def _pgbench_script() -> str:
    statement = _rotate()
    text = statement.text
    # From the last to the first, so that $1 does not hit $10.
    for number in range(len(statement._names), 0, -1):
        text = text.replace(f"${number}", BINDS[statement._names[number - 1]])
    text = " ".join(text.split())
    return (
        "\\if :started = 0\n"
        "SELECT id AS family, generation FROM refresh_families ORDER BY id"
        " OFFSET :client_id LIMIT 1 \\gset\n"
        "\\set started 1\n"
        "\\endif\n"
        f"{text};\n"
        "\\set generation :generation + 1\n"
    )


def _rate(act: Callable[[], object], seconds: float) -> float:
    done, began = 0, time.perf_counter()
    while (passed := time.perf_counter() - began) < seconds:
        for _ in range(10):
            act()
        done += 10
    return done / passed
