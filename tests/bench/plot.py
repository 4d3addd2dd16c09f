"""Plots as SVG: lines over the number of files, both axes in powers of ten. No library is needed.

They have no background, and colours that can be read on a light page as on a dark one
(``tests/bench/test_bench.py`` holds them to it).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape

Point = tuple[float, float]

INK = "#727b86"
GRID = "#8b949e"
SERIES = ("#d1632b", "#2f81d6", "#3d9a50", "#a06bd6", "#b08414", "#c2528b")
WIDTH, HEIGHT = 720, 380
LEFT, RIGHT, TOP, BOTTOM = 64, 190, 44, 46
GAP = 15.0
"""Pixels between the names of two lines at least."""


def lines(title: str, unit: str, series: Mapping[str, Sequence[Point]]) -> str:
    """Returns the plot of *series* (name to points of files and value, in *unit*) as a document."""
    given = {name: sorted(points) for name, points in series.items() if points}
    across = [x for points in given.values() for x, _ in points]
    up = [y for points in given.values() for _, y in points]
    if not across:
        raise ValueError(f"there is nothing to plot in {title!r}")
    frame = _Frame(_decades(up), min(across), max(across))
    parts = [
        (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" '
            f'height="{HEIGHT}" role="img" aria-label="{escape(title)}" '
            'font-family="system-ui,-apple-system,Segoe UI,Helvetica,Arial,sans-serif" font-size="12">'
        ),
        f"<title>{escape(title)}</title>",
        _text(LEFT, 22, title, 'font-size="15" font-weight="600"'),
        *frame.grid(sorted(set(across)), unit),
    ]
    names = _spread({name: frame.at(points[-1])[1] for name, points in given.items()})
    for (name, points), colour in zip(given.items(), _colours(len(given)), strict=True):
        parts += _line(name, [frame.at(point) for point in points], points, colour, names[name], unit)
    return "\n".join([*parts, "</svg>", ""])


class _Frame:
    """Where a value lies on the page."""

    def __init__(self, decades: tuple[int, int], least: float, most: float) -> None:
        self.decades = decades
        self.least, self.most = math.log10(least), max(math.log10(most), math.log10(least) + 0.1)

    def at(self, point: Point) -> Point:
        low, high = self.decades
        share = (math.log10(point[0]) - self.least) / (self.most - self.least)
        rise = (math.log10(max(point[1], 10.0**low)) - low) / (high - low)
        return (
            round(LEFT + share * (WIDTH - LEFT - RIGHT), 1),
            round(HEIGHT - BOTTOM - rise * (HEIGHT - TOP - BOTTOM), 1),
        )

    def grid(self, columns: Sequence[float], unit: str) -> list[str]:
        right, found = WIDTH - RIGHT, []
        for power in range(self.decades[0], self.decades[1] + 1):
            value = 10.0**power
            _, y = self.at((columns[0], value))
            found += [
                f'<line x1="{LEFT}" y1="{y}" x2="{right}" y2="{y}" stroke="{GRID}" stroke-opacity=".3"/>',
                _text(LEFT - 8, y + 4, written(value, unit), 'text-anchor="end"'),
            ]
        for x in columns:
            place, _ = self.at((x, 10.0 ** self.decades[0]))
            found.append(_text(place, HEIGHT - BOTTOM + 20, f"{x:,.0f}", 'text-anchor="middle"'))
        return [*found, _text((LEFT + right) / 2, HEIGHT - 8, "files", 'text-anchor="middle"')]


def _line(
    name: str, places: Sequence[Point], points: Sequence[Point], colour: str, label: float, unit: str
) -> list[str]:
    told = " ".join(f"{x},{y}" for x, y in places)
    found = [f'<polyline points="{told}" fill="none" stroke="{colour}" stroke-width="2.5"/>']
    for (x, y), (files, value) in zip(places, points, strict=True):
        tip = escape(f"{name}, {files:,.0f} files: {written(value, unit)}")
        found.append(f'<circle cx="{x}" cy="{y}" r="4" fill="{colour}"><title>{tip}</title></circle>')
    words = f"{name}: {written(points[-1][1], unit)}"
    return [*found, _text(places[-1][0] + 10, label + 4, words, 'font-weight="600"', colour)]


def _text(x: float, y: float, words: str, more: str, colour: str = INK) -> str:
    return f'<text x="{x}" y="{y}" fill="{colour}" {more}>{escape(words)}</text>'


def _decades(values: Sequence[float]) -> tuple[int, int]:
    low = math.floor(math.log10(max(min(values), 1e-3)))
    return low, max(math.ceil(math.log10(max(values))), low + 1)


def _spread(wanted: Mapping[str, float]) -> dict[str, float]:
    """Returns where the names go, so that none lies on another; the lowest stays where it is."""
    found: dict[str, float] = {}
    limit = math.inf
    for name, y in sorted(wanted.items(), key=lambda row: -row[1]):
        limit = min(y, limit - GAP)
        found[name] = round(limit, 1)
    return found


def _colours(count: int) -> list[str]:
    return [SERIES[number % len(SERIES)] for number in range(count)]


def written(value: float, unit: str = "") -> str:
    """Returns a figure as a reader wants it: two digits that count, in seconds where that is shorter."""
    if unit == "ms" and value >= 1000:
        return written(value / 1000, "s")
    digits = 0 if value >= 10 else 1 if value >= 1 else 2
    text = f"{value:,.{digits}f}"
    text = text.rstrip("0").rstrip(".") if "." in text else text
    return f"{text} {unit}".strip()
