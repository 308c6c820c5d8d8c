"""The room behind a person, filled in and blurred."""

from __future__ import annotations

import numpy as np
import pytest

from gscodec.decode.fill import blurred, without_person


def ramp(height: int = 120, width: int = 160) -> np.ndarray:
    """A slanted ramp of colours, uint8 [H, W, 3]."""
    y, x = np.mgrid[:height, :width]
    return np.stack((60 + x // 2, 40 + y, 100 + (x + y) // 3), -1).astype(np.uint8)


def matte(height: int = 120, width: int = 160) -> np.ndarray:
    y, x = np.mgrid[:height, :width]
    return (255 * (np.hypot(x - 80, y - 60) < 30)).astype(np.uint8)


def test_nothing_of_what_stood_there_is_left() -> None:
    alpha, room = matte(), ramp()
    one, other = room.copy(), room.copy()
    one[alpha > 0], other[alpha > 0] = 255, 0
    alone = without_person(one, alpha)
    assert np.abs(alone[alpha > 0].astype(int) - without_person(other, alpha)[alpha > 0]).max() <= 5  # of 255
    assert np.abs(alone.astype(int) - room).max() <= 20  # as smooth as what is around
    far = np.zeros(alpha.shape, bool)
    far[:8] = far[-8:] = True
    np.testing.assert_array_equal(alone[far], room[far])


def test_without_anybody_nothing_changes() -> None:
    room = ramp()
    np.testing.assert_array_equal(without_person(room, np.zeros(room.shape[:2], np.uint8)), room)


@pytest.mark.parametrize("size", [(1, 1), (1, 7), (5, 1), (3, 2)])
def test_small_pictures(size: tuple[int, int]) -> None:
    for level in (0, 120, 255):
        alone = without_person(np.full((*size, 3), 77, np.uint8), np.full(size, level, np.uint8))
        assert alone.shape == (*size, 3)
        assert np.all(alone == 77)
        assert np.all(blurred(np.full((*size, 3), 77, np.uint8), 40.0) == 77)


@pytest.mark.parametrize("radius", [2.0, 5.9, 13.0, 25.0])
def test_a_blur_is_a_gaussian(radius: float) -> None:
    """Also where it is made in a smaller picture: an edge becomes the normal distribution."""
    picture = np.zeros((40, 400, 3), np.uint8)
    picture[:, 200:] = 255
    row = blurred(picture, radius)[20, :, 0].astype(float) / 255
    x = (np.arange(400) - 199.5) / radius
    from math import erf

    wanted = np.array([0.5 * (1 + erf(v / 2**0.5)) for v in x])
    assert np.abs(row - wanted).max() < 0.02
