"""`authsvc keys revoke` tells the revocation feed before it deletes anything."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from authsvc.store.database import Database
from authsvc_client.tokens.revocations import Kind, digest
from tests.cli.conftest import Command
from tests.support.key_material import kid, put_mac, put_signing
from tests.support.revocation_entries import entries

YESTERDAY = datetime.now(UTC) - timedelta(days=1)


@dataclass(frozen=True)
class Leaked:
    """The file of the key that signs."""

    path: Path

    def is_there(self) -> bool:
        return self.path.exists()


@pytest.fixture
def leaked(tmp_path: Path) -> Leaked:
    put_mac(tmp_path / "keys", YESTERDAY)
    return Leaked(tmp_path / "keys" / put_signing(tmp_path / "keys", YESTERDAY))


@pytest.fixture
def mac_file(leaked: Leaked) -> str:
    return next(leaked.path.parent.glob("refresh-*.key")).name


@pytest.mark.requirement("K3", "D7")
async def test_a_revoked_key_is_announced(authsvc: Command, db: Database, leaked: Leaked) -> None:
    done = await authsvc("keys", "revoke", kid(0))

    assert (0, "") == (done.code, done.err)
    assert not leaked.is_there()
    assert [(Kind.KID, digest(kid(0)), None)] == await entries(db)


async def test_a_mac_key_is_nobody_elses_business(
    authsvc: Command, db: Database, mac_file: str
) -> None:
    done = await authsvc("keys", "revoke", mac_file)

    assert (0, []) == (done.code, await entries(db))


@pytest.mark.requirement("K3", "D7")
async def test_if_the_database_cannot_be_told_the_key_stays_and_the_command_says_so(
    run: Command, environment: pytest.MonkeyPatch, leaked: Leaked
) -> None:
    environment.setenv("AUTHSVC_DATABASE_URL", "postgresql://nobody@127.0.0.1:1/nowhere")

    refused = await run("keys", "revoke", kid(0))

    assert (1, "") == (refused.code, refused.out)
    assert "The key is still there" in refused.err
    assert "--without-feed" in refused.err
    assert leaked.is_there()


@pytest.mark.requirement("K3")
async def test_in_an_emergency_a_key_goes_without_the_feed(
    run: Command, environment: pytest.MonkeyPatch, leaked: Leaked
) -> None:
    environment.setenv("AUTHSVC_DATABASE_URL", "postgresql://nobody@127.0.0.1:1/nowhere")

    done = await run("keys", "revoke", kid(0), "--without-feed")

    assert 0 == done.code
    assert "The revocation feed was not told" in done.err
    assert not leaked.is_there()


async def test_where_there_is_no_database_there_is_no_feed(run: Command, leaked: Leaked) -> None:
    done = await run("keys", "revoke", kid(0))

    assert 0 == done.code
    assert "The revocation feed was not told" in done.err
    assert not leaked.is_there()
