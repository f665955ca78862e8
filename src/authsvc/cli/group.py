"""Groups of commands, as each noun of the command line is one."""

from __future__ import annotations

from collections.abc import MutableMapping
from functools import cache
from importlib import import_module
from typing import Annotated, Any

import typer
from typer.core import TyperGroup
from typer.main import get_group

# A kid may begin with a dash, and one in 4096 with -h: commands that take one know only --help.
HELP_OPTIONS = {"help_option_names": ["-h", "--help"]}
KEY_ID_MAY_BEGIN_WITH_A_DASH = {"ignore_unknown_options": True, "help_option_names": ["--help"]}

Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]

Commands = MutableMapping[str, Any]  # of click or of typer's own copy of it, as the version goes


class LazyGroup(TyperGroup):
    """A group whose module is imported once one of its commands is asked for."""

    @property
    def commands(self) -> Commands:
        """The commands of `app` in the module of the group's name."""
        return _load(self.name or "")

    @commands.setter
    def commands(self, _: Commands) -> None:
        """Not what typer knows of: nothing is imported yet."""


@cache
def _load(name: str) -> Commands:
    return get_group(import_module(f"authsvc.cli.{name}").app).commands


def group(words: str = "", cls: type[TyperGroup] = TyperGroup) -> typer.Typer:
    """
    A group without commands.

    Args:
        words: What its help says that it is about; for a module's own group, main.py says it.
    """
    return typer.Typer(
        cls=cls,
        help=words,
        no_args_is_help=True,
        add_completion=False,
        # A traceback with local variables could show a secret.
        pretty_exceptions_enable=False,
        # The other modes show a flag as if it took a value: `--json <bool>`.
        rich_markup_mode=None,
        context_settings=HELP_OPTIONS,
    )
