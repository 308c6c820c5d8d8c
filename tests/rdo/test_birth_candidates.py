"""Where one more Gaussian would help most: found places against sums taken pixel by pixel."""

from __future__ import annotations

import numpy as np
import pytest

from gscodec.rdo.birth_candidates import find_candidates

WIDTH, HEIGHT = 120, 90


def blob(x: float, y: float, size: float, color: tuple[float, float, float]) -> np.ndarray:
    rows, columns = np.mgrid[:HEIGHT, :WIDTH] + 0.5
    return np.exp(-((columns - x) ** 2 + (rows - y) ** 2) / (2 * size * size))[..., None] * np.array(color)


def rest_of(picture: np.ndarray, weight: np.ndarray | float = 1.0) -> np.ndarray:
    out = np.empty((HEIGHT, WIDTH, 4), np.float32)
    out[..., :3], out[..., 3] = picture, weight
    return out


def loss(rest: np.ndarray) -> float:
    return float((rest[..., 3:].astype(np.float64) * rest[..., :3].astype(np.float64) ** 2).sum())


def lowered(rest: np.ndarray, p: np.ndarray) -> float:
    """By how much a Gaussian lowers the loss."""
    after = rest.copy()
    after[..., :3] -= blob(p[0], p[1], p[2], p[5:])
    return loss(rest) - loss(after)


@pytest.mark.parametrize("size", [2.5, 4.0, 7.0, 12.0])
@pytest.mark.parametrize("weight", [1.0, 0.05])
def test_a_blob_is_found_where_and_as_large_as_it_is(size: float, weight: float) -> None:
    color = (0.3, -0.2, 0.1)
    rest = rest_of(blob(61, 37, size, color), weight)
    found = find_candidates(rest, 0.1 * loss(rest), 1)
    assert found.shape == (1, 8)
    assert found.dtype == np.float32
    assert np.hypot(found[0, 0] - 61, found[0, 1] - 37) < max(1.5, size / 2)
    assert size / 1.8 < found[0, 2] == found[0, 4] < size * 1.8
    assert found[0, 3] == 0
    assert lowered(rest, found[0]) > 0.75 * loss(rest)


def test_spots_come_best_first_apart_and_hold_what_they_promise(rng: np.random.Generator) -> None:
    picture = rng.normal(0, 0.02, (HEIGHT, WIDTH, 3))
    for x, y, strength in ((20, 20, 0.2), (90, 30, 0.5), (50, 70, 0.35)):
        picture += blob(x, y, 5, (strength, 0, -strength))
    weight = 0.1 + 0.9 * rng.random((HEIGHT, WIDTH))
    rest = rest_of(picture, weight)
    least = 0.5
    found = find_candidates(rest, least, 10)
    gains = [lowered(rest, p) for p in found]
    assert [round(float(p[0]) / 10) * 10 for p in found[:3]] == [90, 50, 20]
    assert gains[0] > gains[1] > gains[2]
    assert min(gains) > 0.5 * least
    assert len(find_candidates(rest, least, 2)) == 2
    for i in range(len(found)):
        for j in range(i):
            assert np.hypot(*(found[i, :2] - found[j, :2])) > 0.8 * (found[i, 2] + found[j, 2])


def test_nothing_is_found_where_nothing_is_left_or_nobody_cares() -> None:
    picture = blob(61, 37, 6, (0.5, 0, 0))
    assert len(find_candidates(rest_of(0 * picture), 1e-9, 9)) == 0
    assert len(find_candidates(rest_of(picture, 0.0), 1e-3, 9)) == 0
    rest = rest_of(picture)
    assert len(find_candidates(rest, 2 * loss(rest), 9)) == 0
    assert len(find_candidates(rest, 0.0, 0)) == 0


@pytest.mark.parametrize("shape", [(1, 1), (3, 200), (7, 9)])
def test_small_pictures(shape: tuple[int, int]) -> None:
    assert find_candidates(np.ones((*shape, 4), np.float32), 0.0, 5).shape[1] == 8
