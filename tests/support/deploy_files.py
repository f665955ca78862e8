"""The files that containers are made of, read as their tools read them."""

from __future__ import annotations

import json
import re
import shlex
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[2]
VARIABLE = re.compile(r"\$\{(?P<name>\w+)(:?-(?P<default>[^}]*))?\}")


@dataclass(frozen=True, slots=True)
class Stage:
    """One FROM and what follows it."""

    base: str
    instructions: list[tuple[str, str]] = field(default_factory=list)

    def all(self, name: str) -> list[str]:
        """The arguments of every instruction of that name."""
        return [arguments for instruction, arguments in self.instructions if instruction == name]

    def last(self, name: str) -> str:
        """The arguments of the one that counts."""
        return self.all(name)[-1]

    @property
    def environment(self) -> dict[str, str]:
        """What ENV sets."""
        words = [word for arguments in self.all("ENV") for word in shlex.split(arguments)]
        return dict(word.split("=", 1) for word in words)


def stages() -> list[Stage]:
    """The Dockerfile, with ARGs before the first FROM put in."""
    text = (ROOT / "Dockerfile").read_text()
    lines = [line for line in text.splitlines() if not line.lstrip().startswith("#")]
    defaults: dict[str, str] = {}
    found: list[Stage] = []
    for line in "\n".join(lines).replace("\\\n", " ").splitlines():
        name, _, arguments = line.partition(" ")
        if name == "FROM":
            base = re.sub(r"\$\{(\w+)\}", lambda match: defaults[match[1]], arguments)
            found.append(Stage(base))
        elif name == "ARG" and not found:
            argument, _, value = arguments.partition("=")
            defaults[argument] = value
        elif name:
            found[-1].instructions.append((name, arguments.strip()))
    return found


def compose() -> dict[str, Any]:
    """docker-compose.yml, merged by YAML and with the defaults of its variables."""
    text = (ROOT / "docker-compose.yml").read_text()
    read = yaml.safe_load(VARIABLE.sub(lambda match: match["default"] or "", text))
    assert isinstance(read, dict)
    return read


def exec_form(arguments: str) -> list[str]:
    """What ENTRYPOINT, CMD and HEALTHCHECK start, which must not need a shell."""
    read = json.loads(arguments[arguments.index("[") :])
    assert isinstance(read, list)
    return read


def locked(name: str) -> set[str]:
    """The packages of a lock file."""
    return set(re.findall(r"^([a-z0-9-]+)==", (ROOT / name).read_text(), re.MULTILINE))
