"""Charts as inline SVG, for pages without network access or libraries. Colours come from the page's style sheet.

A series is a list of points (x, y). A point whose y is not finite breaks the line.
"""

import math
from collections.abc import Mapping, Sequence
from html import escape

Points = Sequence[tuple[float, float]]

WIDTH, HEIGHT = 640, 240
_LEFT, _RIGHT, _TOP, _BOTTOM = 64, 12, 10, 30
_MOST_POINTS = 600  # Per line; more are indistinguishable.
_COLOURS = 6


def line_chart(series: Mapping[str, Points], *, label: str, x_label: str = "") -> str:
    """A line chart, with a legend if there are several lines; "" if there are no points."""
    drawn = {name: _thinned([p for p in points if math.isfinite(p[0])]) for name, points in series.items()}
    drawn = {name: points for name, points in drawn.items() if any(math.isfinite(y) for _, y in points)}
    if not drawn:
        return ""
    every = [point for points in drawn.values() for point in points if math.isfinite(point[1])]
    x_axis = _Axis([x for x, _ in every], _LEFT, WIDTH - _RIGHT)
    y_axis = _Axis([y for _, y in every], HEIGHT - _BOTTOM, _TOP)
    parts = [*_grid(x_axis, y_axis, x_label)]
    for number, points in enumerate(drawn.values()):
        parts += [f'<path class="line c{number % _COLOURS}" d="{path}"/>' for path in _paths(points, x_axis, y_axis)]
    for number, points in enumerate(drawn.values()):  # A single point becomes a dot.
        if sum(math.isfinite(y) for _, y in points) == 1:
            ((x, y),) = (point for point in points if math.isfinite(point[1]))
            parts.append(
                f'<circle class="c{number % _COLOURS}" cx="{x_axis.at(x):.1f}" cy="{y_axis.at(y):.1f}" r="3"/>'
            )
    svg = _svg(parts, HEIGHT, label)
    if len(drawn) == 1:
        return svg
    legend = (f'<span><i class="c{number % _COLOURS}"></i>{escape(name)}</span>' for number, name in enumerate(drawn))
    return f'{svg}<p class="legend">{"".join(legend)}</p>'


def bar_chart(bars: Mapping[str, float], *, label: str, highest: float | None = None, unit: str = "") -> str:
    """Horizontal bars with names and values; "" if there are none."""
    if not bars:
        return ""
    top = highest or max(bars.values()) or 1.0
    row, left = 24, 150
    parts = []
    for number, (name, value) in enumerate(bars.items()):
        y, width = number * row, (WIDTH - left - 80) * max(0.0, min(value / top, 1.0))
        shown = name if len(name) <= 18 else f"{name[:17]}…"
        parts += [
            f'<text class="name" x="{left - 8}" y="{y + 16}">{escape(shown)}</text>',
            f'<rect class="c0" x="{left}" y="{y + 4}" width="{width:.1f}" height="{row - 8}" rx="2"/>',
            f'<text class="value" x="{left + width + 6:.1f}" y="{y + 16}">{tick(value)}{escape(unit)}</text>',
        ]
    return _svg(parts, row * len(bars), label)


def histogram(counts: Mapping[str, int], *, label: str) -> str:
    """Vertical bars over named bins, in the given order; "" if all counts are zero."""
    if not counts or not any(counts.values()):
        return ""
    axis = _Axis([0, max(counts.values())], HEIGHT - _BOTTOM, _TOP)
    step = (WIDTH - _LEFT - _RIGHT) / len(counts)
    parts = [
        f'<line class="grid" x1="{_LEFT}" x2="{WIDTH - _RIGHT}" y1="{axis.at(t):.1f}" y2="{axis.at(t):.1f}"/>'
        f'<text class="name" x="{_LEFT - 8}" y="{axis.at(t) + 4:.1f}">{tick(t)}</text>'
        for t in axis.ticks
    ]
    every = max(1, math.ceil(len(counts) / 12))
    for number, (name, count) in enumerate(counts.items()):
        x, y = _LEFT + number * step, axis.at(count)
        parts.append(
            f'<rect class="c0" x="{x + step * 0.1:.1f}" y="{y:.1f}" width="{step * 0.8:.1f}" '
            f'height="{max(0.0, HEIGHT - _BOTTOM - y):.1f}"><title>{escape(name)}: {count:,}</title></rect>'
        )
        if number % every == 0:
            parts.append(f'<text class="x" x="{x + step / 2:.1f}" y="{HEIGHT - 12}">{escape(name)}</text>')
    return _svg(parts, HEIGHT, label)


def tick(value: float) -> str:
    """Formats a number for an axis: 0.001, 2.5, 40,000, 3M."""
    size = abs(value)
    if size and (size < 1e-3 or size >= 1e9):
        return f"{value:.2g}"
    if size >= 1e6:
        return f"{value / 1e6:.4g}M"
    return f"{value:,.0f}" if size >= 1000 else f"{value:.4g}"


class _Axis:
    """Maps values to coordinates between two ends of the drawing, with ticks at round numbers."""

    def __init__(self, values: Sequence[float], start: float, end: float):
        low, high = min(values), max(values)
        if low == high:
            low, high = (low - abs(low) / 2, high + abs(high) / 2) if low else (0.0, 1.0)
        quarter = (high - low) / 4
        power = 10.0 ** math.floor(math.log10(quarter))
        step = next(power * factor for factor in (1, 2, 2.5, 5, 10) if quarter <= power * factor * (1 + 1e-9))
        first, last = math.floor(low / step), math.ceil(high / step)
        self.ticks = [number * step for number in range(first, last + 1)]
        self._low, self._high, self._start, self._end = self.ticks[0], self.ticks[-1], start, end

    def at(self, value: float) -> float:
        share = (value - self._low) / (self._high - self._low)
        return self._start + share * (self._end - self._start)


def _thinned(points: Points) -> Points:
    """Reduces a series to the maximum number of points by averaging neighbours."""
    if len(points) <= _MOST_POINTS:
        return points
    size = math.ceil(len(points) / _MOST_POINTS)
    groups = [points[first : first + size] for first in range(0, len(points), size)]
    return [(sum(x for x, _ in group) / len(group), sum(y for _, y in group) / len(group)) for group in groups]


def _paths(points: Points, x_axis: _Axis, y_axis: _Axis) -> list[str]:
    """One SVG path for each run of finite points."""
    paths: list[list[str]] = [[]]
    for x, y in points:
        if math.isfinite(y):
            paths[-1].append(f"{x_axis.at(x):.1f},{y_axis.at(y):.1f}")
        elif paths[-1]:
            paths.append([])
    return ["M" + "L".join(path) for path in paths if path]


def _grid(x_axis: _Axis, y_axis: _Axis, x_label: str) -> list[str]:
    lines = [
        f'<line class="grid" x1="{_LEFT}" x2="{WIDTH - _RIGHT}" y1="{y_axis.at(t):.1f}" y2="{y_axis.at(t):.1f}"/>'
        f'<text class="name" x="{_LEFT - 8}" y="{y_axis.at(t) + 4:.1f}">{tick(t)}</text>'
        for t in y_axis.ticks
    ]
    bottom = HEIGHT - _BOTTOM + 18
    names = [f'<text class="x" x="{x_axis.at(t):.1f}" y="{bottom}">{tick(t)}</text>' for t in x_axis.ticks[:-1]]
    last = f"{tick(x_axis.ticks[-1])} {escape(x_label)}".strip()
    return [*lines, *names, f'<text class="name" x="{WIDTH - _RIGHT}" y="{bottom}">{last}</text>']


def _svg(parts: Sequence[str], height: float, label: str) -> str:
    return (
        f'<svg class="chart" viewBox="0 0 {WIDTH} {height:g}" role="img" aria-label="{escape(label)}">'
        f"{''.join(parts)}</svg>"
    )
