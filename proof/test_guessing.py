"""The simulated populations of docs/proof.md, in short; and that their model is our SQL."""

from __future__ import annotations

from datetime import timedelta
from random import Random

import pytest

from authsvc.protocol.audit import AuditEvent
from authsvc.protocol.errors import TooManyAttempts
from authsvc.protocol.refresh import Delivery
from authsvc.protocol.throttle import Bucket, Limits
from authsvc.store import admission, logins, throttle_buckets, users
from authsvc.store.database import Database
from authsvc.store.logins import NewSession, PasswordVerified
from bench.machine import ROOT
from proof.guessing.figures import Figures, measure, read, table
from proof.guessing.ours import Ours
from proof.guessing.rules import Try
from proof.page import GUESSING
from tests.conftest import CALLER, LIFETIMES, START, database_at

pytestmark = pytest.mark.finding("11.2")
# Small, so that a few hundred attempts meet every refusal.
SMALL = Limits(
    known=Bucket(2, timedelta(minutes=5)),
    stranger=Bucket(2, timedelta(minutes=1)),
    strangers_per_day=20,
    accounts_per_network=2,
    logins=Bucket(4, timedelta(seconds=15)),
)
STEPS = 20 * (0, 0, 1, 5, 20, 60) + (3_600, 20_000, 60_000)  # seconds


async def in_sql(db: Database, tried: Try, owner: dict[str, object]) -> timedelta | None:
    """What `flows.login` does, without argon2."""
    user = owner.get(tried.account)
    device = (user, tried.device) if user and tried.device else None
    place = admission.Place(tried.account, tried.network, device)  # type: ignore[arg-type]
    async with db.autocommit() as connection:
        found = await admission.find_credentials(connection, place, limits=SMALL)
        if isinstance(found.admission, TooManyAttempts):
            return found.admission.retry_after
        assert found.admission is not None
        if tried.right and found.user_id is not None:
            await logins.create_family(
                connection,
                NewSession(PasswordVerified(found.user_id, "-"), Delivery.NATIVE, remember=True),
                mac_key_id=b"k" * 8,
                lifetimes=LIFETIMES,
                place=place,
                admission=found.admission,
                logins=SMALL.logins,
                caller=CALLER,
            )
        else:
            await throttle_buckets.record_failure(
                connection,
                found.admission.own_key,
                event=AuditEvent.LOGIN_FAILED,
                user_id=found.user_id,
                cause="wrong_password",
                caller=CALLER,
            )
    return None


async def test_the_model_is_equal_to_the_sql(db: Database) -> None:
    """Attempt for attempt, to the microsecond."""
    random, model, at = Random("equal"), Ours(SMALL), START  # noqa: S311 - reproducible
    owner: dict[str, object] = {}
    for email in ("a@example.com", "b@example.com"):
        async with db.transaction() as session:
            user = await users.create(session, email=email, password_hash="-")
        assert user is not None
        owner[email] = user.id
    answers = []
    for _ in range(400):
        at += timedelta(seconds=random.choice(STEPS))
        account = random.choice([*owner, "c@example.com", "d@example.com"])
        known = account in owner
        tried = Try(
            at,
            account,
            f"198.51.100.{random.randrange(12 if random.random() < 0.5 else 2)}",
            "A" * 22 if known and random.random() < 0.2 else None,
            right=known and random.random() < 0.3,
        )
        with database_at(tried.at):
            answers.append(await in_sql(db, tried, owner))
        assert answers[-1] == model.attempt(tried), tried

    assert 50 < sum(answer is None for answer in answers) < 380
    waits = [answer for answer in answers if answer is not None]
    assert max(waits) > timedelta(hours=1) > timedelta(minutes=1) > min(waits)


@pytest.fixture(scope="module")
def short() -> Figures:
    return measure(scale=0.1)


def test_the_office_and_the_carrier_nat_are_not_delayed(short: Figures) -> None:
    ours = [f for f in short if f["rule"] == "authsvc" and f["guesses"] == 0]

    assert 3 == len(ours)
    assert {0} == {figure["delayed"] for figure in ours if figure["group"] != "new device"}
    assert 0.02 > max(figure["delayed"] for figure in ours)


def test_strangers_never_delay_who_is_known(short: Figures) -> None:
    """A neighbour in the owner's network is no stranger there, but is one to the device."""
    known = ("known device", "known network", "signed in before")
    ours = [f for f in short if f["rule"] == "authsvc" and f["group"] in known]
    neighbour = [f for f in ours if "neighbour" in f["population"]]

    assert {"known device": 0, "known network": 1} == {
        figure["group"]: round(figure["delayed"]) for figure in neighbour
    }
    assert {0} == {figure["delayed"] for figure in ours if figure not in neighbour}


def test_guesses_of_strangers_at_one_account_are_at_most_a_hundred_a_day(short: Figures) -> None:
    """And of a neighbour: what a known network forgets in a day, and what its owner pays back."""
    most = {f["population"]: f["most"] for f in short if f["rule"] == "authsvc"}
    neighbours = [most.pop(name) for name in list(most) if "neighbour" in name]

    assert 100 == max(most.values())
    assert 10 + 288 + 24 * 10 >= max(neighbours) > 100


def test_the_rules_of_others_lock_out_or_let_through(short: Figures) -> None:
    """Or the populations would be too kind to tell."""
    others = {f["rule"]: 0.0 for f in short if f["rule"] != "authsvc"}
    for figure in short:
        if figure["rule"] in others and figure["group"] != "new device":
            others[figure["rule"]] = max(others[figure["rule"]], figure["delayed"])

    assert others["django-axes"] > 0.5
    assert others["Keycloak"] > 0.1
    assert 100 < max(figure["most"] for figure in short if figure["rule"] == "GoTrue")


def test_the_page_has_the_table_of_the_figures() -> None:
    page = (ROOT / "docs/proof.md").read_text()

    assert GUESSING in page
    assert "\n".join(table(read(ROOT / "docs/proof/guessing.json"))) in page
