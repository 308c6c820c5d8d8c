"""Suite `kernels`: the time of each part of the codec, per frame and per Gaussian-pixel pair."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np

from gscodec.analysis.matting import make_matter
from gscodec.analysis.superpixel import initial_gaussians
from gscodec.bench.cache import Row
from gscodec.bench.clips import Clip
from gscodec.bench.measure import Bench, measure_figures, timed
from gscodec.bench.options import BenchOptions
from gscodec.bench.section import Section, Table
from gscodec.bench.table import formatted
from gscodec.coding.frames import make_frame_coder
from gscodec.coding.headers import FrameType
from gscodec.coding.quantize import dequantize
from gscodec.config import EncoderConfig, encoder_config
from gscodec.encoder import Encoder, loss_weight
from gscodec.splat.gaussians import opponent_from_rgb
from gscodec.splat.raster import FitSchedule, make_rasterizer
from gscodec.splat.raster_cpu import RADIUS_SQ

N_FRAMES, GOP, GAUSSIANS = 6, 60, 1000
FIT_STEPS = 10


def run_kernels(bench: Bench, clips: Iterator[Clip], options: BenchOptions) -> Iterator[Row]:
    """Yield one row per clip and thread count, and one for matting."""
    config = encoder_config(options.preset, gaussians=options.gaussians or GAUSSIANS, backend=options.backend)
    for clip in clips:
        for threads in dict.fromkeys((1, options.n_threads)):
            settings = {"threads": threads, "gaussians": config.gaussians, "preset": options.preset}
            yield measure_figures(
                bench,
                clip,
                "gscodec",
                f"{threads} thread" + "s" * (threads > 1),
                settings,
                partial(_times, clip, config, threads, bench.repeats),
            )
        yield measure_figures(
            bench,
            clip,
            f"matting {options.roi}",
            "",
            {"roi": options.roi},
            partial(_matting, clip, options.roi),
        )


def kernels_section(rows: list[Row]) -> Section:
    """A table per clip: parts down, thread counts across."""
    tables = []
    for clip in dict.fromkeys(row.clip for row in rows):
        mine = [row for row in rows if row.clip == clip and row.status == "ok"]
        names = dict.fromkeys(name for row in mine for name in row.figures if name.startswith("ms "))
        columns = [row for row in mine if row.codec == "gscodec"]
        lines = []
        for name in names:
            row = next(r for r in mine if name in r.figures)
            across = [formatted(r.figures.get(name, row.figures[name]), ".3f") for r in columns]
            pairs = columns[0].figures["n_pairs"]
            per_pair = 1e6 * row.figures[name] / pairs if name in PER_PAIR else None
            lines.append([name.removeprefix("ms "), *across, formatted(per_pair, ".2f")])
        head = ["ms", *(row.point for row in columns), "ns per pair, 1 thread"]
        note = f"{columns[0].figures['n_pairs'] / 1e6:.2f} million Gaussian-pixel pairs" if columns else ""
        tables.append(Table(clip, head, lines, 1, [note]))
    text = (
        "Medians of repeated calls after a warm-up, on the first frames of each clip. A pair is a Gaussian "
        "and a pixel within its cut-off."
    )
    return Section("kernels", "Where the time goes", text, tables)


PER_PAIR = ("ms render", "ms gradients", "ms one fit step", "ms one colour sweep")


def _times(clip: Clip, config: EncoderConfig, threads: int, repeats: int) -> dict[str, Any]:
    pixels = clip.frames[0]
    picture = opponent_from_rgb(pixels)
    matte = clip.mattes[0].astype(np.float32) / 255
    weight = loss_weight(matte, config.background_weight)
    raster = make_rasterizer(config.backend, clip.width, clip.height, threads)
    target = raster.target(picture, weight)
    share, count = config.background_share, config.operating_point(clip.width * clip.height)[0]

    def superpixels() -> np.ndarray:
        return initial_gaussians(pixels, picture, matte, count, room_share=share, detail=config.detail).params

    params = superpixels()
    residual = np.ascontiguousarray(raster.render(params) - picture)
    encoder = Encoder(config, raster)
    parts: dict[str, Callable[[], Any]] = {
        "ms RGB to opponent colours": lambda: opponent_from_rgb(pixels),
        "ms superpixels": superpixels,
        "ms render": lambda: raster.render(params),
        "ms render to 8 bits": lambda: raster.render_rgb8(params),
        "ms gradients": lambda: raster.gradients(params, residual),
    }
    figures: dict[str, Any] = {name: 1e3 * timed(part, repeats)[0] for name, part in parts.items()}
    steps = timed(lambda: raster.fit(target, params.copy(), None, FitSchedule(FIT_STEPS)), repeats)[0]
    figures["ms one fit step"] = 1e3 * steps / FIT_STEPS
    sweeps = timed(lambda: raster.solve_colors(target, params.copy(), None, FIT_STEPS, 1e-3), repeats)[0]
    figures["ms one colour sweep"] = 1e3 * sweeps / FIT_STEPS
    figures |= _frames(clip, encoder, config, repeats)
    figures["n_pairs"] = _n_pairs(params)
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
