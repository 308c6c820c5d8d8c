"""Whole files: reading, seeking, pipes; cut at every byte, every byte wrong, newer, too large, no .gsv."""

from __future__ import annotations

import io
import os
import random
import tracemalloc
from fractions import Fraction
from pathlib import Path

import pytest

from gscodec.config import DecoderLimits
from gscodec.container import headers
from gscodec.container.container import GsvReader, GsvWriter, Keyframe, Packet, Stream
from gscodec.container.headers import Field, FrameType, pack
from gscodec.container.index import FOOTER_BYTES, Index, pack_footer, pack_index
from gscodec.container.packet import PacketKind, pack_unit
from gscodec.errors import (
    BitstreamError,
    ConfigError,
    CorruptError,
    LimitError,
    TruncatedError,
    UnsupportedError,
)

SEQUENCE = {field.name: field.low for field in headers.SEQUENCE_HEADER} | {"width": 64, "height": 36}
STREAMS = (
    Stream("video", "gscodec", Fraction(1, 15360), pack(headers.SEQUENCE_HEADER, SEQUENCE), 512),
    Stream("audio", "aac", Fraction(1, 48000), b"\x12\x10", 1024),
    Stream("subtitle", "subrip", Fraction(1, 1000)),
)
METADATA = {"title": "Gauß at his desk", "encoder": "gscodec"}


def make_packets() -> list[Packet]:
    """Three GOPs of 4, 1 and 3 frames from pts 1024 on, one frame late, sound and a subtitle between them."""
    rng = random.Random(1)
    packets = [Packet(1, -1024, True, b"priming", 1024, -1024)]
    pts = 1024
    for i in range(8):
        is_keyframe = i in (0, 4, 5)
        pts += 700 if i == 3 else 512
        packets.append(Packet(0, pts, is_keyframe, rng.randbytes(1100 if i == 4 else 20), 512))
        packets.append(Packet(1, 1024 * i, True, rng.randbytes(30), 1024, 1024 * i))
    packets.insert(9, Packet(2, 777, True, b"Good morning", 2000, 700))
    return packets


def make_file(
    packets: list[Packet], metadata: dict[str, str] | None = None, *, b_frames: bool = False
) -> bytes:
    file = io.BytesIO()
    with GsvWriter(file, STREAMS, metadata, b_frames=b_frames) as writer:
        for packet in packets:
            writer.write(packet)
    return file.getvalue()


def read(data: bytes, limits: DecoderLimits | None = None) -> tuple[list[Packet], BitstreamError | None]:
    """All packets before the error, and the error."""
    packets = []
    try:
        for packet in GsvReader(io.BytesIO(data), limits):
            packets.append(packet)
    except BitstreamError as error:
        return packets, error
    return packets, None


PACKETS = make_packets()
FILE = make_file(PACKETS, METADATA)


def test_a_file_comes_back() -> None:
    reader = GsvReader(io.BytesIO(FILE))
    assert reader.version == (1, 0)
    assert reader.streams == STREAMS
    assert reader.sequence == SEQUENCE
    assert reader.metadata == METADATA
    assert not reader.is_complete
    assert list(reader) == PACKETS
    assert reader.is_complete
    assert reader.n_frames == 8
    assert reader.offset == len(FILE)
    assert list(reader) == []


def test_a_file_on_disk_comes_back(tmp_path: Path) -> None:
    path = tmp_path / "clip.gsv"
    with GsvWriter(path, STREAMS, METADATA) as writer:
        sizes = [writer.write(packet) for packet in PACKETS]
        assert all(size > len(packet.payload) for size, packet in zip(sizes, PACKETS, strict=True))
        writer.close()
        assert writer.n_bytes == path.stat().st_size
    assert path.read_bytes() == FILE
    with GsvReader(str(path)) as reader:
        assert list(reader) == PACKETS


def test_a_file_without_frames_or_metadata_comes_back() -> None:
    data = make_file([])
    assert read(data) == ([], None)
    reader = GsvReader(io.BytesIO(data))
    assert reader.metadata == {}
    assert reader.index() == Index(0, ())
    with pytest.raises(ConfigError, match="keyframe is 0"):
        reader.seek(0)


def test_pipes_are_written_and_read() -> None:
    read_end, write_end = os.pipe()
    with open(write_end, "wb") as file, GsvWriter(file, STREAMS, METADATA) as writer:
        for packet in PACKETS:
            writer.write(packet)
    with open(read_end, "rb") as file:
        reader = GsvReader(file)
        assert reader.index() is None
        with pytest.raises(TruncatedError, match="pipe"):
            reader.seek(0)
        assert list(reader) == PACKETS


def test_a_file_may_stand_inside_another() -> None:
    file = io.BytesIO(b"wrapper" + FILE)
    file.seek(7)
    reader = GsvReader(file)
    reader.seek(2)
    assert next(iter(reader)).pts == GsvReader(io.BytesIO(FILE)).index().keyframes[2].pts
    assert read(FILE + b"something else") == (PACKETS, None)


def test_seeking_gives_what_straight_reading_gives() -> None:
    reader = GsvReader(io.BytesIO(FILE))
    index = reader.index()
    starts = [i for i, packet in enumerate(PACKETS) if packet.stream == 0 and packet.is_keyframe]
    assert index.n_frames == 8
    assert [(entry.pts, entry.n_frames) for entry in index.keyframes] == [
        (PACKETS[i].pts, n) for i, n in zip(starts, (4, 1, 3), strict=True)
    ]
    assert list(reader) == PACKETS  # asking for the index does not move the reader
    for keyframe in (2, 0, 1, 2):
        reader.seek(keyframe)
        assert not reader.is_complete
        assert list(reader) == PACKETS[starts[keyframe] :]
        assert reader.is_complete
    for keyframe in (-1, 3):
        with pytest.raises(ConfigError, match=f"keyframe is {keyframe}; permitted: 0 to 2"):
            reader.seek(keyframe)


def test_a_reader_may_seek_in_the_middle_and_after_an_error() -> None:
    data = bytearray(FILE)
    index = GsvReader(io.BytesIO(FILE)).index()
    data[index.keyframes[1].offset + 9] ^= 1
    reader = GsvReader(io.BytesIO(data))
    iterator = iter(reader)
    next(iterator)
    reader.seek(2)
    assert next(iterator).pts == index.keyframes[2].pts
    reader.seek(1)
    for _ in range(2):  # the error stays until a seek
        with pytest.raises(CorruptError, match=r"check sum is wrong .*, frame 4"):
            list(reader)
    reader.seek(2)
    assert [packet for packet in reader if packet.stream == 0] == [p for p in PACKETS if p.stream == 0][5:]


def test_cut_at_every_byte() -> None:
    sizes = []
    file = io.BytesIO()
    writer = GsvWriter(file, STREAMS, METADATA)
    for packet in PACKETS:
        writer.write(packet)
        sizes.append(writer.n_bytes)
    for n_bytes in range(len(FILE)):
        packets, error = read(FILE[:n_bytes])
        assert isinstance(error, TruncatedError), n_bytes
        assert packets == PACKETS[: sum(size <= n_bytes for size in sizes)]
        if n_bytes >= sizes[0]:
            assert GsvReader(io.BytesIO(FILE[:n_bytes])).index() is None


def test_every_byte_wrong() -> None:
    rng = random.Random(2)
    for position in range(len(FILE)):
        _assert_detected(position, rng.randrange(1, 256))


def test_every_wrong_value_of_the_bytes_that_steer_the_reader() -> None:
    index = GsvReader(io.BytesIO(FILE)).index()
    units = [entry.offset + i for entry in index.keyframes for i in range(5)]
    footer = range(len(FILE) - FOOTER_BYTES, len(FILE))
    for position in (*range(20), *units, *footer):
        for change in range(1, 256):
            _assert_detected(position, change)


def _assert_detected(position: int, change: int) -> None:
    data = bytearray(FILE)
    data[position] ^= change
    packets, error = read(bytes(data))
    assert error is not None, position
    assert packets == PACKETS[: len(packets)]  # nothing wrong was delivered before
    assert error.offset is not None
    assert error.offset <= position + 6  # a wrong length shows where its bytes should be


def test_zeros_instead_of_the_rest_are_damage() -> None:
    index = GsvReader(io.BytesIO(FILE)).index()
    start = index.keyframes[1].offset
    packets, error = read(FILE[:start] + bytes(len(FILE) - start))
    assert isinstance(error, CorruptError)
    assert packets == [p for p in PACKETS if p in packets]


def test_a_lost_frame_is_noticed() -> None:
    index = GsvReader(io.BytesIO(FILE)).index()
    first, second = index.keyframes[1].offset, index.keyframes[2].offset
    _, error = read(FILE[:first] + FILE[second:])
    assert isinstance(error, CorruptError)
    assert "counts 8 frames, the file has 7" in str(error)


@pytest.mark.parametrize("kind", [PacketKind.P_FRAME, PacketKind.B_FRAME])
def test_a_file_starts_with_an_i_frame(kind: PacketKind) -> None:
    with pytest.raises(ConfigError, match="first video packet is no I-frame; permitted: an I-frame"):
        make_file([Packet(0, 0, False, b"", is_bframe=kind == PacketKind.B_FRAME)], b_frames=True)
    data = make_file([Packet(0, 0, True, b"")], b_frames=True)
    at = GsvReader(io.BytesIO(data)).index().keyframes[0].offset
    _, error = read(data[:at] + pack_unit(kind, b"") + data[at + 4 :])
    assert f"a {kind.name[0]}-frame without an I-frame before it" in str(error)


def test_b_frames_stand_only_where_the_header_says_so() -> None:
    """Who does not know them refuses the file, and does not leave out half of its frames."""
    packets = [Packet(0, 0, True, b"x"), Packet(0, 1, False, b"", is_bframe=True), Packet(0, 2, False, b"y")]
    data = make_file(packets, b_frames=True)
    assert read(data) == (packets, None)
    assert [p.frame_type for p in packets] == [FrameType.I, FrameType.B, FrameType.P]
    with pytest.raises(ConfigError, match="which the file's header excludes; permitted: GsvWriter"):
        make_file(packets)
    plain = make_file(packets[:1])
    reader = GsvReader(io.BytesIO(plain))
    next(iter(reader))
    end = reader.offset
    _, error = read(plain[:end] + pack_unit(PacketKind.B_FRAME, b"") + plain[end:])
    assert "a B-frame, which the file's header excludes" in str(error)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(headers, "KNOWN_FEATURES", 0)  # as a reader of 0.1.0 has it
        with pytest.raises(UnsupportedError, match="the file needs features 0x1"):
            GsvReader(io.BytesIO(data))


def test_leaving_by_an_error_leaves_a_cut_file(tmp_path: Path) -> None:
    path = tmp_path / "clip.gsv"
    writer = GsvWriter(path, STREAMS)
    writer.write(PACKETS[0])
    with pytest.raises(RuntimeError), writer:
        raise RuntimeError
    assert isinstance(read(path.read_bytes())[1], TruncatedError)
    with pytest.raises(ValueError, match="closed"):
        writer.write(PACKETS[0])


def test_units_of_unknown_kinds_are_skipped() -> None:
    units = [pack_unit(head, b"of another kind") for head in (0x05, 0xFF)]
    start = _header_end(FILE)
    assert read(FILE[:start] + units[0] + FILE[start:]) == (PACKETS, None)
    data = make_file(PACKETS[:2])
    end = GsvReader(io.BytesIO(data)).index().keyframes[0].offset
    assert read(data[:end] + units[1] + data[end:]) == (PACKETS[:2], None)


def _header_end(data: bytes) -> int:
    reader = GsvReader(io.BytesIO(data))
    return reader.offset


def test_the_reader_closes_only_what_it_opened(tmp_path: Path) -> None:
    (tmp_path / "text.gsv").write_bytes(b"no video")
    with pytest.raises(CorruptError):
        GsvReader(tmp_path / "text.gsv")  # an open file would be a ResourceWarning
    file = io.BytesIO(FILE)
    with GsvReader(file):
        pass
    assert not file.closed
    with pytest.raises(FileNotFoundError):
        GsvReader(tmp_path / "absent.gsv")


@pytest.mark.parametrize(
    ("limits", "message"),
    [
        (DecoderLimits(max_streams=2), "3 streams; limit: 2"),
        (DecoderLimits(max_pixels=64 * 36 - 1), "2304 pixels; limit: 2303"),
        (DecoderLimits(max_packet_bytes=20), "the header of .* bytes; limit: 20"),
        (DecoderLimits(max_packet_bytes=1000), "a packet of 1102 bytes; limit: 1000"),
    ],
)
def test_limits(limits: DecoderLimits, message: str) -> None:
    with pytest.raises(LimitError, match=message):
        list(GsvReader(io.BytesIO(FILE), limits))


def test_an_index_larger_than_the_limits_is_not_read() -> None:
    data = make_file([Packet(0, i, True, b"") for i in range(40)])
    reader = GsvReader(io.BytesIO(data), DecoderLimits(max_packet_bytes=64 * 39))
    with pytest.raises(LimitError, match="index of 40 keyframes; limit: 39"):
        reader.index()
    assert len(list(reader)) == 40


def test_lengths_are_no_reason_to_allocate() -> None:
    start = FILE[: _header_end(FILE)]
    length = pack((Field("n_bytes", "uvar", 0, 1 << 30),), {"n_bytes": 1 << 26})
    for data in (start + b"\x00" + length, FILE[:10] + b"\xff\xff\xff\x1f"):
        tracemalloc.start()
        _, error = read(data)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert isinstance(error, TruncatedError)
        assert peak < 2 << 20


@pytest.mark.parametrize(
    "index",
    [
        Index(1, ()),
        Index(2, (Keyframe(100, 0, 1),)),
        Index(1, (Keyframe(1 << 40, 0, 1),)),
    ],
)
def test_an_index_that_contradicts_itself_is_none(index: Index) -> None:
    unit = pack_unit(PacketKind.INDEX, pack_index(index))
    reader = GsvReader(io.BytesIO(FILE[: _header_end(FILE)] + unit + pack_footer(len(unit))))
    assert reader.index() is None


@pytest.mark.parametrize(
    ("unit", "footer", "message"),
    [
        (pack_unit(PacketKind.INDEX | 0x10, pack_index(Index(0, ()))), 6, "flags of a packet"),
        (pack_unit(PacketKind.INDEX, pack_index(Index(0, ()))), 7, "does not fit"),
        (pack_unit(PacketKind.INDEX, pack_index(Index(0, ()))), 1 << 31, "does not fit"),
    ],
)
def test_ends_that_no_writer_makes(unit: bytes, footer: int, message: str) -> None:
    data = FILE[: _header_end(FILE)] + unit + pack_footer(footer)
    _, error = read(data)
    assert isinstance(error, CorruptError)
    assert message in str(error)
    assert GsvReader(io.BytesIO(data)).index() is None


def test_packets_leave_into_a_pipe_at_once() -> None:
    """Somebody looks on: a buffer of 8 kB would hold seconds of video back."""
    read_end, write_end = os.pipe()
    os.set_blocking(read_end, False)
    with open(read_end, "rb", buffering=0) as pipe, open(write_end, "wb") as file:
        writer = GsvWriter(file, STREAMS)
        for packet in make_packets()[1:6]:
            n_bytes = writer.n_bytes
            length = writer.write(packet)
            got = pipe.read(1 << 16)
            assert len(got) in (length, n_bytes + length)  # the head of the file comes with the first one
        writer.close()
