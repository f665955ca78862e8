"""What README shows is what happens: its commands and snippets are run as they stand there."""

from __future__ import annotations

import asyncio
import base64
import json
import re
import shutil
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

import httpx
import jwt
import pytest
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from fastapi import FastAPI

from authsvc.settings import Settings
from tests.support.forge import CLAIMS, HEADER, sign
from tests.support.key_material import rsa_key
from tests.support.live import EMAIL, PASSWORD, access_token, free_port, serving
from tests.support.lossy_proxy import LossyProxy
from tests.support.node import CHROMIUM, CLIENTS, needs, needs_chromium, observed

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
SHOWN = "http://localhost:8000"

CURL = shutil.which("curl")

# What is cut off in README, where its beginning is always the same.
PATTERNS = {"eyJhbGci…": r"eyJhbGci[\w.-]+", "art1.amrEek9Z…": r"art1\.[\w-]{87}"}
MOMENT = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?Z"


def section(title: str) -> str:
    return README.split(f"\n## {title}\n")[1].split("\n## ")[0]


def blocks(title: str) -> list[tuple[str, str]]:
    """Language and text of each fenced block of a section."""
    return re.findall(r"^```(\w*)\n(.*?)^```$", section(title), re.DOTALL | re.MULTILINE)


def snippet(title: str, language: str) -> str:
    (text,) = [text for found, text in blocks(title) if found == language]
    return text


# The session with curl


def steps() -> Iterator[tuple[str, str]]:
    """Each block of commands with the output that README shows for it."""
    pairs = iter(blocks("A session with curl"))
    for (language, commands), (_, output) in zip(pairs, pairs, strict=True):
        assert "sh" == language
        yield commands, output


def as_pattern(shown: str) -> str:
    """A regular expression for a shown output: what ends in `…` and times stand for any."""
    return "".join(
        PATTERNS.get(part) or (MOMENT if re.fullmatch(MOMENT, part) else _example(part))
        for part in re.split(rf"({MOMENT}|[\w.-]*…)", shown.strip())
    )


def _example(part: str) -> str:
    return r"[^\s\";]+" if part.endswith("…") else re.escape(part)


@pytest.mark.skipif(CURL is None, reason="needs curl")
async def test_the_session_with_curl_shows_what_happens(database_url: str, tmp_path: Path) -> None:
    end = "===== the end of a step"
    script = "".join(f"{commands}\necho\necho '{end}'\n" for commands, _ in steps())

    async with serving(database_url, tmp_path) as ports:
        origin = f"http://localhost:{ports[0]}"
        done = await asyncio.to_thread(
            subprocess.run,
            ["sh", "-eu"],
            input=script.replace(SHOWN, origin),
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    assert (0, "") == (done.returncode, done.stderr)
    outputs = done.stdout.replace(origin, SHOWN).replace("\r", "").split(end)
    for (commands, shown), output in zip(steps(), outputs, strict=False):
        lines = [line for line in output.split("\n") if line]
        assert re.fullmatch(as_pattern(shown), "\n".join(lines)), f"{commands}\n{lines}\n{shown}"


# The page


@pytest.mark.requirement("R1", "R3")
@needs_chromium
@needs("playwright-core")
@pytest.mark.finding("N22")
async def test_the_page_stays_logged_in_over_reloads_lost_answers_and_tabs(
    database_url: str, tmp_path: Path
) -> None:
    """Without a retry window, so that only the key and the lock can save the session."""
    # The first refresh is the stranger's, the second comes after the reload.
    async with (
        serving(database_url, tmp_path, REFRESH_RETRY_WINDOW="0") as ports,
        LossyProxy(ports[0], lose=3) as proxy,
    ):
        service = f"http://localhost:{proxy.listens_on}"
        told = {
            "email": EMAIL,
            "password": PASSWORD,
            "snippet": snippet("In a page", "js").replace(SHOWN, service),
        }
        result = await asyncio.to_thread(
            observed, CLIENTS / "readme_page.mjs", service, str(CHROMIUM), told=told
        )

    assert [None, True] == [result["stranger"], result["login"]]
    assert "password" in result["wrong"]  # the refusal, in the service's words
    assert f"new-{EMAIL}" == result["registered"][0]
    assert "address" in result["registered"][1]
    assert EMAIL == result["plain"]["email"]
    assert ["{}", ""] == [result["storage"], result["scriptsSee"]]
    assert EMAIL == result["me"]["email"]
    assert result["me"] == result["reloaded"] == result["lost"][1]
    assert [result["me"]] * 2 == result["after"]
    assert 4 == len(set(result["together"]))
    assert [] == result["keys"]
    assert None is result["loggedOut"]
    assert [401, "rotated", "replayed", *["rotated"] * 4, 401] == result["refreshes"]


# The service


def encoded(value: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()


@dataclass
class Resource:
    """The snippet's application in this process, and what the authsvc that it trusts works with."""

    client: httpx.AsyncClient
    keys: Path
    access_token: str

    async def hello(self, token: str) -> httpx.Response:
        return await self.client.get("/hello", headers={"authorization": f"Bearer {token}"})

    def claims(self) -> dict[str, Any]:
        payload = self.access_token.split(".")[1]
        claims: dict[str, Any] = json.loads(base64.urlsafe_b64decode(payload + "=="))
        return claims

    def sign(self, typ: str = "at+jwt", **changes: object) -> str:
        """A token with authsvc's own key; None removes a claim."""
        (pem,) = self.keys.glob("*.pem")
        key = load_pem_private_key(pem.read_bytes(), None)
        kid = jwt.get_unverified_header(self.access_token)["kid"]
        claims = {name: v for name, v in (self.claims() | changes).items() if v is not None}
        return jwt.encode(claims, key, "RS256", headers={"typ": typ, "kid": kid})  # type: ignore[arg-type]  # an RSA key


def load_service(origin: str, directory: Path) -> FastAPI:
    """The snippet's application, which trusts that issuer."""
    file = directory / "service.py"
    file.write_text(snippet("In a service", "python").replace(SHOWN, origin), encoding="utf-8")
    spec = spec_from_file_location("readme_service", file)
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    app: FastAPI = module.app
    return app


def client_of(app: FastAPI) -> httpx.AsyncClient:
    return httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://service")


@asynccontextmanager
async def resource(database_url: str, directory: Path) -> AsyncIterator[Resource]:
    async with serving(database_url, directory) as ports:
        origin = f"http://localhost:{ports[0]}"
        token = await access_token(origin)
        async with client_of(load_service(origin, directory)) as client:
            yield Resource(client, directory / "keys", token)


async def test_the_service_accepts_access_tokens_and_nothing_else(
    database_url: str, tmp_path: Path
) -> None:
    async with resource(database_url, tmp_path) as service:
        now = datetime.now(UTC)
        header = jwt.get_unverified_header(service.access_token)
        unsigned = header | {"alg": "none"}
        issued = int((now - timedelta(minutes=15)).timestamp())
        old: dict[str, Any] = {"iat": issued, "nbf": issued, "auth_time": issued}
        refused = {
            "garbage": "not.a.token",
            "another kind of JWT": service.sign(typ="JWT"),
            "another issuer": service.sign(iss="http://localhost:1"),
            "another audience": service.sign(aud="another"),
            "expired": service.sign(**old, exp=now - timedelta(seconds=31)),
            "not yet": service.sign(nbf=now + timedelta(minutes=1)),
            "without exp": service.sign(exp=None),
            "without sub": service.sign(sub=None),
            "changed": service.access_token[:-8] + "AAAAAAAA",
            "unsigned": f"{encoded(unsigned)}.{encoded(service.claims())}.",
        }

        accepted = await service.hello(service.access_token)
        within_leeway = await service.hello(service.sign(**old, exp=now - timedelta(seconds=20)))
        answers = {cause: await service.hello(token) for cause, token in refused.items()}
        nothing = await service.client.get("/hello")
        bearer = {"authorization": f"Bearer {service.access_token}"}
        not_an_administrator = await service.client.get("/admin", headers=bearer)

        sub = service.claims()["sub"]
    assert 200 == accepted.status_code
    assert f"Hello {sub}, you have the roles []." == accepted.json()
    assert 200 == within_leeway.status_code
    assert dict.fromkeys(refused, 401) == {c: answer.status_code for c, answer in answers.items()}
    assert 401 == nothing.status_code
    assert 'error="invalid_token"' in answers["expired"].headers["www-authenticate"]
    assert 403 == not_an_administrator.status_code


async def test_the_service_does_not_blame_the_caller_when_it_cannot_fetch_keys(
    tmp_path: Path,
) -> None:
    token = sign(HEADER, CLAIMS, rsa_key(0))

    async with client_of(load_service(f"http://localhost:{free_port()}", tmp_path)) as client:
        answer = await client.get("/hello", headers={"authorization": f"Bearer {token}"})

    assert 503 == answer.status_code


# The settings


def written(name: str) -> str:
    """The default of a setting as the table writes it."""
    info = Settings.model_fields[name]
    if info.default_factory is not None or name == "issuer":
        return "computed"
    match info.default:
        case None:
            return "unset"
        case ():
            return "empty"
        case bool(value):
            return "`on`" if value else "`off`"
        case timedelta() as value:
            return f"`{value.total_seconds():.0f}`"
        case float(value):
            return f"`{value:g}`"
        case value:
            return f"`{value}`"


def test_the_settings_table_has_every_setting_with_its_default() -> None:
    rows = re.findall(r"^\| `([A-Z0-9_]+)` \| ([^|]+) \|", section("Settings"), re.MULTILINE)

    assert {name.upper(): written(name) for name in Settings.model_fields} == dict(rows)
    assert len(Settings.model_fields) == len(rows)


def test_the_example_file_has_every_setting_with_its_default() -> None:
    text = (ROOT / ".env.example").read_text(encoding="utf-8")
    found = dict(re.findall(r"^#? ?AUTHSVC_([A-Z0-9_]+)=(.*)$", text, re.MULTILINE))

    assert {name.upper() for name in Settings.model_fields} == set(found)
    for name, value in found.items():
        default = written(name.lower())
        if default.startswith("`"):
            assert default.strip("`") == value, name
