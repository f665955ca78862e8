"""`pip install …/clients/python` verifies tokens, and brings nothing of the server."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import venv
from importlib.metadata import Distribution, distribution
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.support.snippets import ROOT

SCRIPT = """
import json, sys, threading
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, HTTPServer
from importlib.util import find_spec
from pathlib import Path

vectors = json.loads(Path(sys.argv[1]).read_text())

class Keys(BaseHTTPRequestHandler):
    def do_GET(self):
        body = json.dumps(vectors["jwks"]).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *args):
        pass

class Clock:
    def now(self):
        return datetime.fromtimestamp(vectors["now"], UTC)
    def monotonic(self):
        return 0.0

server = HTTPServer(("127.0.0.1", 0), Keys)
threading.Thread(target=server.serve_forever, daemon=True).start()

from authsvc_client.session import FileStore, MemoryStore, NativeSession, SessionAuth
from authsvc_client.verifier import InvalidToken, TokenVerifier
from authsvc_client.verifier.asgi import AccessTokenMiddleware

verifier = TokenVerifier(
    issuer=vectors["issuer"], audience=vectors["audience"], clock=Clock(),
    jwks_uri=f"http://127.0.0.1:{server.server_address[1]}/",
)
accepted = [verifier.verify_sync(vector["token"]).sub for vector in vectors["valid"]]
refused = 0
for vector in vectors["invalid"]:
    try:
        verifier.verify_sync(vector["token"])
    except InvalidToken:
        refused += 1
SessionAuth(NativeSession("https://auth.example.com", MemoryStore()), origins=["https://a.test"])
print(json.dumps({
    "accepted": len(accepted), "refused": refused,
    "server": [name for name in ("fastapi", "flask", "sqlalchemy", "argon2", "typer", "jwt")
               if find_spec(name)],
    "loaded": sorted(name for name in sys.modules if name.startswith("authsvc")),
}))
"""


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The interpreter of an environment with the wheel and what it asks for, and nothing else."""
    place = tmp_path_factory.mktemp("bare")
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(place)],
        cwd=ROOT / "clients/python",
        check=True,
        capture_output=True,
    )
    [wheel] = place.glob("authsvc_client-*.whl")
    environment = place / "environment"
    venv.create(environment, with_pip=False)
    interpreter = environment / "bin" / "python"
    subprocess.run(
        [sys.executable, "-m", "pip", "--python", str(interpreter), "install", "--quiet",
         "--no-index", "--no-deps", "--disable-pip-version-check", str(wheel)],
        check=True,
    )  # fmt: skip
    [packages] = environment.glob("lib/python*/site-packages")
    # As pip would, from what is installed here: no network.
    for needed in closure(next(packages.glob("authsvc_client-*.dist-info"))):
        for file in needed.files or ():
            source = Path(str(needed.locate_file(file)))
            if ".." not in file.parts and source.is_file():
                target = packages / file
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(source, target)
    return interpreter


def closure(information: Path) -> list[Distribution]:
    """Every distribution that an installation without extras needs, from its metadata."""
    found: dict[str, Distribution] = {}
    waiting = list(Distribution.at(information).requires or ())
    while waiting:
        requirement = Requirement(waiting.pop())
        name = canonicalize_name(requirement.name)
        if requirement.marker and not requirement.marker.evaluate({"extra": ""}):
            continue
        if name not in found:
            found[name] = distribution(name)
            waiting += found[name].requires or ()
    return list(found.values())


def test_it_needs_two_packages_and_what_they_need(python: Path) -> None:
    [information] = python.parents[1].glob("lib/python*/site-packages/authsvc_client-*.dist-info")
    required = [Requirement(line) for line in Distribution.at(information).requires or ()]

    assert {"cryptography", "httpx"} == {each.name for each in required if each.marker is None}


@pytest.mark.requirement("T3", "T4", "T5", "T6", "T7", "T8", "T9", "T10", "T11")
def test_the_bare_wheel_verifies_every_vector(python: Path, tmp_path: Path) -> None:
    done = subprocess.run(
        [str(python), "-W", "error", "-c", SCRIPT, str(ROOT / "vectors" / "access_tokens.json")],
        cwd=tmp_path,
        env={"HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert (0, "") == (done.returncode, done.stderr)
    found = json.loads(done.stdout)
    vectors = json.loads((ROOT / "vectors" / "access_tokens.json").read_text())
    assert (len(vectors["valid"]), len(vectors["invalid"])) == (
        found["accepted"],
        found["refused"],
    )
    assert [] == found["server"]
    rooms = {".".join(name.split(".")[:2]) for name in found["loaded"]} - {"authsvc_client"}
    assert {f"authsvc_client.{room}" for room in ("session", "tokens", "verifier")} == rooms


def test_an_adapter_without_its_framework_names_it(python: Path) -> None:
    for framework in ("fastapi", "flask"):
        done = subprocess.run(
            [str(python), "-c", f"import authsvc_client.verifier.{framework}"],
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.stderr.endswith(f"No module named '{framework}'\n")


def test_the_wheel_is_typed(python: Path) -> None:
    assert list(python.parents[1].glob("lib/python*/site-packages/authsvc_client/py.typed"))
