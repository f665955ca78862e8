"""The settings as a whole: where they come from, and that they go together."""

from __future__ import annotations

from difflib import get_close_matches
from typing import Self

from pydantic import ValidationError, model_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource

from authsvc.settings import sources
from authsvc.settings.errors import PREFIX, SettingsError, explain
from authsvc.settings.model import Fields
from authsvc.settings.rules import general_problems, production_problems


class Settings(Fields):
    """Everything that can be configured. Build it with `Settings.load()`."""

    @classmethod
    def load(cls, **overrides: object) -> Self:
        """
        Read the environment and `.env`.

        Args:
            overrides: Fields by name that outrank both, for tests and command-line options.

        Raises:
            SettingsError: A value is bad; the text has one line for each.
        """
        sources.dotenv()  # a file that cannot be read is told of here
        try:
            return cls(**overrides)  # type: ignore[arg-type]  # validated by pydantic
        except ValidationError as exc:
            lines = explain(exc, written_as=sources.written_as)
            raise SettingsError("\n".join(lines)) from None

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Arguments, environment, `.env`; last and least bare names from either."""
        del file_secret_settings
        return init_settings, env_settings, dotenv_settings, sources.BareNames(settings_cls)

    @model_validator(mode="before")
    @classmethod
    def _without_accidents(cls, given: dict[str, object]) -> dict[str, object]:
        """Cut white space that a file or a secret ends with; leave out what the platform set."""
        found = {
            name: value.strip() if isinstance(value, str) else value
            for name, value in given.items()
        }
        port = found.get("port")
        if isinstance(port, str) and sources.SERVICE_URL.match(port):
            found["port"] = sources.value_of(sources.BARE["port"]) or ""
        return {name: value for name, value in found.items() if value != "" or given[name] == ""}

    @model_validator(mode="after")
    def _together(self) -> Self:
        if not self.issuer:
            object.__setattr__(self, "issuer", f"http://localhost:{self.port}")
        problems = [*general_problems(self)]
        if "env" not in self.model_fields_set and not problems:
            # Nobody meant the open rules of development for what the world can reach.
            public = self.issuer.startswith("https://") and not self.issuer_is_loopback
            object.__setattr__(self, "env", "production" if public else "development")
        if self.production:
            problems += production_problems(self)
            if problems and "env" not in self.model_fields_set:
                problems.append(
                    f"{PREFIX}ENV: is not set, so an https issuer that is not this machine means "
                    "production; write development if this is not production"
                )
        if problems:
            raise ValueError("\n".join(problems))
        return self


def unknown_names() -> dict[str, str | None]:
    """Names with our prefix that mean nothing, each with the name that was probably meant."""
    known = [name.upper() for name in Settings.model_fields]
    strays = {
        name: name.upper().removeprefix(PREFIX)
        for name in sources.names_present()
        if _is_stray(name) and not sources.is_service_link(name)
    }
    meant = {name: get_close_matches(bare, known, n=1) for name, bare in strays.items()}
    return {name: PREFIX + close[0] if close else None for name, close in meant.items()}


def _is_stray(name: str) -> bool:
    bare = name.upper().removeprefix(PREFIX)
    return bare != name.upper() and bare.lower() not in Settings.model_fields
