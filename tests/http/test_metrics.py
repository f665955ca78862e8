"""Metrics: stable names, labels from closed sets, one sum over all workers, not for everybody."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import httpx
import pytest
from fastapi import FastAPI
from prometheus_client.parser import text_string_to_metric_families

from authsvc.app import create_app
from authsvc.keys.key_files import KeyKind
from authsvc.keys.rotation import add
from authsvc.observe.metrics import LOGIN_OUTCOMES, REFRESH_OUTCOMES, exposition
from authsvc.protocol.refresh import Verdict
from authsvc.settings import Settings
from tests.http.conftest import EMAIL, MovableClock, log_in, refresh

TOKEN = "a token for metrics"
BEARER = {"authorization": f"Bearer {TOKEN}"}
PRODUCTION = {
    "env": "production",
    "issuer": "https://localhost",
    "argon2_memory_kib": 19_456,
    "argon2_time": 2,
}


def samples(text: str) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def value(text: str, name: str, **labels: str) -> float:
    return samples(text).get((name, frozenset(labels.items())), 0.0)


async def read(client: httpx.AsyncClient) -> str:
    answer = await client.get("/metrics")
    assert 200 == answer.status_code
    assert answer.headers["content-type"].startswith("text/plain; version=")
    return answer.text


async def test_every_refresh_counts_under_its_outcome(
    client: httpx.AsyncClient, alice: dict[str, object]
) -> None:
    assert alice
    before = await read(client)
    token = (await log_in(client)).json()["refresh_token"]
    await refresh(client, token)
    await refresh(client, token)
    await refresh(client, token)
    await refresh(client, "art1.nonsense")
    await refresh(client)

    after = await read(client)

    for outcome in ("rotated", "reused", "revoked", "malformed", "none_presented"):
        name = "authsvc_refresh_total"
        grown = value(after, name, outcome=outcome) - value(before, name, outcome=outcome)
        assert (outcome, 1) == (outcome, grown)


async def test_every_login_counts_under_its_outcome(
    client: httpx.AsyncClient, alice: dict[str, object]
) -> None:
    assert alice
    before = await read(client)
    await log_in(client)
    await client.post("/auth/login", json={"email": EMAIL, "password": "something else"})

    after = await read(client)

    for outcome in ("succeeded", "invalid_credentials"):
        name = "authsvc_login_total"
        grown = value(after, name, outcome=outcome) - value(before, name, outcome=outcome)
        assert (outcome, 1) == (outcome, grown)


async def test_every_outcome_is_there_before_it_happens(client: httpx.AsyncClient) -> None:
    text = await read(client)

    for name, outcomes in (("refresh", REFRESH_OUTCOMES), ("login", LOGIN_OUTCOMES)):
        for outcome in (*outcomes, "other"):
            assert f'authsvc_{name}_total{{outcome="{outcome}"}}' in text
    refused = {str(verdict) for verdict in Verdict} - {"active", "kept", "retry", "ahead"}
    assert refused <= set(REFRESH_OUTCOMES)


@pytest.mark.parametrize(
    ("method", "path", "labels"),
    [
        ("GET", "/auth/me", {"route": "/auth/me", "method": "GET", "status": "4xx"}),
        (
            "DELETE",
            "/auth/sessions/canary-1",
            {"route": "/auth/sessions/{session_id}", "method": "DELETE", "status": "4xx"},
        ),
        (
            "GET",
            "/.well-known/jwks.json?canary-2",
            {"route": "/.well-known/jwks.json", "method": "GET", "status": "2xx"},
        ),
        ("GET", "/canary-3", {"route": "unmatched", "method": "GET", "status": "4xx"}),
        ("CANARY", "/auth/me", {"route": "/auth/me", "method": "other", "status": "4xx"}),
        ("PUT", "/auth/me", {"route": "/auth/me", "method": "PUT", "status": "4xx"}),
        ("GET", "/docs", {"route": "/docs", "method": "GET", "status": "2xx"}),
        (
            "GET",
            "/docs/assets/canary-4/init.js",
            {"route": "/docs/assets/{version}/{name}", "method": "GET", "status": "4xx"},
        ),
    ],
)
async def test_requests_count_by_template_method_and_class_of_status(
    client: httpx.AsyncClient, method: str, path: str, labels: dict[str, str]
) -> None:
    before = await read(client)
    await client.request(method, path)

    after = await read(client)

    name = "authsvc_http_requests_total"
    assert 1 == value(after, name, **labels) - value(before, name, **labels)
    timed = {key: labels[key] for key in ("route", "method")}
    assert value(after, "authsvc_http_request_duration_seconds_count", **timed) > 0
    assert "canary" not in after.lower()


async def test_every_name_is_ours(client: httpx.AsyncClient) -> None:
    text = await read(client)

    assert {"authsvc"} == {name.partition("_")[0] for name, _ in samples(text)}
    assert "_created" not in text


async def test_gauges_show_what_is_now(
    app: FastAPI, client: httpx.AsyncClient, clock: MovableClock, keys_dir: Path
) -> None:
    alone = await read(client)
    add(keys_dir, KeyKind.SIGNING, now=clock.now())
    app.state.service.keys.reload(clock.now())
    clock.advance(timedelta(minutes=10))

    text = await read(client)

    assert 86_400 == value(alone, "authsvc_signing_key_age_seconds")
    assert "authsvc_signing_key_next_activation_seconds NaN" in alone
    assert 87_000 == value(text, "authsvc_signing_key_age_seconds")
    assert 3_000 == value(text, "authsvc_signing_key_next_activation_seconds")
    assert value(text, "authsvc_database_pool_connections") >= 0
    assert 0 == value(text, "authsvc_database_pool_in_use")
    assert 0 == value(text, "authsvc_password_hashing_queued")
    assert 0 == value(text, "authsvc_password_hashing_running")


@pytest.mark.requirement("H8")
@pytest.mark.settings(metrics_token=TOKEN)
@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"authorization": "Bearer"},
        {"authorization": "Bearer wrong"},
        {"authorization": f"Basic {TOKEN}"},
        {"authorization": TOKEN},
        {"authorization": f"Bearer {TOKEN} "[:-2]},
        {"authorization": b"Bearer \xe9\xff"},
        {"cookie": f"authsvc_access={TOKEN}"},
    ],
    ids=repr,
)
async def test_with_a_token_set_only_its_holder_reads_metrics(
    client: httpx.AsyncClient, headers: dict[str, str]
) -> None:
    answer = await client.get("/metrics", headers=headers)

    assert (401, "unauthenticated") == (answer.status_code, answer.json()["code"])
    assert answer.headers["www-authenticate"].startswith('Bearer realm="authsvc"')
    assert TOKEN not in answer.text


@pytest.mark.requirement("H8")
@pytest.mark.settings(metrics_token=TOKEN, **PRODUCTION)
async def test_the_holder_of_the_token_reads_them_also_in_production(
    client: httpx.AsyncClient,
) -> None:
    get, head = (
        await client.get("/metrics", headers=BEARER),
        await client.head("/metrics", headers=BEARER),
    )

    assert (200, 200) == (get.status_code, head.status_code)


@pytest.mark.requirement("H8")
@pytest.mark.settings(**PRODUCTION)
async def test_in_production_there_are_none_without_a_token(client: httpx.AsyncClient) -> None:
    answer = await client.get("/metrics", headers=BEARER)

    assert (404, "not_found") == (answer.status_code, answer.json()["code"])


async def test_two_applications_in_one_process_share_the_metrics(settings: Settings) -> None:
    for _ in range(2):
        create_app(settings)

    assert b"authsvc_refresh_total" in exposition()


WORKER = """
import os, sys
from authsvc.observe import metrics
metrics.refresh_total.labels(outcome="rotated").inc()
metrics.login_total.labels(outcome="no such outcome").inc()
metrics.observe_request("/auth/me", "GET", 200, 0.002)
metrics.password_queued.set(3)
metrics.signing_key_age.set(float(sys.argv[1]))
if sys.argv[2] == "read":
    sys.stdout.write(metrics.exposition().decode())
"""


def test_any_worker_answers_with_the_sum_of_all_and_forgets_the_dead(tmp_path: Path) -> None:
    environment = {**os.environ, "PROMETHEUS_MULTIPROC_DIR": str(tmp_path)}

    def work(*arguments: str) -> str:
        return subprocess.run(
            [sys.executable, "-c", WORKER, *arguments],
            env=environment,
            capture_output=True,
            text=True,
            check=True,
        ).stdout

    work("10", "leave")
    work("20", "leave")
    text = work("30", "read")

    assert 3 == value(text, "authsvc_refresh_total", outcome="rotated")
    assert 3 == value(text, "authsvc_login_total", outcome="other")
    assert 3 == value(
        text, "authsvc_http_requests_total", route="/auth/me", method="GET", status="2xx"
    )
    # The first two have ended, and with them whatever waited there.
    assert 3 == value(text, "authsvc_password_hashing_queued")
    assert 30 == value(text, "authsvc_signing_key_age_seconds")
    assert not re.search(r"pid=", text)
