"""Bad input: one clear line on stderr, a non-zero exit code, no traceback, nothing left behind."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from pathlib import Path

import av
import numpy as np
import pytest
from video_clips import SAMPLE_RATE, write_clip, write_sound

from cli_tools import (
    QUICK,
    check_error,
    contents,
    disc_frames,
    encoded,
    fail,
    make_clip,
    start,
    succeed,
)
from gscodec.config import BACKENDS, PRESETS
from gscodec.splat import raster


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    return make_clip(tmp_path_factory.mktemp("clip") / "clip.mp4", 8, audio="aac", n_audio=8)


@pytest.fixture(scope="module")
def small_gsv(clip):
    return encoded(clip, "--frames", 2)


# What cannot be encoded.


def test_missing_file(tmp_path):
    assert "no such file" in fail("encode", tmp_path / "a.mp4", tmp_path / "a.gsv", folder=tmp_path)


@pytest.mark.parametrize("name", ["a.mp4", "a.MKV"])
def test_target_that_names_another_kind_of_video(clip, tmp_path, name):
    assert "is a .gsv" in fail("encode", clip, tmp_path / name, *QUICK, code=2, folder=tmp_path)


def test_encoding_what_is_encoded(small_gsv, tmp_path):
    (tmp_path / "a.gsv").write_bytes(small_gsv)
    assert "is a .gsv already" in fail("encode", tmp_path / "a.gsv", tmp_path / "b.gsv", folder=tmp_path)


def test_directory(tmp_path):
    assert "is a directory" in fail("encode", tmp_path, tmp_path / "a.gsv", folder=tmp_path)


def test_text_file_named_mp4(tmp_path):
    (tmp_path / "a.mp4").write_text("To be, or not to be: that is the question.\n" * 50)
    message = fail("encode", tmp_path / "a.mp4", tmp_path / "a.gsv", folder=tmp_path)
    assert "cannot read it as media" in message


def test_text_file_that_ffmpeg_would_play(tmp_path):
    (tmp_path / "a.txt").write_text("To be, or not to be: that is the question.\n" * 50)
    assert "a.txt" in fail("encode", tmp_path / "a.txt", tmp_path / "a.gsv", folder=tmp_path)


def test_empty_file(tmp_path):
    (tmp_path / "a.mp4").touch()
    assert "is empty" in fail("encode", tmp_path / "a.mp4", tmp_path / "a.gsv", folder=tmp_path)


def test_audio_only(tmp_path):
    with av.open(str(tmp_path / "a.m4a"), "w", format="mp4") as out:
        write_sound(out, out.add_stream("aac", rate=SAMPLE_RATE), 8)
    message = fail("encode", tmp_path / "a.m4a", tmp_path / "a.gsv", folder=tmp_path)
    assert "holds no video, only audio (aac)" in message


def test_zero_frames(tmp_path):
    (tmp_path / "a.y4m").write_bytes(b"YUV4MPEG2 W48 H32 F25:1 Ip A1:1 C420jpeg\n")
    assert "a.y4m" in fail("encode", tmp_path / "a.y4m", tmp_path / "a.gsv", folder=tmp_path)


def test_range_without_frames(clip, tmp_path):
    message = fail("encode", clip, tmp_path / "a.gsv", "--start", 100, *QUICK, folder=tmp_path)
    assert "give an earlier start" in message


def test_mp4_cut_in_half_gives_what_is_there_and_says_so(tmp_path):
    options = {"movflags": "+faststart"}
    whole = make_clip(tmp_path / "whole.mp4", 30, options={"crf": "4", "g": "5"}, container_options=options)
    data = whole.read_bytes()
    (tmp_path / "cut.mp4").write_bytes(data[: len(data) // 2 + 500])
    done = succeed("encode", tmp_path / "cut.mp4", tmp_path / "a.gsv", *QUICK)
    warning, summary = done.stderr.splitlines()[-2:]
    assert warning.startswith("gscodec: warning: ")
    assert "bytes are missing; what was there is used" in warning
    n_frames = int(summary.split(": ")[1].split(" frames")[0])
    assert 5 <= n_frames < 30
    assert f"{n_frames} frames" in succeed("info", tmp_path / "a.gsv").stdout


def test_mp4_cut_before_its_index_is_unreadable(clip, tmp_path):
    data = clip.read_bytes()
    (tmp_path / "cut.mp4").write_bytes(data[: len(data) // 2])
    assert "cut.mp4" in fail("encode", tmp_path / "cut.mp4", tmp_path / "a.gsv", folder=tmp_path)


# Where nothing can be written.


@pytest.mark.parametrize("command", ["encode", "decode"])
def test_unwritable_output(command, clip, small_gsv, tmp_path):
    (tmp_path / "a.gsv").write_bytes(small_gsv)
    source = clip if command == "encode" else tmp_path / "a.gsv"
    suffix = "gsv" if command == "encode" else "mp4"
    (tmp_path / "file").touch()
    quick = QUICK if command == "encode" else ()
    for target in (tmp_path / "nowhere" / f"b.{suffix}", tmp_path / "file" / f"b.{suffix}"):
        message = fail(command, source, target, *quick, folder=tmp_path)
        assert "give a folder that exists and is writable" in message
    (tmp_path / f"folder.{suffix}").mkdir()
    message = fail(command, source, tmp_path / f"folder.{suffix}", "-y", *quick, folder=tmp_path)
    assert "is a directory" in message


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_folder_without_permission(clip, tmp_path):
    folder = tmp_path / "locked"
    folder.mkdir(mode=0o500)
    assert "Permission denied" in fail("encode", clip, folder / "a.gsv", *QUICK, folder=folder)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="Linux has a device that is always full")
def test_full_device(clip, small_gsv, tmp_path):
    (tmp_path / "a.gsv").write_bytes(small_gsv)
    decode = ("decode", tmp_path / "a.gsv", "/dev/full", "-f", "mp4")
    for args in (("encode", clip, "/dev/full", *QUICK), decode):
        process = start(*args)
        stdout, stderr = process.communicate(timeout=60)
        check_error(process.returncode, stdout, stderr, 1)
        assert "/dev/full: " in stderr
        assert "No space left on device" in stderr


@pytest.mark.parametrize("command", ["encode", "decode"])
def test_disk_that_fills_up_midway(command, clip, tmp_path):
    """A limit on the size of files stands in for a full disk."""
    succeed("encode", clip, tmp_path / "a.gsv", "--gop", 2, *QUICK)
    args = [command, str(clip), str(tmp_path / "b.gsv"), "--gop", "2", *QUICK]
    if command == "decode":
        args = [command, str(tmp_path / "a.gsv"), str(tmp_path / "b.mp4")]
    before = contents(tmp_path)
    done = subprocess.run(
        [sys.executable, "-m", "gscodec", *args],
        capture_output=True,
        text=True,
        timeout=60,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (600, 600)),
    )
    check_error(done.returncode, done.stdout, done.stderr, 1)
    assert "File too large" in done.stderr
    assert contents(tmp_path) == before


# Settings that cannot be.


@pytest.mark.parametrize(
    ("option", "value", "permitted"),
    [
        ("--gaussians", 0, "1 to"),
        ("--gaussians", -5, "1 to"),
        ("--gaussians", "many", "not a valid integer"),
        ("--gop", 0, "1 to 65536"),
        ("--size", "-640x360", "WxH such as 640x360, 360p, each 1 to 65535, or 2x"),
        ("--size", "0x0", "WxH such as 640x360, 360p, each 1 to 65535, or 2x"),
        ("--size", "99999x2", "each 1 to 65535"),
        ("--size", "0x", "or 2x, times as large"),
        ("--size", "nanx", "or 2x, times as large"),
        ("--size", "big", "WxH such as 640x360, 360p, each 1 to 65535, or 2x"),
        ("--start", -1, "0 seconds or more"),
        ("--start", "nan", "0 seconds or more"),
        ("--duration", 0, "more than 0"),
        ("--duration", "nan", "more than 0"),
        ("--frames", 0, "x>=1"),
        ("--iterations", -1, "0 to"),
        ("--quality", 0, "0.05 to 20"),
        ("--quality", "nan", "0.05 to 20"),
        ("--background-share", 1, "0 to 0.9"),
        ("--target-psnr", 0, "5 to 80"),
        ("--threads", -1, "0 to 256"),
        ("--crf", 60, "0 to 51"),
        ("--bitrate", 0, "1 to"),
        ("--deadline", 0, "1 to 60000"),
        ("--preset", "fastest", ", ".join(PRESETS)),
        ("--backend", "opengl", ", ".join(BACKENDS)),
        ("--background", "blue", "coarse, none"),
        ("--init", "magic", "superpixels, random, fast-slic"),
        ("--entropy", "zip", "ans"),
        ("--progress", "loud", "'auto', 'bar', 'lines', 'json', 'none'"),
        ("--roi", "humans", "auto, human, portrait, full"),
        ("--gausians", 5, "--gaussians"),
    ],
)
def test_impossible_option_names_what_is_permitted(option, value, permitted, clip, tmp_path):
    message = fail("encode", clip, tmp_path / "a.gsv", option, value, code=2, folder=tmp_path)
    assert permitted in message
    assert option in message or option == "--gausians"


@pytest.mark.parametrize(
    ("option", "value", "permitted", "code"),
    [
        ("--crf", -1, "x>=0", 2),
        ("--crf", "nan", "", 1),
        ("--frames", 0, "x>=1", 2),
        ("--threads", -1, "x>=0", 2),
        ("--backend", "opengl", "auto, ", 2),
        ("--vcodec", "h265000", "libx264", 1),
        ("--container", "box", "mp4, mov, mkv", 1),
        ("--background", "beige", "#rrggbb or black", 2),
        ("--background", "blur:0", "more than 0", 2),
        ("--background", "blur:-1", "more than 0", 2),
        ("--background", "blur:x", "more than 0", 2),
        ("--background", "transparent", ".mov (prores_ks", 1),
        ("--background", "/", "expected a picture or a video", 1),
        ("--matte-out", "-", "matte.mkv", 2),
        ("--matte-out", "mattes.xyz", "mp4, mov, mkv", 1),
        ("--size", "0x0", "each 1 to 65535", 2),
        ("--size", "100000x100000", "each 1 to 65535", 2),
        ("--size", "0p", "each 1 to 65535", 2),
        ("--size", "0x", "or 2x, times as large", 2),
        ("--size", "2", "or 2x, times as large", 2),
        ("--size", "60000x60000", "at most 67108864 pixels", 1),
        ("--size", "999x", "at most 67108864 pixels", 1),
        ("--size", "0.001x", "at least 1x1", 1),
        ("--size", "16390x64", "libx264", 1),
        ("--fps", 0, "0.01 to 1000", 2),
        ("--fps", "nan", "0.01 to 1000", 2),
        ("--fps", "1e9", "0.01 to 1000", 2),
        ("--fps", "30/0", "0.01 to 1000", 2),
        ("--fps", "fast", "0.01 to 1000", 2),
        ("--max-gaussians", 0, "x>=1", 2),
        ("--max-gaussians", "all", "not a valid integer", 2),
    ],
)
def test_impossible_option_of_decode(option, value, permitted, code, small_gsv, tmp_path):
    (tmp_path / "a.gsv").write_bytes(small_gsv)
    args = ("decode", tmp_path / "a.gsv", tmp_path / "a.mp4", option, value)
    assert permitted in fail(*args, code=code, folder=tmp_path)


@pytest.mark.parametrize("name", ["empty.png", "text.jpg", "cut.mp4"])
def test_background_that_cannot_be_read(name, small_gsv, tmp_path):
    gsv, target = tmp_path / "a.gsv", tmp_path / "a.mp4"
    gsv.write_bytes(small_gsv)
    (tmp_path / name).write_bytes(b"" if name == "empty.png" else b"no picture at all " * 99)
    message = fail("decode", gsv, target, "--background", tmp_path / name, folder=tmp_path)
    assert f"background {tmp_path / name}" in message


def test_background_without_pictures(small_gsv, tmp_path):
    (tmp_path / "a.gsv").write_bytes(small_gsv)
    with av.open(str(tmp_path / "sound.mkv"), "w") as out:
        stream = out.add_stream("pcm_s16le", rate=8000)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 800), np.int16), "s16", "mono")
        frame.rate = 8000
        out.mux(stream.encode(frame))
    arguments = ("decode", tmp_path / "a.gsv", tmp_path / "a.mp4", "--background", tmp_path / "sound.mkv")
    assert "background " in fail(*arguments, folder=tmp_path)


def test_room_and_background_exclude_each_other(small_gsv, tmp_path):
    (tmp_path / "a.gsv").write_bytes(small_gsv)
    arguments = ("decode", tmp_path / "a.gsv", tmp_path / "a.mp4", "--person-removed", "--background", "red")
    assert "leave one out" in fail(*arguments, code=2, folder=tmp_path)


def test_mattes_destroy_nothing(small_gsv, tmp_path):
    gsv, target = tmp_path / "a.gsv", tmp_path / "a.mkv"
    gsv.write_bytes(small_gsv)
    assert "is the target too" in fail("decode", gsv, target, "--matte-out", target, code=2, folder=tmp_path)
    assert "same file" in fail("decode", gsv, target, "--matte-out", gsv, "-y", folder=tmp_path)
    (tmp_path / "m.mkv").write_bytes(b"here before")
    assert "-y overwrites" in fail("decode", gsv, target, "--matte-out", tmp_path / "m.mkv", folder=tmp_path)
    arguments = ("decode", gsv, tmp_path / "m.mkv", "-y", "--background", tmp_path / "m.mkv")
    assert "is the background too" in fail(*arguments, folder=tmp_path)


def test_unknown_container(small_gsv, tmp_path):
    (tmp_path / "a.gsv").write_bytes(small_gsv)
    assert "mp4, mov, mkv" in fail("decode", tmp_path / "a.gsv", tmp_path / "a.xyz", folder=tmp_path)


@pytest.mark.parametrize("name", ["torch", "cuda", "gsplat"])
def test_backend_that_is_missing_says_what_to_do(name, clip, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, raster.MODULES[name], None)
    message = fail("encode", clip, tmp_path / "a.gsv", "--backend", name, *QUICK, folder=tmp_path)
    assert "pip install" in message


# Odd, but not bad.


def test_one_frame(tmp_path):
    make_clip(tmp_path / "a.mp4", 1)
    succeed("encode", tmp_path / "a.mp4", tmp_path / "a.gsv", *QUICK)
    succeed("decode", tmp_path / "a.gsv", tmp_path / "b.mp4")
    with av.open(str(tmp_path / "b.mp4")) as container:
        assert sum(1 for _ in container.decode(video=0)) == 1


@pytest.mark.parametrize(("width", "height"), [(2, 2), (1, 1), (3, 1), (1, 64), (33, 31)])
@pytest.mark.parametrize("options", [("--roi", "full"), ("--roi", "auto"), ("--background", "none")])
def test_tiny_and_odd_pictures(width, height, options, tmp_path):
    frames = disc_frames(3, width, height)
    write_clip(tmp_path / "a.mov", frames, codec="png", pix_fmt="rgb24")
    succeed("encode", tmp_path / "a.mov", tmp_path / "a.gsv", *QUICK, *options)
    succeed("decode", tmp_path / "a.gsv", tmp_path / "b.mov", "--vcodec", "png")
    with av.open(str(tmp_path / "b.mov")) as container:
        shapes = [frame.to_ndarray(format="rgb24").shape for frame in container.decode(video=0)]
    assert shapes == [(height, width, 3)] * 3


def test_clip_that_changes_resolution_midway(tmp_path):
    parts = [disc_frames(3, 48, 32), disc_frames(3, 64, 48)]
    data = b""
    for n, frames in enumerate(parts):
        path = write_clip(tmp_path / f"{n}.ts", frames, options={"crf": "4", "bf": "0"}, pix_fmt="yuv420p")
        data += path.read_bytes()
    (tmp_path / "a.ts").write_bytes(data)
    done = succeed("encode", tmp_path / "a.ts", tmp_path / "a.gsv", *QUICK)
    assert "the picture size changes from 48x32 to 64x48 midway" in done.stderr
    succeed("decode", tmp_path / "a.gsv", tmp_path / "b.mp4")
    with av.open(str(tmp_path / "b.mp4")) as container:
        shapes = {f.to_ndarray(format="rgb24").shape for f in container.decode(video=0)}
    assert shapes == {(32, 48, 3)}


def test_flat_black_and_noise(tmp_path):
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 256, (3, 32, 48, 3), np.uint8)
    for pictures in (np.zeros_like(noise), noise):
        write_clip(tmp_path / "a.mkv", pictures, codec="ffv1", pix_fmt="bgr0")
        succeed("encode", "-y", tmp_path / "a.mkv", tmp_path / "a.gsv", *QUICK)
        succeed("decode", "-y", tmp_path / "a.gsv", tmp_path / "b.mp4")
