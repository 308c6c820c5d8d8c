"""Where GOPs begin."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from gscodec.container.headers import FrameType
from gscodec.encode.encoded import EncodedFrame
from gscodec.encode.gop import (
    CUT_THRESHOLD,
    DECAY_DB,
    MAX_OPEN_GOPS,
    MOTION_THRESHOLD,
    GopCounter,
    OpenGop,
    has_moved,
    is_scene_cut,
    thumbnail,
)


def coded(frame_type: FrameType, roi_db: float) -> EncodedFrame:
    error = 255**2 * 10 ** (-roi_db / 10)
    return EncodedFrame(
        frame_type=frame_type,
        payload=b"",
        n_coded=0,
        n_gaussians=0,
        iterations=0,
        seconds=0.0,
        roi_error=error,
        roi_samples=1,
        error=error,
        samples=1,
    )


def types(gop_length: int, n_frames: int, cuts: tuple[int, ...] = (), is_open: bool = False) -> str:
    """The types of a clip that never loses quality, by their first letters."""
    counter, open_gop, out = GopCounter(gop_length), OpenGop(is_open), ""
    for i in range(n_frames):
        kind, must = counter.due(i in cuts)
        counter.took(kind, must)
        found = open_gop.type_of(kind, must)
        open_gop.coded(coded(found, 30.0))
        out += found.name[0]
    return out


@pytest.mark.parametrize(
    ("gop_length", "cuts", "expected"),
    [
        (1, (), "IIIIIIII"),
        (2, (), "IPIPIPIP"),
        (3, (), "IPPIPPIP"),
        (100, (), "IPPPPPPP"),
        (4, (2,), "IPIPPPIP"),  # a cut starts a GOP of full length
        (4, (0,), "IPPPIPPP"),
        (4, (4, 5), "IPPPIIPP"),
    ],
)
def test_gops_have_their_length(gop_length: int, cuts: tuple[int, ...], expected: str) -> None:
    assert types(gop_length, 8, cuts) == expected


@pytest.mark.parametrize(
    ("gop_length", "cuts", "expected"),
    [
        (1, (), "IRRRRIRRRRIR"),
        (2, (), "IPRPRPRPRPIP"),
        (2, (3,), "IPRIPRPRPRPR"),  # a cut begins five lengths anew
        (100, (), "IPPPPPPPPPPP"),
    ],
)
def test_open_gops_go_on_for_five_lengths(gop_length: int, cuts: tuple[int, ...], expected: str) -> None:
    assert MAX_OPEN_GOPS == 5
    assert types(gop_length, 12, cuts, is_open=True) == expected


@pytest.mark.parametrize(
    ("last_db", "must", "is_open", "expected"),
    [
        (30.0 - DECAY_DB - 0.1, False, True, FrameType.I),
        (30.0 - DECAY_DB + 0.1, False, True, FrameType.RECOVERY),
        (31.0, False, True, FrameType.RECOVERY),
        (31.0, True, True, FrameType.I),
        (31.0, False, False, FrameType.I),
    ],
)
def test_an_open_gop_ends_where_it_lost_much(
    last_db: float, must: bool, is_open: bool, expected: FrameType
) -> None:
    gop = OpenGop(is_open)
    gop.coded(coded(FrameType.I, 30.0))
    gop.coded(coded(FrameType.P, last_db))
    assert gop.type_of(FrameType.P, False) == FrameType.P
    assert gop.type_of(FrameType.I, must) == expected


def test_quality_is_lost_against_the_last_iframe() -> None:
    gop = OpenGop(True)
    gop.coded(coded(FrameType.I, 40.0))
    gop.coded(coded(FrameType.I, 30.0))
    gop.coded(coded(FrameType.RECOVERY, 28.0))
    assert gop.type_of(FrameType.I, False) == FrameType.RECOVERY


def test_a_frame_that_is_overdue_stays_so() -> None:
    counter = GopCounter(3)
    for kind in (FrameType.I, FrameType.P, FrameType.P, FrameType.P, FrameType.P):
        counter.took(kind, kind == FrameType.I)
    assert counter.due(False) == (FrameType.I, False)


@pytest.mark.parametrize("shape", [(360, 640), (48, 64), (17, 31), (15, 40), (1, 1), (40, 15)])
def test_thumbnails_of_any_size(shape: tuple[int, int]) -> None:
    pixels = np.full((*shape, 3), 77, np.uint8)
    small = thumbnail(pixels)
    assert small.dtype == np.float32
    assert (small == 77).all()
    if min(shape) >= 16:
        assert small.shape == (shape[0] // 16, shape[1] // 16, 3)
    else:
        assert small.shape == pixels.shape


def test_a_thumbnail_is_of_block_averages() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (64, 48, 3), np.uint8)
    blocks = pixels.reshape(4, 16, 3, 16, 3).mean(axis=(1, 3))
    np.testing.assert_allclose(thumbnail(pixels), blocks, rtol=1e-5)


def test_cuts_are_found_and_motion_is_none(make_clip) -> None:
    disc, noise, gradient = (make_clip(kind, 96, 80, 6) for kind in ("disc", "noise", "gradient"))
    for clip in (disc, gradient):
        small = [thumbnail(frame) for frame in clip]
        assert not any(is_scene_cut(a, b) for a, b in itertools.pairwise(small))
    assert is_scene_cut(thumbnail(disc[-1]), thumbnail(gradient[0]))
    assert is_scene_cut(thumbnail(noise[-1]), thumbnail(disc[0]))
    assert not is_scene_cut(None, thumbnail(disc[0]))


def test_a_cut_is_more_than_the_threshold() -> None:
    before = np.full((5, 5, 3), 100, np.float32)
    assert not is_scene_cut(before, before + CUT_THRESHOLD)
    assert is_scene_cut(before, before - CUT_THRESHOLD - 0.1)


def test_what_moves_as_much_as_a_block_has_moved() -> None:
    before = np.full((5, 5, 3), 100, np.float32)
    now = before.copy()
    assert not has_moved(before, now)
    now[2, 3] += MOTION_THRESHOLD
    assert not has_moved(before, now)
    now[2, 3, 1] -= 2 * MOTION_THRESHOLD + 4
    assert has_moved(before, now)
