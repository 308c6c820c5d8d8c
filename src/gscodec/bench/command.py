"""`gscodec bench`: read the options, run the suites, print, write."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from gscodec.bench import suite_quick
from gscodec.bench.cache import Cache, Row
from gscodec.bench.clips import load_clips
from gscodec.bench.measure import Bench
from gscodec.bench.options import BenchOptions, parse_options
from gscodec.bench.output import write_results
from gscodec.bench.table import rows_table


def run(arguments: Sequence[str]) -> int:
    """Run the command with the words after `gscodec bench`; gives the exit code.

    Raises:
        GscodecError: nothing could be measured.
    """
    try:
        options = parse_options(arguments)
    except SystemExit as end:  # --help
        return int(end.code or 0)
    cache = Cache(options.out, fresh=options.fresh)
    rows = _run_quick(options, cache)
    write_results(options.out, rows, {"suite": options.suite})
    return 0 if any(row.status == "ok" for row in rows) else 1


def _run_quick(options: BenchOptions, cache: Cache) -> list[Row]:
    bench = _bench(options, cache, "quick", suite_quick.GOP)
    clips = load_clips(options, options.frames or suite_quick.N_FRAMES, _say)
    rows = []
    for row in suite_quick.run_quick(bench, clips, options, _say):
        rows.append(row)
        _say(rows_table([row]).splitlines()[2])
    print(rows_table([*rows, *suite_quick.mean_rows(rows)]))
    print("\n".join(suite_quick.verdicts(rows)))
    return rows


def _bench(options: BenchOptions, cache: Cache, suite: str, gop: int) -> Bench:
    return Bench(
        options.out, cache, suite, options.gop or gop, options.repeats, options.backend, options.threads
    )


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
