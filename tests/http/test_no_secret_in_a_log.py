"""A canary: no token, password, cookie or key ever stands in a log, whatever happens."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest

from authsvc.keys.rotation import create_first_keys
from tests.support.live import free_port, is_ready
from tests.support.waiting import HANGS

PASSWORD = "canary-password-7f3a9c"
WRONG = "canary-wrong-password-51be"
KEY = "canary-idempotency-key-0001"
SECRET = "acs1.canary-client-secret-90be77"
METRICS = "canary-metrics-token-77aa"


@pytest.mark.requirement("S3", "H3")
async def test_no_secret_ever_stands_in_a_log(database_url: str, tmp_path: Path) -> None:
    create_first_keys(tmp_path / "keys", now=datetime.now(UTC) - timedelta(minutes=1))
    port = free_port()
    log_path = tmp_path / "log"
    with log_path.open("wb") as log:
        process = subprocess.Popen(  # noqa: ASYNC220 - starts at once
            [sys.executable, "-m", "authsvc", "serve"],
            cwd=tmp_path,
            env={
                **{k: v for k, v in os.environ.items() if not k.startswith("AUTHSVC_")},
                "AUTHSVC_DATABASE_URL": database_url,
                "AUTHSVC_KEYS_DIR": str(tmp_path / "keys"),
                "AUTHSVC_PORT": str(port),
                "AUTHSVC_WORKERS": "1",
                "AUTHSVC_LOG_FORMAT": "json",
                "AUTHSVC_LOG_LEVEL": "debug",
                "AUTHSVC_METRICS_TOKEN": METRICS,
            },
            stdout=log,
            stderr=log,
        )
    try:
        async with asyncio.timeout(HANGS):
            while not await asyncio.to_thread(is_ready, port):
                assert process.poll() is None
        secrets = await _use_everything(f"http://localhost:{port}")
    finally:
        process.send_signal(signal.SIGTERM)
        await asyncio.to_thread(process.wait, 20)

    text = log_path.read_text()
    leaked = [name for name, secret in secrets.items() if secret in text]
    assert [] == leaked
    assert text.count('"request"') > 20, "the canary sang into a log that logs nothing"
    assert 0 == process.returncode


async def _use_everything(origin: str) -> dict[str, str]:
    """Walk through successes and failures; returns everything that must not be logged."""
    email = "canary@example.com"
    async with httpx.AsyncClient(base_url=origin) as client:
        await client.post("/auth/register", json={"email": email, "password": PASSWORD})
        native = {"email": email, "password": PASSWORD, "delivery": "native"}
        await client.post("/auth/login", json={**native, "password": WRONG})
        await client.post("/auth/login", content=f'{{"password": "{PASSWORD}"')
        await client.post("/auth/login", json={"pass": PASSWORD})
        await client.post("/auth/login", json=native, headers={"content-type": "text/plain"})
        await client.get(f"/auth/login?password={PASSWORD}")
        await client.get(f"/{PASSWORD}")
        first = (await client.post("/auth/login", json=native)).json()
        bearer = {"authorization": f"Bearer {first['access_token']}"}
        body = {"refresh_token": first["refresh_token"]}
        second = (
            await client.post("/auth/refresh", json=body, headers={"idempotency-key": KEY})
        ).json()
        await client.get("/auth/me", headers=bearer)
        await client.get("/auth/me", headers={"authorization": f"Bearer {PASSWORD}"})
        await client.get(f"/auth/me?access_token={first['access_token']}")
        await client.get("/auth/sessions", headers=bearer)
        await client.delete(f"/auth/sessions/{PASSWORD}", headers=bearer)
        await client.post(
            "/auth/password/change",
            json={"current_password": WRONG, "new_password": PASSWORD + "-new"},
            headers=bearer,
        )
        await client.get("/metrics", headers={"authorization": f"Bearer {METRICS}"})
        await client.get("/metrics", headers={"authorization": "Bearer wrong"})
        await client.post("/auth/refresh", json=body)  # reuse
        await client.post("/auth/refresh", json={"refresh_token": second["refresh_token"]})
        by_post = {"grant_type": "client_credentials", "client_id": "shop", "client_secret": SECRET}
        for path in ("/oauth/token", "/oauth/introspect", "/oauth/revoke"):
            await client.post(path, data=by_post)
            await client.post(path, data={"token": SECRET}, auth=("shop", SECRET))
            await client.post(path, data={"token": SECRET}, auth=(SECRET, "shop"))
            await client.post(path, json=by_post)
            await client.post(f"{path}?client_secret={SECRET}", data=by_post)
            await client.post(path, data={"client_id": "authsvc", "token": first["access_token"]})
        web = await client.post("/auth/login", json={**native, "delivery": "web"})
        cookies = dict(web.cookies)
        await client.post("/auth/refresh")
        await client.post("/auth/refresh", headers={"x-csrf-token": web.json()["csrf_token"]})
        await client.post("/auth/logout", headers={"x-csrf-token": web.json()["csrf_token"]})
    return {
        "password": PASSWORD,
        "wrong password": WRONG,
        "idempotency key": KEY,
        "metrics token": METRICS,
        "client secret": SECRET[5:],
        "e-mail": email,
        "access token": first["access_token"].rsplit(".", 1)[1],
        "access token's claims": first["access_token"].split(".")[1],
        "refresh token": first["refresh_token"][-40:],
        "successor": second["refresh_token"][-40:],
        **{f"cookie {name}": value[-20:] for name, value in cookies.items()},
    }
