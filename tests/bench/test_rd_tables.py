"""Tables of suite `rd`: what a BD-rate counts, what is not averaged, and whose figure is bold."""

from __future__ import annotations

from dataclasses import replace

import pytest
from bench_rows import row

from gscodec.bench.bdrate import bd_psnr
from gscodec.bench.rd_tables import IN_MOTION, MEASURES, bd_tables, difference, differences, mean_rate
from gscodec.bench.rd_whole import QUALITIES, whole_tables
from gscodec.bench.suite_rd import flicker_table, rd_section

NAMES = [measure.name for measure in MEASURES]
N_SPEEDS = 2


def curve(codec="gscodec", clip="talk", rate=10, low=26.0, n=4, motion=0.5, ms_ssim=True, **figures):
    """Points whose rate doubles while each kind of quality rises by 1.7 dB."""
    rows = []
    for i in range(n):
        quality = low + 1.7 * i
        some = {"roi_psnr_db": quality, "roi_y_psnr_db": quality + 1}
        some |= {"roi_ms_ssim_db": quality - 14} if ms_ssim else {}
        some |= {"kbit_per_s": rate * 2.0**i, "motion": motion, "encode_cpu_ms": 20.0}
        rows.append(row(codec, clip, "rd", **{**some, **figures}))
    return rows


def cells(table, clip="talk"):
    """Cells behind the first two, by what stands in the second."""
    return {line[1]: line[2:] for line in table.lines if line[0] == clip}


def bold(table):
    """What stands in bold, by the words to its left."""
    return {(*table.lines[i][: table.n_left], table.head[j]) for i, j in table.bold}


def test_every_kind_of_quality_stands_beside_the_others():
    unbuilt = row("NeRV", suite="rd", status="not built", note="no such rival yet")
    rate, span, gain = bd_tables([*curve(), *curve("x264", rate=20), unbuilt])
    assert rate.head == ["clip", "quality", "gscodec", "x264", "NeRV"]
    assert [line[1] for line in rate.lines] == [*NAMES, "encode frames/s", "encode CPU ms a frame"]
    assert all(line[2:] == ["0", "-50.0", "not built"] for line in rate.lines[: len(NAMES)])
    assert cells(span) == {
        "RGB-PSNR": ["26.0–31.1", "not built"],
        "RGB-PSNR, 24–36 dB": ["26.0–31.1", "not built"],
        "RGB-PSNR, 26–31 dB": ["26.0–31.0", "not built"],
        "luma-PSNR": ["27.0–32.1", "not built"],
        "MS-SSIM": ["12.0–17.1", "not built"],
    }
    assert all(line == ["0", "+1.70", "–"] for line in cells(gain).values())
    assert rate.notes == []


def test_each_kind_of_quality_has_a_curve_of_its_own():
    """A rival that is better in MS-SSIM alone is behind in the one line and ahead in the other."""
    rival = [
        replace(r, figures=r.figures | {"roi_ms_ssim_db": r.figures["roi_ms_ssim_db"] + 3.4})
        for r in curve("x264", rate=20)
    ]
    (rate, *_) = bd_tables([*curve(), *rival])
    found = cells(rate)
    assert found["luma-PSNR"] == ["0", "-50.0"]
    assert found["MS-SSIM"] == ["0", "+100.0"]
    assert ("talk", "MS-SSIM", "x264") in bold(rate)
    assert ("talk", "luma-PSNR", "gscodec") in bold(rate)


def test_the_range_is_what_both_curves_span_whatever_the_clip():
    still, moving = curve(low=20, n=12), curve(clip="run", low=20, n=12, motion=9.0)
    rivals = [*curve("x264", low=22, n=12), *curve("x264", "run", low=22, n=12)]
    _, _, span, _ = bd_tables([*still, *moving, *rivals])
    for clip in ("talk", "run"):
        assert cells(span, clip)["RGB-PSNR"] == ["22.0–38.7"]
        assert cells(span, clip)["RGB-PSNR, 24–36 dB"] == ["24.0–36.0"]
        assert cells(span, clip)["RGB-PSNR, 26–31 dB"] == ["26.0–31.0"]
    assert IN_MOTION.name not in cells(span)
    assert cells(span, "run")[IN_MOTION.name] == ["24.0–29.0"]


def test_curves_that_do_not_overlap_have_no_figure_and_no_part_in_a_mean():
    apart = curve("x264", "other", rate=8, low=40)
    means, rate, span, gain = bd_tables([*curve(), *curve("x264", rate=20), *curve(clip="other"), *apart])
    assert cells(rate, "other")["luma-PSNR"] == ["0", "no overlap"]
    assert cells(span, "other")["luma-PSNR"] == ["no overlap"]
    assert cells(gain, "other")["luma-PSNR"][1].startswith("-")  # there are rates in common
    assert "other, luma-PSNR, x264: no BD-rate: the curves share less than 0.5 dB" in " ".join(rate.notes)
    assert "mean of 2 clips" in means.title
    assert [line[:3] for line in means.lines[: len(NAMES)]] == [[name, "0", "-50.0 (1)"] for name in NAMES]


def test_a_clip_in_motion_has_its_own_range_in_no_mean():
    rows = [*curve(motion=9.0), *curve("x264", rate=20), *curve(clip="b"), *curve("x264", "b", rate=20)]
    means = bd_tables(rows)[0]
    assert [line[0] for line in means.lines] == [*NAMES, "encode frames/s", "encode CPU ms a frame"]


def test_small_pictures_have_no_ms_ssim():
    rate, *_ = bd_tables([*curve(ms_ssim=False), *curve("x264", rate=20, ms_ssim=False)])
    assert cells(rate)["MS-SSIM"] == ["0", "–"]
    assert cells(rate)["luma-PSNR"] == ["0", "-50.0"]


def test_the_best_figure_of_a_line_is_bold_whoever_has_it():
    better, worse = curve("svt", rate=5), curve("x264", rate=20)
    rate, _, gain = bd_tables([*curve(), *better, *worse])
    assert cells(rate)["RGB-PSNR"] == ["0", "+100.0", "-50.0"]
    for table in (rate, gain):
        assert {codec for _, quality, codec in bold(table) if quality in NAMES} == {"svt"}
    rate, _, gain = bd_tables([*curve(), *worse])
    for table in (rate, gain):
        assert {codec for _, quality, codec in bold(table) if quality in NAMES} == {"gscodec"}


def test_speed_stands_beside_the_rate():
    slow = curve("svt", encode_fps=40.0, encode_cpu_ms=10.0)
    slow[0] = replace(slow[0], figures=slow[0].figures | {"encode_fps": 10.0})
    rate, *_ = bd_tables([*curve(encode_fps=30.0), *slow])
    found = cells(rate)
    assert found["encode frames/s"] == ["30.0", f"{4 / (3 / 40 + 1 / 10):.1f}"]  # of all points together
    assert found["encode CPU ms a frame"] == ["20.0", "10.0"]
    assert {("talk", "encode frames/s", "gscodec"), ("talk", "encode CPU ms a frame", "svt")} <= bold(rate)


def test_curves_that_cannot_be_compared_say_why():
    few = curve("x264", rate=20, n=2)
    rate, *_ = bd_tables([*curve(), *few])
    assert cells(rate)["luma-PSNR"] == ["0", "–"]
    assert any("2 points, at least 3" in note for note in rate.notes)


def test_mean_rate_says_over_how_many_clips():
    rows = [*curve(), *curve("x264", rate=20), *curve(clip="other"), *curve("x264", "other", rate=1, low=40)]
    assert mean_rate(rows, "x264") == (pytest.approx(-50), 1, 2)
    assert mean_rate(rows, "svt") is None
    assert list(differences(rows, IN_MOTION)) == []


def test_flicker_is_compared_over_the_rates_in_common():
    ours = [row(suite="rd", kbit_per_s=2**i, flicker=1.0 + i) for i in range(4)]
    rival = [row("x264", suite="rd", kbit_per_s=2**i, flicker=2.0) for i in range(2, 6)]
    assert flicker_table([*ours, *rival]).lines == [["talk", "3.50 : 2.00"]]
    assert flicker_table([ours[0], rival[3]]).lines == [["talk", "–"]]


def test_rd_section_draws_published_points_hollow():
    charts = {chart.name: chart for chart in rd_section([*curve(), *curve("x264", rate=20)]).charts}
    assert list(charts) == ["rd-talk", "rd-talk-luma", "rd-talk-ms-ssim", "rd-bpp"]
    assert [series.name for series in charts["rd-talk-ms-ssim"].series] == ["gscodec", "x264"]
    assert charts["rd-talk-ms-ssim"].series[0].points[0] == (10.0, 12.0)
    assert any(series.hollow for series in charts["rd-bpp"].series)


def whole(codec="gscodec", clip="talk", n_bytes=1000, psnr=30.0, **figures):
    names = [figure for _, figure, _, _ in QUALITIES]
    values = dict.fromkeys(names, psnr) | {"kbit_per_s": n_bytes / 50, "n_bytes": n_bytes}
    return row(codec, clip, "rd", "whole", **{**values, **figures})


def test_whole_pictures_are_compared_at_equal_bytes():
    rows = [whole(), whole("x264", psnr=31.0), whole("svt", n_bytes=1200, psnr=35.0)]
    (table,) = whole_tables(rows)
    found = cells(table)
    assert found["kb/s"] == ["20.0", "20.0", "(24.0)"]
    assert found["person, MS-SSIM dB"] == ["30.00", "31.00", "(35.00)"]
    assert ("talk", "whole picture, luma-PSNR dB", "x264") in bold(table)
    assert not any(codec == "svt" for *_, codec in bold(table))
    assert "bytes differ from gscodec's by more than 10%" in table.notes[0]


def test_means_of_whole_pictures_leave_out_unequal_bytes_and_say_so():
    rows = [whole(), whole("x264", psnr=31.0), whole(clip="b"), whole("x264", "b", n_bytes=700, psnr=20.0)]
    means, _ = whole_tables(rows)
    assert "mean of the 2 clips" in means.title
    assert {line[0]: line[1:] for line in means.lines}["person, RGB-PSNR dB"] == ["30.00", "31.00 (1)"]


def test_a_rival_that_failed_says_so_in_the_table_of_whole_pictures():
    rows = [whole(), row("svt", suite="rd", protocol="whole", status="failed", note="no libsvtav1")]
    (table,) = whole_tables(rows)
    assert cells(table)["kb/s"] == ["20.0", "–"]
    assert table.notes == ["talk, svt: failed: no libsvtav1"]
    assert whole_tables(rows[1:]) == []


def test_whole_pictures_are_no_points_of_curves():
    (rate, *_) = bd_tables([*curve(), *curve("x264", rate=20), whole(psnr=99.0), whole("x264", psnr=1.0)])
    assert cells(rate)["RGB-PSNR"] == ["0", "-50.0"]


def test_percent_and_decibels_are_taken_over_the_same_qualities():
    """A last point that costs much and brings little must not drag higher rates into the decibels alone."""
    ours = [(5, 24), (10, 26), (20, 28), (400, 28.6)]
    rival = [(10 * 2**i, 24 + 2 * i) for i in range(6)]
    found = difference(rival, ours, (24.0, 36.0))
    assert found.span == (24.0, 28.6)
    assert found.rate < 0 < found.gain
    assert bd_psnr(rival, ours, (24.0, 36.0)) < 0
