"""
Leaking buckets, the strangers' failures of an account, and the networks it signed in from.

Revision: 0006. Only adds tables: the version before this one runs on either schema. It still writes
`throttle_counters`, which nothing reads any more; a later revision drops it.
"""

import sqlalchemy as sa
import sqlmodel

from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "throttle_buckets",
        sa.Column("key", sa.LargeBinary(), nullable=False),
        sa.Column("empty_at", sqlmodel.sql.sqltypes.UTCDateTime(), nullable=False),
        sa.Column("network", sa.LargeBinary(), nullable=True),
        sa.Column("failed_at", sqlmodel.sql.sqltypes.UTCDateTime(), nullable=True),
        sa.PrimaryKeyConstraint("key", name=op.f("pk_throttle_buckets")),
        postgresql_with={"fillfactor": 80},
    )
    op.create_index(op.f("ix_throttle_buckets_network"), "throttle_buckets", ["network"])
    op.create_table(
        "stranger_failures",
        sa.Column("account", sa.LargeBinary(), nullable=False),
        sa.Column("failed_at", sa.ARRAY(sa.DateTime(timezone=True)), nullable=False),
        sa.PrimaryKeyConstraint("account", name=op.f("pk_stranger_failures")),
    )
    op.create_table(
        "known_networks",
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("network", sa.LargeBinary(), nullable=False),
        sa.Column("signed_in_at", sqlmodel.sql.sqltypes.UTCDateTime(), nullable=False),
        sa.ForeignKeyConstraint(
            ["user_id"],
            ["users.id"],
            name=op.f("fk_known_networks_user_id_users"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("user_id", "network", name=op.f("pk_known_networks")),
    )
    op.create_index(op.f("ix_known_networks_signed_in_at"), "known_networks", ["signed_in_at"])


def downgrade() -> None:
    op.drop_table("known_networks")
    op.drop_table("stranger_failures")
    op.drop_table("throttle_buckets")
