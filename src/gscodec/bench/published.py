"""Figures that others published, from published.csv beside this file and from --external files of one's own.

They are drawn hollow: not measured here, on other clips and machines. docs/benchmarking.md has the columns.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Sequence
from pathlib import Path

from gscodec.bench.cache import Row
from gscodec.bench.section import Section, Series, Table
from gscodec.errors import MediaError

SHIPPED = Path(__file__).with_name("published.csv")
_SUITES = {
    "table1": "init",
    "table2": "init",
    "psnr1000": "init",
}  # experiment -> suite, where it has another name
_NUMBERS = (
    "n_gaussians",
    "bpp",
    "n_bytes",
    "kbit_per_s",
    "psnr_db",
    "roi_psnr_db",
    "encode_s",
    "encode_fps",
    "decode_fps",
    "iterations_to_30_db",
    "time_to_30_db_s",
    "init_s",
)


def read_published(path: Path = SHIPPED) -> list[dict[str, str]]:
    """Read a file of published figures.

    Raises:
        MediaError: it has no column `codec`, or `source`, or a figure that is no number.
    """
    try:
        with open(path, newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise MediaError(f"{path}: cannot be read as CSV ({error})") from error
    for number, row in enumerate(rows, start=2):
        for name in ("codec", "source"):
            if not row.get(name):
                raise MediaError(
                    f"{path}, line {number}: no {name}; expected the columns codec, clip, …, source"
                )
        for name in _NUMBERS:
            try:
                float(row.get(name) or 0)
            except ValueError as error:
                raise MediaError(f"{path}, line {number}: {name} {row[name]!r} is no number") from error
    return rows


def published_curves(rows: Iterable[dict[str, str]] | None = None) -> list[Series]:
    """Hollow curves of bits per pixel and PSNR, one per codec and clip."""
    found: dict[str, list[tuple[float, float]]] = {}
    for row in read_published() if rows is None else rows:
        if row.get("bpp") and row.get("psnr_db"):
            name = f"{row['codec']}, {row.get('clip') or 'unnamed clip'}"
            found.setdefault(name, []).append((float(row["bpp"]), float(row["psnr_db"])))
    return [Series(name, sorted(points), hollow=True) for name, points in found.items()]


def sources_section(suites: Sequence[str], external: Sequence[Row]) -> Section:
    """Who published what the suites of this run show hollow, and the --external figures."""
    lines = [
        [row["codec"], row["clip"], row.get("psnr_kind") or "–", row["source"]]
        for row in read_published()
        if _SUITES.get(row["experiment"], row["experiment"]) in suites
    ]
    lines += [[row.codec, row.clip, "–", row.note] for row in external]
    unique = [list(line) for line in dict.fromkeys(map(tuple, lines))]
    text = (
        "Shown as published or hollow above: measured by others, on other clips and machines."
        if unique
        else "This run shows none."
    )
    tables = [Table("", ["codec", "clip", "PSNR of", "source"], unique, 4)] if unique else []
    return Section("sources", "Figures of others", text, tables)


def external_rows(path: Path) -> list[Row]:
    """Rows of an --external file, with the status "published"."""
    rows = []
    for values in read_published(path):
        figures = {name: float(values[name]) for name in _NUMBERS if values.get(name)}
        rows.append(
            Row(
                values.get("experiment") or "external",
                values.get("clip") or "",
                values["codec"],
                status="published",
                note=values["source"],
                figures=figures,
            )
        )
    return rows
