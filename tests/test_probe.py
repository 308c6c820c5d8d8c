"""The crf of a file with a target is found by trial: an easy and a hard clip both meet it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from typing import Any

import numpy as np
import pytest

from conftest import synthetic_clip
from gscodec.config import EncoderConfig, encoder_config
from gscodec.container.headers import FrameType
from gscodec.encode.rate import starting_crf
from gscodec.parallel import Item, Job, encode_jobs
from gscodec.probe import MOST_FRAMES, ROUNDS, probed
from gscodec.video.frame import Frame, SidePacket, VideoFormat

WIDTH, HEIGHT, N_FRAMES = 128, 96, 60
VIDEO = VideoFormat(WIDTH, HEIGHT, Fraction(1, 25), Fraction(25))
FULL = np.full((HEIGHT, WIDTH), 255, np.uint8)


def settings(**more: Any) -> EncoderConfig:
    config = encoder_config("fast", backend="cpu", gop_length=30, threads=1, iterations=20, **more)
    return replace(config, crf=starting_crf(config, WIDTH * HEIGHT, 25.0))


def jobs(kind: str, n_frames: int = N_FRAMES) -> Iterator[Item]:
    frames = synthetic_clip(kind, WIDTH, HEIGHT, n_frames)
    for i, pixels in enumerate(frames):
        must = i == 0
        yield Job(Frame(pixels, i), FULL, FrameType.I if i % 30 == 0 else FrameType.P, must)
        if i == 3:
            yield SidePacket(0, i, i, 1, True, b"x")


def kbit_per_s(kind: str, config: EncoderConfig) -> float:
    config, every = probed(jobs(kind), config, VIDEO, 1)
    coded = [frame for _, frame in encode_jobs(every, config, VIDEO, 1) if frame]
    assert len(coded) == N_FRAMES
    return sum(8 * len(f.payload) + 32 for f in coded) / N_FRAMES * 25 / 1e3


@pytest.mark.parametrize("kind", ["disc", "gradient"])
def test_a_short_clip_meets_its_bitrate(kind: str) -> None:
    """The disc takes half as much as a typical head, so that without a trial 15 kb/s come out."""
    assert kbit_per_s(kind, settings(bitrate=30.0)) == pytest.approx(30.0, rel=0.2)


def test_the_frames_on_trial_are_told_and_come_out_once_each() -> None:
    n_told = 0

    def tried() -> None:
        nonlocal n_told
        n_told += 1

    config, every = probed(jobs("disc"), settings(bitrate=30.0), VIDEO, 1, tried)
    assert n_told == ROUNDS * MOST_FRAMES
    found = list(every)
    assert [item.frame.pts for item in found if isinstance(item, Job)] == list(range(N_FRAMES))
    assert [type(item) for item in found] == [type(item) for item in jobs("disc")]
    assert config.bitrate == 30.0  # rate control goes on from there


@pytest.mark.parametrize("more", [{"crf": 30.0}, {"bitrate": 30.0, "deadline_ms": 1000.0}])
def test_without_a_target_or_with_a_deadline_no_frame_waits(more: dict[str, float]) -> None:
    source = jobs("disc")
    config = encoder_config("fast", **more)
    assert probed(source, config, VIDEO, 1) == (config, source)
    assert isinstance(next(source), Job)  # nothing was taken


def test_an_empty_clip_stays_empty() -> None:
    config = settings(target_psnr=30.0)
    found, every = probed(iter(()), config, VIDEO, 1)
    assert (found, list(every)) == (config, [])
