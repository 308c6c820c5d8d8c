"""Where GOPs begin."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from gscodec.container.headers import FrameType
from gscodec.encode.gop import (
    CUT_THRESHOLD,
    DECAY_DB,
    MOTION_THRESHOLD,
    frame_type,
    has_moved,
    is_iframe_due,
    is_scene_cut,
    thumbnail,
)


def types(gop_length: int, n_frames: int, cuts: tuple[int, ...] = ()) -> str:
    since, out = None, ""
    for i in range(n_frames):
        kind = frame_type(since, gop_length, i in cuts)
        since = 0 if kind == FrameType.I else since + 1
        out += kind.name
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


def test_a_state_is_iframe_due_when_it_lost_enough() -> None:
    assert is_iframe_due(30.0, 30.0 - DECAY_DB - 0.1)
    assert not is_iframe_due(30.0, 30.0 - DECAY_DB + 0.1)
    assert not is_iframe_due(30.0, 31.0)


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
