"""Thumbnails, and what two of them tell."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from gscodec.thumbnails import CUT_THRESHOLD, MOTION_THRESHOLD, has_moved, is_scene_cut, thumbnail


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
