"""What is drawn of a frame: its Gaussians, what a decoder shows, and the source it was coded from."""

from __future__ import annotations

import os
from collections.abc import Generator, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass, field, replace
from fractions import Fraction
from functools import cached_property

import numpy as np

from gscodec.analysis.matting import Matter
from gscodec.analysis.seeds import nearest_seeds
from gscodec.analysis.superpixel import segments
from gscodec.config import DecoderLimits, encoder_config
from gscodec.container.container import GsvReader, Packet
from gscodec.container.headers import FrameType
from gscodec.decode.backgrounds import Background
from gscodec.decode.compose import Composer
from gscodec.decode.decoder import Decoder, check_sequence, room_of, video_format
from gscodec.decode.layers import split
from gscodec.errors import MediaError
from gscodec.splat.gaussians import opponent_from_rgb
from gscodec.video.frame import Frame, VideoFormat
from gscodec.video.reader import VideoReader
from gscodec.visualize.trace import Trace, Tracer

KINDS = {
    FrameType.I: "I-frame",
    FrameType.P: "P-frame",
    FrameType.RECOVERY: "P-frame (recovery)",
    FrameType.B: "B-frame",
}


@dataclass(frozen=True, slots=True)
class Survey:
    """What must be known of a .gsv before any of it is drawn.

    Attributes:
        times: of its frames in the order they are shown, seconds from the first.
        coded: numbers of the frames that are no B-frames, for which nothing is coded.
        has_person: whether in some GOP a person is told from the room (Decoder.is_cut_out).
    """

    video: VideoFormat
    times: list[float]
    coded: list[int]
    has_person: bool


def survey(path: str | os.PathLike[str]) -> Survey:
    """Read a .gsv through, drawing nothing.

    Raises:
        BitstreamError: it is damaged. MediaError: it holds no frames.
    """
    limits = DecoderLimits()
    with GsvReader(path, limits) as reader:
        sequence = check_sequence(reader.sequence, limits)
        tracer = Tracer(sequence, limits)
        video, has_person = video_format(reader), sequence.background == "none"
        ticks: list[int] = []
        coded: list[int] = []
        for packet in reader:
            if packet.frame_type is None:
                continue
            ticks.append(packet.pts)
            if packet.frame_type != FrameType.B:
                has_person |= bool(tracer.take(packet).is_room.any())
                coded.append(len(ticks) - 1)
    if not ticks:
        raise MediaError(f"{path}: holds no frames")
    times = [float((t - ticks[0]) * video.time_base) for t in ticks]
    return Survey(video, times, coded, has_person)


@dataclass
class StartOfGop:
    """The source of a GOP's I-frame, and what its superpixels are.

    Attributes:
        number: of the frame. matte: what mattered, uint8 [H, W].
        trace: of the I-frame, whose Gaussians say how many superpixels there are.
    """

    number: int
    source: np.ndarray
    matte: np.ndarray
    trace: Trace

    @cached_property
    def labels(self) -> tuple[np.ndarray, int]:
        """Which superpixel each pixel is in, int32 [H, W], and how many of the first are the person's.

        They are the encoder's own, for as many Gaussians of person and room as the I-frame holds.
        """
        n, n_room = len(self.trace.params), int(self.trace.is_room.sum())
        person = self.matte >= 128 if self.matte.any() else np.ones(self.matte.shape, bool)
        blend = "normalised" if self.trace.params.shape[1] > 8 else "sum"
        label = nearest_seeds(opponent_from_rgb(self.source), encoder_config("fast", blend=blend).detail)
        labels, found = segments(self.source, person, n, label, room_share=n_room / n)
        return labels, found[0] if person.any() else 0


@dataclass
class Scene:
    """A frame to be drawn.

    Attributes:
        number: from 0, in the order shown. pts: in ticks of the video's time base. time_s: from the first.
        kind: one of KINDS' values. n_bytes: of its payload.
        trace: of its Gaussians. coded: of the frame whose payload they come from, and `coded_number` that
            frame's: for a B-frame, for which nothing is coded, the P-frame behind it.
        n_room_bytes: of the room's video, where there is one (`--background hybrid`).
        picture: what a decoder shows at the size asked for, uint8 [H, W, 3].
        source: what was encoded, uint8 [h, w, 3], where it is at hand.
        person: the person alone, uint8 [H, W, 3], not multiplied by alpha: the person's, uint8 [H, W], as
            `gscodec decode` cuts people out.
        matte: what mattered, uint8 [H, W], and the start of its GOP, where the source is at hand and looked
            at for a person.
    """

    number: int
    pts: int
    time_s: float
    kind: str
    n_bytes: int
    trace: Trace
    coded: Trace
    coded_number: int
    n_room_bytes: int
    picture: np.ndarray
    person: np.ndarray
    alpha: np.ndarray
    source: np.ndarray | None = None
    matte: np.ndarray | None = None
    start: StartOfGop | None = None


@dataclass
class Source:
    """The clip that a .gsv was made of, frame by frame.

    Attributes:
        matter: finds the person; None: nobody asks.
    """

    reader: VideoReader
    matter: Matter | None
    _first: Fraction | None = field(default=None, init=False)

    def frames(self) -> Iterator[Frame]:
        return (item for item in self.reader if isinstance(item, Frame))

    def seconds(self, frame: Frame) -> float:
        """When a frame is shown, from the first."""
        at = frame.pts * self.reader.format.time_base
        self._first = at if self._first is None else self._first
        return float(at - self._first)


def scenes(
    path: str | os.PathLike[str],
    facts: Survey,
    wanted: Iterable[int],
    source: Source | None = None,
    size: tuple[int, int] | None = None,
) -> Iterator[Scene]:
    """The frames to be drawn, in order.

    Args:
        facts: of the same file. wanted: numbers of frames.
        size: width and height that pictures are drawn at; None: as coded.
    Raises:
        BitstreamError: the file is damaged. MediaError: the source is another clip.
    """
    left, limits = set(wanted), DecoderLimits()
    traces: dict[int, tuple[Trace, Trace]] = {}  # by pts: of a frame's Gaussians, of what was coded for it
    source_frames = source.frames() if source else None
    start: StartOfGop | None = None
    room_bytes: dict[int, int] = {}
    with GsvReader(path, limits) as reader:
        sequence = check_sequence(reader.sequence, limits)
        tracer = Tracer(sequence, limits)
        room_stream = len(reader.streams) - 1 if reader.has_room else None
        width, height = size or (sequence.width, sequence.height)
        form = replace(facts.video, width=width, height=height)
        composer = Composer(Background("original"), sequence, form, matte=True, room=room_of(reader))
        decoder = Decoder(reader.sequence, limits=limits, layers=composer.layers, size=(width, height))

        def traced(packets: Iterable[Packet]) -> Generator[Packet, None, None]:
            waiting: Packet | None = None
            for packet in packets:
                if packet.frame_type == FrameType.B:
                    waiting = packet
                elif packet.frame_type is not None:
                    trace = tracer.take(packet)
                    traces[packet.pts] = trace, trace
                    if waiting:
                        traces[waiting.pts] = tracer.take_between(), trace
                    waiting = None
                yield packet

        with closing(traced(reader)) as packets:
            number = -1
            for packet in decoder.frames(packets):
                if packet.stream == room_stream:
                    composer.take(packet)
                    room_bytes[packet.pts] = len(packet.payload)
                if packet.frame_type is None:
                    continue
                number += 1
                composer.go_to(packet.pts)
                n_room_bytes = room_bytes.pop(packet.pts, 0)
                frame = matte = None
                if source and source_frames:
                    frame = _next(source, source_frames, number, facts)
                    matte = source.matter.codes(frame.pixels) if source.matter else None
                trace, coded = traces.pop(packet.pts)
                if packet.frame_type == FrameType.I and frame is not None and matte is not None:
                    start = StartOfGop(number, frame.pixels, matte, trace)
                if number not in left:
                    continue
                left.discard(number)
                layers = decoder.render()
                time = packet.pts * facts.video.time_base
                picture, alpha = composer.compose(layers, decoder.is_cut_out, time)
                assert alpha is not None
                yield Scene(
                    number=number,
                    pts=packet.pts,
                    time_s=facts.times[number],
                    kind=KINDS[packet.frame_type],
                    n_bytes=len(packet.payload),
                    trace=trace,
                    coded=coded,
                    coded_number=number + (coded is not trace),
                    n_room_bytes=n_room_bytes,
                    picture=picture,
                    person=split(layers, composer.layers)["person"][:, :, :3],
                    alpha=alpha,
                    source=None if frame is None else frame.pixels,
                    matte=matte,
                    start=start,
                )
                if not left:
                    return


def _next(source: Source, frames: Iterator[Frame], number: int, facts: Survey) -> Frame:
    """The source of frame `number`, if it is that."""
    frame = next(frames, None)
    if frame is None:
        raise MediaError(
            f"the source ends after {number} frames, the .gsv has {len(facts.times)}: it was made of another "
            "clip; give that one, and --start as for `gscodec encode`"
        )
    found, expected = source.seconds(frame), facts.times[number]
    if abs(found - expected) > 0.002:
        raise MediaError(
            f"frame {number} is at {found:.3f} s in the source and at {expected:.3f} s in the .gsv, which "
            "was made of another clip; give that one, and --start as for `gscodec encode`"
        )
    return frame
