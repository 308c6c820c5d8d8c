"""Whole pictures of suite `rd`: one file at default settings, and every rival at the bytes of that file."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from statistics import fmean
from typing import Any

from gscodec.bench.cache import Row
from gscodec.bench.clips import Clip
from gscodec.bench.measure import OURS, Bench, Planes, measure_ours, measure_rival
from gscodec.bench.options import BenchOptions
from gscodec.bench.rivals import RIVALS
from gscodec.bench.section import Table
from gscodec.bench.table import best, formatted
from gscodec.config import encoder_config

PROTOCOL = "whole"
WHOLE_RIVALS = ("x264-veryfast-zerolatency", "x264-medium-zerolatency", "svt-av1-8-lowdelay")
UNEQUAL = 0.1  # a rival whose bytes differ from ours by more than this share is not compared
# Name, figure, format, and whether the largest is best; None: it says what was compared.
QUALITIES: tuple[tuple[str, str, str, bool | None], ...] = (
    ("kb/s", "kbit_per_s", ".1f", None),
    ("whole picture, RGB-PSNR dB", "psnr_db", ".2f", True),
    ("whole picture, luma-PSNR dB", "y_psnr_db", ".2f", True),
    ("whole picture, MS-SSIM dB", "ms_ssim_db", ".2f", True),
    ("person, RGB-PSNR dB", "roi_psnr_db", ".2f", True),
    ("person, luma-PSNR dB", "roi_y_psnr_db", ".2f", True),
    ("person, MS-SSIM dB", "roi_ms_ssim_db", ".2f", True),
    ("encode frames/s", "encode_fps", ".1f", True),
    ("encode CPU ms a frame", "encode_cpu_ms", ".1f", False),
)


def run_whole(bench: Bench, clip: Clip, options: BenchOptions) -> Iterator[Row]:
    """Yield this codec's row of a clip and the rivals'."""
    names = ("gaussians", "quality", "crf", "background")
    given: dict[str, Any] = {n: getattr(options, n) for n in names if getattr(options, n) is not None}
    config = encoder_config(
        options.preset,
        gop_length=bench.gop,
        roi=options.roi,
        backend=options.backend,
        threads=options.threads,
        **given,
    )
    point = " ".join([options.preset, *(f"{name} {value}" for name, value in given.items())])
    ours = measure_ours(bench, clip, PROTOCOL, config, point)
    yield ours
    if ours.status != "ok":
        return
    planes = Planes(clip, PROTOCOL)
    for name in WHOLE_RIVALS if options.rivals is None else options.rivals:
        if name in RIVALS:  # the others code the person alone
            yield measure_rival(bench, clip, PROTOCOL, name, planes, n_bytes=ours.figures["n_bytes"])


def whole_tables(rows: Sequence[Row]) -> list[Table]:
    """Means over the clips, then clip by clip, a line for each kind of quality."""
    clips = list(dict.fromkeys(row.clip for row in rows))
    codecs = list(dict.fromkeys(row.codec for row in rows))
    if not any(row.status == "ok" for row in rows):
        return []
    found = {(row.clip, row.codec): row for row in rows}
    unequal = {key for key, row in found.items() if _is_unequal(row, found.get((row.clip, OURS)))}
    notes = [f"{row.clip}, {row.codec}: {row.status}: {row.note}" for row in rows if row.status != "ok"]
    title = "Whole pictures at default settings and equal bytes"
    table = Table(title, ["clip", "quality", *codecs], [], 2, notes)
    for clip in clips:
        for name, figure, form, largest in QUALITIES:
            values = [_value(found.get((clip, codec)), figure) for codec in codecs]
            cells = [formatted(value, form) for value in values]
            for i, codec in enumerate(codecs):
                if (clip, codec) in unequal and values[i] is not None:
                    cells[i], values[i] = f"({cells[i]})", None
            _add(table, [clip, name], values, cells, form, largest)
    if unequal:
        notes.append(f"(…): bytes differ from {OURS}'s by more than {UNEQUAL:.0%}: not compared, in no mean")
    if len(clips) < 2:
        return [table]
    title += f": mean of the {len(clips)} clips; (n): of n of them"
    means = Table(title, ["quality", *codecs], [], 1)
    for name, figure, form, largest in QUALITIES:
        values, cells = [], []
        for codec in codecs:
            equal = [clip for clip in clips if (clip, codec) not in unequal]
            known = [v for clip in equal if (v := _value(found.get((clip, codec)), figure)) is not None]
            mean = fmean(known) if known else None
            few = f" ({len(known)})" if 0 < len(known) < len(clips) else ""
            values.append(mean)
            cells.append(formatted(mean, form) + few)
        _add(means, [name], values, cells, form, largest)
    return [means, table]


def _add(
    table: Table,
    left: list[str],
    values: list[float | None],
    cells: list[str],
    form: str,
    largest: bool | None,
) -> None:
    if largest is not None:
        places = best(values, form, largest=largest)
        table.bold.update((len(table.lines), len(left) + i) for i in places)
    table.lines.append([*left, *cells])


def _value(row: Row | None, figure: str) -> float | None:
    return row.figures.get(figure) if row is not None else None


def _is_unequal(row: Row, ours: Row | None) -> bool:
    """Whether a row has other bytes than ours, so that nothing else of it may be compared."""
    if row.status != "ok":
        return False  # then it has nothing to compare
    return (
        ours is None
        or ours.status != "ok"
        or abs(row.figures["n_bytes"] / ours.figures["n_bytes"] - 1) > UNEQUAL
    )
