"""
The JavaScript client in a real Chromium, against the real service, with the retry window shut.

Every wait of hours is the browser's clock being moved. A session lost anywhere shows as a 401
among the outcomes, or as a page that is nobody's.
"""

from __future__ import annotations

from collections import Counter

import pytest

from tests.browser.conftest import ADA, BOB, Scenario

pytestmark = pytest.mark.requirement("C1", "R3")

ADA_IS_HERE = [200, ADA["email"]]
UNAUTHORIZED = "Failed to load resource: the server responded with a status of 401 (Unauthorized)"


def unexpected(complaints: list[str], *expected: str) -> list[str]:
    """What the console said beyond what the scenario provokes."""
    return [text for text in complaints if not text.startswith(expected)]


async def test_signing_in_leaves_nothing_secret_where_scripts_could_find_it(
    scenario: Scenario,
) -> None:
    seen = await scenario("sign-in")

    assert [None, None, [], []] == seen["stranger"]  # and nothing was asked of the service
    assert "invalid_credentials" == seen["wrong"]
    assert ADA_IS_HERE == seen["me"] == seen["reloaded"]
    assert [seen["user"]] == seen["told"]
    assert ["session"] == seen["names"]
    assert [] == seen["leaked"]
    assert "" == seen["scriptsSee"]
    refresh = {"name": "authsvc_refresh", "httpOnly": True, "sameSite": "Strict", "path": "/auth"}
    assert refresh in seen["cookies"]
    assert all(cookie["httpOnly"] for cookie in seen["cookies"])
    assert [UNAUTHORIZED] == seen["complaints"]


async def test_the_token_is_renewed_silently_at_four_fifths_of_its_life(scenario: Scenario) -> None:
    seen = await scenario("silent-refresh")

    assert [[], ["rotated"]] == [seen["early"], seen["outcomes"]]
    assert ADA_IS_HERE == seen["me"]
    assert [seen["user"], seen["user"]] == seen["told"]
    assert ["last", "session"] == seen["names"]
    assert [] == seen["complaints"]


@pytest.mark.parametrize("tabs", [2, 5])
async def test_tabs_share_one_refresh(scenario: Scenario, tabs: int) -> None:
    """Opened later, due together, restarted together, and asked together."""
    seen = await scenario("tabs", str(tabs))

    assert [] == seen["opened"]
    assert {"outcomes": ["rotated"], "tokens": 1} == seen["due"]
    assert ["rotated"] * 2 == seen["restarted"]
    assert ["rotated"] * 3 == seen["insisted"]
    assert [ADA_IS_HERE] * tabs == seen["me"]
    assert None not in seen["told"]
    assert [] == seen["complaints"]


@pytest.mark.requirement("I7")
async def test_an_answer_lost_is_fetched_hours_later_with_the_same_key(scenario: Scenario) -> None:
    seen = await scenario("lost-answer")

    assert ["pending", "session"] == seen["pending"]
    assert 1 == seen["keys"]
    assert ("rotated", "replayed") == (seen["outcomes"][0], seen["outcomes"][-1])
    assert {"rotated", "none", "replayed"} == set(seen["outcomes"])
    assert ADA_IS_HERE == seen["me"]
    assert ["last", "session"] == seen["names"]
    assert [] == unexpected(seen["complaints"], "Failed to load resource: net::ERR_")


@pytest.mark.requirement("I7")
async def test_a_reload_during_a_refresh_repeats_it(scenario: Scenario) -> None:
    seen = await scenario("reload-during-a-refresh")

    assert (1, ["rotated", "replayed"]) == (seen["keys"], seen["outcomes"])
    assert ADA_IS_HERE == seen["me"]
    assert [] == seen["complaints"]


@pytest.mark.requirement("I7")
async def test_a_service_that_is_away_costs_no_session(scenario: Scenario) -> None:
    seen = await scenario("service-down-and-back")

    assert ADA_IS_HERE == seen["still"]  # the old token is good for a while
    assert 1 == seen["beforeRetryAfter"]
    assert "unavailable" == seen["away"]
    assert {"user": seen["user"], "told": [seen["user"]]} == seen["seen"]
    assert 1 == seen["keys"]
    assert ADA_IS_HERE == seen["back"]
    assert (503, "rotated") == (seen["outcomes"][0], seen["outcomes"][-1])
    expected = ("Failed to load resource: net::ERR_", "Failed to load resource: the server res")
    assert [] == unexpected(seen["complaints"], *expected)


@pytest.mark.requirement("D1")
@pytest.mark.parametrize("lacking", ["", "channel", "channel,locks"])
async def test_logging_out_in_one_tab_ends_it_in_all(scenario: Scenario, lacking: str) -> None:
    seen = await scenario("logout-ends-all-tabs", lacking)

    assert 3 == len([user for user in seen["before"] if user])
    assert 401 == seen["refused"]
    assert None is seen["told"][-1]
    assert [] == seen["names"]
    assert "authsvc_refresh" not in seen["cookies"]
    assert [None] * 3 == seen["after"]
    assert 401 not in seen["outcomes"]  # without a session nobody asks for one
    assert [UNAUTHORIZED] == seen["complaints"]  # of the probe with the dead token


@pytest.mark.requirement("D1")
async def test_going_back_to_a_page_after_a_logout_shows_nobody(scenario: Scenario) -> None:
    seen = await scenario("back-after-a-logout")

    assert [seen["user"], None] == [seen["asleep"], seen["awake"]]
    assert [seen["user"], None] == seen["told"]
    assert [] == seen["complaints"]


@pytest.mark.requirement("C5")
@pytest.mark.parametrize("lacking", ["", "channel"])
async def test_a_tab_reloads_when_another_has_become_somebody_else(
    scenario: Scenario, lacking: str
) -> None:
    seen = await scenario("another-account-in-another-tab", lacking)

    assert seen["user"] != seen["bobs"]
    assert [seen["bobs"]] * 2 == seen["both"]
    assert [200, BOB["email"]] == seen["me"]
    assert [] == seen["complaints"]


async def test_a_login_does_not_wait_for_a_refresh_nor_lose_to_it(scenario: Scenario) -> None:
    seen = await scenario("login-during-a-refresh")

    assert [seen["bobs"]] * 3 == [seen["refreshed"], *seen["both"]]
    assert [200, BOB["email"]] == seen["me"]
    assert [] == seen["complaints"]


@pytest.mark.requirement("I7")
async def test_a_jar_rolled_back_by_a_crash_is_known_by_the_last_key(scenario: Scenario) -> None:
    seen = await scenario("rolled-back-jar")

    assert ["last", "session"] == seen["kept"]
    assert [ADA_IS_HERE, ["rotated", "rotated", "replayed"]] == seen["healed"]
    assert "rotated" == seen["outcomes"][-1]
    first, second, repeated, next_key = seen["keys"]
    assert second == repeated
    assert 3 == len({first, second, next_key})
    assert ["session"] == seen["names"]  # a minute later the jar is on the disk
    assert [] == seen["complaints"]


@pytest.mark.requirement("I7")
@pytest.mark.parametrize("lacking", ["locks", "channel", "locks,channel"])
async def test_five_tabs_of_an_old_browser_lose_nothing(scenario: Scenario, lacking: str) -> None:
    seen = await scenario("without", lacking)

    assert [seen["user"]] * 5 == seen["users"]
    assert [ADA_IS_HERE] * 5 == seen["me"]
    assert Counter(seen["outcomes"]).keys() <= {"rotated", "replayed"}
    assert [] == seen["complaints"]


async def test_a_browser_that_denies_storage_stays_logged_in(scenario: Scenario) -> None:
    seen = await scenario("without-storage")

    assert ADA_IS_HERE == seen["reloaded"]
    assert [401, "rotated"] == seen["outcomes"]  # it cannot know that nobody is logged in
    assert [UNAUTHORIZED] == seen["complaints"]


@pytest.mark.requirement("X2", "X3", "X5", "X6")
async def test_a_foreign_page_can_neither_read_nor_change_anything(scenario: Scenario) -> None:
    seen = await scenario("foreign-origin")

    assert {"TypeError"} == set(seen["read"].values())
    assert {"/auth/refresh", "/auth/logout", "/auth/login"} == {path for path, _ in seen["writes"]}
    assert {401, 403, 415} >= {status for _, status in seen["writes"]}
    assert seen["user"] == seen["refreshed"]
    assert ADA_IS_HERE == seen["me"]
    assert [] == seen["complaints"]


async def test_the_token_is_not_sent_to_an_origin_that_is_not_listed(scenario: Scenario) -> None:
    seen = await scenario("unlisted-origin")

    code, message = seen["unlisted"]
    assert "origin_not_listed" == code
    assert "http://127.0.0.1:" in message
    assert 200 == seen["own"]
    assert [] == seen["complaints"]


async def test_a_listener_that_throws_does_not_disturb_the_session(scenario: Scenario) -> None:
    seen = await scenario("listener-that-throws")

    assert seen["user"] == seen["refreshed"]
    assert ["last", "session"] == seen["names"]
    assert ADA_IS_HERE == seen["me"]
    assert ["Error: the application's"] == seen["complaints"]


async def test_the_documented_page_works(scenario: Scenario) -> None:
    """docs/single-page-apps.md: its two files as they stand there, and the client beside them."""
    seen = await scenario("documented-page")

    assert "Log in" in seen["wrong"]
    assert "password" in seen["wrong"].lower()
    assert f"Hello {ADA['email']}." in seen["home"]
    assert "Log in" not in seen["home"]
    assert "away" in seen["away"]  # a logout that did not arrive is said
    assert f"Hello {ADA['email']}." in seen["away"]
    assert not seen["over"]
    assert ["rotated"] == seen["outcomes"]
    refused = "Failed to load resource: the server responded with a status of 503"
    assert [UNAUTHORIZED] == unexpected(seen["complaints"], refused)


@pytest.mark.finding("N10")
async def test_a_page_of_another_origin_registers_and_manages_its_account(
    scenario: Scenario,
) -> None:
    seen = await scenario("account")

    assert ["email_taken", "unauthenticated"] == [seen["again"], seen["nobody"]]
    assert [True, "carol@example.com"] == [seen["same"], seen["email"]]
    assert [[True, False, True], [False, True, False]] == seen["listed"]
    assert None is seen["next"]
    assert ["done", "not_found"] == [seen["ended"], seen["gone"]]
    assert ["current_password_wrong", "done"] == [seen["wrong"], seen["changed"]]
    assert ["done", None] == [seen["own"], seen["session"]]
    assert "invalid_credentials" == seen["refused"]  # with the old password


@pytest.mark.finding("P13")
async def test_a_session_of_another_origin_is_found_where_there_may_be_one(
    scenario: Scenario,
) -> None:
    seen = await scenario("another-origin")

    assert None is seen["without"]
    assert seen["user"] == seen["found"]
