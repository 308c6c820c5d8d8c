#!/usr/bin/env python3
"""Measure the golden clip anew and rewrite tests/golden.json; prints before and after.

python tools/golden.py [--dry-run]      `make golden`, where a commit changes rate or quality on purpose
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

TESTS = Path(__file__).resolve().parents[1] / "tests"


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--dry-run", action="store_true", help="print only")
    arguments = parser.parse_args()
    sys.path[:0] = [str(TESTS), str(TESTS / "video")]
    import golden_clip

    before = golden_clip.stored() if golden_clip.FILE.exists() else {}
    after = golden_clip.measure_all()
    for run, figures in after.items():
        print(describe(run, before.get(run), figures))
    if not arguments.dry_run:
        golden_clip.FILE.write_text(json.dumps(after, indent=2) + "\n", encoding="utf-8")


def describe(run: str, before: dict[str, Any] | None, after: dict[str, Any]) -> str:
    """One line: figures of a run before and after, and by how much they differ."""
    if before is None:
        return f"{run:<12} new: {after['bytes']} bytes, ROI {after['roi_db']} dB, whole {after['db']} dB"
    percent = 100 * (after["bytes"] / before["bytes"] - 1)
    parts = [f"{before['bytes']} -> {after['bytes']} bytes ({percent:+.2f} %)"]
    for name, label in (("roi_db", "ROI"), ("db", "whole")):
        change = after[name] - before[name]
        parts.append(f"{label} {before[name]} -> {after[name]} dB ({change:+.3f})")
    parts += [f"{n} {before[n]} -> {after[n]}" for n in ("frames", "iframes") if before[n] != after[n]]
    return f"{run:<12} " + ", ".join(parts)


if __name__ == "__main__":
    main()
