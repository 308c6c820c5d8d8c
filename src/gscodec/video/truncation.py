"""Is a file shorter than it says? FFmpeg only logs that, and lengths in seconds are too vague to tell."""

from __future__ import annotations

import os
from typing import BinaryIO

_EBML, _SEGMENT = b"\x1a\x45\xdf\xa3", b"\x18\x53\x80\x67"


def n_bytes_missing(path: str | os.PathLike[str]) -> int:
    """Return by how many bytes an MP4/MOV or Matroska/WebM file is too short, 0 for others and when unknown.

    Only sizes of outermost elements are read: MP4 boxes (ISO/IEC 14496-12, 4.2) and the Matroska segment
    (RFC 8794, 4 to 6).
    """
    if not os.path.isfile(path):
        return 0
    n_bytes = os.path.getsize(path)
    with open(path, "rb") as file:
        end = _matroska_end(file) if file.read(4) == _EBML else _mp4_end(file, n_bytes)
    return max(0, end - n_bytes)


def _mp4_end(file: BinaryIO, n_bytes: int) -> int:
    """Walk over the boxes; return where the last one ends, 0 when this is no MP4."""
    position = 0
    while position + 8 <= n_bytes:
        file.seek(position)
        head = file.read(16)
        size, kind = int.from_bytes(head[:4], "big"), head[4:8]
        if position == 0 and kind not in (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip"):
            return 0
        if size == 1:
            size = int.from_bytes(head[8:16], "big")
        if size < 8:  # 0: up to the end of the file, whatever that is
            return 0
        position += size
    return position


def _matroska_end(file: BinaryIO) -> int:
    """Return where the segment ends, 0 when it does not say (a live recording)."""
    file.seek(4)
    skip = _ebml_size(file)
    if skip is None:
        return 0
    file.seek(skip, os.SEEK_CUR)
    if file.read(4) != _SEGMENT:
        return 0
    size = _ebml_size(file)
    return 0 if size is None else file.tell() + size


def _ebml_size(file: BinaryIO) -> int | None:
    """Read a size of 1 to 8 bytes; leading zero bits count further bytes, all value bits set: unknown."""
    first = file.read(1)
    if not first or first[0] == 0:
        return None
    n_more = 8 - first[0].bit_length()
    value = int.from_bytes(first + file.read(n_more), "big")
    n_value_bits = 7 * (n_more + 1)
    value &= (1 << n_value_bits) - 1
    return None if value == (1 << n_value_bits) - 1 else value
