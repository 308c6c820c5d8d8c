"""Frames at the times of another rate: Gaussians between two frames, or the nearest of a faster clip."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from fractions import Fraction

import numpy as np

from gscodec.container.container import GsvReader
from gscodec.container.headers import FrameType
from gscodec.container.packet import Packet
from gscodec.decode.decoder import Decoder
from gscodec.errors import BitstreamError, ConfigError, MediaError
from gscodec.splat.gaussians import Gaussians
from gscodec.thumbnails import is_scene_cut, thumbnail
from gscodec.video.frame import Frame, VideoFormat

MIN_FPS, MAX_FPS = Fraction(1, 100), Fraction(1000)
MAX_DENOMINATOR = 10_000  # of a rate as a fraction: clocks of containers are 32-bit numbers
# Steps of at least this share of the time between two frames are of no higher rate: times are rounded.
SAME_RATE = Fraction(9, 10)
# Of the time between two frames: nearer than this a frame is shown as it is.
NEAR = Fraction(1, 32)
LONGEST_MOVE = Fraction(1, 2)  # seconds; over a longer pause nothing moves
LONGEST_PAUSE = 3600  # seconds that are filled with pictures


@dataclass(frozen=True, slots=True)
class Step:
    """What decoding does next: a packet was read, or a frame is there, or both.

    Attributes:
        packet: the packet that was read. frame: the frame that is there; is_cut_out: as of the decoder.
        n_gaussians: of the last frame. offset: how far the file has been read, bytes.
    """

    packet: Packet | None
    frame: Frame | None
    n_gaussians: int
    offset: int
    is_cut_out: bool = True


@dataclass(frozen=True, slots=True)
class _Coded:
    """A frame of the file: its time and how long it lasts, seconds, what is drawn of it and what it shows."""

    time: Fraction
    duration: Fraction
    frame_type: FrameType
    gaussians: Gaussians
    pixels: np.ndarray
    is_cut_out: bool


def frame_rate(value: str | float | Fraction) -> Fraction:
    """Frames per second as a fraction.

    Args:
        value: such as 60, "29.97" or "30000/1001".
    Raises:
        ConfigError: no number, or outside MIN_FPS to MAX_FPS.
    """
    try:
        # As a float first: a fraction of 1e999999999 would be long in the making.
        is_sane = "/" in str(value) or MIN_FPS <= float(value) <= MAX_FPS
        rate = Fraction(value) if is_sane else Fraction(0)
    except (ValueError, ZeroDivisionError):
        rate = Fraction(0)
    if not MIN_FPS <= rate <= MAX_FPS:
        permitted = f"{float(MIN_FPS):g} to {float(MAX_FPS):g}, also as 30000/1001"
        raise ConfigError(f"--fps {value} is out of range; permitted: {permitted}")
    return rate.limit_denominator(MAX_DENOMINATOR)


def retimed_format(video: VideoFormat, fps: Fraction) -> VideoFormat:
    """The format of a clip whose frame n is shown at n/fps."""
    return replace(video, time_base=Fraction(1, fps.numerator), frame_rate=fps)


def decoded(reader: GsvReader, decoder: Decoder) -> Iterator[Step]:
    """Every frame at its own time, with the packets between them."""
    for p in decoder.frames(reader):
        frame, n = None, 0
        if p.frame_type is not None:
            frame, n = Frame(decoder.render(), p.pts, p.duration), len(decoder.state)
        yield Step(p, frame, n, reader.offset, decoder.is_cut_out)


def retimed(reader: GsvReader, decoder: Decoder, fps: Fraction) -> Iterator[Step]:
    """Frames at the times n/fps, in retimed_format's ticks, as long as the clip lasts.

    A rate that is higher than the clip's moves Gaussians; at a lower one the nearest frame is shown. Nothing
    moves across an I-frame, a scene cut or a long pause: the frame before stands. So does the last one.

    Raises:
        BitstreamError: where it lies, behind the frames before it. MediaError: a pause is too long to fill.
    """
    time_base = reader.streams[0].time_base
    clock = _Clock(fps)
    before: _Coded | None = None
    n_gaussians = 0

    def steps(frames: Iterator[Frame], of: _Coded) -> Iterator[Step]:
        return (Step(None, frame, n_gaussians, reader.offset, of.is_cut_out) for frame in frames)

    try:
        for p in decoder.frames(reader):
            if p.frame_type is None:
                yield Step(p, None, 0, reader.offset)
                continue
            n_gaussians = len(decoder.state)
            time, duration = p.pts * time_base, p.duration * time_base
            if duration == 0:  # unknown: as long as the frame before
                duration = clock.step if before is None else abs(time - before.time)
            drawn = decoder.gaussians, decoder.render(), decoder.is_cut_out
            now = _Coded(time, duration, p.frame_type, *drawn)
            yield Step(p, None, n_gaussians, reader.offset)
            if before is not None:
                yield from steps(_frames_between(decoder, before, now, clock), before)
            before = now
    except BitstreamError:
        if before is not None:
            yield from steps(_frames_after(before, clock), before)
        raise
    if before is not None:
        yield from steps(_frames_after(before, clock), before)


class _Clock:
    """Counts the frames of a rate."""

    def __init__(self, fps: Fraction) -> None:
        self._fps = fps
        self._next: int | None = None

    def times(self, begin: Fraction, end: Fraction) -> Iterator[tuple[Fraction, int, int]]:
        """Times of the next frames, seconds, before `end`, with their pts and duration in ticks.

        Args:
            begin: the time of the frame that is shown there, seconds. The first frame of all is as near to
                it as the rate permits.
        """
        if end - begin > LONGEST_PAUSE:
            raise MediaError(
                f"a frame lasts {float(end - begin):.6g} s; --fps fills at most {LONGEST_PAUSE} s"
            )
        if self._next is None:
            self._next = round(begin * self._fps)
            yield self._take()
        while self._next / self._fps < end:
            yield self._take()

    @property
    def step(self) -> Fraction:
        """Seconds from frame to frame."""
        return 1 / self._fps

    def _take(self) -> tuple[Fraction, int, int]:
        assert self._next is not None
        ticks = self._fps.denominator
        taken = self._next / self._fps, self._next * ticks, ticks
        self._next += 1
        return taken


def _frames_between(decoder: Decoder, before: _Coded, now: _Coded, clock: _Clock) -> Iterator[Frame]:
    """Frames from one coded frame's time on and before that of the next, which was decoded last."""
    length = now.time - before.time
    if length <= 0:
        raise MediaError(
            f"a frame at {float(now.time):.6g} s after one at {float(before.time):.6g} s; expected later"
        )
    is_slower = clock.step >= SAME_RATE * length
    moves: bool | None = None  # not looked at yet
    for time, pts, duration in clock.times(before.time, now.time):
        share = (time - before.time) / length
        if is_slower:
            pixels = before.pixels if share < Fraction(1, 2) else now.pixels
        elif share <= NEAR:
            pixels = before.pixels
        elif share >= 1 - NEAR:
            pixels = now.pixels
        else:
            if moves is None:
                moves = _moves(before, now)
            pixels = (
                decoder.render_between(
                    before.gaussians, now.gaussians, float(share), (before.pixels, now.pixels)
                )
                if moves
                else before.pixels
            )
        yield Frame(pixels, pts, duration)


def _frames_after(last: _Coded, clock: _Clock) -> Iterator[Frame]:
    """Frames from the last coded frame's time on, as long as it lasts."""
    for _, pts, duration in clock.times(last.time, last.time + last.duration):
        yield Frame(last.pixels, pts, duration)


def _moves(before: _Coded, now: _Coded) -> bool:
    """Whether what lies between two frames is known: the same Gaussians in the same scene, soon after."""
    return (
        now.frame_type != FrameType.I
        and now.time - before.time <= LONGEST_MOVE
        and not is_scene_cut(thumbnail(before.pixels[..., :3]), thumbnail(now.pixels[..., :3]))
    )
