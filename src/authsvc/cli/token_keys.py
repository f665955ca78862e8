"""Where `token inspect` finds keys: in the key directory, or in a JWKS."""

from __future__ import annotations

import json
from codecs import BOM_UTF8
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

from authsvc.cli.console import timestamp
from authsvc.cli.errors import CommandError
from authsvc.cli.token_checks import FindKey, FoundKey
from authsvc.keys.inventory import Inventory, take_inventory
from authsvc.keys.key_files import KeyDirectoryError
from authsvc.keys.refresh_tokens import RefreshKeys
from authsvc_client.verifier.environment_proxy import through_proxy

if TYPE_CHECKING:
    from authsvc.settings import Settings

TIMEOUT = 5.0  # seconds for a JWKS
MAX_JWKS = 1_048_576  # bytes


@dataclass(frozen=True, slots=True)
class Keys:
    """
    Args:
        find: For access tokens.
        refresh: The MAC keys; None if there was nowhere to look.
        nowhere: Why there was nowhere to look.
    """

    find: FindKey
    refresh: RefreshKeys | None
    nowhere: str = ""


def keys_of_directory(settings: Settings, *, now: datetime) -> Keys:
    """The keys of KEYS_DIR; without one, a token can only be decoded."""
    passphrase = settings.keys_passphrase
    try:
        inventory = take_inventory(
            settings.keys_dir,
            now=now,
            passphrase=passphrase.get_secret_value() if passphrase else None,
            refresh_absolute_ttl=settings.refresh_absolute_ttl,
        )
    except KeyDirectoryError as exc:
        nowhere = str(exc)
        return Keys(lambda _: FoundKey(None, nowhere, searched=False), None, nowhere)
    return Keys(
        lambda kid: _find(inventory, kid, settings.keys_dir, now),
        RefreshKeys(inventory.reading.mac_keys.values()),
    )


def keys_of_jwks(source: str) -> Keys:
    """
    The keys of a JWKS: a URL, or a file.

    Raises:
        CommandError: It cannot be fetched or is none.
    """
    import jwt  # noqa: PLC0415 - seldom needed

    content = _fetch(source) if source.startswith(("http://", "https://")) else _load(source)
    try:
        members = jwt.PyJWKSet.from_dict(json.loads(content)).keys
    except (ValueError, AttributeError, TypeError, KeyError, jwt.PyJWTError) as exc:
        raise CommandError(f"{source}: is not a JWKS with a usable key") from exc
    found = {member.key_id: member.key for member in members}

    def find(kid: str) -> FoundKey:
        key = found.get(kid)
        if not isinstance(key, RSAPublicKey):
            return FoundKey(None, f"is not an RSA key of {source}: a verifier would not know it")
        return FoundKey(key, f"is a key of {source}")

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
    import httpx  # noqa: PLC0415 - seldom needed

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
