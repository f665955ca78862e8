"""
What was revoked in the last hour, for those who do not ask; and the version of a user's claims.

Revision: 0004. Adds a table and a column with a constant default, which takes a moment whatever the
size of the table. The version before this one runs on either schema; what it revokes is not in the
feed, so that the feed is complete once no replica of it is left.
"""

import sqlalchemy as sa
import sqlmodel

from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "revocations",
        sa.Column("seq", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("digest", sa.LargeBinary(), nullable=True),
        sa.Column("least_ver", sa.Integer(), nullable=True),
        sa.Column("revoked_at", sqlmodel.sql.sqltypes.UTCDateTime(), nullable=False),
        # Without 32-bit wrap-around: which entries a snapshot cannot have seen yet.
        sa.Column(
            "xid",
            sa.BigInteger(),
            server_default=sa.text("pg_current_xact_id()::text::bigint"),
            nullable=False,
        ),
        sa.PrimaryKeyConstraint("seq", name=op.f("pk_revocations")),
    )
    op.create_index(op.f("ix_revocations_xid"), "revocations", ["xid"])
    op.add_column("users", sa.Column("ver", sa.Integer(), server_default="1", nullable=False))


def downgrade() -> None:
    op.drop_column("users", "ver")
    op.drop_table("revocations")
