"""The command `authsvc`, and `python -m authsvc`, which also works where a moved venv's do not."""

from __future__ import annotations

import sys


def main() -> None:
    """Run the command line, if the server is installed and not only the verifier."""
    try:
        from authsvc.cli.main import main as run  # noqa: PLC0415 - workers need nothing of it
    except ModuleNotFoundError as exc:
        if exc.name is None or exc.name.partition(".")[0] == "authsvc":
            raise
        sys.stderr.write(
            "authsvc: the server is not installed, only its verifier and client "
            f"({exc.name} is missing). Install it from a checkout: "
            "pip install '/path/to/authsvc[server]'\n"
        )
        sys.exit(1)
    run()


# Worker processes import this file under another name.
if __name__ == "__main__":
    main()
