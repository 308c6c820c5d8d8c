"""Resume: rows that are kept, rows that are not, and files cut off midway."""

from __future__ import annotations

import json

from bench_rows import row

from gscodec.bench.cache import Cache, code_digest, environment, row_from_dict

KEY = {"suite": "quick", "clip": "talk", "options": {"gaussians": 10}}


def counting(result, calls):
    def measure(stem):
        calls.append(stem)
        return result

    return measure


def test_second_run_measures_nothing(tmp_path):
    calls = []
    first = Cache(tmp_path).row(KEY, counting(row(), calls))
    again = Cache(tmp_path)
    assert again.row(KEY, counting(row(n_bytes=5), calls)) == first
    assert (len(calls), again.n_reused) == (1, 1)


def test_other_options_and_fresh_measure_again(tmp_path):
    calls = []
    Cache(tmp_path).row(KEY, counting(row(), calls))
    Cache(tmp_path).row(KEY | {"clip": "other"}, counting(row(), calls))
    Cache(tmp_path, fresh=True).row(KEY, counting(row(), calls))
    assert len(calls) == 3
    assert len(set(calls)) == 2


def test_failures_are_tried_again(tmp_path):
    calls = []
    for _ in range(2):
        Cache(tmp_path).row(KEY, counting(row(status="failed", note="no disk"), calls))
    assert len(calls) == 2


def test_a_cut_file_is_measured_again(tmp_path):
    calls = []
    Cache(tmp_path).row(KEY, counting(row(), calls))
    (kept,) = (tmp_path / "cache").glob("*.json")
    kept.write_text(kept.read_text()[:20])
    Cache(tmp_path).row(KEY, counting(row(), calls))
    assert len(calls) == 2


def test_rows_of_other_versions_lose_what_is_unknown():
    assert row_from_dict({"suite": "rd", "clip": "a", "codec": "b", "wings": 2}).codec == "b"


def test_environment_names_machine_and_code():
    facts = dict(environment())
    assert {"gscodec", "code", "python", "av", "numpy", "cpu", "gpu", "cores"} <= facts.keys()
    json.dumps(facts)
    assert code_digest() != code_digest(("analysis",))
