"""docs/mobile-and-cli.md does what it says: its snippets run as they stand there."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path

import pytest
import uvicorn

from authsvc_client.session import errors
from tests.support.live import EMAIL, PASSWORD, free_port, serving
from tests.verifier.snippets import ROOT, block, module_of

PAGE = "mobile-and-cli.md"


async def test_the_snippets_log_in_and_call_a_service(
    database_url: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The service they call is that of docs/protect-a-service.md."""
    monkeypatch.setenv("HOME", str(tmp_path))
    port = free_port()
    async with serving(database_url, tmp_path) as ports:

        def snippet(page: str, heading: str, number: int = 0) -> str:
            source = block(page, heading, "python", number)
            for shown, here in {
                "localhost:8000": f"localhost:{ports[0]}",
                "localhost:8001": f"localhost:{port}",
                "alice@example.com": EMAIL,
                "correct horse battery staple": PASSWORD,
            }.items():
                source = source.replace(shown, here)
            return source

        app = module_of(snippet("protect-a-service.md", "FastAPI")).app
        config = uvicorn.Config(app, host="127.0.0.1", port=port, log_config=None, ws="none")
        server = uvicorn.Server(config)
        task = asyncio.create_task(server._serve())
        while not server.started:
            await asyncio.sleep(0.005)

        call = snippet(PAGE, "Python", 1)
        await asyncio.to_thread(module_of, call)
        await asyncio.to_thread(module_of, snippet(PAGE, "Python"))
        await asyncio.to_thread(module_of, call)
        wrong = snippet(PAGE, "Python").replace(PASSWORD, "not this one")
        await asyncio.to_thread(module_of, wrong)
        server.should_exit = True
        await task

    said = capsys.readouterr().out.splitlines()
    assert "Log in first." == said[0]
    assert re.fullmatch(r'"Hello [0-9a-f-]{36}, you have the roles \[\]\."', said[1])
    assert "The e-mail address or the password is wrong." == said[2]
    assert 0o600 == (tmp_path / ".config/notes/session.json").stat().st_mode & 0o777


def test_the_page_names_every_error() -> None:
    text = (ROOT / "docs" / PAGE).read_text(encoding="utf-8")
    known = {
        name
        for name, found in vars(errors).items()
        if isinstance(found, type) and issubclass(found, errors.SessionProblem)
    }

    named = {word for word in known if word in text}
    assert known - {"SessionProblem"} == named
