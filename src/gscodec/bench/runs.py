"""The suites that share an output folder: what each was run as, and how busy the machine was."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

from gscodec.bench.cache import Row
from gscodec.bench.stopwatch import machine_load

BUSY_SHARE = 0.25  # of the cores; what other programs took of the machine then shows in times


@dataclass(frozen=True, slots=True)
class Run:
    """One suite as it was run.

    Attributes:
        command: as typed. date: when it ended, local time. skipped: a line for every clip that was left out.
        load_before, load_after: the system's load averages over 1, 5 and 15 minutes; empty where the system
            keeps none. Before the run they are of other programs, after it mostly of the run itself.
        cores: of the machine.
    """

    suite: str
    command: str
    date: str = ""
    skipped: tuple[str, ...] = ()
    load_before: tuple[float, ...] = ()
    load_after: tuple[float, ...] = ()
    cores: int | None = None

    @property
    def was_busy(self) -> bool:
        """Whether other programs were at work as the run began."""
        return bool(self.load_before) and self.load_before[0] > BUSY_SHARE * (self.cores or 1)


def finished(suite: str, command: str, skipped: Sequence[str], load_before: tuple[float, ...]) -> Run:
    """The run of a suite that ends now."""
    date = time.strftime("%Y-%m-%dT%H:%M:%S")
    return Run(suite, command, date, tuple(skipped), load_before, machine_load(), os.cpu_count())


def run_from_dict(values: dict[str, Any]) -> Run:
    """Make a Run of what JSON kept of it; unknown names of other versions are left out."""
    known = {f.name for f in fields(Run)}
    plain: dict[str, Any] = {
        name: tuple(v) if isinstance(v, list) else v for name, v in values.items() if name in known
    }
    return Run(**plain)


def runs_to_json(runs: Iterable[Run]) -> list[dict[str, Any]]:
    return [asdict(run) for run in runs]


def merged(earlier: Sequence[Row], now: Sequence[Row], suites: Sequence[str]) -> list[Row]:
    """Rows of an output folder after a run: what it had of other suites, and all of the suites that ran now.

    Figures that others published are kept too, each once.
    """
    kept = [row for row in earlier if row.suite not in suites and row.status != "published"]
    published = [row for row in (*earlier, *now) if row.status == "published"]
    unique = [row for i, row in enumerate(published) if row not in published[:i]]
    return [*kept, *(row for row in now if row.status != "published"), *unique]


def run_facts(runs: Sequence[Run]) -> list[tuple[str, str]]:
    """For the report: the command of each suite, and the machine's load around it."""
    facts = []
    for run in runs:
        facts.append((f"{run.suite}: command", run.command))
        facts.append((f"{run.suite}: ended", run.date))
        facts.append((f"{run.suite}: load", _load(run)))
    return facts


def run_notes(runs: Sequence[Run], rows: Sequence[Row]) -> list[str]:
    """What a reader must know of the runs: clips left out, a busy machine, suites of different code."""
    notes = list(dict.fromkeys(line for run in runs for line in run.skipped))
    for run in runs:
        if run.was_busy:
            notes.append(
                f"{run.suite}: other programs were at work as it began, so that times are too long; load: "
                f"{_load(run)}"
            )
    codes: dict[str, dict[str, None]] = {}  # digest -> suites
    for row in rows:
        if row.environment.get("code"):
            codes.setdefault(row.environment["code"], {})[row.suite] = None
    if len(codes) > 1:
        told = "; ".join(f"{', '.join(suites)} by {code}" for code, suites in codes.items())
        notes.append(f"not all of this was measured by the same code of gscodec: {told}")
    return notes


def _load(run: Run) -> str:
    if not run.load_before:
        return "the system keeps no load average"
    before, after = (f"{load[0]:.2f}" if load else "–" for load in (run.load_before, run.load_after))
    return f"{before} before, {after} after, over the last minute; {run.cores or '?'} cores"
