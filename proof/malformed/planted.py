"""Planted bugs, one for each thing that the experiment claims to see; called in the child."""

# ruff: noqa: PLC0415 - imported in the child only

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from typing import Any


def raise_on_what_is_no_json() -> None:
    """A verifier that forgets what a JSON parser may raise."""
    from authsvc_client.tokens import base64url, jws

    def json_object(part: str) -> dict[str, object]:
        value: dict[str, object] = json.loads(base64url.decode(part))
        return value

    jws._object = json_object


def trust_the_signature() -> None:
    """A verifier that skips the signature."""
    from authsvc_client.tokens import jws

    def verify(self: jws.Jws, key: object) -> dict[str, object]:
        del key
        return jws._object(self.signed.partition(".")[2])

    jws.Jws.verify = verify  # type: ignore[method-assign]


def echo_the_input() -> None:
    """A refusal that quotes what it refuses."""
    from authsvc.http.request import validation

    genuine = validation.validation_failed

    def validation_failed(found: Sequence[Mapping[str, Any]]) -> Any:
        return genuine([{**error, "type": str(error.get("input"))} for error in found])

    validation.validation_failed = validation_failed


def die_of_odd_text() -> None:
    """A native parser that crashes."""
    from authsvc.http.request import strict_json

    genuine = strict_json._check_depth

    def check_depth(text: str) -> None:
        if text.startswith(("\ufeff", "[")) or "[[[" in text:
            os._exit(139)
        genuine(text)

    strict_json._check_depth = check_depth


PLANTS = {
    raise_on_what_is_no_json: "answered 500",
    trust_the_signature: "a forged credential was accepted",
    echo_the_input: "a secret comes back",
    die_of_odd_text: "is dead",
}
