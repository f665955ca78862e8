"""/demo and /docs for people who see, hear or point otherwise: axe-core in a real Chromium."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from authsvc.http.pages.docs import docs_router
from authsvc.settings import Settings
from tests.support.node import observed
from tests.support.small import application, client_of


@pytest.mark.finding("N27")
@pytest.mark.parametrize("there", [True, False])
async def test_docs_link_to_the_demo_only_where_there_is_one(*, there: bool) -> None:
    settings = Settings.load(demo=there)

    page = await client_of(application(docs_router(settings), demo=there)).get("/docs")

    assert there == ('href="/demo"' in page.text)


@pytest.mark.finding("N20", "N27")
@pytest.mark.usefixtures("package")
async def test_the_pages_have_no_fault_that_axe_knows_in_any_colour_or_width(
    chromium: str, service: int, tmp_path: Path
) -> None:
    """Light and dark, 360 and 1280 px; what changes is told, and the focus is never lost."""
    origin = f"http://localhost:{service}"
    script = Path(__file__).parent / "accessibility.mjs"

    seen = await asyncio.to_thread(observed, script, origin, chromium, str(tmp_path))

    assert not seen["violations"], "\n".join(seen["violations"])
    assert [] == seen["wide"]  # no cell of the table is cut
    assert ["H1", "H1"] == seen["focus"]  # after the sign-in, and after the sign-out
    assert [False, True, True] == seen["live"]  # the countdown, the story, the answer
    assert [1, 1] == [seen["mains"], seen["link"]]
    assert ["Filled in. Now press Register.", ""] == seen["madeUp"]
    assert "offline" in seen["offline"]
