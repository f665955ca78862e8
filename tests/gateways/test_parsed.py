"""The examples that are not run: they parse, and say what the ones that are run say."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml

from authsvc.http.gateway import verify
from authsvc.http.gateway.verify_query import read_query
from authsvc.http.wellknown import jwks
from authsvc.settings import Settings
from authsvc.settings.upstreams import Upstream
from tests.gateways.conftest import EXAMPLES, PATH
from tests.gateways.test_gateways import IDENTITY, ODD

# What HAProxy wants to see before it calls a configuration valid.
SMALLEST = """
listen nothing
  bind 127.0.0.1:1
  mode http
  timeout client 1s
  timeout connect 1s
  timeout server 1s
"""
ADDRESS = re.compile(r"127\.0\.0\.1:8000(/\S*?)[\"\s;]|uri (/\S+)")


def parsed(name: str) -> Any:
    text = (EXAMPLES / name).read_text()
    assert "not run by one" in text
    return yaml.safe_load(text)


def test_every_example_is_known_here() -> None:
    assert {
        "nginx.conf",
        "Caddyfile",
        "haproxy.cfg",
        "verify.lua",
        "traefik.yml",
        "envoy.yaml",
        "README.md",
    } == {file.name for file in EXAMPLES.iterdir()}


@pytest.mark.parametrize("name", ["nginx.conf", "Caddyfile", "verify.lua", "traefik.yml"])
def test_every_example_asks_what_authsvc_answers(name: str) -> None:
    text = (EXAMPLES / name).read_text().replace("http://authsvc/", "127.0.0.1:8000/")

    asked = [urlsplit("".join(found)) for found in ADDRESS.findall(text)]
    demands = [url for url in asked if url.path == verify.PATH]

    assert 1 == len(demands)
    assert (
        "orders" == read_query(demands[0].query.encode(), upstreams=(Upstream("orders"),)).upstream
    )


@pytest.mark.requirement("Q6")
def test_traefik_takes_out_every_spelling_and_puts_every_header_in() -> None:
    middleware = parsed("traefik.yml")["http"]["middlewares"]["verify"]["forwardAuth"]
    pattern = re.compile(middleware["authResponseHeadersRegex"])

    assert all(pattern.search(name) for name in (*ODD, *IDENTITY))
    assert not any(map(pattern.search, ("X-User-Agent", "AX-User-ID", "X-User-IDs", "X-Session")))
    assert middleware["trustForwardHeader"] is False
    assert "X-Forwarded-Method" not in middleware["authRequestHeaders"]
    assert "X-Original-Method" not in middleware["authRequestHeaders"]


def test_traefik_guards_what_is_not_authsvcs_own() -> None:
    document = parsed("traefik.yml")["http"]
    routers = document["routers"]

    assert {"orders", "authsvc"} == set(document["services"])
    assert ["verify"] == routers["orders"]["middlewares"]
    assert ["nobody"] == routers["verify"]["middlewares"]
    assert routers["verify"]["priority"] > routers["authsvc"]["priority"]
    assert routers["authsvc"]["priority"] > routers["orders"]["priority"]


@pytest.fixture(scope="module")
def envoy() -> dict[str, Any]:
    """The settings of its HTTP connection manager."""
    (listener,) = parsed("envoy.yaml")["static_resources"]["listeners"]
    ((manager,),) = (chain["filters"] for chain in listener["filter_chains"])
    settings: dict[str, Any] = manager["typed_config"]
    return settings


def filters(envoy: dict[str, Any]) -> dict[str, Any]:
    return {each["name"].rpartition(".")[2]: each["typed_config"] for each in envoy["http_filters"]}


def test_envoy_verifies_by_our_keys_for_our_audience(envoy: dict[str, Any]) -> None:
    authn = filters(envoy)["jwt_authn"]
    (provider,) = authn["providers"].values()
    uri = provider["remote_jwks"]["http_uri"]["uri"]

    assert (provider["issuer"], jwks.PATH) == (uri.removesuffix(jwks.PATH), urlsplit(uri).path)
    assert [Settings.model_fields["audience"].default] == provider["audiences"]
    assert ["Authorization"] == [header["name"] for header in provider["from_headers"]]
    assert 30 == provider["clock_skew_seconds"]
    assert {"prefix": "/"} == authn["rules"][-1]["match"]
    assert ["requires" in rule for rule in authn["rules"]] == [False, False, True]


def test_envoy_forgets_before_it_verifies_and_identifies_after(envoy: dict[str, Any]) -> None:
    assert ["forget", "jwt_authn", "identify", "router"] == list(filters(envoy))
    assert "DROP_HEADER" == envoy["common_http_protocol_options"]["headers_with_underscores_action"]
    forget, identify = (
        filters(envoy)[name]["default_source_code"]["inline_string"]
        for name in ("forget", "identify")
    )
    assert all(f'["{name.lower()}"] = true' in forget for name in IDENTITY)
    assert all(f'"{name.lower()}"' in identify for name in IDENTITY[:3])


def test_envoy_is_given_scripts_that_are_lua(envoy: dict[str, Any], tmp_path: Path) -> None:
    """HAProxy has a Lua as well; it only loads what stands outside of functions."""
    program = shutil.which("haproxy", path=PATH)
    if program is None:
        pytest.skip("needs haproxy (Debian: apt-get install haproxy)")
    for name in ("forget", "identify"):
        script = tmp_path / f"{name}.lua"
        script.write_text(filters(envoy)[name]["default_source_code"]["inline_string"])
        config = tmp_path / "haproxy.cfg"
        config.write_text(f"global\n  lua-load {script}\n{SMALLEST}")

        checked = subprocess.run(
            [program, "-c", "-f", str(config)], capture_output=True, text=True, check=False
        )

        assert 0 == checked.returncode, checked.stderr
