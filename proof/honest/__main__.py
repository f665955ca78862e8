"""`python -m proof.honest DIRECTORY [SESSIONS]`: all figures as JSON and SVG."""

from __future__ import annotations

import sys
from pathlib import Path

from proof.honest.charts import CHARTS
from proof.honest.figures import Figures, measure

SESSIONS = 200  # of each combination


def write(figures: Figures, directory: Path) -> None:
    """`honest.json` and one SVG each."""
    directory.mkdir(parents=True, exist_ok=True)
    figures.write(directory / "honest.json")
    for name, draw in CHARTS.items():
        (directory / f"{name}.svg").write_text(draw(figures))


if __name__ == "__main__":
    sessions = int(sys.argv[2]) if len(sys.argv) > 2 else SESSIONS
    write(measure(sessions=sessions), Path(sys.argv[1]))
