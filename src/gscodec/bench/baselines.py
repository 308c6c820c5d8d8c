"""The profiles `paper` and `gaussianimage` as rivals, through this codec's own encoder and files.

Like the papers they code the person alone. They draw the sum as it is, over black: at the person's edge that
is up to 4 dB better for them than over the masked room's colour, and their figures are over the person.
"""

from __future__ import annotations

from dataclasses import replace

from gscodec.bench.cache import Row
from gscodec.bench.clips import Clip, picked
from gscodec.bench.measure import Bench, Planes, measure_ours, measure_rival
from gscodec.bench.nerv import NERV
from gscodec.bench.options import BASELINES, BenchOptions
from gscodec.config import EncoderConfig, encoder_config

PAPER, GAUSSIANIMAGE = BASELINES
GAUSSIANS = 1000
NERV_NOTE = "has curves only, in suite rd: a network of its own for each size of file"
ALONE_NOTE = "codes the person alone: see the masked pictures"


def baseline_config(options: BenchOptions, profile: str, gop: int, **values: object) -> EncoderConfig:
    """Settings of a baseline for masked pictures; GaussianImage codes every frame alone, whatever the GOP."""
    lengths = {} if profile == GAUSSIANIMAGE else {"gop_length": gop}
    return encoder_config(
        options.preset,
        profile=profile,
        background="none",
        backend=options.backend,
        threads=options.threads,
        **{**lengths, **values},
    )


def measure_baseline(bench: Bench, clip: Clip, profile: str, options: BenchOptions, count: int) -> Row:
    """A row of a baseline on masked pictures; GaussianImage's frames are alike, so three of the clip do."""
    config = baseline_config(options, profile, bench.gop, gaussians=count)
    few = spread_frames(clip) if profile == GAUSSIANIMAGE else clip
    row = measure_ours(bench, few, "masked", config, f"N {count}", codec=profile)
    if row.status == "ok" and profile == GAUSSIANIMAGE:  # these frames are no neighbours
        row = replace(row, figures={**row.figures, "flicker": None})
    return row


def measure_other(
    bench: Bench, clip: Clip, protocol: str, name: str, planes: Planes, options: BenchOptions, n_bytes: int
) -> Row:
    """A rival at these bytes, or a baseline at its number of Gaussians."""
    if name == NERV:
        return Row(bench.suite, clip.name, name, "", protocol, "skipped", NERV_NOTE)
    if name not in BASELINES:
        return measure_rival(bench, clip, protocol, name, planes, n_bytes=n_bytes)
    if protocol != "masked":
        return Row(bench.suite, clip.name, name, "", protocol, "skipped", ALONE_NOTE)
    return measure_baseline(bench, clip, name, options, options.gaussians or GAUSSIANS)


def spread_frames(clip: Clip) -> Clip:
    """Three frames of a clip for what codes each alone; the last is the one that reports show."""
    n = len(clip.frames)
    return picked(clip, sorted({0, n // 3, 2 * n // 3}))
