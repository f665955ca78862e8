"""Where `token inspect` finds keys: in the key directory, or in a JWKS."""

from __future__ import annotations

from codecs import BOM_UTF8
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

from authsvc.cli.console import timestamp
from authsvc.cli.key_directory import inventory_of
from authsvc.cli.token_checks import Check, ok, refused
from authsvc.keys.key_files import KeyDirectoryError
from authsvc.keys.refresh_tokens import RefreshKeys
from authsvc.operator_errors import OperatorError
from authsvc.settings import Settings
from authsvc_client.https import FetchFailed, Transfer
from authsvc_client.verifier.key_set import BrokenKeySet, read_key_set
from authsvc_client.verifier.key_source import MAX_BYTES

TIMEOUT = timedelta(seconds=5)


@dataclass(frozen=True, slots=True)
class Keys:
    """
    Args:
        find: The key of a `kid`, None = no verifier would use one of that name; and what it is.
        refresh: The MAC keys; None if there was nowhere to look.
        nowhere: Why there was nowhere to look.
    """

    find: Callable[[str], tuple[RSAPublicKey | None, Check]]
    refresh: RefreshKeys | None = None
    nowhere: str = ""


def keys_of_directory(settings: Settings, *, now: datetime) -> Keys:
    """The keys of KEYS_DIR; without one, a token can only be decoded."""
    try:
        inventory = inventory_of(settings, now=now)
    except KeyDirectoryError as exc:
        nowhere = str(exc)
        return Keys(lambda _: (None, Check("kid", None, nowhere)), nowhere=nowhere)
    listed = {key.key_id: key for key in inventory.keys}

    def find(kid: str) -> tuple[RSAPublicKey | None, Check]:
        if kid not in listed:
            words = (
                f"is not that of any key in {settings.keys_dir}: a token of another service, or "
                "of a key that was revoked or pruned"
            )
            return None, refused("kid", words)
        named, key = listed[kid], inventory.ring.public_key(kid, now)
        if key is not None:
            return key, ok("kid", f"is that of {named.file} ({named.state})")
        until = f" since {timestamp(named.until)}" if named.until else ""
        return None, refused("kid", f"is that of {named.file}, which is {named.state}{until}")

    return Keys(find, RefreshKeys(inventory.reading.mac_keys.values()))


def keys_of_jwks(source: str) -> Keys:
    """
    The keys of a JWKS, a URL or a file, as a verifier reads them.

    Raises:
        OperatorError: It cannot be fetched or is none.
    """
    content = _fetch(source) if source.startswith(("http://", "https://")) else _load(source)
    try:
        found = read_key_set(content)
    except BrokenKeySet as exc:
        raise OperatorError(f"{source}: is not a JWKS with a usable key") from exc

    def find(kid: str) -> tuple[RSAPublicKey | None, Check]:
        if kid in found:
            return found[kid], ok("kid", f"is a key of {source}")
        words = f"is not an RSA key of {source}: a verifier would not know it"
        return None, refused("kid", words)

    return Keys(find, nowhere="a JWKS has no keys of refresh tokens; omit --jwks")


def _fetch(url: str) -> bytes:
    transfer = Transfer(timeout=TIMEOUT, ssl_context=None)
    try:
        answer, body = transfer.get(url, {"Accept": "application/json"}, at_most=MAX_BYTES)
    except FetchFailed as exc:
        raise OperatorError(str(exc)) from exc
    if not answer.is_success:
        raise OperatorError(f"{url}: answers {answer.status_code}, not with a JWKS")
    return body


def _load(file: str) -> bytes:
    try:
        return Path(file).read_bytes().removeprefix(BOM_UTF8)
    except OSError as exc:
        raise OperatorError(f"{file}: cannot be read ({exc.strerror})") from exc
