"""The outermost application: every request gets an id, a deadline, an answer and a log line."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from time import perf_counter
from uuid import uuid4

import structlog
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.status import HTTP_500_INTERNAL_SERVER_ERROR
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from authsvc.http.request.client_ip import resolve_client
from authsvc.http.request.csrf import Origins
from authsvc.http.response.errors import refusal_response
from authsvc.http.wire.body_limit import limited
from authsvc.http.wire.cors import ASKED_BY_GATEWAYS, Cors, Header
from authsvc.http.wire.guard import PROBES, Guard
from authsvc.http.wire.head import Headers, read_head
from authsvc.http.wire.security_headers import SecurityHeaders
from authsvc.observe.logging import configure_logging, request_id_var
from authsvc.observe.metrics import observe_request
from authsvc.protocol import errors
from authsvc.settings import Settings

# Seconds. Every wait of ours has a shorter limit of its own; this is for what they add up to.
DEADLINE = 5.0
# A login may wait as long as configured for its turn to be hashed, and needs time beside that.
LOGIN_HEADROOM = 3.0
CLIENT_GONE = 499  # in log and metrics only (nginx's number): nobody was there for an answer

UNMATCHED = "unmatched"
PREFLIGHT = "preflight"
MAX_ORIGIN = 200  # bytes of one in a log line


# Endpoints that are called without the framework between, by method and path.
Direct = Mapping[tuple[str, str], Callable[[Request], Awaitable[Response]]]


class Edge:
    """
    Pure ASGI; see the package for its order of work.

    Args:
        direct: Routing and dependency injection would be half the cost of these. They are
            routes of the application as well, which describes them and knows their methods.
    """

    def __init__(self, app: ASGIApp, *, settings: Settings, direct: Direct | None = None) -> None:
        self._app = app
        self._direct = direct or {}
        self._cors = Cors(Origins.configured(settings))
        self._guard = Guard(settings)
        self._security_headers = SecurityHeaders(settings)
        self._trusted = settings.trusted_proxies
        if not structlog.is_configured():
            # Its defaults print tracebacks with local variables, and those hold passwords.
            configure_logging(settings)
        self._log = structlog.get_logger().bind()
        self._deadline = max(DEADLINE, settings.hash_queue_seconds + LOGIN_HEADROOM)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request; no exception leaves but a cancellation."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if scope["type"] != "http":
            await send({"type": "websocket.close"})
            return
        started = perf_counter()
        request_id = str(uuid4())
        state = scope.setdefault("state", {})
        state["request_id"] = request_id
        token = request_id_var.set(request_id)
        head = read_head(scope)
        answer = _Answer(
            scope["path"], send, request_id.encode(), self._cors, self._security_headers, head
        )
        try:
            await self._serve(scope, receive, answer, head)
        finally:
            route = answer.route or _template(scope)
            seconds = perf_counter() - started
            observe_request(route, scope["method"], answer.status, seconds)
            self._write(scope, route, answer.status, seconds, state.get("refusal"))
            request_id_var.reset(token)

    async def _serve(self, scope: Scope, receive: Receive, answer: _Answer, head: Headers) -> None:
        request = Request(scope)
        try:
            self._resolve_client(scope, head)
            if _is_preflight(scope, head) and scope["path"] not in ASKED_BY_GATEWAYS:
                answer.route = PREFLIGHT
                answer.extra = self._cors.preflight(
                    scope["path"],
                    head[b"origin"][0],
                    head.get(b"access-control-request-headers", ()),
                )
                if not answer.extra:
                    origin = head[b"origin"][0][:MAX_ORIGIN].decode("latin-1")
                    scope["state"]["facts"] = {
                        "detail": "preflight refused: list the origin in AUTHSVC_CORS_ORIGINS",
                        "origin": origin,
                    }
                await Response(status_code=204)(scope, receive, answer.send)
                return
            self._guard.check(scope, head)
            receive = await limited(receive, head)
            await self._call(scope, receive, answer)
        except errors.Refusal as refusal:
            await answer.refuse(request, refusal, receive)
        except ClientDisconnect:
            answer.status = CLIENT_GONE
        except Exception as exc:  # noqa: BLE001 - the last resort: no request goes unanswered
            self._log.exception("unhandled_exception", exc_info=exc)
            await answer.refuse(request, errors.InternalError("unhandled exception"), receive)

    async def _call(self, scope: Scope, receive: Receive, answer: _Answer) -> None:
        try:
            async with asyncio.timeout(self._deadline) as deadline:
                answer.deadline = deadline
                endpoint = self._direct.get((scope["method"], scope["path"]))
                if endpoint is None:
                    await self._app(scope, receive, answer.send)
                else:
                    answer.route = scope["path"]
                    response = await endpoint(Request(scope, receive))
                    await response(scope, receive, answer.send)
        except TimeoutError:
            if not deadline.expired():
                raise
            # What we wait for is the database, or the CPU; for the caller it is the same.
            raise errors.DatabaseUnavailable("request deadline") from None

    def _resolve_client(self, scope: Scope, head: Headers) -> None:
        """Put the client itself into the scope where the peer is a trusted proxy."""
        if not self._trusted or not scope.get("client"):
            return
        peer, port = scope["client"]
        values = [value.decode("latin-1") for value in head.get(b"x-forwarded-for", ())]
        ip, by_proxy = resolve_client(peer, values, self._trusted)
        scope["client"] = (ip, port if ip == peer else 0)
        scope["state"]["by_proxy"] = by_proxy
        if by_proxy and b"x-forwarded-proto" in head:
            # The nearest proxy's word; a list is in the order of the hops.
            proto = head[b"x-forwarded-proto"][-1].rpartition(b",")[2].strip().lower()
            if proto in {b"http", b"https"}:
                scope["scheme"] = proto.decode()

    def _write(
        self, scope: Scope, route: str, status: int, seconds: float, refusal: errors.Refusal | None
    ) -> None:
        """
        One line per request: no path (it may hold anything), no query, no header.

        What an endpoint knows beside that, it leaves in `request.state.facts`.
        """
        client = scope.get("client")
        fields: dict[str, object] = {
            "method": scope["method"],
            "route": route,
            "status": status,
            "duration_ms": round(seconds * 1000, 2),
            "client": client[0] if client else "",
            **scope["state"].get("facts", {}),
        }
        if refusal is not None:
            fields["code"] = refusal.code
            if refusal.detail:
                fields["detail"] = refusal.detail
        # What a gateway asks wrongly is its operator's slip, who sees a bare 500 or 503 there.
        slip = route in ASKED_BY_GATEWAYS and isinstance(refusal, errors.ValidationFailed)
        if status >= HTTP_500_INTERNAL_SERVER_ERROR or slip:
            self._log.warning("request", **fields)
        elif route in PROBES and refusal is None:
            self._log.debug("request", **fields)
        else:
            self._log.info("request", **fields)


@dataclass(slots=True)
class _Answer:
    """An answer on its way out: completes its headers and remembers its status."""

    path: str
    transport: Send
    request_id: bytes
    cors: Cors
    security_headers: SecurityHeaders
    head: Headers
    deadline: asyncio.Timeout | None = None
    extra: tuple[Header, ...] = ()
    route: str | None = None
    started: bool = False
    status: int = CLIENT_GONE

    async def send(self, message: Message) -> None:
        """Pass a message of the application on."""
        if message["type"] == "http.response.start":
            self.started = True
            self.status = message["status"]
            if self.deadline is not None and not self.deadline.expired():
                # An answer that has begun takes as long as its reader does.
                self.deadline.reschedule(None)
            headers = [*message["headers"], (b"x-request-id", self.request_id), *self.extra]
            origin = self.head.get(b"origin")
            headers += self.cors.headers(self.path, origin[0] if origin else None)
            self.security_headers.complete(headers, self.path)
            message = {**message, "headers": headers}
        await self.transport(message)

    async def refuse(self, request: Request, refusal: errors.Refusal, receive: Receive) -> None:
        """Say no, unless an answer has begun: then the server closes the connection."""
        self.deadline = None
        if self.started:
            request.state.refusal = refusal
            return
        await refusal_response(refusal, request)(request.scope, receive, self.send)


def _is_preflight(scope: Scope, head: Headers) -> bool:
    return (
        scope["method"] == "OPTIONS"
        and b"origin" in head
        and b"access-control-request-method" in head
    )


def _template(scope: Scope) -> str:
    """The path of the route that served the request, with names for its variable parts."""
    path = getattr(scope.get("route"), "path", None)
    if isinstance(path, str):
        return path
    # A plain route does not show itself; without variable parts its path is its template.
    if "endpoint" in scope and not scope.get("path_params"):
        return str(scope["path"])
    return UNMATCHED
