"""Suite `quantization`: steps against quality, PTQ against QAT and their times (paper, Table 3, Fig. 8)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from statistics import median
from typing import Any

import numpy as np

from gscodec.analysis.seeds import KMEANS_ITERATIONS, nearest_seeds
from gscodec.analysis.superpixel import WIDEN, initial_gaussians
from gscodec.bench.baselines import PAPER, baseline_config
from gscodec.bench.cache import Row
from gscodec.bench.clips import Clip, picked
from gscodec.bench.measure import OURS, Bench, measure_figures, measure_ours
from gscodec.bench.options import BenchOptions
from gscodec.bench.published import read_published
from gscodec.bench.section import Chart, Section, Series, Table
from gscodec.bench.stopwatch import clocked
from gscodec.bench.suite_more import settings
from gscodec.bench.table import formatted
from gscodec.coding.quantize import State, classify, quantize_colors, quantize_geometry
from gscodec.config import QUANTIZATIONS
from gscodec.paper.encoder import plain_schedule
from gscodec.paper.qat import LearnedQuantizer
from gscodec.paper.quantize import calibrated_tables
from gscodec.paper.quantize import quantize as quantize_paper
from gscodec.splat.cpu.raster import CpuRasterizer
from gscodec.splat.gaussians import opponent_from_rgb
from gscodec.splat.raster import Project

QUALITIES = (0.25, 0.5, 1.0, 2.0, 4.0)  # factors on every step of the default profile
STEP_COUNTS = (500, 1000, 2000)  # Gaussians of the curves over them
GAUSSIANS, ITERATIONS = 1000, 1000
COUNTS = (250, 500, 1000, 2000)  # at ITERATIONS
ITERATION_COUNTS = (100, 300, 1000, 3000, 10_000)  # at GAUSSIANS
TIMED_ITERATIONS = ITERATIONS
LEAST_REPEATS = 5  # of what takes milliseconds


def run_quantization(bench: Bench, clips: Iterator[Clip], options: BenchOptions) -> Iterator[Row]:
    """Yield quality at several steps, PTQ and QAT by Gaussians and iterations, and the times of both."""
    for clip in clips:
        for count in STEP_COUNTS:
            for quality in QUALITIES:
                config = settings(options, bench.gop, gaussians=count, quality=quality)
                yield measure_ours(bench, clip, "masked", config, f"N {count} q {quality:g}")
        first = picked(clip, (0,))
        points = [(n, ITERATIONS) for n in COUNTS] + [(GAUSSIANS, n) for n in ITERATION_COUNTS]
        for count, iterations in dict.fromkeys(points):
            for quantization in QUANTIZATIONS:
                config = baseline_config(
                    options,
                    PAPER,
                    1,
                    gaussians=count,
                    iterations=iterations,
                    quantization=quantization,
                )
                codec = f"paper {quantization}"
                yield measure_ours(bench, first, "masked", config, point(count, iterations), codec=codec)
        given = {"gaussians": GAUSSIANS, "iterations": TIMED_ITERATIONS}
        compute = partial(_times, clip, bench.repeats)
        yield measure_figures(bench, first, "times", "", given, compute)


def point(count: int, iterations: int) -> str:
    """Name of an operating point of the baselines' I-frame."""
    return f"N {count}, {iterations} iterations"


def quantization_section(rows: list[Row]) -> Section:
    """Times (Table 3); quality of PTQ and QAT (Fig. 8), and against the default profile's steps."""
    tables, charts = [_time_table(rows)], []
    for clip in dict.fromkeys(row.clip for row in rows):
        mine = [row for row in rows if row.clip == clip and row.status == "ok"]
        found = {(row.codec, row.point): row.figures["roi_psnr_db"] for row in mine if row.codec != "times"}
        by_count = [(n, point(n, ITERATIONS)) for n in COUNTS]
        by_iterations = [(n, point(GAUSSIANS, n)) for n in ITERATION_COUNTS]
        for name, x_label, what, points in (
            ("gaussians", "Gaussians", f"{ITERATIONS} iterations", by_count),
            ("iterations", "iterations", f"{GAUSSIANS} Gaussians", by_iterations),
        ):
            head, lines, series = [x_label], [], []
            for quantization in QUANTIZATIONS:
                curve = [(n, found.get((f"paper {quantization}", label))) for n, label in points]
                head.append(f"{quantization.upper()}, dB")
                lines.append([formatted(value, ".2f") for _, value in curve])
                known = [(float(n), value) for n, value in curve if value is not None]
                series.append(Series(quantization.upper(), known))
            title = f"{clip}: profile paper, one I-frame, {what}"
            cells = zip((str(n) for n, _ in points), *lines, strict=True)
            tables.append(Table(title, head, [list(line) for line in cells], 1))
            charts.append(
                Chart(f"quantization-{name}-{clip}", title, x_label, "ROI-PSNR, dB", series, log_x=True)
            )
        charts.append(_steps_chart(clip, [row for row in mine if row.codec == OURS]))
    text = (
        "Profile paper, whose quantisers are GaussianImage's: calibrated beforehand (PTQ) or learned in the "
        "second half of the fit (QAT). The default profile has neither: its polish changes integers, and its "
        "steps × 0.25 stand for almost no rounding. Times: 1000 Gaussians, one thread, processor time; QAT: "
        f"by what {TIMED_ITERATIONS} iterations take longer when half of them are quantised."
    )
    return Section("quantization", "Quantisation (Table 3, Fig. 8)", text, tables, charts)


def _time_table(rows: list[Row]) -> Table:
    names = (
        ("ptq_ms", "PTQ: tables with codebooks, and rounding"),
        ("round_ms", "… rounding alone"),
        ("qat_ms", "QAT: longer than the fit without"),
        ("fit_ms", "the fit without"),
        ("default_ms", "the default profile's rounding"),
    )
    lines = [
        ["", f"{p['codec']}, published", formatted(1e3 * float(p["encode_s"]), ".1f")]
        for p in read_published()
        if p["experiment"] == "quantization"
    ]
    timed = [row for row in rows if row.codec == "times"]
    for row in timed:
        for name, text in names:
            value = formatted(row.figures.get(name), ".2f") if row.status == "ok" else row.status
            lines.append([row.clip, text, value])
    notes = [f"{row.clip}: {row.note}" for row in timed if row.note]
    return Table("Time of quantisation", ["clip", "", "ms"], lines, 2, notes)


def _steps_chart(clip: str, rows: list[Row]) -> Chart:
    series = []
    for quality in QUALITIES:
        chosen = [row for row in rows if row.point.endswith(f"q {quality:g}")]
        points = [(float(row.point.split()[1]), row.figures["roi_psnr_db"]) for row in chosen]
        series.append(Series(f"steps × {quality:g}", points))
    title = f"{clip}: the default profile's steps"
    return Chart(f"quantization-{clip}", title, "Gaussians", "ROI-PSNR, dB", series)


def _times(clip: Clip, repeats: int) -> dict[str, Any]:
    size = (clip.width, clip.height)
    picture, matte = opponent_from_rgb(clip.frames[0]), clip.roi_mask(0).astype(np.float32)
    raster = CpuRasterizer(*size, 1)
    target = raster.target(picture, matte)
    label = nearest_seeds(picture, 0.0, KMEANS_ITERATIONS)
    made = initial_gaussians(clip.frames[0], matte >= 0.5, GAUSSIANS, label, room_share=0.0)
    start = made.params.copy()
    start[:, 2:5] /= WIDEN

    def fit(params: np.ndarray, iterations: int, project: Project | None = None) -> None:
        raster.fit(target, params, None, plain_schedule(PAPER, size, iterations), project)

    def without() -> np.ndarray:
        params = start.copy()
        fit(params, TIMED_ITERATIONS - TIMED_ITERATIONS // 2)
        fit(params, TIMED_ITERATIONS // 2)
        return params

    def learned() -> None:
        params = start.copy()
        fit(params, TIMED_ITERATIONS - TIMED_ITERATIONS // 2)
        quantizer = LearnedQuantizer(params, size, TIMED_ITERATIONS // 2)
        fit(params, TIMED_ITERATIONS // 2, quantizer)
        quantizer.codes(params)

    def default() -> None:
        size_class, energy_class = classify(made.params, 1.0)
        state = State(np.zeros(made.params.shape, np.int32), size_class, energy_class, made.is_room, 1.0)
        quantize_geometry(made.params, state, slice(None), size)
        quantize_colors(made.params, state, slice(None))

    fitted = without()
    tables = calibrated_tables(fitted)
    # One fit of each kind in turn, so that what else the machine does falls on both.
    pairs = [(_cpu_ms(without), _cpu_ms(learned)) for _ in range(repeats)]
    often = max(LEAST_REPEATS, repeats)

    def often_ms(function: Callable[[], Any]) -> float:
        return median(_cpu_ms(function) for _ in range(often))

    return {
        "n_gaussians": len(fitted),
        "ptq_ms": often_ms(lambda: quantize_paper(fitted, calibrated_tables(fitted), size)),
        "round_ms": often_ms(lambda: quantize_paper(fitted, tables, size)),
        "qat_ms": median(with_qat - plain for plain, with_qat in pairs),
        "fit_ms": median(plain for plain, _ in pairs),
        "default_ms": often_ms(default),
    }


def _cpu_ms(function: Callable[[], Any]) -> float:
    return 1e3 * clocked(function)[1].cpu_s
