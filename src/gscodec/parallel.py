"""Frames -> coded frames, over all cores: a GOP per core, or one picture spread over them.

GOPs know nothing of each other, so off-line each is encoded on one core of its own, in order of its frames;
results come out in the order of the input. Where frames are too large to hold whole GOPs of them, or latency
counts, frames are encoded one at a time with all threads on each.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from threading import Event, local

import numpy as np

from gscodec.coding.headers import FrameType
from gscodec.config import EncoderConfig
from gscodec.encoder import EncodedFrame, Encoder
from gscodec.splat.raster import make_rasterizer
from gscodec.video.frame import Frame, SidePacket

MAX_HELD_BYTES = 1 << 29  # of pictures and mattes waiting for a core


@dataclass(frozen=True, slots=True)
class Job:
    """A frame with its ROI and its place in the GOP. `matte` is uint8 [H, W]: 255 is the person."""

    frame: Frame
    matte: np.ndarray
    frame_type: FrameType


Item = Job | SidePacket
Result = tuple[Item, EncodedFrame | None]


def encode_jobs(
    jobs: Iterable[Item], config: EncoderConfig, size: tuple[int, int], threads: int
) -> Generator[Result, None, None]:
    """Encode jobs in order; side packets pass through at their place.

    Yields:
        (job, its coded frame) and (side packet, None).
    """
    n_bytes_per_gop = size[0] * size[1] * 4 * config.gop_length
    if (
        threads > 1
        and config.backend in ("auto", "cpu")
        and n_bytes_per_gop * (threads + 1) <= MAX_HELD_BYTES
    ):
        return _gop_per_core(jobs, config, size, threads)
    return _one_by_one(jobs, config, size, threads)


def _encode(encoder: Encoder, job: Job) -> EncodedFrame:
    return encoder.encode(job.frame.pixels, job.matte.astype(np.float32) / 255, job.frame_type)


def _one_by_one(
    jobs: Iterable[Item], config: EncoderConfig, size: tuple[int, int], threads: int
) -> Generator[Result, None, None]:
    encoder = Encoder(config, make_rasterizer(config.backend, *size, threads))
    for job in jobs:
        yield job, (_encode(encoder, job) if isinstance(job, Job) else None)


def _gop_per_core(
    jobs: Iterable[Item], config: EncoderConfig, size: tuple[int, int], threads: int
) -> Generator[Result, None, None]:
    mine = local()
    stop = Event()

    def encode_gop(gop: list[Item]) -> list[Result]:
        if not hasattr(mine, "raster"):
            mine.raster = make_rasterizer("cpu", *size, 1)
        encoder = Encoder(config, mine.raster)
        results: list[Result] = []
        for job in gop:
            if stop.is_set():
                break
            results.append((job, _encode(encoder, job) if isinstance(job, Job) else None))
        return results

    pending: deque[Future[list[Result]]] = deque()
    with ThreadPoolExecutor(threads) as pool:
        try:
            for gop in _gops(jobs):
                pending.append(pool.submit(encode_gop, gop))
                while len(pending) > threads:
                    yield from pending.popleft().result()
            while pending:
                yield from pending.popleft().result()
        finally:
            stop.set()  # on an error or Ctrl-C the other GOPs need not finish


def _gops(jobs: Iterable[Item]) -> Iterator[list[Item]]:
    gop: list[Item] = []
    for job in jobs:
        if isinstance(job, Job) and job.frame_type == FrameType.I and gop:
            yield gop
            gop = []
        gop.append(job)
    if gop:
        yield gop
