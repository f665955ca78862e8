"""Write the revocation feed: entries and documents as JSON (docs/revocation-feed.md)."""

from __future__ import annotations

import json
from collections.abc import Iterable
from datetime import datetime

from authsvc_client.tokens import base64url
from authsvc_client.tokens.revocation_feed import NAMES, VALID
from authsvc_client.tokens.revocations import Entry, Kind, whole_second_after

# Tokens of clients have no `ver` and those of users begin at 1, so that an entry with this one
# is of no user, and makes every token of a client stale, whenever it was issued.
CLIENT_VER = 1


def entry_text(entry: Entry) -> str:
    """One entry as JSON."""
    exp = int(whole_second_after(entry.expires_at).timestamp())
    name = base64url.encode(entry.digest or b"")
    if entry.issued_before is not None:
        of_client = f'"client_id":"{name}",' if entry.kind is Kind.CLIENT else ""
        before = int(entry.issued_before.timestamp())
        return f'{{{of_client}"issued_before":{before},"exp":{exp}}}'
    version = f'"ver":{entry.least_ver},' if entry.kind is Kind.VER else ""
    return f'{{"{NAMES[entry.kind]}":"{name}",{version}"exp":{exp}}}'


def entry_text_of_before(entry: Entry) -> str:
    """The same for a verifier that does not ask for entries of clients: it refuses no less."""
    if entry.kind is not Kind.CLIENT:
        return entry_text(entry)
    return entry_text(Entry(Kind.VER, entry.expires_at, entry.digest, least_ver=CLIENT_VER))


def payload_text(
    *,
    issuer: str,
    iat: datetime,
    epoch: str,
    seq: int,
    entries: Iterable[str],
    since: int | None = None,
) -> str:
    """
    The payload of a document.

    Args:
        entries: Each as `entry_text` writes it, in the order of their numbers.
    """
    seconds = int(iat.timestamp())
    members: dict[str, object] = {
        "iss": issuer,
        "iat": seconds,
        "exp": seconds + int(VALID.total_seconds()),
        "epoch": epoch,
        "seq": seq,
        **({} if since is None else {"since": since}),
    }
    head = json.dumps(members, separators=(",", ":"))
    # Encoded entry by entry when they are learnt: all at once would take 0.1 s.
    return f'{head[:-1]},"entries":[{",".join(entries)}]}}'
