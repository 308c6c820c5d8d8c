"""`gscodec bench` end to end on tiny clips: real files, rivals, resume, bad clips."""

from __future__ import annotations

import errno
import json
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest

from gscodec.bench import (
    clips,
    figures,
    measure,
    ondisk,
    rd_whole,
    suite_init,
    suite_latency,
    suite_more,
    suite_quantization,
    suite_rd,
)
from gscodec.bench.cache import row_from_dict
from gscodec.bench.command import run
from gscodec.config import BACKENDS
from gscodec.errors import BackendError, ConfigError, MediaError
from gscodec.splat.raster import usable_backend
from gscodec.video.frame import Frame, VideoFormat
from gscodec.video.writer import VideoWriter

pytest.importorskip("gscodec.splat._native", reason="no native core", exc_type=ImportError)

SIZE = (96, 64)
COMMON = (
    "--frames",
    "4",
    "--gop",
    "3",
    "--gaussians",
    "30",
    "--preset",
    "realtime",
    "--roi",
    "full",
    "--repeats",
    "1",
)
FEW = ("--frames", "2", "--preset", "realtime", "--roi", "full", "--repeats", "1")


@pytest.fixture
def clip_file(tmp_path, make_clip):
    path = tmp_path / "disc.mkv"
    with VideoWriter(path, VideoFormat(*SIZE, Fraction(1, 25), Fraction(25)), vcodec="ffv1") as writer:
        for i, pixels in enumerate(make_clip("disc", *SIZE, 4)):
            writer.write(Frame(pixels, i, 1))
    return path


def results(out):
    return [row_from_dict(r) for r in json.loads((out / "results.json").read_text())["rows"]]


def test_quick_measures_and_resumes(tmp_path, clip_file, capsys):
    out = tmp_path / "out"
    arguments = ["quick", str(clip_file), *COMMON, "--out", str(out)]
    assert run(arguments) == 0
    first = results(out)
    assert [(r.protocol, r.codec, r.status) for r in first] == [
        (protocol, codec, "ok")
        for protocol in ("whole", "masked")
        for codec in ("gscodec", "x264-veryfast-zerolatency")
    ]
    ours = first[0]
    assert ours.figures["n_bytes"] in {path.stat().st_size for path in (out / "files").rglob("*.gsv")}
    assert ours.figures["roi_psnr_db"] > 20
    assert ours.environment["gscodec"]
    assert len(ours.clip_sha256) == 64
    page = (out / "report.html").read_text(encoding="utf-8")
    assert "data:image/jpeg" in page
    assert "0 of 4 rows were cached" in capsys.readouterr().err
    assert run([*arguments, "--no-report", "--against", str(out / "results.json")]) == 0
    said = capsys.readouterr()
    assert "4 of 4 rows were cached" in said.err
    assert "nothing moved" in said.out
    assert results(out) == first


def test_rd_refuses_what_it_cannot_say(tmp_path, clip_file, capsys, monkeypatch):
    monkeypatch.setattr(suite_rd, "POINTS", ({"gaussians": 8}, {"gaussians": 30}))
    arguments = ["rd", str(clip_file), *FEW, "--protocol", "masked"]
    assert run([*arguments, "--rivals", "x264-veryfast-zerolatency", "--out", str(tmp_path / "out")]) == 0
    assert "no BD-rate: 2 points, at least 3" in capsys.readouterr().out


def test_rd_compares_whole_pictures_at_equal_bytes(tmp_path, clip_file, monkeypatch, capsys):
    monkeypatch.setattr(suite_rd, "POINTS", ())
    out = tmp_path / "out"
    assert run(["rd", str(clip_file), *COMMON, "--protocol", "whole", "--out", str(out)]) == 0
    made = results(out)
    assert [r.codec for r in made] == ["gscodec", *rd_whole.WHOLE_RIVALS]
    assert {r.protocol for r in made} == {"whole"}
    assert all("crf" in r.options for r in made[1:])
    for rival in made[1:]:
        shorter = abs(rival.figures["n_bytes"] - made[0].figures["n_bytes"])
        assert shorter < 0.3 * made[0].figures["n_bytes"]  # of a few hundred bytes
    assert {"y_psnr_db", "psnr_db", "roi_y_psnr_db"} <= made[0].figures.keys()
    assert "Whole pictures at default settings and equal bytes" in capsys.readouterr().out


def test_suites_that_share_a_folder_have_one_report(tmp_path, clip_file, monkeypatch):
    monkeypatch.setattr(suite_rd, "POINTS", ({"gaussians": 30},))
    out = tmp_path / "out"
    rival = ("--rivals", "x264-veryfast-zerolatency")
    quick = ["quick", str(clip_file), *FEW, *rival, "--protocol", "whole", "--gaussians", "30"]
    assert run([*quick, "--out", str(out), "--no-report"]) == 0
    assert run(["rd", str(clip_file), *FEW, *rival, "--protocol", "masked", "--out", str(out)]) == 0
    assert [r.suite for r in results(out)][:2] == ["quick", "quick"]
    assert {r.suite for r in results(out)} == {"quick", "rd"}
    page = (out / "report.html").read_text(encoding="utf-8")
    assert "<section id='quick'>" in page
    assert "<section id='rd'>" in page
    for text in (page, (out / "report.md").read_text(encoding="utf-8")):
        assert "quick: command" in text
        assert "rd: load" in text
    document = json.loads((out / "results.json").read_text())
    assert [entry["suite"] for entry in document["runs"]] == ["quick", "rd"]
    assert document["runs"][0]["cores"] >= 1
    loads = [entry["load_before"] for entry in document["runs"]]
    again = len(results(out))
    assert run([*quick, "--out", str(out), "--no-report"]) == 0
    assert len(results(out)) == again  # those of quick are replaced, not added
    runs = {entry["suite"]: entry for entry in json.loads((out / "results.json").read_text())["runs"]}
    assert runs["quick"]["load_before"] == loads[0]  # nothing was timed anew


def test_a_folder_of_something_else_is_refused_before_any_work(tmp_path, clip_file):
    (tmp_path / "results.json").write_text("[]")
    with pytest.raises(MediaError, match=r"results\.json: no results\.json of gscodec bench"):
        run(["quick", str(clip_file), *COMMON, "--out", str(tmp_path)])
    assert not (tmp_path / "cache").exists()


def test_rd_has_the_baselines_as_rivals(tmp_path, clip_file, monkeypatch):
    monkeypatch.setattr(suite_rd, "POINTS", ({"gaussians": 30},))
    monkeypatch.setattr(suite_rd, "BASELINE_COUNTS", (20, 30))
    out = tmp_path / "out"
    names = ("--protocol", "masked", "--rivals", "paper,gaussianimage")
    assert run(["rd", str(clip_file), *FEW, *names, "--out", str(out)]) == 0
    made = results(out)
    assert [(r.codec, r.point, r.status) for r in made] == [
        ("gscodec", "gaussians 30", "ok"),
        *((codec, f"N {n}", "ok") for codec in ("paper", "gaussianimage") for n in (20, 30)),
    ]
    paper, alone = made[2], made[4]
    assert (paper.options["profile"], paper.options["background"]) == ("paper", "none")
    assert paper.figures["psnr_db"] is None  # its room is black
    assert alone.figures["p_bytes"] is None
    assert alone.figures["flicker"] is None


def test_bits_compares_with_the_baselines(tmp_path, clip_file, capsys, monkeypatch):
    monkeypatch.setattr(suite_more, "COUNTS", (30,))
    out = tmp_path / "out"
    assert run(["bits", str(clip_file), *COMMON, "--no-report", "--out", str(out)]) == 0
    made = {r.codec: r for r in results(out)}
    assert [r.status for r in made.values()] == ["ok"] * 4
    assert made["gaussianimage"].figures["n_frames"] == 3
    assert made["paper"].figures["n_frames"] == 4
    assert "paper: % of gaussianimage" in capsys.readouterr().out


def test_visual_shows_the_same_frame_of_every_codec(tmp_path, clip_file):
    out = tmp_path / "out"
    names = "gaussianimage,x264-veryfast-zerolatency"
    assert run(["visual", str(clip_file), *COMMON, "--rivals", names, "--out", str(out)]) == 0
    made = {(r.protocol, r.codec): r for r in results(out)}
    assert made["whole", "gaussianimage"].status == "skipped"
    assert "person alone" in made["whole", "gaussianimage"].note
    masked = [r for (protocol, _), r in made.items() if protocol == "masked"]
    assert {r.status for r in masked} == {"ok"}
    assert len({r.original for r in masked}) == 1
    assert "gaussianimage: " in (out / "report.html").read_text(encoding="utf-8")


def test_init_compares_optimisers_and_starts(tmp_path, clip_file, capsys, monkeypatch):
    few = {name: replace(start, most=20) for name, start in suite_init.STARTS.items()}
    monkeypatch.setattr(suite_init, "STARTS", few)
    monkeypatch.setattr(suite_init, "CHECKPOINTS", (1, 1000))
    out = tmp_path / "out"
    assert run(["init", str(clip_file), *COMMON, "--no-report", "--out", str(out)]) == 0
    made = {r.codec: r for r in results(out)}
    assert made["regressor"].status == "not built"
    ours, theirs = (made[name].figures for name in ("superpixels, colours solved", "profile gaussianimage"))
    assert ours["curve"]["1"] > theirs["curve"]["1"]
    assert theirs["iterations_to_target"] is None
    assert "> 20" in capsys.readouterr().out


def test_quantization_measures_ptq_and_qat(tmp_path, clip_file, capsys, monkeypatch):
    small = {"COUNTS": (20, 30), "ITERATIONS": 20, "ITERATION_COUNTS": (10, 20), "GAUSSIANS": 30}
    small |= {"STEP_COUNTS": (30,), "QUALITIES": (1.0,), "TIMED_ITERATIONS": 20}
    for name, value in small.items():
        monkeypatch.setattr(suite_quantization, name, value)
    out = tmp_path / "out"
    assert run(["quantization", str(clip_file), *COMMON, "--no-report", "--out", str(out)]) == 0
    made = results(out)
    assert {r.status for r in made} == {"ok"}
    assert [r.point for r in made if r.codec == "paper qat"] == [
        "N 20, 20 iterations",
        "N 30, 20 iterations",
        "N 30, 10 iterations",
    ]
    times = made[-1].figures
    assert 0 < times["round_ms"] < times["ptq_ms"]
    assert times["fit_ms"] > 0
    said = capsys.readouterr().out
    assert "paper QAT, published" in said
    assert "QAT, dB" in said


def test_clips_that_cannot_be_read_are_skipped(tmp_path, clip_file, capsys):
    text = tmp_path / "notes.mp4"
    text.write_text("no video")
    out = tmp_path / "out"
    arguments = ["quick", str(text), str(tmp_path / "none.mp4"), str(clip_file), *COMMON]
    assert run([*arguments, "--protocol", "whole", "--no-report", "--out", str(out)]) == 0
    said = capsys.readouterr().err
    assert said.count("skipped:") == 2
    assert {r.clip for r in results(out)} == {"disc"}
    assert run([*arguments, "--protocol", "whole", "--out", str(out)]) == 0
    assert "notes.mp4: FFmpeg cannot read it" in (out / "report.html").read_text(encoding="utf-8")
    with pytest.raises(MediaError, match="none of the clips"):
        run(["quick", str(text), "--out", str(out)])


def test_a_picture_without_two_lines_is_skipped(tmp_path):
    path = tmp_path / "dot.mkv"
    with VideoWriter(path, VideoFormat(1, 1, Fraction(1, 25), Fraction(25)), vcodec="ffv1") as writer:
        writer.write(Frame(np.zeros((1, 1, 3), np.uint8), 0, 1))
    with pytest.raises(MediaError, match=r"dot\.mkv: pictures of 1x1; expected at least 2x2"):
        clips.load_clip(path, None, 1, "full")


def test_unknown_matte_is_refused_before_any_work(tmp_path):
    with pytest.raises(ConfigError, match="neither a mode nor a file"):
        run(["quick", "--frames", "1", "--roi", "nothing", "--out", str(tmp_path)])


def test_folder_without_videos(tmp_path):
    with pytest.raises(MediaError, match="no video below"):
        run(["quick", str(tmp_path), "--out", str(tmp_path / "out")])


def test_no_gpu_is_a_row_that_says_so(tmp_path, clip_file, monkeypatch):
    def no_gpu(*_, **__):
        raise BackendError("no CUDA device; needed for --backend cuda")

    monkeypatch.setattr("gscodec.bench.measure.encode_ours", no_gpu)
    out = tmp_path / "out"
    arguments = [
        "quick",
        str(clip_file),
        *COMMON,
        "--backend",
        "cuda",
        "--protocol",
        "whole",
        "--out",
        str(out),
    ]
    assert run(arguments) == 1
    (made,) = results(out)
    assert (made.status, made.note) == ("failed", "no CUDA device; needed for --backend cuda")
    assert made.environment["cpu"]


def test_missing_matplotlib_leaves_a_report_without_figures(tmp_path, clip_file, monkeypatch, capsys):
    def missing(*_):
        raise BackendError("figures need matplotlib; run pip install '.[bench]'")

    monkeypatch.setattr(figures, "write_figures", missing)
    out = tmp_path / "out"
    assert run(["quick", str(clip_file), *COMMON, "--protocol", "whole", "--out", str(out)]) == 0
    assert "pip install" in (out / "report.html").read_text()
    assert "no figures" in capsys.readouterr().err


def test_a_full_disk_is_one_line_and_keeps_what_is_finished(tmp_path, clip_file, monkeypatch, capsys):
    out = tmp_path / "out"
    arguments = ["quick", str(clip_file), *COMMON, "--out", str(out), "--no-report"]
    plain, calls = ondisk.on_disk, []

    def full(images, folder):
        calls.append(folder)
        if len(calls) > 2:  # frames and mattes were written, the rivals' planes find no room
            raise OSError(errno.ENOSPC, "No space left on device")
        return plain(images, folder)

    for module in (clips, measure):
        monkeypatch.setattr(module, "on_disk", full)
    with pytest.raises(MediaError, match=r"no space is left for .*out.* another disk with --out"):
        run(arguments)
    kept = list((out / "cache").glob("*.json"))
    assert len(kept) == 1  # ours, of the whole pictures
    assert not list(out.rglob("*.part*"))
    monkeypatch.undo()
    assert run(arguments) == 0
    assert f"1 of {len(results(out))} rows were cached" in capsys.readouterr().err


def test_a_disk_that_fills_while_a_video_is_written_ends_the_run(tmp_path, clip_file, monkeypatch):
    out = tmp_path / "out"

    def full(self, frame):
        raise MediaError("pictures.nut: cannot encode") from OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(VideoWriter, "write", full)
    with pytest.raises(MediaError, match="no space is left for"):
        run(["quick", str(clip_file), *COMMON, "--protocol", "masked", "--out", str(out)])
    assert not list(out.rglob("*.nut"))


def test_clips_lie_on_disk_and_leave_nothing(tmp_path, rng):
    images = [rng.integers(0, 256, (8, 6, 3)).astype(np.uint8) for _ in range(5)]
    kept = ondisk.on_disk((image[:, ::-1] for image in images), tmp_path / "new")
    np.testing.assert_array_equal(kept, np.stack(images)[:, :, ::-1])
    assert not list((tmp_path / "new").iterdir())
    with pytest.raises(ValueError, match="read-only"):
        kept[0] = 0
    with pytest.raises(MediaError, match="not a single"):
        ondisk.on_disk(iter([]), tmp_path)


def test_latency_has_a_row_for_every_backend(tmp_path, clip_file, monkeypatch):
    monkeypatch.setattr(suite_latency, "PRESETS", ("realtime",))
    monkeypatch.setattr(suite_latency, "_run", lambda _: (1.0, 2.0))
    assert run(["latency", str(clip_file), *COMMON[:-1], "2", "--out", str(tmp_path), "--no-report"]) == 0
    rows = {row.point: row for row in results(tmp_path) if row.codec == "gscodec"}
    assert rows["realtime"].figures["encode_spread"] >= 0  # of two encodings
    here = usable_backend("auto")
    others = {backend: rows[f"realtime, {backend}, 4 frames"] for backend in BACKENDS[1:] if backend != here}
    assert others["torch"].status == "skipped"
    for name, row in others.items():
        assert row.status == "ok" or row.note  # what is missing, and what to do
        assert (
            name != "gsplat" or row.status == "ok" or "--backend cpu" in row.note or "pip install" in row.note
        )
