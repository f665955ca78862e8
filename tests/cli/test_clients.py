from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from jwt.algorithms import ECAlgorithm
from sqlmodel import select

from authsvc.flows.client_authentication import ClientAttempt, authenticate_client
from authsvc.protocol.client_auth import PresentedClient
from authsvc.protocol.clients import AuthMethod, Client
from authsvc.protocol.oauth_errors import InvalidClient
from authsvc.store.database import Database
from authsvc.store.tables import AuditRecord, ClientRow
from authsvc_client.tokens.secret import Secret
from tests.cli.conftest import Command, Done
from tests.conftest import CALLER, NO_REMOTE_KEYS

ORDERS, BILLING = "https://orders.example.com", "https://billing.example.com"
CREATE = ("clients", "create", "shop", "--resource", ORDERS, "--scope", "orders:read")


def jwk(**members: object) -> dict[str, Any]:
    key = generate_private_key(SECP256R1())
    return {**json.loads(ECAlgorithm.to_jwk(key.public_key())), **members}


def private_jwk() -> dict[str, Any]:
    jwk: dict[str, Any] = json.loads(ECAlgorithm.to_jwk(generate_private_key(SECP256R1())))
    return jwk


def jwks(*keys: dict[str, Any]) -> str:
    return json.dumps({"keys": keys})


async def authenticates(db: Database, secret: str, client_id: str = "shop") -> Client | None:
    try:
        return await authenticate_client(
            db,
            attempt=ClientAttempt(
                PresentedClient(client_id, AuthMethod.CLIENT_SECRET_BASIC, Secret(secret)),
                network="203.0.113.7/32",
                caller=CALLER,
            ),
            remote_keys=NO_REMOTE_KEYS,
            issuer="https://auth.example.com",
            limits=None,
            now=datetime.now(UTC),
        )
    except InvalidClient:
        return None


async def secret_of_new(authsvc: Command, *more: str) -> str:
    done = await authsvc(*CREATE, "--json", *more)
    assert 0 == done.code, done.err
    secret: str = done.json["client_secret"]
    return secret


async def everything(db: Database) -> str:
    """All that is stored about clients, and the audit trail."""
    async with db.transaction() as session:
        rows = [*await session.exec(select(ClientRow)), *await session.exec(select(AuditRecord))]
    return repr(rows)


async def audited(db: Database) -> list[tuple[str, dict[str, object]]]:
    async with db.transaction() as session:
        records = await session.exec(select(AuditRecord).order_by(AuditRecord.at))  # type: ignore[arg-type]  # a column at run time
        return [(record.event, record.details) for record in records]


@pytest.mark.requirement("A4")
async def test_a_secret_is_shown_once_and_never_stored(authsvc: Command, db: Database) -> None:
    created = await authsvc(*CREATE)

    label, secret = created.out.splitlines()[-1].split()
    assert ("Created shop.", "client_secret") == (created.out.splitlines()[0], label)
    assert (48, True) == (len(secret), secret.startswith("acs1."))
    assert "not shown again" in created.err
    assert secret not in await everything(db)
    for command in (("show", "shop"), ("show", "shop", "--json"), ("list", "--json"), ("list",)):
        assert secret not in (await authsvc("clients", *command)).out
    assert ("orders:read",) == (await authenticates(db, secret)).scopes  # type: ignore[union-attr]


@pytest.mark.requirement("O16")
async def test_a_client_has_what_was_listed_and_no_more(authsvc: Command) -> None:
    plain = await authsvc(*CREATE, "--json")
    verifier = await authsvc("clients", "create", "orders", "--audience", ORDERS, "--json")

    assert (["client_credentials"], ["orders:read"], [ORDERS], []) == tuple(
        plain.json[member] for member in ("grant_types", "scopes", "resources", "audiences")
    )
    assert ([], [], [], [ORDERS]) == tuple(
        verifier.json[member] for member in ("grant_types", "scopes", "resources", "audiences")
    )


@pytest.mark.requirement("T15", "O16")
@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("Shop", "--resource", ORDERS), "client_id: Use 1 to 64 characters"),
        (("0199f3a1-6c1e-7cc0-9d65-5f8f3f3a1b52", "--resource", ORDERS), "client_id: Choose"),
        (("authsvc", "--resource", ORDERS), "client_id: Choose"),
        (("shop",), "resource: Name what its tokens are for (--resource)"),
        (("shop", "--resource", "with space"), "resource: Use at most"),
        (("shop", "--resource", f"{ORDERS}#part"), "resource: A resource has no fragment"),
        (("shop", "--resource", ORDERS, "--scope", 'a"quote'), "scope: Use at most"),
        (("shop", "--resource", ORDERS, "--name", "\x1b[31m"), "name: Use 1 to 100"),
        (("shop", "--resource", ORDERS, "--alg", "ES256"), "jwks: Only a private_key_jwt"),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
async def test_a_client_that_will_not_do_is_refused_in_one_line(
    authsvc: Command, db: Database, arguments: tuple[str, ...], says: str
) -> None:
    done = await authsvc("clients", "create", *arguments)

    assert (1, "", 1) == (done.code, done.out, len(done.err.splitlines()))
    assert says in done.err
    assert "[]" == await everything(db)


@pytest.mark.requirement("T15")
async def test_an_id_is_given_once(authsvc: Command) -> None:
    await authsvc(*CREATE)
    await authsvc("clients", "disable", "shop")

    again = await authsvc(*CREATE)

    assert (1, "client_id: There is a client of this id already; choose another.\n") == (
        again.code,
        again.err,
    )


@pytest.mark.requirement("A4")
async def test_two_secrets_overlap_and_never_three(authsvc: Command, db: Database) -> None:
    first = await secret_of_new(authsvc)

    rotated = await authsvc("clients", "rotate-secret", "shop", "--json")
    second = rotated.json["client_secret"]
    during = [await authenticates(db, secret) is not None for secret in (first, second)]
    again = await authsvc("clients", "rotate-secret", "shop", "--overlap", "1")
    third = again.out.split()[-1]
    after = [await authenticates(db, secret) is not None for secret in (first, second, third)]
    shown = await authsvc("clients", "show", "shop")

    ends = datetime.fromisoformat(rotated.json["previous_secret_expires_at"])
    assert timedelta(hours=23) < ends - datetime.now(UTC) <= timedelta(hours=24)
    assert ([True, True], [False, True, True]) == (during, after)
    assert "at most two are valid" in again.err
    assert "never more than two" not in rotated.err
    assert "the previous one is valid until" in shown.out


@pytest.mark.requirement("A4")
async def test_a_leaked_secret_ends_at_once(authsvc: Command, db: Database) -> None:
    leaked = await secret_of_new(authsvc)

    done = await authsvc("clients", "rotate-secret", "shop", "--overlap", "0")

    assert "The old secret has ended." in done.err
    assert None is await authenticates(db, leaked)
    assert None is not await authenticates(db, done.out.split()[-1])


async def test_disabling_counts_at_once_and_enabling_brings_all_back(
    authsvc: Command, db: Database
) -> None:
    secret = await secret_of_new(authsvc)

    disabled = await authsvc("clients", "disable", "shop")
    during = await authenticates(db, secret)
    again = await authsvc("clients", "disable", "shop")
    enabled = await authsvc("clients", "enable", "shop")
    enabled_again = await authsvc("clients", "enable", "shop")

    assert disabled.out.startswith("Disabled shop.")
    assert "within 900 s" in disabled.out
    assert None is during
    assert "shop was disabled already.\n" == again.out
    assert ("Enabled shop.\n", "shop is not disabled.\n") == (enabled.out, enabled_again.out)
    assert None is not await authenticates(db, secret)


async def test_a_client_has_a_secret_or_keys(authsvc: Command, tmp_path: Path) -> None:
    (tmp_path / "keys.json").write_text(jwks(jwk(kid="k1")))
    keys = ("--alg", "ES256", "--jwks", "keys.json")
    await authsvc(*CREATE)

    created = await authsvc(
        "clients", "create", "billing", "--auth-method", "private_key_jwt",
        "--resource", ORDERS, *keys,
    )  # fmt: skip
    shown = await authsvc("clients", "show", "billing")
    piped = await authsvc(
        "clients", "set-keys", "billing", "--alg", "ES256", "--jwks", "-",
        stdin=jwks(jwk(kid="k1"), jwk(kid="k2")),
    )  # fmt: skip
    after = await authsvc("clients", "show", "billing", "--json")
    wrong = [
        await authsvc("clients", "set-keys", "shop", *keys),
        await authsvc("clients", "rotate-secret", "billing"),
    ]

    assert ("Created billing.\n", "") == (created.out, created.err)
    assert "ES256 keys: k1" in shown.out
    assert "billing has new keys; they are used from now on.\n" == piped.out
    assert ["k1", "k2"] == [key["kid"] for key in after.json["jwks"]["keys"]]
    assert ["see rotate-secret.", "see set-keys."] == [
        done.err.strip().partition("; ")[2] for done in wrong
    ]
    assert [1, 1] == [done.code for done in wrong]


@pytest.mark.requirement("A5")
@pytest.mark.parametrize(
    ("alg", "keys", "says"),
    [
        ("ES256", "nonsense", "- is not JSON"),
        ("ES256", "[]", "jwks: It is not a JWK Set"),
        ("ES256", jwks(private_jwk()), "jwks: It holds a private key"),
        ("RS256", jwks(jwk()), "jwks: It has no signature key for RS256."),
        ("HS256", jwks(jwk()), "alg: Name the algorithm of its assertions: RS256,"),
        ("none", jwks(jwk()), "alg: Name the algorithm"),
        ("ES256", jwks(jwk(kid="1"), jwk(kid="1")), "jwks: Two of its keys"),
        ("ES256", "[" * 70_000, "more than 65536 bytes"),
    ],
    ids=["json", "set", "private", "fit", "symmetric", "none", "kid", "long"],
)
async def test_keys_that_will_not_do_are_refused_in_one_line(
    authsvc: Command, db: Database, alg: str, keys: str, says: str
) -> None:
    done = await authsvc(
        *CREATE, "--auth-method", "private_key_jwt", "--alg", alg, "--jwks", "-", stdin=keys
    )

    assert (1, "", 1) == (done.code, done.out, len(done.err.splitlines()))
    assert says in done.err
    assert "[]" == await everything(db)


async def test_a_key_client_needs_keys_and_their_file_must_be_there(authsvc: Command) -> None:
    method = (*CREATE, "--auth-method", "private_key_jwt", "--alg", "ES256")

    without = await authsvc(*method)
    absent = await authsvc(*method, "--jwks", "absent.json")

    assert "jwks: Give its public keys" in without.err
    assert "absent.json cannot be read: No such file or directory\n" == absent.err


@pytest.mark.requirement("A7")
async def test_keys_may_be_published_by_https_and_in_development_on_this_machine(
    authsvc: Command, environment: pytest.MonkeyPatch
) -> None:
    method = ("--auth-method", "private_key_jwt", "--alg", "ES256", "--resource", ORDERS)

    async def create(client_id: str, uri: str) -> Done:
        return await authsvc("clients", "create", client_id, *method, "--jwks-uri", uri)

    public = await create("a", "https://shop.example/jwks.json")
    local = await create("b", "http://localhost:9000/jwks.json")
    foreign = await create("c", "http://shop.example/jwks.json")
    shown = await authsvc("clients", "show", "a")
    moved = await authsvc(
        "clients", "set-keys", "a", "--alg", "PS256", "--jwks-uri", "https://shop.example/2"
    )
    environment.setenv("AUTHSVC_ENV", "production")
    environment.setenv("AUTHSVC_ISSUER", "https://auth.example.com")
    environment.setenv("AUTHSVC_ARGON2_MEMORY_KIB", "19456")
    environment.setenv("AUTHSVC_ARGON2_TIME", "2")
    in_production = await create("d", "http://localhost:9000/jwks.json")

    assert [0, 0, 1, 0, 1] == [done.code for done in (public, local, foreign, moved, in_production)]
    assert "ES256 keys: https://shop.example/jwks.json" in shown.out
    for refused in (foreign, in_production):
        assert "jwks_uri: Use an https URL without credentials and fragment.\n" == refused.err


@pytest.mark.requirement("O16", "O12")
async def test_lists_are_replaced_and_grants_follow(authsvc: Command) -> None:
    await authsvc(*CREATE)

    given = await authsvc("clients", "set-scopes", "shop", "b a", "b")
    same = await authsvc("clients", "set-scopes", "shop", "a", "b")
    await authsvc("clients", "set-resources", "shop", BILLING, ORDERS)
    await authsvc("clients", "set-audiences", "shop", BILLING)
    full = (await authsvc("clients", "show", "shop", "--json")).json
    for member in ("scopes", "resources", "audiences"):
        await authsvc("clients", f"set-{member}", "shop")
    bare = (await authsvc("clients", "show", "shop", "--json")).json
    bad = await authsvc("clients", "set-resources", "shop", "with space")

    members = ("scopes", "resources", "audiences", "grant_types")
    assert given.out.startswith("shop now has the scopes: a b.")
    assert "shop has these scopes already: a b.\n" == same.out
    assert (["a", "b"], [BILLING, ORDERS], [BILLING], ["client_credentials"]) == tuple(
        full[member] for member in members
    )
    assert ([], [], [], []) == tuple(bare[member] for member in members)
    assert (1, True) == (bad.code, bad.err.startswith("resource: "))


@pytest.mark.parametrize(
    "act",
    ["show", "disable", "enable", "rotate-secret", "set-keys", "set-scopes", "set-resources",
     "set-audiences"],
)  # fmt: skip
@pytest.mark.parametrize("client", ["nobody", "No Id\n"], ids=["unknown", "no id"])
async def test_no_client_is_refused_in_one_line(authsvc: Command, act: str, client: str) -> None:
    done = await authsvc("clients", act, client)

    assert (1, "There is no such client; see `authsvc clients list`\n") == (done.code, done.err)


async def test_lists_of_clients_go_by_pages(authsvc: Command) -> None:
    nothing = await authsvc("clients", "list")
    for client_id in ("b", "a", "c"):
        await authsvc("clients", "create", client_id, "--resource", ORDERS)
    await authsvc("clients", "disable", "b")

    table = await authsvc("clients", "list")
    page = await authsvc("clients", "list", "--limit", "2", "--json")
    rest = await authsvc("clients", "list", "--after", "b", "--json")

    assert "No clients.\n" == nothing.out
    assert ["CLIENT", "a", "b", "c"] == [line.split()[0] for line in table.out.splitlines()]
    assert ["active", "disabled", "active"] == [
        line.split()[3] for line in table.out.splitlines()[1:]
    ]
    assert (["a", "b"], "b") == ([c["client_id"] for c in page.json["clients"]], page.json["next"])
    assert (["c"], None) == ([c["client_id"] for c in rest.json["clients"]], rest.json["next"])


@pytest.mark.requirement("S4")
async def test_every_change_is_audited(authsvc: Command, db: Database) -> None:
    await authsvc(*CREATE)
    await authsvc("clients", "rotate-secret", "shop")
    await authsvc("clients", "set-scopes", "shop", "a")
    await authsvc("clients", "set-scopes", "shop", "a")
    await authsvc("clients", "disable", "shop")
    await authsvc("clients", "disable", "shop")
    await authsvc("clients", "enable", "shop")

    found = await audited(db)

    assert [
        "client_created",
        "client_secret_rotated",
        "client_changed",
        "client_disabled",
        "client_enabled",
    ] == [event for event, _ in found]
    assert {"shop"} == {details["client_id"] for _, details in found}
    assert {
        "client_id": "shop",
        "member": "scopes",
        "before": ["orders:read"],
        "after": ["a"],
    } == found[2][1]
