"""The .gsv file: streams, metadata, packets in reading order, an index of keyframes at the end.

    file := signature | version | header | unit* | index unit | footer

Writing and reading go strictly forward, so both work on pipes; the index serves only `GsvReader.seek`.
Every byte is covered by a check sum, every length is compared with the limits before anything is allocated.
Siblings: `file_header` and `index` (start and end of the file), `packet` (units).
Specified in docs/bitstream.md.
"""

from __future__ import annotations

import io
import os
from collections.abc import Iterator, Mapping, Sequence
from types import TracebackType
from typing import BinaryIO

from gscodec.config import DecoderLimits
from gscodec.container import headers, packet
from gscodec.container.file_header import (
    FileHeader,
    Stream,
    check_signature,
    pack_file_header,
    unpack_file_header,
    unpack_version,
)
from gscodec.container.headers import (
    HEADER_BYTES,
    INDEX_HEADER,
    MAX_VARINT_BYTES,
    SIGNATURE,
    VERSION,
    Field,
    checksum,
    unpack,
)
from gscodec.container.index import (
    FOOTER_BYTES,
    Index,
    Keyframe,
    pack_footer,
    pack_index,
    unpack_footer,
    unpack_index,
)
from gscodec.container.packet import Clock, Packet, PacketKind
from gscodec.errors import BitstreamError, ConfigError, CorruptError, LimitError, TruncatedError

__all__ = ["GsvReader", "GsvWriter", "Index", "Keyframe", "Packet", "Stream"]

_KEYFRAME_MEMORY = 64  # bytes that one index entry is reckoned to hold, against max_packet_bytes
_CHUNK_BYTES = 1 << 20  # read at once: a cut file's lying length does not allocate what is not there


class GsvWriter:
    """Writes a .gsv file or pipe, strictly forward; leaving its `with` by an error leaves the index out."""

    def __init__(
        self,
        target: str | os.PathLike[str] | BinaryIO,
        streams: Sequence[Stream],
        metadata: Mapping[str, str] | None = None,
        *,
        b_frames: bool = False,
        room: bool = False,
    ):
        """Open the target and write signature and header.

        Args:
            target: a path, or a buffered binary file, which stays open and need not be seekable.
            streams: the video first.
            metadata: free text by name, at most 64 KiB as JSON.
            b_frames: whether packets may be B-frames. room: whether the last stream is the room's video.
        Raises:
            ConfigError: a value the header cannot hold; nothing was opened then.
        """
        self._features = headers.FEATURE_B_FRAMES * b_frames | headers.FEATURE_ROOM * room
        start = pack_file_header(streams, metadata or {}, self._features)
        self._clock = Clock([stream.step for stream in streams])
        self._keyframes: list[Keyframe] = []
        self._n_frames = 0
        self._n_bytes = 0
        self._closed = False
        self._owns_file = isinstance(target, (str, os.PathLike))
        self._file: BinaryIO = open(target, "wb") if isinstance(target, (str, os.PathLike)) else target  # noqa: SIM115
        self._is_pipe = not self._file.seekable()
        self._put(start)

    @property
    def n_bytes(self) -> int:
        """Bytes written so far."""
        return self._n_bytes

    def write(self, item: Packet) -> int:
        """Write one packet; packets come in reading order. Gives the bytes it takes in the file.

        Raises:
            ConfigError: see `packet.pack_packet`; also if the first frame is not a keyframe.
        """
        if self._closed:
            raise ValueError("the writer is closed")
        if item.stream == 0 and not (item.is_keyframe or self._n_frames):
            raise ConfigError("the first video packet is no I-frame; permitted: an I-frame")
        if item.is_bframe and not self._features & headers.FEATURE_B_FRAMES:
            raise ConfigError(
                "a B-frame, which the file's header excludes; permitted: GsvWriter(b_frames=True)"
            )
        unit = packet.pack_packet(item, self._clock)
        if item.stream == 0:
            if item.is_keyframe:
                self._keyframes.append(Keyframe(self._n_bytes, item.pts, 0))
            last = self._keyframes[-1]
            self._keyframes[-1] = last._replace(n_frames=last.n_frames + 1)
            self._n_frames += 1
        self._put(unit)
        if self._is_pipe:  # somebody waits at its end; a buffer holds seconds of video
            self._file.flush()
        return len(unit)

    def close(self) -> None:
        """Write index and footer, flush, and close the file if this writer opened it."""
        if self._closed:
            return
        try:
            index = pack_index(Index(self._n_frames, tuple(self._keyframes)))
            unit = packet.pack_unit(PacketKind.INDEX, index)
            self._put(unit)
            self._put(pack_footer(len(unit)))
            self._file.flush()
        finally:  # also where the disk is full
            self._release()

    def __enter__(self) -> GsvWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.close()
        else:
            self._release()

    def _put(self, data: bytes) -> None:
        self._file.write(data)
        self._n_bytes += len(data)

    def _release(self) -> None:
        if self._owns_file and not self._closed:
            self._file.close()
        self._closed = True


class GsvReader:
    """Reads a .gsv file or pipe: iterate to get its packets.

    Attributes:
        version: (major, minor) of the file.
        streams: the video first.
        sequence: fields of the video's SEQUENCE_HEADER.
        metadata: free text by name.
        n_frames: video packets read so far, counted from the start of the file.
        is_complete: True once the end of the file was reached and found whole.
    """

    def __init__(self, source: str | os.PathLike[str] | BinaryIO, limits: DecoderLimits | None = None):
        """Open the source and read its header.

        Args:
            source: a path, or a binary file, which stays open and need not be seekable.
            limits: what to accept; the default limits if None.
        Raises:
            BitstreamError: CorruptError (also: no .gsv at all), TruncatedError, UnsupportedError (newer
                version or unknown feature), LimitError (too many streams, pixels or header bytes).
        """
        self._limits = limits or DecoderLimits()
        self._owns_file = isinstance(source, (str, os.PathLike))
        file: BinaryIO = open(source, "rb") if isinstance(source, (str, os.PathLike)) else source  # noqa: SIM115
        self._source = _Source(file)
        self.n_frames = 0
        self.is_complete = False
        self._index: Index | None = None
        self._error: BitstreamError | None = None
        try:
            header = self._read_header()
        except BaseException:
            self.close()
            raise
        self.version = header.version
        self.streams = header.streams
        self.sequence = header.sequence
        self.metadata = header.metadata
        self._features = header.features
        self._has_reference = False
        self._clock = Clock([stream.step for stream in self.streams])

    @property
    def has_room(self) -> bool:
        """Whether the last stream is the room's video."""
        return bool(self._features & headers.FEATURE_ROOM)

    @property
    def offset(self) -> int:
        """Bytes from the start of the .gsv to what will be read next."""
        return self._source.offset

    def __iter__(self) -> Iterator[Packet]:
        """Yield the packets that follow, in file order, up to the end of the file.

        Raises:
            TruncatedError: after the last whole packet of a file that was cut.
            CorruptError, UnsupportedError, LimitError: at the first packet that cannot be trusted. The error
                repeats until a `seek`.
        """
        while not self.is_complete:
            if self._error is not None:
                raise self._error
            try:
                item = self._read_unit()
            except BitstreamError as error:
                self._error = error
                raise
            if item is not None:
                yield item

    def index(self) -> Index | None:
        """Read the keyframes' index from the end; None for a pipe or a file that was cut.

        Raises:
            LimitError: more keyframes than the limits allow to hold.
        """
        if self._index is None and self._source.is_seekable:
            position = self._source.offset
            try:
                self._index = self._read_index()
            except (TruncatedError, CorruptError):
                return None  # the packets may still be read one after the other
            finally:
                self._source.seek(position)
        return self._index

    def seek(self, keyframe: int) -> None:
        """Continue reading at a keyframe, counted from 0.

        Raises:
            TruncatedError: there is no index.
            ConfigError: no such keyframe.
        """
        index = self.index()
        if index is None:
            raise TruncatedError("cannot seek: the file has no readable index; it was cut, or is a pipe")
        if not 0 <= keyframe < len(index.keyframes):
            raise ConfigError(f"keyframe is {keyframe}; permitted: 0 to {len(index.keyframes) - 1}")
        self._source.seek(index.keyframes[keyframe].offset)
        self.n_frames = sum(entry.n_frames for entry in index.keyframes[:keyframe])
        self._clock.restart()
        self._has_reference = False
        self.is_complete = False
        self._error = None

    def close(self) -> None:
        """Close the file if this reader opened it."""
        if self._owns_file:
            self._source.file.close()

    def __enter__(self) -> GsvReader:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _read_header(self) -> FileHeader:
        source = self._source
        check_signature(source.take_at_most(len(SIGNATURE)))
        version_bytes = source.take(len(VERSION), "the version")
        version = unpack_version(version_bytes)
        n_bytes, length = source.take_varint(HEADER_BYTES[0])
        self._check_limit("the header", n_bytes, 0)
        at = source.offset
        body = source.take(n_bytes, "the header")
        expected = checksum(SIGNATURE, version_bytes, length, body)
        if source.take(len(expected), "the header's check sum") != expected:
            raise CorruptError("the file header's check sum is wrong", offset=0)
        return unpack_file_header(body, version, self._limits, at)

    def _read_unit(self) -> Packet | None:
        """Read one unit; None for the index and for kinds of a newer minor version."""
        at = self._source.offset
        if not (first := self._source.take_at_most(1)):
            message = "the file ends without its index: it was cut, or is still being written"
            raise TruncatedError(message, offset=at, frame=self.n_frames)
        head, body_at, body = self._read_body(first, at)
        kind = head & packet.KIND_MASK
        if kind == PacketKind.INDEX:
            if head != kind:
                raise CorruptError("the index has the flags of a packet", offset=at)
            self._finish(body, body_at, self._source.offset - at)
            return None
        if kind > PacketKind.B_FRAME:
            return None
        item = packet.unpack_packet(head, body, self._clock, body_at)
        if item.stream == 0:
            if item.is_bframe and not self._features & headers.FEATURE_B_FRAMES:
                message = "a B-frame, which the file's header excludes"
                raise CorruptError(message, offset=at, frame=self.n_frames)
            if not (self._has_reference or item.is_keyframe):
                message = f"a {'B' if item.is_bframe else 'P'}-frame without an I-frame before it"
                raise CorruptError(message, offset=at, frame=self.n_frames)
            self._has_reference = True
            self.n_frames += 1
        return item

    def _read_body(self, first: bytes, at: int) -> tuple[int, int, memoryview]:
        """Read the rest of a unit and verify it: (head, position of the body, body)."""
        n_bytes, length = self._source.take_varint(packet.PACKET_HEAD[1])
        self._check_limit("a packet", n_bytes, at)
        body_at = self._source.offset
        body = self._source.take(n_bytes, "a packet")
        expected = checksum(first, length, body)
        if self._source.take(len(expected), "a packet's check sum") != expected:
            raise CorruptError("a packet's check sum is wrong", offset=at, frame=self.n_frames)
        return first[0], body_at, memoryview(body)

    def _finish(self, body: memoryview, body_at: int, n_unit_bytes: int) -> None:
        at = self._source.offset
        if unpack_footer(self._source.take(FOOTER_BYTES, "the footer"), at) != n_unit_bytes:
            raise CorruptError("the footer does not fit the index before it", offset=at)
        values, _ = unpack(INDEX_HEADER, body, body_at)
        if values["n_frames"] != self.n_frames:
            message = f"the index counts {values['n_frames']} frames, the file has {self.n_frames}"
            raise CorruptError(message, offset=body_at)
        self.is_complete = True

    def _read_index(self) -> Index:
        at = self._source.seek_from_end(FOOTER_BYTES)
        index_at = at - unpack_footer(self._source.take(FOOTER_BYTES, "the footer"), at)
        if index_at < len(SIGNATURE):
            raise CorruptError("the footer points in front of the file", offset=at)
        self._source.seek(index_at)
        head, body_at, body = self._read_body(self._source.take(1, "the index"), index_at)
        if head != PacketKind.INDEX or self._source.offset != at:
            raise CorruptError("the footer does not point at the index", offset=at)
        return unpack_index(body, body_at, self._limits.max_packet_bytes // _KEYFRAME_MEMORY)

    def _check_limit(self, what: str, n_bytes: int, at: int) -> None:
        limit = self._limits.max_packet_bytes
        if n_bytes > limit:
            raise LimitError(f"{what} of {n_bytes} bytes; limit: {limit}", offset=at)


class _Source:
    """A binary file read forward, which counts its bytes and tells a cut file from a whole one."""

    def __init__(self, file: BinaryIO):
        self.file = file
        self.offset = 0  # from the start of the .gsv, which need not be the start of the file
        self.is_seekable = file.seekable()
        self._base = file.tell() if self.is_seekable else 0

    def take_at_most(self, n_bytes: int) -> bytes:
        chunks = []
        while n_bytes and (chunk := self.file.read(min(n_bytes, _CHUNK_BYTES))):
            chunks.append(chunk)
            n_bytes -= len(chunk)
            self.offset += len(chunk)
        return b"".join(chunks)

    def take(self, n_bytes: int, what: str) -> bytes:
        at = self.offset
        data = self.take_at_most(n_bytes)
        if len(data) < n_bytes:
            raise TruncatedError(f"{what} needs {n_bytes} bytes, {len(data)} are left", offset=at)
        return data

    def take_varint(self, table_field: Field) -> tuple[int, bytes]:
        """Read a varint a byte at a time: its value and its bytes."""
        at = self.offset
        raw = b""
        while len(raw) < MAX_VARINT_BYTES and (not raw or raw[-1] >= 0x80):
            raw += self.take(1, table_field.name)
        values, _ = unpack((table_field,), raw, at)
        return values[table_field.name], raw

    def seek(self, offset: int) -> None:
        self.file.seek(self._base + offset)
        self.offset = offset

    def seek_from_end(self, n_bytes: int) -> int:
        """Go to `n_bytes` before the end of the file, or its start; gives the offset reached."""
        end = self.file.seek(0, io.SEEK_END) - self._base
        self.seek(max(0, end - n_bytes))
        return self.offset
