"""A group of commands, as each noun of the command line is one."""

from __future__ import annotations

import typer

# A kid may begin with a dash, and one in 4096 with -h: commands that take one know only --help.
HELP_OPTIONS = {"help_option_names": ["-h", "--help"]}
KEY_ID_MAY_BEGIN_WITH_A_DASH = {"ignore_unknown_options": True, "help_option_names": ["--help"]}


def group(words: str) -> typer.Typer:
    """
    A group without commands.

    Args:
        words: What its help says that it is about.
    """
    return typer.Typer(
        help=words,
        no_args_is_help=True,
        add_completion=False,
        # A traceback with local variables could show a secret.
        pretty_exceptions_enable=False,
        # The other modes show a flag as if it took a value: `--json <bool>`.
        rich_markup_mode=None,
        context_settings=HELP_OPTIONS,
    )
