"""CONTRACT §5.3, rule by rule, over HTTP."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from uuid import UUID

import httpx
import pytest
from sqlmodel import col, select, update

from authsvc.protocol.audit import AuditEvent
from authsvc.protocol.refresh import RefreshToken
from authsvc.store.database import Database
from authsvc.store.tables import AuditRecord, RefreshFamily
from tests.conftest import Statements
from tests.http.conftest import ClientFactory, MovableClock, log_in, me, refresh

KEY = "6a1e0d1a2f6c4e0b9d3f"
WINDOW = timedelta(seconds=10)
pytestmark = pytest.mark.usefixtures("alice")


async def cookie_login(client: httpx.AsyncClient) -> str:
    """A cookie session; returns the refresh token and empties the jar, so that tests hold it."""
    await log_in(client, "spa")
    token = client.cookies["authsvc_refresh"]
    client.cookies.clear()
    return token


async def audit_events(db: Database) -> list[str]:
    async with db.transaction() as session:
        records = await session.exec(select(AuditRecord.event).order_by(col(AuditRecord.at)))
        return list(records.all())


async def set_generation(db: Database, session_id: str, generation: int) -> None:
    """What a failover that lost commits, or a restored backup, does to a row."""
    async with db.transaction() as session:
        await session.exec(
            update(RefreshFamily)
            .where(col(RefreshFamily.id) == UUID(session_id))
            .values(generation=generation)
        )


@pytest.mark.requirement("R1")
async def test_a_refresh_rotates_and_the_successor_works(client: httpx.AsyncClient) -> None:
    first = (await log_in(client)).json()

    second = await refresh(client, first["refresh_token"])
    third = await refresh(client, second.json()["refresh_token"])

    assert ["rotated", "rotated"] == [a.headers["authsvc-refresh"] for a in (second, third)]
    assert 3 == len({a["refresh_token"] for a in (first, second.json(), third.json())})
    assert first["session_id"] == third.json()["session_id"]
    assert 200 == (await me(client, third.json()["access_token"])).status_code


@pytest.mark.requirement("R3")
async def test_the_same_idempotency_key_replays_the_same_successor_hours_later(
    client: httpx.AsyncClient, clock: MovableClock
) -> None:
    first = (await log_in(client)).json()["refresh_token"]
    lost = await refresh(client, first, key=KEY)
    clock.advance(timedelta(hours=20))

    retried = await refresh(client, first, key=KEY)

    assert 200 == retried.status_code
    assert "replayed" == retried.headers["authsvc-refresh"]
    assert lost.json()["refresh_token"] == retried.json()["refresh_token"]
    assert lost.json()["access_token"] != retried.json()["access_token"]
    assert 200 == (await refresh(client, retried.json()["refresh_token"])).status_code


async def test_the_same_idempotency_key_replays_a_cookie_long_after_the_window(
    client: httpx.AsyncClient, clock: MovableClock
) -> None:
    first = await cookie_login(client)
    lost = await refresh(client, cookie=first, key=KEY)
    clock.advance(timedelta(days=2))
    client.cookies.clear()

    retried = await refresh(client, cookie=first, key=KEY)

    assert "replayed" == retried.headers["authsvc-refresh"]
    assert lost.cookies["authsvc_refresh"] == retried.cookies["authsvc_refresh"]


@pytest.mark.requirement("R2")
async def test_another_idempotency_key_does_not_excuse_reuse(client: httpx.AsyncClient) -> None:
    first = (await log_in(client)).json()["refresh_token"]
    await refresh(client, first, key=KEY)

    reused = await refresh(client, first, key=KEY[::-1])

    assert 401 == reused.status_code


async def test_a_later_rotation_forgets_the_key_of_the_one_before(
    client: httpx.AsyncClient, clock: MovableClock
) -> None:
    first = await cookie_login(client)
    second = (await refresh(client, cookie=first, key=KEY)).cookies["authsvc_refresh"]
    clock.advance(WINDOW)
    await refresh(client, cookie=second)
    clock.advance(WINDOW)

    assert 401 == (await refresh(client, cookie=second, key=KEY)).status_code


async def test_inside_the_window_the_newest_cookie_is_kept(
    client: httpx.AsyncClient, clock: MovableClock
) -> None:
    first = await cookie_login(client)
    second = (await refresh(client, cookie=first)).cookies["authsvc_refresh"]
    clock.advance(WINDOW - timedelta(microseconds=1))

    kept = await refresh(client, cookie=second)

    assert 200 == kept.status_code
    assert "kept" == kept.headers["authsvc-refresh"]
    assert "set-cookie" not in kept.headers
    assert kept.json()["access_token"]


async def test_after_the_window_the_newest_cookie_rotates(
    client: httpx.AsyncClient, clock: MovableClock
) -> None:
    first = await cookie_login(client)
    second = (await refresh(client, cookie=first)).cookies["authsvc_refresh"]
    clock.advance(WINDOW)

    rotated = await refresh(client, cookie=second)

    assert "rotated" == rotated.headers["authsvc-refresh"]


async def test_two_tabs_inside_the_window_get_the_same_successor(
    client: httpx.AsyncClient, clock: MovableClock
) -> None:
    first = await cookie_login(client)
    one = await refresh(client, cookie=first)
    clock.advance(WINDOW - timedelta(microseconds=1))

    other = await refresh(client, cookie=first)

    assert "replayed" == other.headers["authsvc-refresh"]
    assert one.cookies["authsvc_refresh"] == other.cookies["authsvc_refresh"]


@pytest.mark.requirement("R2")
async def test_after_the_window_the_cookie_before_is_reuse(
    client: httpx.AsyncClient, clock: MovableClock
) -> None:
    first = await cookie_login(client)
    second = (await refresh(client, cookie=first)).cookies["authsvc_refresh"]
    clock.advance(WINDOW)

    reused = await refresh(client, cookie=first)

    assert 401 == reused.status_code
    assert 401 == (await refresh(client, cookie=second)).status_code


@pytest.mark.settings(refresh_retry_window=timedelta(0))
async def test_a_window_of_zero_makes_a_second_tab_reuse(client: httpx.AsyncClient) -> None:
    first = await cookie_login(client)
    await refresh(client, cookie=first)

    assert 401 == (await refresh(client, cookie=first)).status_code


@pytest.mark.requirement("R2", "D5")
async def test_a_body_token_presented_twice_without_the_key_revokes_at_once(
    client: httpx.AsyncClient, db: Database
) -> None:
    first = (await log_in(client)).json()["refresh_token"]
    second = (await refresh(client, first)).json()

    reused = await refresh(client, first)
    successor = await refresh(client, second["refresh_token"])

    assert "invalid_refresh_token" == reused.json()["code"]
    assert "invalid_refresh_token" == successor.json()["code"]
    assert 401 == (await me(client, second["access_token"])).status_code
    assert 1 == (await audit_events(db)).count(AuditEvent.REFRESH_TOKEN_REUSED)


@pytest.mark.requirement("R2", "R9")
@pytest.mark.parametrize("generation", [0, 1, 2])
async def test_reuse_of_any_older_generation_revokes_this_family_and_no_other(
    client: httpx.AsyncClient, generation: int
) -> None:
    other = (await log_in(client)).json()["refresh_token"]
    tokens = [(await log_in(client)).json()["refresh_token"]]
    for _ in range(3):
        tokens.append((await refresh(client, tokens[-1])).json()["refresh_token"])

    reused = await refresh(client, tokens[generation])

    assert 401 == reused.status_code
    assert 401 == (await refresh(client, tokens[-1])).status_code
    assert 200 == (await refresh(client, other)).status_code


@pytest.mark.requirement("R2")
async def test_the_audit_of_reuse_names_both_parties(
    new_client: ClientFactory, client: httpx.AsyncClient, db: Database, clock: MovableClock
) -> None:
    honest = new_client("198.51.100.1", headers={"user-agent": "honest"})
    thief = new_client("192.0.2.66", headers={"user-agent": "thief"})
    first = (await log_in(client)).json()["refresh_token"]
    second = (await refresh(honest, first)).json()["refresh_token"]
    await refresh(honest, second)
    clock.advance(timedelta(minutes=2))

    await refresh(thief, first)

    async with db.transaction() as session:
        query = select(AuditRecord).where(AuditRecord.event == AuditEvent.REFRESH_TOKEN_REUSED)
        record = (await session.exec(query)).one()
    expected: dict[str, Any] = {
        "reason": "reuse",
        "generation": 2,
        "presented_generation": 0,
        "seconds_since_rotation": 120,
        "last_ip": "198.51.100.1",
        "last_user_agent": "honest",
    }
    assert ("192.0.2.66", "thief") == (record.ip, record.user_agent)
    assert expected == record.details


@pytest.mark.requirement("R10", "R12")
async def test_the_wrong_transport_is_refused_without_sql_and_changes_nothing(
    client: httpx.AsyncClient, statements: Statements
) -> None:
    body_token = (await log_in(client)).json()["refresh_token"]
    cookie_token = await cookie_login(client)
    statements.clear()

    refused = [
        await refresh(client, cookie=body_token),
        await refresh(client, cookie_token),
    ]

    assert 0 == len(statements)
    assert [401, 401] == [answer.status_code for answer in refused]
    assert 200 == (await refresh(client, body_token)).status_code
    assert 200 == (await refresh(client, cookie=cookie_token)).status_code


@pytest.mark.requirement("R10")
async def test_forged_truncated_and_mutated_tokens_cost_no_sql(
    client: httpx.AsyncClient, statements: Statements
) -> None:
    token = (await log_in(client)).json()["refresh_token"]
    middle = len(token) // 2
    flipped = "A" if token[middle] != "A" else "B"
    statements.clear()

    forged = [
        token[:-1],
        token[: len(token) // 2],
        token + "A",
        token[:middle] + flipped + token[middle + 1 :],
        token.replace("art1.", "art2."),
        token.removeprefix("art1."),
        "art1." + "A" * (len(token) - 5),
        "x" * 60_000,
        "",
        "ünïcode",
    ]
    statuses = {(await refresh(client, presented)).status_code for presented in forged}

    assert {401} == statuses
    assert 0 == len(statements)
    assert 200 == (await refresh(client, token)).status_code


@pytest.mark.requirement("E1", "R2")
async def test_refusals_look_alike(
    client: httpx.AsyncClient, clock: MovableClock, db: Database
) -> None:
    reused = (await log_in(client)).json()["refresh_token"]
    await refresh(client, reused)
    revoked = (await log_in(client)).json()["refresh_token"]
    await client.post("/auth/logout", json={"refresh_token": revoked})
    far_ahead = (await log_in(client)).json()
    newest = far_ahead["refresh_token"]
    for _ in range(3):
        newest = (await refresh(client, newest)).json()["refresh_token"]
    await set_generation(db, far_ahead["session_id"], 0)
    expired = (await log_in(client)).json()["refresh_token"]

    answers = [
        await refresh(client, "art1.garbage"),
        await refresh(client, reused),
        await refresh(client, revoked),
        await refresh(client, newest),
        await refresh(client, cookie=reused),
        await refresh(client),
    ]
    clock.advance(timedelta(days=8))
    answers.append(await refresh(client, expired))

    looks = set()
    for answer in answers:
        problem = answer.json()
        instance = problem.pop("instance")
        headers = {k: v for k, v in answer.headers.items() if k != "x-request-id"}
        assert instance.endswith(answer.headers["x-request-id"])
        looks.add((answer.status_code, str(sorted(problem.items())), str(sorted(headers.items()))))
    assert 1 == len(looks), looks


@pytest.mark.requirement("R8")
async def test_a_session_idles_out_and_each_rotation_slides_that(
    client: httpx.AsyncClient, clock: MovableClock
) -> None:
    token = (await log_in(client)).json()["refresh_token"]
    for _ in range(3):
        clock.advance(timedelta(days=6))
        token = (await refresh(client, token)).json()["refresh_token"]
    clock.advance(timedelta(days=7))

    assert 401 == (await refresh(client, token)).status_code


@pytest.mark.requirement("R8")
async def test_the_absolute_expiry_never_moves(
    client: httpx.AsyncClient, clock: MovableClock
) -> None:
    login = (await log_in(client)).json()
    token = login["refresh_token"]
    for _ in range(4):
        clock.advance(timedelta(days=6))
        answer = (await refresh(client, token)).json()
        token = answer["refresh_token"]
        assert login["session_expires_at"] == answer["session_expires_at"]
    clock.advance(timedelta(days=5))
    last = (await refresh(client, token)).json()
    assert timedelta(days=1).total_seconds() == last["refresh_expires_in"]
    clock.advance(timedelta(days=1))

    assert 401 == (await refresh(client, last["refresh_token"])).status_code


@pytest.mark.requirement("R9")
@pytest.mark.parametrize("lost", [1, 2])
async def test_one_or_two_generations_ahead_is_healed_and_audited(
    client: httpx.AsyncClient, db: Database, lost: int
) -> None:
    login = (await log_in(client)).json()
    token = login["refresh_token"]
    for _ in range(4):
        token = (await refresh(client, token)).json()["refresh_token"]
    await set_generation(db, login["session_id"], 4 - lost)

    healed = await refresh(client, token, key=KEY)
    retried = await refresh(client, token, key=KEY)
    onwards = await refresh(client, healed.json()["refresh_token"])

    assert [200, 200, 200] == [a.status_code for a in (healed, retried, onwards)]
    assert healed.json()["refresh_token"] == retried.json()["refresh_token"]
    assert 1 == (await audit_events(db)).count(AuditEvent.DATABASE_ROLLBACK_DETECTED)


@pytest.mark.requirement("R9")
async def test_further_ahead_is_refused_changes_nothing_and_is_audited_once(
    client: httpx.AsyncClient, db: Database
) -> None:
    login = (await log_in(client)).json()
    tokens = [login["refresh_token"]]
    for _ in range(5):
        tokens.append((await refresh(client, tokens[-1])).json()["refresh_token"])
    await set_generation(db, login["session_id"], 2)

    refused = [await refresh(client, tokens[5]) for _ in range(2)]

    assert [401, 401] == [answer.status_code for answer in refused]
    assert 1 == (await audit_events(db)).count(AuditEvent.GENERATION_FAR_AHEAD)
    assert 200 == (await refresh(client, tokens[2])).status_code


async def test_no_refusal_of_a_refresh_touches_a_cookie(
    client: httpx.AsyncClient, clock: MovableClock
) -> None:
    first = await cookie_login(client)
    second = (await refresh(client, cookie=first)).cookies["authsvc_refresh"]
    clock.advance(WINDOW)

    refused = [
        await refresh(client, cookie=first),
        await refresh(client, cookie=second),
        await refresh(client, cookie="garbage"),
        await refresh(client, "body", cookie=second),
        await refresh(client, cookie=second, origin="https://evil.example"),
        await refresh(client, cookie=second, key="short"),
    ]

    assert [401, 401, 401, 400, 403, 422] == [answer.status_code for answer in refused]
    assert not any("set-cookie" in answer.headers for answer in refused)


async def test_cookie_and_body_token_together_are_refused(client: httpx.AsyncClient) -> None:
    token = (await log_in(client)).json()["refresh_token"]

    refused = await refresh(client, token, cookie="anything")

    assert (400, "duplicate_credentials") == (refused.status_code, refused.json()["code"])
    assert 200 == (await refresh(client, token)).status_code


@pytest.mark.parametrize(
    "key", ["short", "x" * 256, "has a space in it", "n\u00f6t ascii at all"], ids=str
)
async def test_a_malformed_idempotency_key_is_refused_and_spends_nothing(
    client: httpx.AsyncClient, key: str
) -> None:
    token = (await log_in(client)).json()["refresh_token"]

    refused = await client.post(
        "/auth/refresh",
        json={"refresh_token": token},
        headers=[(b"idempotency-key", key.encode("latin-1"))],
    )

    assert (422, "validation_error") == (refused.status_code, refused.json()["code"])
    assert key not in refused.text
    assert 200 == (await refresh(client, token)).status_code


async def test_a_second_idempotency_key_header_is_refused(client: httpx.AsyncClient) -> None:
    token = (await log_in(client)).json()["refresh_token"]

    refused = await client.post(
        "/auth/refresh",
        json={"refresh_token": token},
        headers=[("idempotency-key", KEY), ("idempotency-key", KEY)],
    )

    assert 422 == refused.status_code


async def test_a_refresh_is_one_statement_and_no_transaction(
    client: httpx.AsyncClient, statements: Statements
) -> None:
    token = (await log_in(client)).json()["refresh_token"]
    statements.clear()

    await refresh(client, token)

    assert 1 == len(statements), list(statements)


async def test_a_login_is_two_statements(client: httpx.AsyncClient, statements: Statements) -> None:
    await log_in(client)
    statements.clear()

    await log_in(client)

    assert 2 == len(statements), list(statements)


async def test_a_rotation_is_a_hot_update(client: httpx.AsyncClient, app: Any) -> None:
    """No index is touched, so the table does not grow with every refresh."""
    token = (await log_in(client)).json()["refresh_token"]
    await refresh(client, token)

    # The connection that rotated: statistics are flushed by whoever has them.
    async with app.state.service.db.autocommit() as connection:
        await connection.fetchrow("SELECT pg_stat_force_next_flush()")
        row = await connection.fetchrow(
            "SELECT n_tup_upd, n_tup_hot_upd FROM pg_stat_user_tables"
            " WHERE relname = 'refresh_families'"
        )

    assert row is not None
    assert (1, 1) == (row["n_tup_upd"], row["n_tup_hot_upd"])


@pytest.mark.requirement("R13", "T14")
async def test_a_mac_key_is_deleted_every_family_it_sealed_ends(
    client: httpx.AsyncClient, app: Any, clock: MovableClock
) -> None:
    """The emergency for a leaked MAC key."""
    token = (await log_in(client)).json()["refresh_token"]
    service = app.state.service
    opened = service.keys.open_refresh_token(token, now=clock.now())
    assert isinstance(opened, RefreshToken)
    for file in service.settings.keys_dir.glob("refresh-*.key"):
        file.rename(file.with_suffix(".gone"))
    service.keys.reload(clock.now())

    refused = await refresh(client, token)

    assert refused.status_code in {401, 503}


@pytest.mark.requirement("R1", "R3", "R6")
async def test_a_late_copy_of_a_request_ends_nothing(client: httpx.AsyncClient) -> None:
    """F08, F11: the network delivers it when its client has repeated it and gone on."""
    token = (await log_in(client)).json()["refresh_token"]
    first, second = "the-first-attempt-1", "the-second-attempt-2"
    after = (await refresh(client, token, key=first)).json()["refresh_token"]
    newest = (await refresh(client, after, key=second)).json()["refresh_token"]

    late = await refresh(client, token, key=first)

    assert 503 == late.status_code
    assert 200 == (await refresh(client, newest)).status_code
    # Without its key it is what a thief has.
    assert 401 == (await refresh(client, token)).status_code
