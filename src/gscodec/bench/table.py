"""Rows as a short table of text, and the formats that text and report share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from gscodec.bench.cache import Row
from gscodec.bench.section import Table

# Figure, heading, format. Tables of the terminal and of the report show these in this order.
QUICK_COLUMNS: tuple[tuple[str, str, str], ...] = (
    ("roi_psnr_db", "ROI dB", ".2f"),
    ("psnr_db", "whole dB", ".2f"),
    ("n_bytes", "bytes", ",d"),
    ("kbit_per_s", "kb/s", ".1f"),
    ("encode_fps", "enc FPS", ".1f"),
    ("encode_cpu_ms", "enc CPU ms", ".1f"),
    ("decode_fps", "dec FPS", ".0f"),
    ("i_bytes", "I B", ".0f"),
    ("p_bytes", "P B", ".0f"),
    ("n_gaussians", "N", ".0f"),
)
# Figures that codecs contend for at the same bytes, and whether the largest is best.
LARGEST_IS_BEST = {
    "roi_psnr_db": True,
    "psnr_db": True,
    "encode_fps": True,
    "encode_cpu_ms": False,
    "decode_fps": True,
}


def figure(row: Row, name: str, form: str) -> str:
    """A figure of a row as text, "–" where it has none."""
    return formatted(row.figures.get(name), form)


def formatted(value: Any, form: str) -> str:
    """A value in a format of ours; None is "–"."""
    if value is None or value == "":
        return "–"
    if isinstance(value, str):
        return value
    return format(round(value) if form.endswith("d") else value, form)


def row_cells(row: Row, columns: Sequence[tuple[str, str, str]]) -> list[str]:
    """The figures of a row; a row without any says why in the first column."""
    if row.status not in ("ok", "published"):
        return [row.status, *[""] * (len(columns) - 1)]
    return [figure(row, name, form) for name, _, form in columns]


def best(values: Sequence[float | None], form: str, *, largest: bool = True) -> set[int]:
    """Where the best of some values stands, every place that shows the same; of one alone, nowhere."""
    known = [value for value in values if value is not None]
    if len(known) < 2:
        return set()
    shown = format(max(known) if largest else min(known), form)
    return {i for i, value in enumerate(values) if value is not None and format(value, form) == shown}


def marked(table: Table) -> list[list[str]]:
    """The lines of a table with asterisks around what is bold, for terminals and Markdown."""
    return [
        [f"**{cell}**" if (i, j) in table.bold else cell for j, cell in enumerate(line)]
        for i, line in enumerate(table.lines)
    ]


def matte_line(rows: Sequence[Row]) -> str:
    """What the figures of the person are counted over, for whoever reads them; "" where there are none."""
    clips: dict[str, dict[str, None]] = {}  # matte -> clips
    for row in rows:
        if row.matte:
            clips.setdefault(row.matte, {})[row.clip] = None
    if not clips:
        return ""
    told = "; ".join(
        matte if len(clips) == 1 else f"{matte}: {', '.join(names)}" for matte, names in clips.items()
    )
    return f"Figures of the person (ROI) are over one matte, the same for every codec: {told}."


def text_table(head: Sequence[str], lines: Sequence[Sequence[str]], n_left: int = 1) -> str:
    """Lay out cells in columns; the first n_left are words, the others figures."""
    widths = [max(len(line[i]) for line in [head, *lines]) for i in range(len(head))]

    def laid_out(line: Sequence[str]) -> str:
        pairs = enumerate(zip(line, widths, strict=True))
        cells = (c.ljust(w) if i < n_left else c.rjust(w) for i, (c, w) in pairs)
        return "  ".join(cells).rstrip()

    return "\n".join([laid_out(head), "  ".join("-" * w for w in widths), *map(laid_out, lines)])


def rows_table(
    title: str, rows: Sequence[Row], columns: Sequence[tuple[str, str, str]] = QUICK_COLUMNS
) -> Table:
    """A table of rows with their reasons below it."""
    head = ["clip", "pictures", "codec", *(heading for _, heading, _ in columns)]
    names = [f"{row.codec}, published" if row.status == "published" else row.codec for row in rows]
    lines = [
        [row.clip, row.protocol, name, *row_cells(row, columns)]
        for name, row in zip(names, rows, strict=True)
    ]
    notes = list(dict.fromkeys(f"{row.clip}, {row.codec}: {row.note}" for row in rows if row.note))
    return Table(title, head, lines, 3, notes, _best_cells(rows, columns))


def _best_cells(rows: Sequence[Row], columns: Sequence[tuple[str, str, str]]) -> set[tuple[int, int]]:
    """The best of each column among the codecs on the same pictures of a clip."""
    bold = set()
    for clip, protocol in dict.fromkeys((row.clip, row.protocol) for row in rows):
        group = [i for i, r in enumerate(rows) if (r.clip, r.protocol, r.status) == (clip, protocol, "ok")]
        for j, (name, _, form) in enumerate(columns):
            if name in LARGEST_IS_BEST:
                values = [rows[i].figures.get(name) for i in group]
                places = best(values, form, largest=LARGEST_IS_BEST[name])
                bold |= {(group[place], 3 + j) for place in places}
    return bold


def row_line(row: Row) -> str:
    """One row for the log of a run."""
    words = [word for word in (row.clip, row.protocol, row.codec, row.point) if word]
    if row.status != "ok":
        return " ".join([*words, f"{row.status}: {row.note}"])
    known = [(name, heading, form) for name, heading, form in QUICK_COLUMNS[:7] if name in row.figures]
    shown = ", ".join(f"{formatted(row.figures[n], f)} {h}" for n, h, f in known)
    return "  ".join(filter(None, [" ".join(words), shown]))
