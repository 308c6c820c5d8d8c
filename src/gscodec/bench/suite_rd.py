"""Suite `rd`: curves of the masked pictures (paper, Fig. 7), and whole pictures at equal bytes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from gscodec.bench.baselines import measure_baseline
from gscodec.bench.cache import Row
from gscodec.bench.clips import Clip
from gscodec.bench.measure import OURS, Bench, Planes, measure_nerv, measure_ours, measure_rival
from gscodec.bench.nerv import NERV, WIDTHS
from gscodec.bench.options import BASELINES, BenchOptions
from gscodec.bench.published import published_curves
from gscodec.bench.rd_tables import PROTOCOL, bd_tables, curve_rows, curves
from gscodec.bench.rd_whole import run_whole, whole_tables
from gscodec.bench.rivals import RIVALS, USUAL_RIVALS
from gscodec.bench.section import Chart, Section, Series, Table
from gscodec.bench.suite_quick import MASKED, viewers
from gscodec.bench.table import formatted
from gscodec.bench.vmaf import NOTE as VMAF_NOTE
from gscodec.bench.vmaf import vmaf_is_there
from gscodec.config import encoder_config

N_FRAMES, GOP = 150, 60
# Operating points of this codec, coarse to fine: values for fields of EncoderConfig. The first five span the
# quality that counts; the last two are shown only.
POINTS: tuple[dict[str, Any], ...] = (
    {"crf": 44},
    {"crf": 40},
    {"crf": 36},
    {"crf": 31},
    {"crf": 26},
    {"crf": 20},
    {"crf": 14},
)
BASELINE_COUNTS = (250, 500, 1000, 2000)  # Gaussians of the baselines' points
UNASKED_NOTE = "trains a network for each clip and size, minutes to hours: --rivals nerv asks for it"
TEXT = (
    "Curves: every codec gets the same masked pictures, the person as filmed, the room one colour behind a "
    "soft edge; quality is that of the person. A BD-rate is the mean difference in bytes at equal quality: "
    f"below zero {OURS} needs fewer. Its own column is 0, so that the bold figure of a line belongs to the "
    "codec that needs the fewest, whichever it is. Every clip is counted by the same rule, over the quality "
    "that both curves span; where they share less than half a decibel there is no overlap, hence no figure, "
    "and no mean counts it. Whole pictures: one file at the settings of gscodec encode, every rival at the "
    "bytes of that file. Bytes: the whole .gsv for this codec, the bare elementary stream for the others, "
    "which have one thread. gaussianimage: three frames of each clip, every one alone."
)
# Figure, axis and what follows the clip's name in the chart's, of the curves that are drawn.
DRAWN = (
    ("roi_psnr_db", "RGB-PSNR of the person, dB", ""),
    ("roi_y_psnr_db", "luma-PSNR of the person, dB", "-luma"),
    ("roi_ms_ssim_db", "MS-SSIM of the person, dB", "-ms-ssim"),
)


def run_rd(bench: Bench, clips: Iterator[Clip], options: BenchOptions) -> Iterator[Row]:
    """Yield a row per clip, codec and operating point, then the whole pictures at equal bytes."""
    for clip in clips:
        if PROTOCOL in options.protocols:
            yield from _run_curves(bench, clip, options)
        if "whole" in options.protocols:
            yield from run_whole(bench, clip, options)


def _run_curves(bench: Bench, clip: Clip, options: BenchOptions) -> Iterator[Row]:
    for point in POINTS:
        settings = {**MASKED, **point}
        if options.background is not None:
            settings["background"] = options.background
        config = encoder_config(
            options.preset,
            **settings,
            gop_length=bench.gop,
            backend=options.backend,
            threads=options.threads,
        )
        label = " ".join(f"{name} {value:g}" for name, value in point.items())
        yield measure_ours(bench, clip, PROTOCOL, config, label)
    planes = Planes(clip, PROTOCOL)
    for name in options.rivals if options.rivals is not None else (*USUAL_RIVALS, *BASELINES):
        if name == NERV:
            for channels in WIDTHS:
                yield measure_nerv(bench, clip, PROTOCOL, channels, options.nerv_epochs)
        elif name in BASELINES:
            for count in BASELINE_COUNTS:
                yield measure_baseline(bench, clip, name, options, count)
        else:
            for crf in RIVALS[name].points:
                yield measure_rival(bench, clip, PROTOCOL, name, planes, crf=crf)
    if options.rivals is None:
        yield Row(bench.suite, clip.name, NERV, "", PROTOCOL, "skipped", UNASKED_NOTE)


def flicker_table(rows: list[Row]) -> Table:
    """Mean flicker of this codec and of each other one over the rates that both span, per clip."""
    measured = [row for row in curve_rows(rows) if row.figures.get("flicker") is not None]
    rivals = [name for name in dict.fromkeys(row.codec for row in measured) if name != OURS]
    lines = []
    for clip in dict.fromkeys(row.clip for row in measured):
        found: dict[str, list[tuple[float, float]]] = {}
        for row in measured:
            if row.clip == clip:
                point = (float(np.log(row.figures["kbit_per_s"])), row.figures["flicker"])
                found.setdefault(row.codec, []).append(point)
        cells = []
        for rival in rivals:
            pair = _at_same_rates(sorted(found.get(OURS, [])), sorted(found.get(rival, [])))
            cells.append("–" if pair is None else f"{pair[0]:.2f} : {pair[1]:.2f}")
        lines.append([clip, *cells])
    title = "Flicker at the same rates, code values, lower is calmer: gscodec : …"
    return Table(title, ["clip", *rivals], lines, 1)


def rd_section(rows: list[Row]) -> Section:
    """Tables and curves of the rows."""
    charts = []
    for clip in curves(rows):
        for figure, axis, suffix in DRAWN:
            series = [Series(codec, points) for codec, points in curves(rows, figure)[clip].items()]
            if not series:  # no MS-SSIM of small pictures
                continue
            series += _external(rows, clip) if not suffix else []
            title = f"{clip}: the person, the room masked"
            charts.append(Chart(f"rd-{clip}{suffix}", title, "kb/s", axis, series, log_x=True))
    bpp = [
        Series(
            codec,
            sorted(
                (r.figures["bpp"], r.figures["roi_psnr_db"]) for r in curve_rows(rows) if r.codec == codec
            ),
            line=False,
        )
        for codec in dict.fromkeys(r.codec for r in curve_rows(rows))
    ]
    charts.append(
        Chart(
            "rd-bpp",
            "All clips, bits per pixel; hollow: published, other clips and PSNR, not comparable",
            "bpp",
            "PSNR, dB",
            bpp + published_curves(),
            log_x=True,
        )
    )
    whole = [row for row in rows if row.protocol == "whole"]
    tables = whole_tables(whole)
    if any(row.protocol == PROTOCOL for row in rows):
        tables = [*bd_tables(rows), *tables, flicker_table(rows), _points_table(rows)]
    return Section("rd", "Rate and distortion (Fig. 7)", TEXT, tables, charts, viewers(whole))


def _external(rows: list[Row], clip: str) -> list[Series]:
    """Hollow curves of --external rows about this clip."""
    found: dict[str, list[tuple[float, float]]] = {}
    for row in rows:
        rate = row.figures.get("kbit_per_s")
        quality = row.figures.get("roi_psnr_db", row.figures.get("psnr_db"))
        if row.status == "published" and row.clip == clip and rate and quality:
            found.setdefault(f"{row.codec}, published", []).append((rate, quality))
    return [Series(name, sorted(points), hollow=True) for name, points in found.items()]


def _at_same_rates(a: list[tuple[float, float]], b: list[tuple[float, float]]) -> tuple[float, float] | None:
    """Means of two curves of (log rate, value) over the rates that both span; None where there are none."""
    if not a or not b:
        return None
    low, high = max(a[0][0], b[0][0]), min(a[-1][0], b[-1][0])
    if high <= low:
        return None
    at = np.linspace(low, high, 50)
    (rate_a, value_a), (rate_b, value_b) = np.array(a).T, np.array(b).T
    return float(np.interp(at, rate_a, value_a).mean()), float(np.interp(at, rate_b, value_b).mean())


def _points_table(rows: list[Row]) -> Table:
    columns = (
        ("kbit_per_s", "kb/s", ".1f"),
        ("bpp", "bpp", ".4f"),
        ("roi_psnr_db", "RGB dB", ".2f"),
        ("roi_y_psnr_db", "luma dB", ".2f"),
        ("roi_ssim", "SSIM", ".4f"),
        ("roi_ms_ssim", "MS-SSIM", ".4f"),
        ("roi_ms_ssim_db", "MS-SSIM dB", ".2f"),
        ("vmaf", "VMAF", ".1f"),
        ("flicker", "flicker", ".2f"),
        ("encode_fps", "enc FPS", ".1f"),
        ("encode_cpu_ms", "enc CPU ms", ".1f"),
        ("decode_fps", "dec FPS", ".0f"),
    )
    mine = [row for row in rows if row.protocol != "whole"]
    lines = [
        [row.clip, row.codec, row.point if row.status == "ok" else row.status]
        + [formatted(row.figures.get(name), form) for name, _, form in columns]
        for row in mine
    ]
    notes = list(dict.fromkeys(f"{row.codec}: {row.note}" for row in mine if row.note))
    notes += [] if vmaf_is_there() else [VMAF_NOTE]
    head = ["clip", "codec", "point", *(heading for _, heading, _ in columns)]
    return Table("Every point", head, lines, 3, notes)
