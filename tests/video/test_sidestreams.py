"""Sound and subtitles go through extradata and packets alone and come out bit-identical."""

import json
from dataclasses import replace
from fractions import Fraction

import pytest
import zstandard
from video_clips import moving_square, raw_packets, split, write_clip

from gscodec.errors import CorruptError
from gscodec.video.frame import Frame, SideStream
from gscodec.video.reader import open_video
from gscodec.video.writer import VideoWriter

KINDS = ("audio", "subtitle")


def copy_through(source, target, **settings):
    """Read, keep only what a .gsv keeps, and write."""
    with open_video(source) as reader:
        items = list(reader)
    side_streams = [SideStream(s.kind, s.codec, s.time_base, bytes(s.extradata)) for s in reader.side_streams]
    with VideoWriter(target, reader.format, side_streams=side_streams, **settings) as writer:
        for item in items:
            (writer.write if isinstance(item, Frame) else writer.write_side)(item)
    return reader, writer


def time_base_of(path, kind):
    with open_video(path) as reader:
        return next(s.time_base for s in reader.side_streams if s.kind == kind)


@pytest.mark.parametrize(
    ("audio", "subtitle", "source", "target"),
    [
        ("aac", "mov_text", "mp4", "mp4"),
        ("aac", None, "mp4", "mkv"),
        ("aac", "subrip", "mkv", "mkv"),
        ("libmp3lame", None, "mp4", "mp4"),
        ("libmp3lame", None, "mp4", "mkv"),
        ("libopus", "ass", "mkv", "mkv"),
        ("libopus", None, "mp4", "mp4"),
        ("flac", None, "mkv", "mkv"),
        ("flac", None, "mkv", "mp4"),
        ("flac", None, "mp4", "mkv"),
        ("pcm_s16le", "webvtt", "mkv", "mkv"),
        ("pcm_s16le", None, "mkv", "mp4"),
        ("pcm_s24le", None, "mov", "mkv"),
        ("ac3", None, "mkv", "mp4"),
        ("alac", None, "mov", "mov"),
    ],
)
def test_packets_are_bit_identical(tmp_path, audio, subtitle, source, target):
    first = write_clip(tmp_path / f"in.{source}", moving_square(12), audio=audio, subtitle=subtitle)
    second = tmp_path / f"out.{target}"
    reader, writer = copy_through(first, second)
    assert reader.warnings == []
    assert [w for w in writer.warnings if "clock" not in w] == []
    assert max(len(s.extradata) for s in reader.side_streams) < 1000
    for kind in KINDS[: 1 + (subtitle is not None)]:
        before, after = raw_packets(first, kind), raw_packets(second, kind)
        assert len(before) > 1
        assert [p[2] for p in before] == [p[2] for p in after]
        old, new = time_base_of(first, kind), time_base_of(second, kind)
        for a, b in zip(before, after, strict=True):
            assert abs(a[0] * old - b[0] * new) <= max(old, new) / 2
            assert abs(a[1] * old - b[1] * new) <= max(old, new) / 2
            if source == target:
                assert a[:2] == b[:2]


def test_language_and_video_times_survive_sound_before_zero(tmp_path):
    first = write_clip(tmp_path / "in.mkv", moving_square(12), audio="aac", subtitle="subrip")
    reader, _ = copy_through(first, tmp_path / "out.mkv")
    with open_video(tmp_path / "out.mkv") as again:
        frames, packets = split(again)
        subtitles = next(s for s in again._container.streams if s.type == "subtitle")
        assert subtitles.metadata["language"] in ("ger", "deu")
    assert min(p.pts for p in packets) < 0
    assert [f.pts for f in frames] == [40 * i for i in range(12)]
    assert [s.codec for s in again.side_streams] == ["aac", "subrip"]
    assert [s.codec for s in reader.side_streams] == ["aac", "subrip"]


@pytest.mark.parametrize("ending", ["mkv", "mp4", "ts"])
def test_aac_of_a_transport_stream_goes_anywhere(tmp_path, ending):
    """MPEG-TS puts a head before every packet of AAC, MP4 and Matroska one before all."""
    plain = write_clip(tmp_path / "in.mp4", moving_square(12), pix_fmt="yuv420p", audio="aac")
    copy_through(plain, tmp_path / "in.ts")
    reader, writer = copy_through(tmp_path / "in.ts", tmp_path / f"out.{ending}")
    assert [s.codec for s in reader.side_streams] == ["aac"]
    assert not [line for line in writer.warnings if "left out" in line]
    with open_video(plain) as a, open_video(tmp_path / f"out.{ending}") as b:
        packets = [[p.payload for p in split(r)[1]] for r in (a, b)]
    assert packets[0] == packets[1]
    assert not any(p.startswith(b"\xff\xf1") for p in packets[0])


def test_sound_that_a_transport_stream_takes_as_data_is_left_out(tmp_path):
    first = write_clip(tmp_path / "in.mkv", moving_square(3), pix_fmt="yuv420p", audio="pcm_s16le")
    _, writer = copy_through(first, tmp_path / "out.ts")
    assert writer.warnings == ["mpegts cannot hold audio stream 0 (pcm_s16le); it is left out"]


def test_flv_has_no_time_below_zero(tmp_path):
    first = write_clip(tmp_path / "in.mp4", moving_square(12), pix_fmt="yuv420p", audio="aac")
    copy_through(first, tmp_path / "out.flv")
    distances = []
    for path in (first, tmp_path / "out.flv"):
        with open_video(path) as reader:
            frames, packets = split(reader)
        begin = frames[0].pts * reader.format.time_base
        assert 0 <= begin < 1
        distances.append(begin - packets[0].pts * reader.side_streams[0].time_base)
    assert packets[0].pts >= 0
    assert abs(distances[0] - distances[1]) <= Fraction(1, 1000)


def test_extradata_are_reproducible(tmp_path):
    path = write_clip(tmp_path / "in.mkv", moving_square(2), audio="flac", subtitle="subrip")
    with open_video(path) as a, open_video(path) as b:
        assert a.side_streams == b.side_streams


def test_what_the_container_cannot_hold_is_left_out_with_a_warning(tmp_path):
    first = write_clip(tmp_path / "in.mkv", moving_square(3), audio="aac", subtitle="subrip")
    _, writer = copy_through(first, tmp_path / "out.mp4")
    assert [w for w in writer.warnings if "subrip" in w] == writer.warnings != []
    assert len(raw_packets(tmp_path / "out.mp4", "audio")) > 5
    _, writer = copy_through(first, tmp_path / "out.y4m")
    assert len(writer.warnings) >= 2


@pytest.fixture(scope="module")
def side_stream(tmp_path_factory):
    path = write_clip(tmp_path_factory.mktemp("s") / "in.mkv", moving_square(2), audio="flac")
    with open_video(path) as reader:
        return reader.side_streams[0], reader.format


def hostile(case, good):
    line, _, media = zstandard.ZstdDecompressor().decompress(good).partition(b"\n")
    facts = json.loads(line)
    pack = zstandard.ZstdCompressor().compress
    return {
        "empty": b"",
        "noise": b"\x13\x37" * 100,
        "cut": good[:-20],
        "bomb": pack(bytes(1 << 26)),
        "no size": zstandard.ZstdCompressor(write_content_size=False).compress(line + b"\n" + media),
        "no json": pack(b"{]\n" + media),
        "not a dict": pack(b"[]\n" + media),
        "deep": pack(b"[" * 200_000 + b"\n" + media),
        "other demuxer": pack(json.dumps(facts | {"format": "concat"}).encode() + b"\nfile /etc/passwd"),
        "bad flags": pack(json.dumps(facts | {"disposition": "x"}).encode() + b"\n" + media),
        "no media": pack(line + b"\n"),
        "cut media": pack(line + b"\n" + media[:40]),
    }[case]


@pytest.mark.parametrize(
    "case",
    [
        *("empty", "noise", "cut", "bomb", "no size", "no json", "not a dict", "deep"),
        *("other demuxer", "bad flags", "no media", "cut media"),
    ],
)
def test_hostile_extradata(tmp_path, side_stream, case):
    good, form = side_stream
    bad = replace(good, extradata=hostile(case, good.extradata))
    with pytest.raises(CorruptError, match="head of the audio stream"):
        VideoWriter(tmp_path / "out.mkv", form, side_streams=[bad])
    assert list(tmp_path.iterdir()) == []


def test_every_byte_of_a_head_may_be_wrong(tmp_path, side_stream):
    good, form = side_stream
    head = bytearray(zstandard.ZstdDecompressor().decompress(good.extradata))
    for i in range(0, len(head), 7):
        damaged = bytes(head[:i]) + bytes([head[i] ^ 0x55]) + bytes(head[i + 1 :])
        bad = replace(good, extradata=zstandard.ZstdCompressor().compress(damaged))
        try:
            VideoWriter(tmp_path / "out.mkv", form, side_streams=[bad], vcodec="ffv1").close()
        except CorruptError:
            continue


def test_kind_must_be_what_the_head_holds(tmp_path, side_stream):
    good, form = side_stream
    with pytest.raises(CorruptError, match="expected one subtitle"):
        VideoWriter(tmp_path / "out.mkv", form, side_streams=[replace(good, kind="subtitle")])


def test_packets_without_times_get_some():
    from gscodec.video.sidestreams import to_side_packet

    class Packet(bytes):
        pts = dts = duration = None
        is_keyframe = True

    made = to_side_packet(Packet(b"abc"), 2, 77)
    assert (made.stream, made.pts, made.dts, made.duration, made.payload) == (2, 77, 77, 0, b"abc")
    assert Fraction(made.pts) == 77
