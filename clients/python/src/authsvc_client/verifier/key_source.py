"""Fetch the key set of an issuer: RFC 8414 discovery, then the JWK Set."""

from __future__ import annotations

import time
from dataclasses import replace
from urllib.parse import urlsplit

import httpx

from authsvc_client.https import FetchFailed, Transfer, check_url
from authsvc_client.tokens import json_object
from authsvc_client.verifier.freshness import freshness
from authsvc_client.verifier.key_set import BrokenKeySet, KeySet, read_key_set

MAX_BYTES = 262_144  # a key takes 400; nobody publishes hundreds
DISCOVERY = "/.well-known/oauth-authorization-server"
JSON = {"Accept": "application/json"}
# How long a discovered `jwks_uri` is used, as long as it answers.
REDISCOVER = 3600.0


class KeySource:
    """
    Where the keys of one issuer come from. It blocks; the cache calls it in a thread.

    Args:
        issuer: The exact `iss`.
        jwks_uri: Where the JWK Set is; None asks the issuer's metadata (RFC 8414).
    """

    def __init__(self, *, issuer: str, jwks_uri: str | None, transfer: Transfer) -> None:
        self.issuer = check_url(issuer, "issuer")
        self._configured = None if jwks_uri is None else check_url(jwks_uri, "jwks_uri")
        self._transfer = transfer
        self._discovered: tuple[str, float] | None = None

    def fetch(self, known: KeySet | None, *, past_caches: bool) -> KeySet:
        """
        The key set as it is now; unless it has changed, the known one with its new freshness.

        Args:
            past_caches: Ask caches on the way to look at the origin (RFC 9111 §5.2.1.4).

        Raises:
            FetchFailed: Nothing usable came.
        """
        try:
            return self._fetch(self._configured or self._discover(), known, past_caches=past_caches)
        except FetchFailed:
            # It may have moved: the next attempt looks it up again.
            self._discovered = None
            raise

    def _fetch(self, uri: str, known: KeySet | None, *, past_caches: bool) -> KeySet:
        headers = dict(JSON)
        if known is not None and known.etag is not None:
            headers["If-None-Match"] = known.etag
        if past_caches:
            headers["Cache-Control"] = "no-cache"
        answer, body = self._transfer.get(uri, headers, at_most=MAX_BYTES)
        found = freshness(answer.headers.get("cache-control", ""), answer.headers.get("age", ""))
        etag = answer.headers.get("etag")
        if known and "If-None-Match" in headers and answer.status_code == httpx.codes.NOT_MODIFIED:
            return replace(known, etag=etag or known.etag, freshness=found)
        if answer.status_code != httpx.codes.OK:
            raise FetchFailed(f"{uri} answered {answer.status_code}")
        try:
            return KeySet(body, read_key_set(body), etag, found)
        except BrokenKeySet as exc:
            raise FetchFailed(f"{uri} is no key set: {exc}") from exc

    def _discover(self) -> str:
        """`jwks_uri` of the issuer's metadata; its `issuer` must be ours (RFC 8414 §3.3)."""
        if self._discovered is not None and time.monotonic() < self._discovered[1]:
            return self._discovered[0]
        address = metadata_url(self.issuer)
        answer, body = self._transfer.get(address, JSON, at_most=MAX_BYTES)
        if answer.status_code != httpx.codes.OK:
            raise FetchFailed(f"{address} answered {answer.status_code}")
        try:
            metadata = json_object.decode(body)
            if metadata.get("issuer") != self.issuer:
                raise FetchFailed(f"{address} is the metadata of another issuer")
            uri = check_url(str(metadata.get("jwks_uri")), "jwks_uri")
        except ValueError as exc:
            raise FetchFailed(f"{address}: {exc}") from exc
        self._discovered = (uri, time.monotonic() + REDISCOVER)
        return uri


def metadata_url(issuer: str) -> str:
    """Where an issuer's metadata is: between its host and its path (RFC 8414 §3.1)."""
    parts = urlsplit(issuer)
    return f"{parts.scheme}://{parts.netloc}{DISCOVERY}{parts.path.rstrip('/')}"
