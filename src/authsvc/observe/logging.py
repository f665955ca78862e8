"""
Logs: a JSON object per line on stdout, or readable lines on stderr, each with its request's id.

Secrets are kept out by construction: typed ones never render, values of unknown types are named
instead of printed, and messages of exceptions, which quote input, are left out. What slips
through all that and looks like a secret is cut out at the end (`observe/redaction.py`).
"""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Callable, Mapping, MutableMapping
from contextlib import suppress
from contextvars import ContextVar
from datetime import UTC, datetime
from functools import partial
from typing import Any, Literal

import structlog
from structlog.dev import ConsoleRenderer

from authsvc.observe.log_output import Background, Direct, Sink, Stream
from authsvc.observe.redaction import (
    CUT,
    TYPED,
    describe_exception,
    escape,
    needs_redaction,
    plain,
    redacted,
)
from authsvc.settings import Settings

request_id_var: ContextVar[str | None] = ContextVar("request_id", default=None)

LEVELS = {"debug": 10, "info": 20, "warning": 30, "error": 40}
# They say at "info" what only their authors need.
QUIET = ("asyncio", "httpx", "httpcore", "sqlalchemy", "alembic.runtime.plugins")

MAX_LINE = 64 * 1024  # characters; of a longer event only these fields are written
ALWAYS = ("timestamp", "level", "event", "request_id", "logger")

# ASCII only: line separators and control characters of any kind come out escaped.
_ENCODER = json.JSONEncoder(separators=(",", ":"), default=str)

Event = MutableMapping[str, Any]
Render = Callable[[Mapping[str, Any]], str]


def configure_logging(settings: Settings, *, background: bool = False) -> Sink:
    """
    Send everything that logs, also the standard library's loggers, to one stream in one format.

    JSON is for collectors, which take stdout for lines and stderr for errors.

    Args:
        background: Write from a thread, as a service must.
    """
    level = LEVELS[settings.log_level]
    line = partial(_line, _renderer(settings.log_format))
    sink = _sink("stdout" if settings.log_format == "json" else "stderr", background=background)
    output = _Output(sink)
    structlog.configure(
        processors=[lambda _, method, event: line(method, event)],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        context_class=dict,
        logger_factory=lambda *_: output,
        # Tests configure more than once; loggers of hot paths are bound once by their owners.
        cache_logger_on_first_use=False,
    )
    root = logging.getLogger()
    for handler in [h for h in root.handlers if isinstance(h, _Bridge)]:
        root.removeHandler(handler)
    root.addHandler(_Bridge(line, output))
    root.setLevel(level)
    for name in QUIET:
        logging.getLogger(name).setLevel(max(level, logging.WARNING))
    for name in ("uvicorn", "uvicorn.error", "uvicorn.access"):
        logger = logging.getLogger(name)
        logger.handlers.clear()
        logger.propagate = True
    # The line of the edge says more, and says it without paths and queries.
    logging.getLogger("uvicorn.access").disabled = True
    return sink


def _sink(stream: Stream, *, background: bool) -> Sink:
    if background:
        with suppress(AttributeError, OSError, ValueError):  # closed, or not a file
            return Background(getattr(sys, stream).fileno())
    return Direct(stream)


def _line(render: Render, level: str, event: Event) -> str:
    """From a logged event to a line of text; the only processor."""
    entry: dict[str, Any] = {
        "timestamp": datetime.now(UTC).isoformat(timespec="milliseconds")[:-6] + "Z",
        "level": level,
        "event": plain("event", event.pop("event", "")),
    }
    request_id = request_id_var.get()
    if request_id is not None:
        entry["request_id"] = request_id
    exc = event.pop("exc_info", None)
    for key, value in event.items():
        entry[key] = plain(key, value)
    if exc:
        entry["exception"] = describe_exception(exc)
    text = render(entry)
    if len(text) > MAX_LINE:
        entry = {key: entry[key] for key in ALWAYS if key in entry} | {"cut": len(text)}
        text = render(entry)
    # Looked for in the whole line at once, which is cheap; cut out of the single values.
    return render(redacted(entry)) if needs_redaction(text) else text


class _Output:
    """What structlog calls a logger: passes finished lines on."""

    def __init__(self, sink: Sink) -> None:
        self._sink = sink

    def msg(self, line: str) -> None:
        """Write one line."""
        self._sink.write(line)

    debug = info = warning = warn = error = critical = exception = fatal = log = msg


class _Bridge(logging.Handler):
    """Standard library records, through the same pipeline."""

    def __init__(self, line: Callable[[str, Event], str], output: _Output) -> None:
        super().__init__()
        self._line = line
        self._output = output

    def emit(self, record: logging.LogRecord) -> None:
        """Write a record."""
        message = str(record.msg)
        if isinstance(record.args, tuple):
            # `%s` would print a typed secret: it is a text like any other.
            record.args = tuple(CUT if isinstance(a, TYPED) else a for a in record.args)
        with suppress(TypeError, ValueError):
            message = record.getMessage()
        event: Event = {"event": message, "logger": record.name}
        if record.exc_info:
            event["exc_info"] = record.exc_info
        self._output.msg(self._line(record.levelname.lower(), event))


def _renderer(log_format: Literal["console", "json"]) -> Render:
    if log_format == "json":
        return _ENCODER.encode
    console = ConsoleRenderer(colors=sys.stderr.isatty(), sort_keys=False, pad_event_to=24)

    def console_line(entry: Mapping[str, Any]) -> str:
        readable = {key: escape(value) for key, value in entry.items()}
        frames = readable.pop("exception", None)
        line = str(console(None, "", readable))
        if isinstance(frames, list):
            line = "\n    ".join([line, *map(str, frames)])
        return line

    return console_line
