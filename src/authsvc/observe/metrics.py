"""
Prometheus metrics: names `authsvc_…`, labels from closed sets only.

Counters are per process. With several workers `serve` sets PROMETHEUS_MULTIPROC_DIR before it
starts them, and prometheus_client then keeps the numbers in files there, which any worker adds up.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    disable_created_metrics,
    generate_latest,
    multiprocess,
)

from authsvc.protocol.errors import Refusal
from authsvc.protocol.refresh import Verdict

MULTIPROCESS_DIR = "PROMETHEUS_MULTIPROC_DIR"
OTHER = "other"
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"})
# A refresh takes about a millisecond, a login about 40.
BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)

# The successes, then the verdicts and the other causes of a refusal.
REFRESH_OUTCOMES = (
    "rotated",
    "kept",
    "replayed",
    "healed",
    *sorted(
        {Verdict.REUSED, Verdict.OVERTAKEN, Verdict.FAR_AHEAD, Verdict.REVOKED, Verdict.EXPIRED}
    ),
    Verdict.USER_DISABLED,
    "abandoned",
    "family_absent",
    "wrong_transport",
    "none_presented",
    "malformed",
    "bad_mac",
    "unknown_key",
    "csrf_failed",
    "database_unavailable",
)
LOGIN_OUTCOMES = (
    "succeeded",
    "invalid_credentials",
    "too_many_attempts",
    "overloaded",
    "database_unavailable",
)

# Of the OAuth endpoints: first the successes.
OAUTH_REFUSALS = (
    "invalid_request",
    "invalid_client",
    "payload_too_large",
    "unsupported_media_type",
    "too_many_attempts",
    "database_unavailable",
)
CLIENT_TOKEN_OUTCOMES = (
    "issued",
    *OAUTH_REFUSALS,
    "unauthorized_client",
    "unsupported_grant_type",
    "invalid_scope",
    "invalid_target",
)
INTROSPECTION_OUTCOMES = ("active", "inactive", *OAUTH_REFUSALS)
REVOCATION_OUTCOMES = (
    "session",
    "access_token",
    "nothing",
    *OAUTH_REFUSALS,
    "unsupported_token_type",
)

# Of forward authentication: the success, then what tokens are refused for, and requests.
VERIFY_OUTCOMES = (
    "allowed",
    "no_credential",
    "malformed",
    "bad_header",
    "unknown_kid",
    "bad_signature",
    "wrong_issuer",
    "bad_claims",
    "expired",
    "not_yet_valid",
    "wrong_audience",
    "not_a_user",
    "revoked",
    "stale_claims",
    "roles",
    "scope",
    "csrf_failed",
    "duplicate_credentials",
    "bad_request",
    "validation_error",
    "not_a_trusted_proxy",
    "database_unavailable",
)

# When a counter began, as a metric beside each: twice the lines, and nobody reads them.
disable_created_metrics()  # type: ignore[no-untyped-call]  # no types there
# Not the library's global one, which other libraries share.
REGISTRY = CollectorRegistry()
counter = partial(Counter, registry=REGISTRY)
gauge = partial(Gauge, registry=REGISTRY)


class OutcomeCounter:
    """A counter with one label from a closed set; another value counts as `other`."""

    def __init__(self, name: str, documentation: str, outcomes: Iterable[str]) -> None:
        total = counter(name, documentation, ["outcome"])
        # Made at once, so that a rate is known from the first scrape on.
        self._children = {str(o): total.labels(outcome=str(o)) for o in (*outcomes, OTHER)}

    def labels(self, outcome: str) -> Counter:
        """The counter of one outcome."""
        return self._children.get(outcome) or self._children[OTHER]

    @contextmanager
    def refusals(self) -> Iterator[None]:
        """Count a refusal under its code."""
        try:
            yield
        except Refusal as refusal:
            self.labels(outcome=refusal.code).inc()
            raise


refresh_total = OutcomeCounter(
    "authsvc_refresh_total", "Refresh requests by outcome.", REFRESH_OUTCOMES
)
login_total = OutcomeCounter("authsvc_login_total", "Logins by outcome.", LOGIN_OUTCOMES)
client_token_total = OutcomeCounter(
    "authsvc_client_token_total", "Access tokens for services, by outcome.", CLIENT_TOKEN_OUTCOMES
)
introspection_total = OutcomeCounter(
    "authsvc_introspection_total", "Introspected tokens, by outcome.", INTROSPECTION_OUTCOMES
)
revocation_total = OutcomeCounter(
    "authsvc_revocation_total", "Revocations by token, by outcome.", REVOCATION_OUTCOMES
)
verify_total = OutcomeCounter(
    "authsvc_verify_total", "Requests of gateways by outcome.", VERIFY_OUTCOMES
)
key_problems_total = counter(
    "authsvc_key_problems_total",
    "Key files that were refused, and keys that appeared after their activation.",
)
log_lines_dropped = counter(
    "authsvc_log_lines_dropped_total",
    "Log lines that were lost, because their reader was too slow or refused them.",
)
_requests = counter(
    "authsvc_http_requests_total",
    "HTTP requests by route template, method and class of status.",
    ["route", "method", "status"],
)
_seconds = Histogram(
    "authsvc_http_request_duration_seconds",
    "Time from the head of a request to the end of its answer.",
    ["route", "method"],
    buckets=BUCKETS,
    registry=REGISTRY,
)
password_queued = gauge(
    "authsvc_password_hashing_queued",
    "Passwords waiting to be hashed.",
    multiprocess_mode="livesum",
)
password_running = gauge(
    "authsvc_password_hashing_running",
    "Passwords that are being hashed.",
    multiprocess_mode="livesum",
)
password_longest = gauge(
    "authsvc_password_hashing_longest_seconds",
    "How long the oldest password that is being hashed has been in its thread.",
    multiprocess_mode="livemax",
)
pool_connections = gauge(
    "authsvc_database_pool_connections",
    "Open connections of the pool for hot statements.",
    multiprocess_mode="livesum",
)
pool_in_use = gauge(
    "authsvc_database_pool_in_use",
    "Connections of that pool that run a statement.",
    multiprocess_mode="livesum",
)
signing_key_age = gauge(
    "authsvc_signing_key_age_seconds",
    "How long the signing key has been signing; NaN without one.",
    multiprocess_mode="livemostrecent",
)
next_activation = gauge(
    "authsvc_signing_key_next_activation_seconds",
    "Time until the next signing key takes over; NaN when none is waiting.",
    multiprocess_mode="livemostrecent",
)
revocations = gauge(
    "authsvc_revocations", "Entries of the revocation feed.", multiprocess_mode="livemax"
)
revocations_age = gauge(
    "authsvc_revocations_age_seconds",
    "Since when a process has learnt of no revocation, though there may be some; NaN at first.",
    multiprocess_mode="livemax",
)
open_connections = gauge(
    "authsvc_open_connections", "Open connections of clients.", multiprocess_mode="livesum"
)
descriptors_left = gauge(
    "authsvc_descriptors_left",
    "Files and connections that a process may still open.",
    multiprocess_mode="livemin",
)

_request_children: dict[tuple[str, str, int], tuple[Counter, Histogram]] = {}


def observe_request(route: str, method: str, status: int, seconds: float) -> None:
    """
    Count a request.

    Args:
        route: The template, never the path.
    """
    key = (route, method, status // 100)
    children = _request_children.get(key)
    if children is None:
        known = method if method in METHODS else OTHER
        children = _request_children[route, known, status // 100] = (
            _requests.labels(route=route, method=known, status=f"{status // 100}xx"),
            _seconds.labels(route=route, method=known),
        )
    children[0].inc()
    children[1].observe(seconds)


def exposition() -> bytes:
    """All metrics as text, of every worker."""
    directory = os.environ.get(MULTIPROCESS_DIR)
    if directory is None:
        return generate_latest(REGISTRY)
    _forget_dead_workers(Path(directory))
    registry = CollectorRegistry()
    multiprocess.MultiProcessCollector(registry)  # type: ignore[no-untyped-call]  # no types there
    return generate_latest(registry)


def _forget_dead_workers(directory: Path) -> None:
    """A worker that was killed cannot take its gauges back."""
    for pid in {path.stem.rpartition("_")[2] for path in directory.glob("gauge_live*_*.db")}:
        try:
            os.kill(int(pid), 0)
        except ProcessLookupError:
            multiprocess.mark_process_dead(int(pid))  # type: ignore[no-untyped-call]
        except (PermissionError, ValueError):
            continue
