"""`python -m authsvc`, which also works where a moved venv's scripts do not."""

from __future__ import annotations

# Worker processes import this file under another name, and need nothing of the command line.
if __name__ == "__main__":
    from authsvc.cli.main import main

    main()
