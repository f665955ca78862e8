"""Line charts as SVG: text is text, and the colours follow the reader's light or dark page."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape

WIDTH, HEIGHT = 720, 380
LEFT, RIGHT, TOP, BOTTOM = 64, 150, 48, 52

STYLE = """
  text { font: 13px system-ui, sans-serif; fill: #24292f }
  .title { font-size: 16px; font-weight: 600 }
  .grid { stroke: #d0d7de; stroke-width: 1 }
  .line { fill: none; stroke-width: 2.5 }
  .c0 { stroke: #0969da } .c1 { stroke: #bf3989 } .c2 { stroke: #6e7781; stroke-dasharray: 6 4 }
  .c3 { stroke: #1a7f37 }
  .f0 { fill: #0969da } .f1 { fill: #bf3989 } .f2 { fill: #6e7781 } .f3 { fill: #1a7f37 }
  @media (prefers-color-scheme: dark) {
    text { fill: #e6edf3 } .grid { stroke: #30363d }
    .c0 { stroke: #58a6ff } .c1 { stroke: #f778ba } .c2 { stroke: #8b949e } .c3 { stroke: #3fb950 }
    .f0 { fill: #58a6ff } .f1 { fill: #f778ba } .f2 { fill: #8b949e } .f3 { fill: #3fb950 }
  }
"""

Points = Sequence[tuple[float, float]]


def line_chart(
    title: str, *, x_label: str, y_label: str, lines: Mapping[str, Points], log_y: bool = False
) -> str:
    """
    A chart over a logarithmic x axis.

    Args:
        lines: By name, points (x, y); drawn in that order, the third one dashed.
        log_y: Whether the y axis is logarithmic too.
    """
    xs = sorted({x for points in lines.values() for x, _ in points})
    ys = [y for points in lines.values() for _, y in points]
    ticks = _powers(min(ys), max(ys)) if log_y else _round_steps(max(ys))
    low, high = (math.log(ticks[0]), math.log(ticks[-1])) if log_y else (0.0, ticks[-1])
    first, last = math.log(xs[0]), math.log(xs[-1])

    def x_at(x: float) -> float:
        return LEFT + (math.log(x) - first) / (last - first) * (WIDTH - LEFT - RIGHT)

    def y_at(y: float) -> float:
        value = math.log(y) if log_y else y
        return HEIGHT - BOTTOM - (value - low) / (high - low) * (HEIGHT - TOP - BOTTOM)

    middle = (LEFT + WIDTH - RIGHT) / 2
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img">',
        f"<title>{escape(title)}</title><style>{STYLE}</style>",
        f'<text class="title" x="{LEFT}" y="22">{escape(title)}</text>',
        f'<text x="{LEFT}" y="40">{escape(y_label)}</text>',
        f'<text x="{middle:.0f}" y="{HEIGHT - 10}" text-anchor="middle">{escape(x_label)}</text>',
    ]
    for tick in ticks:
        y = y_at(tick)
        parts += [
            f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>',
            f'<text x="{LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{tick:,g}</text>',
        ]
    for x in xs:
        parts.append(
            f'<text x="{x_at(x):.1f}" y="{HEIGHT - BOTTOM + 20}" text-anchor="middle">{x:g}</text>'
        )
    labels: list[float] = []
    for number, (name, points) in enumerate(lines.items()):
        path = " ".join(f"{x_at(x):.1f},{y_at(y):.1f}" for x, y in points)
        parts.append(f'<polyline class="line c{number}" points="{path}"/>')
        parts += [
            f'<circle class="f{number}" cx="{x_at(x):.1f}" cy="{y_at(y):.1f}" r="3"/>'
            for x, y in points
        ]
        at = y_at(points[-1][1]) + 4
        while any(abs(at - other) < 16 for other in labels):
            at += 16
        labels.append(at)
        parts.append(
            f'<text class="f{number}" x="{WIDTH - RIGHT + 10}" y="{at:.1f}">{escape(name)}</text>'
        )
    return "\n".join([*parts, "</svg>\n"])


def _round_steps(highest: float) -> list[float]:
    step = 10 ** math.floor(math.log10(highest))
    for factor in (0.2, 0.5, 1, 2):
        if highest / (step * factor) <= 6:
            step *= factor
            break
    return [n * step for n in range(math.ceil(highest / step) + 1)]


def _powers(lowest: float, highest: float) -> list[float]:
    steps = [a * 10.0**b for b in range(-3, 7) for a in (1, 2, 5)]
    begin = max(s for s in steps if s <= lowest)
    end = min(s for s in steps if s >= highest)
    return [s for s in steps if begin <= s <= end]
