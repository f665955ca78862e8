from __future__ import annotations

import json
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from authsvc.cli import token_keys
from authsvc.cli.token_explained import Explanation, explain
from authsvc.cli.token_keys import keys_of_directory
from authsvc.keys.inventory import take_inventory
from authsvc.keys.refresh_tokens import RefreshKeys, seal
from authsvc.operator_errors import OperatorError
from authsvc.protocol.refresh import Delivery, RefreshToken
from authsvc.settings import Settings
from authsvc.store import spent_jtis
from authsvc.store.database import Database
from authsvc_client.tokens.jwk import rsa_jwk
from tests.cli.conftest import Command, Done
from tests.conftest import CALLER
from tests.support.accounts import add_user, log_in
from tests.support.forge import CLAIMS, HEADER, segment, sign, without
from tests.support.key_material import kid, put_mac, put_signing, rsa_key

DAY = timedelta(days=1)
ISSUER = "http://localhost:8000"
FAMILY = UUID("1f6f2a38-9d1c-4a8e-9a55-0f7f3b0c2d11")


@pytest.fixture
def keys_dir(tmp_path: Path) -> Path:
    """Active for a day: signing key 0 and MAC key 1; where the commands look."""
    path = tmp_path / "keys"
    now = datetime.now(UTC).replace(microsecond=0)
    put_signing(path, now - DAY)
    put_mac(path, now - DAY)
    return path


def claims(**changed: Any) -> dict[str, Any]:
    now = int(time.time())
    return {
        **CLAIMS,
        "iss": ISSUER,
        "exp": now + 900,
        "iat": now,
        "nbf": now - 30,
        "auth_time": now,
        **changed,
    }


def refresh_token(keys_dir: Path, generation: int = 0, family: UUID = FAMILY) -> str:
    inventory = take_inventory(
        keys_dir, now=datetime.now(UTC), passphrase=None, refresh_absolute_ttl=30 * DAY
    )
    keys = RefreshKeys(inventory.reading.mac_keys.values())
    return seal(
        keys,
        RefreshToken(
            mac_key_id=keys.sealing_key(datetime.now(UTC)).key_id,
            family_id=family,
            generation=generation,
            delivery=Delivery.SPA,
        ),
    )


@pytest.mark.usefixtures("keys_dir")
async def test_a_good_access_token_is_explained_and_accepted(run: Command) -> None:
    token = sign(HEADER, claims())

    people = await run("token", "inspect", token)
    machines = await run("token", "inspect", token, "--json")

    assert 0 == people.code, people.out
    assert "A verifier would accept this access token" in people.out
    assert ", in 14 minutes" in people.out or ", in 15 minutes" in people.out
    assert f"is that of {kid()}" not in people.out
    assert "(signing)" in people.out
    assert machines.json["accepted"] is True
    assert claims()["sub"] == machines.json["claims"]["sub"]
    assert all(check["passed"] for check in machines.json["checks"])


def remove(directory: Path, pattern: str) -> None:
    for file in directory.glob(pattern):
        file.unlink()


@pytest.mark.requirement("S3")
async def test_no_signature_and_no_mac_is_printed(run: Command, keys_dir: Path) -> None:
    access = sign(HEADER, claims())
    refresh = refresh_token(keys_dir)

    for token in (access, refresh):
        for form in ([], ["--json"]):
            shown = await run("token", "inspect", token, *form)
            assert token[-40:] not in shown.out + shown.err
            assert token not in shown.out + shown.err


@pytest.mark.parametrize("prefix", ["", "Bearer ", "bearer  "])
@pytest.mark.usefixtures("keys_dir")
async def test_a_token_may_come_from_a_pipe_with_its_scheme(run: Command, prefix: str) -> None:
    done = await run("token", "inspect", "-", stdin=f"{prefix}{sign(HEADER, claims())}\n")

    assert 0 == done.code, done.out


def now_plus(**span: float) -> int:
    return int(time.time() + timedelta(**span).total_seconds())


@pytest.mark.requirement("T3", "T4", "T5", "T7", "T8", "T9")
@pytest.mark.parametrize(
    ("header", "payload", "says"),
    [
        ({}, {"exp": now_plus(hours=-3), "iat": 1, "nbf": 1}, "3 hours ago: it has expired"),
        ({}, {"exp": now_plus(hours=9), "nbf": now_plus(hours=5)}, "compare the clocks"),
        ({}, {"exp": "tomorrow"}, "exp is tomorrow, a value that access tokens never have"),
        ({}, {"exp": True}, "exp is true, a value that access tokens never have"),
        ({}, {"aud": ["orders", "billing"]}, "orders, billing; it is not meant for authsvc"),
        ({}, {"aud": None}, "audience is null, a value that access tokens never have"),
        ({}, {"iss": "https://evil.example"}, "issuer is https://evil.example and not"),
        ({"typ": "JWT"}, {}, "typ is JWT and not at+jwt: some other kind of token"),
        ({"typ": "logout+jwt"}, {}, "some other kind of token"),
        ({"alg": "none"}, {}, "alg is none; only RS256"),
        ({"alg": "HS256"}, {}, "alg is HS256; only RS256"),
        ({"jku": "https://evil.example/jwks"}, {}, "header also holds jku"),
        ({"crit": ["exp"]}, {}, "header also holds crit"),
        ({"kid": kid(7)}, {}, "is not that of any key in"),
        ({"kid": None}, {}, "kid is missing"),
        ({}, {"roles": "admin"}, "roles is admin, a value that access tokens never have"),
    ],
)
@pytest.mark.usefixtures("keys_dir")
async def test_a_refused_access_token_is_told_why(
    run: Command, header: dict[str, Any], payload: dict[str, Any], says: str
) -> None:
    whole = {**HEADER, **header}
    token = sign({k: v for k, v in whole.items() if v is not None}, claims(**payload))

    done = await run("token", "inspect", token)

    assert 1 == done.code
    summary = done.out.splitlines()[-1]
    assert summary.startswith("A verifier would refuse this access token: ")
    assert says in summary


@pytest.mark.parametrize("claim", ["iss", "sub", "aud", "exp", "iat", "nbf", "jti", "client_id"])
@pytest.mark.usefixtures("keys_dir")
async def test_a_missing_claim_is_named(run: Command, claim: str) -> None:
    done = await run("token", "inspect", sign(HEADER, without(claims(), claim)), "--json")

    assert 1 == done.code
    assert done.json["summary"].endswith(f": {claim} must be there and is not.")


@pytest.mark.usefixtures("keys_dir")
async def test_a_changed_token_is_told_from_one_of_another_key(run: Command) -> None:
    header, _, signature = sign(HEADER, claims()).split(".")
    changed = f"{header}.{segment(claims(roles=['root']))}.{signature}"

    done = await run("token", "inspect", changed)

    assert 1 == done.code
    assert "signature is not of that key: the token was changed" in done.out


async def test_a_token_of_a_retired_key_says_since_when(run: Command, keys_dir: Path) -> None:
    now = datetime.now(UTC).replace(microsecond=0)
    remove(keys_dir, "2*.pem")
    put_signing(keys_dir, now - 3 * DAY)
    put_signing(keys_dir, now - 2 * DAY, 1)

    done = await run("token", "inspect", sign(HEADER, claims()))

    assert 1 == done.code
    assert "which is expired since" in done.out


async def test_without_keys_a_token_is_decoded_and_not_judged(run: Command) -> None:
    good = await run("token", "inspect", sign(HEADER, claims()))
    bad = await run("token", "inspect", sign(HEADER, claims(aud="orders")))

    assert (1, 1) == (good.code, bad.code)
    assert "is not known" in good.out.splitlines()[-1]
    assert "authsvc keys add --first" in good.out
    assert '"sub"' not in good.out.splitlines()[-1]
    assert CLAIMS["sub"] in good.out
    assert "would refuse" in bad.out.splitlines()[-1]


@pytest.mark.usefixtures("keys_dir")
async def test_another_service_sees_through_its_own_eyes(run: Command, tmp_path: Path) -> None:
    """Its audience, its issuer, and the JWKS that it has cached."""
    jwks = tmp_path / "jwks.json"
    jwks.write_text(json.dumps({"keys": [rsa_jwk(rsa_key().public_key())]}))
    token = sign(HEADER, claims(aud="orders", iss="https://auth.example.com"))
    eyes = ["--audience", "orders", "--issuer", "https://auth.example.com", "--jwks", str(jwks)]

    ours = await run("token", "inspect", token)
    theirs = await run("token", "inspect", token, *eyes)
    stale = await run("token", "inspect", sign({**HEADER, "kid": kid(3)}, claims()), *eyes)

    assert (1, 0, 1) == (ours.code, theirs.code, stale.code)
    assert f"is a key of {jwks}" in theirs.out
    assert f"is not an RSA key of {jwks}" in stale.out


@pytest.mark.parametrize("content", ["{}", "[]", "<html>", '{"keys": [{"kty": "RSA"}]}', ""])
async def test_what_is_no_jwks_is_one_line(run: Command, tmp_path: Path, content: str) -> None:
    (tmp_path / "jwks.json").write_text(content)

    done = await run("token", "inspect", sign(HEADER, claims()), "--jwks", "jwks.json")

    assert (1, "jwks.json: is not a JWKS with a usable key\n") == (done.code, done.err)


@pytest.mark.parametrize("source", ["http://127.0.0.1:1/jwks", "nowhere.json"])
async def test_a_jwks_that_cannot_be_read_is_one_line(run: Command, source: str) -> None:
    done = await run("token", "inspect", sign(HEADER, claims()), "--jwks", source)

    assert (1, "", 1) == (done.code, done.out, len(done.err.splitlines()))
    assert done.err.startswith(f"{source}: ")


def parts(header: object, payload: object, signature: str = "AAAA") -> str:
    return f"{segment(header)}.{segment(payload)}.{signature}"


HOSTILE = [
    "",
    "x",
    "..",
    "a.b.c",
    "a.b.c.d",
    parts(HEADER, '{"exp": NaN}'),
    parts('{"alg": 1, "alg": 2}', [1]),
    parts("[" * 5000, "9" * 5000),
    parts({**HEADER, "alg": [], "typ": {}, "kid": 7}, {"aud": {}}, "A"),
    parts(HEADER, {"exp": 10**400, "iat": -1, "nbf": 1.5}),
    parts(HEADER, {"sub": "x" * 100_000}),
    parts(HEADER, claims(exp=253_402_300_799)),
    "\x00.\ud800.ä",
    parts({"alg": "\x1b[2J\u202e", "typ": "\n"}, {"\x1b]0;x\x07": 1}),
    "art1.",
    "art1." + "A" * 87,
    "art1." + "_" * 87,
    "art1.ä" + "A" * 86,
]


@pytest.mark.requirement("T10", "B2")
@pytest.mark.parametrize("token", HOSTILE, ids=range(len(HOSTILE)))
@pytest.mark.usefixtures("keys_dir")
async def test_a_hostile_token_is_refused_and_harmless_on_a_terminal(
    run: Command, token: str
) -> None:
    for form in ([], ["--json"]):
        done = await run("token", "inspect", token, *form)

        assert 1 == done.code
        assert "Traceback" not in done.err
        assert not {"\x1b", "\u202e", "\x07", "\x00"} & set(done.out)
    json.loads(done.out, parse_constant=pytest.fail)


@pytest.mark.requirement("T8")
def test_claims_that_are_right_one_by_one_may_contradict_each_other(keys_dir: Path) -> None:
    now = datetime.now(UTC)
    keys = keys_of_directory(Settings.load(keys_dir=keys_dir, issuer=ISSUER), now=now)
    seconds = int(now.timestamp())
    token = sign(HEADER, claims(exp=seconds, iat=seconds))

    summary = explain(token, keys=keys, issuer=ISSUER, audience="authsvc", now=now).summary

    assert summary.endswith(": claims contradict each other: exp must come after nbf and iat.")


@pytest.mark.requirement("T6")
def test_a_token_is_accepted_exactly_when_no_check_fails(keys_dir: Path) -> None:
    """Every character of a good token, changed: the explanation never contradicts the verdict."""
    now = datetime.now(UTC)
    keys = keys_of_directory(Settings.load(keys_dir=keys_dir, issuer=ISSUER), now=now)
    good = sign(HEADER, claims())

    def judge(token: str) -> Explanation:
        return explain(token, keys=keys, issuer=ISSUER, audience="authsvc", now=now)

    assert judge(good).accepted
    for place in range(0, len(good), 7):
        for other in ("A", "_", "=", "."):
            if good[place] == other:
                continue
            changed = judge(good[:place] + other + good[place + 1 :])
            assert not changed.accepted
            assert any(check.passed is False for check in changed.checks)


async def test_a_refresh_token_names_its_session_but_not_its_mac(
    run: Command, keys_dir: Path
) -> None:
    done = await run("token", "inspect", refresh_token(keys_dir, generation=3), "--json")

    assert 0 == done.code
    assert {"session_id": str(FAMILY), "generation": 3, "delivery": "spa"}.items() <= done.json[
        "claims"
    ].items()
    assert "only the database knows" in done.json["summary"]


@pytest.mark.requirement("R10")
async def test_a_refresh_token_that_was_changed_or_whose_key_is_gone_is_told_apart(
    run: Command, keys_dir: Path
) -> None:
    token = refresh_token(keys_dir)
    changed = await run("token", "inspect", token[:-3] + ("AAA" if token[-3:] != "AAA" else "BBB"))
    cut = await run("token", "inspect", token[:-1])
    remove(keys_dir, "refresh-*")
    orphaned = await run("token", "inspect", token)
    lost = await run("token", "inspect", token, "--jwks", "nowhere.json")

    assert (1, 1, 1, 1) == (changed.code, cut.code, orphaned.code, lost.code)
    assert "MAC is wrong" in changed.out
    assert "was cut off or changed" in cut.out
    assert "is unknown here: it was deleted" in orphaned.out


@pytest.fixture
async def family(authsvc: Command, db: Database, keys_dir: Path) -> UUID:
    """A session whose newest token has generation 0."""
    assert callable(authsvc)
    inventory = take_inventory(
        keys_dir, now=datetime.now(UTC), passphrase=None, refresh_absolute_ttl=30 * DAY
    )
    (mac_key,) = inventory.reading.mac_keys.values()
    family = await log_in(db, await add_user(db), delivery=Delivery.SPA, mac_key_id=mac_key.key_id)
    return family.id


async def test_the_database_says_what_would_become_of_a_refresh_token(
    authsvc: Command, db: Database, keys_dir: Path, family: UUID
) -> None:
    """It only looks: asking about an old token is not reuse."""

    async def ask(generation: int) -> Done:
        token = refresh_token(keys_dir, generation, family)
        return await authsvc("token", "inspect", token, "--session")

    newest, ahead, far = await ask(0), await ask(2), await ask(3)
    async with db.autocommit() as connection:
        await connection.fetchrow(
            "UPDATE refresh_families SET generation = 5, rotated_at = now() - interval '1 hour'"
        )
    reused = await ask(4)
    again = await ask(5)
    await authsvc("sessions", "revoke", str(family))
    ended = await ask(5)
    foreign = await authsvc("token", "inspect", refresh_token(keys_dir), "--session")

    assert [0, 0, 1, 1, 0, 1, 1] == [
        done.code for done in (newest, ahead, far, reused, again, ended, foreign)
    ]
    assert "it would be rotated" in newest.out
    assert "presenting it is reuse and ENDS the session" in reused.out
    assert "has been ended" in ended.out
    assert "is not in the database" in foreign.out


@pytest.mark.requirement("T14")
async def test_the_database_says_whether_an_access_token_still_works_here(
    authsvc: Command, family: UUID
) -> None:
    token = sign(HEADER, claims(sid=str(family)))

    alive = await authsvc("token", "inspect", token, "--session")
    await authsvc("sessions", "revoke", str(family))
    ended = await authsvc("token", "inspect", token, "--session")
    elsewhere = await authsvc("token", "inspect", token)

    assert (0, 1, 0) == (alive.code, ended.code, elsewhere.code)
    assert "authsvc itself refuses it" in ended.out


@pytest.mark.usefixtures("keys_dir")
async def test_of_a_services_token_the_database_knows_whether_it_was_ended(
    authsvc: Command, db: Database
) -> None:
    token = sign(HEADER, {**without(claims(client_id="shop", sub="shop"), "sid"), "jti": "1"})
    expires_at = datetime.now(UTC) + timedelta(minutes=15)

    async def inspect() -> tuple[int, str]:
        done = await authsvc("token", "inspect", token, "--session", "--json")
        return done.code, done.json["checks"][-1]["words"]

    unknown = await inspect()
    await authsvc("clients", "create", "shop", "--resource", "https://orders.example.com")
    good = await inspect()
    async with db.autocommit() as connection:
        await spent_jtis.revoke_access_token(
            connection,
            client_id="shop",
            jti="1",
            issued_at=datetime.now(UTC),
            expires_at=expires_at,
            caller=CALLER,
        )
    revoked = await inspect()
    await authsvc("clients", "disable", "shop")
    disabled = await inspect()

    gone = (1, "is disabled, or unknown")
    assert [gone, (0, "is enabled, and has not revoked it"), gone] == [unknown, good, disabled]
    assert (1, "has revoked this token") == revoked


@pytest.mark.finding("P29")
@pytest.mark.parametrize("proxy", ["socks5://127.0.0.1:1", "gopher://127.0.0.1:1"])
def test_a_proxy_that_cannot_be_used_is_one_line_that_names_it(
    monkeypatch: pytest.MonkeyPatch, proxy: str
) -> None:
    monkeypatch.setenv("ALL_PROXY", proxy)

    with pytest.raises(OperatorError, match=f"through the proxy {proxy}"):
        token_keys._fetch("https://auth.example.com/keys")
