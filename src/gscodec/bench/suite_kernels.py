"""Suite `kernels`: the time of each part of the codec, per frame and per Gaussian-pixel pair."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from gscodec.analysis.change import changed_pixels, influencing_gaussians
from gscodec.analysis.matting import make_matter
from gscodec.analysis.seeds import nearest_seeds
from gscodec.analysis.superpixel import initial_gaussians
from gscodec.bench.cache import Row
from gscodec.bench.clips import Clip
from gscodec.bench.measure import Bench, measure_figures, timed
from gscodec.bench.options import BenchOptions
from gscodec.bench.section import Section, Table
from gscodec.bench.table import formatted
from gscodec.coding.frames import make_frame_coder
from gscodec.coding.quantize import dequantize
from gscodec.config import BACKENDS, EncoderConfig, encoder_config
from gscodec.container.headers import FrameType
from gscodec.encode.encoder import Encoder
from gscodec.encode.frame_store import loss_weight
from gscodec.splat.cpu.raster import RADIUS_SQ, CpuRasterizer
from gscodec.splat.gaussians import opponent_from_rgb
from gscodec.splat.raster import FitSchedule, make_rasterizer

N_FRAMES, GOP, GAUSSIANS = 6, 60, 1000
FIT_STEPS = 10


def run_kernels(bench: Bench, clips: Iterator[Clip], options: BenchOptions) -> Iterator[Row]:
    """Yield a row per clip, backend and thread count, and one for matting; a missing backend says so."""
    config = encoder_config(options.preset, gaussians=options.gaussians or GAUSSIANS)
    backends = BACKENDS[1:] if options.backend == "auto" else (options.backend,)
    for clip in clips:
        for backend in backends:
            threads = (1, options.n_threads) if backend == "cpu" else (options.n_threads,)
            for n in dict.fromkeys(threads):
                settings = {"backend": backend, "threads": n, "n": config.gaussians, "preset": options.preset}
                point = f"{backend}, {n} thread{'s' * (n > 1)}" if backend == "cpu" else backend
                compute = partial(_times, clip, replace(config, backend=backend), n, bench.repeats)
                yield measure_figures(bench, clip, "gscodec", point, settings, compute)
        compute = partial(_matting, clip, options.roi)
        yield measure_figures(bench, clip, f"matting {options.roi}", "", {"roi": options.roi}, compute)


def kernels_section(rows: list[Row]) -> Section:
    """A table per clip: parts down, thread counts across."""
    tables = []
    for clip in dict.fromkeys(row.clip for row in rows):
        mine = [row for row in rows if row.clip == clip and row.status == "ok"]
        columns = [row for row in mine if row.codec == "gscodec"]
        if not columns:
            continue
        n_pairs = columns[0].figures["n_pairs"]
        lines = []
        for name in dict.fromkeys(name for row in mine for name in row.figures if name.startswith("ms ")):
            first = next(row for row in mine if name in row.figures)
            cells = [row.figures.get(name) for row in columns]
            if first not in columns:  # matting knows no backend
                cells = [first.figures[name], *cells[1:]]
            per_pair = 1e6 * first.figures[name] / n_pairs if name in PER_PAIR else None
            texts = [formatted(cell, ".3f") for cell in cells]
            lines.append([name.removeprefix("ms "), *texts, formatted(per_pair, ".2f")])
        head = ["ms", *(row.point for row in columns), f"ns per pair, {columns[0].point}"]
        notes = [f"{n_pairs / 1e6:.2f} million Gaussian-pixel pairs"]
        notes += [note for row in columns[:1] for note in _ceiling_notes(row.figures)]
        notes += [f"{row.point}: {row.note}" for row in rows if row.clip == clip and row.note]
        tables.append(Table(clip, head, lines, 1, notes))
    text = (
        "Medians of repeated calls after a warm-up, on the first frames of each clip. A pair is a Gaussian "
        "and a pixel within its cut-off."
    )
    return Section("kernels", "Where the time goes", text, tables)


PER_PAIR = ("ms render", "ms gradients", "ms one fit step", "ms one colour sweep")


def _ceiling_notes(figures: dict[str, Any]) -> list[str]:
    """How near the passes of the first column come to their kernels' speed with nothing in the way."""
    notes = []
    for name, part in (("forward", "ms render"), ("backward", "ms gradients")):
        if f"{name}_ceiling_ns" in figures:
            ceiling = figures[f"{name}_ceiling_ns"]
            spent = 1e6 * figures[part] / figures["n_pairs"]
            notes.append(
                f"{name}: {spent:.2f} ns a pair, {100 * ceiling / spent:.0f} % of its ceiling, "
                f"{ceiling:.3f} ns with everything in L1 and no pixel beyond a cut-off"
            )
    return notes


def _times(clip: Clip, config: EncoderConfig, threads: int, repeats: int) -> dict[str, Any]:
    pixels = clip.frames[0]
    picture = opponent_from_rgb(pixels)
    matte = clip.mattes[0].astype(np.float32) / 255
    weight = loss_weight(matte, config.background_weight)
    slow = config.backend == "torch"  # the twin defines; it is not made for speed
    repeats, n_steps = (1, 1) if slow else (repeats, FIT_STEPS)
    raster = make_rasterizer(config.backend, clip.width, clip.height, threads)
    target = raster.target(picture, weight)
    share, count = config.background_share, config.operating_point(clip.width * clip.height)[0]

    def superpixels() -> np.ndarray:
        label = nearest_seeds(picture, config.detail)
        return initial_gaussians(pixels, matte >= 0.5, count, label, room_share=share).params

    params = superpixels()
    residual = np.ascontiguousarray(raster.render(params) - picture)
    parts: dict[str, Callable[[], Any]] = {
        "ms RGB to opponent colours": lambda: opponent_from_rgb(pixels),
        "ms superpixels": superpixels,
        "ms render": lambda: raster.render(params),
        "ms render to 8 bits": lambda: raster.render_rgb8(params),
        "ms gradients": lambda: raster.gradients(params, residual),
    }
    if len(clip.frames) > 1 and not slow:

        def change_detection() -> np.ndarray:
            changed = changed_pixels(clip.frames[1], pixels, config.change_threshold)
            return influencing_gaussians(raster, params, changed)

        parts["ms change detection"] = change_detection
    figures: dict[str, Any] = {name: 1e3 * timed(part, repeats)[0] for name, part in parts.items()}
    steps = timed(lambda: raster.fit(target, params.copy(), None, FitSchedule(n_steps)), repeats)[0]
    figures["ms one fit step"] = 1e3 * steps / n_steps
    sweeps = timed(lambda: raster.solve_colors(target, params.copy(), None, n_steps, 1e-3), repeats)[0]
    figures["ms one colour sweep"] = 1e3 * sweeps / n_steps
    if config.backend in ("cpu", "cuda"):  # the others would take minutes for a frame
        figures |= _frames(clip, Encoder(config, raster), config, repeats)
    figures["n_pairs"] = _n_pairs(params)
    if isinstance(raster, CpuRasterizer):
        figures["forward_ceiling_ns"], figures["backward_ceiling_ns"] = raster.tiled.ceiling_ns()
    return figures


def _frames(clip: Clip, encoder: Encoder, config: EncoderConfig, repeats: int) -> dict[str, float]:
    """Whole I- and P-frames, their entropy coding, and decoding them again."""
    mattes = [m.astype(np.float32) / 255 for m in clip.mattes]
    size = (clip.width, clip.height)
    quality = config.operating_point(clip.width * clip.height)[1]
    figures = {}
    seconds, _ = timed(lambda: encoder.encode(clip.frames[0], mattes[0], FrameType.I), max(1, repeats // 2))
    figures["ms encode an I-frame"] = 1e3 * seconds
    first = encoder.encode(clip.frames[0], mattes[0], FrameType.I)
    state = encoder.state
    assert state is not None
    pack = timed(lambda: make_frame_coder(config.entropy, size).pack_iframe(state), repeats)[0]
    unpack = timed(
        lambda: make_frame_coder(config.entropy, size).unpack_iframe(first.payload, quality, 1 << 20),
        repeats,
    )[0]
    figures["ms entropy-code an I-frame"], figures["ms entropy-decode an I-frame"] = 1e3 * pack, 1e3 * unpack
    figures["ms dequantise"] = 1e3 * timed(lambda: dequantize(state), repeats)[0]
    p_times = []
    for pixels, matte in zip(clip.frames[1:], mattes[1:], strict=True):
        once = timed(partial(encoder.encode, pixels, matte, FrameType.P), 1, warm_up=0)[0]
        p_times.append(once)
    if p_times:
        figures["ms encode a P-frame"] = 1e3 * float(np.median(p_times))
    return figures


def _matting(clip: Clip, roi: str) -> dict[str, Any]:
    matter = make_matter(roi)
    times = [timed(partial(matter.matte, pixels), 1, warm_up=0)[0] for pixels in clip.frames]
    later = float(np.median(times[1:] or times))
    return {"ms matte of the first frame": 1e3 * times[0], "ms matte of a later frame": 1e3 * later}


def _n_pairs(params: np.ndarray) -> float:
    """Pixels within the cut-off ellipses, summed over Gaussians; edges of the picture are not subtracted."""
    return float((math.pi * RADIUS_SQ * params[:, 2] * params[:, 4]).sum())
