"""Line charts as geometry: what to draw and where. The template turns them into SVG, the style sheet gives them colours.

Positions are in the units of the SVG's view box, `WIDTH` x `HEIGHT`, y downwards.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

__all__ = ["Chart", "Line", "Tick", "bin_means", "line_chart", "nice_ticks"]

WIDTH, HEIGHT = 480, 280
LEFT, RIGHT, TOP, BOTTOM = 46, 26, 10, 44
MAX_POINTS = 160
"""Points of a line: more than this is averaged in bins, which also shows a noisy loss as its trend."""

Point = tuple[float, float]


@dataclass(frozen=True)
class Tick:
    at: float
    label: str


@dataclass(frozen=True)
class Line:
    label: str
    path: str
    last: str
    """Value of the last point, as text."""


@dataclass(frozen=True)
class Chart:
    title: str
    x_label: str
    y_label: str
    lines: tuple[Line, ...]
    x_ticks: tuple[Tick, ...]
    y_ticks: tuple[Tick, ...]
    alt: str
    width: int = WIDTH
    height: int = HEIGHT
    left: int = LEFT
    right: int = WIDTH - RIGHT
    top: int = TOP
    bottom: int = HEIGHT - BOTTOM


def bin_means(points: Sequence[Point], max_points: int = MAX_POINTS) -> list[Point]:
    """At most `max_points` points: means of consecutive groups whose sizes differ by at most one."""
    n = len(points)
    if n <= max_points:
        return list(points)
    edges = [round(i * n / max_points) for i in range(max_points + 1)]
    groups = [points[a:b] for a, b in itertools.pairwise(edges)]
    return [(sum(x for x, _ in g) / len(g), sum(y for _, y in g) / len(g)) for g in groups]


def nice_ticks(low: float, high: float, about: int = 5) -> list[float]:
    """Multiples of 1, 2 or 5 times a power of ten that lie in [low, high], near `about` of them."""
    if high - low <= 1e-9 * max(abs(low), abs(high), 1e-99):  # too near to tell their multiples apart
        return [low]
    rough = (high - low) / about
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(m * power for m in (1, 2, 5, 10) if m * power >= rough * 0.999)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [i * step for i in range(first, last + 1)]


def line_chart(title: str, series: Mapping[str, Sequence[Point]], *, x_label: str, y_label: str) -> Chart:
    """A chart of `series` (label -> points, x ascending) whose y axis begins at zero unless values are negative.

    Points that are not finite are left out; series without points too.
    """
    finite = {name: [p for p in points if math.isfinite(p[0]) and math.isfinite(p[1])] for name, points in series.items()}
    drawn = {name: bin_means(points) for name, points in finite.items() if points}
    everything = [point for points in drawn.values() for point in points]
    x_low, x_high = _span([x for x, _ in everything], from_zero=False)
    y_low, y_high = _span([y for _, y in everything], from_zero=True)

    def place(point: Point) -> Point:
        x = LEFT + (point[0] - x_low) / (x_high - x_low) * (WIDTH - LEFT - RIGHT)
        y = HEIGHT - BOTTOM - (point[1] - y_low) / (y_high - y_low) * (HEIGHT - TOP - BOTTOM)
        return x, y

    lines = tuple(Line(name, _path([place(p) for p in points]), _number(finite[name][-1][1])) for name, points in drawn.items())
    return Chart(
        title=title,
        x_label=x_label,
        y_label=y_label,
        lines=lines,
        x_ticks=tuple(Tick(round(place((v, 0))[0], 1), _number(v)) for v in nice_ticks(x_low, x_high)),
        y_ticks=tuple(Tick(round(place((0, v))[1], 1), _number(v)) for v in nice_ticks(y_low, y_high)),
        alt="; ".join(f"{name} from {_number(points[0][1])} to {_number(points[-1][1])}" for name, points in drawn.items()),
    )


def _span(values: Sequence[float], *, from_zero: bool) -> tuple[float, float]:
    low, high = (min(values), max(values)) if values else (0.0, 1.0)
    if from_zero:
        low, high = min(low, 0.0), max(high * 1.05, 0.0)
    return (low, high) if high > low else (low, low + 1.0)


def _path(points: Sequence[Point]) -> str:
    steps = [f"{x:.1f} {y:.1f}" for x, y in points]
    if len(steps) == 1:  # a dot: a path of one point has no length to draw
        steps = [steps[0], steps[0]]
    return "M" + "L".join(steps)


def _number(value: float) -> str:
    return f"{value:.3g}" if abs(value) < 1000 else f"{value:,.0f}"
