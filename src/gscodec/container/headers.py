"""Field tables of every .gsv header, and the two functions that turn them into bytes and back.

One table per header drives `pack` and `unpack`, so writer and reader cannot disagree; docs/bitstream.md
prints the same tables and a test compares them. Sibling: `packet` (framing), `container` (file).

Compatibility: fields are only ever appended, with a default. Every header lies in a length given from
outside, so an old reader skips what was appended and a new reader fills in what is not there yet.
"""

from __future__ import annotations

import struct
import zlib
from binascii import crc_hqx
from collections.abc import Mapping
from enum import IntEnum
from typing import Any, NamedTuple

from gscodec.errors import ConfigError, CorruptError, TruncatedError

VERSION_MAJOR = 1  # another one: the file cannot be read
VERSION_MINOR = 0  # a newer one: the file can be read, what it adds is skipped

# Like PNG's: the high bit shows a 7-bit transfer, CR LF and LF show line-end translation, 0x1A ends `type`.
SIGNATURE = b"\x89GSV\r\n\x1a\n"
FOOTER_MAGIC = b"GSVE"

# In the file these names are numbers: their position here.
STREAM_KINDS = ("video", "audio", "subtitle", "data")
BACKGROUND_CODES = ("coarse", "none")
PROFILE_CODES = ("default", "paper", "gaussianimage")
BLEND_CODES = ("sum", "normalised")  # version 0.1.0 knows the first
# Encoders write adaptive; version 0.1.0 wrote adaptive-0.1.0, development versions after it adaptive-dev.
ENTROPY_CODES = ("zstd", "ans", "bits-back", "adaptive-0.1.0", "adaptive-dev", "adaptive")

FEATURE_B_FRAMES = 1  # of `required_features`: packets may be B-frames
FEATURE_ROOM = 2  # the last stream is the room's video
KNOWN_FEATURES = FEATURE_B_FRAMES | FEATURE_ROOM  # those that this build understands

MAX_VARINT_BYTES = 10  # holds 64 bits
MAX_TICKS = 1 << 60  # |pts|, |dts| and duration: differences of predictions stay within 64 bits
CRC16_BELOW = 1024  # covered bytes from which on CRC-32 takes over from CRC-16


class FrameType(IntEnum):
    """A frame's kind: I codes all Gaussians, P changes those of the previous frame.

    RECOVERY is a P-frame too, but pictures from there on depend on the state alone and on no picture shown
    before it (docs/bitstream.md, "Hold"), so that who seeks need draw nothing in front of it.
    B codes nothing: its Gaussians lie halfway between those of the frame before and of the P-frame after it.
    """

    I = 0  # noqa: E741  (the name every video codec uses)
    P = 1
    RECOVERY = 2
    B = 3


class Field(NamedTuple):
    """One field of a header.

    Attributes:
        name: key in the dict that `pack` takes and `unpack` gives.
        kind: "u8", "u16", "u32" (little endian), "uvar" (LEB128), "svar" (zigzag, then LEB128) or
            "bytes" (a uvar length, then that many bytes).
        low, high: permitted values, both included; for "bytes" the permitted lengths.
        default: value of an appended field where an older file ends before it; None: must be present.
    """

    name: str
    kind: str
    low: int
    high: int
    default: int | bytes | None = None


VERSION = (  # docs/bitstream.md, section "File header"; these two stay where they are in every version
    Field("version_major", "u8", 0, 255),
    Field("version_minor", "u8", 0, 255),
)

HEADER_BYTES = (Field("header_bytes", "uvar", 1, (1 << 26) - 1),)

FILE_HEADER = (  # docs/bitstream.md, section "File header"
    Field("required_features", "uvar", 0, (1 << 32) - 1),
    Field("optional_features", "uvar", 0, (1 << 32) - 1),
    Field("n_streams", "uvar", 1, 256),
    Field("stream_headers", "bytes", 1, 1 << 24),  # n_streams times STREAM_ENTRY
    Field("metadata", "bytes", 0, 1 << 17),  # zstd frame of a JSON object, or nothing
)

STREAM_ENTRY = (Field("header", "bytes", 1, 1 << 24),)  # its bytes are a STREAM_HEADER

STREAM_HEADER = (  # docs/bitstream.md, section "Stream header"
    Field("kind", "u8", 0, len(STREAM_KINDS) - 1),
    Field("time_base_num", "uvar", 1, (1 << 31) - 1),  # seconds per tick
    Field("time_base_den", "uvar", 1, (1 << 31) - 1),
    Field("step", "uvar", 0, (1 << 31) - 1),  # ticks from packet to packet, as far as known beforehand
    Field("codec", "bytes", 1, 32),  # printable ASCII
    Field("extradata", "bytes", 0, 1 << 22),  # stream 0: a SEQUENCE_HEADER
)

SEQUENCE_HEADER = (  # docs/bitstream.md, section "Sequence header"
    Field("width", "u16", 1, 65535),  # pixels
    Field("height", "u16", 1, 65535),
    Field("sar_num", "uvar", 1, 65535),  # width of a pixel over its height
    Field("sar_den", "uvar", 1, 65535),
    Field("frame_rate_num", "uvar", 0, (1 << 31) - 1),  # hint; 0 = unknown
    Field("frame_rate_den", "uvar", 1, (1 << 31) - 1),
    Field("matrix", "u8", 0, 255),  # H.273 code points of the source
    Field("primaries", "u8", 0, 255),
    Field("transfer", "u8", 0, 255),
    Field("full_range", "u8", 0, 1),
    Field("background", "u8", 0, len(BACKGROUND_CODES) - 1),
    Field("background_r", "u8", 0, 255),
    Field("background_g", "u8", 0, 255),
    Field("background_b", "u8", 0, 255),
    Field("profile", "u8", 0, 255),
    Field("entropy", "u8", 0, len(ENTROPY_CODES) - 1),
    Field("quality_q8", "u16", 1, 65535),  # 256 times the factor on every quantiser step
    Field("blend", "u8", 0, 255),
    Field("flags", "u8", 0, 255),
    Field("hold", "u8", 0, 255, 0),  # code values
)

I_FRAME_HEADER = (  # docs/bitstream.md, section "Frame payloads"
    Field("n_gaussians", "uvar", 0, 1 << 20),
    Field("symbol_bytes", "uvar", 0, 1 << 26),  # entropy-coded; plain bits follow to the payload's end
)

ADAPTIVE_FRAME_HEADER = (
    Field("n_gaussians", "uvar", 0, 1 << 20),
)  # docs/bitstream.md, section "Frame payloads"

P_FRAME_HEADER = (  # docs/bitstream.md, section "Frame payloads"
    Field("n_changed", "uvar", 0, 1 << 20),
    Field("symbol_bytes", "uvar", 0, 1 << 26),
)

PAPER_I_FRAME_HEADER = (  # docs/bitstream.md, section "Profile paper"; P-frames have a P_FRAME_HEADER
    Field("n_gaussians", "uvar", 0, 1 << 20),
    Field("n_room", "uvar", 0, 1 << 20),  # the last ones of the list
    Field("symbol_bytes", "uvar", 0, 1 << 26),  # entropy-coded, behind the tables; then plain bits
)

INDEX_HEADER = (  # docs/bitstream.md, section "Index"
    Field("n_frames", "uvar", 0, (1 << 48) - 1),
    Field("n_keyframes", "uvar", 0, (1 << 32) - 1),
)

INDEX_ENTRY = (
    Field("offset_change", "uvar", 1, (1 << 62) - 1),
    Field("pts_change", "svar", -2 * MAX_TICKS, 2 * MAX_TICKS),
    Field("n_frames", "uvar", 1, (1 << 48) - 1),
)

FOOTER = (Field("index_bytes", "u32", 1, (1 << 32) - 1),)  # docs/bitstream.md, section "Footer"

_STRUCTS = {"u8": struct.Struct("<B"), "u16": struct.Struct("<H"), "u32": struct.Struct("<I")}


def pack(table: tuple[Field, ...], values: Mapping[str, Any]) -> bytes:
    """Write the fields of a header in the order of its table.

    Args:
        values: field name -> int, or bytes for the kind "bytes"; a field with a default may be missing.
    Raises:
        ConfigError: a field is missing or its value (or length) leaves [low, high].
    """
    out = bytearray()
    for field in table:
        value = values.get(field.name, field.default)
        if value is None:
            raise ConfigError(f"{field.name} is missing; permitted: {field.low} to {field.high}")
        measure = len(value) if field.kind == "bytes" else value
        if not field.low <= measure <= field.high:
            raise ConfigError(_range_message(field, measure))
        if field.kind in _STRUCTS:
            out += _STRUCTS[field.kind].pack(value)
        elif field.kind == "svar":
            out += _leb128(value << 1 if value >= 0 else ~(value << 1))
        else:
            out += _leb128(measure)
            out += value if field.kind == "bytes" else b""
    return bytes(out)


def unpack(
    table: tuple[Field, ...], view: memoryview | bytes, offset: int = 0
) -> tuple[dict[str, Any], memoryview]:
    """Read the fields of a header and give the bytes behind it.

    Args:
        view: bytes from the header on, already narrowed to the length announced for it.
        offset: position of view[0] in the file, for error messages.
    Returns:
        Field name -> int or bytes, and the rest of the view. A field with a default takes it where the
        view ends before the field.
    Raises:
        TruncatedError: the view ends inside the header.
        CorruptError: a value leaves [low, high], or a varint is not in its shortest form.
    """
    view = memoryview(view)
    end = offset + len(view)
    values: dict[str, Any] = {}
    for field in table:
        at = end - len(view)
        if field.default is not None and not view:
            values[field.name] = field.default
            continue
        if field.kind in _STRUCTS:
            raw, view = _narrow(view, _STRUCTS[field.kind].size, field, at)
            (value,) = _STRUCTS[field.kind].unpack(raw)
        else:
            value, view = _read_leb128(view, field, at)
            if field.kind == "svar":
                value = value >> 1 ^ -(value & 1)
        if not field.low <= value <= field.high:
            raise CorruptError(_range_message(field, value), offset=at)
        if field.kind == "bytes":
            raw, view = _narrow(view, value, field, at)
            value = bytes(raw)
        values[field.name] = value
    return values, view


def checksum_bytes(n_covered: int) -> int:
    """Give the width in bytes of the check sum over `n_covered` bytes."""
    return 2 if n_covered < CRC16_BELOW else 4


def checksum(*parts: bytes | memoryview) -> bytes:
    """Compute the check sum over the concatenated parts, as it stands in the file (little endian).

    Below `CRC16_BELOW` covered bytes CRC-16/CCITT (start 0xFFFF, so that a run of zeros is no valid
    packet), else CRC-32. Either detects every error that is confined to one covered byte.
    """
    width = checksum_bytes(sum(map(len, parts)))
    value = 0xFFFF if width == 2 else 0
    for part in parts:
        value = crc_hqx(part, value) if width == 2 else zlib.crc32(part, value)
    return value.to_bytes(width, "little")


def _range_message(field: Field, value: int) -> str:
    what = f"length of {field.name}" if field.kind == "bytes" else field.name
    return f"{what} is {value}; permitted: {field.low} to {field.high}"


def _narrow(view: memoryview, n_bytes: int, field: Field, offset: int) -> tuple[memoryview, memoryview]:
    if len(view) < n_bytes:
        raise TruncatedError(f"{field.name} needs {n_bytes} bytes, {len(view)} are left", offset=offset)
    return view[:n_bytes], view[n_bytes:]


def _leb128(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def _read_leb128(view: memoryview, field: Field, offset: int) -> tuple[int, memoryview]:
    value = 0
    for i, byte in enumerate(view[:MAX_VARINT_BYTES]):
        value |= (byte & 0x7F) << 7 * i
        if byte < 0x80:
            if byte == 0 and i > 0:  # one value, one spelling: a file can be compared byte by byte
                raise CorruptError(f"{field.name} is a varint with needless bytes", offset=offset)
            return value, view[i + 1 :]
    if len(view) < MAX_VARINT_BYTES:
        raise TruncatedError(f"the varint {field.name} does not end", offset=offset)
    raise CorruptError(f"{field.name} is a varint of more than {MAX_VARINT_BYTES} bytes", offset=offset)
