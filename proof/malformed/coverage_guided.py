"""
The parsers under a coverage-guided fuzzer: an optional long form of F30.

atheris is no dependency of ours, since it has wheels for few Pythons only. In an environment of
its own, with the service in it:

    pip install atheris==3.0.0 -r requirements.lock
    python -m proof.malformed.coverage_guided json_body -max_total_time=600

The first argument names a target, the rest is libFuzzer's. A target ends at the first exception
that is not the parser's own refusal, and libFuzzer writes the input that caused it.
"""

from __future__ import annotations

import json
import sys
from base64 import urlsafe_b64encode
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from importlib import import_module
from ipaddress import ip_network
from typing import Any

Target = Callable[[bytes], object]
NOW = datetime(2026, 1, 1, tzinfo=UTC)


def targets() -> dict[str, Target]:
    """The parsers, imported only now: what is imported before is not instrumented."""
    strict_json = import_module("authsvc.http.request.strict_json")
    jws = import_module("authsvc_client.tokens.jws")
    access_token = import_module("authsvc_client.tokens.access_token")
    refresh_tokens = import_module("authsvc.keys.refresh_tokens")
    device_cookies = import_module("authsvc.keys.device_cookies")
    email_address = import_module("authsvc.protocol.email_address")
    client_ip = import_module("authsvc.http.request.client_ip")
    cookies = import_module("authsvc.http.request.cookies")
    framing = import_module("authsvc.http.wire.framing")
    errors = import_module("authsvc.protocol.errors")
    secret = import_module("authsvc_client.tokens.secret")
    key = refresh_tokens.MacKey(b"k" * 8, NOW, secret.SecretBytes(b"s" * 32))
    keys = refresh_tokens.RefreshKeys([key])
    ours = cookies.Cookie("authsvc_refresh", "")
    jar = cookies.Cookies(ours, ours, ours, ours)
    proxies = [ip_network("127.0.0.0/8")]

    class AnyKey:
        """Behind the signature are the claims; they are parsed, too."""

        def verify(self, *_: object) -> None:
            """Whatever it is."""

    def access(data: bytes) -> object:
        # No fuzzer guesses base64 in base64: it gets the text, the header, or the claims.
        shapes = (_text(data), f"{_part(data[1:])}.{CLAIMS}.AA", f"{HEADER}.{_part(data[1:])}.AA")
        return access_token.verify_access_token(
            jws.read(shapes[data[0] % 3 if data else 0], access_token.TYP),
            AnyKey(),
            issuer="https://auth.example.com",
            audience="authsvc",
            now=NOW + timedelta(seconds=1),
        )

    def opened(data: bytes) -> object:
        text = _text(data)
        if data[:1] == b"+":  # with a true MAC, so that what is behind it is reached
            payload = key.key_id + data[1:26].ljust(25, b"\0")
            seal = refresh_tokens.mac(key, refresh_tokens.TOKEN_LABEL, payload)
            text = "art1." + _part(payload + seal)
        token = refresh_tokens.open_token(keys, text)
        assert refresh_tokens.seal(keys, token) == text, "two texts for one token"
        return token

    parsers: dict[str, Target] = {
        "json_body": strict_json.parse,
        "access_token": access,
        "refresh_token": opened,
        "device_cookie": lambda data: device_cookies.open_device_cookie(keys, _text(data)),
        "email": lambda data: email_address.normal_form(data.decode("utf-8", "replace")),
        "client_ip": lambda data: client_ip.resolve_client("127.0.0.1", [_text(data)], proxies),
        "cookies": lambda data: jar.read([_text(data)]),
        "target": _refusing(
            lambda data: framing._is_target(data, [b"localhost"], b"GET"),
            ValueError,  # the HTTP parser refuses the head for it
        ),
    }
    refusals = (errors.Refusal, import_module("authsvc_client.tokens.errors").InvalidToken)
    return {name: _refusing(parser, refusals) for name, parser in parsers.items()}


def _refusing(parser: Target, refusal: type[Exception] | tuple[type[Exception], ...]) -> Target:
    def target(data: bytes) -> None:
        try:
            parser(data)
        except refusal:
            return

    return target


def _part(data: bytes) -> str:
    return urlsafe_b64encode(data).rstrip(b"=").decode()


def _text(data: bytes) -> str:
    """As headers arrive."""
    return data.decode("latin-1")


HEADER = _part(json.dumps({"alg": "RS256", "typ": "at+jwt", "kid": "k" * 43}).encode())
CLAIMS = _part(b'{"iss": "https://auth.example.com", "aud": "authsvc"}')


def main(name: str, *options: str) -> None:
    """Fuzz one target until libFuzzer has enough."""
    atheris: Any = import_module("atheris")
    with atheris.instrument_imports(include=["authsvc", "email_validator", "json"]):
        target = targets()[name]
    atheris.Setup([sys.argv[0], *options], target)
    atheris.Fuzz()


if __name__ == "__main__":
    main(*sys.argv[1:])
