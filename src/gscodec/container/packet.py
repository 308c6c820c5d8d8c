"""Packets: one coded frame or one untouched side packet, and their framing of some four bytes.

    unit := head u8 | n_bytes uvar | body[n_bytes] | check sum over all of these

Everything that can be predicted is left out: a P-frame at a constant frame rate is head, length, payload and
check sum. Predictions start anew at every I-frame, so reading may start at any of them. Siblings: `headers`
(the field tables' two functions), `container` (the file). Specified in docs/bitstream.md, "Packets".
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from functools import cache

from gscodec.container.headers import MAX_TICKS, Field, FrameType, checksum, pack, unpack
from gscodec.errors import ConfigError, CorruptError, UnsupportedError


class PacketKind(IntEnum):
    """Bits 0–2 of a unit's head. Readers skip kinds they do not know."""

    I_FRAME = 0
    P_FRAME = 1
    SIDE = 2
    INDEX = 3
    B_FRAME = 4


KIND_MASK = 0b0000_0111
FLAG_KEYFRAME = 0b0000_1000  # of a side packet; a video packet's kind says it
FLAG_RECOVERY = 0b0000_1000  # of a P-frame: it is a recovery point
FLAG_PTS = 0b0001_0000
FLAG_DURATION = 0b0010_0000
FLAG_DTS = 0b0100_0000  # side packets only
RESERVED = 0b1000_0000

PACKET_HEAD = (  # docs/bitstream.md, section "Packets"
    Field("head", "u8", 0, 255),
    Field("n_bytes", "uvar", 0, (1 << 30) - 1),
)

PACKET_BODY = (  # which of them are there is said by the head: see `_body_fields`
    Field("stream", "uvar", 1, 255),
    Field("pts_change", "svar", -4 * MAX_TICKS, 4 * MAX_TICKS),
    Field("duration", "uvar", 0, MAX_TICKS),
    Field("dts_change", "svar", -2 * MAX_TICKS, 2 * MAX_TICKS),
)

_BODY_FLAGS = (None, FLAG_PTS, FLAG_DURATION, FLAG_DTS)  # the stream goes with PacketKind.SIDE


@dataclass(frozen=True, slots=True)
class Packet:
    """All bytes of one frame (stream 0), or one untouched packet of a side stream.

    Attributes:
        stream: index into the container's streams; 0 is the video.
        pts: presentation time in ticks of the stream's time base, ±2^60.
        is_keyframe: decoding may start here; for the video: it is an I-frame.
        payload: access unit (FRAME_HEADER and its sections), or the side codec's bytes.
        duration: ticks, 0 when unknown.
        dts: decoding time of a side packet, None = pts; the video has none, its order is display order.
        is_recovery: of a P-frame: FrameType.RECOVERY. is_bframe: FrameType.B, whose payload is empty.
    """

    stream: int
    pts: int
    is_keyframe: bool
    payload: bytes = field(repr=False)
    duration: int = 0
    dts: int | None = None
    is_recovery: bool = False
    is_bframe: bool = False

    @property
    def frame_type(self) -> FrameType | None:
        """FrameType of a video packet, None for a side packet."""
        if self.stream != 0:
            return None
        if self.is_keyframe:
            return FrameType.I
        if self.is_bframe:
            return FrameType.B
        return FrameType.RECOVERY if self.is_recovery else FrameType.P


class Clock:
    """Predicts pts and duration of each stream's next packet, in writer and reader alike.

    The pts is the previous one plus the previous step, the duration the previous one. Since `restart` (at
    the start of the file and at every I-frame) without a packet: pts 0 and the stream header's step.
    """

    def __init__(self, steps: Sequence[int]):
        """`steps[i]`: ticks from packet to packet that stream i's header promises, 0 when unknown."""
        self._first_steps = tuple(steps)
        self.restart()

    def __len__(self) -> int:
        return len(self._first_steps)

    def restart(self) -> None:
        """Forget everything but the stream headers."""
        n_streams = len(self._first_steps)
        self._pts: list[int | None] = [None] * n_streams
        self._steps = list(self._first_steps)
        self._durations = list(self._first_steps)

    def predict(self, stream: int) -> tuple[int, int]:
        """Give (pts, duration) expected of the stream's next packet."""
        previous = self._pts[stream]
        pts = 0 if previous is None else previous + self._steps[stream]
        return pts, self._durations[stream]

    def advance(self, stream: int, pts: int, duration: int) -> None:
        """Take note of a packet's true pts and duration."""
        previous = self._pts[stream]
        if previous is not None:
            self._steps[stream] = pts - previous
        self._pts[stream] = pts
        self._durations[stream] = duration


def pack_unit(head: int, body: bytes) -> bytes:
    """Frame a body: head, length, body, check sum."""
    start = pack(PACKET_HEAD, {"head": head, "n_bytes": len(body)})
    return b"".join((start, body, checksum(start, body)))


def pack_packet(packet: Packet, clock: Clock) -> bytes:
    """Write one packet as a unit and advance the clock.

    Raises:
        ConfigError: unknown stream, a video packet with dts, a time beyond ±2^60 ticks, or too many bytes.
    """
    if not 0 <= packet.stream < len(clock):
        raise ConfigError(f"packet's stream is {packet.stream}; permitted: 0 to {len(clock) - 1}")
    if packet.stream == 0 and packet.dts is not None:
        raise ConfigError("a video packet has a dts; permitted: None, coding order is display order")
    if packet.is_recovery and (packet.stream or packet.is_keyframe):
        raise ConfigError("a side packet or an I-frame is a recovery point; permitted: P-frames")
    if packet.is_bframe and (packet.stream or packet.is_keyframe or packet.is_recovery or packet.payload):
        raise ConfigError(
            "a B-frame has a payload or is something else too; permitted: an empty one of stream 0"
        )
    dts = packet.pts if packet.dts is None else packet.dts
    for name, ticks in (("pts", packet.pts), ("dts", dts), ("duration", packet.duration)):
        if abs(ticks) > MAX_TICKS:
            raise ConfigError(f"packet's {name} is {ticks} ticks; permitted: ±{MAX_TICKS}")

    if packet.frame_type is None:
        head = PacketKind.SIDE | (FLAG_KEYFRAME if packet.is_keyframe else 0)
    elif packet.is_bframe:
        head = PacketKind.B_FRAME
    else:
        head = PacketKind.I_FRAME if packet.is_keyframe else PacketKind.P_FRAME
        head |= FLAG_RECOVERY if packet.is_recovery else 0
    if head == PacketKind.I_FRAME:
        clock.restart()
    expected_pts, expected_duration = clock.predict(packet.stream)
    values = {
        "stream": packet.stream,
        "pts_change": packet.pts - expected_pts,
        "duration": packet.duration,
        "dts_change": dts - packet.pts,
    }
    head |= FLAG_PTS if values["pts_change"] else 0
    head |= FLAG_DURATION if packet.duration != expected_duration else 0
    head |= FLAG_DTS if values["dts_change"] else 0
    unit = pack_unit(head, pack(_body_fields(head), values) + packet.payload)
    clock.advance(packet.stream, packet.pts, packet.duration)
    return unit


def unpack_packet(head: int, body: memoryview, clock: Clock, offset: int = 0) -> Packet:
    """Read the body of a unit whose check sum was right and whose kind is a frame's or SIDE.

    Args:
        offset: position of body[0] in the file, for error messages.
    Raises:
        UnsupportedError: the head has the reserved bit.
        CorruptError, TruncatedError: the body's fields are out of range or missing.
    """
    kind = PacketKind(head & KIND_MASK)
    if head & RESERVED:
        raise UnsupportedError("a packet has the reserved bit: a newer gscodec wrote this", offset=offset)
    is_intra_or_bframe = kind in (PacketKind.I_FRAME, PacketKind.B_FRAME)
    if (is_intra_or_bframe and head & FLAG_KEYFRAME) or (kind != PacketKind.SIDE and head & FLAG_DTS):
        raise CorruptError("a video packet has the flags of a side packet", offset=offset)
    values, payload = unpack(_body_fields(head), body, offset)
    if kind == PacketKind.B_FRAME and len(payload):
        raise CorruptError(f"a B-frame has {len(payload)} bytes of payload; expected none", offset=offset)
    stream = values.get("stream", 0)
    if stream >= len(clock):
        raise CorruptError(f"packet's stream is {stream}; the file has {len(clock)} streams", offset=offset)
    if kind == PacketKind.I_FRAME:
        clock.restart()
    expected_pts, expected_duration = clock.predict(stream)
    pts = expected_pts + values.get("pts_change", 0)
    duration = values.get("duration", expected_duration)
    dts = pts + values.get("dts_change", 0)
    if max(abs(pts), abs(dts)) > MAX_TICKS:
        raise CorruptError(f"packet's pts {pts} or dts {dts} is beyond ±{MAX_TICKS} ticks", offset=offset)
    clock.advance(stream, pts, duration)
    is_keyframe = kind == PacketKind.I_FRAME or (kind == PacketKind.SIDE and bool(head & FLAG_KEYFRAME))
    side_dts = dts if kind == PacketKind.SIDE else None
    is_recovery = kind == PacketKind.P_FRAME and bool(head & FLAG_RECOVERY)
    is_bframe = kind == PacketKind.B_FRAME
    return Packet(stream, pts, is_keyframe, bytes(payload), duration, side_dts, is_recovery, is_bframe)


@cache  # 256 heads
def _body_fields(head: int) -> tuple[Field, ...]:
    is_side = head & KIND_MASK == PacketKind.SIDE
    return tuple(
        f
        for f, flag in zip(PACKET_BODY, _BODY_FLAGS, strict=True)
        if (is_side if flag is None else head & flag)
    )
