"""
Entries of the revocation log say whose they are, and which ones they stand for (decision 0013).

Revision: 0008. Adds two columns without a default, which takes a moment, and a partial index that
begins empty: the log is read once, less than a second. The version before this one runs on either
schema: what it writes has no owner and is not counted.
"""

import sqlalchemy as sa

from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

INDEX = "ix_revocations_of_owner"


def upgrade() -> None:
    op.add_column("revocations", sa.Column("owner", sa.LargeBinary(), nullable=True))
    op.add_column("revocations", sa.Column("replaces", sa.BigInteger(), nullable=True))
    op.create_index(
        INDEX, "revocations", ["owner", "xid"], postgresql_where=sa.text("owner IS NOT NULL")
    )


def downgrade() -> None:
    op.drop_index(INDEX, table_name="revocations")
    op.drop_column("revocations", "replaces")
    op.drop_column("revocations", "owner")
