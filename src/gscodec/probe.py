"""The first second of a clip -> the crf at which its file meets a bitrate or a PSNR.

A file's steps are fixed by its crf before anything of it is written, and what a clip costs at a crf differs
by a factor of ten from one clip to another: a still head takes 10 kb/s where a hand-held camera takes 130.
Rate control (encode/rate.py) starts from a typical head and moves from GOP to GOP, which a clip of a few GOPs
is too short for. So the first frames are encoded twice for nothing, and the crf is moved by what they took.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from dataclasses import replace
from itertools import chain

from gscodec.config import EncoderConfig
from gscodec.container.headers import FrameType
from gscodec.encode.encoded import EncodedFrame
from gscodec.encode.gop import longest_gop
from gscodec.encode.rate import corrected_crf, mean_of_gop
from gscodec.metrics import psnr_db
from gscodec.parallel import Item, Job, encode_jobs
from gscodec.rdo.rates import PACKET_BITS
from gscodec.video.frame import VideoFormat

MOST_FRAMES = 30
MOST_BYTES = 1 << 28  # of pictures and mattes held for it
ROUNDS = 2  # the second sees what the first got wrong


def probed(
    jobs: Generator[Item, None, None],
    config: EncoderConfig,
    video: VideoFormat,
    threads: int,
    tried: Callable[[], None] = lambda: None,
) -> tuple[EncoderConfig, Iterator[Item]]:
    """Move the crf of a config with a target by what the first frames take at it.

    Nothing is moved, and no frame waits, without a target, under --deadline, or where the frame rate is
    unknown.

    Args:
        config: its crf is rate.starting_crf's. tried: called after every frame on trial.
    Returns:
        The config, and all the jobs.
    """
    has_target = config.bitrate is not None or config.target_psnr is not None
    if not has_target or config.deadline_ms is not None or not video.frame_rate:
        return config, jobs
    first = _first(jobs, min(MOST_FRAMES, max(2, MOST_BYTES // (video.width * video.height * 4))))
    for _ in range(ROUNDS):
        trial = replace(config, bitrate=None, target_psnr=None)
        with closing(encode_jobs(first, trial, video, threads)) as results:
            coded = []
            for _, frame in results:
                if frame:
                    coded.append(frame)
                    tried()
        if not coded:
            break
        psnr = psnr_db(sum(f.roi_error for f in coded), sum(f.roi_samples for f in coded))
        kbit_per_s = _bits_a_frame(coded, config) * float(video.frame_rate) / 1e3
        config = replace(config, crf=corrected_crf(config, kbit_per_s, psnr))
    return config, chain(first, jobs)


def _first(jobs: Iterator[Item], n_frames: int) -> list[Item]:
    """The items up to the n-th frame."""
    found: list[Item] = []
    while n_frames and (item := next(jobs, None)) is not None:
        found.append(item)
        n_frames -= isinstance(item, Job)
    return found


def _bits_a_frame(coded: list[EncodedFrame], config: EncoderConfig) -> float:
    """Mean bits of a frame, packet and all, over a GOP as long as they are usually."""
    bits = [8.0 * len(frame.payload) + PACKET_BITS for frame in coded]
    is_key = [frame.frame_type == FrameType.I for frame in coded]
    iframes = [b for b, key in zip(bits, is_key, strict=True) if key]
    pframes = [b for b, key in zip(bits, is_key, strict=True) if not key]
    iframe = sum(iframes) / len(iframes)
    pframe = sum(pframes) / len(pframes) if pframes else iframe
    return mean_of_gop(iframe, pframe, longest_gop(config.gop_length, config.open_gop))
