"""`gscodec bench`: read the options, run the suites, print, write."""

from __future__ import annotations

import shlex
import signal
import sys
from collections.abc import Sequence
from dataclasses import replace

from gscodec import interrupts
from gscodec.bench.against import compare
from gscodec.bench.cache import Cache, Row, environment
from gscodec.bench.claims import claims_section
from gscodec.bench.clips import load_clips
from gscodec.bench.measure import Bench
from gscodec.bench.ondisk import full_disk_said
from gscodec.bench.options import BenchOptions, parse_options
from gscodec.bench.output import read_folder, read_results, write_results
from gscodec.bench.published import external_rows, sources_section
from gscodec.bench.runs import Run, finished, merged, run_facts, run_notes
from gscodec.bench.section import Section
from gscodec.bench.stopwatch import machine_load
from gscodec.bench.suites import SUITE_TABLE, Suite
from gscodec.bench.table import marked, matte_line, row_line, text_table
from gscodec.errors import GscodecError, printable

TIMING_SUITES = ("quick", "latency")  # where our encoding is timed as often as all else
TAKE_EXTERNAL = ("quick", "rd")  # suites whose tables and curves also show --external figures


def run(arguments: Sequence[str]) -> int:
    """Run the command with the words after `gscodec bench`; gives the exit code.

    Raises:
        GscodecError: nothing could be measured.
    """
    try:
        options = parse_options(arguments)
    except SystemExit as end:  # --help
        return int(end.code or 0)
    with full_disk_said(options.out):
        return _run(options, shlex.join(["gscodec", "bench", *arguments]))


def _run(options: BenchOptions, command: str) -> int:
    before = read_results(options.against) if options.against else None
    earlier, runs = read_folder(options.out)
    external = [row for path in options.external for row in external_rows(path)]
    cache = Cache(options.out, fresh=options.fresh)
    kept = f"what is measured is kept in {cache.folder}: run the same command to go on"
    interrupts.notes[signal.SIGINT] = f"interrupted; {kept}"
    names = [name for name in SUITE_TABLE if options.suite in (name, "all")]
    rows: list[Row] = []
    for i, name in enumerate(names):
        load, n_reused = machine_load(), cache.n_reused
        skipped: list[str] = []
        try:
            made = _run_suite(SUITE_TABLE[name], name, options, cache, skipped)
        except KeyboardInterrupt:
            _say(f"interrupted; {kept}")
            return 130
        rows += made
        _print_section(_section(name, made, external))
        last = next((run for run in runs if run.suite == name), None)
        n_measured = sum(row.status == "ok" for row in made) - (cache.n_reused - n_reused)
        if last is None or n_measured:  # else the times, and so the load, are those of the earlier run
            last = finished(name, command, skipped, load)
        runs = [*(run for run in runs if run.suite != name), replace(last, command=command)]
        everything = merged(earlier, rows + external, names[: i + 1])
        write_results(options.out, everything, runs)
    if options.suite == "all":  # the report has them for every suite
        _print_section(replace(claims_section(rows), matte=matte_line(rows)))
    if before is not None:
        print("\n".join(compare([row for row in before if row.suite in names], rows)))
    if options.report:
        _write_report(options, everything, runs)
    _say(f"{options.out}/results.json, results.csv; {cache.n_reused} of {len(rows)} rows were cached")
    return 0 if any(row.status == "ok" for row in rows) else 1


def _run_suite(suite: Suite, name: str, options: BenchOptions, cache: Cache, skipped: list[str]) -> list[Row]:
    """The rows of a suite; a line for every clip that is left out is added to `skipped`."""

    def skip(line: str) -> None:
        if line not in skipped:  # every suite reads the clips anew
            skipped.append(line)
            _say(line)

    bench = Bench(
        out=options.out,
        cache=cache,
        suite=name,
        gop=options.gop or suite.gop,
        repeats=options.repeats,
        encode_repeats=options.repeats if name in TIMING_SUITES else 1,
        backend=options.backend,
        threads=options.threads,
        say=_say,
    )
    clips = load_clips(options, options.frames or suite.n_frames, skip)
    rows = []
    for row in suite.run(bench, clips, options):
        if not row.environment:  # nothing was measured
            row = replace(row, environment=dict(environment()))
        rows.append(row)
        _say(f"{name}: {row_line(row)}")
    return rows


def _section(name: str, rows: list[Row], external: list[Row]) -> Section:
    """What a suite's rows show, and over which matte."""
    made = SUITE_TABLE[name].section(rows + (external if name in TAKE_EXTERNAL else []))
    return replace(made, matte=matte_line(rows))


def _print_section(section: Section) -> None:
    print(f"\n{section.title}")
    if section.matte:
        print(printable(section.matte))
    for table in section.tables:
        print(f"\n{table.title}" if table.title else "")
        print(printable(text_table(table.head, marked(table), table.n_left)))
        for note in table.notes:
            print(f"  {note}")
    sys.stdout.flush()


def _write_report(options: BenchOptions, rows: list[Row], runs: list[Run]) -> None:
    """One report of every suite that has rows in the output folder, whenever it ran."""
    from gscodec.bench.figures import write_figures
    from gscodec.bench.markdown import write_markdown
    from gscodec.bench.report import write_report

    external = [row for row in rows if row.status == "published"]
    sections, names = [], []
    for name in SUITE_TABLE:
        mine = [row for row in rows if row.suite == name and row.status != "published"]
        if mine:
            names.append(name)
            sections.append(_section(name, mine, external))
    sections.append(replace(claims_section(rows), matte=matte_line(rows)))
    sections.append(sources_section(names, external))
    notes, facts = run_notes(runs, rows), run_facts(runs)
    try:
        write_figures(options.out, sections)
    except GscodecError as error:
        notes.append(str(error))
        _say(f"no figures: {error}")
    write_report(options.out, rows, sections, notes, facts)
    write_markdown(options.out, sections, [*facts, *((n, str(v)) for n, v in environment())])
    _say(f"{options.out}/report.html, report.md")


def _say(line: str) -> None:
    if sys.stderr is not None:  # else it would be printed on standard output
        print(printable(line), file=sys.stderr, flush=True)
