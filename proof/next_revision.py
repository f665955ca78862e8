"""
A throw-away migration, as the next release might bring it: it must suit this one.

`migration_runner` puts this file beside the others in a copy of alembic/versions.
"""

from __future__ import annotations

import sqlalchemy as sa

from alembic import op
from authsvc.store.schema import SCHEMA_REVISION

revision = "9999"
down_revision = SCHEMA_REVISION
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add, backfill, constrain, index: every kind of statement that a migration has."""
    op.add_column("users", sa.Column("display_name", sa.Text(), nullable=True))
    op.execute("UPDATE users SET display_name = email")
    op.add_column(
        "refresh_families",
        sa.Column("label", sa.Text(), server_default=sa.text("''"), nullable=False),
    )
    op.create_table(
        "labels",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("family_id", sa.Uuid(), nullable=False),
        sa.PrimaryKeyConstraint("name"),
        sa.ForeignKeyConstraint(["family_id"], ["refresh_families.id"], ondelete="CASCADE"),
    )
    op.execute("INSERT INTO labels SELECT id::text, id FROM refresh_families")
    op.create_index("ix_labels_family_id", "labels", ["family_id"])
    op.create_index("ix_users_display_name", "users", ["display_name"])


def downgrade() -> None:
    """Take all of it back."""
    op.drop_index("ix_users_display_name", table_name="users")
    op.drop_table("labels")
    op.drop_column("refresh_families", "label")
    op.drop_column("users", "display_name")
