"""A chart as inline SVG for report.html; its colours follow the page's light and dark."""

from __future__ import annotations

import math
from html import escape

from gscodec.bench.figures import series_colors
from gscodec.bench.section import Chart, Series

WIDTH, HEIGHT = 680, 380
_LEFT, _RIGHT, _TOP, _BOTTOM = 62, 14, 12, 46


class Axis:
    """Maps values to pixels along one axis, with round ticks."""

    def __init__(self, values: list[float], start: float, end: float, log: bool) -> None:
        self.log = log and min(values) > 0
        low, high = min(values), max(values)
        if self.log:
            low, high = math.log10(low), math.log10(high)
        margin = 0.05 * (high - low) or 0.5
        self._low, self._high = low - margin, high + margin
        self._start, self._end = start, end

    def place(self, value: float) -> float:
        """Pixel of a value."""
        at = math.log10(value) if self.log else value
        return self._start + (at - self._low) / (self._high - self._low) * (self._end - self._start)

    def ticks(self) -> list[float]:
        """Round values within the axis: 1-2-5 steps, on a logarithmic axis per decade."""
        if not self.log:
            return _linear_ticks(self._low, self._high)
        decades = range(math.floor(self._low), math.ceil(self._high) + 1)
        marks = [m * 10.0**d for d in decades for m in (1, 2, 5)]
        inside = [m for m in marks if self._low <= math.log10(m) <= self._high]
        if len(inside) < 3:
            low, high = 10**self._low, 10**self._high
            inside = [t for t in _linear_ticks(low, high) if t > 0]
        return inside


def chart_svg(chart: Chart) -> str:
    """The chart with axes, grid, curves and, for each point, its values as a tooltip."""
    points = [point for series in chart.series for point in series.points]
    if not points:
        return "<p class='note'>No points: nothing was measured.</p>"
    x_axis = Axis([p[0] for p in points], _LEFT, WIDTH - _RIGHT, chart.log_x)
    y_axis = Axis([p[1] for p in points], HEIGHT - _BOTTOM, _TOP, chart.log_y)
    middle_x, middle_y = (_LEFT + WIDTH - _RIGHT) / 2, (_TOP + HEIGHT - _BOTTOM) / 2
    parts = [
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(chart.title)}">',
        *_grid(x_axis, y_axis),
        f'<text x="{middle_x}" y="{HEIGHT - 8}">{escape(chart.x_label)}</text>',
        f'<text transform="translate(14 {middle_y}) rotate(-90)">{escape(chart.y_label)}</text>',
    ]
    for series, color in zip(chart.series, series_colors(chart), strict=True):
        parts += _curve(series, color, x_axis, y_axis)
    return "\n".join([*parts, "</svg>", _legend(chart)])


def _grid(x_axis: Axis, y_axis: Axis) -> list[str]:
    parts = []
    for i, value in enumerate(x_axis.ticks()):
        x = x_axis.place(value)
        parts.append(f'<line class="grid" x1="{x:.1f}" x2="{x:.1f}" y1="{_TOP}" y2="{HEIGHT - _BOTTOM}"/>')
        kind = "tick skip" if i % 2 else "tick"  # a narrow page leaves every second one out
        parts.append(f'<text class="{kind}" x="{x:.1f}" y="{HEIGHT - _BOTTOM + 16}">{value:g}</text>')
    for value in y_axis.ticks():
        y = y_axis.place(value)
        parts.append(f'<line class="grid" x1="{_LEFT}" x2="{WIDTH - _RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(f'<text class="tick end" x="{_LEFT - 6}" y="{y + 4:.1f}">{value:g}</text>')
    return parts


def _curve(series: Series, color: str, x_axis: Axis, y_axis: Axis) -> list[str]:
    places = [(x_axis.place(x), y_axis.place(y)) for x, y in series.points]
    parts = [f'<g style="color:{color}" class="{"published" if series.hollow else "measured"}">']
    if series.line and len(places) > 1:
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
        parts.append(f'<polyline points="{path}"/>')
    for (x, y), (value_x, value_y) in zip(places, series.points, strict=True):
        title = escape(
            f"{series.name}: {value_x:.4g}, {value_y:.4g}" + (" (published)" if series.hollow else "")
        )
        parts.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4"><title>{title}</title></circle>')
    return [*parts, "</g>"]


def _legend(chart: Chart) -> str:
    marks = []
    for series, color in zip(chart.series, series_colors(chart), strict=True):
        kind = "published" if series.hollow else "measured"
        marks.append(f'<li class="{kind}"><i style="color:{color}"></i>{escape(series.name)}</li>')
    return f'<ul class="legend">{"".join(marks)}</ul>'


def _linear_ticks(low: float, high: float) -> list[float]:
    raw = (high - low) / 6
    step = 10.0 ** math.floor(math.log10(raw))
    step *= next(m for m in (1, 2, 5, 10) if m * step >= raw)
    first = math.ceil(low / step)
    return [round(i * step, 10) for i in range(first, math.floor(high / step) + 1)]
