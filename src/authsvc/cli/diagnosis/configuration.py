"""Settings: do they load, do they mean something, do they fit where they are used."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

from authsvc.cli.console import duration, plural
from authsvc.cli.diagnosis.finding import Finding, error, info, ok, warning
from authsvc.settings import Settings, SettingsError, unknown_names, usable_cores

USUAL_ACCESS_TTL = timedelta(minutes=15)


def load() -> tuple[Settings | None, list[Finding]]:
    """The settings, and what is to be said of their loading; None if a value is bad."""
    findings: list[Finding] = []
    try:
        findings = [
            warning(
                "CFG-002",
                f"{name} is set but means nothing",
                f"did you mean {meant}? Rename it" if meant else "remove it, or look up its name",
            )
            for name, meant in unknown_names().items()
        ]
        settings = Settings.load()
    except SettingsError as exc:
        # The lines have the form `NAME: problem; fix`.
        parts = (line.partition("; ") for line in str(exc).splitlines())
        bad = [error("CFG-001", found, fix or "correct it") for found, _, fix in parts]
        return None, [*bad, *findings]
    given = plural(len(settings.model_fields_set), "setting")
    return settings, [ok("CFG-001", f"loads, with {given} given"), *findings]


def examine(settings: Settings) -> Iterator[Finding]:
    """What the settings say about themselves."""
    if settings.production:
        yield ok("CFG-003", "is production")
        yield from _production(settings)
    else:
        yield info(
            "CFG-003",
            "is development: http, an embedded database and readable key files are allowed",
            "set AUTHSVC_ENV=production if others depend on it",
        )
    yield _workers(settings)
    if settings.throttle:
        yield ok("CFG-005", "is on")
    else:
        yield warning(
            "CFG-005",
            "is off: passwords can be guessed as fast as they are hashed",
            "remove AUTHSVC_THROTTLE unless this is a load test",
        )
    if settings.access_ttl > USUAL_ACCESS_TTL:
        yield info(
            "CFG-008",
            f"access tokens live for {duration(settings.access_ttl)}; services that verify them "
            "themselves accept those of an ended session until then",
            "set AUTHSVC_ACCESS_TTL to 900 or less",
        )
    else:
        yield ok("CFG-008", f"access tokens live for {duration(settings.access_ttl)}")


def _production(settings: Settings) -> Iterator[Finding]:
    if settings.metrics_token is None:
        yield info(
            "CFG-006",
            "/metrics answers 404, because production requires a token",
            "set AUTHSVC_METRICS_TOKEN and give it to the scraper as bearer token",
        )
    else:
        yield ok("CFG-006", "/metrics needs its token")
    if settings.docs:
        yield info(
            "CFG-007",
            "/docs and /openapi.json are public",
            "nothing, or set AUTHSVC_DOCS=off if they are not needed",
        )
    else:
        yield ok("CFG-007", "is off")


def _workers(settings: Settings) -> Finding:
    cores = usable_cores()
    named = f"{plural(settings.workers, 'process', 'processes')} on {plural(cores, 'core')}"
    if settings.workers > cores:
        return warning(
            "CFG-004",
            f"{named}: they compete for the processor",
            f"set AUTHSVC_WORKERS={cores} or unset it",
        )
    return ok("CFG-004", named)
