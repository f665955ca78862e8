"""All tables; what `alembic/env.py` imports and the statements are built from."""

from datetime import datetime
from uuid import UUID, uuid4

from sqlalchemy import (
    ARRAY,
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    DateTime,
    Identity,
    Index,
    Integer,
    LargeBinary,
    Table,
    Text,
    Uuid,
    func,
    literal_column,
)
from sqlalchemy import text as sql
from sqlalchemy.dialects.postgresql import JSONB
from sqlmodel import Field, SQLModel

from authsvc.protocol.audit import AuditEvent as Event

# Before the first table class, so that every constraint gets a name Alembic can find again.
SQLModel.metadata.naming_convention = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
    "pk": "pk_%(table_name)s",
}


class User(SQLModel, table=True):
    """A resource owner. `email` is stored in its normal form, which is unique."""

    __tablename__ = "users"

    id: UUID = Field(default_factory=uuid4, primary_key=True)
    email: str = Field(sa_type=Text, unique=True)
    password_hash: str = Field(sa_type=Text)
    roles: list[str] = Field(
        default_factory=list, sa_column=Column(ARRAY(Text), nullable=False, server_default="{}")
    )
    created_at: datetime = Field(sa_column_kwargs={"server_default": func.clock_timestamp()})
    password_changed_at: datetime = Field(
        sa_column_kwargs={"server_default": func.clock_timestamp()}
    )
    disabled_at: datetime | None = None
    # Rises with every change of what access tokens say of this user.
    ver: int = Field(sa_column=Column(Integer, nullable=False, server_default="1"))
    # A family of another epoch has ended, whatever its own row says.
    session_epoch: int = Field(sa_column=Column(Integer, nullable=False, server_default="1"))


class RefreshFamily(SQLModel, table=True):
    """
    One login on one device. A rotation changes no indexed column, and the fill factor leaves
    room for the new row version on the same page: every rotation is a HOT update.

    There are no CHECK constraints: PostgreSQL parses each of them again for every UPDATE, and
    together they were a third of a rotation. Only our own few statements write here.

    Nor is there a foreign key: a family lives by the row of its user, which every statement joins.
    So that row can go at once, however many families there are (decision 0017).
    """

    __tablename__ = "refresh_families"
    __table_args__ = (
        # What may be alive of an account, however much of it is dead. No rotation writes these.
        Index(
            "ix_refresh_families_not_revoked",
            "user_id",
            "epoch",
            "created_at",
            postgresql_where=sql("revoked_at IS NULL"),
        ),
        {"postgresql_with": {"fillfactor": 80}},
    )

    id: UUID = Field(default_factory=uuid4, primary_key=True)
    user_id: UUID = Field(index=True)
    # Where a version of the service before 0005 writes none, a trigger fills in the user's.
    epoch: int = Field(default=1, sa_column=Column(Integer, nullable=False))
    client_id: str = Field(sa_type=Text)
    delivery: str = Field(sa_type=Text)
    remember: bool = Field(sa_column=Column(Boolean, nullable=False))
    generation: int = Field(sa_type=BigInteger)
    mac_key_id: bytes = Field(sa_type=LargeBinary)
    rotated_at: datetime
    attempt_digest: bytes | None = Field(default=None, sa_type=LargeBinary)
    # Of the attempts before it, the first bytes of each; once it was one whole digest.
    previous_attempt_digest: bytes | None = Field(default=None, sa_type=LargeBinary)
    created_at: datetime
    auth_time: datetime
    amr: list[str] = Field(sa_column=Column(ARRAY(Text), nullable=False))
    scope: str = Field(sa_type=Text)
    # None: AUTHSVC_AUDIENCE.
    audience: str | None = Field(default=None, sa_type=Text)
    idle_expires_at: datetime
    absolute_expires_at: datetime = Field(index=True)
    revoked_at: datetime | None = None
    revoke_reason: str | None = Field(default=None, sa_type=Text)
    ip: str = Field(sa_type=Text)
    user_agent: str = Field(sa_type=Text)
    last_ip: str = Field(sa_type=Text)
    last_user_agent: str = Field(sa_type=Text)


class UnfinishedEnding(SQLModel, table=True):
    """
    Families that have ended, or whose user is gone, and whose rows do not show it yet.

    Args:
        epoch: Of the user: families of lower ones have ended.
        deleted: The user is gone: the rows go as well.
    """

    __tablename__ = "unfinished_endings"

    user_id: UUID = Field(primary_key=True)
    epoch: int = Field(sa_type=Integer)
    reason: str = Field(sa_type=Text)
    ended_at: datetime
    deleted: bool = Field(sa_column=Column(Boolean, nullable=False, server_default="false"))


class ThrottleCounter(SQLModel, table=True):
    """Written only by the version before this one, during a rollout; a later revision drops it."""

    __tablename__ = "throttle_counters"
    __table_args__ = ({"postgresql_with": {"fillfactor": 80}},)

    key: bytes = Field(sa_type=LargeBinary, primary_key=True)
    count: int = Field(sa_type=Integer)
    last_at: datetime


class ThrottleBucket(SQLModel, table=True):
    """
    A leaking bucket; the key is a digest. A stranger's has the network it came from, and when
    it failed last, by which the distinct accounts that failed from a network are counted.
    """

    __tablename__ = "throttle_buckets"
    __table_args__ = ({"postgresql_with": {"fillfactor": 80}},)

    key: bytes = Field(sa_type=LargeBinary, primary_key=True)
    empty_at: datetime
    network: bytes | None = Field(default=None, sa_type=LargeBinary, index=True)
    failed_at: datetime | None = None


class StrangerFailures(SQLModel, table=True):
    """When strangers failed at an account in the last 24 hours: a sliding window, exact."""

    __tablename__ = "stranger_failures"

    account: bytes = Field(sa_type=LargeBinary, primary_key=True)
    failed_at: list[datetime] = Field(
        sa_column=Column(ARRAY(DateTime(timezone=True)), nullable=False)
    )


class KnownNetwork(SQLModel, table=True):
    """A network that an account signed in from, as a digest."""

    __tablename__ = "known_networks"

    user_id: UUID = Field(foreign_key="users.id", ondelete="CASCADE", primary_key=True)
    network: bytes = Field(sa_type=LargeBinary, primary_key=True)
    signed_in_at: datetime = Field(index=True)


class ClientRow(SQLModel, table=True):
    """
    An OAuth client: a service that authenticates itself. Rows are never deleted, so that no id
    is ever given to somebody else (RFC 9700 §4.15).
    """

    __tablename__ = "clients"
    __table_args__ = (
        # A token of a client has its id as `sub`, where users have a UUID.
        CheckConstraint(
            "client_id !~* '^[0-9a-f]{8}-?([0-9a-f]{4}-?){3}[0-9a-f]{12}$'", name="no_uuid"
        ),
        # Whoever has keys has no secret, and the other way round.
        CheckConstraint(
            "(auth_method = 'private_key_jwt') = (assertion_alg IS NOT NULL)"
            " AND (auth_method = 'private_key_jwt') = (secret_digest IS NULL)"
            " AND (auth_method = 'private_key_jwt') = (num_nonnulls(jwks, jwks_uri) = 1)",
            name="one_credential",
        ),
    )

    client_id: str = Field(sa_type=Text, primary_key=True)
    name: str = Field(sa_type=Text)
    auth_method: str = Field(sa_type=Text)
    secret_digest: bytes | None = Field(default=None, sa_type=LargeBinary)
    secret_created_at: datetime | None = None
    previous_secret_digest: bytes | None = Field(default=None, sa_type=LargeBinary)
    previous_secret_expires_at: datetime | None = None
    assertion_alg: str | None = Field(default=None, sa_type=Text)
    jwks: str | None = Field(default=None, sa_type=Text)
    jwks_uri: str | None = Field(default=None, sa_type=Text)
    grant_types: list[str] = Field(sa_column=Column(ARRAY(Text), nullable=False))
    scopes: list[str] = Field(sa_column=Column(ARRAY(Text), nullable=False))
    resources: list[str] = Field(sa_column=Column(ARRAY(Text), nullable=False))
    audiences: list[str] = Field(sa_column=Column(ARRAY(Text), nullable=False))
    created_at: datetime = Field(sa_column_kwargs={"server_default": func.clock_timestamp()})
    disabled_at: datetime | None = None


class SpentJti(SQLModel, table=True):
    """
    A `jti` that must not be accepted (any more): of an assertion that was used, of an access
    token that was revoked. Kept until its token is refused for its age.
    """

    __tablename__ = "spent_jtis"

    kind: str = Field(sa_type=Text, primary_key=True)
    client_id: str = Field(sa_type=Text, primary_key=True)
    digest: bytes = Field(sa_type=LargeBinary, primary_key=True)
    expires_at: datetime = Field(index=True)


class Revocation(SQLModel, table=True):
    """
    What verifiers have to learn: written by the statement that revokes, read by every process.

    Kept for as long as a token could live that it concerns (`protocol.revocations.LIFE`).

    Args:
        owner: The digest of the `sub` of the tokens, by which the entries of a user are counted.
        replaces: Every entry of the owner with a lower `xid` is contained in this one.
    """

    __tablename__ = "revocations"
    __table_args__ = (
        Index(
            "ix_revocations_of_owner",
            "owner",
            "xid",
            postgresql_where=sql("owner IS NOT NULL"),
        ),
    )

    seq: int = Field(sa_column=Column(BigInteger, Identity(always=True), primary_key=True))
    kind: str = Field(sa_type=Text)
    digest: bytes | None = Field(default=None, sa_type=LargeBinary)
    least_ver: int | None = Field(default=None, sa_type=Integer)
    revoked_at: datetime
    # Without 32-bit wrap-around: which entries a snapshot cannot have seen yet.
    xid: int = Field(
        sa_column=Column(
            BigInteger,
            nullable=False,
            index=True,
            server_default=sql("pg_current_xact_id()::text::bigint"),
        )
    )
    owner: bytes | None = Field(default=None, sa_type=LargeBinary)
    replaces: int | None = Field(default=None, sa_type=BigInteger)


class AuditRecord(SQLModel, table=True):
    """
    The audit trail: append-only, written in the statement or transaction it tells about.

    There are no foreign keys, so that the trail outlives what it is about.
    """

    __tablename__ = "audit_records"
    __table_args__ = (
        # A restored backup meets many tokens from the future: one record per family is enough.
        Index(
            "uq_audit_records_far_ahead",
            "family_id",
            unique=True,
            postgresql_where=sql(f"event = '{Event.GENERATION_FAR_AHEAD}'"),
        ),
        # Which presentation was the first, when several replicas are asked at once.
        Index(
            "uq_audit_records_abandoned",
            "family_id",
            unique=True,
            postgresql_where=sql(f"event = '{Event.REFRESH_TOKEN_ABANDONED}'"),
        ),
    )

    id: UUID = Field(
        sa_column=Column(Uuid, primary_key=True, server_default=func.gen_random_uuid())
    )
    at: datetime = Field(index=True, sa_column_kwargs={"server_default": func.clock_timestamp()})
    event: str = Field(sa_type=Text)
    user_id: UUID | None = Field(default=None, index=True)
    family_id: UUID | None = Field(default=None, index=True)
    ip: str | None = Field(default=None, sa_type=Text)
    user_agent: str | None = Field(default=None, sa_type=Text)
    request_id: str | None = Field(default=None, sa_type=Text)
    details: dict[str, object] = Field(
        sa_column=Column(JSONB, nullable=False, server_default=literal_column("'{}'::jsonb"))
    )


def _table(name: str) -> Table:
    return SQLModel.metadata.tables[name]


# The same tables as Core objects, for statements that are compiled once.
users = _table("users")
refresh_families = _table("refresh_families")
unfinished_endings = _table("unfinished_endings")
throttle_counters = _table("throttle_counters")
audit_records = _table("audit_records")
clients = _table("clients")
spent_jtis = _table("spent_jtis")
revocations = _table("revocations")
throttle_buckets = _table("throttle_buckets")
stranger_failures = _table("stranger_failures")
known_networks = _table("known_networks")
