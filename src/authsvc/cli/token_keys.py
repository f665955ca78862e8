"""Where `token inspect` finds keys: in the key directory, or in a JWKS."""

from __future__ import annotations

from codecs import BOM_UTF8
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import httpx
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

from authsvc.cli.console import timestamp
from authsvc.cli.errors import CommandError
from authsvc.cli.key_directory import inventory_of
from authsvc.keys.inventory import Inventory
from authsvc.keys.key_files import KeyDirectoryError
from authsvc.keys.refresh_tokens import RefreshKeys
from authsvc.settings import Settings
from authsvc_client.https import through_proxy
from authsvc_client.verifier.key_set import BrokenKeySet, read_key_set

TIMEOUT = 5.0  # seconds for a JWKS
MAX_JWKS = 1_048_576  # bytes


@dataclass(frozen=True, slots=True)
class FoundKey:
    """
    What is known of a `kid`.

    Args:
        public_key: None = no verifier would use one of that name.
        words: Where it comes from, or why it is not used.
        searched: False if there was nowhere to look.
    """

    public_key: RSAPublicKey | None
    words: str
    searched: bool = True


@dataclass(frozen=True, slots=True)
class Keys:
    """
    Args:
        find: For access tokens.
        refresh: The MAC keys; None if there was nowhere to look.
        nowhere: Why there was nowhere to look.
    """

    find: Callable[[str], FoundKey]
    refresh: RefreshKeys | None
    nowhere: str = ""


def keys_of_directory(settings: Settings, *, now: datetime) -> Keys:
    """The keys of KEYS_DIR; without one, a token can only be decoded."""
    try:
        inventory = inventory_of(settings, now=now)
    except KeyDirectoryError as exc:
        nowhere = str(exc)
        return Keys(lambda _: FoundKey(None, nowhere, searched=False), None, nowhere)
    return Keys(
        lambda kid: _find(inventory, kid, settings.keys_dir, now),
        RefreshKeys(inventory.reading.mac_keys.values()),
    )


def keys_of_jwks(source: str) -> Keys:
    """
    The keys of a JWKS, a URL or a file, as a verifier reads them.

    Raises:
        CommandError: It cannot be fetched or is none.
    """
    content = _fetch(source) if source.startswith(("http://", "https://")) else _load(source)
    try:
        found = read_key_set(content)
    except BrokenKeySet as exc:
        raise CommandError(f"{source}: is not a JWKS with a usable key") from exc

    def find(kid: str) -> FoundKey:
        if kid not in found:
            return FoundKey(None, f"is not an RSA key of {source}: a verifier would not know it")
        return FoundKey(found[kid], f"is a key of {source}")

    return Keys(find, None, "a JWKS has no keys of refresh tokens; omit --jwks")


def _find(inventory: Inventory, kid: str, directory: Path, now: datetime) -> FoundKey:
    listed = next((key for key in inventory.keys if key.key_id == kid), None)
    key = inventory.ring.public_key(kid, now)
    if listed is None:
        return FoundKey(
            None,
            f"is not that of any key in {directory}: a token of another service, or of a key "
            "that was revoked or pruned",
        )
    if key is None:
        until = f" since {timestamp(listed.until)}" if listed.until else ""
        return FoundKey(None, f"is that of {listed.file}, which is {listed.state}{until}")
    return FoundKey(key, f"is that of {listed.file} ({listed.state})")


def _fetch(url: str) -> bytes:
    try:
        answer = httpx.get(url, timeout=TIMEOUT, follow_redirects=False)
    # Also a proxy or certificates that the environment names and that cannot be used.
    except (httpx.HTTPError, httpx.InvalidURL, OSError, ImportError, ValueError) as exc:
        proxy = through_proxy(url)
        raise CommandError(f"{url}{proxy}: cannot be fetched ({type(exc).__name__})") from exc
    if not answer.is_success or len(answer.content) > MAX_JWKS:
        raise CommandError(f"{url}: answers {answer.status_code}, not with a JWKS")
    return answer.content


def _load(file: str) -> bytes:
    try:
        return Path(file).read_bytes().removeprefix(BOM_UTF8)
    except OSError as exc:
        raise CommandError(f"{file}: cannot be read ({exc.strerror})") from exc
