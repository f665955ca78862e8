"""Where keys are fetched from, and how little is believed on the way."""

from __future__ import annotations

import gzip
import ssl
from datetime import timedelta

import httpx
import pytest

from authsvc_client.https import FetchFailed, Transfer, check_url
from authsvc_client.verifier import KeysUnavailable, TokenVerifier
from authsvc_client.verifier.freshness import Freshness, freshness
from authsvc_client.verifier.key_source import KeySource, metadata_url
from tests.support.key_material import kid
from tests.support.key_server import JWKS, METADATA, KeyServer
from tests.verifier.conftest import NewToken, NewVerifier


def source(server: KeyServer, *, discover: bool = False) -> KeySource:
    return KeySource(
        issuer=server.origin,
        jwks_uri=None if discover else server.origin + JWKS,
        transfer=Transfer(timeout=timedelta(seconds=2), ssl_context=None),
    )


def failure(server: KeyServer, *, discover: bool = False) -> str:
    with pytest.raises(FetchFailed) as failed:
        source(server, discover=discover).fetch(None, past_caches=False)
    return str(failed.value)


async def test_keys_are_discovered_from_the_issuer_alone(
    new_verifier: NewVerifier, server: KeyServer, token: NewToken
) -> None:
    """RFC 8414 §3."""
    verifier = new_verifier(jwks_uri=None)

    assert await verifier.verify(token())
    assert [METADATA, JWKS] == [path for path, _ in server.requests]


def test_a_discovered_address_is_kept_until_it_fails(server: KeyServer) -> None:
    keys = source(server, discover=True)
    for _ in range(3):
        keys.fetch(None, past_caches=False)
    assert [METADATA, JWKS, JWKS, JWKS] == [path for path, _ in server.requests]

    server.status = 404
    with pytest.raises(FetchFailed):
        keys.fetch(None, past_caches=False)
    server.status = 200
    keys.fetch(None, past_caches=False)

    assert [JWKS, METADATA, JWKS] == [path for path, _ in server.requests][-3:]


@pytest.mark.requirement("T7", "K6")
@pytest.mark.parametrize(
    "changes",
    [
        {"issuer": "https://attacker.test"},
        {"issuer": None},
        {"jwks_uri": None},
        {"jwks_uri": "http://attacker.test/jwks.json"},
        {"jwks_uri": "file:///etc/passwd"},
        {"jwks_uri": "https://user@attacker.test/"},
    ],
    ids=str,
)
def test_metadata_that_is_not_the_issuers_is_not_believed(
    changes: dict[str, str | None], server: KeyServer
) -> None:
    """RFC 8414 §3.3; CVE-2026-48522."""
    server.metadata |= changes

    assert METADATA in failure(server, discover=True)
    assert 0 == server.fetches()


def test_metadata_lies_between_host_and_path() -> None:
    """RFC 8414 §3.1."""
    assert f"https://a.test{METADATA}" == metadata_url("https://a.test")
    assert f"https://a.test{METADATA}" == metadata_url("https://a.test/")
    assert f"https://a.test{METADATA}/tenant" == metadata_url("https://a.test/tenant")


@pytest.mark.parametrize(
    "url",
    [
        "http://auth.example.com",
        "ftp://localhost/",
        "https://",
        "//auth.example.com",
        "https://user:secret@auth.example.com",
        "https://auth.example.com/#x",
        "http://localhost.attacker.test",
        "http://127.0.0.1.attacker.test",
        "http://[::ffff:10.0.0.1]",
    ],
)
def test_an_address_that_others_could_read_or_answer_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="issuer must"):
        check_url(url, "issuer")


@pytest.mark.parametrize(
    "url", ["https://a.test", "http://localhost:8000", "http://127.0.0.9", "http://[::1]:1"]
)
def test_https_and_this_machine_will_do(url: str) -> None:
    assert url == check_url(url, "issuer")


@pytest.mark.requirement("T4")
@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_redirects_are_not_followed(status: int, server: KeyServer) -> None:
    """CVE-2026-102267."""
    server.status = status
    server.headers["Location"] = f"{server.origin}/canary"

    assert f"answered {status}" in failure(server)
    assert [JWKS] == [path for path, _ in server.requests]


@pytest.mark.parametrize("status", [204, 304, 401, 404, 429, 500, 503])
def test_only_200_brings_keys(status: int, server: KeyServer) -> None:
    server.status = status

    assert f"answered {status}" in failure(server)


@pytest.mark.requirement("T10")
def test_what_is_too_large_is_not_read_to_its_end(server: KeyServer) -> None:
    server.document = b" " * 10_000_000

    assert "more than 262144 bytes" in failure(server)


@pytest.mark.requirement("T10")
def test_nothing_is_unpacked(server: KeyServer) -> None:
    """A bomb of zeros is small on the way."""
    server.document = gzip.compress(bytes(50_000_000))
    server.headers["Content-Encoding"] = "gzip"

    assert "compressed" in failure(server)
    assert "identity" == server.requests[0][1]["accept-encoding"]


def test_a_slow_answer_is_given_up(server: KeyServer) -> None:
    keys = KeySource(
        issuer=server.origin,
        jwks_uri=server.origin + JWKS,
        transfer=Transfer(timeout=timedelta(milliseconds=100), ssl_context=None),
    )
    server.gate.clear()

    with pytest.raises(FetchFailed):
        keys.fetch(None, past_caches=False)

    assert 0 == server.answered


def test_nobody_there_is_a_failure_like_any_other(server: KeyServer) -> None:
    keys = KeySource(
        issuer=server.origin,
        jwks_uri="http://127.0.0.1:1/",
        transfer=Transfer(timeout=timedelta(seconds=2), ssl_context=None),
    )

    with pytest.raises(FetchFailed, match=r"http://127\.0\.0\.1:1/"):
        keys.fetch(None, past_caches=False)


def test_a_certificate_is_verified(server: KeyServer) -> None:
    """Plain http behind an https address: no fallback."""
    keys = KeySource(
        issuer=server.origin,
        jwks_uri=server.origin.replace("http:", "https:") + JWKS,
        transfer=Transfer(timeout=timedelta(seconds=2), ssl_context=ssl.create_default_context()),
    )

    with pytest.raises(FetchFailed, match="SSL"):
        keys.fetch(None, past_caches=False)
    assert [] == server.requests


async def test_what_a_verifier_cannot_fetch_it_says_in_words(
    new_verifier: NewVerifier, server: KeyServer, token: NewToken
) -> None:
    server.document = b"<html>"

    with pytest.raises(KeysUnavailable) as refusal:
        await new_verifier().verify(token())

    assert "is no key set: not a JSON object" in refusal.value.detail
    assert 503 == refusal.value.status


def minutes(fresh: float, usable: float, *, storable: bool = True) -> Freshness:
    return Freshness(
        fresh=timedelta(minutes=fresh), usable=timedelta(minutes=usable), storable=storable
    )


DAY = 24 * 60


@pytest.mark.requirement("K2")
@pytest.mark.parametrize(
    ("cache_control", "age", "expected"),
    [
        ("public, max-age=300, stale-while-revalidate=600, stale-if-error=86400", "",
         minutes(5, DAY + 5)),
        ("max-age=300, stale-while-revalidate=600, stale-if-error=86400", "240",
         minutes(1, DAY + 1)),
        ("max-age=300,stale-while-revalidate=3600", "", minutes(5, 65)),
        ("MAX-AGE=300", "", minutes(5, 15)),
        ('max-age="300"', "", minutes(5, 15)),
        ("", "", minutes(5, DAY + 5)),
        ("private", "", minutes(5, DAY + 5)),
        ("max-age=300, max-age=1", "", minutes(5, 15)),
        ("max-age=0", "", minutes(1 / 6, 10 + 1 / 6)),
        ("max-age", "", minutes(1 / 6, 10 + 1 / 6)),
        ("max-age=300", "9000", minutes(1 / 6, 10 + 1 / 6)),
        ("no-cache, max-age=300", "", minutes(1 / 6, 10 + 1 / 6)),
        ("no-store, max-age=300", "", minutes(5, 15, storable=False)),
        ("max-age=9999999999", "", minutes(DAY, 7 * DAY)),
        ("max-age=300, stale-if-error=9999999999", "", minutes(5, 7 * DAY)),
        ("max-age=99999999999999999999", "", minutes(5, DAY + 5)),
        ("max-age=-1, =, ;;, é", "x", minutes(5, DAY + 5)),
    ],
)  # fmt: skip
def test_cache_control_is_honoured_within_bounds(
    cache_control: str, age: str, expected: Freshness
) -> None:
    """RFC 9111 §5.2.2, RFC 5861."""
    assert expected == freshness(cache_control, age)


async def test_a_verifier_can_trust_an_authority_of_its_own(
    new_verifier: NewVerifier, token: NewToken
) -> None:
    assert await new_verifier(ssl_context=httpx.create_ssl_context()).verify(token())


def test_kids_are_those_of_the_set(verifier: TokenVerifier) -> None:
    verifier.prefetch_sync()

    assert (kid(),) == verifier.key_status().kids


@pytest.mark.finding("P29")
@pytest.mark.parametrize(
    ("name", "value", "named"),
    [
        ("ALL_PROXY", "socks5://127.0.0.1:1", "the proxy socks5://127.0.0.1:1"),
        ("ALL_PROXY", "http://me:secret@127.0.0.1:1", "the proxy http://127.0.0.1:1"),
        ("ALL_PROXY", "gopher://127.0.0.1:1", "the proxy gopher://127.0.0.1:1"),
        ("SSL_CERT_FILE", "/nonexistent", "SSL_CERT_FILE"),
    ],
)
def test_what_the_environment_breaks_is_a_failed_fetch_with_its_cause(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, named: str
) -> None:
    monkeypatch.setenv(name, value)
    keys = KeySource(
        issuer="https://auth.example.com",
        jwks_uri="https://auth.example.com/keys",
        transfer=Transfer(timeout=timedelta(seconds=2), ssl_context=None),
    )

    with pytest.raises(FetchFailed) as failed:
        keys.fetch(None, past_caches=False)

    assert named in str(failed.value)
    assert "secret" not in str(failed.value)
