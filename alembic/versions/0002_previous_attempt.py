"""
The attempt before the last one; no CHECK constraints on the row that every refresh writes.

Revision: 0002. Adds a column without a default and drops constraints: both take a moment, whatever
the size of the table, and the version before this one works with either schema.
"""

import sqlalchemy as sa

from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

CHECKS = {
    "delivery": "delivery IN ('spa', 'native', 'web')",
    "revocation": "(revoked_at IS NULL) = (revoke_reason IS NULL)",
    "generation": "generation >= 0",
}


def upgrade() -> None:
    op.add_column(
        "refresh_families", sa.Column("previous_attempt_digest", sa.LargeBinary(), nullable=True)
    )
    for name in CHECKS:
        op.drop_constraint(op.f(f"ck_refresh_families_{name}"), "refresh_families", type_="check")


def downgrade() -> None:
    for name, condition in CHECKS.items():
        op.create_check_constraint(
            op.f(f"ck_refresh_families_{name}"), "refresh_families", condition
        )
    op.drop_column("refresh_families", "previous_attempt_digest")
