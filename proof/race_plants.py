"""
Builds with a race in them, for the positive controls.

Each public function plants what a service of this kind is known to do wrong, in the process that
calls it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace

from authsvc.protocol.refresh import Verdict, verdict
from authsvc.store import group_commit, logins, refresh_families, rotation
from authsvc.store.hot_statement import HotConnection
from authsvc.store.refresh_families import Family
from authsvc.store.rotation import RotationRequest


def read_then_count() -> None:
    """Rotate in two statements: read and decide, then add one. Two requests decide alike."""
    _rotate_by(
        "UPDATE refresh_families SET generation = generation + 1, rotated_at = clock_timestamp(), "
        "mac_key_id = $2, attempt_digest = $3 WHERE id = $1 RETURNING generation"
    )


def write_the_whole_row() -> None:
    """
    Rotate as an ORM saves an object: what it has read, `revoked_at` included, is written.

    And a live family is brought to its user's epoch, whatever has ended all of them meanwhile.
    """
    _rotate_by(
        "UPDATE refresh_families SET generation = generation + 1, rotated_at = clock_timestamp(), "
        "mac_key_id = $2, attempt_digest = $3, revoked_at = NULL, revoke_reason = NULL, "
        "epoch = (SELECT session_epoch FROM users WHERE users.id = user_id) "
        "WHERE id = $1 RETURNING generation"
    )


def nothing_is_looked_at_twice() -> None:
    """Refresh and login both act on what they read some time ago."""
    write_the_whole_row()
    login_without_a_second_look()


def login_without_a_second_look() -> None:
    """Begin the session although the account may have changed while the password was hashed."""
    statement = logins._create_family(logins.PasswordVerified.condition)
    for condition, nothing in (
        ("users.password_hash = ", "'' <> "),
        ("AND users.disabled_at IS NULL", ""),
        ("FOR SHARE OF users", ""),
    ):
        assert statement.text.count(condition) == 1, condition
        statement.text = statement.text.replace(condition, nothing)


def nobody_goes_together() -> None:
    """Every rotation is one call of `rotation.rotate`, so that a plant there is met."""
    group_commit.MAX_TOGETHER = 1


def _rotate_by(statement: str) -> None:
    async def rotate(connection: HotConnection, request: RotationRequest) -> Family | None:
        loaded = await refresh_families.load(connection, request.token.family_id)
        if loaded is None:
            return None
        family, state = loaded
        found = verdict(
            state,
            request.token,
            attempt_digest=request.digest,
            retry_window=request.lifetimes.retry_window,
            now=family.now,
        )
        if found is not Verdict.ACTIVE:
            return None
        row = await connection.fetchrow(
            statement, family.id, request.successor_key_id, request.digest
        )
        assert row is not None
        return replace(family, generation=row["generation"], mac_key_id=request.successor_key_id)

    planted: Callable[..., Awaitable[Family | None]] = rotate
    setattr(rotation, "rotate", planted)  # noqa: B010 - a patch, and meant as one
    nobody_goes_together()
