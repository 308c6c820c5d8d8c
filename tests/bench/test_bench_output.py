"""Tables, results files, --against, --external and the shipped published figures."""

from __future__ import annotations

import csv
import json

import pytest
from bench_rows import row

from gscodec.bench.against import compare
from gscodec.bench.markdown import table_markdown, write_markdown
from gscodec.bench.output import read_results, rows_csv, write_results
from gscodec.bench.published import external_rows, published_curves, read_published
from gscodec.bench.section import Section, Table
from gscodec.bench.suite_quick import mean_rows, quick_section
from gscodec.bench.table import best, formatted, marked, text_table
from gscodec.errors import MediaError


def test_text_table_lines_up():
    assert text_table(["a", "bb"], [["long", "1"], ["s", "23"]]).splitlines() == [
        "a     bb",
        "----  --",
        "long   1",
        "s     23",
    ]
    assert [formatted(v, f) for v, f in ((None, ".1f"), (1234.4, ",d"), ("x", ".1f"), (0.5, "+.2f"))] == [
        "–",
        "1,234",
        "x",
        "+0.50",
    ]


def test_quick_section_says_who_is_ahead():
    failed = row("x265", status="failed", note="no libx265")
    rows = [row(roi_psnr_db=30.5), row("x264", kbit_per_s=40.0), failed]
    table, verdict = quick_section(rows).tables
    assert table.lines[2][3] == "failed"
    assert table.notes == ["talk, x265: no libx265"]
    assert {(i, table.head[j]) for i, j in table.bold if "dB" in table.head[j]} == {
        (0, "ROI dB"),
        (0, "whole dB"),
        (1, "whole dB"),
    }
    assert verdict.lines == [["talk, masked", "0.50 dB ROI-PSNR ahead of x264, at 0.50 times its rate"]]


def test_means_are_over_clips():
    (mean,) = mean_rows([row(n_bytes=100), row(clip="b", n_bytes=300), row(clip="c", status="failed")])
    assert (mean.clip, mean.figures["n_bytes"]) == ("mean of 2", 200)
    assert mean_rows([row()]) == []


def test_the_best_values_of_a_line():
    assert best([1.0, 3.0, None, 2.999], ".1f") == {1, 3}  # they read the same
    assert best([1.0, 3.0, None], ".1f", largest=False) == {0}
    assert best([1.0, None], ".1f") == set()


def test_bold_figures_are_marked_in_markdown_and_terminal():
    table = Table("t", ["clip", "a", "b"], [["x|y", "1", "2"]], 1, ["why"], {(0, 2)})
    assert marked(table) == [["x|y", "1", "**2**"]]
    assert table_markdown(table).splitlines() == [
        "**t**",
        "",
        "| clip | a | b |",
        "| --- | ---: | ---: |",
        "| x\\|y | 1 | **2** |",
        "",
        "- why",
    ]


def test_markdown_has_every_section_and_what_was_run(tmp_path):
    section = Section("rd", "Rate", "what it is", [Table("", ["a"], [["1"]])])
    write_markdown(tmp_path, [section], [("rd: command", "gscodec bench rd"), ("gpu", "")])
    text = (tmp_path / "report.md").read_text(encoding="utf-8")
    assert "## Rate\n\nwhat it is\n\n| a |" in text
    assert "- rd: command: gscodec bench rd\n- gpu: –\n" in text


def test_results_come_back(tmp_path):
    rows = [row(), row("x264", status="failed", note='says "no",\nloudly')]
    write_results(tmp_path, rows, [])
    assert read_results(tmp_path / "results.json") == rows
    assert json.loads((tmp_path / "results.json").read_text())["environment"]["gscodec"]
    with open(tmp_path / "results.csv", newline="") as file:
        read = list(csv.DictReader(file))
    assert [r["codec"] for r in read] == ["gscodec", "x264"]
    assert float(read[0]["roi_psnr_db"]) == 30
    assert read[1]["roi_psnr_db"] == ""


def test_anything_else_is_no_results_file(tmp_path):
    for text in ("", "[]", '{"rows": [1]}'):
        (tmp_path / "a.json").write_text(text)
        with pytest.raises(MediaError, match=r"no results\.json"):
            read_results(tmp_path / "a.json")


def test_against_tells_noise_from_movement():
    old = [row(), row("x264"), row("gone")]
    new = [row(roi_psnr_db=30.01, encode_fps=9.0), row("x264", roi_psnr_db=29.5, n_bytes=900), row("new")]
    assert compare(old, new) == [
        "talk masked x264: n_bytes 1000 -> 900 (-10.0 %), better",
        "talk masked x264: roi_psnr_db 30 -> 29.5 (-0.50), worse",
        "new: talk masked new",
        "gone: talk masked gone",
    ]
    assert compare(old, old) == ["nothing moved by more than the noise"]
    failed = compare([row()], [row(status="failed", note="why")])
    assert failed == ["talk masked gscodec: ok -> failed why"]


def test_times_count_only_beyond_their_own_spread():
    assert compare([row()], [row(decode_fps=150.0)]) == [
        "talk masked gscodec: decode_fps 200 -> 150 (-25.0 %), worse"
    ]
    assert compare([row()], [row(decode_fps=150.0, decode_spread=0.3)]) == [
        "nothing moved by more than the noise"
    ]


def test_every_published_figure_has_a_source():
    rows = read_published()
    assert {"table1", "table2", "latency", "rd", "quantization"} <= {r["experiment"] for r in rows}
    assert all(r["source"] for r in rows)
    assert all(series.hollow for series in published_curves())


def test_external_figures_become_rows(tmp_path):
    path = tmp_path / "mine.csv"
    path.write_text("codec,clip,n_bytes,psnr_db,encode_fps,source\nDCVC,talk,1234,33.1,2,own run\n")
    (made,) = external_rows(path)
    assert (made.status, made.codec, made.figures["n_bytes"]) == ("published", "DCVC", 1234)
    assert "DCVC" in rows_csv([made])


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("codec,clip\nA,b\n", "line 2: no source"),
        ("codec,source,bpp\nA,b,much\n", "line 2: bpp 'much' is no number"),
    ],
)
def test_bad_external_files_are_named_with_their_line(tmp_path, text, said):
    path = tmp_path / "mine.csv"
    path.write_text(text)
    with pytest.raises(MediaError, match=said):
        external_rows(path)
