"""What `gscodec decode` writes under which name: raw pictures, numbered ones, lossless ones."""

from __future__ import annotations

import av
import numpy as np
import pytest

from cli_tools import QUICK, contents, fail, make_clip, succeed


@pytest.fixture(scope="module")
def coded(tmp_path_factory):
    """A .gsv of three frames of 48x32, and the pictures that decoding gives."""
    folder = tmp_path_factory.mktemp("coded")
    make_clip(folder / "a.mp4", 3)
    succeed("encode", folder / "a.mp4", folder / "a.gsv", *QUICK)
    succeed("decode", folder / "a.gsv", folder / "a.mkv", "--vcodec", "ffv1")
    with av.open(str(folder / "a.mkv")) as container:
        assert container.streams.video[0].format.name == "bgr0"
        pictures = [f.to_ndarray(format="rgb24") for f in container.decode(video=0)]
    return folder / "a.gsv", np.stack(pictures)


@pytest.mark.parametrize(
    ("args", "pix_fmt"),
    [
        (("a.rgb",), "rgb24"),
        (("a.bin", "-f", "rawvideo"), "rgb24"),
        (("a.yuv",), "yuv420p"),
        (("a.yuv", "--pix-fmt", "yuv444p"), "yuv444p"),
    ],
)
def test_raw_pictures_are_raw(tmp_path, coded, args, pix_fmt):
    source, pictures = coded
    result = succeed("decode", source, tmp_path / args[0], *args[1:])
    assert f"raw pictures without a head: 48x32, {pix_fmt}, 25 frames a second\n" in result.stderr
    raw = np.fromfile(tmp_path / args[0], np.uint8)
    if pix_fmt == "rgb24":
        np.testing.assert_array_equal(raw.reshape(pictures.shape), pictures)
    else:
        assert len(raw) == 3 * 48 * 32 * (3 if "444" in pix_fmt else 1.5)
    assert "raw" not in succeed("decode", source, tmp_path / args[0], *args[1:], "-y", "-q").stderr


def test_numbered_pictures(tmp_path, coded):
    source, pictures = coded
    succeed("decode", source, tmp_path / "%05d.png")
    assert sorted(contents(tmp_path)) == ["00001.png", "00002.png", "00003.png"]
    for i, picture in enumerate(pictures, 1):
        with av.open(str(tmp_path / f"{i:05d}.png")) as container:
            got = next(container.decode(video=0)).to_ndarray(format="rgb24")
        np.testing.assert_array_equal(got, picture)
    message = fail("decode", source, tmp_path / "%05d.png", folder=tmp_path)
    assert "00001.png: exists already; -y overwrites it" in message
    succeed("decode", source, tmp_path / "%05d.png", "-y")


def test_one_picture(tmp_path, coded):
    source, _ = coded
    succeed("decode", source, tmp_path / "x.png", "--frames", 1)
    message = fail("decode", source, tmp_path / "y.png", folder=tmp_path)
    assert "is one picture, and a second frame came; number them (" in message
    assert "y%05d.png) or take --frames 1" in message


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (("a.yuv", "--vcodec", "libx264"), "holds raw pictures, not libx264"),
        (("a.mp4", "--pix-fmt", "nonsense"), "libx264 has no pix_fmt 'nonsense'; permitted: yuv420p"),
        (("a.yuv", "--pix-fmt", "nonsense"), "'nonsense' is unknown to FFmpeg"),
        (("%x.png",), "expected one number such as %05d"),
        (("no/%d.png",), "there is no folder"),
        (("%d.png", "--vcodec", "libx264"), "makes no such picture; permitted: png"),
    ],
)
def test_bad_targets_are_one_clear_line(tmp_path, coded, args, words):
    assert words in fail("decode", coded[0], tmp_path / args[0], *args[1:], folder=tmp_path)


def test_pix_fmt_is_used(tmp_path, coded):
    succeed("decode", coded[0], tmp_path / "a.mp4", "--pix-fmt", "yuv444p")
    with av.open(str(tmp_path / "a.mp4")) as container:
        assert container.streams.video[0].format.name == "yuv444p"


def test_a_gsv_is_not_named_like_pictures(tmp_path):
    make_clip(tmp_path / "a.mp4", 1)
    for name in ("%d.png", "x.yuv", "x.webp"):
        assert "is a .gsv" in fail("encode", tmp_path / "a.mp4", tmp_path / name, code=2, folder=tmp_path)
