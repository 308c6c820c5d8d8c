"""Suite `quick`: each clip once, with x264 at the same bytes beside it."""

from __future__ import annotations

from collections.abc import Iterator
from statistics import fmean
from typing import Any

from gscodec.bench.baselines import measure_other
from gscodec.bench.cache import Row
from gscodec.bench.clips import Clip
from gscodec.bench.measure import OURS, Bench, Planes, measure_ours
from gscodec.bench.options import BenchOptions
from gscodec.bench.section import Section, Table, Viewer
from gscodec.bench.table import QUICK_COLUMNS, rows_table
from gscodec.config import EncoderConfig, encoder_config

N_FRAMES, GOP, GAUSSIANS = 150, 30, 1000
RIVALS = ("x264-veryfast-zerolatency",)
# The masked room is one colour, which needs few Gaussians, but along the person's edge a mean needs some on
# either side: a share of 0.12 takes 5 % fewer bytes than one of 0.02 where the person moves (docs/bits.md).
MASKED: dict[str, Any] = {"background": "coarse", "background_share": 0.12, "background_weight": 0.05}


def quick_config(options: BenchOptions, gop: int, protocol: str, roi: str) -> EncoderConfig:
    """The settings of `gscodec encode` for a clip of this suite."""
    given: dict[str, Any] = {"quality": options.quality, "crf": options.crf, "background": options.background}
    settings = {name: value for name, value in given.items() if value is not None}
    if protocol == "masked" and options.background is None:
        settings |= MASKED
    return encoder_config(
        options.preset,
        gaussians=options.gaussians or (GAUSSIANS if options.crf is None else None),
        gop_length=gop,
        roi=roi,
        backend=options.backend,
        threads=options.threads,
        **settings,
    )


def run_quick(bench: Bench, clips: Iterator[Clip], options: BenchOptions) -> Iterator[Row]:
    """Yield this codec's row and its rivals', for each clip and kind of pictures."""
    for clip in clips:
        for protocol in options.protocols:
            config = quick_config(options, bench.gop, protocol, options.roi)
            ours = measure_ours(bench, clip, protocol, config, options.preset)
            yield ours
            if ours.status != "ok":
                continue
            planes = Planes(clip, protocol)
            for name in options.rivals if options.rivals is not None else RIVALS:
                n_bytes = ours.figures["n_bytes"]
                yield measure_other(bench, clip, protocol, name, planes, options, n_bytes)


def quick_section(rows: list[Row]) -> Section:
    """The table of all rows, their means, and who is ahead."""
    table = rows_table("", [*rows, *mean_rows(rows)])
    text = (
        "Whole pictures are coded as gscodec encode does it, the room coarsely; the rival spends its bytes "
        "on the whole picture. Masked pictures show the person before one colour, the same for both. The "
        "rival gets the constant rate factor whose bytes come nearest to ours; the profiles paper and "
        "gaussianimage, the person alone at the same number of Gaussians."
    )
    lines = [list(verdict) for verdict in verdicts(rows)]
    tables = (
        [table, Table("Against each rival", ["clip, pictures", "result"], lines, 2)] if lines else [table]
    )
    return Section("quick", "Quick look", text, tables, [], viewers(rows))


def mean_rows(rows: list[Row]) -> list[Row]:
    """The mean over the clips of each codec and kind of pictures; none for a single clip."""
    groups: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        if row.status == "ok":
            groups.setdefault((row.protocol, row.codec), []).append(row)
    means = []
    for (protocol, codec), group in groups.items():
        if len(group) > 1:
            figures = {}
            for name, _, _ in QUICK_COLUMNS:
                values = [row.figures[name] for row in group if row.figures.get(name) is not None]
                figures[name] = fmean(values) if values else None
            means.append(Row(group[0].suite, f"mean of {len(group)}", codec, "", protocol, figures=figures))
    return means


def verdicts(rows: list[Row]) -> list[tuple[str, str]]:
    """For each clip and kind of pictures, what this codec wins or loses, and at what share of the rate."""
    lines = []
    ours = {(r.clip, r.protocol): r for r in rows if r.codec == OURS and r.status == "ok"}
    for row in rows:
        mine = ours.get((row.clip, row.protocol))
        if row.codec == OURS or row.status != "ok" or mine is None:
            continue
        gain = mine.figures["roi_psnr_db"] - row.figures["roi_psnr_db"]
        ratio = mine.figures["kbit_per_s"] / row.figures["kbit_per_s"]
        word = "ahead of" if gain > 0 else "behind"
        text = f"{abs(gain):.2f} dB ROI-PSNR {word} {row.codec}, at {ratio:.2f} times its rate"
        lines.append((f"{row.clip}, {row.protocol}", text))
    return lines


def viewers(rows: list[Row]) -> list[Viewer]:
    """One viewer per clip and kind of pictures: original, then every codec."""
    groups: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        if row.status == "ok" and row.picture:
            groups.setdefault((row.clip, row.protocol), []).append(row)
    made = []
    for (clip, protocol), group in groups.items():
        pictures = [("original", "", group[0].original)]
        for row in group:
            caption = f"{row.figures['roi_psnr_db']:.2f} dB ROI, {row.figures['kbit_per_s']:.0f} kb/s"
            pictures.append((row.codec, caption, row.picture))
        made.append(Viewer(f"{group[0].suite}-{clip}-{protocol}", f"{clip}, {protocol}", pictures))
    return made
