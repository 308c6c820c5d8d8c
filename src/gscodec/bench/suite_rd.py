"""Suite `rd`: rate-distortion curves of the masked pictures, and Bjøntegaard differences (paper, Fig. 7)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from statistics import fmean
from typing import Any

import numpy as np

from gscodec.bench.baselines import measure_baseline
from gscodec.bench.bdrate import Curve, Refused, bd_psnr, bd_rate, checked, common_range
from gscodec.bench.cache import Row
from gscodec.bench.clips import Clip
from gscodec.bench.measure import OURS, Bench, Planes, measure_nerv, measure_ours, measure_rival
from gscodec.bench.nerv import NERV, WIDTHS
from gscodec.bench.options import BASELINES, BenchOptions
from gscodec.bench.published import published_curves
from gscodec.bench.rivals import RIVALS, USUAL_RIVALS
from gscodec.bench.section import Chart, Section, Series, Table
from gscodec.bench.suite_quick import MASKED
from gscodec.bench.table import formatted
from gscodec.bench.vmaf import NOTE as VMAF_NOTE
from gscodec.bench.vmaf import vmaf_is_there
from gscodec.config import encoder_config

N_FRAMES, GOP = 150, 60
PROTOCOL = "masked"
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
COUNTED_DB = (26.0, 31.0)  # ROI-PSNR over which BD-rates are taken: around the paper's 30 dB
COUNTED_IN_MOTION_DB = (24.0, 29.0)
UNASKED_NOTE = "trains a network for each clip and size, minutes to hours: --rivals nerv asks for it"
UNSAID_DB = 0.25  # a counted range that is shorter by more than this is said so
MOTION_CODES = 1.0  # a clip with more mean |change| than this, at 320x180, counts as strong motion


def run_rd(bench: Bench, clips: Iterator[Clip], options: BenchOptions) -> Iterator[Row]:
    """Yield a row per clip, codec and operating point."""
    for clip in clips:
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


def curves(rows: list[Row]) -> dict[str, dict[str, list[tuple[float, float]]]]:
    """Clip -> codec -> points (kb/s, ROI-PSNR), sorted by rate."""
    found: dict[str, dict[str, list[tuple[float, float]]]] = {}
    for row in rows:
        if row.status == "ok":
            point = (row.figures["kbit_per_s"], row.figures["roi_psnr_db"])
            found.setdefault(row.clip, {}).setdefault(row.codec, []).append(point)
    return {clip: {codec: sorted(points) for codec, points in c.items()} for clip, c in found.items()}


def bd_tables(rows: list[Row]) -> list[Table]:
    """BD-rate and BD-PSNR of this codec against each other one, per clip; refusals with their reason."""
    per_clip, notes = curves(rows), []
    measured = dict.fromkeys(row.codec for row in rows if row.status != "published")
    skipped = {row.codec for row in rows if row.status == "skipped"}
    rivals = [name for name in measured if name != OURS and name not in skipped]
    not_built = {row.codec for row in rows if row.status == "not built"}
    found: dict[str, tuple[list[float], list[float]]] = {name: ([], []) for name in rivals}
    lines: tuple[list[list[str]], list[list[str]]] = ([], [])
    for clip, by_codec in per_clip.items():
        limits = limits_of(rows, clip)
        for kind in lines:
            kind.append([clip, f"{limits[0]:g}–{limits[1]:g}"])
        for rival in rivals:
            *values, reason = _differences(by_codec, rival, limits)
            missing = "not built" if rival in not_built else "–"
            for kind, kept, value, form in zip(lines, found[rival], values, ("+.1f", "+.2f"), strict=True):
                kind[-1].append(missing if value is None else formatted(value, form))
                if value is not None:
                    kept.append(float(value))
            if reason and rival not in not_built:
                notes.append(f"{clip}, {rival}: {reason}")
    tables = []
    for i, (title, form) in enumerate((("BD-rate, %", "+.1f"), ("BD-PSNR, dB", "+.2f"))):
        if len(per_clip) > 1:
            means = [_mean_of(found[rival][i], len(per_clip), form) for rival in rivals]
            lines[i].append(["mean", "", *means])
        head = ["clip", "dB counted", *rivals]
        tables.append(Table(f"{title}: gscodec against …", head, lines[i], 2, notes if i == 0 else []))
    return tables


def _mean_of(values: list[float], n_clips: int, form: str) -> str:
    """A mean; one of some of the clips only says of how many."""
    if not values:
        return "–"
    return formatted(fmean(values), form) + (f" ({len(values)})" if len(values) < n_clips else "")


def flicker_table(rows: list[Row]) -> Table:
    """Mean flicker of this codec and of each other one over the rates that both span, per clip."""
    measured = [row for row in rows if row.status == "ok" and row.figures.get("flicker") is not None]
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


def limits_of(rows: list[Row], clip: str) -> tuple[float, float]:
    """The range of quality that counts for a clip."""
    motion = next((r.figures["motion"] for r in rows if r.clip == clip and "motion" in r.figures), 0.0)
    return COUNTED_IN_MOTION_DB if motion > MOTION_CODES else COUNTED_DB


def rd_section(rows: list[Row]) -> Section:
    """Tables and curves of the rows."""
    charts = []
    for clip, by_codec in curves(rows).items():
        series = [Series(codec, points) for codec, points in by_codec.items()]
        series += _external(rows, clip)
        charts.append(
            Chart(
                f"rd-{clip}",
                f"{clip}: the person, the room masked",
                "kb/s",
                "ROI-PSNR, dB",
                series,
                log_x=True,
            )
        )
    bpp = [
        Series(
            codec,
            sorted(
                (r.figures["bpp"], r.figures["roi_psnr_db"])
                for r in rows
                if r.status == "ok" and r.codec == codec
            ),
            line=False,
        )
        for codec in dict.fromkeys(r.codec for r in rows if r.status == "ok")
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
    text = (
        "Every codec gets the same masked pictures: the person as filmed, the room one colour behind a soft "
        "edge. ROI-PSNR is that of the person's pixels in R'G'B'. Bytes: the whole .gsv for this codec, the "
        "bare elementary stream for the others. gaussianimage: three frames of each clip, every one alone."
    )
    tables = [*bd_tables(rows), flicker_table(rows), _points_table(rows)]
    return Section("rd", "Rate and distortion (Fig. 7)", text, tables, charts)


def _external(rows: list[Row], clip: str) -> list[Series]:
    """Hollow curves of --external rows about this clip."""
    found: dict[str, list[tuple[float, float]]] = {}
    for row in rows:
        rate = row.figures.get("kbit_per_s")
        quality = row.figures.get("roi_psnr_db", row.figures.get("psnr_db"))
        if row.status == "published" and row.clip == clip and rate and quality:
            found.setdefault(f"{row.codec}, published", []).append((rate, quality))
    return [Series(name, sorted(points), hollow=True) for name, points in found.items()]


def _differences(
    by_codec: Mapping[str, Curve], rival: str, limits: tuple[float, float]
) -> tuple[float | None, float | None, str]:
    if OURS not in by_codec or rival not in by_codec:
        return None, None, "not measured"
    rate = psnr = None
    reasons = []
    try:
        rate = bd_rate(by_codec[rival], by_codec[OURS], limits)
        theirs, mine = checked(by_codec[rival])[1], checked(by_codec[OURS])[1]
        low, high = common_range(theirs, mine, limits)
        if low > limits[0] + UNSAID_DB or high < limits[1] - UNSAID_DB:
            reasons.append(f"counted from {low:.1f} to {high:.1f} dB only, where both have points")
    except Refused as refusal:
        reasons.append(f"no BD-rate: {refusal}")
    try:
        psnr = bd_psnr(by_codec[rival], by_codec[OURS], limits)
    except Refused as refusal:
        reasons.append(f"no BD-PSNR: {refusal}")
    return rate, psnr, "; ".join(reasons)


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
        ("roi_psnr_db", "ROI dB", ".2f"),
        ("roi_y_psnr_db", "ROI Y dB", ".2f"),
        ("roi_ssim", "SSIM", ".4f"),
        ("roi_ms_ssim", "MS-SSIM", ".4f"),
        ("vmaf", "VMAF", ".1f"),
        ("flicker", "flicker", ".2f"),
        ("encode_fps", "enc FPS", ".1f"),
        ("decode_fps", "dec FPS", ".0f"),
    )
    lines = [
        [row.clip, row.codec, row.point if row.status == "ok" else row.status]
        + [formatted(row.figures.get(name), form) for name, _, form in columns]
        for row in rows
    ]
    notes = list(dict.fromkeys(f"{row.codec}: {row.note}" for row in rows if row.note))
    notes += [] if vmaf_is_there() else [VMAF_NOTE]
    head = ["clip", "codec", "point", *(heading for _, heading, _ in columns)]
    return Table("Every point", head, lines, 3, notes)
