"""PNG and SVG of every chart, drawn with matplotlib (extra `bench`)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2

from gscodec.bench.section import Chart, Section, Viewer
from gscodec.errors import BackendError, install_extra

COLORS = (
    *("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#7f7f7f", "#332288", "#882255"),
    *("#8c564b", "#999933", "#44aa99"),
)
OURS_FIRST = "gscodec"  # has the first of the colours and the thickest line


def series_colors(chart: Chart) -> list[str]:
    """Colours of a chart's series: this codec is blue in every chart."""
    others = iter(COLORS[1:] * 8)
    return [COLORS[0] if series.name == OURS_FIRST else next(others) for series in chart.series]


def write_figures(out: Path, sections: list[Section]) -> list[Path]:
    """Write OUT/figures/<chart>.png and .svg, and a PNG of every viewer's pictures side by side.

    Raises:
        BackendError: matplotlib is not installed.
    """
    try:
        import matplotlib

        matplotlib.use("Agg")
        from matplotlib import pyplot
    except ImportError as error:
        raise BackendError(f"figures need matplotlib; {install_extra('bench')}") from error
    folder = out / "figures"
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for matte, chart in ((s.matte, c) for s in sections for c in s.charts):
        figure, axes = pyplot.subplots(figsize=(9.6, 4.6), constrained_layout=True)
        _draw(axes, chart)
        _say(figure, matte)
        for suffix in ("png", "svg"):
            path = folder / f"{chart.name}.{suffix}"
            figure.savefig(path, dpi=130)
            written.append(path)
        pyplot.close(figure)
    for matte, viewer in ((s.matte, v) for s in sections for v in s.viewers):
        path = folder / f"{viewer.name}.png"
        figure = _side_by_side(out, viewer, pyplot)
        if figure is not None:
            _say(figure, matte)
            figure.savefig(path, dpi=100)
            pyplot.close(figure)
            written.append(path)
    return written


def _side_by_side(out: Path, viewer: Viewer, pyplot: Any) -> Any:
    """The pictures of a viewer, two or three abreast; None where they are gone from the disk."""
    pictures = [(label, caption, cv2.imread(str(out / file))) for label, caption, file in viewer.pictures]
    shown = [(label, caption, image) for label, caption, image in pictures if image is not None]
    if not shown:
        return None
    n_columns = 2 if len(shown) in (2, 4) else 3
    n_rows = -(-len(shown) // n_columns)
    height, width = shown[0][2].shape[:2]
    size = (6.4 * n_columns, n_rows * (6.4 * height / width + 0.45))
    figure, grid = pyplot.subplots(n_rows, n_columns, figsize=size, constrained_layout=True, squeeze=False)
    for axes in grid.flat:
        axes.axis("off")
    for axes, (label, caption, image) in zip(grid.flat, shown, strict=False):
        axes.imshow(image[:, :, ::-1], interpolation="nearest")
        axes.set_title(f"{label}: {caption}" if caption else label, fontsize=10)
    return figure


def _say(figure: Any, line: str) -> None:
    if line:
        figure.supxlabel(line, fontsize=7, color="0.35", wrap=True)


def _draw(axes: Any, chart: Chart) -> None:
    for series, color in zip(chart.series, series_colors(chart), strict=True):
        if not series.points:
            continue
        x, y = zip(*series.points, strict=True)
        axes.plot(
            x,
            y,
            color=color,
            marker="o",
            markersize=5,
            markerfacecolor="none" if series.hollow else color,
            linestyle=("--" if series.hollow else "-") if series.line else "none",
            linewidth=2.4 if series.name == OURS_FIRST else 1.3,
            label=series.name,
        )
    axes.set(xlabel=chart.x_label, ylabel=chart.y_label, title=chart.title)
    axes.title.set_fontsize(10)
    if chart.log_x:
        axes.set_xscale("log")
        _plain_ticks(axes.xaxis)
    if chart.log_y:
        axes.set_yscale("log")
        _plain_ticks(axes.yaxis)
    axes.grid(True, which="both", alpha=0.25)
    axes.figure.legend(fontsize=8, loc="outside right upper")  # beside the curves, so that it covers none


def _plain_ticks(axis: Any) -> None:
    """1, 2, 5, 10 on a logarithmic axis, where matplotlib would write powers of ten."""
    from matplotlib.ticker import LogLocator, NullFormatter

    axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axis.set_major_formatter("{x:g}")
    axis.set_minor_formatter(NullFormatter())
