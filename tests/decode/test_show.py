"""What is shown: native hold against the formula, over whole GOPs."""

from __future__ import annotations

import numpy as np
import pytest

from gscodec.decode import _native
from gscodec.decode.show import Holder, tolerances


def slow(before: np.ndarray, picture: np.ndarray, tolerance: np.ndarray) -> np.ndarray:
    t = tolerance.astype(int)
    return np.clip(before.astype(int), picture.astype(int) - t, picture.astype(int) + t).astype(np.uint8)


@pytest.mark.parametrize("hold", [0, 1, 4, 64, 255])
@pytest.mark.parametrize(("width", "height"), [(1, 1), (5, 3), (16, 1), (37, 23)])
def test_native_follows_the_formula(rng: np.random.Generator, hold: int, width: int, height: int) -> None:
    t = tolerances(hold)
    before, picture = rng.integers(0, 256, (2, height, width, 3)).astype(np.uint8)
    picture[::2] = np.clip(before[::2].astype(int) + rng.integers(-6, 7, before[::2].shape), 0, 255)
    picture.flat[:2] = 0, 255
    wanted = slow(before, picture, t)
    _native.hold(before, picture, t)
    np.testing.assert_array_equal(picture, wanted)
    np.testing.assert_array_equal(before, wanted)


def test_tolerances_follow_lumas_weights() -> None:
    assert [tolerances(h).tolist() for h in (0, 1, 4, 5, 255)] == [
        [0, 0, 0],
        [1, 1, 0],
        [2, 4, 1],
        [3, 5, 2],
        [128, 255, 85],
    ]


def test_a_gop_is_held_from_its_iframe_on(rng: np.random.Generator) -> None:
    holder, before = Holder(7), None
    source = np.zeros((8, 9, 3), np.uint8)
    for i in range(9):
        source = np.clip(source.astype(int) + rng.integers(-9, 10, source.shape), 0, 255).astype(np.uint8)
        shown = source.copy()
        holder.show(shown, restart=i in (0, 5))
        before = source if i in (0, 5) else slow(before, source, tolerances(7))
        np.testing.assert_array_equal(shown, before)
        shown[:] = 0  # the caller's own


def test_hold_0_shows_the_sum(rng: np.random.Generator) -> None:
    holder = Holder(0)
    for _ in range(2):
        picture = rng.integers(0, 256, (4, 4, 3)).astype(np.uint8)
        shown = picture.copy()
        holder.show(shown, restart=False)
        np.testing.assert_array_equal(shown, picture)


def test_sizes_must_agree() -> None:
    a, b = np.zeros((4, 4, 3), np.uint8), np.zeros((4, 5, 3), np.uint8)
    with pytest.raises(ValueError, match="picture is 5x4, expected 4x4"):
        _native.hold(a, b, tolerances(4))
