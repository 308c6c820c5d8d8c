"""Suites that share an output folder, and the machine's load around them."""

from __future__ import annotations

import os
from dataclasses import replace

from bench_rows import row

from gscodec.bench.cache import Cache
from gscodec.bench.output import read_folder, write_results
from gscodec.bench.runs import Run, finished, merged, run_facts, run_notes
from gscodec.bench.stopwatch import machine_load


def test_rows_of_other_suites_stay_and_those_of_this_one_are_replaced():
    quick, old, new = row(suite="quick"), row(suite="rd", kbit_per_s=1.0), row(suite="rd", kbit_per_s=2.0)
    assert merged([quick, old], [new], ["rd"]) == [quick, new]
    assert merged([], [new], ["rd"]) == [new]


def test_figures_of_others_are_kept_once():
    theirs = row("DCVC", suite="external", status="published")
    more = row("NeRV", suite="rd", status="published")
    assert merged([theirs, more], [theirs, row(suite="rd")], ["rd"]) == [row(suite="rd"), theirs, more]


def test_a_folder_remembers_its_runs(tmp_path):
    assert read_folder(tmp_path) == ([], [])
    run = Run("rd", "gscodec bench rd", "today", ("a.mp4: skipped",), (0.5, 0.4, 0.3), (1.5, 1.0, 0.5), 2)
    write_results(tmp_path, [row()], [run])
    assert read_folder(tmp_path) == ([row()], [run])


def test_load_and_cores_are_recorded(monkeypatch):
    monkeypatch.setattr(os, "getloadavg", lambda: (1.234, 0.5, 0.25), raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: 2)
    run = finished("rd", "gscodec bench rd", [], (0.4, 0.3, 0.2))
    assert (run.load_before, run.load_after, run.cores) == ((0.4, 0.3, 0.2), (1.23, 0.5, 0.25), 2)
    assert ("rd: load", "0.40 before, 1.23 after, over the last minute; 2 cores") in run_facts([run])
    assert run_notes([run], []) == []
    (note,) = run_notes([replace(run, load_before=(0.9, 0.9, 0.9))], [])
    assert note.startswith("rd: other programs were at work as it began")


def test_a_system_without_load_averages_says_so(monkeypatch):
    monkeypatch.delattr(os, "getloadavg", raising=False)
    assert machine_load() == ()
    run = finished("rd", "", [], machine_load())
    assert not run.was_busy
    assert ("rd: load", "the system keeps no load average") in run_facts([run])


def test_each_row_keeps_the_load_before_it(tmp_path, monkeypatch):
    monkeypatch.setattr("gscodec.bench.cache.machine_load", lambda: (0.7, 0.6, 0.5))
    made = Cache(tmp_path).row({"a": 1}, lambda stem: row())
    assert made.environment["load_before"] == [0.7, 0.6, 0.5]
    monkeypatch.setattr("gscodec.bench.cache.machine_load", lambda: (9.0, 9.0, 9.0))
    kept = Cache(tmp_path).row({"a": 1}, lambda stem: row())
    assert kept == made


def test_suites_of_different_code_are_named():
    rows = [
        replace(row(suite=suite), environment={"code": code}) for suite, code in (("quick", "a"), ("rd", "b"))
    ]
    assert run_notes([], rows) == [
        "not all of this was measured by the same code of gscodec: quick by a; rd by b"
    ]
    assert run_notes([], rows[:1]) == []
