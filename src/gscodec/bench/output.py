"""results.json and results.csv of a run."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from gscodec.bench.cache import Row, environment, row_from_dict
from gscodec.errors import MediaError
from gscodec.video.atomic import atomic_path

_PLAIN = ("suite", "clip", "codec", "point", "protocol", "status", "note")


def write_results(out: Path, rows: Sequence[Row], facts: dict[str, Any]) -> None:
    """Write results.json and results.csv.

    Args:
        facts: of the whole run, such as BD-rates.
    """
    out.mkdir(parents=True, exist_ok=True)
    document = {"environment": dict(environment()), **facts, "rows": [asdict(row) for row in rows]}
    _write(out / "results.json", json.dumps(document, indent=1, default=str) + "\n")
    _write(out / "results.csv", rows_csv(rows))


def rows_csv(rows: Sequence[Row]) -> str:
    """Rows as CSV: plain columns, every figure, then options and environment as JSON."""
    names = list(dict.fromkeys(name for row in rows for name in row.figures))
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([*_PLAIN, *names, "clip_sha256", "options", "environment"])
    for row in rows:
        figures = [row.figures.get(name) for name in names]
        tail = [json.dumps(part, default=str) for part in (row.options, row.environment)]
        writer.writerow([*(getattr(row, name) for name in _PLAIN), *figures, row.clip_sha256, *tail])
    return text.getvalue()


def read_results(path: Path) -> list[Row]:
    """Read an earlier run's results.json.

    Raises:
        MediaError: it is something else.
    """
    try:
        return [row_from_dict(row) for row in json.loads(path.read_text(encoding="utf-8"))["rows"]]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise MediaError(f"{path}: no results.json of gscodec bench ({error})") from error


def _write(path: Path, text: str) -> None:
    with atomic_path(path) as temporary:
        Path(temporary).write_text(text, encoding="utf-8")
