"""The order and the failures of encoding over all cores."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from fractions import Fraction

import numpy as np
import pytest

from gscodec.config import encoder_config
from gscodec.container.headers import FrameType
from gscodec.parallel import Job, encode_jobs
from gscodec.video.frame import Frame, SidePacket, VideoFormat

VIDEO = VideoFormat(48, 32, Fraction(1, 25), Fraction(25))


def make_jobs(n_frames: int, gop: int) -> Iterator[Job | SidePacket]:
    rng = np.random.default_rng(0)
    picture = rng.integers(0, 256, (32, 48, 3)).astype(np.uint8)
    for i in range(n_frames):
        pixels = np.roll(picture, i, axis=1)
        kind = FrameType.I if i % gop == 0 else FrameType.P
        yield Job(Frame(np.ascontiguousarray(pixels), i), np.full((32, 48), 255, np.uint8), kind)
        if i % 2:
            yield SidePacket(0, i, i, 1, True, bytes([i]))


def settings(**more: object) -> object:
    return encoder_config("realtime", backend="cpu", gaussians=20, iterations=3, gop_length=4, **more)


@pytest.mark.parametrize("more", [{}, {"deadline_ms": 10_000.0}, {"bitrate": 50.0}])
def test_results_come_in_order_and_do_not_depend_on_the_cores(more: dict[str, float]) -> None:
    config = settings(**more)
    runs = [list(encode_jobs(make_jobs(11, 4), config, VIDEO, threads)) for threads in (1, 2, 3)]
    kinds = [type(item).__name__ for item in make_jobs(11, 4)]
    for run in runs:
        assert [type(item).__name__ for item, _ in run] == kinds
        assert all((coded is None) == isinstance(item, SidePacket) for item, coded in run)
    if "bitrate" not in more:  # there the feedback comes as late as there are cores
        payloads = [[coded.payload for _, coded in run if coded] for run in runs]
        assert payloads[0] == payloads[1] == payloads[2]


@pytest.mark.parametrize("threads", [1, 2])
def test_a_failing_source_is_heard_and_no_thread_stays(threads: int) -> None:
    def jobs() -> Iterator[Job | SidePacket]:
        yield from make_jobs(6, 4)
        raise OSError("the disk is gone")

    before = threading.active_count()
    with pytest.raises(OSError, match="the disk is gone"):
        list(encode_jobs(jobs(), settings(), VIDEO, threads))
    assert threading.active_count() == before


@pytest.mark.parametrize("threads", [1, 2])
def test_giving_up_early_stops_everything(threads: int) -> None:
    before = threading.active_count()
    results = encode_jobs(make_jobs(40, 4), settings(), VIDEO, threads)
    next(results)
    results.close()
    assert threading.active_count() == before
