"""The vectors of the revocation feed: this library agrees with every one of them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest

from authsvc.protocol.revocation_feed import entry_text, payload_text
from authsvc_client.tokens import base64url
from authsvc_client.tokens.revocations import (
    Entry,
    Kind,
    Standing,
    digest,
    everything_before,
    of_client_before,
)
from authsvc_client.verifier import RevocationFeed, RevokedToken, StaleClaims, TokenVerifier
from tests.support.key_server import FEED, JWKS, KeyServer, MovableClock
from tests.verifier.feeds import Issuer

VECTORS_DIR = Path(__file__).parents[2] / "vectors"
VECTORS: dict[str, Any] = json.loads((VECTORS_DIR / "revocation_feeds.json").read_text())
SCHEMA = jsonschema_rs.validator_for(
    json.loads((VECTORS_DIR / "revocation_feed.schema.json").read_text())
)
# What a schema cannot say, since it looks at one member at a time.
BETWEEN_MEMBERS = {"another life", "a part that begins after its end"}


@dataclass
class Scene:
    """A verifier of the vectors' issuer at the vectors' moment."""

    verifier: TokenVerifier
    feed: RevocationFeed
    server: KeyServer
    clock: MovableClock

    def offer(self, document: str) -> str | None:
        """Send it; returns why it was refused."""
        self.server.feed = lambda _: document
        self.feed.fetch()
        return self.feed.status().failure


@pytest.fixture
def scene(server: KeyServer) -> Callable[[], Any]:
    server.document = json.dumps(VECTORS["jwks"]).encode()

    @contextmanager
    def make() -> Iterator[Scene]:
        clock = MovableClock(datetime.fromtimestamp(VECTORS["now"], UTC))
        feed = RevocationFeed(
            when_away="fail_open", interval=timedelta(hours=1), uri=server.origin + FEED
        )
        server.feed = lambda _: ""
        verifier = TokenVerifier(
            issuer=VECTORS["issuer"],
            audience=VECTORS["audience"],
            jwks_uri=server.origin + JWKS,
            revocations=feed,
            clock=clock,
        )
        verifier.prefetch_sync()
        yield Scene(verifier, feed, server, clock)
        feed.close()

    return make


@pytest.mark.requirement("D3", "D4")
@pytest.mark.parametrize("vector", VECTORS["valid"], ids=lambda vector: vector["name"])
def test_a_good_document_is_accepted_and_says_what_becomes_of_a_token(
    scene: Callable[[], Any], vector: dict[str, Any]
) -> None:
    with scene() as found:
        assert found.offer(vector["document"]) is None

        standing = Standing.GOOD
        try:
            found.verifier.verify_sync(VECTORS["token"])
        except RevokedToken:
            standing = Standing.REVOKED
        except StaleClaims:
            standing = Standing.STALE_CLAIMS
        assert vector["standing"] == standing


@pytest.mark.requirement("T9")
@pytest.mark.parametrize("vector", VECTORS["invalid"], ids=lambda vector: vector["name"])
def test_a_bad_document_is_refused_as_a_whole_for_the_reason_that_is_given(
    scene: Callable[[], Any], vector: dict[str, Any]
) -> None:
    with scene() as found:
        assert vector["reason"] == found.offer(vector["document"])

        assert (0, None) == (found.feed.status().entries, found.feed.status().age)
        found.verifier.verify_sync(VECTORS["token"])


@pytest.mark.parametrize("story", VECTORS["stories"], ids=lambda story: story["name"])
def test_a_story_ends_as_it_should(scene: Callable[[], Any], story: dict[str, Any]) -> None:
    with scene() as found:
        for number, step in enumerate(story["steps"]):
            found.clock.advance(0 if number == 0 else 5)
            answers = iter(step["answers"])
            found.server.feed = lambda _, answers=answers: next(answers)
            found.server.requests.clear()

            found.feed.fetch()

            queries = [f"?since={since}" if since is not None else "" for since in step["asks"]]
            assert queries == Issuer(found.server, found.clock).asked()
            assert step["accepted"] == (found.feed.status().failure is None)
        for identifier in story["revoked"]:
            assert (Kind.SID, digest(identifier)) in found.feed._set._until


def payload_of(document: str) -> Any:
    return json.loads(base64url.decode(document.split(".")[1]))


def test_the_schema_agrees_with_the_vectors() -> None:
    for vector in VECTORS["valid"]:
        SCHEMA.validate(payload_of(vector["document"]))
    for vector in VECTORS["invalid"]:
        if vector["reason"].startswith("bad_") and vector["reason"] not in {
            "bad_header",
            "bad_signature",
        }:
            said = SCHEMA.is_valid(payload_of(vector["document"]))
            assert said == (vector["name"] in BETWEEN_MEMBERS), vector["name"]


def test_the_schema_agrees_with_what_we_write() -> None:
    moment = datetime.fromtimestamp(VECTORS["now"], UTC)
    entries = [
        *(Entry(kind, moment, digest("1")) for kind in (Kind.SID, Kind.JTI, Kind.KID)),
        Entry(Kind.VER, moment, digest("1"), 2),
        everything_before(moment, until=moment),
        of_client_before(digest("1"), moment, until=moment),
    ]

    for since in (None, 3):
        text = payload_text(
            issuer="https://auth.example.com",
            iat=moment,
            epoch="e",
            seq=7,
            entries=map(entry_text, entries),
            since=since,
        )
        SCHEMA.validate(json.loads(text))
        assert 6 == len(json.loads(text)["entries"])


def test_names_are_unique() -> None:
    for vectors in (VECTORS["valid"], VECTORS["invalid"], VECTORS["stories"]):
        names = [vector["name"] for vector in vectors]
        assert len(names) == len(set(names))
