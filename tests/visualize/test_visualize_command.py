"""`gscodec visualize`: what it writes, and that bad input is one line and leaves nothing behind."""

from __future__ import annotations

import os
import re
import tempfile

import cv2
import numpy as np
import pytest
from coded_disc import encode_disc, write_disc, write_matte
from video_clips import write_clip

from cli_tools import contents, disc_frames, fail, succeed
from gscodec import decode_file
from gscodec.video.frame import Frame
from gscodec.video.reader import open_video
from gscodec.visualize.options import NAMES
from gscodec.visualize.scene import scenes, survey
from gscodec.visualize.sheet import panel_size
from gscodec.visualize.views import DEFAULT, VIEWS

SMALL = ("--panel", 120)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("disc")
    write_disc(folder)
    return folder


@pytest.fixture(scope="module")
def without_person(tmp_path_factory):
    return write_disc(tmp_path_factory.mktemp("full"), roi="full")[1]


def draw(*args):
    return succeed("visualize", *args, *SMALL)


def test_every_view_is_named_and_drawn_once_with_a_source(folder, tmp_path):
    assert tuple(VIEWS) == tuple(NAMES)
    assert set(DEFAULT) <= set(VIEWS)
    matte = write_matte(tmp_path)
    args = (folder / "disc.gsv", tmp_path / "a.png", "--source", folder / "disc.mp4", "--roi", matte)
    done = draw(*args, "--what", ",".join(NAMES), "--frames", 2)
    sheet = cv2.imread(str(tmp_path / "a.png"))
    assert re.search(rf"{sheet.shape[1]}x{sheet.shape[0]} pixels\n$", done.stderr)
    assert sheet.shape[0] > len(NAMES) * 80
    assert 2 * 120 < sheet.shape[1] < 3 * 120


def test_a_clip_is_encoded_first_and_nothing_of_that_stays(folder, tmp_path, monkeypatch):
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(scratch))
    out = tmp_path / "a.jpg"
    args = (folder / "disc.mp4", out, "--crf", 40, "--preset", "realtime", "--roi", write_matte(tmp_path))
    assert draw(*args, "-q").stderr == ""
    assert not any(scratch.iterdir())
    assert cv2.imread(str(out)) is not None
    before = out.read_bytes()
    assert "exists already" in fail("visualize", *args)
    assert out.read_bytes() == before
    draw(*args, "-y", "--what", "person", "--frames", 1)
    assert out.read_bytes() != before


def test_the_usual_name_is_the_clips(folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    draw(folder / "disc.gsv", "--what", "ellipses")
    assert os.listdir() == ["disc.png"]


def test_a_video_shows_every_frame_with_its_time(folder, tmp_path):
    draw(folder / "disc.gsv", tmp_path / "a.mp4", "--what", "ellipses,changed,bits,alpha,person")
    with open_video(folder / "disc.mp4") as source, open_video(tmp_path / "a.mp4") as drawn:
        expected, found = ([f for f in reader if isinstance(f, Frame)] for reader in (source, drawn))
        times = [
            [f.pts * r.format.time_base for f in frames] for r, frames in ((source, expected), (drawn, found))
        ]
    assert times[0] == times[1]
    assert len({f.pixels.tobytes() for f in found}) == len(found)
    assert found[0].pixels.shape[1] > 3 * 120


def test_at_chooses_the_frame_that_is_shown_then(folder, tmp_path):
    """Frames are 40 ms apart: at 0.1 s the one of 80 ms stands."""
    facts = survey(folder / "disc.gsv")
    draw(folder / "disc.gsv", tmp_path / "a.png", "--what", "picture", "--at", "0.1")
    width, height = panel_size(facts.video, 120)
    (scene,) = scenes(folder / "disc.gsv", facts, [2], size=(width, height))
    sheet = cv2.imread(str(tmp_path / "a.png"))[:, :, ::-1].astype(int)
    best = min(
        np.abs(sheet[y : y + height, x : x + width] - scene.picture).mean()
        for y in range(sheet.shape[0] - height)
        for x in range(sheet.shape[1] - width)
    )
    assert best < 1


def test_background_may_be_a_picture(folder, tmp_path):
    cv2.imwrite(str(tmp_path / "red.png"), np.full((20, 90, 3), (0, 0, 255), np.uint8))
    shares = {}
    for name in ("checkerboard", "green", str(tmp_path / "red.png")):
        draw(
            folder / "disc.gsv",
            tmp_path / "a.png",
            "-y",
            "--what",
            "person",
            "--frames",
            1,
            "--background",
            name,
        )
        shares[name] = cv2.imread(str(tmp_path / "a.png"))[30:].reshape(-1, 3)
    assert (shares["green"] == (0, 255, 0)).all(axis=1).mean() > 0.1
    assert (shares[str(tmp_path / "red.png")] == (0, 0, 255)).all(axis=1).mean() > 0.1


@pytest.mark.parametrize(
    ("arguments", "expected", "code"),
    [
        (
            "disc.gsv a.png --what ellipse",
            r"--what 'ellipse' is unknown; permitted: source, picture, ell.*person$",
            2,
        ),
        ("disc.gsv a.png --what ,", r"--what ',' is unknown", 2),
        ("disc.gsv a.tiff", r"a\.tiff: .*permitted: \.png, .*\.mp4", 2),
        ("disc.gsv a", r"a: .*permitted: \.png", 2),
        ("disc.gsv a.png --what roi,bits", r"--what roi needs the clip .*disc\.gsv was made of.*--source", 2),
        ("none.mp4 a.png", r"none\.mp4: No such file", 1),
        ("text.txt a.png", r"text\.txt: FFmpeg cannot read it as media", 1),
        ("cut.gsv a.png", r"cut\.gsv: ", 1),
        ("cut.gsv a.mp4", r"cut\.gsv: ", 1),
        (". a.png", r"\.: Is a directory", 1),
        ("disc.gsv nowhere/a.png", r"nowhere/a\.png: cannot be created", 1),
        ("disc.gsv nowhere/a.mp4", r"nowhere/a\.mp4: cannot be created", 1),
        ("disc.gsv disc.mp4", r"disc\.mp4: exists already", 1),
        ("disc.gsv a.png --frames 0", r"--frames 0 is out of range; permitted: 1 to", 2),
        ("disc.gsv a.png --frames 33", r"--frames 33 is out of range", 2),
        ("disc.gsv a.png --frames x", r"invalid int value: 'x'", 2),
        ("disc.gsv a.mp4 --frames 2", r"a video shows all", 2),
        ("disc.gsv a.png --frames 2 --at 0", r"exclude each other", 2),
        ("disc.gsv a.png --at 9", r"--at 9 is after the end; permitted: 0 to 0\.2 seconds", 2),
        ("disc.gsv a.png --at 1,x", r"--at '1,x' is no list of times", 2),
        ("disc.gsv a.png --at nan", r"--at 'nan' is no list of times", 2),
        ("disc.gsv a.png --panel 5", r"--panel 5 is out of range; permitted: 120 to", 2),
        ("disc.gsv a.png --background pink", r"--background 'pink' is neither known nor a file", 2),
        ("disc.gsv a.png --background blur", r"'blur' shows no person alone; permitted: checkerboard", 2),
        ("disc.gsv a.png --background text.txt", r"text\.txt: FFmpeg cannot read", 1),
        ("disc.gsv a.png --source none.mp4 --what roi", r"none\.mp4: ", 1),
        (
            "disc.gsv a.png --source short.mp4 --what source",
            r"the source ends after 3 frames, the \.gsv has 6",
            1,
        ),
        ("disc.gsv a.png --source slow.mp4 --what source", r"frame 1 is at 0\.1.* another clip", 1),
        ("disc.mp4 a.png --preset best", r"--preset 'best' is unknown", 2),
        ("disc.mp4 a.png --crf 99", r"--crf 99 is out of range", 2),
        ("disc.mp4 a.png --size 0x5", r"size '0x5'", 1),
        ("disc.mp4 a.png --start -1", r"--start -1 is out of range", 2),
        ("disc.mp4 a.png --start 99", r"disc\.mp4", 1),
        ("disc.mp4 a.png --roi nobody", r"--roi 'nobody' is neither a mode nor a file", 2),
        ("a b c", r"expected CLIP or FILE\.gsv, and OUT", 2),
        ("", r"expected CLIP or FILE\.gsv.* got nothing", 2),
        (
            "disc.gsv a.png --what picture,ellipses,changed,bits,alpha,person --frames 6 --panel 1920",
            r"at most",
            2,
        ),
    ],
)
def test_bad_input_is_one_line(folder, tmp_path, monkeypatch, arguments, expected, code):
    work = tmp_path / "work"
    work.mkdir()
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    for name in ("disc.gsv", "disc.mp4"):
        (work / name).write_bytes((folder / name).read_bytes())
    (work / "text.txt").write_text("no video")
    (work / "cut.gsv").write_bytes((folder / "disc.gsv").read_bytes()[:-120])
    if "short" in arguments:
        write_clip(work / "short.mp4", disc_frames(3))
    if "slow" in arguments:
        write_clip(work / "slow.mp4", disc_frames(6), pts=[0, 3, 6, 9, 12, 15])
    monkeypatch.chdir(work)
    monkeypatch.setattr(tempfile, "tempdir", str(scratch))
    assert re.search(expected, fail("visualize", *arguments.split(), code=code, folder=work))
    assert contents(scratch) == {}


def test_without_a_person_nobody_is_drawn_alone(without_person, tmp_path):
    line = fail(
        "visualize", without_person, tmp_path / "a.png", "--what", "bits,alpha,person", folder=tmp_path
    )
    assert re.search(r"no person is told from a room; leave alpha,person out of --what", line)
    done = draw(without_person, tmp_path / "a.png")
    assert "the person alone is left out" in done.stderr
    assert "picture, ellipses, changed, bits;" in done.stderr


def test_help_names_every_view():
    text = succeed("visualize", "--help").stdout
    for name in NAMES:
        assert re.search(rf"^  {name} ", text, re.MULTILINE)


def test_a_hybrid_file_shows_its_room_and_says_what_that_costs(tmp_path):
    _, gsv = write_disc(tmp_path, background="hybrid")
    facts = survey(gsv)
    assert facts.has_person
    every = list(scenes(gsv, facts, range(6)))
    assert all(scene.n_room_bytes > 0 for scene in every[:1])
    decode_file(gsv, tmp_path / "a.mkv", vcodec="ffv1", pix_fmt="bgr0")
    with open_video(tmp_path / "a.mkv") as reader:
        shown = [item.pixels for item in reader if isinstance(item, Frame)]
    for scene, pixels in zip(every, shown, strict=True):
        np.testing.assert_array_equal(scene.picture, pixels)


def test_older_coders_can_be_looked_at_too(folder, tmp_path):
    (tmp_path / "x").mkdir()
    gsv = encode_disc(tmp_path / "x", folder / "disc.mp4", entropy="ans", blend="sum", b_frames=False)
    draw(gsv, tmp_path / "a.png")
