"""
/auth/continue and examples/server-rendered in a real Chromium, with the retry window shut.

That the access cookie has run out is said to the browser, by taking the cookie away: nobody waits.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from authsvc.embedded_postgres import EmbeddedPostgres
from tests.browser.conftest import ADA, ROOT, Scenario
from tests.support.databases import database
from tests.support.examples import example
from tests.support.live import free_port, serving
from tests.support.node import observed

STATIC = ROOT / "src" / "authsvc" / "http" / "pages" / "static" / "continue"
SIGNED_OUT = "Failed to load resource: the server responded with a status of 401"


@pytest.fixture(scope="module")
async def application(
    postgres: EmbeddedPostgres, template: str, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[tuple[int, int, str]]:
    """A service, the port at which everybody knows it, and the origin of the example."""
    known_at = free_port()
    issuer = f"http://localhost:{known_at}"
    directory = tmp_path_factory.mktemp("service")
    async with (
        database(postgres, template) as url,
        serving(url, directory, REFRESH_RETRY_WINDOW="0", ISSUER=issuer) as ports,
    ):
        async with httpx.AsyncClient(base_url=f"http://localhost:{ports[0]}") as client:
            assert 201 == (await client.post("/auth/register", json=ADA)).status_code
        async with example("server-rendered", ISSUER=issuer) as origin:
            yield ports[0], known_at, origin


@pytest.fixture
def visit(application: tuple[int, int, str], chromium: str, tmp_path: Path) -> Scenario:
    """Play a scenario of server_rendered.mjs; returns what it observed."""

    async def play(name: str) -> dict[str, Any]:
        script = Path(__file__).parent / "server_rendered.mjs"
        port, known_at, origin = application
        seen: dict[str, Any] = await asyncio.to_thread(
            observed, script, str(port), str(known_at), origin, chromium, str(tmp_path), name,
            told=ADA,
        )  # fmt: skip
        return seen

    return play


def test_the_script_of_the_page_is_what_the_source_builds(package: Path) -> None:
    """After a change: `npm run build` in clients/js, and copy dist/continue.js."""
    assert (package / "continue.js").read_bytes() == (STATIC / "continue.js").read_bytes()


@pytest.mark.requirement("C1", "X1", "R3")
async def test_a_session_goes_on_when_the_access_cookie_has_run_out(visit: Scenario) -> None:
    seen = await visit("a-session")

    assert [] == seen["stranger"]  # nothing was asked in the name of nobody
    assert "wrong" in seen["wrong"]
    assert ["authsvc_csrf"] == seen["scriptsSee"]
    assert ["Buy <b>milk</b>."] == seen["written"]
    assert ["/notes?page=2&q=%22a+b%22", seen["written"], ["rotated"]] == seen["renewed"]
    assert ["Buy <b>milk</b>.", "Sell it."] == seen["after"]
    assert ["authsvc_device"] == seen["left"]
    assert ["rotated"] == seen["outcomes"]
    assert all(text.startswith(SIGNED_OUT) for text in seen["complaints"])


@pytest.mark.requirement("C1", "X1")
async def test_a_link_from_elsewhere_leads_to_forms_that_work(visit: Scenario) -> None:
    """A cookie that is not sent with the navigation would leave the form without its value."""
    seen = await visit("a-link-from-elsewhere")

    assert ["From a link.", "From a link, renewed."] == seen["notes"][-2:]
    assert ["rotated"] == seen["outcomes"]


@pytest.mark.requirement("I7")
async def test_an_outage_on_the_way_costs_no_session(visit: Scenario) -> None:
    """Refused, lost after the rotation, cut, and the page loaded anew in between."""
    seen = await visit("an-outage")

    assert "Still trying …" == seen["waiting"][0]
    assert "Next try in" in seen["waiting"][1]
    assert ["pending"] == seen["kept"]
    assert 1 == seen["keys"]
    assert (503, "rotated", "replayed") == (*seen["outcomes"][:2], seen["outcomes"][-1])
    assert {503, "rotated", "none", "replayed"} == set(seen["outcomes"])
    assert [] != seen["notes"]


@pytest.mark.requirement("R3")
async def test_several_tabs_take_turns(visit: Scenario) -> None:
    seen = await visit("several-tabs")

    assert ["rotated"] == seen["together"]
    assert ["rotated"] * 3 == seen["outcomes"]
    assert ["/notes"] * 3 == seen["at"]


async def test_a_session_that_has_ended_leads_to_the_sign_in_page(visit: Scenario) -> None:
    seen = await visit("an-end")

    assert [401] == seen["outcomes"]
    assert "You are signed out" == seen["title"]
    assert seen["back"].endswith("/notes")


async def test_an_application_that_sees_no_cookie_does_not_send_it_round_for_ever(
    visit: Scenario,
) -> None:
    seen = await visit("a-loop")

    assert 4 == seen["rounds"]
    assert ["rotated"] * 3 == seen["outcomes"]
    assert "again and again" in seen["title"]
    assert "/notes" == seen["resolved"]


async def test_a_session_without_an_access_cookie_leads_to_the_sign_in_page(
    visit: Scenario,
) -> None:
    """That of a single-page app on the same host."""
    seen = await visit("another-kind-of-session")

    assert ["rotated"] == seen["outcomes"]


async def test_without_script_the_page_says_what_to_do(visit: Scenario) -> None:
    seen = await visit("no-script")

    assert "needs JavaScript" in seen["shown"]
    assert "being renewed" not in seen["shown"]
    assert seen["at"] == seen["again"]
    assert seen["elsewhere"].endswith("/sign-in")
    assert [] == seen["outcomes"]


async def test_what_was_typed_survives_the_end_of_the_access_cookie(visit: Scenario) -> None:
    seen = await visit("a-late-form")

    assert "Long thought of." == seen["draft"] == seen["notes"][-1]


@pytest.mark.requirement("X1", "X2")
async def test_a_form_of_another_page_writes_nothing_and_shows_nothing(visit: Scenario) -> None:
    """From another site, and from another port of the same host, which gets the cookies."""
    seen = await visit("a-forged-form")

    assert [[403, False]] * 4 == seen["answers"]
    assert "forged" not in seen["notes"]
