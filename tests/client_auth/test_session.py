"""A native session: one key for each refresh, stored first and repeated; one refresh at a time."""

from __future__ import annotations

import asyncio
import json
import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from authsvc_client.session import (
    AuthsvcUnavailable,
    FileStore,
    LoginRefused,
    MemoryStore,
    NativeSession,
    NotLoggedIn,
    RequestRefused,
    SessionEnded,
    StoreDamaged,
)
from tests.client_auth.conftest import Authsvc, NewSession
from tests.support.live import EMAIL, PASSWORD


async def token(session: NativeSession, **options: Any) -> str:
    return await asyncio.to_thread(session.access_token, **options)


def stored(file: Path) -> dict[str, Any]:
    members: dict[str, Any] = json.loads(file.read_text())
    return members


async def test_a_token_is_used_for_four_fifths_of_its_life(
    session: NativeSession, authsvc: Authsvc
) -> None:
    first = await token(session)
    authsvc.clock.advance(seconds=719)
    assert first == await token(session)
    assert [] == authsvc.gateway.refreshes

    authsvc.clock.advance(seconds=2)
    second = await token(session)

    assert first != second
    assert ["rotated"] == authsvc.gateway.answers
    assert 1 == await authsvc.sessions(second)


async def test_a_session_outlives_the_program(
    session: NativeSession, new_session: NewSession, authsvc: Authsvc
) -> None:
    first = await token(session)

    assert first == await token(new_session())
    authsvc.clock.advance(hours=1)
    second = await token(new_session())
    assert second == await token(session)

    assert ["rotated"] == authsvc.gateway.answers


@pytest.mark.requirement("R3")
async def test_a_lost_answer_is_fetched_again_with_the_same_key(
    session: NativeSession, authsvc: Authsvc
) -> None:
    authsvc.clock.advance(hours=1)
    authsvc.gateway.lose = 3

    assert await token(session)

    assert ["rotated", "replayed", "replayed", "replayed"] == authsvc.gateway.answers
    assert 1 == len(set(authsvc.gateway.refreshes))
    assert [1, 2, 4] == authsvc.clock.pauses


@pytest.mark.requirement("R3")
async def test_the_key_is_on_the_disk_before_it_is_sent(
    session: NativeSession, new_session: NewSession, authsvc: Authsvc, file: Path
) -> None:
    """A program that ends before the answer: the next one repeats its key, hours later."""
    authsvc.clock.advance(hours=1)
    authsvc.gateway.lose = 100
    with pytest.raises(AuthsvcUnavailable):
        await token(session)
    key = stored(file)["attempt_key"]
    assert {key} == {sent for sent, _ in authsvc.gateway.refreshes}
    assert not stored(file)["answered"]

    authsvc.gateway.lose = 0
    authsvc.clock.advance(hours=5)
    assert await token(new_session())

    assert "replayed" == authsvc.gateway.answers[-1]
    assert key == authsvc.gateway.refreshes[-1][0]
    assert stored(file)["answered"]


async def test_every_token_is_spent_with_a_key_of_its_own(
    session: NativeSession, authsvc: Authsvc
) -> None:
    for _ in range(4):
        authsvc.clock.advance(hours=1)
        await token(session)

    keys = [key for key, _ in authsvc.gateway.refreshes]
    assert ["rotated"] * 4 == authsvc.gateway.answers
    assert 4 == len(set(keys))
    assert all(len(key) == 32 for key in keys)


@pytest.mark.requirement("R3")
async def test_the_last_key_is_repeated_in_the_first_refresh_after_a_start(
    session: NativeSession, new_session: NewSession, authsvc: Authsvc
) -> None:
    authsvc.clock.advance(hours=1)
    await token(session)
    restarted = new_session()
    for _ in range(2):
        authsvc.clock.advance(hours=1)
        await token(restarted)

    last, first, second = (key for key, _ in authsvc.gateway.refreshes)
    assert last == first
    assert first != second
    assert ["rotated"] * 3 == authsvc.gateway.answers


@pytest.mark.requirement("R3")
async def test_a_store_that_was_put_back_to_the_pending_token_goes_on(
    session: NativeSession, new_session: NewSession, authsvc: Authsvc, file: Path
) -> None:
    """A crash that undoes the write of the answer, though the program had seen it."""
    authsvc.clock.advance(hours=1)
    authsvc.gateway.lose = 1
    authsvc.clock.on_pause = lambda: shutil.copy(file, file.with_suffix(".before"))
    await token(session)
    file.with_suffix(".before").replace(file)

    authsvc.clock.advance(hours=1)
    assert await token(new_session())

    assert ["rotated", "replayed", "replayed"] == authsvc.gateway.answers


async def test_threads_and_tasks_share_one_refresh(
    session: NativeSession, authsvc: Authsvc
) -> None:
    authsvc.clock.advance(hours=1)

    found = await asyncio.gather(*(token(session) for _ in range(20)))

    assert 1 == len(set(found))
    assert ["rotated"] == authsvc.gateway.answers


async def test_sessions_of_one_file_share_one_refresh(
    session: NativeSession, new_session: NewSession, authsvc: Authsvc
) -> None:
    await token(session)
    authsvc.clock.advance(hours=1)

    found = await asyncio.gather(*(token(new_session()) for _ in range(8)))

    assert 1 == len(set(found))
    assert ["rotated"] == authsvc.gateway.answers


def _in_a_process(origin: str, file: Path, refused: str) -> str:
    """What another program does; it has the machine's clock."""
    session = NativeSession(origin, FileStore(file))
    return str(session.access_token(refused=refused))


async def test_processes_of_one_file_share_one_refresh(
    authsvc: Authsvc, session: NativeSession, file: Path
) -> None:
    first = await token(session)
    with ProcessPoolExecutor(4, mp_context=multiprocessing.get_context("spawn")) as pool:
        loop = asyncio.get_running_loop()
        work = (authsvc.origin, file, str(first))
        found = await asyncio.gather(
            *(loop.run_in_executor(pool, _in_a_process, *work) for _ in range(4))
        )

    assert 1 == len(set(found))
    assert first not in found
    assert ["rotated"] == authsvc.gateway.answers


async def test_a_program_that_is_killed_in_a_refresh_loses_no_session(
    authsvc: Authsvc, session: NativeSession, new_session: NewSession, file: Path
) -> None:
    """By kill -9, after the service has committed, before its answer is stored."""
    first = await token(session)
    authsvc.gateway.lose = 10**6
    code = (
        "import sys; from pathlib import Path;"
        "from authsvc_client.session import FileStore, NativeSession;"
        "NativeSession(sys.argv[1], FileStore(sys.argv[2])).access_token(refused=sys.argv[3])"
    )
    victim = subprocess.Popen([sys.executable, "-c", code, authsvc.origin, str(file), first])
    while not authsvc.gateway.answers:
        await asyncio.sleep(0.005)
    os.kill(victim.pid, signal.SIGKILL)
    await asyncio.to_thread(victim.wait)
    authsvc.gateway.lose = 0

    assert await token(new_session(), refused=str(first))

    assert {"rotated", "replayed"} == set(authsvc.gateway.answers)
    assert "replayed" == authsvc.gateway.answers[-1]


async def test_whoever_gives_up_waiting_loses_no_rotation(
    session: NativeSession, authsvc: Authsvc, file: Path
) -> None:
    authsvc.clock.advance(hours=1)

    impatient = asyncio.create_task(token(session))
    while not authsvc.gateway.answers:
        await asyncio.sleep(0)
    impatient.cancel()
    await asyncio.wait({impatient})
    second = await token(session)

    assert ["rotated"] == authsvc.gateway.answers
    assert second == stored(file)["access_token"]


@pytest.mark.parametrize(
    "answer",
    [
        (503, {"Retry-After": "7"}, b""),
        (500, {}, b"Internal Server Error"),
        (429, {}, b""),
        (302, {"Location": "http://hotel.test/login"}, b""),
        (200, {}, b"<html>Welcome to our hotel</html>"),
        (200, {}, b'{"access_token":"x"}'),
    ],
    ids=str,
)
async def test_an_answer_that_says_nothing_about_the_token_is_asked_for_again(
    answer: tuple[int, dict[str, str], bytes], session: NativeSession, authsvc: Authsvc
) -> None:
    authsvc.clock.advance(hours=1)
    authsvc.gateway.instead = [answer]

    assert await token(session)

    assert ["rotated"] == authsvc.gateway.answers
    assert 1 == len(set(authsvc.gateway.refreshes))
    assert [float(answer[1].get("Retry-After", 1))] == authsvc.clock.pauses


async def test_authsvc_away_loses_nothing(session: NativeSession, authsvc: Authsvc) -> None:
    authsvc.clock.advance(hours=1)
    authsvc.gateway.instead = [(503, {}, b"")] * 10

    with pytest.raises(AuthsvcUnavailable, match="nothing is lost"):
        await token(session)
    assert sum(authsvc.clock.pauses) <= 30
    authsvc.gateway.instead = []

    assert await token(session)


async def test_a_token_that_still_works_is_not_withheld_while_authsvc_is_away(
    session: NativeSession, authsvc: Authsvc
) -> None:
    """Nor is its renewal tried for every request, or waited for."""
    first = await token(session)
    authsvc.clock.advance(seconds=800)
    authsvc.gateway.instead = [(503, {}, b"")] * 10

    for _ in range(5):
        assert first == await token(session)
        authsvc.clock.advance(seconds=1)
    assert 1 == len(authsvc.gateway.refreshes)

    authsvc.clock.advance(seconds=30)
    authsvc.gateway.instead = []
    assert first != await token(session)
    assert [] == authsvc.clock.pauses


async def test_a_session_that_has_ended_is_forgotten(
    session: NativeSession, new_session: NewSession, authsvc: Authsvc, file: Path
) -> None:
    access = await token(session)
    await authsvc.as_user("POST", "/auth/logout", access)

    with pytest.raises(SessionEnded):
        await token(session, refused=access)

    assert not file.exists()
    for later in (session, new_session()):
        with pytest.raises(NotLoggedIn):
            await token(later)
    assert 1 == len(authsvc.gateway.refreshes)


@pytest.mark.parametrize(
    ("status", "body", "code"),
    [
        (401, b"<html>proxy</html>", "status 401"),
        (401, b'{"code":"unauthenticated"}', "unauthenticated"),
        (403, b'{"code":"csrf_failed","detail":"why"}', "csrf_failed"),
        (422, b'{"code":"validation_error"}', "validation_error"),
        (400, b'{"code":7}', "status 400"),
    ],
)
async def test_only_the_refusal_of_the_token_itself_ends_a_session(
    status: int, body: bytes, code: str, session: NativeSession, authsvc: Authsvc
) -> None:
    authsvc.clock.advance(hours=1)
    authsvc.gateway.instead = [(status, {}, body)]

    with pytest.raises(RequestRefused) as refusal:
        await token(session)

    assert code == refusal.value.code
    assert await token(session)


async def test_a_login_can_be_refused(session: NativeSession, new_session: NewSession) -> None:
    """And leaves the session that was there."""
    before = await token(session)

    with pytest.raises(LoginRefused) as refusal:
        await asyncio.to_thread(new_session().login, EMAIL, "not this one")

    assert "invalid_credentials" == refusal.value.code
    assert "password is wrong" in refusal.value.description
    assert before == await token(session)
    assert PASSWORD not in repr(refusal.value)


async def test_a_new_login_ends_the_one_before(
    session: NativeSession, authsvc: Authsvc, file: Path
) -> None:
    before = stored(file)["refresh_token"]

    await asyncio.to_thread(session.login, EMAIL, PASSWORD)

    assert before != stored(file)["refresh_token"]
    assert 1 == await authsvc.sessions(await token(session))


async def test_logout_ends_the_session_there_and_here(
    session: NativeSession, authsvc: Authsvc, file: Path
) -> None:
    access = await token(session)

    await asyncio.to_thread(session.logout)
    await asyncio.to_thread(session.logout)

    assert not file.exists()
    assert 401 == (await authsvc.as_user("GET", "/auth/me", access)).status_code
    with pytest.raises(NotLoggedIn):
        await token(session)


async def test_a_logout_that_nobody_hears_can_be_repeated(
    session: NativeSession, file: Path, new_session: NewSession
) -> None:
    deaf = NativeSession("http://127.0.0.1:1", MemoryStore())
    with pytest.raises(AuthsvcUnavailable):
        await asyncio.to_thread(deaf.login, EMAIL, PASSWORD)
    assert file.exists()

    await asyncio.to_thread(session.forget)

    assert not file.exists()
    with pytest.raises(NotLoggedIn):
        await token(new_session())


async def test_memory_will_do_for_a_program_that_runs_on(
    new_session: NewSession, authsvc: Authsvc
) -> None:
    session = new_session(store=MemoryStore())
    await asyncio.to_thread(session.login, EMAIL, PASSWORD)
    authsvc.clock.advance(hours=1)

    found = await asyncio.gather(*(token(session) for _ in range(10)))

    assert 1 == len(set(found))
    assert ["rotated"] == authsvc.gateway.answers


async def test_a_file_of_another_issuer_is_not_used(session: NativeSession, file: Path) -> None:
    """Its tokens must not be sent to somebody else."""
    await token(session)
    other = NativeSession("http://127.0.0.1:1", FileStore(file))

    with pytest.raises(StoreDamaged, match="a session of http://localhost"):
        await token(other)


@pytest.mark.parametrize("issuer", ["http://auth.example.com", "auth.example.com", "ftp://x"])
def test_tokens_travel_by_https_only(issuer: str) -> None:
    with pytest.raises(ValueError, match="issuer must begin with https"):
        NativeSession(issuer, MemoryStore())


@pytest.mark.finding("P29")
@pytest.mark.parametrize(
    ("name", "value", "named"),
    [
        ("ALL_PROXY", "socks5://127.0.0.1:1", "the proxy socks5://127.0.0.1:1"),
        ("ALL_PROXY", "http://me:secret@127.0.0.1:1", "the proxy http://127.0.0.1:1"),
        ("ALL_PROXY", "gopher://127.0.0.1:1", "the proxy gopher://127.0.0.1:1"),
        ("SSL_CERT_FILE", "/nonexistent", "SSL_CERT_FILE"),
    ],
)
def test_what_the_environment_breaks_is_an_unavailability_with_its_cause(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str, value: str, named: str
) -> None:
    monkeypatch.setenv(name, value)
    session = NativeSession("https://auth.example.com", FileStore(tmp_path / "session"))

    with pytest.raises(AuthsvcUnavailable) as refused:
        session.login("alice@example.com", "a password")

    assert named in str(refused.value)
    assert "secret" not in str(refused.value)
