"""Frames -> coded frames, over all cores and GPUs: a GOP per core, or one picture spread over them.

GOPs know nothing of each other, so off-line each is encoded on a core of its own, in order of its frames,
with CUDA on a stream of its own of one of the GPUs; results come out in the order of the input. Where frames
are too large to hold whole GOPs of them, or latency counts, frames are encoded one at a time with all threads
on each. The file is the same either way: where open GOPs must end does not depend on what was coded.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Generator, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from itertools import count
from queue import SimpleQueue
from threading import Event, local

import numpy as np

from gscodec.config import EncoderConfig
from gscodec.container.headers import FrameType
from gscodec.encode.encoded import EncodedFrame
from gscodec.encode.encoder import Encoder
from gscodec.encode.gop import OpenGop, longest_gop
from gscodec.encode.rate import RateControl
from gscodec.encoders import AnyEncoder, make_encoder
from gscodec.metrics import psnr_db
from gscodec.prefetch import prefetch
from gscodec.rdo.rates import PACKET_BITS
from gscodec.splat.raster import Place, make_rasterizer, n_devices
from gscodec.video.frame import Frame, SidePacket, VideoFormat

MAX_HELD_BYTES = 1 << 30  # of pictures and mattes waiting for a core
GOPS_PER_GPU = 4  # with more, reading waits for them (docs/performance.md, "Whole encoder on the card")


@dataclass(frozen=True, slots=True)
class Job:
    """A frame with its ROI and its place in the GOP.

    Attributes:
        matte: uint8 [H, W]: 255 is the person. frame_type: that it has where GOPs are closed. must: and where
            they are open, too.
    """

    frame: Frame
    matte: np.ndarray
    frame_type: FrameType
    must: bool = False


Item = Job | SidePacket
Result = tuple[Item, EncodedFrame | None]


def encode_jobs(
    jobs: Iterable[Item], config: EncoderConfig, video: VideoFormat, threads: int
) -> Generator[Result, None, None]:
    """Encode jobs in order; side packets pass through at their place.

    Args:
        config: its crf is already that of the file (rate.starting_crf), its backend a name that works here.
    Yields:
        (job, its coded frame) and (side packet, None).
    """
    workers = 1 if config.deadline_ms is not None else _workers(config, video, threads)
    if workers > 1:
        return _gop_per_worker(jobs, config, video, workers, max(1, threads // workers))
    return _one_by_one(jobs, config, video, threads)


def _workers(config: EncoderConfig, video: VideoFormat, threads: int) -> int:
    """GOPs to encode at a time: one per core, as far as their frames may be held."""
    if config.backend not in ("cpu", "cuda"):
        return 1
    n_bytes_per_gop = video.width * video.height * 4 * longest_gop(config.gop_length, config.open_gop)
    most = MAX_HELD_BYTES // n_bytes_per_gop
    if config.backend == "cuda":
        most = min(most, GOPS_PER_GPU * len(_devices(config)))
    return min(threads, most)


def _devices(config: EncoderConfig) -> Sequence[int]:
    return config.device_numbers() or range(n_devices(config.backend))


class _Queue:
    """Jobs in, results out, in order; of two that are to be P-frames the first waits for the second."""

    def __init__(self, encoder: AnyEncoder, config: EncoderConfig) -> None:
        self._encoder, self._open_gop = encoder, OpenGop(config.open_gop)
        self._makes_pairs = config.makes_pairs
        self._first: Job | None = None

    def encode(self, job: Job) -> list[Result]:
        """What can be encoded by now."""
        if not (self._makes_pairs and job.frame_type == FrameType.P):
            return [*self.flush(), self._encoded(job)]
        if self._first is None:
            self._first = job
            return []
        pair, self._first = (self._first, job), None
        assert isinstance(self._encoder, Encoder)
        first, second = ((each.frame.pixels, each.matte) for each in pair)
        coded = self._encoder.encode_pair(first, second)
        for frame in coded:
            self._open_gop.coded(frame)
        return list(zip(pair, coded, strict=True))

    def flush(self) -> list[Result]:
        """The frame that waits, if there is one."""
        job, self._first = self._first, None
        return [] if job is None else [self._encoded(job)]

    def _encoded(self, job: Job) -> Result:
        frame_type = self._open_gop.type_of(job.frame_type, job.must)
        coded = self._encoder.encode(job.frame.pixels, job.matte, frame_type)
        self._open_gop.coded(coded)
        return job, coded


def _one_by_one(
    jobs: Iterable[Item], config: EncoderConfig, video: VideoFormat, threads: int
) -> Generator[Result, None, None]:
    place = Place((config.device_numbers() or (0,))[0])
    raster = make_rasterizer(
        config.backend, video.width, video.height, threads, place=place, blend=config.blend_used
    )
    encoder = make_encoder(config, raster)
    control = RateControl(config)
    queue = _Queue(encoder, config)
    gop: list[Result] = []  # since the rate control learnt last
    with closing(prefetch(jobs)) as prepared:
        for job in prepared:
            if not isinstance(job, Job):
                yield job, None
                continue
            if job.frame_type == FrameType.I:
                last = queue.flush()
                yield from last
                _learn(control, encoder.crf_offset, [*gop, *last], video)
                encoder.crf_offset = control.crf_offset
                gop = []
            done = queue.encode(job)
            gop += done
            yield from done
    yield from queue.flush()


def _gop_per_worker(
    jobs: Iterable[Item], config: EncoderConfig, video: VideoFormat, workers: int, threads: int
) -> Generator[Result, None, None]:
    """`threads` are those of each worker."""
    devices = _devices(config)
    numbers = count()
    mine = local()
    stop = Event()
    control = RateControl(config)

    def encode_gop(gop: SimpleQueue[Item | None], offset: float) -> tuple[list[Result], float]:
        if not hasattr(mine, "raster"):
            place = Place(devices[next(numbers) % len(devices)], -(-workers // len(devices)))
            mine.raster = make_rasterizer(
                config.backend, video.width, video.height, threads, place=place, blend=config.blend_used
            )
        encoder = make_encoder(config, mine.raster)
        encoder.crf_offset = offset
        queue = _Queue(encoder, config)
        results: list[Result] = []
        while (job := gop.get()) is not None and not stop.is_set():
            results += queue.encode(job) if isinstance(job, Job) else [(job, None)]
        return results + queue.flush(), offset

    def collect(done: Future[tuple[list[Result], float]]) -> list[Result]:
        results, offset = done.result()
        _learn(control, offset, results, video)
        return results

    pending: deque[Future[tuple[list[Result], float]]] = deque()
    # A GOP's items go to its worker as they come: waiting for the last of them would leave cores idle.
    gop: SimpleQueue[Item | None] | None = None
    with ThreadPoolExecutor(workers) as pool:
        try:
            for job in jobs:
                if gop is None or (isinstance(job, Job) and _starts_gop(job, config.open_gop)):
                    if gop is not None:
                        gop.put(None)
                    while len(pending) >= workers:
                        yield from collect(pending.popleft())
                    gop = SimpleQueue()
                    pending.append(pool.submit(encode_gop, gop, control.crf_offset))
                gop.put(job)
            if gop is not None:
                gop.put(None)
            while pending:
                yield from collect(pending.popleft())
        finally:
            stop.set()  # on an error or Ctrl-C the other GOPs need not finish
            if gop is not None:
                gop.put(None)


def _starts_gop(job: Job, is_open: bool) -> bool:
    return job.frame_type == FrameType.I and (job.must or not is_open)


def _learn(control: RateControl, offset: float, results: list[Result], video: VideoFormat) -> None:
    gop = [coded for _, coded in results if coded]
    if gop and video.frame_rate:
        n_bits = 8.0 * sum(len(f.payload) for f in gop) + PACKET_BITS * len(gop)
        psnr = psnr_db(sum(f.roi_error for f in gop), sum(f.roi_samples for f in gop))
        control.finished(offset, n_bits, float(len(gop) / video.frame_rate), psnr)
