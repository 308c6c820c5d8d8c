"""Whole files: video file -> .gsv, .gsv -> video file."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import AbstractContextManager, closing
from dataclasses import asdict, dataclass, field, replace
from fractions import Fraction
from pathlib import Path
from threading import Lock
from typing import Any, BinaryIO

import numpy as np

from gscodec.analysis.matting import Matter, make_matter
from gscodec.config import DecoderLimits, EncoderConfig
from gscodec.container.container import GsvReader, GsvWriter, Stream
from gscodec.container.headers import SIGNATURE, FrameType
from gscodec.container.packet import Packet
from gscodec.decode.decoder import Decoder, video_format
from gscodec.decode.retime import decoded, frame_rate, retimed, retimed_format
from gscodec.encode.encoded import EncodedFrame
from gscodec.encode.gop import GopCounter
from gscodec.encode.rate import starting_crf
from gscodec.errors import BitstreamError, MediaError
from gscodec.live import video_packet, video_stream
from gscodec.metrics import psnr_db
from gscodec.parallel import Item, Job, encode_jobs
from gscodec.prefetch import in_order, prefetch
from gscodec.probe import probed
from gscodec.splat.raster import usable_backend
from gscodec.thumbnails import has_moved, is_scene_cut, thumbnail
from gscodec.video.atomic import atomic_path, descriptor_of, open_descriptor
from gscodec.video.frame import Frame, SidePacket, SideStream, VideoFormat
from gscodec.video.picture import resized
from gscodec.video.reader import VideoReader, open_video
from gscodec.video.writer import VideoWriter


@dataclass(slots=True)
class Tally:
    """Figures of a run so far; what the progress line and the summary show."""

    n_frames: int = 0
    n_iframes: int = 0
    n_bframes: int = 0
    n_bytes: int = 0  # of the whole .gsv
    n_video_bytes: int = 0
    n_gaussians: int = 0  # live in the last frame
    n_trials: int = 0  # frames encoded only to find the crf of a --bitrate or --target-psnr
    n_updates: int = 0  # Gaussians that P-frames code; not those that only a mesh moves
    iterations: int = 0
    seconds: float = 0.0
    duration_s: float = 0.0  # of the clip
    roi_error: float = 0.0
    roi_samples: int = 0
    error: float = 0.0
    samples: int = 0
    latencies_s: list[float] = field(default_factory=list)  # of each frame, where there is a deadline
    n_late: int = 0  # frames that took longer than it
    roi: str = ""  # the mode that was used
    backend: str = ""  # that was used
    warnings: list[str] = field(default_factory=list)

    @property
    def roi_psnr_db(self) -> float:
        return psnr_db(self.roi_error, self.roi_samples)

    @property
    def psnr_db(self) -> float:
        return psnr_db(self.error, self.samples)

    @property
    def fps(self) -> float:
        return self.n_frames / self.seconds if self.seconds else 0.0

    @property
    def kbit_per_s(self) -> float:
        return self.n_bytes * 8e-3 / self.duration_s if self.duration_s else 0.0

    def latency_ms(self, percent: float) -> float:
        """Percentile of the frames' encoding times, ms."""
        return float(np.percentile(self.latencies_s, percent)) * 1e3

    def as_dict(self) -> dict[str, Any]:
        """For --json: the fields and the derived figures."""
        hidden = {"roi_error", "roi_samples", "error", "samples", "latencies_s"}
        plain = {k: v for k, v in asdict(self).items() if k not in hidden}
        derived = {"fps": self.fps, "kbit_per_s": self.kbit_per_s}
        if self.latencies_s:
            derived |= {"latency_p99_ms": self.latency_ms(99), "latency_worst_ms": self.latency_ms(100)}
        if self.samples:
            derived |= {"roi_psnr_db": self.roi_psnr_db, "psnr_db": self.psnr_db}
        return plain | {k: round(v, 4) for k, v in derived.items()}


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
    progress: Progress | None = None,
    on_open: Callable[[VideoReader], None] | None = None,
) -> Tally:
    """Encode a video file to a .gsv.

    The target appears under its name only when it is whole; "-" is standard output.

    Args:
        size, start_s, duration_s, max_frames: see video.reader.open_video.
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
    with (
        open_video(
            source, size=size, start_s=start_s, duration_s=duration_s, max_frames=max_frames
        ) as reader,
        _place(target) as place,
    ):
        if on_open:
            on_open(reader)
        video = reader.format
        config = replace(
            config, crf=starting_crf(config, video.width * video.height, float(video.frame_rate))
        )
        with (
            closing(prefetch(reader)) as items,
            closing(_jobs(items, matter, config)) as jobs,
        ):

            def tried() -> None:
                tally.n_trials += 1
                if progress:
                    progress(tally)

            config, every = probed(jobs, config, video, threads, tried)
            with (
                GsvWriter(
                    place, _streams(reader, config), reader.metadata, b_frames=config.makes_pairs
                ) as writer,
                # Closed at once on an error, so that the other cores stop too.
                closing(encode_jobs(every, config, video, threads)) as results,
            ):
                for item, coded in results:
                    if isinstance(item, SidePacket):
                        writer.write(_pack_side(item))
                        continue
                    assert coded is not None
                    tally.n_video_bytes += writer.write(_pack_frame(item.frame, coded))
                    _count(tally, item.frame, coded, video)
                    if config.deadline_ms is not None:
                        tally.latencies_s.append(coded.seconds)
                        tally.n_late += coded.seconds * 1e3 > config.deadline_ms
                    tally.n_bytes, tally.seconds = writer.n_bytes, time.perf_counter() - began
                    if progress:
                        progress(tally)
        tally.n_bytes = writer.n_bytes
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


def _pack_frame(frame: Frame, coded: EncodedFrame) -> Packet:
    return video_packet(coded, frame.pts, frame.duration)


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
    container: str | None = None,
    background: tuple[int, int, int] | None = None,
    size: str | tuple[int, int] | None = None,
    fps: str | float | Fraction | None = None,
    max_gaussians: int | None = None,
    backend: str = "auto",
    threads: int = 0,
    max_frames: int | None = None,
    allow_partial: bool = False,
    limits: DecoderLimits | None = None,
    progress: Progress | None = None,
    on_open: Callable[[GsvReader], None] | None = None,
) -> Tally:
    """Decode a .gsv to a video file with its original times, sound and subtitles.

    Args:
        background: draw the person alone over this R'G'B' colour.
        size: draw the Gaussians at this size: "1280x720", "720p" or "2x"; None: as coded.
        fps: frames per second to show; Gaussians of times between frames are interpolated. None: as coded.
        max_gaussians: the most that are drawn of a frame, the most important.
        allow_partial: keep what lies before the first damage instead of raising; Tally.warnings says so.
    Raises:
        ConfigError, BitstreamError, MediaError, BackendError.
    """
    rate = None if fps is None else frame_rate(fps)
    tally, began = Tally(), time.perf_counter()
    color = None if background is None else np.array(background, np.float32) / 255
    with GsvReader(source, limits) as reader:
        if on_open:
            on_open(reader)
        video = resized(video_format(reader), size)
        decoder = Decoder(
            reader.sequence,
            limits=limits,
            backend=backend,
            threads=threads,
            warn=tally.warnings.append,
            background=color,
            size=(video.width, video.height),
            max_gaussians=max_gaussians,
        )
        steps = decoded(reader, decoder) if rate is None else retimed(reader, decoder, rate)
        video = video if rate is None else retimed_format(video, rate)
        side = [SideStream(s.kind, s.codec, s.time_base, s.extradata) for s in reader.streams[1:]]
        with VideoWriter(
            target,
            video,
            side_streams=side,
            metadata=reader.metadata,
            vcodec=vcodec,
            crf=crf,
            container=container,
        ) as writer:
            try:
                with closing(prefetch(steps)) as items:
                    for step in items:
                        if step.packet is not None and step.packet.frame_type is None:
                            writer.write_side(_unpack_side(step.packet))
                        elif step.packet is not None:
                            tally.n_iframes += step.packet.frame_type == FrameType.I
                            tally.n_bframes += step.packet.is_bframe
                            tally.n_video_bytes += len(step.packet.payload)
                            tally.n_gaussians = step.n_gaussians
                        if step.frame is None:
                            continue
                        writer.write(step.frame)
                        tally.n_frames += 1
                        tally.n_bytes = step.offset
                        tally.duration_s += float(step.frame.duration * video.time_base)
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
                raise MediaError(f"{source}: holds no frames")
            tally.warnings += writer.warnings
    tally.seconds = time.perf_counter() - began
    return tally
