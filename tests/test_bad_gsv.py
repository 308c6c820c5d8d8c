"""Files that are no whole .gsv, or hold what no encoder wrote: one clear line, and nothing left behind."""

from __future__ import annotations

import io
import random
import resource
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import av
import pytest

from cli_tools import check_error, contents, encoded, fail, make_clip, run, succeed
from gscodec.config import DecoderLimits
from gscodec.container import headers
from gscodec.container.container import GsvReader, GsvWriter, Packet, Stream
from gscodec.container.headers import SIGNATURE, checksum


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    return make_clip(tmp_path_factory.mktemp("clip") / "clip.mp4", 8, audio="aac", n_audio=8)


@pytest.fixture(scope="module", params=["adaptive", "ans", "zstd"])
def gsv(request, clip):
    """A .gsv of two GOPs with sound, in memory, once for each entropy coder."""
    return encoded(clip, "--gop", 4, "--entropy", request.param)


@pytest.fixture(scope="module")
def small_gsv(clip):
    return encoded(clip, "--frames", 2)


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
