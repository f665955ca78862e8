"""
All sessions of a user end by one number on the user's row (decision 0017).

Revision: 0005. Adds columns with a constant default, which takes a moment, and one index over the
families, for which logins and refreshes wait: about a second for a million of them. The version
before this one runs on either schema: a trigger gives the families that it writes the epoch of
their user. It does not look at epochs, so until the last replica of it has left, the rows beyond
the first 200 of an account that are ended at once may be refreshed there until they are tidied.
"""

import sqlalchemy as sa
import sqlmodel

from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

FOREIGN_KEY = "fk_refresh_families_user_id_users"


def upgrade() -> None:
    op.add_column(
        "users", sa.Column("session_epoch", sa.Integer(), server_default="1", nullable=False)
    )
    # With a default those that exist get it without being written; new ones must say theirs.
    op.add_column(
        "refresh_families", sa.Column("epoch", sa.Integer(), server_default="1", nullable=False)
    )
    op.alter_column("refresh_families", "epoch", server_default=None)
    op.execute(
        """
        CREATE FUNCTION epoch_of_user() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            NEW.epoch := (SELECT session_epoch FROM users WHERE id = NEW.user_id);
            RETURN NEW;
        END $$
        """
    )
    op.execute(
        "CREATE TRIGGER epoch_of_user BEFORE INSERT ON refresh_families FOR EACH ROW"
        " WHEN (NEW.epoch IS NULL) EXECUTE FUNCTION epoch_of_user()"
    )
    op.drop_constraint(FOREIGN_KEY, "refresh_families", type_="foreignkey")
    op.create_index(
        "ix_refresh_families_not_revoked",
        "refresh_families",
        ["user_id", "epoch", "created_at"],
        postgresql_where=sa.text("revoked_at IS NULL"),
    )
    op.create_table(
        "unfinished_endings",
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("epoch", sa.Integer(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("ended_at", sqlmodel.sql.sqltypes.UTCDateTime(), nullable=False),
        sa.Column("deleted", sa.Boolean(), server_default="false", nullable=False),
        sa.PrimaryKeyConstraint("user_id", name=op.f("pk_unfinished_endings")),
    )


def downgrade() -> None:
    # What only the epoch has ended must not come back to life.
    op.execute(
        "UPDATE refresh_families f SET revoked_at = clock_timestamp(), revoke_reason = 'epoch'"
        " FROM users u WHERE u.id = f.user_id AND u.session_epoch <> f.epoch"
        " AND f.revoked_at IS NULL"
    )
    op.execute(
        "DELETE FROM refresh_families f"
        " WHERE NOT EXISTS (SELECT FROM users u WHERE u.id = f.user_id)"
    )
    op.drop_table("unfinished_endings")
    op.drop_index("ix_refresh_families_not_revoked", table_name="refresh_families")
    op.create_foreign_key(
        FOREIGN_KEY, "refresh_families", "users", ["user_id"], ["id"], ondelete="CASCADE"
    )
    op.execute("DROP TRIGGER epoch_of_user ON refresh_families")
    op.execute("DROP FUNCTION epoch_of_user()")
    op.drop_column("refresh_families", "epoch")
    op.drop_column("users", "session_epoch")
