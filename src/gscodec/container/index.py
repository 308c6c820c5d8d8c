"""The end of a .gsv file: the index of keyframes, and the footer that says where the index starts.

Sibling: `file_header`, the start of the file. Specified in docs/bitstream.md, "Index" and "Footer".
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from gscodec.container import headers
from gscodec.container.headers import checksum, pack, unpack
from gscodec.errors import CorruptError, LimitError

FOOTER_BYTES = 4 + 2 + len(headers.FOOTER_MAGIC)  # index_bytes, check sum, magic


class Keyframe(NamedTuple):
    """Index entry: where the I-frame's unit starts in the file, its pts, frames up to the next one."""

    offset: int
    pts: int
    n_frames: int


@dataclass(frozen=True, slots=True)
class Index:
    """What stands at the end of a whole file: number of frames, and all keyframes in order."""

    n_frames: int
    keyframes: tuple[Keyframe, ...]


def pack_index(index: Index) -> bytes:
    """Write the body of the index unit; every entry holds differences from the one before it."""
    out = [pack(headers.INDEX_HEADER, {"n_frames": index.n_frames, "n_keyframes": len(index.keyframes)})]
    previous = Keyframe(0, 0, 0)
    for entry in index.keyframes:
        change = {
            "offset_change": entry.offset - previous.offset,
            "pts_change": entry.pts - previous.pts,
            "n_frames": entry.n_frames,
        }
        out.append(pack(headers.INDEX_ENTRY, change))
        previous = entry
    return b"".join(out)


def unpack_index(body: memoryview, offset: int, max_keyframes: int) -> Index:
    """Read the body of the index unit.

    Args:
        offset: position of body[0] in the file.
        max_keyframes: how many entries to accept.
    Raises:
        LimitError: more entries than that.
        CorruptError, TruncatedError: the fields contradict each other, or are missing.
    """
    values, view = unpack(headers.INDEX_HEADER, body, offset)
    if values["n_keyframes"] > max_keyframes:
        raise LimitError(f"index of {values['n_keyframes']} keyframes; limit: {max_keyframes}", offset=offset)
    end = offset + len(body)
    keyframes = []
    at = pts = 0
    for _ in range(values["n_keyframes"]):
        change, view = unpack(headers.INDEX_ENTRY, view, end - len(view))
        at += change["offset_change"]
        pts += change["pts_change"]
        keyframes.append(Keyframe(at, pts, change["n_frames"]))
    if at >= offset or sum(entry.n_frames for entry in keyframes) != values["n_frames"]:
        raise CorruptError("the index contradicts itself", offset=offset)
    return Index(values["n_frames"], tuple(keyframes))


def pack_footer(n_index_bytes: int) -> bytes:
    """Write the last bytes of the file, from which a reader finds the index unit just before them."""
    start = pack(headers.FOOTER, {"index_bytes": n_index_bytes})
    return start + checksum(start, headers.FOOTER_MAGIC) + headers.FOOTER_MAGIC


def unpack_footer(data: bytes, offset: int) -> int:
    """Give the number of bytes of the index unit before the footer.

    Raises:
        CorruptError: these are not the last bytes of a whole .gsv file.
    """
    values, rest = unpack(headers.FOOTER, data, offset)
    n_fields = len(data) - len(rest)
    if rest != checksum(data[:n_fields], headers.FOOTER_MAGIC) + headers.FOOTER_MAGIC:
        raise CorruptError("the footer is damaged", offset=offset)
    return values["index_bytes"]
