"""results.json and results.csv of a run."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from gscodec.bench.cache import Row, environment, row_from_dict
from gscodec.bench.runs import Run, run_from_dict, runs_to_json
from gscodec.errors import MediaError
from gscodec.video.atomic import atomic_path

_PLAIN = ("suite", "clip", "codec", "point", "protocol", "matte", "status", "note")


def write_results(out: Path, rows: Sequence[Row], runs: Sequence[Run]) -> None:
    """Write results.json and results.csv.

    Args:
        runs: of the suites that the rows are of.
    """
    out.mkdir(parents=True, exist_ok=True)
    document = {
        "environment": dict(environment()),
        "runs": runs_to_json(runs),
        "rows": [asdict(row) for row in rows],
    }
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
    """Read the rows of an earlier run's results.json.

    Raises:
        MediaError: it is something else.
    """
    return _read(path)[0]


def read_folder(out: Path) -> tuple[list[Row], list[Run]]:
    """Read what an output folder has of earlier runs; nothing where there were none.

    Raises:
        MediaError: its results.json is something else.
    """
    path = out / "results.json"
    return _read(path) if path.exists() else ([], [])


def _read(path: Path) -> tuple[list[Row], list[Run]]:
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        rows = [row_from_dict(row) for row in document["rows"]]
        return rows, [run_from_dict(run) for run in document.get("runs", [])]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise MediaError(f"{path}: no results.json of gscodec bench ({error})") from error


def _write(path: Path, text: str) -> None:
    with atomic_path(path) as temporary:
        Path(temporary).write_text(text, encoding="utf-8")
