"""Video file -> Frames and untouched side packets. The counterpart is `video.writer`.

Times stay integers: `Frame.pts` counts the stream's own ticks. This module is the only one that reads PyAV's
rational numbers (Fraction up to PyAV 18, AVRational from 19) and turns them into Fraction.
"""

from __future__ import annotations

import math
import os
from collections import deque
from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from itertools import chain
from types import TracebackType
from typing import Any, Self

import av

from gscodec.errors import MediaError
from gscodec.prefetch import in_order
from gscodec.video.audio import OpusEncoder
from gscodec.video.frame import Frame, SidePacket, SideStream, VideoFormat
from gscodec.video.frame_rate import at_rate
from gscodec.video.picture import PictureConverter
from gscodec.video.sidestreams import (
    KINDS,
    adts_packet,
    clean_text,
    codec_name,
    describe,
    is_filler,
    to_side_packet,
)
from gscodec.video.source import SourceFormat, open_container, reason_of, why_no_picture
from gscodec.video.streams import first_video, is_cover
from gscodec.video.truncation import n_bytes_missing

_INDEXED = {"mov", "matroska"}  # containers whose seek is cheap and lands on a key picture before the target
_TECHNICAL_TAGS = {"major_brand", "minor_version", "compatible_brands", "encoder"}
_MARGIN_S = 1  # sound may lie this far from its pictures in a file
_MAX_HELD = 4096  # side packets kept back until it is known whether they are in the range
_DEFAULT_RATE = Fraction(25)
_Decoded = tuple[Any, int, int]  # FFmpeg's picture, pts, duration
CONVERTERS = max(1, min(4, (os.cpu_count() or 1) - 1))  # threads that convert: one is slower than decoding


def open_video(
    path: str | os.PathLike[str],
    *,
    size: str | tuple[int, int] | None = None,
    start_s: float | None = None,
    duration_s: float | None = None,
    max_frames: int | None = None,
    fps: Fraction | None = None,
    audio: float | str = "copy",
    source: SourceFormat | None = None,
) -> VideoReader:
    """Open the first video stream of a file (cover pictures do not count) and what can travel with it.

    Pictures are converted to R'G'B' with the coefficients and range that the stream names. Where it names no
    matrix, BT.601 is taken below 720 lines and BT.709 from there on, as players do; where it names no range,
    limited, for grey and RGB samples full. The transfer curve and the primaries are left as they are.
    Rotation and mirroring asked for by the container are applied to the pixels; the sample aspect ratio is
    kept (see `video.picture`).

    Args:
        path: a file in any container and codec that FFmpeg reads; numbered pictures (frames/%05d.png); a URL;
            with `source` a device or raw pictures.
        size: "640x360", (640, 360) or "360p", of the picture as shown; None keeps it.
        start_s, duration_s: range in seconds, counted from the first picture; exact to the picture. What is
            at start_s gets the time that the first picture had.
        max_frames: stop after that many pictures of the source.
        fps: drop and repeat pictures by their times so that so many a second come, each of one length.
        audio: "copy" takes sound as it is, "none" leaves it out, a number codes it as Opus of so many kb/s.
        source: what it is, where it does not say so itself.

    Raises:
        MediaError: no such file, nothing to decode in it, or a setting out of range.
    """
    if start_s is not None and not 0 <= start_s < math.inf:
        raise MediaError(f"start {start_s} is out of range; expected seconds >= 0")
    if duration_s is not None and not 0 < duration_s < math.inf:
        raise MediaError(f"duration {duration_s} is out of range; expected seconds > 0")
    if max_frames is not None and max_frames < 1:
        raise MediaError(f"max_frames {max_frames} is out of range; expected at least 1")
    container = open_container(os.fspath(path), source or SourceFormat())
    try:
        return VideoReader(container, os.fspath(path), size, start_s, duration_s, max_frames, fps, audio)
    except BaseException:
        container.close()
        raise


class VideoReader:
    """Iterates once over the Frames and SidePackets of a video, in file order; frames in presentation order.

    Attributes:
        format: what every frame shares; known before the first one is taken.
        side_streams: SidePacket.stream is an index into this list.
        metadata: the container's tags.
        n_frames_hint: expected number of frames, None when the file does not say.
        warnings: one line each, grows while iterating.
    """

    def __init__(
        self,
        container: Any,
        path: str,
        size: str | tuple[int, int] | None,
        start_s: float | None,
        duration_s: float | None,
        max_frames: int | None,
        fps: Fraction | None,
        audio: float | str,
    ):
        self.warnings: list[str] = []
        self._path = path
        self._container = container
        self._video = first_video(container, path)
        self._video.thread_type = "AUTO"
        self._time_base = _fraction(self._video.time_base) or Fraction(1, 90_000)
        rate = _first_fraction(self._video.average_rate, self._video.guessed_rate, self._video.base_rate)
        self._frame_ticks = max(1, round(1 / (rate * self._time_base)))
        self._side: dict[int, int] = {}  # index in the file -> index in side_streams
        self.side_streams: list[SideStream] = []
        self._has_adts: list[bool] = []  # of each side stream
        self._audio = audio
        self._opus: dict[int, OpusEncoder] = {}  # index in the file -> what codes its sound anew
        self._collect_side_streams()
        self._n_damaged = 0
        self._last_pts: int | None = None
        self._read_error: str | None = None
        self._next_side_pts = [0] * len(self.side_streams)

        self._shift = math.ceil(_ticks(start_s or 0, self._time_base))
        head, first = self._read_head()
        if first is None:
            raise MediaError(f"{path}: {why_no_picture(container, path)}")
        aspect = _fraction(self._video.sample_aspect_ratio) or Fraction(1)
        self._convert = PictureConverter(first, size, aspect, self._warn)
        color = self._convert.color
        self.format = VideoFormat(
            width=self._convert.width,
            height=self._convert.height,
            time_base=1 / fps if fps else self._time_base,
            frame_rate=fps or rate,
            sample_aspect_ratio=self._convert.sample_aspect_ratio,
            matrix=color.matrix,
            primaries=color.primaries,
            transfer=color.transfer,
            full_range=color.full_range,
        )
        tags = container.metadata.items()
        self.metadata = {clean_text(k): clean_text(v) for k, v in tags if k.lower() not in _TECHNICAL_TAGS}

        if chapters := container.chapters():
            self._warn(f"{len(chapters)} chapter marks are left out")

        origin = self._pts_of(first)
        self._last_pts = None
        self._start = origin + self._shift
        self._stop = (
            None if duration_s is None else self._start + math.ceil(_ticks(duration_s, self._time_base))
        )
        self._keep_all_side = not start_s  # an encoder's delay puts the first sound before zero
        self._max_frames = max_frames
        self.n_frames_hint = self._guess_n_frames(rate, start_s, duration_s, max_frames)
        items = self._iterate(self._skip_to_start(origin, head))
        if fps:
            items = at_rate(items, self._time_base, fps)
            self.n_frames_hint = self.n_frames_hint and max(1, round(self.n_frames_hint * fps / rate))
        self._items = in_order(self._convert_frame, items, CONVERTERS)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __iter__(self) -> Iterator[Frame | SidePacket]:
        return self._items

    def close(self) -> None:
        """Release the file and the threads that decode and convert."""
        self._items.close()
        self._container.close()

    def _iterate(self, head: list[Any]) -> Iterator[_Decoded | SidePacket]:
        """One picture is kept back, since its duration is the distance to the next one."""
        waiting: tuple[Any, int] | None = None
        n_frames = 0
        held: deque[SidePacket] = deque()
        for event in chain(head, self._source):
            if isinstance(event, SidePacket):
                if self._is_past(event):
                    break
                if self._in_range(event):
                    held.append(event)
                while held and (self._max_frames is None or len(held) > _MAX_HELD):
                    yield held.popleft()
                continue
            pts = self._pts_of(event)
            if pts < self._start:
                continue
            if waiting is not None and (self._stop is None or waiting[1] < self._stop):
                yield *waiting, pts - waiting[1]
                n_frames += 1
                while held and self._time_s(held[0]) < pts * self._time_base:
                    yield held.popleft()
            waiting = (event, pts)
            if n_frames == self._max_frames and (self._stop is None or pts < self._stop):
                self._stop = pts
            margin = _MARGIN_S / self._time_base if self._side else 0
            if self._stop is not None and pts >= self._stop + margin:
                break
        else:
            self._warn_if_cut()
        if waiting is not None and (self._stop is None or waiting[1] < self._stop):
            yield *waiting, waiting[0].duration or self._frame_ticks
            n_frames += 1
        if n_frames == 0:
            raise MediaError(f"{self._path}: no picture lies in the range asked for; give an earlier start")
        yield from (packet for packet in held if self._in_range(packet))

    def _convert_frame(self, item: _Decoded | SidePacket) -> Frame | SidePacket:
        if isinstance(item, SidePacket):
            return item
        picture, pts, duration = item
        return Frame(self._convert(picture), pts, duration)

    def _events(self) -> Iterator[Any]:
        """Yield decoded pictures and SidePackets in file order; damage becomes a warning, no exception."""
        wanted = [self._video, *(self._container.streams[i] for i in self._side)]
        packets = self._container.demux(wanted)
        for index in self._opus:  # an encoder that has begun elsewhere in the file cannot go on
            self._opus[index] = OpusEncoder(self._container.streams[index], float(self._audio))
        while True:
            try:
                packet = next(packets, None)
            except av.FFmpegError as error:
                self._read_error = reason_of(error)
                packet = None
            if packet is None:
                break
            if packet.stream_index in self._side:
                codec = self.side_streams[self._side[packet.stream_index]].codec
                if packet.stream_index in self._opus:
                    if packet.size:
                        yield from self._sound(packet.stream_index, packet)
                elif (packet.size or packet.dts is not None) and not is_filler(packet, codec):
                    yield self._side_packet(packet)
            elif packet.size:
                yield from self._decode(packet)
        yield from self._decode(None)
        for index in self._opus:
            yield from self._sound(index, None)
        if self._n_damaged:
            self._warn(f"{self._n_damaged} packets could not be decoded and were left out")

    def _decode(self, packet: Any) -> list[Any]:
        try:
            return self._video.decode(packet)
        except av.error.EOFError:
            return []
        except av.FFmpegError:
            self._n_damaged += 1
            return []

    def _side_packet(self, packet: Any) -> SidePacket:
        index = self._side[packet.stream_index]
        made = to_side_packet(packet, index, self._next_side_pts[index], self._has_adts[index])
        self._next_side_pts[index] = made.pts + made.duration
        return self._shifted(made)

    def _sound(self, number: int, packet: Any) -> list[SidePacket]:
        """What a packet of sound, or its end, comes to where sound is coded anew."""
        return [self._shifted(p) for p in self._opus[number].feed(packet, self._side[number])]

    def _shifted(self, made: SidePacket) -> SidePacket:
        shift = round(self._shift * self._time_base / self.side_streams[made.stream].time_base)
        return replace(made, pts=made.pts - shift, dts=made.dts - shift) if shift else made

    def _pts_of(self, picture: Any) -> int:
        """Return the picture's time; without one that advances, one frame after the previous picture."""
        pts, last = picture.pts, self._last_pts
        pts = None if pts is None else pts - self._shift
        if last is not None and (pts is None or pts <= last):
            if pts is not None:
                self._warn("some pictures have times that do not advance; they were moved to one frame later")
            pts = last + self._frame_ticks
        self._last_pts = 0 if pts is None else pts
        return self._last_pts

    def _in_range(self, packet: SidePacket) -> bool:
        time_s = self._time_s(packet)
        after_start = self._keep_all_side or time_s >= self._start * self._time_base
        return after_start and (self._stop is None or time_s < self._stop * self._time_base)

    def _is_past(self, packet: SidePacket) -> bool:
        if self._stop is None or self._last_pts is None or self._last_pts < self._stop:
            return False
        return self._time_s(packet) >= self._stop * self._time_base + _MARGIN_S

    def _time_s(self, packet: SidePacket) -> Fraction:
        return packet.pts * self.side_streams[packet.stream].time_base

    def _collect_side_streams(self) -> None:
        for stream in self._container.streams:
            if stream.index == self._video.index:
                continue
            if stream.type == "audio" and self._audio == "none":
                pass
            elif stream.type in KINDS:
                try:
                    adts = b""
                    if stream.type == "audio" and self._audio != "copy":
                        self._opus[stream.index] = OpusEncoder(stream, float(self._audio))
                        made = self._opus[stream.index].side_stream
                    else:
                        adts = adts_packet(stream, self._path)
                        made = describe(stream, _fraction(stream.time_base) or Fraction(1, 1000), adts)
                except (ValueError, av.FFmpegError) as error:
                    self._warn(f"{error}; it is left out")
                else:
                    self._has_adts.append(bool(adts))
                    self._side[stream.index] = len(self.side_streams)
                    self.side_streams.append(made)
                    continue
            elif not is_cover(stream):
                what = "a second video" if stream.type == "video" else f"an {stream.type}"
                self._warn(f"{what} stream ({codec_name(stream)}) is left out")
            stream.discard = av.stream.Discard.all

    def _read_head(self) -> tuple[list[Any], Any]:
        """Start reading where the file stands; return the events up to the first picture, and it or None."""
        head: list[Any] = []
        self._source = self._events()
        for event in self._source:
            head.append(event)
            if not isinstance(event, SidePacket):
                return head, event
        return head, None

    def _skip_to_start(self, origin: int, head: list[Any]) -> list[Any]:
        """Seek near the start when that is cheap; return the events to begin with."""
        target = self._start - math.ceil(_MARGIN_S / self._time_base)
        if target <= origin or self._container.format.name.split(",")[0] not in _INDEXED:
            return head
        for goal in (target, origin):
            try:
                self._container.seek(goal + self._shift, stream=self._video)
            except av.FFmpegError:
                continue
            self._read_error = None
            head, first = self._read_head()
            if first is not None and first.pts is not None and first.pts - self._shift <= self._start:
                return head
        return head

    def _guess_n_frames(
        self, rate: Fraction, start_s: float | None, duration_s: float | None, max_frames: int | None
    ) -> int | None:
        if self._video.duration:
            total_s = self._video.duration * self._time_base
        else:
            total_s = Fraction(self._container.duration or 0, av.time_base)
        n_total = self._video.frames or round(total_s * rate)
        if not n_total:
            return max_frames
        n = n_total - math.ceil((start_s or 0) * rate)
        if duration_s is not None:
            n = min(n, math.ceil(duration_s * rate))
        return max(1, n if max_frames is None else min(n, max_frames))

    def _warn_if_cut(self) -> None:
        if self._read_error is not None:
            self._warn(f"{self._path}: reading stopped early ({self._read_error}); what was there is used")
            return
        n_missing = n_bytes_missing(self._path)
        if n_missing:
            self._warn(f"{self._path}: the last {n_missing} bytes are missing; what was there is used")

    def _warn(self, line: str) -> None:
        if line not in self.warnings:
            self.warnings.append(line)


def _fraction(value: Any) -> Fraction | None:
    """Turn PyAV's rational (None, Fraction or AVRational) into a positive Fraction, else None."""
    if value is None or not value.denominator or value.numerator <= 0:
        return None
    return Fraction(value.numerator, value.denominator)


def _first_fraction(*values: Any) -> Fraction:
    return next((f for f in map(_fraction, values) if f is not None), _DEFAULT_RATE)


def _ticks(time_s: float, time_base: Fraction) -> Fraction:
    return Fraction(str(time_s)) / time_base  # str: 0.1 s means one tenth, not its binary neighbour above
