"""The figures as SVG: text stays text, and the colours follow the reader's light or dark page."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from html import escape
from math import log10

from proof.honest.browser import DISCIPLINES
from proof.honest.figures import OUR_DISCIPLINE, Figures, HonestFigure, ThiefFigure
from proof.honest.network import PROFILES
from proof.honest.rules import OURS, RULES
from proof.honest.sessions import STRATEGIES

STYLE = """
svg { font: 13px system-ui, sans-serif; }
.page { fill: #ffffff; } text { fill: #1f2328; } .quiet { fill: #59636e; }
.title { font-size: 16px; font-weight: 600; } .ours { font-weight: 600; }
.bad { fill: #c2410c; } .none { fill: #1a7f37; fill-opacity: .14; }
.on-bad { fill: #ffffff; } .line { stroke: #d1d9e0; }
.bar { fill: #0969da; } .never { fill: #c2410c; } .gone { fill: #818b98; }
@media (prefers-color-scheme: dark) {
  .page { fill: #0d1117; } text { fill: #e6edf3; } .quiet { fill: #9198a1; }
  .bad { fill: #f0703a; } .none { fill: #3fb950; fill-opacity: .18; }
  .on-bad { fill: #0d1117; } .line { stroke: #3d444d; }
  .bar { fill: #4493f8; } .never { fill: #f0703a; } .gone { fill: #6e7681; }
}
"""
LEFT, TOP, CELL, ROW = 166, 118, 58, 30  # pixels
CLIENTS = {
    "key and lock": ("key", "lock"),
    "key": ("key", "only"),
    "lock": ("lock", "only"),
    "neither": ("neither", ""),
    "key kept, lock": ("key kept", "lock"),
}
BAR, MAX_WIDTH = 16, 430  # pixels
TICKS = {60: "1 min", 3600: "1 h", 86_400: "1 day", 7 * 86_400: "1 week"}


def honest_sessions(figures: Figures) -> str:
    """Heat map: the share of honest sessions lost, by rule, network and client."""
    disciplines = [name for name, each in DISCIPLINES.items() if not each.keeps_key]
    return _heat_map(
        "Honest sessions lost in four weeks (%), no thief, no crash",
        "by server rule, network and what the client does",
        [figure for figure in figures.honest if not figure.crashes],
        disciplines,
    )


def rolled_back_sessions(figures: Figures) -> str:
    """The same with crashes that roll the cookie jar back to an earlier state of the disk."""
    disciplines = [name for name, each in DISCIPLINES.items() if each.key and each.lock]
    return _heat_map(
        "With crashes that roll the jar back (%)",
        "clients with key and lock; kept: the last key again after a start",
        [figure for figure in figures.honest if figure.crashes],
        disciplines,
    )


def thieves(figures: Figures, profile: str = "calm") -> str:
    """Bars: how long a thief who copied the jar stays, by what he does."""
    drawn = [each for each in figures.thieves if each.profile == profile]
    rules = [rule for rule in RULES if any(each.rule == rule for each in drawn)]
    group = len(rules) * (BAR + 5) + 34
    top = 100
    height = top + len(STRATEGIES) * group + 26
    parts = [
        _text(16, 28, "How long a thief stays who copied the cookie jar once", "title"),
        _text(
            16,
            48,
            f"median until the session ends; {profile} network; the client has {OUR_DISCIPLINE}",
            "quiet",
        ),
        _text(16, 66, "in brackets: the access tokens that he got, on average", "quiet"),
    ]
    for seconds, name in TICKS.items():
        x = LEFT + _length(seconds)
        parts.append(
            f'<line class="line" x1="{x:.0f}" x2="{x:.0f}" y1="{top - 18}" y2="{height - 26}"/>'
            + _text(x, height - 10, name, "quiet", anchor="middle")
        )
    for number, strategy in enumerate(STRATEGIES):
        y = top + number * group
        parts.append(_text(16, y, f"He {_spoken(strategy)}", "ours"))
        of_strategy = {each.rule: each for each in drawn if each.strategy == strategy}
        for row, rule in enumerate(rules):
            parts += _bar(of_strategy[rule], y + 10 + row * (BAR + 5))
    return _page(LEFT + MAX_WIDTH + 200, height, parts)


def _heat_map(
    title: str, subtitle: str, figures: Sequence[HonestFigure], disciplines: Sequence[str]
) -> str:
    profiles = [profile for profile in PROFILES if any(f.profile == profile for f in figures)]
    rules = [rule for rule in RULES if any(f.rule == rule for f in figures)]
    found = {(f.profile, f.discipline, f.rule): f for f in figures}
    gap = 14
    width = LEFT + len(profiles) * (len(disciplines) * CELL + gap) + 16
    parts = [_text(16, 28, title, "title"), _text(16, 48, subtitle, "quiet")]
    for p, profile in enumerate(profiles):
        left = LEFT + p * (len(disciplines) * CELL + gap)
        middle = left + len(disciplines) * CELL / 2
        parts.append(_text(middle, 74, profile, "ours", anchor="middle"))
        for d, discipline in enumerate(disciplines):
            x = left + d * CELL
            for line, words in enumerate(CLIENTS[discipline]):
                y = 93 + 15 * line
                parts.append(_text(x + CELL / 2, y, words, "quiet", anchor="middle"))
            for r, rule in enumerate(rules):
                parts += _cell(found[profile, discipline, rule].share, x, TOP + r * ROW)
    for r, rule in enumerate(rules):
        style = "ours" if rule in OURS else ""
        parts.append(_text(16, TOP + r * ROW + 20, rule, style))
    return _page(max(width, 560), TOP + len(rules) * ROW + 16, parts)


def _cell(share: float, x: float, y: float) -> Iterator[str]:
    box = f'x="{x:.0f}" y="{y}" width="{CELL - 2}" height="{ROW - 2}" rx="3"'
    if share == 0:
        yield f'<rect class="none" {box}/>'
    else:
        yield f'<rect class="bad" fill-opacity="{0.15 + 0.85 * share:.2f}" {box}/>'
    percent = 100 * share
    words = f"{percent:.0f}" if share == 0 or percent >= 1 else "<1"
    style = "on-bad" if share > 0.75 else ""
    yield _text(x + CELL / 2 - 1, y + 19, words, style, anchor="middle")


def _bar(figure: ThiefFigure, y: float) -> Iterator[str]:
    style = "ours" if figure.rule in OURS else ""
    yield _text(16, y + 13, figure.rule, style)
    tokens = f" ({figure.access_tokens:.1f})"
    if not figure.sessions:
        yield _text(LEFT, y + 13, "no session lived until the theft", "quiet")
        return
    # The median of all, where who was never caught stays longest.
    often = 2 * figure.caught > figure.sessions
    if not often or figure.median_seconds is None:
        yield f'<rect class="never" x="{LEFT}" y="{y}" width="{MAX_WIDTH}" height="{BAR}" rx="3"/>'
        share = 100 * figure.caught / figure.sessions
        never = "never" if not figure.caught else f"never; caught in {share:.0f} %"
        yield _text(LEFT + MAX_WIDTH + 8, y + 13, never + tokens)
        return
    length = _length(figure.median_seconds)
    yield f'<rect class="bar" x="{LEFT}" y="{y}" width="{length:.0f}" height="{BAR}" rx="3"/>'
    words = _duration(figure.median_seconds)
    if figure.caught < figure.sessions:
        words += f", {100 * figure.caught / figure.sessions:.0f} % caught"
    yield _text(LEFT + length + 8, y + 13, words + tokens)


def _length(seconds: float) -> float:
    """Logarithmic: ten seconds are nothing, four weeks are all of it."""
    return max(2.0, MAX_WIDTH * (log10(max(seconds, 10.0)) - 1) / (log10(28 * 86_400) - 1))


def _duration(seconds: float) -> str:
    for unit, name in ((86_400, "days"), (3600, "h"), (60, "min")):
        if seconds >= unit:
            return f"{seconds / unit:.1f} {name}"
    return f"{seconds:.0f} s"


def _spoken(strategy: str) -> str:
    how, _, when = strategy.partition(", ")
    if how == "once":
        return f"uses it once, {when}"
    return f"follows each refresh of the user, {when}"


def _text(x: float, y: float, words: str, style: str = "", *, anchor: str = "start") -> str:
    attribute = f' class="{style}"' if style else ""
    return f'<text{attribute} x="{x:.0f}" y="{y:.0f}" text-anchor="{anchor}">{escape(words)}</text>'


def _page(width: float, height: float, parts: Sequence[str]) -> str:
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {height:.0f}" '
        f'width="{width:.0f}" height="{height:.0f}" role="img">\n<style>{STYLE}</style>\n'
        f'<rect class="page" width="100%" height="100%"/>\n' + "\n".join(parts) + "\n</svg>\n"
    )


CHARTS: dict[str, Callable[[Figures], str]] = {
    "honest-sessions": honest_sessions,
    "rolled-back-sessions": rolled_back_sessions,
    "thieves": thieves,
}
