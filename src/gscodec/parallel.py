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
from gscodec.encode.gop import MAX_OPEN_GOPS, OpenGop
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
    n_frames_per_gop = config.gop_length * (MAX_OPEN_GOPS if config.open_gop else 1)
    n_bytes_per_gop = video.width * video.height * 4 * n_frames_per_gop
    most = MAX_HELD_BYTES // n_bytes_per_gop
    if config.backend == "cuda":
        most = min(most, GOPS_PER_GPU * len(_devices(config)))
    return min(threads, most)


def _devices(config: EncoderConfig) -> Sequence[int]:
    return config.device_numbers() or range(n_devices(config.backend))


def _encode(encoder: AnyEncoder, job: Job, open_gop: OpenGop) -> EncodedFrame:
    coded = encoder.encode(job.frame.pixels, job.matte, open_gop.type_of(job.frame_type, job.must))
    open_gop.coded(coded)
    return coded


def _one_by_one(
    jobs: Iterable[Item], config: EncoderConfig, video: VideoFormat, threads: int
) -> Generator[Result, None, None]:
    place = Place((config.device_numbers() or (0,))[0])
    raster = make_rasterizer(
        config.backend, video.width, video.height, threads, place=place, blend=config.blend_used
    )
    encoder = make_encoder(config, raster)
    control = RateControl(config)
    open_gop = OpenGop(config.open_gop)
    gop: list[EncodedFrame] = []  # since the rate control learnt last
    with closing(prefetch(jobs)) as prepared:
        for job in prepared:
            if not isinstance(job, Job):
                yield job, None
                continue
            if job.frame_type == FrameType.I:
                _learn(control, encoder.crf_offset, gop, video)
                encoder.crf_offset = control.crf_offset
                gop = []
            gop.append(_encode(encoder, job, open_gop))
            yield job, gop[-1]


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
        encoder, open_gop = make_encoder(config, mine.raster), OpenGop(config.open_gop)
        encoder.crf_offset = offset
        results: list[Result] = []
        while (job := gop.get()) is not None and not stop.is_set():
            results.append((job, _encode(encoder, job, open_gop) if isinstance(job, Job) else None))
        return results, offset

    def collect(done: Future[tuple[list[Result], float]]) -> list[Result]:
        results, offset = done.result()
        _learn(control, offset, [coded for _, coded in results if coded], video)
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


def _learn(control: RateControl, offset: float, gop: list[EncodedFrame], video: VideoFormat) -> None:
    if gop and video.frame_rate:
        n_bits = 8.0 * sum(len(f.payload) for f in gop) + PACKET_BITS * len(gop)
        psnr = psnr_db(sum(f.roi_error for f in gop), sum(f.roi_samples for f in gop))
        control.finished(offset, n_bits, float(len(gop) / video.frame_rate), psnr)
