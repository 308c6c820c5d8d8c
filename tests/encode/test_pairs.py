"""Which frames become B-frames, that both ends show the same, and that a try that failed leaves no trace."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest

from gscodec.config import EncoderConfig
from gscodec.container.headers import FrameType
from gscodec.container.packet import Packet
from gscodec.decode.decoder import Decoder
from gscodec.encode import bframe
from gscodec.encode.bframe import MOST_WAIT, PairRule
from gscodec.encode.encoded import EncodedFrame
from gscodec.encode.encoder import Encoder
from gscodec.errors import CorruptError
from gscodec.live import sequence_header, video_packet
from gscodec.parallel import Job, encode_jobs
from gscodec.splat.raster import make_rasterizer
from gscodec.video.frame import Frame, VideoFormat

WIDTH, HEIGHT = 64, 48
CONFIG = EncoderConfig(
    gaussians=40, quality=1.0, iterations=15, polish_passes=1, b_frames=True, backend="cpu", threads=1
)
VIDEO = VideoFormat(WIDTH, HEIGHT, Fraction(1, 25), Fraction(25))
FULL = np.full((HEIGHT, WIDTH), 255, np.uint8)


def hills(shift: float) -> np.ndarray:
    """A smooth picture, moved to the right by so many pixels, under a camera's noise."""
    y, x = np.mgrid[:HEIGHT, :WIDTH] + 0.5
    light = 120 + 60 * np.sin((x - shift) / 9) * np.cos(y / 11)
    noise = np.random.default_rng(round(shift * 10)).normal(0, 12, (HEIGHT, WIDTH, 3))
    return np.clip(light[..., None] * [1.0, 0.9, 0.8] + noise, 0, 255).astype(np.uint8)


CALM = [hills(0.2 * i) for i in range(11)]
LEFT, RIGHT = CALM[0], hills(20)


def new_encoder() -> Encoder:
    return Encoder(CONFIG, make_rasterizer("cpu", WIDTH, HEIGHT, 1, blend="normalised"))


def packets(frames: Sequence[EncodedFrame]) -> list[Packet]:
    return [video_packet(frame, pts, 1) for pts, frame in enumerate(frames)]


def frame_of(roi_error: float, error: float) -> EncodedFrame:
    return EncodedFrame(FrameType.P, b"", 0, 0, 0, 0.0, roi_error, 1, error, 1)


def test_a_bframe_is_taken_where_it_is_nearly_as_good() -> None:
    rule, before, coded = PairRule(0.5), frame_of(100, 200), frame_of(100, 200)  # weighted: 150
    assert rule.accepts(before, frame_of(179, 179), coded)
    assert not rule.accepts(before, frame_of(181, 181), coded)
    assert rule.accepts(before, frame_of(120, 230), coded)
    assert not rule.accepts(before, frame_of(120, 250), coded)  # the room counts, too


def test_a_pframe_that_lost_much_on_its_way_is_not_taken() -> None:
    rule, before = PairRule(0.5), frame_of(100, 100)
    assert rule.accepts(before, frame_of(109, 109), frame_of(109, 109))
    assert not rule.accepts(before, frame_of(100, 100), frame_of(111, 111))


def test_after_failures_pairs_are_left_alone_for_longer_and_longer() -> None:
    rule, good = PairRule(1.0), frame_of(1, 1)
    bad, tried = frame_of(9, 9), []
    for i in range(60):
        if rule.tries():
            rule.accepts(good, bad, good)
            tried.append(i)
    gaps = np.diff(tried)
    assert gaps[:4].tolist() == [2, 3, 5, 9]
    assert gaps.max() == MOST_WAIT + 1
    while not rule.tries():
        pass
    rule.accepts(good, good, good)
    assert rule.tries()
    rule.accepts(good, bad, good)
    rule.restart()
    assert rule.tries()


def test_of_a_steady_motion_half_the_frames_cost_nothing_and_both_ends_show_the_same() -> None:
    encoder = new_encoder()
    frames = [encoder.encode(CALM[0], FULL, FrameType.I)]
    for i in range(1, 11, 2):
        frames += encoder.encode_pair((CALM[i], FULL), (CALM[i + 1], FULL))
    types = "".join(frame.frame_type.name for frame in frames)
    assert types.count("B") >= 3, types
    assert all(frame.payload == b"" for frame in frames if frame.frame_type == FrameType.B)
    decoder = Decoder(sequence_header(VIDEO, CONFIG), backend="cpu", threads=1)
    for packet in decoder.frames(packets(frames)):
        difference = decoder.render().astype(int) - CALM[packet.pts]
        assert (difference**2).sum() == frames[packet.pts].error
        assert len(decoder.gaussians) == frames[packet.pts].n_gaussians


def test_a_pair_whose_middle_does_not_lie_between_is_two_pframes_as_if_nothing_had_been_tried() -> None:
    """There and back again in one frame: the frames around it know nothing of it."""
    plain, paired = new_encoder(), new_encoder()
    clip = [LEFT, CALM[1], RIGHT, CALM[2], CALM[3], CALM[4]]
    wanted = [plain.encode(p, FULL, FrameType.P if i else FrameType.I) for i, p in enumerate(clip)]
    frames = [paired.encode(clip[0], FULL, FrameType.I), paired.encode(clip[1], FULL, FrameType.P)]
    frames += paired.encode_pair((clip[2], FULL), (clip[3], FULL))
    frames += [paired.encode(p, FULL, FrameType.P) for p in clip[4:]]
    assert [f.frame_type for f in frames] == [FrameType.I] + 5 * [FrameType.P]
    assert [replace(f, seconds=0) for f in frames] == [replace(f, seconds=0) for f in wanted]


def test_whoever_seeks_or_asks_later_sees_the_same() -> None:
    encoder = new_encoder()
    frames = [
        encoder.encode(CALM[0], FULL, FrameType.I),
        *encoder.encode_pair((CALM[1], FULL), (CALM[2], FULL)),
    ]
    assert frames[1].frame_type == FrameType.B
    header = sequence_header(VIDEO, replace(CONFIG, hold=9))
    every, later = (Decoder(header, backend="cpu", threads=1) for _ in range(2))
    pictures = [every.render() for _ in every.frames(packets(frames))]
    for packet in later.frames(packets(frames)):
        if packet.pts == 1:
            np.testing.assert_array_equal(later.render(), pictures[1])
            person, alpha = later.render_person(np.zeros(3))
            assert person.shape == (HEIGHT, WIDTH, 3)
            assert alpha.max() > 200
    low, high = np.minimum(pictures[0], pictures[2]), np.maximum(pictures[0], pictures[2])
    assert ((low <= pictures[1]) & (pictures[1] <= high)).all()


def test_a_bframe_needs_its_pframe() -> None:
    encoder, bframe_packet = new_encoder(), Packet(0, 1, False, b"", is_bframe=True)
    first, second = encoder.encode(LEFT, FULL, FrameType.I), encoder.encode(RIGHT, FULL, FrameType.P)
    header = sequence_header(VIDEO, CONFIG)
    iframe, pframe = video_packet(first, 0, 1), video_packet(second, 2, 1)
    recovery = replace(pframe, is_recovery=True)
    for wrong in ([iframe], [iframe, bframe_packet], [iframe, recovery], [iframe, iframe]):
        with pytest.raises(CorruptError, match="the B-frame at 1 ticks has no P-frame behind it"):
            list(Decoder(header, backend="cpu").frames([wrong[0], bframe_packet, *wrong[1:]]))
    decoder = Decoder(header, backend="cpu")
    with pytest.raises(ValueError, match=r"Decoder\.frames"):
        decoder.decode(b"", FrameType.B)
    decoder.decode(iframe.payload, FrameType.I)
    with pytest.raises(CorruptError, match="a B-frame before a frame that permits none"):
        decoder.go_between()


@pytest.mark.parametrize("n_frames", [10, 11])
def test_frames_come_out_in_order_on_any_number_of_cores(n_frames: int) -> None:
    config = replace(CONFIG, gop_length=5)
    runs = []
    for threads in (1, 2):
        jobs = [
            Job(Frame(CALM[i], i, 1), FULL, FrameType.P if i % 5 else FrameType.I) for i in range(n_frames)
        ]
        results = list(encode_jobs(iter(jobs), config, VIDEO, threads))
        assert [job for job, _ in results] == jobs
        runs.append([coded for _, coded in results if coded])
    types = ["".join(f.frame_type.name for f in run) for run in runs]
    assert types[0] == types[1] == "IBPBPIBPBPI"[:n_frames]
    assert [f.payload for f in runs[0]] == [f.payload for f in runs[1]]


@pytest.mark.parametrize(
    "more", [{"b_frames": False}, {"deadline_ms": 1e4}, {"stability": 1.0}, {"entropy": "ans"}]
)
def test_where_frames_are_coded_as_they_come_there_are_no_bframes(more: dict[str, object]) -> None:
    config = replace(CONFIG, **more)
    assert CONFIG.makes_pairs
    assert not config.makes_pairs
    jobs = [Job(Frame(CALM[i], i, 1), FULL, FrameType.P if i else FrameType.I) for i in range(3)]
    types = [coded.frame_type.name for _, coded in encode_jobs(iter(jobs), config, VIDEO, 1) if coded]
    assert types == ["I", "P", "P"]


def test_the_room_counts_as_in_the_loss() -> None:
    assert PairRule(0.2)._error(frame_of(10, 60)) == pytest.approx(20)
    assert bframe.MOST_ERROR > 1
