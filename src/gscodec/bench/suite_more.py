"""Suites that are one codec at several settings: `bits`, `visual`, `quantization`, `scale`."""

from __future__ import annotations

import time
from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np

from gscodec.analysis.superpixel import initial_gaussians
from gscodec.bench.cache import Row
from gscodec.bench.clips import Clip, shortened, shrunk
from gscodec.bench.measure import OURS, Bench, Planes, measure_figures, measure_ours, measure_rival
from gscodec.bench.options import BenchOptions
from gscodec.bench.section import Chart, Section, Series, Table
from gscodec.bench.suite_quick import MASKED, viewers
from gscodec.bench.table import formatted, rows_table
from gscodec.coding.quantize import State, classify, quantize_colors, quantize_geometry
from gscodec.config import EncoderConfig, encoder_config
from gscodec.splat.gaussians import opponent_from_rgb

N_FRAMES, GOP = 60, 60
GAUSSIANS = 1000
COUNTS = (250, 500, 1000, 2000, 4000)  # Gaussians of an I-frame
ALONE = "gscodec, every frame an I-frame"
ALONE_FRAMES = 3
QUALITIES = (0.25, 0.5, 1.0, 2.0, 4.0)  # factors on every step
QUANTIZED_COUNTS = (500, 1000, 2000)
SHARES = (1, 2, 4)  # sizes: the clip's own, a half, a quarter
GAUSSIANIMAGE_BITS = 56  # per Gaussian: fp16 means, 6-bit Cholesky, two stages of 3-bit colour
NOT_BUILT = "no such profile yet"


def settings(options: BenchOptions, gop: int, **values: Any) -> EncoderConfig:
    """This codec's settings for masked pictures."""
    return encoder_config(
        options.preset,
        **{**MASKED, **values},
        gop_length=gop,
        backend=options.backend,
        threads=options.threads,
    )


def run_bits(bench: Bench, clips: Iterator[Clip], options: BenchOptions) -> Iterator[Row]:
    """Yield this codec with P-frames and without, for every number of Gaussians."""
    for clip in clips:
        few = shortened(clip, ALONE_FRAMES)
        for count in COUNTS:
            config = settings(options, bench.gop, gaussians=count)
            yield measure_ours(bench, clip, "masked", config, f"N {count}")
            alone = settings(options, 1, gaussians=count)
            yield measure_ours(bench, few, "masked", alone, f"N {count}", codec=ALONE)
        for profile in ("paper", "gaussianimage"):
            yield Row(bench.suite, clip.name, profile, "", "masked", "not built", NOT_BUILT)


def bits_section(rows: list[Row]) -> Section:
    """Bits per pixel against N, and what P-frames save."""
    tables, charts = [], []
    for clip in dict.fromkeys(row.clip for row in rows):
        mine = [row for row in rows if row.clip == clip and row.status == "ok"]
        series = [
            Series(
                codec,
                [(float(row.point.split()[1]), row.figures["bpp"]) for row in mine if row.codec == codec],
            )
            for codec in dict.fromkeys(row.codec for row in mine)
        ]
        if mine:
            pixels = mine[0].figures["width"] * mine[0].figures["height"]
            formula = [(float(n), n * GAUSSIANIMAGE_BITS / pixels) for n in COUNTS]
            name = f"GaussianImage: {GAUSSIANIMAGE_BITS} bits a Gaussian, by formula"
            series.append(Series(name, formula, hollow=True))
        charts.append(
            Chart(
                f"bits-{clip}", f"{clip}: rate against N", "Gaussians", "bits per pixel", series, log_y=True
            )
        )
        by_point = {(row.codec, row.point): row.figures["bpp"] for row in mine}
        lines = []
        for count in COUNTS:
            with_p, alone = (by_point.get((codec, f"N {count}")) for codec in (OURS, ALONE))
            if with_p and alone and mine:
                raw = count * GAUSSIANIMAGE_BITS / pixels
                saved = [formatted(100 * (with_p / other - 1), "+.1f") for other in (alone, raw)]
                values = [formatted(value, ".4f") for value in (with_p, alone, raw)]
                lines.append([str(count), *values, *saved])
        head = [
            "N",
            "with P-frames",
            "I-frames only",
            "56 bits each",
            "% of I-frames only",
            "% of 56 bits each",
        ]
        tables.append(Table(f"{clip}, bits per pixel", head, lines, 1))
    text = (
        "The paper reports 78 % fewer bits than GaussianImage, which codes every frame alone. Whole .gsv "
        "files; the 56 bits are GaussianImage's own count of its symbols, not a file."
    )
    return Section("bits", "Bits against the number of Gaussians (Fig. 5)", text, tables, charts)


def run_visual(bench: Bench, clips: Iterator[Clip], options: BenchOptions) -> Iterator[Row]:
    """Yield the rows whose pictures the viewers show."""
    for clip in clips:
        for protocol in options.protocols:
            extra = MASKED if protocol == "masked" else {"roi": options.roi}
            config = encoder_config(
                options.preset,
                gaussians=options.gaussians or GAUSSIANS,
                gop_length=bench.gop,
                backend=options.backend,
                threads=options.threads,
                **extra,
            )
            ours = measure_ours(bench, clip, protocol, config, options.preset)
            yield ours
            planes = Planes(clip, protocol)
            if ours.status == "ok":
                for name in options.rivals or ("x264-veryfast-zerolatency", "svt-av1-8-lowdelay"):
                    yield measure_rival(bench, clip, protocol, name, planes, n_bytes=ours.figures["n_bytes"])
        for profile in ("gaussianimage", "paper"):
            yield Row(bench.suite, clip.name, profile, "", "", "not built", NOT_BUILT)


def visual_section(rows: list[Row]) -> Section:
    """Viewers with slider, and error maps."""
    text = "One frame, two thirds into the clip, of every codec at the same bytes."
    return Section("visual", "Side by side (Fig. 6)", text, [rows_table("", rows)], [], viewers(rows))


def run_quantization(bench: Bench, clips: Iterator[Clip], options: BenchOptions) -> Iterator[Row]:
    """Yield quality at several step sizes and counts, and the time that rounding takes."""
    for clip in clips:
        for count in QUANTIZED_COUNTS:
            for quality in QUALITIES:
                config = settings(options, bench.gop, gaussians=count, quality=quality)
                yield measure_ours(bench, clip, "masked", config, f"N {count} q {quality:g}")
        given = {"gaussians": GAUSSIANS}
        yield measure_figures(bench, clip, "PTQ", "", given, partial(_rounding_time, clip, bench.repeats))
        yield Row(bench.suite, clip.name, "QAT", status="not built", note="learned steps are not built yet")


def quantization_section(rows: list[Row]) -> Section:
    """Time of rounding (Table 3) and quality against steps and N (Fig. 8)."""
    lines = [["the paper: PTQ, published", "3.5"], ["the paper: QAT, published", "3500"]]
    for row in rows:
        if row.codec in ("PTQ", "QAT"):
            value = formatted(row.figures.get("quantize_ms"), ".3f") if row.status == "ok" else row.status
            lines.append([f"{row.codec}, {row.clip}", value])
    charts = []
    for clip in dict.fromkeys(row.clip for row in rows):
        mine = [row for row in rows if row.clip == clip and row.codec == OURS and row.status == "ok"]
        series = []
        for quality in QUALITIES:
            chosen = [row for row in mine if row.point.endswith(f"q {quality:g}")]
            points = [(float(row.point.split()[1]), row.figures["roi_psnr_db"]) for row in chosen]
            series.append(Series(f"steps × {quality:g}", points))
        charts.append(Chart(f"quantization-{clip}", f"{clip}: PTQ", "Gaussians", "ROI-PSNR, dB", series))
    text = (
        "Steps × 0.25 stands for almost no rounding. QAT: not built. Time: classes, rounding of geometry "
        "and of colours of 1000 Gaussians, one thread."
    )
    table = Table("Time of quantisation, ms", ["", "ms"], lines, 1)
    return Section("quantization", "Quantisation (Table 3, Fig. 8)", text, [table], charts)


def run_scale(bench: Bench, clips: Iterator[Clip], options: BenchOptions) -> Iterator[Row]:
    """Yield sizes times numbers of Gaussians."""
    for clip in clips:
        for share in SHARES:
            width, height = clip.width // share // 2 * 2, clip.height // share // 2 * 2
            if min(width, height) < 64:
                continue
            small = clip if share == 1 else shrunk(clip, width, height)
            for count in (500, 1000, 2000):
                config = settings(options, bench.gop, gaussians=count)
                yield measure_ours(bench, small, "masked", config, f"{width}x{height} N {count}")


def scale_section(rows: list[Row]) -> Section:
    """Speed and quality by size and N."""
    head = ["clip", "size, N", "enc FPS", "dec FPS", "ROI dB", "bpp", "kb/s"]
    names = (
        ("encode_fps", ".1f"),
        ("decode_fps", ".0f"),
        ("roi_psnr_db", ".2f"),
        ("bpp", ".4f"),
        ("kbit_per_s", ".1f"),
    )
    lines = [[r.clip, r.point, *(formatted(r.figures.get(n), form) for n, form in names)] for r in rows]
    text = "The person before one colour, at the clip's own size, a half and a quarter of it."
    return Section("scale", "Size and number of Gaussians", text, [Table("", head, lines, 2)])


def _rounding_time(clip: Clip, repeats: int) -> dict[str, Any]:
    picture = opponent_from_rgb(clip.frames[0])
    matte = clip.roi_mask(0).astype(np.float32)
    made = initial_gaussians(clip.frames[0], picture, matte, GAUSSIANS, room_share=0.0, detail=0.5)
    times = []
    for _ in range(max(5, repeats)):
        began = time.perf_counter()
        size_class, energy_class = classify(made.params, 1.0)
        symbols = np.zeros(made.params.shape, np.int32)
        state = State(symbols, size_class, energy_class, made.is_room, 1.0)
        quantize_geometry(made.params, state, slice(None), (clip.width, clip.height))
        quantize_colors(made.params, state, slice(None))
        times.append(time.perf_counter() - began)
    return {"quantize_ms": 1e3 * float(np.median(times)), "n_gaussians": len(made.params)}
