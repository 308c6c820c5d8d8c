"""Suite `init`: how far each way of starting has to go to 30 dB (paper, Table 1 and Table 2)."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import Any

import numpy as np

from gscodec.analysis.seeds import KMEANS_ITERATIONS, nearest_seeds
from gscodec.analysis.superpixel import WIDEN, initial_gaussians
from gscodec.bench.cache import Row
from gscodec.bench.clips import ROI_CODE, Clip
from gscodec.bench.measure import Bench, measure_figures
from gscodec.bench.options import BenchOptions
from gscodec.bench.published import read_published
from gscodec.bench.section import Chart, Section, Series, Table
from gscodec.bench.table import formatted
from gscodec.config import encoder_config
from gscodec.metrics import MAX_PSNR_DB
from gscodec.paper.encoder import plain_schedule
from gscodec.splat.gaussians import opponent_from_rgb
from gscodec.splat.raster import FitSchedule, make_rasterizer

N_FRAMES, GOP, GAUSSIANS = 1, 1, 1000
TARGET_DB = 30.0
MOST_ITERATIONS = 3000  # after that a start counts as not reaching the target
CHECKPOINTS = (1, 10, 30, 100, 300, 1000)  # iterations of the curve, each a fit with a schedule of its own
COLOR_SWEEPS, RIDGE = 10, 1e-3


@dataclass(frozen=True, slots=True)
class Start:
    """A way of starting and what steps from there.

    Attributes:
        profile: whose optimiser, and whose segments. init: superpixels or random.
        solved: colours are solved for before the first step.
        most: iterations after which it counts as not reaching the target.
    """

    profile: str
    init: str
    solved: bool = False
    most: int = MOST_ITERATIONS


OURS, PLACED, RANDOM, PAPER, GAUSSIANIMAGE = (
    "superpixels, colours solved",
    "superpixels",
    "random",
    "profile paper",
    "profile gaussianimage",
)
STARTS = {
    OURS: Start("default", "superpixels", solved=True),
    PLACED: Start("default", "superpixels"),
    RANDOM: Start("default", "random"),
    PAPER: Start("paper", "superpixels"),
    GAUSSIANIMAGE: Start("gaussianimage", "random", most=10_000),
}


def run_init(bench: Bench, clips: Iterator[Clip], options: BenchOptions) -> Iterator[Row]:
    """Yield a row per clip and start; the person alone counts, before rounding and coding."""
    count = options.gaussians or GAUSSIANS
    for clip in clips:
        for name, start in STARTS.items():
            settings = {**asdict(start), "gaussians": count, "backend": options.backend}
            compute = partial(_fit_figures, clip, start, count, options)
            yield measure_figures(bench, clip, name, f"N {count}", settings, compute)
        note = "not trained: there is no regressor in this version"
        yield Row(bench.suite, clip.name, "regressor", f"N {count}", status="not built", note=note)


def init_section(rows: list[Row]) -> Section:
    """Ours beside the published rows, and the curve of each start."""
    head = [
        "clip",
        "start",
        "iterations to 30 dB",
        "dB at 1000",
        "start ms",
        "s to 30 dB",
        "ms per iteration",
    ]
    lines = []
    for row in rows:
        f = row.figures
        if row.status != "ok":
            lines.append([row.clip, row.codec, row.status, *[""] * 4])
            continue
        reached = f["iterations_to_target"]
        cells = [
            formatted(reached, "d") if reached is not None else f"> {f['most_iterations']}",
            formatted(f["psnr_db_at_1000"], ".2f"),
            formatted(1e3 * f["init_s"], ".1f"),
            formatted(f["seconds_to_target"], ".2f"),
            formatted(1e3 * f["seconds_per_iteration"], ".2f"),
        ]
        lines.append([row.clip, row.codec, *cells])
    for p in read_published():
        if p["experiment"] in ("table1", "table2"):
            cells = [
                p["iterations_to_30_db"],
                "",
                f"{1e3 * float(p['init_s']):.0f}",
                p["time_to_30_db_s"],
                "",
            ]
            lines.append([p["clip"], f"{p['codec']}, published", *cells])
    notes = [f"{row.codec}: {row.note}" for row in rows if row.note]
    clips = dict.fromkeys(row.clip for row in rows)
    charts = [_curves(clip, [row for row in rows if row.clip == clip]) for clip in clips]
    text = (
        "First frame of each clip, person only, before rounding. The first three rows share this codec's own "
        "optimiser (natural-coordinate Adam), so that only the start differs. The profiles start and step as "
        "their papers do (plain Adam; docs/bits.md says what is in their favour), through our kernels, on "
        "this machine; the published rows had a GPU."
    )
    table = Table("", head, lines, 2, list(dict.fromkeys(notes)))
    return Section("init", "Where to start (Tables 1 and 2)", text, [table], charts)


def _fit_figures(clip: Clip, start: Start, count: int, options: BenchOptions) -> dict[str, Any]:
    pixels, picture = clip.frames[0], opponent_from_rgb(clip.frames[0])
    matte = clip.roi_mask(0).astype(np.float32)
    raster = make_rasterizer(options.backend, clip.width, clip.height, options.threads)
    target = raster.target(picture, matte)
    detail = encoder_config(profile=start.profile).detail
    label = nearest_seeds(picture, detail, 1 if start.profile == "default" else KMEANS_ITERATIONS)

    def place() -> np.ndarray:
        made = initial_gaussians(pixels, matte >= 0.5, count, label, room_share=0.0, init=start.init)
        params = made.params
        if start.profile == "paper":
            params[:, 2:5] /= WIDEN  # the paper takes a segment's own covariance
        if start.solved:
            raster.solve_colors(target, params, None, COLOR_SWEEPS, RIDGE)
        return params

    def schedule(iterations: int) -> FitSchedule:
        if start.profile == "default":
            return FitSchedule(iterations)
        return plain_schedule(start.profile, (clip.width, clip.height), iterations)

    began = time.perf_counter()
    first = place()
    init_s = time.perf_counter() - began
    curve = {}
    for iterations in CHECKPOINTS:
        curve[iterations] = _psnr(raster.fit(target, first.copy(), None, schedule(iterations)).roi_mse)
    to_target = replace(schedule(start.most), target_mse=10 ** (-TARGET_DB / 10))
    began = time.perf_counter()
    result = raster.fit(target, first.copy(), None, to_target)
    seconds = time.perf_counter() - began
    reached = _psnr(result.roi_mse) >= TARGET_DB - 0.01
    return {
        "n_gaussians": len(first),
        "roi_share": float((clip.mattes[0] >= ROI_CODE).mean()),
        "init_s": init_s,
        "curve": curve,
        "psnr_db_at_1000": curve[1000],
        "iterations_to_target": result.iterations if reached else None,
        "seconds_to_target": init_s + seconds if reached else None,
        "seconds_spent": init_s + seconds,
        "seconds_per_iteration": seconds / max(1, result.iterations),
        "most_iterations": start.most,
    }


def _psnr(mse: float) -> float:
    return min(MAX_PSNR_DB, -10 * math.log10(mse)) if mse > 0 else MAX_PSNR_DB


def _curves(clip: str, rows: list[Row]) -> Chart:
    series = [
        Series(row.codec, [(int(n), value) for n, value in row.figures["curve"].items()])
        for row in rows
        if row.status == "ok"
    ]
    for p in read_published():
        if p["experiment"] in ("table1", "table2"):
            point = (float(p["iterations_to_30_db"]), float(p["psnr_db"]))
            series.append(Series(f"{p['codec']}, published mean on VCD", [point], hollow=True))
    title = f"{clip}: quality against iterations"
    return Chart(f"init-{clip}", title, "iterations", "PSNR of the person, dB", series, log_x=True)
