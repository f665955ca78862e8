"""Where settings come from beside the prefixed names, and which names are the platform's."""

from __future__ import annotations

import os
import re

from dotenv import dotenv_values
from pydantic.fields import FieldInfo
from pydantic_settings import PydanticBaseSettingsSource

from authsvc.settings.errors import PREFIX, SettingsError

DOTENV = ".env"
DOTENV_ENCODING = "utf-8-sig"  # editors of Windows begin a file with a byte order mark
# What platforms set without our prefix, by the name of the field.
BARE = {"database_url": "DATABASE_URL", "port": "PORT"}
# The variables that the kubelet sets in every pod for a Service named `authsvc`.
SERVICE_LINK = re.compile(
    r"SERVICE_(HOST|PORT(_\w+)?)|PORT_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?", re.ASCII
)
SERVICE_URL = re.compile(r"(tcp|udp|sctp)://", re.ASCII)


class BareNames(PydanticBaseSettingsSource):
    """
    DATABASE_URL and PORT without the prefix.

    A name that a shell happens to hold for another program must not outrank the one that was
    written for us, wherever that stands.
    """

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[object, str, bool]:
        """Satisfy the base class; `__call__` below is all that is used."""
        del field
        return None, field_name, False

    def __call__(self) -> dict[str, object]:
        """The fields that have such a name."""
        found = {field: value_of(name) for field, name in BARE.items()}
        return {field: value for field, value in found.items() if value}


def value_of(name: str) -> str | None:
    """The value of a name: of the environment, or else of `.env`."""
    return os.environ.get(name) or dotenv().get(name)


def names_present() -> list[str]:
    """Every name of the environment and of `.env`."""
    return sorted({*os.environ, *dotenv()})


def dotenv() -> dict[str, str | None]:
    """
    What `.env` holds.

    Raises:
        SettingsError: It cannot be read.
    """
    try:
        return dotenv_values(DOTENV, encoding=DOTENV_ENCODING)
    except UnicodeDecodeError:
        raise SettingsError(f"{DOTENV}: is not UTF-8; save it again in that encoding") from None
    except OSError as exc:
        raise SettingsError(
            f"{DOTENV}: cannot be read ({exc.strerror}); let the user that runs authsvc read it"
        ) from None


def written_as(field: str) -> str:
    """The name by which a field was given: ours, unless only the bare one is there."""
    ours = PREFIX + field.upper()
    bare = BARE.get(field)
    return bare if bare and not value_of(ours) and value_of(bare) else ours


def is_service_link(name: str) -> bool:
    """Whether Kubernetes set this name for a Service, and no operator did."""
    bare = name.removeprefix(PREFIX)
    if bare == "PORT":
        return SERVICE_URL.match(os.environ.get(name, "")) is not None
    return bare != name and SERVICE_LINK.fullmatch(bare) is not None


def service_links() -> list[str]:
    """The names that Kubernetes has set for a Service named `authsvc`."""
    return [name for name in sorted(os.environ) if is_service_link(name)]
