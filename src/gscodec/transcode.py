"""Whole files: video file -> .gsv, .gsv -> video file."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import AbstractContextManager, ExitStack, closing
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from threading import Lock
from typing import BinaryIO

import numpy as np

from gscodec.analysis.matting import Matter, make_matter
from gscodec.config import DecoderLimits, EncoderConfig
from gscodec.container.container import GsvReader, GsvWriter, Stream
from gscodec.container.headers import SIGNATURE, FrameType
from gscodec.container.packet import Packet
from gscodec.decode.backgrounds import chosen_background
from gscodec.decode.compose import Composer, composed
from gscodec.decode.decoder import Decoder, check_sequence, room_of, video_format
from gscodec.decode.retime import decoded, frame_rate, retimed, retimed_format
from gscodec.decode.span import Span
from gscodec.encode.encoded import EncodedFrame
from gscodec.encode.gop import GopCounter
from gscodec.encode.rate import starting_crf
from gscodec.errors import BitstreamError, MediaError
from gscodec.hybrid import with_room
from gscodec.live import video_packet, video_stream
from gscodec.parallel import Item, Job, encode_jobs
from gscodec.prefetch import in_order, prefetch
from gscodec.probe import probed
from gscodec.splat.raster import usable_backend
from gscodec.tally import Tally
from gscodec.thumbnails import has_moved, is_scene_cut, thumbnail
from gscodec.video.atomic import atomic_path, descriptor_of, open_descriptor
from gscodec.video.frame import Frame, SidePacket, SideStream, VideoFormat
from gscodec.video.matte_writer import open_matte_writer
from gscodec.video.picture import resized
from gscodec.video.reader import VideoReader, open_video
from gscodec.video.room import RoomEncoder
from gscodec.video.source import SourceFormat
from gscodec.video.writer import VideoWriter

Progress = Callable[[Tally], None]
_Draft = tuple[Frame, Callable[[], np.ndarray], FrameType, bool]  # Job's fields, but what makes the matte
FINISHERS = max(1, min(4, (os.cpu_count() or 1) - 1))  # threads that finish mattes


def encode_file(
    source: str | os.PathLike[str],
    target: str | os.PathLike[str],
    config: EncoderConfig,
    *,
    size: str | None = None,
    start_s: float | None = None,
    duration_s: float | None = None,
    max_frames: int | None = None,
    fps: Fraction | None = None,
    audio: float | str = "copy",
    source_format: SourceFormat | None = None,
    progress: Progress | None = None,
    on_open: Callable[[VideoReader], None] | None = None,
) -> Tally:
    """Encode a video file to a .gsv.

    The target appears under its name only when it is whole; "-" is standard output.

    Args:
        size, start_s, duration_s, max_frames, fps, audio: see video.reader.open_video, as of `source_format`.
        progress: called after every frame. on_open: called once the source is open.
    Raises:
        ConfigError, MediaError, BackendError, FitError; OSError for the target.
    """
    config.validate()
    _refuse_gsv(source)
    tally, began = Tally(), time.perf_counter()
    tally.backend = usable_backend(config.backend, tally.warnings.append)
    config = replace(config, backend=tally.backend)
    matter = make_matter(config.roi, matte_model=config.matte_model)
    threads = config.threads or os.cpu_count() or 1
    with ExitStack() as stack:  # left from the last to the first, so that workers stop before their files end
        reader = stack.enter_context(
            open_video(
                source,
                size=size,
                start_s=start_s,
                duration_s=duration_s,
                max_frames=max_frames,
                fps=fps,
                audio=audio,
                source=source_format,
            )
        )
        place = stack.enter_context(_place(target))
        if on_open:
            on_open(reader)
        video = reader.format
        config = replace(
            config, crf=starting_crf(config, video.width * video.height, float(video.frame_rate))
        )
        items = stack.enter_context(closing(prefetch(reader)))
        jobs = stack.enter_context(closing(_jobs(items, matter, config)))

        def tried() -> None:
            tally.n_trials += 1
            if progress:
                progress(tally)

        config, every = probed(jobs, config, video, threads, tried)
        streams, n_side = _streams(reader, config), len(reader.side_streams)
        is_hybrid = config.background == "hybrid"
        if is_hybrid:
            room = RoomEncoder(video)
            streams.append(Stream("data", room.codec, video.time_base, b"", streams[0].step))
            every = with_room(every, room, n_side)
        writer = stack.enter_context(
            GsvWriter(place, streams, reader.metadata, b_frames=config.makes_pairs, room=is_hybrid)
        )
        # Closed at once on an error, so that the other cores stop too.
        results = stack.enter_context(closing(encode_jobs(every, config, video, threads)))
        for item, coded in results:
            if isinstance(item, SidePacket):
                n_bytes = writer.write(_pack_side(item))
                if item.stream == n_side:  # the room
                    tally.n_video_bytes += n_bytes
                elif reader.side_streams[item.stream].kind == "audio":
                    tally.n_audio_bytes += n_bytes
                continue
            assert coded is not None
            tally.n_video_bytes += writer.write(video_packet(coded, item.frame.pts, item.frame.duration))
            _count(tally, item.frame, coded, video)
            if config.deadline_ms is not None:
                tally.latencies_s.append(coded.seconds)
                tally.n_late += coded.seconds * 1e3 > config.deadline_ms
            tally.n_bytes, tally.seconds = writer.n_bytes, time.perf_counter() - began
            if progress:
                progress(tally)
    tally.n_bytes = writer.n_bytes  # with the index, which is written last
    tally.roi = matter.name
    tally.warnings += [*reader.warnings, *matter.warnings]
    tally.seconds = time.perf_counter() - began
    return tally


def _place(target: str | os.PathLike[str]) -> AbstractContextManager[Path | BinaryIO]:
    number = descriptor_of(target)
    return atomic_path(target) if number is None else open_descriptor(number, os.fspath(target))


def _refuse_gsv(source: str | os.PathLike[str]) -> None:
    if os.path.isfile(source):  # a pipe cannot be looked into first
        with open(source, "rb") as file:
            if file.read(len(SIGNATURE)) == SIGNATURE:
                raise MediaError(f"{source}: is a .gsv already; `gscodec decode` makes a video of it")


def _jobs(
    items: Iterable[Frame | SidePacket], matter: Matter, config: EncoderConfig
) -> Generator[Item, None, None]:
    """Frames with their mattes, which several threads finish."""
    return in_order(_job, _drafts(items, matter, config), FINISHERS)


def _job(draft: _Draft | SidePacket) -> Item:
    if isinstance(draft, SidePacket):
        return draft
    frame, matte, kind, must = draft
    return Job(frame, matte(), kind, must)


def _drafts(
    items: Iterable[Frame | SidePacket], matter: Matter, config: EncoderConfig
) -> Iterator[_Draft | SidePacket]:
    gops = GopCounter(config.gop_length)
    before: np.ndarray | None = None
    mattes = _Mattes(matter, config.matte_every)
    for item in items:
        if isinstance(item, SidePacket):
            yield item
            continue
        now = thumbnail(item.pixels)
        cut = config.scene_cut and is_scene_cut(before, now)
        before = now
        kind, must = gops.due(cut)
        gops.took(kind, must)
        yield item, mattes.of(item.pixels, now, cut), kind, must


class _Mattes:
    """What makes a matte for every frame, as Job wants it; while nothing moves one serves several."""

    def __init__(self, matter: Matter, every: int) -> None:
        self._matter = matter
        self._every = every if matter.may_pause else 1
        self._seen: tuple[_Once, np.ndarray] | None = None  # matte, thumbnail of the frame it is of
        self._age = 0  # frames

    def of(self, pixels: np.ndarray, now: np.ndarray, cut: bool) -> _Once:
        """What makes the matte of a frame, uint8 [H, W]; `now` is its thumbnail."""
        if cut:
            self._matter.reset()
        self._age += 1
        if self._seen is None or cut or self._age >= self._every or has_moved(self._seen[1], now):
            self._seen = _Once(self._matter.begin(pixels)), now
            self._age = 0
        return self._seen[0]


class _Once:
    """A function that is called once, whoever asks first; the others get what it made."""

    def __init__(self, make: Callable[[], np.ndarray]) -> None:
        self._make, self._made, self._lock = make, np.empty(0, np.uint8), Lock()

    def __call__(self) -> np.ndarray:
        with self._lock:
            if self._made.size == 0:
                self._made = self._make()
        return self._made


def _streams(reader: VideoReader, config: EncoderConfig) -> list[Stream]:
    video = video_stream(reader.format, config)
    return [video] + [Stream(s.kind, s.codec, s.time_base, s.extradata) for s in reader.side_streams]


def _pack_side(p: SidePacket) -> Packet:
    return Packet(p.stream + 1, p.pts, p.is_keyframe, p.payload, p.duration, p.dts)


def _unpack_side(p: Packet) -> SidePacket:
    dts = p.pts if p.dts is None else p.dts
    return SidePacket(p.stream - 1, p.pts, dts, p.duration, p.is_keyframe, p.payload)


def _count(tally: Tally, frame: Frame, coded: EncodedFrame, video: VideoFormat) -> None:
    tally.n_frames += 1
    tally.n_iframes += coded.frame_type == FrameType.I
    tally.n_bframes += coded.frame_type == FrameType.B
    tally.n_updates += coded.n_coded * (coded.frame_type != FrameType.I)
    tally.n_gaussians = coded.n_gaussians
    tally.iterations += coded.iterations
    tally.roi_error += coded.roi_error
    tally.roi_samples += coded.roi_samples
    tally.error += coded.error
    tally.samples += coded.samples
    ticks = frame.duration or (1 / (video.frame_rate * video.time_base) if video.frame_rate else 0)
    tally.duration_s += float(ticks * video.time_base)


def decode_file(
    source: str | os.PathLike[str],
    target: str | os.PathLike[str],
    *,
    vcodec: str | None = None,
    crf: float | None = None,
    pix_fmt: str | None = None,
    container: str | None = None,
    background: str | tuple[int, int, int] = "original",
    person_removed: bool = False,
    matte_out: str | os.PathLike[str] | None = None,
    size: str | tuple[int, int] | None = None,
    fps: str | float | Fraction | None = None,
    max_gaussians: int | None = None,
    backend: str = "auto",
    threads: int = 0,
    start_s: float | None = None,
    duration_s: float | None = None,
    max_frames: int | None = None,
    allow_partial: bool = False,
    limits: DecoderLimits | None = None,
    progress: Progress | None = None,
    on_open: Callable[[GsvReader], None] | None = None,
) -> Tally:
    """Decode a .gsv to a video file with its original times, sound and subtitles.

    Args:
        background: what is behind the person: "original", "transparent" (pictures have alpha), "blur" or
            "blur:RADIUS", a colour's name, "#rrggbb" or R'G'B', or the name of a picture or a video.
        person_removed: show the room without the person.
        matte_out: write mattes there, white on the person: a video, or pictures such as mattes/%05d.png.
        size: draw the Gaussians at this size: "1280x720", "720p" or "2x"; None: as coded.
        fps: frames per second to show; Gaussians of times between frames are interpolated. None: as coded.
        max_gaussians: the most that are drawn of a frame, the most important.
        start_s, duration_s: the part to decode, as in `encode_file`; read from the keyframe before it.
        allow_partial: keep what lies before the first damage instead of raising; Tally.warnings says so.
    Raises:
        ConfigError, BitstreamError, MediaError, BackendError.
    """
    rate = None if fps is None else frame_rate(fps)
    tally, began = Tally(), time.perf_counter()
    behind = chosen_background(background, person_removed)
    with GsvReader(source, limits) as reader:
        if on_open:
            on_open(reader)
        coded = video_format(reader)
        video = resized(coded if rate is None else retimed_format(coded, rate), size)
        sequence = check_sequence(reader.sequence, limits or DecoderLimits())
        room_stream = room_of(reader)
        composer = Composer(behind, sequence, video, matte=matte_out is not None, room=room_stream)
        decoder = Decoder(
            reader.sequence,
            limits=limits,
            backend=backend,
            threads=threads,
            warn=tally.warnings.append,
            layers=composer.layers,
            size=(video.width, video.height),
            max_gaussians=max_gaussians,
        )
        whole = start_s is None and duration_s is None
        span = None if whole else Span(reader, start_s or 0, duration_s, video.time_base)
        steps = decoded(reader, decoder) if rate is None else retimed(reader, decoder, rate)
        room_number = len(reader.streams) - 1 if reader.has_room else None
        passing = [s for s in reader.streams[1:] if s is not room_stream]
        side = [SideStream(s.kind, s.codec, s.time_base, s.extradata) for s in passing]
        with ExitStack() as stack:
            matte_writer = None
            if matte_out is not None:
                matte_writer = stack.enter_context(open_matte_writer(matte_out, video))
            writer = stack.enter_context(
                VideoWriter(
                    target,
                    video,
                    side_streams=side,
                    metadata=reader.metadata,
                    vcodec=vcodec,
                    crf=crf,
                    pix_fmt=pix_fmt,
                    container=container,
                    alpha=composer.alpha,
                )
            )
            tally.notes += writer.notes
            try:
                with closing(prefetch(composed(steps, composer, video, span, room_number))) as items:
                    for step, frame, matte in items:
                        if step.packet is not None and step.packet.frame_type is None:
                            side_packet = _unpack_side(step.packet)
                            packet = span.side(side_packet) if span else side_packet
                            if packet:
                                writer.write_side(packet)
                        elif step.packet is not None:
                            tally.n_iframes += step.packet.frame_type == FrameType.I
                            tally.n_bframes += step.packet.is_bframe
                            tally.n_video_bytes += len(step.packet.payload)
                            tally.n_gaussians = step.n_gaussians
                        if frame is None:
                            continue
                        writer.write(frame)
                        if matte_writer and matte is not None:
                            matte_writer.write(replace(frame, pixels=np.dstack([matte] * 3)))
                        tally.n_frames += 1
                        tally.n_bytes = step.offset
                        tally.duration_s += float(frame.duration * video.time_base)
                        tally.seconds = time.perf_counter() - began
                        if progress:
                            progress(tally)
                        if tally.n_frames == max_frames:
                            break
            except BitstreamError as error:
                if not allow_partial or tally.n_frames == 0:
                    raise
                tally.warnings.append(f"stopped after {tally.n_frames} frames: {error}")
            if tally.n_frames == 0:
                where = "" if span is None else " in the range asked for; give an earlier --start"
                raise MediaError(f"{source}: holds no frames{where}")
            tally.warnings += [*composer.warnings, *writer.warnings]
    tally.seconds = time.perf_counter() - began
    return tally
