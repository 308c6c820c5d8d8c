"""Every codec is scored over one matte, never that of the encoder under test, and every output says which."""

from __future__ import annotations

import csv
import json
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import pytest
from bench_rows import MATTE, row

from gscodec.bench import clips, ours
from gscodec.bench.against import compare
from gscodec.bench.cache import row_from_dict
from gscodec.bench.clips import EXACT, WORDS, load_clips, scoring_matte
from gscodec.bench.command import run
from gscodec.bench.options import BenchOptions
from gscodec.bench.table import matte_line
from gscodec.errors import MediaError
from gscodec.video.frame import Frame, VideoFormat
from gscodec.video.writer import VideoWriter

pytest.importorskip("gscodec.splat._native", reason="no native core", exc_type=ImportError)

SIZE = (96, 64)
COMMON = (
    "--frames",
    "2",
    "--gaussians",
    "30",
    "--preset",
    "realtime",
    "--repeats",
    "1",
    "--protocol",
    "whole",
)


@pytest.fixture
def clip_file(tmp_path, make_clip):
    return write(tmp_path / "disc.mkv", make_clip("disc", *SIZE, 2))


@pytest.fixture
def matte_file(tmp_path):
    """A person in the left half."""
    return write_half(tmp_path / "left.png", np.s_[:, : SIZE[0] // 2])


def write(path, frames):
    height, width = frames[0].shape[:2]
    form = VideoFormat(width, height, Fraction(1, 25), Fraction(25))
    with VideoWriter(path, form, vcodec="ffv1") as writer:
        for i, pixels in enumerate(frames):
            writer.write(Frame(np.ascontiguousarray(pixels), i, 1))
    return path


def write_half(path, where):
    matte = np.zeros(SIZE[::-1], np.uint8)
    matte[where] = 255
    cv2.imwrite(str(path), matte)
    return path


def options(tmp_path, *paths, **values):
    return BenchOptions("quick", paths, tmp_path / "out", **values)


def results(out):
    return [row_from_dict(r) for r in json.loads((out / "results.json").read_text())["rows"]]


@pytest.mark.parametrize("roi", ["human", "portrait", "auto", "mine.png"])
def test_what_the_encoder_takes_for_the_person_is_not_what_it_is_scored_over(tmp_path, roi):
    assert scoring_matte(options(tmp_path, roi=roi)) is None  # the network's, or the demo clip's own
    assert scoring_matte(options(tmp_path, roi=roi, matte="left.png")) == "left.png"


def test_roi_full_counts_all_of_the_picture(tmp_path):
    assert scoring_matte(options(tmp_path, roi="full")) == "full"
    assert scoring_matte(options(tmp_path, roi="full", matte="human")) == "human"


def test_a_clip_is_scored_over_the_network_of_the_original(tmp_path, clip_file, monkeypatch):
    asked = []
    plain = clips.make_matter
    monkeypatch.setattr(clips, "make_matter", lambda roi: asked.append(roi) or plain(roi))
    (clip,) = load_clips(options(tmp_path, clip_file, roi="portrait"), 2, print)
    assert asked == ["portrait", "human"]  # the first only to see that there is one
    assert clip.matte == WORDS["human"]


def test_the_demo_clip_is_scored_over_its_own_matte_or_a_file(tmp_path, matte_file):
    small = {"size": f"{SIZE[0]}x{SIZE[1]}", "roi": "portrait"}
    (own,) = load_clips(options(tmp_path, **small), 1, print)
    (told,) = load_clips(options(tmp_path, **small, matte=str(matte_file)), 1, print)
    assert own.matte == EXACT
    assert told.matte.startswith("left.png, SHA-256 begins ")
    assert (told.mattes[0] == cv2.imread(str(matte_file), cv2.IMREAD_GRAYSCALE)).all()


def test_another_file_of_the_same_name_is_another_matte(tmp_path, clip_file, matte_file):
    def mattes():
        (clip,) = load_clips(options(tmp_path, clip_file, matte=str(matte_file)), 2, print)
        return clip.matte, np.array(clip.mattes)

    left = mattes()
    assert mattes()[0] == left[0]  # from the cache
    write_half(matte_file, np.s_[:, SIZE[0] // 2 :])
    right = mattes()
    assert right[0] != left[0]
    assert (right[1] == 255 - left[1]).all()


@pytest.mark.parametrize("width", [SIZE[0], SIZE[0] - 1])
def test_the_encoder_never_sees_the_matte_of_whole_pictures(
    tmp_path, make_clip, matte_file, monkeypatch, width
):
    """Neither where it reads the clip's file nor where that has an odd size and pictures are handed over."""
    path = write(tmp_path / "disc.mkv", [f[:, :width] for f in make_clip("disc", *SIZE, 2)])
    seen = []
    plain = ours.encode_file
    monkeypatch.setattr(
        ours,
        "encode_file",
        lambda source, target, config, **rest: (
            seen.append(config.roi) or plain(source, target, config, **rest)
        ),
    )
    arguments = ["quick", str(path), *COMMON, "--roi", "full", "--matte", str(matte_file), "--no-report"]
    assert run([*arguments, "--rivals", "", "--out", str(tmp_path / "out")]) == 0
    assert seen == ["full"]


def test_every_output_says_which_matte(tmp_path, clip_file, matte_file, capsys):
    pytest.importorskip("matplotlib")
    out = tmp_path / "out"
    arguments = [
        "quick",
        str(clip_file),
        *COMMON,
        "--roi",
        "full",
        "--matte",
        str(matte_file),
        "--out",
        str(out),
    ]
    assert run(arguments) == 0
    made = results(out)
    assert {r.codec for r in made} == {"gscodec", "x264-veryfast-zerolatency"}
    (said,) = {r.matte for r in made}
    assert said.startswith("left.png, SHA-256 begins ")
    # Half of the picture is scored, for both; the encoder was told that all of it is the person.
    assert all(r.figures["roi_psnr_db"] != r.figures["psnr_db"] for r in made)
    line = f"over one matte, the same for every codec: {said}."
    assert line in capsys.readouterr().out
    for name in ("report.html", "report.md"):
        assert line in (out / name).read_text(encoding="utf-8")
    with open(out / "results.csv", encoding="utf-8") as file:
        assert {r["matte"] for r in csv.DictReader(file)} == {said}


def test_a_chart_says_which_matte(tmp_path):
    pytest.importorskip("matplotlib")
    from gscodec.bench.figures import write_figures
    from gscodec.bench.section import Chart, Section, Series

    chart = Chart("curve", "t", "x", "y", [Series("gscodec", [(1, 1), (2, 2)])])
    write_figures(tmp_path, [Section("rd", "t", "", [], [chart], matte=matte_line([row()]))])
    svg = (tmp_path / "figures" / "curve.svg").read_text(encoding="utf-8")
    assert MATTE in svg  # matplotlib draws letters as paths, and leaves the text beside them


def test_a_matte_that_ends_early_is_one_line(tmp_path, clip_file, capsys):
    short = write(tmp_path / "short.mkv", [np.full((SIZE[1], SIZE[0], 3), 255, np.uint8)])
    arguments = ["quick", str(clip_file), *COMMON, "--matte", str(short), "--out", str(tmp_path / "out")]
    with pytest.raises(MediaError, match="none of the clips"):
        run(arguments)
    assert "ends after 1 pictures but the clip goes on" in capsys.readouterr().err
    assert not list(Path(tmp_path / "out").rglob("*.npz"))


def test_mattes_of_several_clips_are_named_each():
    assert matte_line([row(status="failed", matte="")]) == ""
    assert matte_line([row(), row(clip="b")]).endswith(f": {MATTE}.")
    assert matte_line([row(), row(clip="b", matte="every pixel")]).endswith(
        f": {MATTE}: talk; every pixel: b."
    )


def test_figures_over_other_mattes_are_not_compared():
    said = "talk: the mattes differ (a; b): ROI figures cannot be compared"
    assert said in compare([row(matte="a")], [row(matte="b")])
    assert compare([row(matte="")], [row(matte="b")]) == ["nothing moved by more than the noise"]
