"""
OAuth clients, and the `jti`s that are spent.

Revision: 0003. Only adds tables: the version before this one runs on either schema.
"""

import sqlalchemy as sa
import sqlmodel

from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "clients",
        sa.Column("client_id", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("auth_method", sa.Text(), nullable=False),
        sa.Column("secret_digest", sa.LargeBinary(), nullable=True),
        sa.Column("secret_created_at", sqlmodel.sql.sqltypes.UTCDateTime(), nullable=True),
        sa.Column("previous_secret_digest", sa.LargeBinary(), nullable=True),
        sa.Column("previous_secret_expires_at", sqlmodel.sql.sqltypes.UTCDateTime(), nullable=True),
        sa.Column("assertion_alg", sa.Text(), nullable=True),
        sa.Column("jwks", sa.Text(), nullable=True),
        sa.Column("jwks_uri", sa.Text(), nullable=True),
        sa.Column("grant_types", sa.ARRAY(sa.Text()), nullable=False),
        sa.Column("scopes", sa.ARRAY(sa.Text()), nullable=False),
        sa.Column("resources", sa.ARRAY(sa.Text()), nullable=False),
        sa.Column("audiences", sa.ARRAY(sa.Text()), nullable=False),
        sa.Column(
            "created_at",
            sqlmodel.sql.sqltypes.UTCDateTime(),
            server_default=sa.text("clock_timestamp()"),
            nullable=False,
        ),
        sa.Column("disabled_at", sqlmodel.sql.sqltypes.UTCDateTime(), nullable=True),
        # A client's tokens have its id as `sub`, where users have a UUID.
        sa.CheckConstraint(
            "client_id !~* '^[0-9a-f]{8}-?([0-9a-f]{4}-?){3}[0-9a-f]{12}$'",
            name=op.f("ck_clients_no_uuid"),
        ),
        sa.CheckConstraint(
            "(auth_method = 'private_key_jwt') = (assertion_alg IS NOT NULL)"
            " AND (auth_method = 'private_key_jwt') = (secret_digest IS NULL)"
            " AND (auth_method = 'private_key_jwt') = (num_nonnulls(jwks, jwks_uri) = 1)",
            name=op.f("ck_clients_one_credential"),
        ),
        sa.PrimaryKeyConstraint("client_id", name=op.f("pk_clients")),
    )
    op.create_table(
        "spent_jtis",
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("client_id", sa.Text(), nullable=False),
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        sa.Column("expires_at", sqlmodel.sql.sqltypes.UTCDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("kind", "client_id", "digest", name=op.f("pk_spent_jtis")),
    )
    op.create_index(op.f("ix_spent_jtis_expires_at"), "spent_jtis", ["expires_at"])


def downgrade() -> None:
    op.drop_table("spent_jtis")
    op.drop_table("clients")
