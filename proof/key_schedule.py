"""
F16 by the calendar: what verifiers hold while keys come and go, walked over virtual hours.

Who signs and what is published is a pure function of the files and the time (CONTRACT §4), so
hours pass in milliseconds: the real key directory, the real functions behind `authsvc keys`, and
replicas that re-read it every 15 s with clocks that differ.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory

from authsvc.keys import pem
from authsvc.keys.directory import KeyDirectory
from authsvc.keys.key_files import KeyKind
from authsvc.keys.keyring import MIN_LEAD, RELOAD_INTERVAL
from authsvc.keys.retirement import prune
from authsvc.keys.rotation import add, create_first_keys, import_key
from proof.experiment import Findings, Stage
from tests.support.key_material import rsa_key

TICK = timedelta(seconds=5)
HOUR = timedelta(hours=1)
START = datetime(2026, 1, 1, tzinfo=UTC)
# What Cache-Control lets a verifier keep: max-age and stale-while-revalidate.
CACHE = timedelta(seconds=300 + 600)
LIFE = timedelta(seconds=3600)  # the longest ACCESS_TTL
SKEW = 20  # seconds that a replica's clock may be wrong, either way
POOL = 8  # RSA keys; they come back under new names once they were pruned
REFRESH_TTL = timedelta(days=1)


@dataclass
class Replica:
    """A process as far as keys go: a clock, a directory, and the moment of its next reading."""

    keys: KeyDirectory
    skew: timedelta
    next_reading: datetime = START


@dataclass
class Calendar:
    """One key directory, its replicas, and what was seen of them."""

    path: Path
    random: Random
    findings: Findings
    lead: timedelta
    now: datetime = START
    replicas: list[Replica] = field(default_factory=list)
    fetched: dict[frozenset[str], datetime] = field(default_factory=dict)
    """Each set of kids that was published, and when it was fetched for the last time."""
    signed: dict[str, datetime] = field(default_factory=dict)
    """Until when a token of that kid may live."""
    next_number: int = 0

    def open(self) -> None:
        """Make the first keys and the replicas."""
        create_first_keys(self.path, START - HOUR)
        for _ in range(3):
            keys = KeyDirectory(self.path, passphrase=None, strict_modes=True)
            keys.load(START)
            self.replicas.append(Replica(keys, timedelta(seconds=self.random.uniform(-SKEW, SKEW))))

    def hour(self) -> None:
        """An hour, with a key command or two at moments of chance."""
        ends = self.now + HOUR
        commands = sorted(
            (self.now + HOUR * self.random.random(), command)
            for command in self.random.sample(("add", "add", "mac", "prune", "prune"), 2)
        )
        while self.now < ends:
            while commands and commands[0][0] <= self.now:
                self.command(commands.pop(0)[1])
            for replica in self.replicas:
                self.look(replica)
            self.now += TICK

    def command(self, name: str) -> None:
        """What an operator does."""
        self.findings.counted[name] += 1
        if name == "prune":
            prune(self.path, now=self.now, refresh_absolute_ttl=REFRESH_TTL)
        elif name == "mac":
            add(self.path, KeyKind.MAC, now=self.now)
        elif len(self.replicas[0].keys.ring.keys) < POOL - 1:
            # As `authsvc keys import`: `add` would spend the whole run on making RSA keys.
            key = pem.private_pem(rsa_key(self.next_number % POOL), passphrase=None)
            self.next_number += 1
            lead = self.lead + MIN_LEAD * self.random.random() if self.lead else self.lead
            import_key(self.path, key, now=self.now, activation=self.now + lead)

    def look(self, replica: Replica) -> None:
        """One replica signs, publishes, and verifies what others signed."""
        if self.now >= replica.next_reading:
            replica.keys.reload(self.now + replica.skew)
            replica.next_reading = self.now + RELOAD_INTERVAL * self.random.uniform(0.9, 1.0)
        clock = self.now + replica.skew
        ring = replica.keys.ring
        published = frozenset(key.kid for key in ring.published(clock))
        self.fetched[published] = self.now
        kid = ring.signing_key(clock).kid
        self.signed[kid] = self.now + LIFE
        for kids, last in list(self.fetched.items()):
            if last < self.now - CACHE:
                del self.fetched[kids]
                continue
            self.findings.counted["token x JWKS"] += 1
            if kid not in kids:
                age = (self.now - last).total_seconds()
                self._complain(f"a verifier with a JWKS of {age:.0f} s ago refuses a new token")
        for other, until in list(self.signed.items()):
            if until <= self.now:
                del self.signed[other]
            elif ring.public_key(other, clock) is None:
                self._complain("a replica refuses a token that another signed and that lives")

    def _complain(self, sentence: str) -> None:
        if len(self.findings.violations) < 20:
            self.findings.violations.append(f"{self.now - START} in: {sentence}")


class KeySchedule:
    """Months of key rotation."""

    name = "F16-key-schedule-over-virtual-hours"
    promise = (
        "Keys are added and pruned at any time: every token verifies with any JWKS fetched in "
        "the 15 minutes before it was signed, and at every replica until it expires."
    )
    unit = "virtual hours"
    goal = 5_000
    batch = 30

    async def run(self, stage: Stage, *, units: int, random: Random) -> Findings:
        """Walk so many hours."""
        return _walk(stage, units, random, lead=MIN_LEAD)

    async def control(self, stage: Stage, *, random: Random) -> Findings:
        """With keys that sign at once, verifiers with a copy must fail."""
        return _walk(stage, 4, random, lead=timedelta(0))


EXPERIMENTS = (KeySchedule(),)


def _walk(stage: Stage, hours: int, random: Random, *, lead: timedelta) -> Findings:
    with TemporaryDirectory(dir=stage.directory) as directory:
        calendar = Calendar(Path(directory) / "keys", random, Findings(), lead)
        calendar.open()
        for _ in range(hours):
            calendar.hour()
            calendar.findings.done += 1
    return calendar.findings
