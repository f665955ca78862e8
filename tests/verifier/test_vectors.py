"""The vectors are what their generator writes, and this library agrees with every one of them."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from authsvc_client.verifier import (
    InvalidToken,
    RevokedToken,
    StaleClaims,
    SystemClock,
    TokenVerifier,
)
from authsvc_client.verifier.key_set import BrokenKeySet, read_key_set
from tests.support.key_server import JWKS, KeyServer

ROOT = Path(__file__).parents[2]
TOKENS: dict[str, Any] = json.loads((ROOT / "vectors" / "access_tokens.json").read_text())
KEY_SETS: list[dict[str, Any]] = json.loads((ROOT / "vectors" / "key_sets.json").read_text())[
    "key_sets"
]


@dataclass(frozen=True)
class Stopped(SystemClock):
    """The moment that the vectors are for."""

    def now(self) -> datetime:
        return datetime.fromtimestamp(TOKENS["now"], UTC)

    def monotonic(self) -> float:
        return 0.0


@pytest.fixture
def verifier(server: KeyServer) -> TokenVerifier:
    server.document = json.dumps(TOKENS["jwks"]).encode()
    return TokenVerifier(
        issuer=TOKENS["issuer"],
        audience=TOKENS["audience"],
        jwks_uri=server.origin + JWKS,
        clock=Stopped(),
    )


def test_the_files_are_what_the_generator_writes() -> None:
    checked = subprocess.run(
        [sys.executable, str(ROOT / "vectors" / "generate.py")],
        capture_output=True,
        text=True,
        check=False,
    )

    assert (0, "") == (checked.returncode, checked.stderr)


async def test_every_good_token_is_accepted(verifier: TokenVerifier) -> None:
    for vector in TOKENS["valid"]:
        claims = await verifier.verify(vector["token"])

        said = vector["claims"]
        audiences = said["aud"] if isinstance(said["aud"], list) else [said["aud"]]
        assert (said["sub"], tuple(audiences)) == (claims.sub, claims.aud), vector["name"]
        assert tuple(said.get("roles", ())) == claims.roles
        assert said.get("scope", "") == claims.scope
        assert said.get("sid") == (str(claims.sid) if claims.sid else None)
        assert said["exp"] == claims.exp.timestamp()


@pytest.mark.requirement("T3", "T4", "T5", "T6", "T7", "T8", "T9", "T10", "T11")
async def test_every_bad_token_is_refused_for_the_reason_that_is_given(
    verifier: TokenVerifier,
) -> None:
    for vector in TOKENS["invalid"]:
        with pytest.raises(InvalidToken) as refusal:
            await verifier.verify(vector["token"])

        assert vector["reason"] == refusal.value.detail, vector["name"]


def test_every_reason_and_every_row_has_a_vector() -> None:
    by_feed = {RevokedToken.cause, StaleClaims.cause}
    causes = {found.cause for found in InvalidToken.__subclasses__()} - by_feed
    assert causes == {vector["reason"] for vector in TOKENS["invalid"]}
    rows = {f"T{number}" for number in range(3, 12)}
    assert rows <= {vector["row"] for vector in TOKENS["invalid"]}


def test_names_are_unique() -> None:
    for vectors in (TOKENS["valid"], TOKENS["invalid"], KEY_SETS):
        names = [vector["name"] for vector in vectors]
        assert len(names) == len(set(names))


@pytest.mark.requirement("K1", "K4")
@pytest.mark.parametrize("vector", KEY_SETS, ids=lambda vector: vector["name"])
def test_from_a_key_set_only_good_keys_are_taken(vector: dict[str, Any]) -> None:
    document = vector["document"].encode()
    if vector["kids"]:
        assert vector["kids"] == list(read_key_set(document))
    else:
        with pytest.raises(BrokenKeySet):
            read_key_set(document)
