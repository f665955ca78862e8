"""The command `authsvc`, and `python -m authsvc`, which also works where a moved venv's do not."""

from __future__ import annotations


def main() -> None:
    """Run the command line."""
    from authsvc.cli.main import main as run  # noqa: PLC0415 - workers need nothing of it

    run()


# Worker processes import this file under another name.
if __name__ == "__main__":
    main()
