"""
A spent refresh token that nobody waited for is audited once per family (decision 0011).

Revision: 0007. Adds a partial index that begins empty: the audit trail is read once, about a second
for a million records, and what writes it waits for that. The version before this one runs on either
schema, since it writes no such record.
"""

import sqlalchemy as sa

from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

INDEX = "uq_audit_records_abandoned"


def upgrade() -> None:
    op.create_index(
        INDEX,
        "audit_records",
        ["family_id"],
        unique=True,
        postgresql_where=sa.text("event = 'refresh_token_abandoned'"),
    )


def downgrade() -> None:
    op.drop_index(INDEX, table_name="audit_records")
