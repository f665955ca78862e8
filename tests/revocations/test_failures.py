"""A database that dies, comes back, or is not the primary."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from authsvc.flows.follow_revocations import FollowedRevocations
from authsvc.flows.revoke_key import announce_key
from authsvc.keys.directory import KeyDirectory
from authsvc.protocol.errors import DatabaseUnavailable, Unauthenticated
from authsvc.store import revocation_log
from authsvc.store.database import Database
from authsvc_client.tokens.revocations import digest
from tests.conftest import MOMENT, START, database_at
from tests.revocations.conftest import ISSUER, Process, at, claims
from tests.support.key_material import kid
from tests.support.own_postgres import own_postgres


@pytest.mark.requirement("D3", "D7", "Z1", "Z2")
async def test_a_server_that_is_killed_and_comes_back_begins_an_epoch_and_has_lost_nothing(
    keys_dir: Path,
) -> None:
    keys = KeyDirectory(keys_dir, passphrase=None, strict_modes=False)
    keys.load(START)
    async with own_postgres() as postgres:
        db = await Database.open(postgres.url, now=MOMENT.get)
        known = FollowedRevocations(db, keys, issuer=ISSUER, monotonic=lambda: 0.0)
        process = Process(known, keys)
        with database_at(START):
            await announce_key(db, kid(2))
        await process.look(5)
        before = process.feed(5)

        postgres.signal(signal.SIGKILL)
        assert await _refused(process)
        assert before == process.feed(15)
        with pytest.raises(Unauthenticated):
            process.known.check(claims(kid=kid(2)), now=at(15))

        await postgres.start()
        await process.look(20)
        after = process.feed(20)
        await db.close()

    assert before.epoch != after.epoch
    assert (at(20), before.seq, before.entries) == (after.iat, after.seq, after.entries)
    assert [digest(kid(2))] == [entry.digest for entry in after.entries]


async def _refused(process: Process) -> bool:
    """Look until the kernel has ended the server, which may take it a moment."""
    while True:
        try:
            await process.look(5)  # while it still answers, the step stays the same
        except DatabaseUnavailable:
            return True


@pytest.mark.requirement("Z2")
def test_a_standby_is_not_believed() -> None:
    """It answers, and does not know the latest."""
    with pytest.raises(DatabaseUnavailable, match="a standby"):
        revocation_log._look([{"standby": True, "seq": None}])
