"""
F30 with schemathesis' state machines: sequences of requests, each made from the answer before.

The published document has no links, since no client needs any; here it gets those that follow a
session from its registration to its end, and schemathesis walks them with good and bad values.
"""

from __future__ import annotations

import asyncio
import json
import re
import subprocess
import sys
from pathlib import Path
from random import Random
from typing import Any

from proof.client import Client
from proof.experiment import Findings, Stage
from proof.zygote import Zygote
from tests.support.live import free_port
from tests.support.wire import Connection

LOGIN = {"email": "$request.body#/email", "password": "$request.body#/password"}
TOKEN = {"refresh_token": "$response.body#/refresh_token"}
SPENT = {"refresh_token": "$request.body#/refresh_token"}
# From which answer of which operation, to which, with what.
LINKS: tuple[tuple[str, str, str, dict[str, Any]], ...] = (
    ("register", "201", "login", {"requestBody": {**LOGIN, "delivery": "native"}}),
    ("register", "201", "register", {"requestBody": LOGIN}),
    ("login", "200", "refresh", {"requestBody": TOKEN}),
    ("login", "200", "logout", {"requestBody": TOKEN}),
    ("login", "200", "end_session", {"parameters": {"session_id": "$response.body#/session_id"}}),
    ("refresh", "200", "refresh", {"requestBody": TOKEN}),
    ("refresh", "200", "refresh", {"requestBody": SPENT}),
    ("refresh", "200", "logout", {"requestBody": SPENT}),
    ("logout", "204", "refresh", {"requestBody": SPENT}),
)
CASES = re.compile(r"Test cases:\s+(\d[\d,]*) generated")
SECONDS = 900
WALKS = 20  # of the control, at most: not every short one logs in after it has registered


class StatefulFuzzing:
    """The whole document, walked along its links."""

    name = "F30-stateful-fuzzing"
    promise = (
        "Sequences of requests that schemathesis makes from our OpenAPI document and from the "
        "answers before meet no 5xx, no undocumented answer and no accepted violation."
    )
    unit = "test cases"
    goal = 50_000
    batch = 1_000

    async def run(self, stage: Stage, *, units: int, random: Random) -> Findings:
        """Walk until `units` cases were sent."""
        findings = Findings()
        async with stage.database() as url:
            with stage.place() as place, Zygote(place) as zygote:
                service = zygote.spawn(port := free_port(), url)
                await service.ready()
                client = Client("stateful", stage.recorder, [port])
                session = await client.login(await client.register("stateful@example.com"))
                await client.close()
                assert session is not None
                document = place / "openapi.json"
                document.write_text(json.dumps(await _linked(port)))
                while findings.done < units and not findings.violations:
                    seed = random.getrandbits(32)
                    await _walk(findings, document, port, session.access_token, seed, units)
                if service.has_ended():
                    findings.violations.append("the process is dead")
        return findings

    async def control(self, stage: Stage, *, random: Random) -> Findings:
        """A 500 that only a walk along the links meets: who registered cannot log in."""
        findings = Findings()
        plant = f"{_raise_after_login.__module__}:{_raise_after_login.__name__}"
        async with stage.database() as url:
            with stage.place() as place, Zygote(place, plant=plant) as zygote:
                service = zygote.spawn(port := free_port(), url)
                await service.ready()
                document = place / "openapi.json"
                document.write_text(json.dumps(await _linked(port)))
                for _ in range(WALKS):
                    await _walk(findings, document, port, "none", random.getrandbits(32), 100)
                    if findings.violations:
                        break
        return findings


async def _linked(port: int) -> dict[str, Any]:
    connection = await Connection.open(port)
    request = b"GET /openapi.json HTTP/1.1\r\nhost: localhost\r\n\r\n"
    document = (await connection.ask(request)).body
    await connection.close()
    operations = {
        operation["operationId"]: operation
        for methods in document["paths"].values()
        for operation in methods.values()
    }
    for number, (source, status, to, link) in enumerate(LINKS):
        answer = operations[source]["responses"][status]
        answer.setdefault("links", {})[f"link-{number}"] = {"operationId": to, **link}
    return document


async def _walk(
    findings: Findings, document: Path, port: int, token: str, seed: int, units: int
) -> None:
    process = await asyncio.to_thread(
        subprocess.run,
        [
            str(Path(sys.executable).with_name("schemathesis")),
            "run",
            str(document),
            f"--url=http://localhost:{port}",
            "--phases=stateful",
            f"--max-examples={max(4, units // 20)}",
            f"--seed={seed}",
            "--request-timeout=10",
            # As in tests/clients: no schema can say which passwords are weak.
            "--exclude-checks=positive_data_acceptance",
            "--no-color",
            f"--header=Authorization: Bearer {token}",
        ],
        cwd=document.parent,
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    cases = CASES.search(process.stdout)
    findings.done += int(cases[1].replace(",", "")) if cases else 0
    findings.counted["walks"] += 1
    if process.returncode or not cases:
        findings.violations.append(f"seed {seed}: {process.stdout[-3000:]}{process.stderr[-500:]}")


def _raise_after_login() -> None:
    """A planted bug at the end of a path: only who registered, then logged in, gets there."""
    from authsvc.http.auth import login  # noqa: PLC0415 - in the child only

    genuine = login.login  # type: ignore[attr-defined]  # it is imported there

    async def and_fail(*args: Any, **kwargs: Any) -> Any:
        await genuine(*args, **kwargs)
        raise ZeroDivisionError

    login.login = and_fail  # type: ignore[attr-defined]  # as above
