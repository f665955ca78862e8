"""
`authsvc db upgrade` in a process that dies before or after its n-th statement.

Importing alembic takes a second, so one process has done it and forks a child for each run.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import sys
from contextlib import AbstractContextManager
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

from authsvc.store.schema import SCHEMA_REVISION

REVISIONS = Path(__file__).parents[1] / "alembic"
NEXT = Path(__file__).with_name("next_revision.py")
OLD, NEW = SCHEMA_REVISION, "9999"


class MigrationRunner(AbstractContextManager["MigrationRunner"]):
    """
    Runs migrations, several at once if asked to.

    Args:
        directory: For the copy of alembic/ with one revision more.
    """

    def __init__(self, directory: Path) -> None:
        self.scripts = directory / "alembic"
        shutil.copytree(REVISIONS, self.scripts, ignore=shutil.ignore_patterns("__pycache__"))
        shutil.copy(NEXT, self.scripts / "versions" / f"{NEW}_next.py")
        self._log = directory / "migrations.log"

    def __enter__(self) -> Self:
        """Nothing is started before it is needed."""
        self._process: asyncio.subprocess.Process | None = None
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._process is not None and self._process.returncode is None:
            self._process.kill()

    async def run(self, *runs: dict[str, Any]) -> list[dict[str, Any]]:
        """
        Start all of `runs` at once and wait for their end.

        Args:
            runs: `url`, `to` (a revision or `base`), and `die_at` (a point, or None).

        Returns:
            Of each `code` (0 if it succeeded, -9 if it died) and the `points` it passed.
        """
        if self._process is None:
            with self._log.open("ab") as log:
                self._process = await asyncio.create_subprocess_exec(
                    sys.executable,
                    "-m",
                    "proof.migration_runner",
                    str(self.scripts),
                    env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
                    stdin=asyncio.subprocess.PIPE,
                    stdout=asyncio.subprocess.PIPE,
                    stderr=log,
                )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(runs).encode() + b"\n")
        line = await self._process.stdout.readline()
        assert line, self._log.read_text()[-2000:]
        answer: list[dict[str, Any]] = json.loads(line)
        return answer


def main(scripts: str) -> None:
    """Fork for every run; answer when all have ended."""
    from alembic import command  # noqa: F401, PLC0415 - so that the children need not
    from authsvc.store import migrate  # noqa: PLC0415 - not in the harness

    genuine = migrate.configuration

    def configuration() -> Any:
        config = genuine()
        config.set_main_option("script_location", scripts)
        return config

    migrate.configuration = configuration
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what alembic prints is for the log
    for line in sys.stdin:
        children = []
        for run in json.loads(line):
            reading, writing = os.pipe()
            pid = os.fork()
            if pid == 0:
                os.close(reading)
                _child(run, os.fdopen(writing, "w"))
            os.close(writing)
            children.append((pid, os.fdopen(reading)))
        results = []
        for pid, points in children:
            passed = points.read().splitlines()
            status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
            results.append({"code": status, "points": passed})
        answers.write(json.dumps(results).encode() + b"\n")
        answers.flush()


def _child(run: dict[str, Any], points: IO[str]) -> None:
    from sqlalchemy import Engine, event  # noqa: PLC0415 - in the child only

    from authsvc.store import migrate  # noqa: PLC0415 - in the child only

    passed = 0

    def point(name: str) -> None:
        nonlocal passed
        points.write(name.replace("\n", " ")[:120] + "\n")
        points.flush()
        if passed == run["die_at"]:
            os.kill(os.getpid(), signal.SIGKILL)
        passed += 1

    def before(*arguments: Any) -> None:
        point(f"before {arguments[2]}")

    def after(*arguments: Any) -> None:
        point(f"after {arguments[2]}")

    event.listen(Engine, "before_cursor_execute", before)
    event.listen(Engine, "after_cursor_execute", after)
    event.listen(Engine, "commit", lambda _: point("commit"))
    code = 1
    try:
        if run["to"] == NEW:
            asyncio.run(migrate.upgrade(run["url"]))
        else:
            asyncio.run(migrate.downgrade(run["url"], run["to"]))
        point("the end")
        code = 0
    finally:
        os._exit(code)


if __name__ == "__main__":
    main(sys.argv[1])
