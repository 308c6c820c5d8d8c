"""Tables of suite `rd`: Bjøntegaard differences by several measures of quality, and speed beside them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

from gscodec.bench.bdrate import Curve, NoOverlap, Refused, bd_psnr, bd_rate, checked, common_range
from gscodec.bench.cache import Row
from gscodec.bench.measure import OURS
from gscodec.bench.section import Table
from gscodec.bench.table import best, formatted

PROTOCOL = "masked"
MOTION_CODES = 1.0  # a clip with more mean |change| of luma than this, at 320x180, is in strong motion


@dataclass(frozen=True, slots=True)
class Measure:
    """What a difference is taken over: a figure of rows, in dB, and the range that counts.

    Attributes:
        limits: (lowest, highest) dB; None is all that both curves span.
        least_motion: of the clips that it is for, see MOTION_CODES; None is every clip.
    """

    name: str
    figure: str
    limits: tuple[float, float] | None = None
    least_motion: float | None = None


# The same for every clip: where curves lie must not decide what counts. The last one is for old figures.
PAPERS_RANGE = Measure("RGB-PSNR, 26–31 dB", "roi_psnr_db", (26.0, 31.0))  # around its operating point
MEASURES = (
    Measure("RGB-PSNR", "roi_psnr_db"),
    Measure("RGB-PSNR, 24–36 dB", "roi_psnr_db", (24.0, 36.0)),
    PAPERS_RANGE,
    Measure("luma-PSNR", "roi_y_psnr_db"),
    Measure("MS-SSIM", "roi_ms_ssim_db"),
)
IN_MOTION = Measure("RGB-PSNR, 24–29 dB, in motion", "roi_psnr_db", (24.0, 29.0), MOTION_CODES)


@dataclass(frozen=True, slots=True)
class Difference:
    """This codec against another one on one clip.

    Attributes:
        rate: of bytes at equal quality, percent. gain: of quality at equal bytes, dB, over the rates at which
            the other one has the qualities of `span`; without a span over all rates that both have.
        span: the qualities over which `rate` is taken. missing: what a table shows in place of `rate`, and
            `reason`, in words, why.
    """

    rate: float | None = None
    gain: float | None = None
    span: tuple[float, float] | None = None
    missing: str = "–"
    reason: str = ""


def curve_rows(rows: Sequence[Row]) -> list[Row]:
    """The rows that are points of curves: measured, of the masked pictures."""
    return [row for row in rows if row.status == "ok" and row.protocol == PROTOCOL]


def curves(
    rows: Sequence[Row], figure: str = "roi_psnr_db"
) -> dict[str, dict[str, list[tuple[float, float]]]]:
    """Clip -> codec -> points (kb/s, figure), sorted by rate; without rows that lack the figure."""
    found: dict[str, dict[str, list[tuple[float, float]]]] = {}
    for row in curve_rows(rows):
        by_codec = found.setdefault(row.clip, {})
        quality = row.figures.get(figure)
        if quality is not None:
            by_codec.setdefault(row.codec, []).append((row.figures["kbit_per_s"], quality))
    return {clip: {codec: sorted(points) for codec, points in c.items()} for clip, c in found.items()}


def rivals_of(rows: Sequence[Row]) -> list[str]:
    """The codecs to compare with, in the order of the rows; those that no one asked for are left out."""
    mine = [row for row in rows if row.status != "published" and row.protocol == PROTOCOL]
    skipped = {row.codec for row in mine if row.status == "skipped"}
    return [name for name in dict.fromkeys(row.codec for row in mine) if name != OURS and name not in skipped]


def difference(rival: Curve | None, ours: Curve | None, limits: tuple[float, float] | None) -> Difference:
    """Compare two curves of (kb/s, dB); what cannot be said is missing, with the reason."""
    if not ours or not rival:
        return Difference(reason="not measured")
    rate = gain = span = None
    missing, reasons = "–", []
    try:
        rate = bd_rate(rival, ours, limits)
        span = common_range(checked(rival)[1], checked(ours)[1], limits)
    except Refused as refusal:
        missing = "no overlap" if isinstance(refusal, NoOverlap) else "–"
        reasons.append(f"no BD-rate: {refusal}")
    try:
        gain = bd_psnr(rival, ours, span or limits)  # at the rates where the same qualities are counted
    except Refused as refusal:
        reasons.append(f"no difference in dB: {refusal}")
    return Difference(rate, gain, span, missing, "; ".join(reasons))


def differences(rows: Sequence[Row], measure: Measure) -> dict[str, dict[str, Difference]]:
    """Clip -> rival -> difference; only the clips that the measure is for."""
    rivals = rivals_of(rows)
    found: dict[str, dict[str, Difference]] = {}
    for clip, by_codec in curves(rows, measure.figure).items():
        if measure.least_motion is None or _motion(rows, clip) > measure.least_motion:
            ours = by_codec.get(OURS)
            found[clip] = {name: difference(by_codec.get(name), ours, measure.limits) for name in rivals}
    return found


def mean_rate(
    rows: Sequence[Row], rival: str, measure: Measure = PAPERS_RANGE
) -> tuple[float, int, int] | None:
    """Mean BD-rate against a rival: (percent, of how many clips, how many there are), or None."""
    found = differences(rows, measure)
    values = [d.rate for of_clip in found.values() if (d := of_clip.get(rival)) and d.rate is not None]
    return (fmean(values), len(values), len(found)) if values else None


def bd_tables(rows: Sequence[Row]) -> list[Table]:
    """Means over the clips, then clip by clip: BD-rates and speeds, what was counted, differences in dB."""
    rivals = rivals_of(rows)
    found = {measure: differences(rows, measure) for measure in (*MEASURES, IN_MOTION)}
    clips = list(curves(rows))
    not_built = {row.codec for row in rows if row.status == "not built"}
    rates, spans, gains = _Lines(), _Lines(), _Lines()
    notes: dict[str, None] = {}
    for clip in clips:
        for measure, by_clip in found.items():
            if clip not in by_clip:
                continue
            row = [by_clip[clip][name] for name in rivals]
            words = [
                "not built" if name in not_built else d.missing for name, d in zip(rivals, row, strict=True)
            ]
            rates.add([clip, measure.name], [0.0, *(d.rate for d in row)], ["", *words], "+.1f")
            spans.add([clip, measure.name], [d.span for d in row], words)
            gains.add(
                [clip, measure.name],
                [0.0, *(d.gain for d in row)],
                ["", *["–"] * len(row)],
                "+.2f",
                largest=False,
            )
            for name, each in zip(rivals, row, strict=True):
                if each.reason and name not in not_built:
                    notes[f"{clip}, {measure.name}, {name}: {each.reason}"] = None
        _add_speeds(rates, clip, [row for row in curve_rows(rows) if row.clip == clip], rivals)
    head = ["clip", "quality", OURS, *rivals]
    title = f"{OURS} against …"
    tables = [
        Table(f"BD-rate, %: {title}", head, rates.lines, 2, list(notes), rates.bold),
        Table("dB counted: what both curves span", ["clip", "quality", *rivals], spans.lines, 2),
        Table(f"Quality at equal rates, dB: {title}", head, gains.lines, 2, [], gains.bold),
    ]
    return [_means(rows, rivals, clips, found), *tables] if len(clips) > 1 else tables


def _means(
    rows: Sequence[Row],
    rivals: list[str],
    clips: list[str],
    found: dict[Measure, dict[str, dict[str, Difference]]],
) -> Table:
    lines = _Lines()
    for measure in MEASURES:
        values: list[float | None] = [0.0]
        counts = [""]
        for name in rivals:
            known = [rate for d in found[measure].values() if (rate := d[name].rate) is not None]
            values.append(fmean(known) if known else None)
            counts.append(f" ({len(known)})" if 0 < len(known) < len(clips) else "–" if not known else "")
        lines.add([measure.name], values, counts, "+.1f")
    _add_speeds(lines, None, curve_rows(rows), rivals)
    title = (
        f"BD-rate, %, mean of {len(clips)} clips; (n): of the n where both curves overlap. {OURS} against …"
    )
    return Table(title, ["quality", OURS, *rivals], lines.lines, 1, [], lines.bold)


class _Lines:
    """Lines of a table as they are made, and which of their cells hold the best value of a line."""

    def __init__(self) -> None:
        self.lines: list[list[str]] = []
        self.bold: set[tuple[int, int]] = set()

    def add(
        self,
        left: list[str],
        values: Sequence[float | tuple[float, float] | None],
        words: Sequence[str],
        form: str = "",
        *,
        largest: bool = True,
    ) -> None:
        """Add a line.

        Args:
            left: its first cells. values: of the others. words: behind a value, or instead of one.
            form: of the values; "" are ranges, of which none is best. largest: the best value is the largest.
        """
        cells = []
        for value, word in zip(values, words, strict=True):
            if value is None:
                cells.append(word or "–")
            elif isinstance(value, tuple):
                cells.append("{:.1f}–{:.1f}".format(*value))
            else:
                shown = "0" if value == 0 and form.startswith("+") else formatted(value, form)
                cells.append(shown + (word if word.startswith(" (") else ""))
        if form:
            known = [value if isinstance(value, float) else None for value in values]
            self.bold |= {(len(self.lines), len(left) + i) for i in best(known, form, largest=largest)}
        self.lines.append([*left, *cells])


def _add_speeds(lines: _Lines, clip: str | None, rows: list[Row], rivals: list[str]) -> None:
    """Speed of encoding, all points of a curve together, below the rates it buys."""
    left = [] if clip is None else [clip]
    for name, figure, form, largest in SPEEDS:
        values = []
        for codec in (OURS, *rivals):
            known = [row.figures[figure] for row in rows if row.codec == codec and row.figures.get(figure)]
            # Frames a second are averaged as the times that they stand for.
            mean = 1 / fmean(1 / v for v in known) if largest and known else fmean(known) if known else None
            values.append(mean)
        lines.add([*left, name], values, ["–"] * len(values), form, largest=largest)


SPEEDS = (
    ("encode frames/s", "encode_fps", ".1f", True),
    ("encode CPU ms a frame", "encode_cpu_ms", ".1f", False),
)


def _motion(rows: Sequence[Row], clip: str) -> float:
    return next((float(r.figures["motion"]) for r in rows if r.clip == clip and "motion" in r.figures), 0.0)
