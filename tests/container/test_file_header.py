"""The start of a file: round trip, newer versions, other kinds of file, metadata and streams out of order."""

from __future__ import annotations

import io
import random
from fractions import Fraction
from pathlib import Path

import pytest
import zstandard

from gscodec.container import headers
from gscodec.container.container import GsvReader, GsvWriter, Stream
from gscodec.container.headers import Field, checksum, pack, unpack
from gscodec.errors import ConfigError, CorruptError, LimitError, UnsupportedError

SEQUENCE = {field.name: field.low for field in headers.SEQUENCE_HEADER} | {"width": 64, "height": 36}
STREAMS = (
    Stream("video", "gscodec", Fraction(1, 15360), pack(headers.SEQUENCE_HEADER, SEQUENCE), 512),
    Stream("audio", "aac", Fraction(1, 48000), b"\x12\x10", 1024),
)
METADATA = {"title": "Gauß at his desk"}


def make_file(metadata: dict[str, str]) -> bytes:
    """A file without packets."""
    file = io.BytesIO()
    GsvWriter(file, STREAMS, metadata).close()
    return file.getvalue()


def with_header(data: bytes, change: dict, appended: bytes = b"", minor: int = 0) -> bytes:
    """The file with other values in its FILE_HEADER, bytes behind it, and a right check sum."""
    (header_bytes,), view = [*unpack(headers.HEADER_BYTES, data[10:])[0].values()], data[10:]
    _, view = unpack(headers.HEADER_BYTES, view)
    values, _ = unpack(headers.FILE_HEADER, view[:header_bytes])
    body = pack(headers.FILE_HEADER, values | change) + appended
    start = data[:9] + bytes([minor]) + pack(headers.HEADER_BYTES, {"header_bytes": len(body)})
    return start + body + checksum(start, body) + bytes(view[header_bytes + 2 :])


FILE = make_file(METADATA)


def test_newer_minor_versions_are_read_and_what_they_add_is_skipped() -> None:
    entries = []
    for stream in STREAMS:
        table = (*headers.STREAM_HEADER, Field("language", "bytes", 0, 9))
        values = {"kind": headers.STREAM_KINDS.index(stream.kind), "step": stream.step, "language": b"de"}
        values |= {
            "time_base_num": stream.time_base.numerator,
            "time_base_den": stream.time_base.denominator,
            "codec": stream.codec.encode(),
            "extradata": stream.extradata + (b"appended" if stream.kind == "video" else b""),
        }
        entries.append(pack(headers.STREAM_ENTRY, {"header": pack(table, values)}))
    change = {"optional_features": 6, "stream_headers": b"".join(entries)}
    data = with_header(FILE, change, appended=b"appended", minor=9)
    reader = GsvReader(io.BytesIO(data))
    assert reader.version == (1, 9)
    assert reader.streams[1:] == STREAMS[1:]
    assert reader.sequence == SEQUENCE
    assert reader.metadata == METADATA
    assert list(reader) == []


def test_newer_major_versions_and_unknown_features_are_named() -> None:
    with pytest.raises(UnsupportedError, match=r"bitstream version 2\.x, this one reads 1\.x"):
        GsvReader(io.BytesIO(FILE[:8] + b"\x02" + FILE[9:]))
    with pytest.raises(UnsupportedError, match=r"features 0x4 of .* 1\.3; this reader knows 1\.0"):
        GsvReader(io.BytesIO(with_header(FILE, {"required_features": 4}, minor=3)))


@pytest.mark.parametrize(
    ("start", "message"),
    [
        (b"\x00\x00\x00\x20ftypisom", "MP4"),
        (b"\x1aE\xdf\xa3\x01\x00\x00\x00\x00", "Matroska"),
        (b"RIFF1234AVI ", "AVI"),
        (b"Hello, this is text\n", "text file"),
        (b"hi", "text file"),
        (FILE.replace(b"\r\n", b"\n"), "text mode"),
        (FILE.replace(b"\n", b"\r\n"), "text mode"),
        (FILE.decode("latin-1").encode(), "text mode"),
        (bytes(byte & 0x7F for byte in FILE), "text mode"),
        (bytes(16), r"first bytes 00 00 00 00 00 00 00 00"),
    ],
)
def test_other_files_are_called_what_they_look_like(start: bytes, message: str) -> None:
    with pytest.raises(CorruptError, match=f"not a .gsv file: this looks like .*{message}"):
        GsvReader(io.BytesIO(start))


@pytest.mark.parametrize(
    ("streams", "metadata", "message"),
    [
        ((), {}, "exactly one video stream"),
        (STREAMS[1:], {}, "exactly one video stream"),
        ((STREAMS[0], STREAMS[0]), {}, "exactly one video stream"),
        ((STREAMS[0], Stream("smell", "x", Fraction(1))), {}, "kind 'smell' is unknown"),
        ((STREAMS[0], Stream("data", "ü", Fraction(1))), {}, "printable ASCII"),
        ((STREAMS[0], Stream("data", "x" * 33, Fraction(1))), {}, "length of codec is 33"),
        ((STREAMS[0], Stream("data", "x", Fraction(0))), {}, "time_base_num is 0"),
        (STREAMS, {"a": 1}, "not text"),
        (STREAMS, {"a": "\ud800"}, "not Unicode"),
        (STREAMS, {"a": "b" * 65536}, "65544 bytes as JSON"),
    ],
)
def test_what_the_header_cannot_hold(tmp_path: Path, streams: tuple, metadata: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        GsvWriter(tmp_path / "clip.gsv", streams, metadata)
    assert not (tmp_path / "clip.gsv").exists()


def test_metadata_of_the_largest_size_come_back() -> None:
    rng = random.Random(3)
    metadata = {"noise": "".join(chr(rng.randrange(0x4E00, 0x9FFF)) for _ in range(21841))}
    assert GsvReader(io.BytesIO(make_file(metadata))).metadata == metadata


@pytest.mark.parametrize(
    ("raw", "error"),
    [
        (b"no zstd", CorruptError),
        (zstandard.compress(b""), CorruptError),
        (zstandard.compress(b"\xff"), CorruptError),
        (zstandard.compress(b"{"), CorruptError),
        (zstandard.compress(b"[" * 60000), CorruptError),
        (zstandard.compress(b"1" * 60000), CorruptError),
        (zstandard.compress(b"[]"), CorruptError),
        (zstandard.compress(b'{"a":1}'), CorruptError),
        (zstandard.compress(b'{"a":"\\ud800"}'), CorruptError),
        (zstandard.compress(bytes(1 << 26)), LimitError),
    ],
)
def test_metadata_that_no_writer_makes(raw: bytes, error: type[Exception]) -> None:
    with pytest.raises(error, match="metadata"):
        GsvReader(io.BytesIO(with_header(FILE, {"metadata": raw})))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"kind": 0}, "stream 0 must be the only video"),
        ({"codec": b"a\x00"}, "not printable"),
        ({"codec": b"\xff"}, "not printable"),
    ],
)
def test_stream_headers_that_no_writer_makes(fields: dict, message: str) -> None:
    values = {"kind": 3, "time_base_num": 1, "time_base_den": 1, "step": 0, "codec": b"x", "extradata": b""}
    video = {"kind": 0, "codec": b"v", "extradata": STREAMS[0].extradata}
    raw = b"".join(
        pack(headers.STREAM_ENTRY, {"header": pack(headers.STREAM_HEADER, values | change)})
        for change in (video, fields)
    )
    with pytest.raises(CorruptError, match=message):
        GsvReader(io.BytesIO(with_header(FILE, {"n_streams": 2, "stream_headers": raw})))
