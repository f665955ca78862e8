"""What a verifier makes of the revocation feed, of a good one and of all others."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest

from authsvc_client.verifier import (
    InvalidToken,
    RevocationFeed,
    RevocationsUnavailable,
    RevokedToken,
    StaleClaims,
    TokenVerifier,
)
from tests.support.forge import CLAIMS
from tests.support.key_material import kid
from tests.support.key_server import KeyServer, MovableClock
from tests.support.waiting import eventually
from tests.verifier.conftest import NewToken, NewVerifier
from tests.verifier.feeds import Issuer, named

ONCE = timedelta(hours=1)  # tests say themselves when it is fetched


@pytest.fixture
def issuer(server: KeyServer, clock: MovableClock) -> Issuer:
    server.publish(0, 1)
    writing = Issuer(server, clock)
    server.feed = writing.document
    return writing


@pytest.fixture
def feed() -> Iterator[RevocationFeed]:
    following = RevocationFeed(interval=ONCE)
    yield following
    following.close()


@pytest.fixture
def verifier(new_verifier: NewVerifier, issuer: Issuer, feed: RevocationFeed) -> TokenVerifier:
    del issuer
    return new_verifier(revocations=feed)


Fetch = Callable[[float], None]


@pytest.fixture
def fetch(verifier: TokenVerifier, feed: RevocationFeed, clock: MovableClock) -> Fetch:
    """Fetch when so many seconds have passed."""
    verifier.prefetch_sync()

    def act(seconds: float = 5) -> None:
        clock.advance(seconds)
        feed.fetch()

    return act


@pytest.mark.requirement("D3", "D4")
@pytest.mark.parametrize(
    ("member", "identifier"),
    [("sid", CLAIMS["sid"]), ("jti", CLAIMS["jti"]), ("kid", kid(0))],
    ids=["sid", "jti", "kid"],
)
async def test_a_token_is_refused_once_the_feed_names_it(
    verifier: TokenVerifier, issuer: Issuer, token: NewToken, fetch: Fetch, member: str,
    identifier: str,
) -> None:  # fmt: skip
    presented = token()
    await verifier.verify(presented)
    issuer.number = 1

    issuer.revoke(member, identifier)
    fetch(5)

    with pytest.raises(RevokedToken) as refusal:
        await verifier.verify(presented)
    with pytest.raises(RevokedToken):
        await asyncio.to_thread(verifier.verify_sync, presented)
    # As every other refusal from outside.
    assert InvalidToken.description == refusal.value.description
    other = token(1, jti="other", sid="00000000-0000-0000-0000-000000000000")
    await verifier.verify(other)


async def test_a_moment_refuses_what_was_issued_before_it(
    verifier: TokenVerifier, issuer: Issuer, token: NewToken, fetch: Fetch, clock: MovableClock
) -> None:
    before = token()
    clock.advance(1)
    after = token()
    now = issuer.now

    issuer.entries.append((1, {"issued_before": now, "exp": now + 3660}))
    fetch(5)

    await verifier.verify(after)
    with pytest.raises(RevokedToken):
        await verifier.verify(before)


@pytest.mark.requirement("T14")
async def test_old_claims_are_stale_and_not_dead(
    verifier: TokenVerifier, issuer: Issuer, token: NewToken, fetch: Fetch
) -> None:
    issuer.revoke("sub", CLAIMS["sub"], ver=3)
    fetch(5)

    for stale in (token(ver=2), token()):
        with pytest.raises(StaleClaims) as refusal:
            await verifier.verify(stale)
    assert (401, "stale_claims") == (refusal.value.status, refusal.value.code)
    assert refusal.value.headers()["WWW-Authenticate"].startswith(
        'Bearer realm="authsvc", error="invalid_token", error_description="stale_claims'
    )
    for fresh in (token(ver=3), token(ver=4), token(sub="billing", sid=None)):
        await verifier.verify(fresh)


async def test_after_the_first_document_only_what_is_new_is_asked_for(
    verifier: TokenVerifier, issuer: Issuer, token: NewToken, fetch: Fetch
) -> None:
    issuer.revoke("jti", "1")
    fetch(5)
    issuer.revoke("jti", "2")
    fetch(5)

    assert ["", "?since=0", "?since=1"] == issuer.asked()
    for jti in ("1", "2"):
        with pytest.raises(RevokedToken):
            await verifier.verify(token(jti=jti))


async def test_entries_are_only_added_until_each_expires(
    verifier: TokenVerifier, issuer: Issuer, feed: RevocationFeed, token: NewToken, fetch: Fetch
) -> None:
    issuer.revoke("jti", "1")
    fetch(5)
    issuer.entries.clear()
    fetch(5)
    fetch(3600)
    with pytest.raises(RevokedToken):
        await verifier.verify(token(jti="1"))

    fetch(60)

    assert 0 == feed.status().entries
    await verifier.verify(token(jti="1"))


@pytest.mark.requirement("D3")
async def test_an_older_document_of_the_same_epoch_is_refused(
    issuer: Issuer, feed: RevocationFeed, fetch: Fetch
) -> None:
    fetch(5)

    issuer.lag = 10
    fetch(5)

    status = feed.status()
    assert ("older_than_before", timedelta(seconds=5)) == (status.failure, status.age)


@pytest.mark.parametrize("epoch", ["two", "one"])
async def test_another_epoch_or_a_lower_number_is_answered_by_asking_for_everything(
    verifier: TokenVerifier, issuer: Issuer, feed: RevocationFeed, token: NewToken, fetch: Fetch,
    epoch: str,
) -> None:  # fmt: skip
    """A failover or a restore: what was revoked before stays so, and what is new is learnt."""
    for jti in ("1", "2", "3"):
        issuer.revoke("jti", jti)
    fetch(5)

    issuer.epoch, issuer.seq, issuer.entries = epoch, 0, []
    issuer.revoke("jti", "4")
    fetch(5)

    assert ["?since=3", ""] == issuer.asked()[-2:]
    assert (None, 4) == (feed.status().failure, feed.status().entries)
    for jti in ("1", "4"):
        with pytest.raises(RevokedToken):
            await verifier.verify(token(jti=jti))


async def test_who_was_away_longer_than_a_document_lives_asks_for_everything(
    issuer: Issuer, fetch: Fetch
) -> None:
    fetch(59)
    fetch(60)

    assert ["", "?since=0", ""] == issuer.asked()


@pytest.mark.requirement("D3")
async def test_a_304_makes_nothing_younger(
    issuer: Issuer, server: KeyServer, feed: RevocationFeed, fetch: Fetch
) -> None:
    fetch(5)
    fetch(1)
    frozen = issuer.document(0)
    server.feed = lambda _: frozen
    fetch(0)
    asked = len(issuer.asked())

    fetch(20)

    assert asked + 1 == len(issuer.asked())
    assert "if-none-match" in server.requests[-1][1]
    assert (None, timedelta(seconds=21)) == (feed.status().failure, feed.status().age)


@pytest.mark.requirement("K3")
async def test_a_document_signed_by_a_key_that_was_named_is_refused(
    verifier: TokenVerifier, issuer: Issuer, feed: RevocationFeed, token: NewToken, fetch: Fetch
) -> None:
    """The thief of a key could take revocations back, or go on telling that there are none."""
    issuer.number = 1
    issuer.revoke("kid", kid(0))
    fetch(5)
    issuer.number = 0
    fetch(5)
    assert "revoked_kid" == feed.status().failure

    issuer.number = 1
    issuer.entries.clear()
    fetch(7200)  # the entry has expired, and is remembered
    assert None is feed.status().failure
    issuer.number = 0
    fetch(5)

    assert "revoked_kid" == feed.status().failure
    with pytest.raises(RevokedToken):
        await verifier.verify(token(0))


@pytest.mark.requirement("K3")
async def test_the_key_of_a_new_document_is_fetched_though_strangers_have_just_caused_a_fetch(
    verifier: TokenVerifier, issuer: Issuer, server: KeyServer, feed: RevocationFeed,
    token: NewToken, fetch: Fetch,
) -> None:  # fmt: skip
    server.publish(0)
    with pytest.raises(InvalidToken):
        await verifier.verify(token(2))
    server.publish(0, 1)
    issuer.number = 1

    fetch(5)

    assert (None, timedelta(0)) == (feed.status().failure, feed.status().age)


@pytest.mark.requirement("K3")
async def test_a_document_that_names_its_own_key_is_refused(
    issuer: Issuer, feed: RevocationFeed, fetch: Fetch
) -> None:
    issuer.revoke("kid", kid(0))

    fetch(5)

    assert ("revoked_kid", 0) == (feed.status().failure, feed.status().entries)


@pytest.mark.parametrize("when_away", ["fail_closed", "fail_open"])
@pytest.mark.requirement("D3", "Z2")
async def test_while_authsvc_is_away_the_application_has_chosen_what_happens(
    new_verifier: NewVerifier, issuer: Issuer, server: KeyServer, token: NewToken,
    clock: MovableClock, when_away: str,
) -> None:  # fmt: skip
    feed = RevocationFeed(when_away=when_away, max_age=timedelta(seconds=30), interval=ONCE)
    verifier = new_verifier(revocations=feed)
    issuer.revoke("jti", "1")
    await verifier.prefetch()
    server.status = 503

    clock.advance(30)
    feed.fetch()
    await verifier.verify(token())
    clock.advance(1)

    assert (False, timedelta(seconds=31)) == (feed.status().trusted, feed.status().age)
    with pytest.raises(RevokedToken):
        await verifier.verify(token(jti="1"))
    if when_away == "fail_open":
        await verifier.verify(token())
    else:
        with pytest.raises(RevocationsUnavailable) as refusal:
            await verifier.verify(token())
        assert (503, "5") == (refusal.value.status, refusal.value.headers()["Retry-After"])
        server.status = 200
        feed.fetch()
        await verifier.verify(token())
    feed.close()


async def test_the_first_request_waits_for_the_first_document(
    verifier: TokenVerifier, issuer: Issuer, token: NewToken
) -> None:
    issuer.revoke("jti", "1")

    with pytest.raises(RevokedToken):
        await verifier.verify(token(jti="1"))


async def test_a_verifier_that_never_reached_the_feed_lets_nobody_in(
    new_verifier: NewVerifier, issuer: Issuer, server: KeyServer, token: NewToken
) -> None:
    server.feed = lambda _: "nothing of the kind"
    feed = RevocationFeed(interval=ONCE)

    with pytest.raises(RevocationsUnavailable, match="malformed"):
        await new_verifier(revocations=feed).verify(token())
    feed.close()
    del issuer


@pytest.mark.parametrize(
    ("cause", "changes"),
    [
        ("wrong_issuer", {"iss": "https://other.example.com"}),
        ("bad_times", {"exp": 0}),
        ("bad_times", {"iat": "now"}),
        ("bad_epoch", {"epoch": ""}),
        ("bad_epoch", {"epoch": 1}),
        ("bad_seq", {"seq": -1}),
        ("bad_seq", {"seq": True}),
        ("bad_seq", {"since": 7, "seq": 1}),
        ("bad_members", {"more": 1}),
        ("bad_entry", {"entries": {}}),
        ("bad_entry", {"entries": [{"exp": 1}]}),
        ("bad_entry", {"entries": [{"sid": "short", "exp": 1}]}),
        ("bad_entry", {"entries": [named("sid", "1", 1, more=1)]}),
        ("bad_entry", {"entries": [named("aud", "1", 1)]}),
        ("bad_entry", {"entries": [named("sub", "1", 1)]}),
        ("bad_entry", {"entries": [named("sub", "1", 1, ver=0)]}),
        ("bad_entry", {"entries": [{"issued_before": 1.5, "exp": 1}]}),
        ("bad_entry", {"entries": [named("sid", "1", -1)]}),
    ],
)
async def test_what_is_not_understood_is_refused_as_a_whole(
    issuer: Issuer, feed: RevocationFeed, fetch: Fetch, cause: str, changes: dict[str, Any]
) -> None:
    issuer.changes = changes

    fetch(5)

    assert (cause, timedelta(seconds=5)) == (feed.status().failure, feed.status().age)


async def test_a_document_from_another_time_is_refused(
    issuer: Issuer, feed: RevocationFeed, fetch: Fetch
) -> None:
    issuer.lag = 90
    fetch(0)
    assert "expired" == feed.status().failure

    issuer.lag = -35
    fetch(0)

    assert "not_yet_valid" == feed.status().failure


@pytest.mark.requirement("T9")
async def test_a_feed_is_no_access_token_and_an_access_token_no_feed(
    verifier: TokenVerifier, issuer: Issuer, server: KeyServer, feed: RevocationFeed,
    token: NewToken, fetch: Fetch,
) -> None:  # fmt: skip
    with pytest.raises(InvalidToken):
        await verifier.verify(issuer.document())
    server.feed = lambda _: token()

    fetch(5)

    assert "bad_header" == feed.status().failure


async def test_a_feed_of_one_verifier_cannot_be_anothers(
    new_verifier: NewVerifier, feed: RevocationFeed
) -> None:
    new_verifier(revocations=feed)

    with pytest.raises(ValueError, match="for each TokenVerifier"):
        new_verifier(revocations=feed)


@pytest.mark.parametrize(
    "arguments",
    [
        {"when_away": "fail"},
        {"max_age": timedelta(seconds=14)},
        {"max_age": timedelta(hours=2)},
        {"interval": timedelta(0)},
        {"uri": "http://auth.example.com/revocations"},
    ],
)
def test_arguments_without_sense_are_refused(arguments: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"must be|must begin|is not a valid"):
        RevocationFeed(**arguments)


async def test_it_is_followed_without_being_asked(
    new_verifier: NewVerifier, issuer: Issuer, token: NewToken
) -> None:
    """The thread, as it runs in a service; only its interval is short."""
    feed = RevocationFeed(interval=timedelta(milliseconds=10))
    verifier = new_verifier(revocations=feed)
    await verifier.verify(token(jti="1"))
    issuer.revoke("jti", "1")

    await eventually(lambda: feed.status().entries > 0)

    with pytest.raises(RevokedToken):
        await verifier.verify(token(jti="1"))
    feed.close()
