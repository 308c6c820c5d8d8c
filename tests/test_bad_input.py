"""Bad input: one clear line on stderr, a non-zero exit code, no traceback, nothing left behind."""

from __future__ import annotations

import io
import os
import random
import resource
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from video_clips import SAMPLE_RATE, write_clip, write_sound

from cli_tools import QUICK, check_error, contents, disc_frames, fail, make_clip, run, start, succeed
from gscodec.config import BACKENDS, PRESETS, DecoderLimits
from gscodec.container import headers
from gscodec.container.container import GsvReader, GsvWriter, Packet, Stream
from gscodec.container.headers import SIGNATURE, checksum
from gscodec.splat import raster


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    return make_clip(tmp_path_factory.mktemp("clip") / "clip.mp4", 8, audio="aac", n_audio=8)


@pytest.fixture(scope="module", params=["adaptive", "ans", "zstd"])
def gsv(request, clip):
    """A .gsv of two GOPs with sound, in memory, once for each entropy coder."""
    path = clip.with_name(f"{request.param}.gsv")
    succeed("encode", clip, path, "--gop", 4, "--entropy", request.param, *QUICK)
    return path.read_bytes()


@pytest.fixture(scope="module")
def small_gsv(clip):
    path = clip.with_name("small.gsv")
    succeed("encode", clip, path, "--frames", 2, *QUICK)
    return path.read_bytes()


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


def test_unknown_container(small_gsv, tmp_path):
    (tmp_path / "a.gsv").write_bytes(small_gsv)
    assert "mp4, mov, mkv" in fail("decode", tmp_path / "a.gsv", tmp_path / "a.xyz", folder=tmp_path)


@pytest.mark.parametrize("name", ["torch", "cuda", "gsplat"])
def test_backend_that_is_missing_says_what_to_do(name, clip, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, raster.MODULES[name], None)
    message = fail("encode", clip, tmp_path / "a.gsv", "--backend", name, *QUICK, folder=tmp_path)
    assert "pip install" in message


# Files that are no whole .gsv.


def decode_fails(data: bytes, folder: Path, *args: object) -> str:
    """Decode and inspect `data`: both must end in one line; return decode's."""
    (folder / "bad.gsv").write_bytes(data)
    fail("info", folder / "bad.gsv", folder=folder)
    return fail("decode", folder / "bad.gsv", folder / "out.mp4", *args, folder=folder)


@pytest.mark.parametrize("command", ["info", "decode"])
def test_gsv_that_is_not_there(command, tmp_path):
    target = (tmp_path / "a.mp4",) if command == "decode" else ()
    assert "No such file" in fail(command, tmp_path / "a.gsv", *target, folder=tmp_path)
    assert "Is a directory" in fail(command, tmp_path, *target, folder=tmp_path)


@pytest.mark.parametrize("data", [b"", b"GIF89a", b"RIFF" + bytes(100), SIGNATURE[:5]])
def test_wrong_magic(data, tmp_path):
    assert "bad.gsv: " in decode_fails(data, tmp_path)


def test_video_taken_for_a_gsv(clip, tmp_path):
    decode_fails(clip.read_bytes(), tmp_path)


@pytest.mark.parametrize("n_kept", range(0, 100, 3))
def test_cut_gsv(n_kept, gsv, tmp_path):
    decode_fails(gsv[: len(gsv) * n_kept // 100], tmp_path)


@pytest.mark.parametrize("n_missing", [1, 2, 9, 20])
def test_gsv_without_its_last_bytes(n_missing, gsv, tmp_path):
    decode_fails(gsv[:-n_missing], tmp_path)


def test_cut_gsv_gives_what_is_there_on_request(gsv, tmp_path):
    with GsvReader(io.BytesIO(gsv)) as reader:
        ends = [reader.offset for packet in reader if packet.stream == 0]
    (tmp_path / "cut.gsv").write_bytes(gsv[: ends[5] - 1])
    done = succeed("decode", tmp_path / "cut.gsv", tmp_path / "a.mp4", "--allow-partial")
    assert "gscodec: warning: stopped after 5 frames: " in done.stderr
    with av.open(str(tmp_path / "a.mp4")) as container:
        assert sum(1 for _ in container.decode(video=0)) == 5
    (tmp_path / "cut.gsv").write_bytes(gsv[:30])
    fail("decode", tmp_path / "cut.gsv", tmp_path / "b.mp4", "--allow-partial", folder=tmp_path)


def test_every_flipped_byte_is_noticed(small_gsv, tmp_path):
    """Also where the damaged length makes the rest of the file nonsense."""
    bad = tmp_path / "bad.gsv"
    for at in (*range(150), *range(150, len(small_gsv) - 60, 5), *range(len(small_gsv) - 60, len(small_gsv))):
        damaged = bytearray(small_gsv)
        damaged[at] ^= 1 << at % 8
        bad.write_bytes(damaged)
        fail("info", bad)
        if at % 20 == 0:
            fail("decode", bad, tmp_path / "out.mp4", folder=tmp_path)


def test_bytes_behind_the_end_are_left_alone(small_gsv, tmp_path):
    """A .gsv may be followed by something else, as in a stream."""
    (tmp_path / "a.gsv").write_bytes(small_gsv + b"more")
    succeed("decode", tmp_path / "a.gsv", tmp_path / "a.mp4")


def with_header(data: bytes, version: bytes, body: bytes | None = None) -> bytes:
    """`data` with another version or header, and a check sum that fits."""
    n = data[10]
    assert n < 0x80 or data[11] < 0x80
    n_length = 1 if n < 0x80 else 2
    n = n if n < 0x80 else n & 0x7F | data[11] << 7
    start = 10 + n_length
    body = data[start : start + n] if body is None else body
    length = bytes([len(body)]) if len(body) < 0x80 else bytes([len(body) & 0x7F | 0x80, len(body) >> 7])
    head = SIGNATURE + version + length + body
    n_sum = 2 if 10 + n_length + n < headers.CRC16_BELOW else 4
    return head + checksum(head) + data[start + n + n_sum :]


def test_newer_version(small_gsv, tmp_path):
    assert with_header(small_gsv, bytes([1, 0])) == small_gsv
    assert "version 2" in decode_fails(with_header(small_gsv, bytes([2, 0])), tmp_path)


def gsv_with(sequence: dict[str, int], payloads: list[bytes]) -> bytes:
    """A whole file with these fields of the sequence header."""
    values = {field.name: field.low for field in headers.SEQUENCE_HEADER}
    values |= {"frame_rate_num": 25, "quality_q8": 256, **sequence}
    file = io.BytesIO()
    stream = Stream("video", "gsv", Fraction(1, 25), headers.pack(headers.SEQUENCE_HEADER, values), 1)
    with GsvWriter(file, [stream]) as writer:
        for pts, payload in enumerate(payloads):
            writer.write(Packet(0, pts, pts == 0, payload, 1))
    return file.getvalue()


def test_size_past_the_limits_takes_no_memory(tmp_path):
    """65535x65535 pixels would be 12 GB in 8 bits; the whole process stays small."""
    data = gsv_with({"width": 65535, "height": 65535}, [b"x"])
    (tmp_path / "big.gsv").write_bytes(data)
    for args in (("info",), ("decode", tmp_path / "out.mp4")):
        command = [sys.executable, "-m", "gscodec", args[0], tmp_path / "big.gsv", *args[1:]]
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            timeout=60,
            preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (4 << 30, 4 << 30)),
        )
        check_error(done.returncode, done.stdout, done.stderr, 1)
        assert "limit: 67108864" in done.stderr


@pytest.mark.parametrize("sequence", [{"profile": 200}, {"blend": 200}, {"width": 60000, "height": 60000}])
def test_sequence_header_that_this_version_cannot_decode(sequence, tmp_path):
    decode_fails(gsv_with({"width": 8, "height": 8, **sequence}, [b"x"]), tmp_path)


@pytest.mark.parametrize("entropy", range(len(headers.ENTROPY_CODES)))
def test_payload_that_is_nonsense(entropy, tmp_path):
    """Check sums that fit, around bytes no encoder wrote."""
    rng = random.Random(entropy)
    for n_bytes in (0, 1, 2, 5, 40, 300):
        sequence = {"width": 16, "height": 16, "entropy": entropy}
        data = gsv_with(sequence, [rng.randbytes(n_bytes) for _ in range(3)])
        (tmp_path / "bad.gsv").write_bytes(data)
        end_well(tmp_path)


def test_payload_with_damage_under_right_check_sums(gsv, tmp_path):
    """A decoder may draw a wrong picture then, but no more than that."""
    rng = random.Random(1)
    with GsvReader(io.BytesIO(gsv)) as reader:
        packets, streams = list(reader), reader.streams
    for _ in range(60):
        file = io.BytesIO()
        with GsvWriter(file, streams) as writer:
            for packet in packets:
                payload = bytearray(packet.payload)
                if packet.stream == 0 and payload and rng.random() < 0.3:
                    reach = 12 if rng.random() < 0.5 else len(payload)
                    payload[rng.randrange(min(len(payload), reach))] = rng.randrange(256)
                fixed = Packet(
                    packet.stream, packet.pts, packet.is_keyframe, bytes(payload), packet.duration, packet.dts
                )
                writer.write(fixed)
        (tmp_path / "bad.gsv").write_bytes(file.getvalue())
        end_well(tmp_path)


def end_well(folder: Path) -> None:
    """bad.gsv is decoded and inspected, or refused in one line."""
    for args in (("info", folder / "bad.gsv"), ("decode", folder / "bad.gsv", folder / "out.mp4", "-y")):
        done = run(*args)
        if done.exit_code:
            check_error(done.exit_code, done.stdout, done.stderr, 1)
            assert set(contents(folder)) <= {"bad.gsv", "out.mp4"}


def test_limits_hold_for_gaussians(small_gsv, tmp_path):
    from gscodec.errors import LimitError
    from gscodec.transcode import decode_file

    (tmp_path / "a.gsv").write_bytes(small_gsv)
    with pytest.raises(LimitError, match="Gaussians"):
        decode_file(tmp_path / "a.gsv", tmp_path / "a.mp4", limits=DecoderLimits(max_gaussians=5))
    assert not (tmp_path / "a.mp4").exists()


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
