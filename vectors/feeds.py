"""The vectors of the revocation feed (docs/revocation-feed.md); `generate.py` writes them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from typing import Any

from authsvc_client.tokens import base64url

Json = dict[str, Any]
# header, payload, name of the key -> a JWS with a good signature of that key
Sign = Callable[[object, object, str], str]

EPOCH = "rV2FyqXnYw8cJ3mD"
HOUR = 3660


def digest(identifier: str) -> str:
    """What an entry holds of an identifier."""
    return base64url.encode(hashlib.sha256(identifier.encode()).digest()[:16])


class Feeds:
    """
    Documents of one issuer at one moment.

    Args:
        kids: By the names `current`, `next` and `stranger`.
        claims: Of an access token, which the entries speak of.
    """

    def __init__(
        self, sign: Sign, *, kids: dict[str, str], issuer: str, now: int, claims: Json
    ) -> None:
        self._sign = sign
        self._kids = kids
        self._issuer = issuer
        self._now = now
        self._claims = claims

    def document(
        self, *, key: str = "current", header: Json | None = None, **changes: object
    ) -> str:
        """A document that is good but for the changes; a change to None leaves a member out."""
        iat = int(str(changes.pop("at", self._now)))
        payload: Json = {
            "iss": self._issuer,
            "iat": iat,
            "exp": iat + 60,
            "epoch": EPOCH,
            "seq": 7,
            "entries": [],
        }
        members = {k: v for k, v in (payload | changes).items() if v is not None}
        whole = {"alg": "RS256", "typ": "rvk+jwt", "kid": self._kids[key]} | (header or {})
        return self._sign(whole, members, key)

    def entries(self) -> dict[str, Json]:
        """One of each kind, by a name for it; all but "another …" concern the vectors' token."""
        exp = self._now - 60 + HOUR
        return {
            "session": {"sid": digest(self._claims["sid"]), "exp": exp},
            "token": {"jti": digest(self._claims["jti"]), "exp": exp},
            "key": {"kid": digest(self._kids["current"]), "exp": exp},
            "subject": {"sub": digest(self._claims["sub"]), "ver": 3, "exp": exp},
            "moment": {"issued_before": self._claims["iat"] + 1, "exp": exp},
            "client": {
                "client_id": digest(self._claims["client_id"]),
                "issued_before": self._claims["iat"] + 1,
                "exp": exp,
            },
            "another session": {"sid": digest("another"), "exp": exp},
            "another client": {
                "client_id": digest("another"),
                "issued_before": self._claims["iat"] + 1,
                "exp": exp,
            },
        }

    def valid(self) -> Iterator[Json]:
        """Documents that every verifier accepts, and what becomes of a token then."""
        found = self.entries()

        def accept(name: str, standing: str, document: str) -> Json:
            return {"name": name, "document": document, "standing": standing}

        yield accept("nothing was revoked", "good", self.document())
        for name, standing in {
            "session": "revoked",
            "token": "revoked",
            "key": "revoked",
            "subject": "stale_claims",
            "moment": "revoked",
            "client": "revoked",
            "another session": "good",
            "another client": "good",
        }.items():
            key = "next" if name == "key" else "current"
            yield accept(
                f"revoked: {name}", standing, self.document(entries=[found[name]], key=key)
            )
        yield accept(
            "one of everything: the worst counts",
            "revoked",
            self.document(entries=list(found.values()), key="next"),
        )
        same = {"sub": found["subject"]["sub"], "ver": 2, "exp": found["subject"]["exp"]}
        yield accept("a version that the token has reached", "good", self.document(entries=[same]))
        at = {"issued_before": self._claims["iat"], "exp": found["moment"]["exp"]}
        yield accept("the moment of its issue", "good", self.document(entries=[at]))
        at = found["client"] | {"issued_before": self._claims["iat"]}
        yield accept("a client's moment is that of its issue", "good", self.document(entries=[at]))
        yield accept(
            "an entry that has expired",
            "good",
            self.document(entries=[found["session"] | {"exp": self._now}]),
        )
        yield accept("signed by the other published key", "good", self.document(key="next"))
        yield accept("the largest number", "good", self.document(seq=2**63 - 1))
        yield accept("55 seconds old", "good", self.document(at=self._now - 55))
        yield accept("expired, within the leeway", "good", self.document(at=self._now - 85))
        yield accept("from the future, within the leeway", "good", self.document(at=self._now + 30))

    def invalid(self) -> Iterator[Json]:
        """Documents that must be refused as a whole, and why."""
        good = self.document()
        found = self.entries()
        signed, _, _ = good.rpartition(".")

        def refuse(name: str, reason: str, document: str) -> Json:
            return {"name": name, "reason": reason, "document": document}

        for name, document in {
            "nothing": "",
            "no signature": signed,
            "padding": f"{good}==",
            "the JSON serialization": json.dumps({"payload": good}),
            "a member twice": self._sign(
                {"alg": "RS256", "typ": "rvk+jwt", "kid": self._kids["current"]},
                f'{{"iss":"{self._issuer}","iss":"{self._issuer}"}}',
                "current",
            ),
        }.items():
            yield refuse(name, "malformed", document)
        for name, header in {
            "an access token's kind": {"typ": "at+jwt"},
            "no kind": {"typ": None},
            "another algorithm": {"alg": "RS512"},
            "no algorithm": {"alg": "none"},
            "a key of its own": {"jku": "https://attacker.test/jwks.json"},
            "crit": {"crit": ["exp"]},
        }.items():
            yield refuse(name, "bad_header", self.document(header=header))
        yield refuse("a key that is not published", "unknown_kid", self.document(key="stranger"))
        stranger = {"kid": self._kids["current"]}
        yield refuse(
            "a stranger's signature",
            "bad_signature",
            self.document(key="stranger", header=stranger),
        )
        other = self.document(entries=[found["session"]])
        yield refuse(
            "another document's signature",
            "bad_signature",
            f"{signed}.{other.rpartition('.')[2]}",
        )
        yield refuse(
            "signed by the key that it names",
            "revoked_kid",
            self.document(entries=[found["key"]]),
        )
        for name, reason, changes in (
            ("another issuer", "wrong_issuer", {"iss": f"{self._issuer}/"}),
            ("no issuer", "bad_members", {"iss": None}),
            ("no entries", "bad_members", {"entries": None}),
            ("a member that nobody knows", "bad_members", {"crit": ["since"]}),
            ("another life", "bad_times", {"exp": self._now + 3600}),
            ("a moment between two steps", "bad_times", {"at": self._now - 1}),
            ("a moment that is no integer", "bad_times", {"iat": self._now + 0.5}),
            ("a moment that is text", "bad_times", {"iat": str(self._now)}),
            ("an empty epoch", "bad_epoch", {"epoch": ""}),
            ("an epoch that is a number", "bad_epoch", {"epoch": 1}),
            ("a number below zero", "bad_seq", {"seq": -1}),
            ("a number that is true", "bad_seq", {"seq": True}),
            ("a number that is too large", "bad_seq", {"seq": 2**63}),
            ("a part that begins after its end", "bad_seq", {"since": 8}),
            ("entries that are no list", "bad_entry", {"entries": {}}),
            ("expired", "expired", {"at": self._now - 90}),
            ("from the future", "not_yet_valid", {"at": self._now + 35}),
        ):
            yield refuse(name, reason, self.document(**changes))
        exp = self._now
        for name, entry in {
            "is text": "revoked",
            "is empty": {},
            "says nothing": {"exp": exp},
            "has no end": {"sid": digest("1")},
            "speaks of two things": {"sid": digest("1"), "jti": digest("1"), "exp": exp},
            "speaks of something unknown": {"client_id": digest("1"), "exp": exp},
            "has a member too many": {"sid": digest("1"), "exp": exp, "why": "logout"},
            "has a whole digest": {"sid": base64url.encode(bytes(32)), "exp": exp},
            "has a padded digest": {"sid": f"{digest('1')}==", "exp": exp},
            "has a second spelling of a digest": {"sid": "A" * 21 + "B", "exp": exp},
            "has no version": {"sub": digest("1"), "exp": exp},
            "has the version zero": {"sub": digest("1"), "ver": 0, "exp": exp},
            "has a version that is text": {"sub": digest("1"), "ver": "2", "exp": exp},
            "has a session's version": {"sid": digest("1"), "ver": 2, "exp": exp},
            "has a client's end but no moment": {"client_id": digest("1"), "ver": 2, "exp": exp},
            "has a client without a digest": {"client_id": "1", "issued_before": 1, "exp": exp},
            "has a moment of a session": {"sid": digest("1"), "issued_before": 1, "exp": exp},
            "has a moment that is no integer": {"issued_before": 1.5, "exp": exp},
        }.items():
            yield refuse(f"an entry that {name}", "bad_entry", self.document(entries=[entry]))

    def stories(self) -> Iterator[Json]:
        """
        Several documents, one after the other, each 5 seconds later.

        `asks`: with what number, or null for everything; a second one where the first answer makes
        the verifier ask again. `accepted`: whether the last of `answers` is.
        """
        one, two = ({"sid": digest(name), "exp": self._now + HOUR} for name in ("one", "two"))
        key = {"kid": digest(self._kids["next"]), "exp": self._now + HOUR}

        def at(step: int) -> int:
            return self._now + 5 * step

        def step(asks: list[int | None], *answers: str, accepted: bool = True) -> Json:
            return {"asks": asks, "answers": list(answers), "accepted": accepted}

        first = step([None], self.document(seq=1, entries=[one]))
        yield {
            "name": "what is new is added to what is known",
            "steps": [first, step([1], self.document(at=at(1), since=1, seq=2, entries=[two]))],
            "revoked": ["one", "two"],
        }
        yield {
            "name": "an entry that is missing later is still true",
            "steps": [first, step([1], self.document(at=at(1), seq=2, entries=[two]))],
            "revoked": ["one", "two"],
        }
        yield {
            "name": "a document that is older than the last one is refused",
            "steps": [
                first,
                step([1], self.document(at=at(1), since=1, seq=1)),
                step([1], self.document(at=at(0), seq=2, entries=[two]), accepted=False),
            ],
            "revoked": ["one"],
        }
        yield {
            "name": "after a failover everything is asked for, and what was known stays",
            "steps": [
                first,
                step(
                    [1, None],
                    self.document(at=at(1), epoch="another", since=1, seq=1),
                    self.document(at=at(1), epoch="another", seq=1, entries=[two]),
                ),
            ],
            "revoked": ["one", "two"],
        }
        yield {
            "name": "a lower number in the same epoch is answered by asking for everything",
            "steps": [
                step([None], self.document(seq=9, entries=[one])),
                step(
                    [9, None],
                    self.document(at=at(1), since=3, seq=4),
                    self.document(at=at(1), seq=4, entries=[two]),
                ),
            ],
            "revoked": ["one", "two"],
        }
        yield {
            "name": "a part that begins later than what is known will not do",
            "steps": [
                first,
                step(
                    [1, None],
                    self.document(at=at(1), since=2, seq=3),
                    self.document(at=at(1), seq=3, entries=[two]),
                ),
            ],
            "revoked": ["one", "two"],
        }
        yield {
            "name": "a key that was named signs no later document",
            "steps": [
                step([None], self.document(seq=1, entries=[one, key])),
                step([1], self.document(at=at(1), key="next", seq=2), accepted=False),
                step([1], self.document(at=at(2), since=1, seq=2, entries=[two])),
            ],
            "revoked": ["one", "two"],
        }
