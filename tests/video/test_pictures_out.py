"""Pictures as a target: numbered files, one picture, raw ones; all or nothing on disk."""

import subprocess
import sys
from dataclasses import replace
from fractions import Fraction

import av
import numpy as np
import pytest
from video_clips import moving_square

from gscodec import interrupts
from gscodec.errors import MediaError
from gscodec.filenames import is_pattern, numbered
from gscodec.video.frame import Frame, SideStream, VideoFormat
from gscodec.video.reader import open_video
from gscodec.video.writer import VideoWriter

FORM = VideoFormat(32, 24, Fraction(1, 90_000), Fraction(25))
TIMES = (0, 3600, 9000, 9001)  # pictures are numbered whatever the times


def write(path, form=FORM, n=4, **settings):
    pictures = list(moving_square(n, form.width, form.height))
    with VideoWriter(path, form, **settings) as writer:
        for time, pixels in zip(TIMES, pictures, strict=False):
            writer.write(Frame(pixels.copy(), time, 1))
    return writer, pictures


def decoded(path):
    with av.open(str(path)) as container:
        return [f.to_ndarray(format="rgb24") for f in container.decode(video=0)]


@pytest.mark.parametrize("size", [(32, 24), (33, 23)])
@pytest.mark.parametrize(("extension", "error"), [("png", 0), ("jpg", 2), ("JPEG", 2), ("webp", 8)])
def test_numbered_pictures(tmp_path, extension, error, size):
    form = replace(FORM, width=size[0], height=size[1], matrix=1)
    (tmp_path / "100% %d").mkdir()
    folder = tmp_path / "100% %d"
    writer, pictures = write(folder / f"f-%03d.{extension}", form)
    assert (writer.warnings, writer.notes) == ([], [])
    names = sorted(p.name for p in folder.iterdir())
    assert names == [f"f-00{i}.{extension}" for i in range(1, 5)]
    if extension == "JPEG":
        return
    for name, picture in zip(names, pictures, strict=True):
        with open_video(folder / name) as reader:
            got = next(iter(reader)).pixels
        assert np.abs(got.astype(int) - picture).mean() <= error


def test_later_pictures_are_as_good_as_the_first(tmp_path):
    noise = np.random.default_rng(1).integers(0, 256, (24, 32, 3), dtype=np.uint8)
    with VideoWriter(tmp_path / "%d.jpg", FORM) as writer:
        for i in range(30):
            writer.write(Frame(noise, i, 1))
    assert (tmp_path / "1.jpg").stat().st_size == (tmp_path / "30.jpg").stat().st_size


def test_names():
    assert [is_pattern(n) for n in ("%d.png", "a/%05d.JPG", "a%%%d.webp")] == [True] * 3
    assert [is_pattern(n) for n in ("a.png", "%d/a.png", "%d.mp4", "-", "x.gsv")] == [False] * 5
    assert numbered("100%/a%%%03d.png", 7) == "100%/a%007.png"
    assert numbered("%d.png", 12345) == "12345.png"
    for bad in ("%s.png", "100%.png", "%d-%d.png", "%x%d.png", "%%.png", "%99999d.png"):
        with pytest.raises(MediaError, match=r"expected one number such as %05d"):
            is_pattern(bad)


def test_one_picture(tmp_path):
    _, pictures = write(tmp_path / "x.png", n=1)
    np.testing.assert_array_equal(decoded(tmp_path / "x.png")[0], pictures[0])
    before = (tmp_path / "x.png").read_bytes()
    with pytest.raises(MediaError, match=r"is one picture.*number them \(.*x%05d\.png\) or take --frames 1"):
        write(tmp_path / "x.png", n=2)
    assert [p.name for p in tmp_path.iterdir()] == ["x.png"]
    assert (tmp_path / "x.png").read_bytes() == before


def test_nothing_is_left_after_an_error_and_old_pictures_stay(tmp_path):
    (tmp_path / "2.png").write_bytes(b"old")
    writer = VideoWriter(tmp_path / "%d.png", FORM)
    for i in range(3):
        writer.write(Frame(np.zeros((24, 32, 3), np.uint8), i, 1))
    assert len(interrupts.unfinished) == 1
    with pytest.raises(MediaError, match="later one"), writer:
        writer.write(Frame(np.zeros((24, 32, 3), np.uint8), 0, 1))
    assert [p.name for p in tmp_path.iterdir()] == ["2.png"]
    (tmp_path / "3.png").mkdir()
    with pytest.raises(MediaError, match=r"3\.png: is a directory"):
        write(tmp_path / "%d.png")
    assert (tmp_path / "2.png").read_bytes() == b"old"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["2.png", "3.png"]
    assert not interrupts.unfinished


def test_sound_is_left_out_with_a_line(tmp_path):
    from gscodec.video.sidestreams import describe  # what a source gives

    source = tmp_path / "a.mkv"
    with av.open(str(source), "w") as out:
        sound = out.add_stream("flac", rate=48_000)
        block = av.AudioFrame.from_ndarray(np.zeros((1, 2048), np.int16), format="s16", layout="stereo")
        block.sample_rate = 48_000
        out.mux([*sound.encode(block), *sound.encode(None)])
    with av.open(str(source)) as container:
        side: SideStream = describe(container.streams[0], Fraction(1, 1000))
    for name, what in (("%d.png", "image2"), ("a.yuv", "rawvideo"), ("a.y4m", "yuv4mpegpipe")):
        writer, _ = write(tmp_path / name, replace(FORM, time_base=Fraction(1, 25)), n=1, side_streams=[side])
        assert writer.warnings == [f"{what} cannot hold audio stream 0 (flac); it is left out"]


@pytest.mark.parametrize(
    ("name", "settings", "pix_fmt"),
    [
        ("a.yuv", {}, "yuv420p"),
        ("a.rgb", {}, "rgb24"),
        ("a.bin", {"container": "rawvideo"}, "rgb24"),
        ("a.bin", {"container": "rawvideo", "vcodec": "rawvideo", "pix_fmt": "bgr24"}, "bgr24"),
        ("a.yuv", {"pix_fmt": "yuv444p", "crf": 20}, "yuv444p"),
    ],
)
def test_raw_pictures(tmp_path, name, settings, pix_fmt):
    writer, pictures = write(tmp_path / name, **settings)
    assert writer.notes == [
        f"{tmp_path / name}: raw pictures without a head: 32x24, {pix_fmt}, 25 frames a second"
    ]
    raw = np.fromfile(tmp_path / name, np.uint8)
    n_bytes = av.VideoFormat(pix_fmt, 32, 24).padded_bits_per_pixel * 32 * 24 // 8
    assert len(raw) == 4 * n_bytes
    if "yuv" not in pix_fmt:
        expected = np.stack(pictures)[..., :: -1 if pix_fmt == "bgr24" else 1]
        np.testing.assert_array_equal(raw.reshape(4, 24, 32, 3), expected)
    elif pix_fmt == "yuv420p":  # limited range BT.601: the blue of the ground
        assert abs(int(raw[0]) - round(16 + (65.5 * 40 + 128.6 * 90 + 25 * 160) / 255)) <= 1


def test_an_odd_size_is_raw_444(tmp_path):
    writer, _ = write(tmp_path / "a.yuv", replace(FORM, width=33))
    assert "33x24, yuv444p," in writer.notes[0]
    assert (tmp_path / "a.yuv").stat().st_size == 4 * 3 * 33 * 24


@pytest.mark.parametrize(
    ("name", "encoder"),
    [
        *((f"a.{extension}", "rawvideo") for extension in ("mkv", "avi", "mov", "nut")),
        *((f"a.{extension}", "ffv1") for extension in ("mkv", "avi")),
        *(("a.mov", "png"), ("a.mov", "qtrle"), ("a.avi", "utvideo"), ("a.avi", "huffyuv")),
    ],
)
def test_lossless_encoders_lose_nothing_unless_told_to(tmp_path, name, encoder):
    rng = np.random.default_rng(2)
    given = [rng.integers(0, 256, (24, 32, 3), dtype=np.uint8) for _ in range(2)]
    form = replace(FORM, time_base=Fraction(1, 25), matrix=1)
    with VideoWriter(tmp_path / name, form, vcodec=encoder) as writer:
        for i, pixels in enumerate(given):
            writer.write(Frame(pixels, i, 1))
    np.testing.assert_array_equal(decoded(tmp_path / name), given)
    if encoder == "ffv1":
        write(tmp_path / name, form, n=1, vcodec=encoder, pix_fmt="yuv420p")
        with av.open(str(tmp_path / name)) as container:
            assert container.streams.video[0].format.name == "yuv420p"


def test_an_interrupted_run_leaves_no_pictures(tmp_path):
    """As Ctrl-C does it: the process is gone at once, and so is the hidden folder."""
    code = (
        "import os, signal, sys, time, numpy as np; from gscodec import interrupts\n"
        "from gscodec.video.frame import Frame, VideoFormat; from gscodec.video.writer import VideoWriter\n"
        "from fractions import Fraction\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler); interrupts.install()\n"
        "writer = VideoWriter(sys.argv[1], VideoFormat(32, 24, Fraction(1, 25), Fraction(25)))\n"
        "writer.write(Frame(np.zeros((24, 32, 3), np.uint8), 0, 1))\n"
        "os.kill(os.getpid(), signal.SIGINT); time.sleep(20)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "%d.png")], capture_output=True, timeout=60, text=True
    )
    assert (done.returncode, done.stderr) == (130, "gscodec: error: interrupted\n")
    assert list(tmp_path.iterdir()) == []
