"""
A session has an audience of its own: what its access tokens are for (RFC 8707).

Revision: 0009. Adds a column without a default, which takes a moment; the families that are there
keep AUTHSVC_AUDIENCE. The version before this one runs on either schema: it neither writes nor
reads the column, and nothing begins a session with an audience of its own yet.
"""

import sqlalchemy as sa

from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("refresh_families", sa.Column("audience", sa.Text(), nullable=True))


def downgrade() -> None:
    # The version before would hand out tokens for AUTHSVC_AUDIENCE instead.
    op.execute(
        "UPDATE refresh_families SET revoked_at = clock_timestamp(), revoke_reason = 'audience'"
        " WHERE audience IS NOT NULL AND revoked_at IS NULL"
    )
    op.drop_column("refresh_families", "audience")
