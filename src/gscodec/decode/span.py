"""A part of a .gsv by time: where to begin reading, what is shown, and with which times."""

from __future__ import annotations

import math
from dataclasses import replace
from fractions import Fraction

from gscodec.container.container import GsvReader
from gscodec.video.frame import Frame, SidePacket

_MARGIN_S = 1  # sound may lie this far from its frames in a file


class Span:
    """From start_s on, for duration_s, counted from the first frame, whose time goes to what is at start_s.

    Frames before it are decoded from a keyframe on and not shown: what a decoder holds depends on them.

    Attributes:
        is_past: what comes now is later than all that is wanted.
    """

    def __init__(
        self,
        reader: GsvReader,
        start_s: float,
        duration_s: float | None,
        time_base: Fraction | None = None,
    ):
        """Place a reader that has just been opened before the part, by its index where there is one.

        Args:
            reader: of a file; of a pipe everything is decoded from the first frame on.
            start_s, duration_s: seconds; None: to the end.
            time_base: seconds per tick of the frames that will be asked about; None: as in the file.
        """
        clock = reader.streams[0].time_base
        self._time_base = time_base or clock
        self._side_bases = [stream.time_base for stream in reader.streams[1:]]
        self._margin = math.ceil(_MARGIN_S / self._time_base) if self._side_bases else 0
        self._shift = _ticks(start_s, self._time_base)
        self._length = None if duration_s is None else _ticks(duration_s, self._time_base)
        self._origin: Fraction | None = None  # of the first frame, in ticks
        self.is_past = False
        index = reader.index()
        if index is not None and index.keyframes:
            self._origin = index.keyframes[0].pts * clock / self._time_base
            latest = (self._origin + self._shift - self._margin) * self._time_base
            before = [i for i, keyframe in enumerate(index.keyframes) if keyframe.pts * clock <= latest]
            if before and before[-1] > 0:
                reader.seek(before[-1])

    def frame(self, frame: Frame) -> Frame | None:
        """Return a decoded frame with the time that it has in the part; None outside of it."""
        if self._origin is None:
            self._origin = Fraction(frame.pts)
        time = frame.pts - self._origin - self._shift  # since the start of the part
        if self._length is not None:
            self.is_past = time >= self._length + self._margin
        if time < 0 or (self._length is not None and time >= self._length):
            return None
        return replace(frame, pts=frame.pts - self._shift)

    def side(self, packet: SidePacket) -> SidePacket | None:
        """The same for a packet of sound or subtitles."""
        time_base = self._side_bases[packet.stream]
        time_s = packet.pts * time_base - ((self._origin or 0) + self._shift) * self._time_base
        if self._shift and time_s < 0:  # an encoder's delay puts the first sound of a file before zero
            return None
        if self._length is not None and time_s >= self._length * self._time_base:
            return None
        shift = round(self._shift * self._time_base / time_base)
        return replace(packet, pts=packet.pts - shift, dts=packet.dts - shift)


def _ticks(time_s: float, time_base: Fraction) -> int:
    return math.ceil(Fraction(str(time_s)) / time_base)  # str: 0.1 is a tenth, not its binary neighbour above
