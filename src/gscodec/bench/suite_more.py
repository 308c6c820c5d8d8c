"""Suites that are one codec at several settings: `bits`, `visual`, `scale`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from gscodec.bench.baselines import (
    GAUSSIANIMAGE,
    GAUSSIANS,
    PAPER,
    measure_baseline,
    measure_other,
    spread_frames,
)
from gscodec.bench.cache import Row
from gscodec.bench.clips import Clip, shrunk
from gscodec.bench.measure import OURS, Bench, Planes, measure_ours
from gscodec.bench.options import BASELINES, BenchOptions
from gscodec.bench.section import Chart, Section, Series, Table
from gscodec.bench.suite_quick import MASKED, viewers
from gscodec.bench.table import best, formatted, rows_table
from gscodec.config import EncoderConfig, encoder_config

N_FRAMES, GOP = 60, 60
COUNTS = (250, 500, 1000, 2000, 4000)  # Gaussians of an I-frame
ALONE = "gscodec, every frame an I-frame"
VISUAL_RIVALS = (GAUSSIANIMAGE, PAPER, "x264-veryfast-zerolatency", "svt-av1-8-lowdelay")
SHARES = (1, 2, 4)  # sizes: the clip's own, a half, a quarter
GAUSSIANIMAGE_BITS = 56  # per Gaussian: fp16 means, 6-bit Cholesky, two stages of 3-bit colour


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
    """Yield this codec with P-frames and without, and the baselines, for every number of Gaussians."""
    for clip in clips:
        few = spread_frames(clip)
        for count in COUNTS:
            config = settings(options, bench.gop, gaussians=count)
            yield measure_ours(bench, clip, "masked", config, f"N {count}")
            alone = settings(options, 1, gaussians=count)
            yield measure_ours(bench, few, "masked", alone, f"N {count}", codec=ALONE)
            for profile in BASELINES:
                yield measure_baseline(bench, clip, profile, options, count)


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
        tables += _bits_tables(clip, mine)
    text = (
        "The paper reports 78 % fewer bits than GaussianImage, which codes every frame alone. Whole .gsv "
        "files at the same number of Gaussians, not at the same quality; GaussianImage's and our I-frames "
        "from three frames of the clip. The 56 bits are GaussianImage's own count of its symbols, not a file."
    )
    return Section("bits", "Bits against the number of Gaussians (Fig. 5)", text, tables, charts)


def _bits_tables(clip: str, rows: list[Row]) -> list[Table]:
    codecs = (OURS, ALONE, PAPER, GAUSSIANIMAGE)
    bpp = {(row.codec, row.point): row.figures["bpp"] for row in rows}
    quality = {(row.codec, row.point): row.figures["roi_psnr_db"] for row in rows}
    rates: list[list[str]] = []
    values: list[list[str]] = []
    fewest: set[tuple[int, int]] = set()
    highest: set[tuple[int, int]] = set()
    for count in COUNTS:
        found = [bpp.get((codec, f"N {count}")) for codec in codecs]
        if not any(found):
            continue
        pixels = rows[0].figures["width"] * rows[0].figures["height"]
        cells = [formatted(value, ".4f") for value in (*found, count * GAUSSIANIMAGE_BITS / pixels)]
        theirs = found[codecs.index(GAUSSIANIMAGE)]
        for codec in (OURS, PAPER):
            mine = found[codecs.index(codec)]
            saved = 100 * (mine / theirs - 1) if mine and theirs else None
            cells.append(formatted(saved, "+.1f"))
        decibels = [quality.get((codec, f"N {count}")) for codec in codecs]
        fewest |= {(len(rates), 1 + i) for i in best(found, ".4f", largest=False)}
        highest |= {(len(values), 1 + i) for i in best(decibels, ".2f")}
        rates.append([str(count), *cells])
        values.append([str(count), *(formatted(value, ".2f") for value in decibels)])
    saving = [f"{codec}: % of {GAUSSIANIMAGE}" for codec in (OURS, PAPER)]
    head = ["N", OURS, "… I-frames only", PAPER, GAUSSIANIMAGE, "56 bits each", *saving]
    return [
        Table(f"{clip}, bits per pixel", head, rates, 1, [], fewest),
        Table(f"{clip}, ROI-PSNR of the same files, dB", head[:5], values, 1, [], highest),
    ]


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
                n_bytes = ours.figures["n_bytes"]
                for name in options.rivals if options.rivals is not None else VISUAL_RIVALS:
                    yield measure_other(bench, clip, protocol, name, planes, options, n_bytes)


def visual_section(rows: list[Row]) -> Section:
    """Viewers with slider, and error maps."""
    text = (
        "One frame, two thirds into the clip, of every codec at the same bytes; the profiles paper and "
        "gaussianimage instead at the same number of Gaussians, as in the paper, and the person alone."
    )
    return Section("visual", "Side by side (Fig. 6)", text, [rows_table("", rows)], [], viewers(rows))


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
