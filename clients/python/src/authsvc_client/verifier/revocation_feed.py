"""
Follow the revocation feed of an issuer, so that no request has to ask (docs/revocation-feed.md).

A thread fetches the feed every few seconds, whatever event loops and threads use it. Entries are
only added, each until it expires. What is known to be revoked is refused in any case; what happens
to the other tokens while authsvc is away, the application has to choose.
"""

from __future__ import annotations

import logging
import os
import random
from concurrent.futures import Future, wait
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum
from threading import Event, Lock, Thread

import httpx

from authsvc_client.clock import Clock
from authsvc_client.https import FetchFailed, Transfer, check_url
from authsvc_client.tokens.claims import AccessTokenClaims
from authsvc_client.tokens.errors import RevokedToken, StaleClaims
from authsvc_client.tokens.revocation_feed import (
    KINDS_ASKED,
    KINDS_PARAMETER,
    MAX_LENGTH,
    MEDIA_TYPE,
    PATH,
    VALID,
    Feed,
    FeedRefused,
    read,
    verify_feed,
)
from authsvc_client.tokens.revocations import Kind, RevocationSet, Standing, digest
from authsvc_client.verifier.errors import RevocationsUnavailable
from authsvc_client.verifier.key_cache import Flight, KeyCache

log = logging.getLogger("authsvc_client.verifier")

INTERVAL = timedelta(seconds=5)
MAX_AGE = timedelta(seconds=60)
MIN_MAX_AGE = timedelta(seconds=15)  # one document may be lost on the way
RETRY_AFTER = timedelta(seconds=5)


class WhenAway(str, Enum):
    """What happens to tokens that nothing is known against, while the feed is too old."""

    __str__ = str.__str__  # as enum.StrEnum, which Python 3.9 has not

    FAIL_CLOSED = "fail_closed"
    """They are answered with 503."""
    FAIL_OPEN = "fail_open"
    """They are accepted, as if there were no feed."""


@dataclass(frozen=True)
class FeedStatus:
    """
    What is known, for a health page.

    Args:
        entries: How many revocations.
        age: How old that knowledge is: since `iat` of the last document; None before the first.
        trusted: Whether it is younger than `max_age`.
        failure: Why the last fetch failed; None if it did not.
    """

    entries: int
    age: timedelta | None
    trusted: bool
    failure: str | None


@dataclass(frozen=True)
class Newest:
    """The last document that was accepted, and when."""

    epoch: str
    iat: datetime
    seq: int
    age: float
    accepted_at: float


@dataclass(frozen=True)
class FollowedIssuer:
    """
    What the verifier lends: to follow its issuer there must be one.

    Args:
        patience: How long to wait for its keys, in seconds.
    """

    issuer: str
    keys: KeyCache
    transfer: Transfer
    clock: Clock
    patience: float


class RevocationFeed:
    """
    The revocations of a verifier's issuer: `TokenVerifier(…, revocations=RevocationFeed())`.

    Build one for each verifier. It begins when the verifier is first used.

    Args:
        when_away: `fail_closed`: tokens are answered with 503 while the feed is older than
            `max_age`; `fail_open`: they are accepted, as if there were no feed. What is known to
            be revoked is refused either way.
        max_age: How old the feed may be before that happens; from 15 s to an hour.
        interval: How often it is fetched.
        uri: Where it is; None: `/.well-known/revocations` of the issuer.

    Raises:
        ValueError: An argument makes no sense; the text says which and why.
    """

    def __init__(
        self,
        *,
        when_away: WhenAway | str = WhenAway.FAIL_CLOSED,
        max_age: timedelta = MAX_AGE,
        interval: timedelta = INTERVAL,
        uri: str | None = None,
    ) -> None:
        if not MIN_MAX_AGE <= max_age <= timedelta(hours=1):
            raise ValueError(f"max_age must be 15 s to an hour: {max_age}")
        if interval <= timedelta(0):
            raise ValueError(f"interval must be longer than nothing: {interval}")
        self._when_away = WhenAway(when_away)
        self._max_age = max_age.total_seconds()
        self._interval = interval.total_seconds()
        self._uri = None if uri is None else check_url(uri, "uri")
        self._lent: FollowedIssuer | None = None
        self._set = RevocationSet()
        self._newest: Newest | None = None
        self._etag: tuple[str, str] | None = None
        self._failure: str | None = None
        # One fetch at a time; the thread, and whoever calls `fetch`.
        self._fetching = Lock()
        self._starting = Lock()
        self._follower = 0  # the process whose thread it is: a fork has none
        self._first: Flight = Future()
        self._stop = Event()

    def attach(self, lent: FollowedIssuer) -> None:
        """
        Set the issuer of the feed; the verifier does that.

        Raises:
            ValueError: It follows another verifier's issuer already.
        """
        if self._lent is not None:
            raise ValueError("revocations: build a RevocationFeed for each TokenVerifier")
        self._lent = lent

    def begin(self) -> Flight | None:
        """Follow from now on; what to wait for until the first attempt has ended, or None."""
        if self._follower != os.getpid():
            self._start()
        return None if self._first.done() else self._first

    def check(self, claims: AccessTokenClaims, *, now: datetime) -> None:
        """
        Look at claims that are otherwise valid; no network.

        Raises:
            RevokedToken: The token, its session or its key was revoked.
            StaleClaims: It says what is no longer true of the user.
            RevocationsUnavailable: Nobody can say, and `when_away` is `fail_closed`.
        """
        del now  # the set is pruned with every fetch; who has outlived its token does no harm
        standing = self._set.standing(claims)
        if standing is Standing.REVOKED:
            raise RevokedToken
        if standing is Standing.STALE_CLAIMS:
            raise StaleClaims
        if self._when_away is WhenAway.FAIL_CLOSED and not self._is_trusted():
            raise RevocationsUnavailable(
                f"the revocation feed is too old: {self._failure or 'not fetched yet'}",
                retry_after=RETRY_AFTER,
            )

    def status(self) -> FeedStatus:
        """What is known of revocations and how old it is, without a fetch."""
        age = self._age()
        return FeedStatus(
            entries=len(self._set),
            age=None if age is None else timedelta(seconds=age),
            trusted=self._is_trusted(),
            failure=self._failure,
        )

    def close(self) -> None:
        """Follow no longer; the knowledge of before grows old."""
        self._stop.set()

    def fetch(self) -> None:
        """Fetch once, now; it blocks, and never raises: see `status`."""
        with self._fetching:
            try:
                self._fetch()
            except (FetchFailed, FeedRefused) as exc:
                self._failed(str(exc))
            except Exception:
                log.exception("fetching the revocation feed failed in an unexpected way")
                self._failed("defect")
            else:
                if self._failure is not None:
                    log.info("the revocation feed is followed again")
                self._failure = None

    def _start(self) -> None:
        with self._starting:
            if self._follower == os.getpid():
                return
            self._first, self._fetching, self._stop = Future(), Lock(), Event()
            # So that nobody who gives up waiting can cancel it for the others.
            self._first.set_running_or_notify_cancel()
            self._follower = os.getpid()
            arguments = (self._first, self._stop)
            try:
                Thread(
                    target=self._follow, args=arguments, name="authsvc-revocations", daemon=True
                ).start()
            except RuntimeError as exc:
                # The process has too many threads, or is ending: the next request tries again.
                self._follower, self._failure = 0, str(exc)
                self._first.set_result(None)

    def _follow(self, first: Flight, stop: Event) -> None:
        self.fetch()
        first.set_result(None)
        # Spread, so that services which started together do not stay together.
        while not stop.wait(self._interval * random.uniform(0.9, 1.0)):  # noqa: S311 - no secret
            self.fetch()

    def _failed(self, cause: str) -> None:
        if self._failure is None:
            log.warning("the revocation feed could not be fetched: %s", cause)
        self._failure = cause

    def _fetch(self) -> None:
        lent = self._require()
        feed = self._ask(lent, self._since(lent))
        if feed is not None and self._wants_all(feed):
            # The numbers of another history, or fewer than before: a failover or a restore.
            feed = self._ask(lent, None)
            if feed is not None and feed.since is not None:
                raise FetchFailed("everything was asked for, and only a part came")
        if feed is not None:
            self._accept(feed, lent)
        self._set.prune(lent.clock.now())

    def _since(self, lent: FollowedIssuer) -> int | None:
        """What to ask for: what is new, or everything if the last document has expired."""
        newest = self._newest
        if newest is None or lent.clock.now() >= newest.iat + VALID:
            return None
        return newest.seq

    def _ask(self, lent: FollowedIssuer, since: int | None) -> Feed | None:
        """A document; None if the one of the last time has not changed."""
        asked = {KINDS_PARAMETER: KINDS_ASKED} | ({} if since is None else {"since": str(since)})
        feed_uri = self._uri or lent.issuer.rstrip("/") + PATH
        uri = str(httpx.URL(feed_uri).copy_merge_params(asked))
        headers = {"Accept": MEDIA_TYPE}
        if self._etag is not None and self._etag[0] == uri:
            headers["If-None-Match"] = self._etag[1]
        answer, body = lent.transfer.get(uri, headers, at_most=MAX_LENGTH)
        if answer.status_code == httpx.codes.NOT_MODIFIED and "If-None-Match" in headers:
            return None  # and nothing became younger by that
        if answer.status_code != httpx.codes.OK:
            raise FetchFailed(f"{uri} answered {answer.status_code}")
        feed = self._read(lent, body)
        etag = answer.headers.get("etag")
        self._etag = None if etag is None else (uri, etag)
        return feed

    def _read(self, lent: FollowedIssuer, body: bytes) -> Feed:
        document = read(body.decode("ascii", "replace"))
        if self._set.names_key(document.kid):
            raise FeedRefused("revoked_kid")
        key = lent.keys.find(document.kid)
        if key is None:
            # Not as for a token's unknown kid, which strangers can use up for a minute.
            wait({lent.keys.fetch_again()}, timeout=lent.patience)
            key = lent.keys.find(document.kid)
        if key is None:
            raise FeedRefused("unknown_kid")
        feed = verify_feed(document, key, issuer=lent.issuer, now=lent.clock.now())
        signer = digest(feed.kid)
        if any(entry.kind is Kind.KID and entry.digest == signer for entry in feed.entries):
            raise FeedRefused("revoked_kid")
        return feed

    def _wants_all(self, feed: Feed) -> bool:
        newest = self._newest
        if feed.since is None:
            return False
        return (
            newest is None
            or feed.epoch != newest.epoch
            or feed.since > newest.seq
            or feed.seq < newest.seq
        )

    def _accept(self, feed: Feed, lent: FollowedIssuer) -> None:
        newest = self._newest
        if newest is not None and feed.epoch == newest.epoch and feed.iat < newest.iat:
            raise FeedRefused("older_than_before")
        for entry in feed.entries:
            self._set.add(entry)
        age = max((lent.clock.now() - feed.iat).total_seconds(), 0.0)
        self._newest = Newest(feed.epoch, feed.iat, feed.seq, age, lent.clock.monotonic())

    def _age(self) -> float | None:
        """Seconds since `iat`: by the clock when it came, then by one that is never set."""
        newest = self._newest
        if newest is None:
            return None
        return newest.age + self._require().clock.monotonic() - newest.accepted_at

    def _is_trusted(self) -> bool:
        age = self._age()
        return age is not None and age <= self._max_age

    def _require(self) -> FollowedIssuer:
        if self._lent is None:
            raise RuntimeError("give this RevocationFeed to a TokenVerifier first")
        return self._lent
