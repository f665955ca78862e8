"""GET /metrics: the numbers of this replica, for Prometheus."""

from __future__ import annotations

import hmac
import math

from fastapi import APIRouter, Request
from prometheus_client import CONTENT_TYPE_LATEST
from starlette.responses import PlainTextResponse, Response

from authsvc.http.request.service import Service, service_of
from authsvc.http.response.problem_schema import refusals
from authsvc.observe import log_output, metrics
from authsvc.protocol.errors import NotFound, Unauthenticated


def record(service: Service) -> None:
    """Set this process's gauges. Each process does so every few seconds, and when it is read."""
    metrics.log_lines_dropped.inc(log_output.dropped.take())
    in_use, connections = service.db.hot_pool_size
    metrics.pool_in_use.set(in_use)
    metrics.pool_connections.set(connections)
    metrics.password_queued.set(service.hasher.queue.queued)
    metrics.password_running.set(service.hasher.queue.running)
    metrics.password_longest.set(service.hasher.queue.longest_seconds)
    metrics.revocations.set(len(service.revocations))
    age = service.revocations.age
    metrics.revocations_age.set(math.nan if age is None else age.total_seconds())
    now = service.clock.now()
    ages = [
        (now - key.activation).total_seconds()
        for key in service.keys.ring.keys
        if key.private_key is not None
    ]
    metrics.signing_key_age.set(min((age for age in ages if age >= 0), default=math.nan))
    metrics.next_activation.set(min((-age for age in ages if age < 0), default=math.nan))


router = APIRouter()


@router.get(
    "/metrics",
    name="metrics",
    response_class=PlainTextResponse,
    tags=["service"],
    summary="Metrics",
    responses=refusals(NotFound, Unauthenticated),
)
async def get(request: Request) -> Response:
    """
    Read the metrics of this replica, in the text format of Prometheus.

    Needs `AUTHSVC_METRICS_TOKEN` as a bearer token where that is set. In production there
    are no metrics without one.
    """
    service = service_of(request)
    token = service.settings.metrics_token
    if token is None:
        if service.settings.production:
            raise NotFound("METRICS_TOKEN is not set")
    else:
        scheme, _, presented = request.headers.get("authorization", "").partition(" ")
        if not presented:
            raise Unauthenticated("no metrics token", error=None)
        expected = token.get_secret_value().encode()
        if scheme.lower() != "bearer" or not hmac.compare_digest(
            presented.strip().encode("latin-1"), expected
        ):
            raise Unauthenticated("wrong metrics token")
    record(service)
    request.app.connections.record()
    return Response(metrics.exposition(), media_type=CONTENT_TYPE_LATEST)


router.add_api_route("/metrics", get, methods=["HEAD"], include_in_schema=False)
