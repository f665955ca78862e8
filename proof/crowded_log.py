"""
A4: accounts and a client that end their own tokens as fast as they may; nobody else notices.

Time is an argument, so that an hour passes in seconds: the real statements, processes that follow
the log, and verifiers that follow the feed. The log is scaled, so that these few would fill it.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from random import Random
from uuid import UUID

from authsvc.flows import follow_revocations
from authsvc.flows.follow_revocations import FollowedRevocations
from authsvc.flows.maintain import prune
from authsvc.flows.revoke_token import Revoked, revoke_client_token
from authsvc.keys.directory import KeyDirectory
from authsvc.keys.issuer import Issuer
from authsvc.protocol.audit import Caller, RevokeReason
from authsvc.protocol.clients import AuthMethod, Client
from authsvc.protocol.errors import TooManyAttempts
from authsvc.protocol.grants import ClientGrant
from authsvc.protocol.refresh import Delivery, Lifetimes
from authsvc.protocol.throttle import Limits
from authsvc.store import logins, refresh_families, revocations, spent_jtis, users
from authsvc.store.admission import Place
from authsvc.store.database import Database
from authsvc.store.logins import NewSession, PasswordVerified
from authsvc.store.refresh_families import Family
from authsvc_client.tokens.claims import AccessTokenClaims
from authsvc_client.tokens.revocation_feed import MAX_ENTRIES, STEP, VALID, read, verify_feed
from authsvc_client.tokens.revocations import Kind, RevocationSet, Standing
from proof.experiment import Experiment, Findings, Stage

ISSUER = "https://auth.example.com"
TTL = timedelta(seconds=900)
DAY = timedelta(days=1)
LIFETIMES = Lifetimes(idle=7 * DAY, absolute=30 * DAY, retry_window=timedelta(0))
CALLER = Caller(ip="203.0.113.7", user_agent="proof", request_id="proof")
ACCOUNTS = 5
BYSTANDERS = 3
# What each may have in the log, with the one entry that replaces the others.
PART = revocations.MAX_LIVE + 1
PART_OF_CLIENT = spent_jtis.MAX_LIVE + 1
SPARE = 10  # that the scaled log has beyond the parts of all; it has 50,000 in the service
CHECKED = 200  # revoked tokens that are presented in each step
LEAP, RESTART = 0.05, 0.3  # chances in each step
CONTROL_UNITS = 400
# What the database takes for now, in each task.
MOMENT: ContextVar[datetime] = ContextVar("moment")


@dataclass
class Verifier:
    """A service that follows the feed, and asks for entries of clients or not."""

    clients: bool
    known: RevocationSet = field(default_factory=RevocationSet)
    seq: int | None = None
    iat: datetime | None = None
    kinds: set[Kind] = field(default_factory=set)

    def fetch(self, process: FollowedRevocations, keys: KeyDirectory, now: datetime) -> int:
        """Take in what is new; how many entries the document has."""
        stale = self.iat is None or now >= self.iat + VALID
        document = process.feed(None if stale else self.seq, clients=self.clients, now=now)
        jws = read(document.body.decode())
        key = keys.ring.public_key(jws.kid, now)
        assert key is not None
        feed = verify_feed(jws, key, issuer=ISSUER, now=now)
        for entry in feed.entries:
            self.known.add(entry)
            self.kinds.add(entry.kind)
        self.seq, self.iat = feed.seq, feed.iat
        return len(feed.entries)


@dataclass
class Ended:
    """A token that was revoked, and when."""

    claims: AccessTokenClaims
    at: datetime


@dataclass
class Crowd:
    """Those who do their worst, and those beside them."""

    db: Database
    keys: KeyDirectory
    random: Random
    findings: Findings
    now: datetime
    client: Client | None
    most: int
    accounts: list[UUID] = field(default_factory=list)
    bystanders: list[Family] = field(default_factory=list)
    # A session of each account that lives on.
    others: list[Family] = field(default_factory=list)
    ended: list[Ended] = field(default_factory=list)
    innocent: list[AccessTokenClaims] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.issuer = Issuer(self.keys, issuer=ISSUER, audience="authsvc", access_ttl=TTL)
        self.verifiers = [Verifier(clients=True), Verifier(clients=False)]
        self.processes = [self._start(), self._start()]

    async def enter(self, accounts: int) -> None:
        """Everybody logs in."""
        MOMENT.set(self.now)
        for number in range(accounts + BYSTANDERS):
            async with self.db.transaction() as session:
                user = await users.create(
                    session, email=f"a4-{number}@example.com", password_hash="hash"
                )
            assert user is not None
            family = await self._log_in(user.id, self.now, counted=False)
            if number < accounts:
                self.accounts.append(user.id)
                self.others.append(family)
            else:
                self.bystanders.append(family)

    async def step(self) -> None:
        """Five seconds, or now and then many minutes."""
        if self.random.random() < LEAP:
            self.now += self.random.randint(1, 500) * STEP
            MOMENT.set(self.now)
            await prune(self.db, audit_retention=DAY)
            self.findings.counted["leaps in time"] += 1
        self._mint()
        busy = [self._in_and_out(user_id) for user_id in self.accounts]
        if self.client is not None:
            busy.append(self._revoke_all(self.client))
        await asyncio.gather(*busy)
        self.now += STEP
        MOMENT.set(self.now)
        if self.random.random() < RESTART:
            self.processes[1] = self._start()
            self.findings.counted["restarts"] += 1
        for process in self.processes:
            await process.look()
        await self._judge()

    def _mint(self) -> None:
        """Tokens of those who have ended none."""
        self.innocent = [claims for claims in self.innocent if claims.exp > self.now]
        self.innocent += [self._claims(family, self.now) for family in self.bystanders]
        self.innocent.append(self._client_claims("other", self.now))

    async def _in_and_out(self, user_id: UUID) -> None:
        """Log in and out until the account is told to wait."""
        when = self.now
        try:
            while True:
                when += timedelta(milliseconds=self.random.randint(1, 20))
                family = await self._log_in(user_id, when)
                async with self.db.autocommit() as connection:
                    await refresh_families.revoke_family(
                        connection,
                        family.id,
                        reason=self.random.choice((RevokeReason.LOGOUT, RevokeReason.REUSE)),
                        caller=CALLER,
                    )
                self.ended.append(Ended(self._claims(family, when), when))
                self.findings.done += 1
                self.findings.counted["sessions ended"] += 1
        except TooManyAttempts:
            pass

    async def _revoke_all(self, client: Client) -> None:
        """The client revokes its tokens until it is told to wait."""
        when = self.now
        try:
            while True:
                when += timedelta(milliseconds=self.random.randint(1, 5))
                MOMENT.set(when)
                grant = ClientGrant(client.client_id, "https://api.example.com", "")
                token = self.issuer.client_access_token(grant, now=when)
                revoked = await revoke_client_token(
                    self.db,
                    self.issuer,
                    client,
                    token=token,
                    caller=CALLER,
                    now=when,
                )
                # A token that has ended with the others counts as well: it took from the quota.
                self.findings.counted["tokens revoked"] += revoked is Revoked.ACCESS_TOKEN
                claims = self.issuer.verify_for_others(token, now=when)
                self.ended.append(Ended(claims, when))
                self.findings.done += 1
        except TooManyAttempts:
            pass

    async def _judge(self) -> None:
        starting = Verifier(clients=True)  # with everything, from whichever process
        for verifier in (*self.verifiers, starting):
            process = self.random.choice(self.processes)
            entries = verifier.fetch(process, self.keys, self.now)
            self.findings.at_most("entries in a document", entries)
            self.demand(entries <= self.most, f"{entries} entries, not {self.most} at most")
            self.demand(Kind.ISSUED_BEFORE not in verifier.kinds, "everybody's tokens are ended")
            self._present(verifier)
        documents = {process.feed(None, now=self.now).body for process in self.processes}
        self.demand(len(documents) == 1, "two processes have different documents")
        await self._go_on(starting)

    def _present(self, verifier: Verifier) -> None:
        for claims in self.innocent:
            self.findings.counted["innocent tokens presented"] += 1
            standing = verifier.known.standing(claims)
            self.demand(standing is Standing.GOOD, f"a token of somebody else is {standing}")
        self.ended = [each for each in self.ended if each.claims.exp > self.now]
        assert verifier.iat is not None
        announced = [each for each in self.ended if each.at < verifier.iat]
        for each in self.random.sample(announced, min(CHECKED, len(announced))):
            self.findings.counted["revoked tokens presented"] += 1
            standing = verifier.known.standing(each.claims)
            self.demand(standing is not Standing.GOOD, "a revoked token is good")

    async def _go_on(self, verifier: Verifier) -> None:
        """A session of the same account is refreshed at most, and good at once."""
        for number, family in enumerate(self.others):
            if verifier.known.standing(self._claims(family, self.now)) is Standing.GOOD:
                continue
            async with self.db.autocommit() as connection:
                loaded = await refresh_families.load(connection, family.id)
            assert loaded is not None
            self.others[number], state = loaded
            self.demand(state.is_live(self.now), "a session ended that nobody has ended")
            standing = verifier.known.standing(self._claims(self.others[number], self.now))
            self.demand(standing is Standing.GOOD, f"a refreshed token is {standing}")
            self.findings.counted["sessions refreshed early"] += 1

    def demand(self, holds: bool, sentence: str) -> None:  # noqa: FBT001 - as assert
        """Note a violation unless it holds."""
        if not holds and len(self.findings.violations) < 20:
            self.findings.violations.append(sentence)

    async def _log_in(self, user_id: UUID, when: datetime, *, counted: bool = True) -> Family:
        MOMENT.set(when)
        async with self.db.autocommit() as connection:
            family = await logins.create_family(
                connection,
                NewSession(PasswordVerified(user_id, "hash"), Delivery.NATIVE, remember=True),
                mac_key_id=b"k" * 8,
                lifetimes=LIFETIMES,
                place=Place(f"{user_id}@example.com", "203.0.113.7/32", None),
                logins=Limits().logins if counted else None,
                caller=CALLER,
            )
        assert family is not None
        return family

    def _claims(self, family: Family, when: datetime) -> AccessTokenClaims:
        return self.issuer.verify(self.issuer.access_token(family.grant, now=when), now=when)

    def _client_claims(self, client_id: str, when: datetime) -> AccessTokenClaims:
        grant = ClientGrant(client_id, "https://api.example.com", "")
        token = self.issuer.client_access_token(grant, now=when)
        return self.issuer.verify_for_others(token, now=when)

    def _start(self) -> FollowedRevocations:
        return FollowedRevocations(self.db, self.keys, issuer=ISSUER, monotonic=lambda: 0.0)


class CrowdedLog:
    """Everybody who may write to the log does, at the limit."""

    name = "A4-a-crowded-revocation-log"
    promise = (
        "Accounts that log in and out at their limit, and a client that revokes at its quota, end "
        "nobody else's access token at any time; the feed has at most 101 entries of each; what "
        "was revoked stays refused by every verifier that follows it, and other sessions of these "
        "accounts are refreshed early at most."
    )
    unit = "revocations"
    goal = 100_000
    batch = 5_000

    async def run(self, stage: Stage, *, units: int, random: Random) -> Findings:
        """So many."""
        client = _client("busy")
        async with _crowd(stage, random, accounts=ACCOUNTS, client=client) as crowd:
            while crowd.findings.done < units:
                await crowd.step()
        return crowd.findings

    async def control(self, stage: Stage, *, random: Random) -> Findings:
        """Users without a part of their own fill the log for all."""
        with _without_parts():
            async with _crowd(stage, random, accounts=3, client=None) as crowd:
                while crowd.findings.done < CONTROL_UNITS:
                    await crowd.step()
        return crowd.findings


EXPERIMENTS: tuple[Experiment, ...] = (CrowdedLog(),)


@asynccontextmanager
async def _crowd(
    stage: Stage, random: Random, *, accounts: int, client: Client | None
) -> AsyncIterator[Crowd]:
    most = accounts * PART + (PART_OF_CLIENT if client else 0)
    now = datetime.now(UTC).replace(microsecond=0) + timedelta(minutes=1)
    now -= timedelta(seconds=now.second % STEP.seconds)
    async with stage.database() as url:
        with stage.place() as place:
            keys = KeyDirectory(place / "keys", passphrase=None, strict_modes=False)
            keys.load(now)
            db = await Database.open(url, now=MOMENT.get)
            setattr(follow_revocations, "MAX_ENTRIES", most + SPARE)  # noqa: B010 - a patch
            try:
                crowd = Crowd(db, keys, random, Findings(), now, client, most)
                await crowd.enter(accounts)
                yield crowd
            finally:
                setattr(follow_revocations, "MAX_ENTRIES", MAX_ENTRIES)  # noqa: B010 - as above
                await db.close()


@contextmanager
def _without_parts() -> Iterator[None]:
    part = revocations.MAX_LIVE
    revocations.MAX_LIVE = 1_000_000
    refresh_families._revoke.cache_clear()
    try:
        yield
    finally:
        revocations.MAX_LIVE = part
        refresh_families._revoke.cache_clear()


def _client(client_id: str) -> Client:
    return Client(
        client_id=client_id,
        name=client_id,
        auth_method=AuthMethod.CLIENT_SECRET_BASIC,
        grant_types=("client_credentials",),
        scopes=(),
        resources=("https://api.example.com",),
        audiences=(),
    )
