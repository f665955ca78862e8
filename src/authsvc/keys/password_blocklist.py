"""The commonest passwords, shipped as data (`data/NOTICE.txt` has their origin and licences)."""

from __future__ import annotations

import gzip
from importlib.resources import files


def blocked_passwords() -> frozenset[str]:
    """
    More than 16,000 passwords of 8 characters and more, lower-case and in NFC; about 2 MB.

    Shorter ones are not listed, since the password policy refuses them for their length. Read
    once per process and pass it on.
    """
    data = files("authsvc.keys").joinpath("data", "common_passwords.txt.gz").read_bytes()
    return frozenset(gzip.decompress(data).decode("utf-8").splitlines())
