"""The start of a .gsv file: signature, version, features, streams, metadata.

Sibling: `index`, the end of the file. Specified in docs/bitstream.md, "File header" and "Stream header".
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

import zstandard

from gscodec.config import DecoderLimits
from gscodec.container import headers
from gscodec.container.headers import HEADER_BYTES, SIGNATURE, VERSION, checksum, pack, unpack
from gscodec.errors import ConfigError, CorruptError, LimitError, TruncatedError, UnsupportedError

MAX_METADATA_BYTES = 1 << 16  # of the JSON text, before zstd
MAX_METADATA_WINDOW = 1 << 23  # what zstd's format asks every decoder to support

# What a file that is no .gsv is likely to be: (position, bytes there, name).
_FOREIGN = (
    (4, b"ftyp", "an MP4 or QuickTime file"),
    (0, b"\x1aE\xdf\xa3", "a Matroska or WebM file"),
    (0, b"RIFF", "an AVI or WAV file"),
    (0, b"OggS", "an Ogg file"),
    (0, b"FLV", "a Flash video"),
    (0, b"DKIF", "an IVF file"),
    (0, b"YUV4MPEG", "a Y4M file"),
    (0, b"\x00\x00\x00\x01", "raw H.264 or H.265"),
    (0, b"\x00\x00\x01\xba", "an MPEG program stream"),
    (0, b"G@", "an MPEG transport stream"),
    (0, b"\x89PNG", "a PNG picture"),
    (0, b"\xff\xd8\xff", "a JPEG picture"),
    (0, b"GIF8", "a GIF"),
    (0, b"PK\x03\x04", "a ZIP archive"),
    (0, b"\x1f\x8b", "a gzip file"),
)


@dataclass(frozen=True, slots=True)
class Stream:
    """One stream of the file.

    Attributes:
        kind: one of `headers.STREAM_KINDS`; stream 0 is the video, and the only one.
        codec: printable ASCII, 1–32 characters; FFmpeg's name for a side stream.
        time_base: seconds per tick.
        extradata: packed SEQUENCE_HEADER of the video; opaque bytes of a side stream.
        step: ticks from packet to packet when they are regular, else 0. Only saves bytes.
    """

    kind: str
    codec: str
    time_base: Fraction
    extradata: bytes = field(default=b"", repr=False)
    step: int = 0


@dataclass(frozen=True, slots=True)
class FileHeader:
    """What a reader knows before the first packet.

    Attributes:
        version: (major, minor) of the file.
        streams: the video first.
        sequence: fields of the video's SEQUENCE_HEADER.
        features: that the file needs, headers.FEATURE_….
        metadata: free text by name.
    """

    version: tuple[int, int]
    streams: tuple[Stream, ...]
    sequence: dict[str, Any]
    features: int
    metadata: dict[str, str]


def pack_file_header(streams: Sequence[Stream], metadata: Mapping[str, str], features: int = 0) -> bytes:
    """Write everything that stands before the first packet.

    Args:
        features: that a reader must know, headers.FEATURE_….
    Raises:
        ConfigError: not exactly one video stream at the start, or a value that the header cannot hold.
    """
    if not streams or [stream.kind for stream in streams].count("video") != 1 or streams[0].kind != "video":
        raise ConfigError("a .gsv has exactly one video stream, and it is stream 0")
    entries = [pack(headers.STREAM_ENTRY, {"header": _pack_stream(stream)}) for stream in streams]
    body = pack(
        headers.FILE_HEADER,
        {
            "required_features": features,
            "optional_features": 0,
            "n_streams": len(streams),
            "stream_headers": b"".join(entries),
            "metadata": _pack_metadata(metadata),
        },
    )
    version = {"version_major": headers.VERSION_MAJOR, "version_minor": headers.VERSION_MINOR}
    start = SIGNATURE + pack(VERSION, version) + pack(HEADER_BYTES, {"header_bytes": len(body)})
    return start + body + checksum(start, body)


def check_signature(first: bytes) -> None:
    """Accept the first 8 bytes of a .gsv file.

    Raises:
        TruncatedError: there are fewer, all of them right.
        CorruptError: this is another kind of file; says which one it looks like.
    """
    if first == SIGNATURE:
        return
    if SIGNATURE.startswith(first):
        raise TruncatedError(f"the file ends after {len(first)} bytes, inside its signature", offset=0)
    raise CorruptError(f"not a .gsv file: this looks like {_looks_like(first)}", offset=0)


def unpack_version(data: bytes) -> tuple[int, int]:
    """Read (major, minor), which stand behind the signature in every version of the format.

    Raises:
        UnsupportedError: another major version; says which one the file needs.
    """
    values, _ = unpack(VERSION, data, len(SIGNATURE))
    major, minor = values["version_major"], values["version_minor"]
    if major != headers.VERSION_MAJOR:
        raise UnsupportedError(
            f"the file needs a reader of bitstream version {major}.x, this one reads "
            f"{headers.VERSION_MAJOR}.x: install a matching gscodec",
            offset=len(SIGNATURE),
        )
    return major, minor


def unpack_file_header(
    body: bytes, version: tuple[int, int], limits: DecoderLimits, offset: int
) -> FileHeader:
    """Read the `header_bytes` bytes of the header, whose check sum was right.

    Args:
        version: from `unpack_version`.
        offset: position of body[0] in the file.
    Raises:
        UnsupportedError: a required feature that this reader does not know; says which version has it.
        LimitError: more streams, pixels or metadata than the limits permit.
        CorruptError, TruncatedError: fields out of range or missing.
    """
    values, _ = unpack(headers.FILE_HEADER, body, offset)
    unknown = values["required_features"] & ~headers.KNOWN_FEATURES
    if unknown:
        raise UnsupportedError(
            f"the file needs features {unknown:#x} of bitstream version {version[0]}.{version[1]}; this "
            f"reader knows {headers.VERSION_MAJOR}.{headers.VERSION_MINOR}: install a newer gscodec",
            offset=offset,
        )
    if values["n_streams"] > limits.max_streams:
        raise LimitError(f"{values['n_streams']} streams; limit: {limits.max_streams}", offset=offset)
    streams = _unpack_streams(values["n_streams"], values["stream_headers"], offset)
    sequence, _ = unpack(headers.SEQUENCE_HEADER, streams[0].extradata, offset)
    n_pixels = sequence["width"] * sequence["height"]
    if n_pixels > limits.max_pixels:
        raise LimitError(f"{n_pixels} pixels; limit: {limits.max_pixels}", offset=offset)
    features, metadata = values["required_features"], _unpack_metadata(values["metadata"], offset)
    return FileHeader(version, streams, sequence, features, metadata)


def _pack_stream(stream: Stream) -> bytes:
    if stream.kind not in headers.STREAM_KINDS:
        raise ConfigError(f"stream kind {stream.kind!r} is unknown; permitted: {headers.STREAM_KINDS}")
    if not (stream.codec.isascii() and stream.codec.isprintable()):
        raise ConfigError(f"codec name {stream.codec!r}; permitted: printable ASCII")
    return pack(
        headers.STREAM_HEADER,
        {
            "kind": headers.STREAM_KINDS.index(stream.kind),
            "time_base_num": stream.time_base.numerator,
            "time_base_den": stream.time_base.denominator,
            "step": stream.step,
            "codec": stream.codec.encode("ascii"),
            "extradata": stream.extradata,
        },
    )


def _unpack_streams(n_streams: int, data: bytes, offset: int) -> tuple[Stream, ...]:
    streams = []
    view = memoryview(data)
    for i in range(n_streams):
        entry, view = unpack(headers.STREAM_ENTRY, view, offset)
        values, _ = unpack(headers.STREAM_HEADER, entry["header"], offset)
        kind = headers.STREAM_KINDS[values["kind"]]
        if (kind == "video") != (i == 0):
            raise CorruptError(f"stream {i} is {kind}; stream 0 must be the only video", offset=offset)
        codec = values["codec"].decode("latin-1")
        if not (codec.isascii() and codec.isprintable()):
            raise CorruptError(f"the codec name {codec!r} of stream {i} is not printable", offset=offset)
        time_base = Fraction(values["time_base_num"], values["time_base_den"])
        streams.append(Stream(kind, codec, time_base, values["extradata"], values["step"]))
    return tuple(streams)


def _pack_metadata(metadata: Mapping[str, str]) -> bytes:
    if not metadata:
        return b""
    if not all(isinstance(text, str) for pair in metadata.items() for text in pair):
        raise ConfigError("metadata are not text; permitted: str -> str")
    try:
        text = json.dumps(dict(metadata), ensure_ascii=False, sort_keys=True, separators=(",", ":")).encode()
    except UnicodeEncodeError as error:
        raise ConfigError(f"metadata hold text that is not Unicode: {error}") from error
    if len(text) > MAX_METADATA_BYTES:
        raise ConfigError(f"metadata take {len(text)} bytes as JSON; permitted: 0 to {MAX_METADATA_BYTES}")
    return zstandard.ZstdCompressor(level=19).compress(text)


def _unpack_metadata(data: bytes, offset: int) -> dict[str, str]:
    if not data:
        return {}
    decompressor = zstandard.ZstdDecompressor(max_window_size=MAX_METADATA_WINDOW)
    try:
        # As a stream: the one-call form allocates whatever size the zstd frame promises.
        with decompressor.stream_reader(data) as stream:
            text = stream.read(MAX_METADATA_BYTES + 1)
    except zstandard.ZstdError as error:
        raise CorruptError(f"metadata cannot be decompressed: {error}", offset=offset) from error
    if len(text) > MAX_METADATA_BYTES:
        raise LimitError(f"metadata of more than {MAX_METADATA_BYTES} bytes", offset=offset)
    try:
        metadata = json.loads(text.decode())
        json.dumps(metadata, ensure_ascii=False).encode()  # JSON's \ud800 is no text that could be shown
    except (ValueError, RecursionError) as error:  # ValueError: no UTF-8, no JSON, or a number too long
        raise CorruptError(f"metadata are no JSON: {error}", offset=offset) from error
    if not (isinstance(metadata, dict) and all(isinstance(value, str) for value in metadata.values())):
        raise CorruptError("metadata are not a JSON object of strings", offset=offset)
    return metadata


def _looks_like(first: bytes) -> str:
    if b"GSV" in first:
        return "a .gsv file that was damaged by a transfer in text mode"
    for at, magic, name in _FOREIGN:
        if first[at:].startswith(magic):
            return name
    if all(byte in b"\t\r\n" or 32 <= byte < 127 for byte in first):
        return "a text file"
    return f"no format known here (first bytes {first.hex(' ')})"
