"""What an environment with `authsvc-client` alone is tried with, on any Python from 3.9 on."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

from tests.support.wheels import SERVER

VECTORS = SERVER / "vectors" / "access_tokens.json"

VERIFY = """
import json, sys, threading
from datetime import datetime, timezone
from http.server import BaseHTTPRequestHandler, HTTPServer
from importlib.util import find_spec
from pathlib import Path
from typing import get_type_hints

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

from authsvc_client.session import FileStore, MemoryStore, NativeSession, SessionAuth
from authsvc_client.verifier import (
    AccessTokenClaims, IdentityClaims, InvalidToken, SystemClock, TokenVerifier,
)
from authsvc_client.verifier.asgi import AccessTokenMiddleware

class Stopped(SystemClock):
    def now(self):
        return datetime.fromtimestamp(vectors["now"], timezone.utc)
    def monotonic(self):
        return 0.0

server = HTTPServer(("127.0.0.1", 0), Keys)
threading.Thread(target=server.serve_forever, daemon=True).start()

verifier = TokenVerifier(
    issuer=vectors["issuer"], audience=vectors["audience"], clock=Stopped(),
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
for claims in (AccessTokenClaims, IdentityClaims):
    get_type_hints(claims)  # as a framework does that makes a response of them
print(json.dumps({
    "accepted": len(accepted), "refused": refused,
    "server": [name for name in ("fastapi", "flask", "sqlalchemy", "argon2", "typer", "jwt")
               if find_spec(name)],
    "loaded": sorted(name for name in sys.modules if name.startswith("authsvc")),
}))
"""

HOLD_A_SESSION = """
import asyncio, json, os, sys
import httpx
from authsvc_client.session import (
    AuthsvcUnavailable, FileStore, MemoryStore, NativeSession, NotLoggedIn, SessionAuth,
)
from authsvc_client.verifier import RevocationFeed, TokenVerifier

issuer, email, password, file = sys.argv[1:]
session = NativeSession(issuer, FileStore(file))
session.login(email, password)
first = session.access_token()
again = NativeSession(issuer, FileStore(file))  # another program of the user
second = again.access_token(refused=first)

feed = RevocationFeed()
verifier = TokenVerifier(issuer=issuer, audience="authsvc", revocations=feed)
subjects = {verifier.verify_sync(token).sub for token in (first, second)}

auth = SessionAuth(again, origins=[issuer])
with httpx.Client(auth=auth) as api:
    subjects.add(api.get(issuer + "/auth/me").json()["id"])

async def at_once():
    async with httpx.AsyncClient(auth=auth) as api:
        return (await api.get(issuer + "/auth/me")).json()["id"]

subjects.add(asyncio.run(at_once()))
again.logout()
try:
    NativeSession(issuer, FileStore(file)).access_token()
    left = True
except NotLoggedIn:
    left = False

os.environ["SSL_CERT_FILE"] = "/nonexistent"
try:
    NativeSession("https://auth.example.com", MemoryStore()).login(email, password)
except AuthsvcUnavailable as exc:
    why = str(exc)
print(json.dumps({
    "subjects": len(subjects), "renewed": first != second, "left": left,
    "feed": feed.status().failure, "says why": "SSL_CERT_FILE" in why,
}))
"""


def verify_the_vectors(python: Path, directory: Path) -> dict[str, Any]:
    """What became of every vector, and what is there besides the client."""
    return _run(python, directory, VERIFY, str(VECTORS))


def hold_a_session(python: Path, directory: Path, *arguments: str) -> dict[str, Any]:
    """What became of a session: issuer, e-mail address, password."""
    return _run(python, directory, HOLD_A_SESSION, *arguments, str(directory / "session.json"))


def _run(python: Path, directory: Path, script: str, *arguments: str) -> dict[str, Any]:
    done = subprocess.run(
        [str(python), "-W", "error", "-c", script, *arguments],
        cwd=directory,
        env={"HOME": str(directory)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (0, "") == (done.returncode, done.stderr)
    found: dict[str, Any] = json.loads(done.stdout)
    return found
