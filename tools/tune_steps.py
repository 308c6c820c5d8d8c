#!/usr/bin/env python3
"""Calibrate the quantisers on clips: post-training quantisation's off-line half (paper §3.3 A).

python tools/tune_steps.py CLIP...        conferencing clips; tools/make_demo_clip.py makes one without any

Fits the first and the middle frame of every clip once, then searches, one constant at a time, what rounds
them best; prints a table per search and the constants to write down:

    default profile    MEAN_STEP, SCALE_STEP, SHEAR_STEP of coding/quantize.py, with COLOR_STEP held (quality
                       scales all): bytes of I-frames under ANS at equal ROI-PSNR, colours solved again
    paper              RANGES of paper/quantize.py: ROI-PSNR with colours as they are
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from gscodec.analysis.matting import make_matter
from gscodec.analysis.seeds import KMEANS_ITERATIONS, nearest_seeds
from gscodec.analysis.superpixel import WIDEN, initial_gaussians
from gscodec.coding import frames, quantize
from gscodec.config import EncoderConfig
from gscodec.encode.frame_store import loss_weight
from gscodec.encode.iframe import COLOR_SWEEPS, RIDGE
from gscodec.errors import GscodecError
from gscodec.paper import quantize as paper_quantize
from gscodec.paper.encoder import plain_schedule
from gscodec.splat.cpu.raster import CpuRasterizer
from gscodec.splat.gaussians import opponent_from_rgb
from gscodec.splat.raster import FitSchedule
from gscodec.video.frame import Frame
from gscodec.video.reader import open_video

QUALITIES = (0.7, 1.0, 1.4)
STEP_FACTORS = (0.5, 0.7, 1.4, 2.0)
RANGE_FACTORS = (0.7, 0.85, 1.2, 1.4)
EXACT_MEAN_SHIFT = 2  # of quantize.mean_log2_steps, which knows MEAN_STEP as a power of two


@dataclass(frozen=True, slots=True)
class Sample:
    """One picture with its fits: ours for the default profile, plain Adam's for the paper's."""

    name: str
    raster: CpuRasterizer
    target: Any
    is_room: np.ndarray
    natural: np.ndarray
    plain: np.ndarray


def main() -> None:
    """Parse, fit, search, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("clips", nargs="+", type=Path)
    parser.add_argument("--gaussians", type=int, default=1000)
    parser.add_argument("--iterations", type=int, default=150, help="of the default profile's fit [150]")
    parser.add_argument("--plain-iterations", type=int, default=400, help="of the paper's [400]")
    parser.add_argument("--size", help="scale the clips, such as 360p")
    options = parser.parse_args()
    samples = [sample for clip in options.clips for sample in read_samples(clip, options)]
    print(f"{len(samples)} pictures of {', '.join(c.name for c in options.clips)}")
    search_steps(samples)
    search_ranges(samples)


def read_samples(clip: Path, options: argparse.Namespace) -> Iterator[Sample]:
    """Fit the first and the middle frame of a clip."""
    with open_video(clip, size=options.size, max_frames=61) as reader:
        pictures = [item.pixels for item in reader if isinstance(item, Frame)]
    matter = make_matter("portrait")
    for i in sorted({0, len(pictures) // 2}):
        pixels = pictures[i]
        matte = matter.matte(pixels)
        if not (matte >= 0.5).any():
            matte = np.ones_like(matte)
        picture = opponent_from_rgb(pixels) * np.minimum(1.0, 2.0 * matte)[:, :, None]
        raster = CpuRasterizer(matte.shape[1], matte.shape[0], 2)
        target = raster.target(picture, loss_weight(matte, EncoderConfig().background_weight))

        def start(detail: float, pixels=pixels, picture=picture, matte=matte) -> Any:
            label = nearest_seeds(picture, detail, 1 if detail else KMEANS_ITERATIONS)
            return initial_gaussians(pixels, matte >= 0.5, options.gaussians, label, room_share=0.0)

        ours = start(EncoderConfig().detail)
        raster.solve_colors(target, ours.params, None, COLOR_SWEEPS, RIDGE)
        raster.fit(target, ours.params, None, FitSchedule(options.iterations))
        plain = start(0.0).params
        plain[:, 2:5] /= WIDEN
        schedule = plain_schedule("paper", (raster.width, raster.height), options.plain_iterations)
        raster.fit(target, plain, None, schedule)
        yield Sample(f"{clip.stem} {i}", raster, target, ours.is_room, ours.params, plain)


def psnr_db(sample: Sample, params: np.ndarray) -> float:
    """ROI-PSNR of a set of Gaussians, neither clamped nor rounded to 8 bits."""
    mse = sample.raster.fit(sample.target, params.copy(), None, FitSchedule(0)).roi_mse
    return -10 * float(np.log10(max(mse, 1e-12)))


@contextmanager
def steps(mean: float, scale: float, shear: float) -> Iterator[None]:
    """The default profile with factors on three of its step constants."""
    before = quantize.SCALE_STEP, quantize.SHEAR_STEP, quantize.mean_log2_steps
    shift = EXACT_MEAN_SHIFT - round(2 * np.log2(mean))

    def mean_log2_steps(size_class: np.ndarray, energy_class: np.ndarray) -> np.ndarray:
        steps = (size_class - energy_class - shift) >> 1
        return np.clip(steps, quantize.MIN_MEAN_LOG2, quantize.CELL_LOG2).astype(np.int32)

    quantize.SCALE_STEP, quantize.SHEAR_STEP = before[0] * scale, before[1] * shear
    quantize.mean_log2_steps = frames.mean_log2_steps = mean_log2_steps
    quantize.step_table.cache_clear()
    try:
        yield
    finally:
        quantize.SCALE_STEP, quantize.SHEAR_STEP = before[:2]
        quantize.mean_log2_steps = frames.mean_log2_steps = before[2]
        quantize.step_table.cache_clear()


def iframe(sample: Sample, quality: float) -> tuple[float, float]:
    """ROI-PSNR and bytes of an I-frame of the default profile, without polishing."""
    size = sample.raster.width, sample.raster.height
    symbols = np.zeros(sample.natural.shape, np.int32)
    classes = quantize.classify(sample.natural, quality)
    state = quantize.State(symbols, *classes, sample.is_room, quality)
    quantize.quantize_geometry(sample.natural, state, slice(None), size)
    quantize.quantize_colors(sample.natural, state, slice(None))
    rounded = quantize.dequantize(state)
    sample.raster.solve_colors(sample.target, rounded, None, COLOR_SWEEPS, RIDGE)
    quantize.quantize_colors(rounded, state, slice(None))
    state = quantize.take(state, quantize.canonical_order(state))
    return psnr_db(sample, quantize.dequantize(state)), len(frames.pack_iframe(state, "ans"))


def bytes_at_equal_quality(curve: list[tuple[float, float]], base: list[tuple[float, float]]) -> float:
    """Change of log bytes, mean over the qualities both curves span, interpolated linearly."""
    a, b = (np.array(sorted(points)) for points in (curve, base))
    low, high = max(a[0, 0], b[0, 0]), min(a[-1, 0], b[-1, 0])
    at = np.linspace(low, high, 20)
    return float(np.mean(_rates(a, at) - _rates(b, at)))


def _rates(curve: np.ndarray, at: np.ndarray) -> np.ndarray:
    return np.interp(at, curve[:, 0], np.log(curve[:, 1]))


def search_steps(samples: list[Sample]) -> None:
    """Print and search factors on MEAN_STEP, SCALE_STEP, SHEAR_STEP."""

    def curves(factors: list[float]) -> list[list[tuple[float, float]]]:
        with steps(*factors):
            return [[iframe(sample, quality) for quality in QUALITIES] for sample in samples]

    base = curves([1.0, 1.0, 1.0])

    def cost(factors: list[float]) -> float:
        pairs = zip(curves(factors), base, strict=True)
        return 100 * (float(np.exp(np.mean([bytes_at_equal_quality(c, b) for c, b in pairs]))) - 1)

    names = ("MEAN_STEP", "SCALE_STEP", "SHEAR_STEP")
    best = coordinate_search("bytes at equal ROI-PSNR, %", names, [1.0] * 3, STEP_FACTORS, cost)
    shipped = quantize.MEAN_STEP, quantize.SCALE_STEP, quantize.SHEAR_STEP
    print("constants:", ", ".join(f"{n} = {v * f:.3g}" for n, v, f in zip(names, shipped, best, strict=True)))


def search_ranges(samples: list[Sample]) -> None:
    """Print and search the ends of the paper's levels."""
    names = ("l1 end", "l2 end", "l3 end")
    start = [float(paper_quantize.RANGES[k, 1]) for k in range(3)]

    def cost(ends: list[float]) -> float:
        low = paper_quantize.RANGES[:, 0].copy()
        low[1] = -ends[1]
        return -float(np.mean([rounded_psnr(s, np.stack([low, ends], axis=1)) for s in samples]))

    best = coordinate_search("minus ROI-PSNR, dB", names, start, RANGE_FACTORS, cost)
    print("constants: RANGES end at", ", ".join(f"{value:.3g}" for value in best))
    float_db = np.mean([psnr_db(s, s.plain) for s in samples])
    print(f"not rounded: {float_db:.2f} dB, levels alone: {-cost(best):.2f} dB")


def rounded_psnr(sample: Sample, ranges: np.ndarray) -> float:
    """ROI-PSNR with the Cholesky factors rounded to 64 levels, all else as fitted."""
    size = sample.raster.width, sample.raster.height
    tables = paper_quantize.calibrated_tables(sample.plain, ranges)
    codes = paper_quantize.quantize(sample.plain, tables, size)
    params = sample.plain.copy()
    params[:, 2:5] = paper_quantize.dequantize_codes(codes, tables, size)[:, 2:5]
    return psnr_db(sample, params)


def coordinate_search(
    what: str,
    names: tuple[str, ...],
    start: list[float],
    factors: tuple[float, ...],
    cost: Callable[[list[float]], float],
    rounds: int = 2,
) -> list[float]:
    """Improve one number at a time by the factors; prints a line for each number and round."""
    best, best_cost = list(start), cost(start)
    print(f"\n{what}; at the start {best_cost:+.2f}")
    for _ in range(rounds):
        before = best_cost
        for i, name in enumerate(names):
            tried = [[*best[:i], best[i] * f, *best[i + 1 :]] for f in factors]
            costs = [cost(t) for t in tried]
            cells = "  ".join(f"{t[i]:.3g}: {c:+.2f}" for t, c in zip(tried, costs, strict=True))
            print(f"{name:12}{best[i]:.3g}: {best_cost:+.2f}  {cells}", flush=True)
            if min(costs) < best_cost:
                best_cost = min(costs)
                best = tried[int(np.argmin(costs))]
        if best_cost >= before:
            break
    return best


if __name__ == "__main__":
    try:
        main()
    except GscodecError as error:
        sys.exit(f"error: {error}")
