"""Superpixels: exactly N connected segments inside any mask, and the Gaussians made of them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from gscodec.splat.gaussians import OPPONENT_FROM_RGB, opponent_from_rgb

_native = pytest.importorskip("gscodec.analysis._native")

MATRIX = OPPONENT_FROM_RGB / np.float32(255)
MASKS = arrays(np.uint8, st.tuples(st.integers(1, 19), st.integers(1, 23)), elements=st.integers(0, 1))


def connected_pieces(mask: np.ndarray) -> int:
    """Number of 4-connected pieces of a boolean mask [H, W]."""
    left = mask.copy()
    pieces = 0
    while left.any():
        pieces += 1
        stack = [tuple(np.argwhere(left)[0])]
        left[stack[0]] = False
        while stack:
            y, x = stack.pop()
            for j, i in ((y - 1, x), (y + 1, x), (y, x - 1), (y, x + 1)):
                if 0 <= j < mask.shape[0] and 0 <= i < mask.shape[1] and left[j, i]:
                    left[j, i] = False
                    stack.append((j, i))
    return pieces


def segment(
    mask: np.ndarray,
    count: int,
    density: np.ndarray | None = None,
    picture: np.ndarray | None = None,
    iterations: int = 1,
) -> tuple[np.ndarray, int]:
    """Labels int32 [H, W] and their number, for a noisy picture and even density unless given."""
    if density is None:
        density = np.ones(mask.shape, np.float32)
    if picture is None:
        picture = np.random.default_rng(0).uniform(-1, 1, (*mask.shape, 3)).astype(np.float32)
    region = 1 - mask.astype(np.uint8)
    counts = np.array([min(count, int(mask.sum()))], np.int32)
    labels = _native.nearest_seeds(picture, region, density, counts, iterations)
    return labels, int(_native.connect(labels, region, counts)[0])


def assert_sound(mask: np.ndarray, count: int, labels: np.ndarray, found: int) -> None:
    """Exactly min(count, pixels) connected segments that cover the mask but for islands beyond `count`."""
    mask = mask.astype(bool)
    assert found == min(count, mask.sum())
    assert labels.shape == mask.shape
    assert (labels[~mask] == -1).all()
    np.testing.assert_array_equal(np.unique(labels[labels >= 0]), np.arange(found))
    for label in range(found):
        assert connected_pieces(labels == label) == 1
    if connected_pieces(mask) <= count:
        assert (labels[mask] >= 0).all()
    else:
        assert connected_pieces(labels >= 0) == count  # whole islands were dropped


def stripes(height: int, width: int) -> np.ndarray:
    mask = np.zeros((height, width), np.uint8)
    mask[::2] = 1
    return mask


def snake(height: int, width: int) -> np.ndarray:
    """One line, one pixel thick, that folds through the whole picture."""
    mask = stripes(height, width)
    mask[1::4, -1] = 1
    mask[3::4, 0] = 1
    return mask


@settings(max_examples=150)
@given(mask=MASKS, count=st.integers(1, 60))
@example(mask=np.ones((16, 16), np.uint8), count=1)
@example(mask=np.ones((3, 4), np.uint8), count=500)
@example(mask=np.zeros((5, 5), np.uint8), count=7)
@example(mask=np.eye(15, dtype=np.uint8), count=4)
@example(mask=stripes(17, 21), count=9)
@example(mask=stripes(17, 21), count=8)
@example(mask=snake(17, 21), count=13)
@example(mask=np.ones((1, 23), np.uint8), count=5)
def test_exactly_n_connected_segments_in_any_mask(mask: np.ndarray, count: int) -> None:
    for iterations in (1, 3):
        assert_sound(mask, count, *segment(mask, count, iterations=iterations))


@settings(max_examples=60)
@given(
    density=arrays(np.float32, (13, 17), elements=st.sampled_from([0, 1e-30, 0.1, 1, 50, 1e30])),
    count=st.integers(1, 40),
)
@example(density=np.zeros((13, 17), np.float32), count=10)
@example(density=np.full((13, 17), np.inf, np.float32), count=10)
@example(density=np.full((13, 17), np.nan, np.float32), count=10)
def test_any_density_gives_n_segments(density: np.ndarray, count: int) -> None:
    mask = np.ones(density.shape, np.uint8)
    assert_sound(mask, count, *segment(mask, count, density))


@pytest.mark.parametrize("value", [0.0, np.nan, np.inf, 1e30])
def test_any_picture_gives_n_segments(value: float) -> None:
    mask = np.ones((20, 30), np.uint8)
    picture = np.full((20, 30, 3), value, np.float32)
    assert_sound(mask, 25, *segment(mask, 25, picture=picture))


def test_more_segments_than_pixels_gives_one_each() -> None:
    mask = np.ones((6, 7), np.uint8)
    labels, found = segment(mask, 1000)
    assert found == 42
    assert len(np.unique(labels)) == 42


def test_segments_are_even_where_the_picture_is_flat() -> None:
    labels, found = segment(np.ones((60, 80), np.uint8), 48, picture=np.zeros((60, 80, 3), np.float32))
    sizes = np.bincount(labels.ravel(), minlength=found)
    assert sizes.min() > 0.25 * sizes.mean()
    assert sizes.max() < 3 * sizes.mean()


def test_segments_keep_to_edges() -> None:
    """On two flat halves hardly a segment reaches across."""
    picture = np.zeros((40, 40, 3), np.float32)
    picture[:, 17:] = 1
    labels, _ = segment(np.ones((40, 40), np.uint8), 20, picture=picture)
    across = set(np.unique(labels[:, :17])) & set(np.unique(labels[:, 17:]))
    assert len(across) <= 1


def test_density_attracts_segments() -> None:
    density = np.full((40, 40), 0.1, np.float32)
    density[:, :20] = 1
    labels, _ = segment(np.ones((40, 40), np.uint8), 60, density, np.zeros((40, 40, 3), np.float32))
    assert len(np.unique(labels[:, :20])) > 2.5 * len(np.unique(labels[:, 20:]))


@settings(max_examples=60)
@given(
    region=arrays(np.uint8, st.tuples(st.integers(1, 14), st.integers(1, 16)), elements=st.integers(0, 3)),
    counts=st.lists(st.integers(0, 12), min_size=3, max_size=3),
    iterations=st.integers(1, 3),
)
def test_every_region_gets_its_own_segments(region: np.ndarray, counts: list[int], iterations: int) -> None:
    """As segmenting each by itself does, but numbered one after the other; region 3 is nobody's."""
    pixels = [int((region == r).sum()) for r in range(3)]
    wanted = np.minimum(counts, pixels).astype(np.int32)
    picture = np.random.default_rng(0).uniform(-1, 1, (*region.shape, 3)).astype(np.float32)
    density = np.random.default_rng(1).uniform(0.1, 1, region.shape).astype(np.float32)
    labels = _native.nearest_seeds(picture, region, density, wanted, iterations)
    for r in range(3):
        own = labels[(region == r) & (labels >= 0)]
        assert ((own >= wanted[:r].sum()) & (own < wanted[: r + 1].sum())).all()
    found = _native.connect(labels, region, wanted)
    assert (labels[region == 3] == -1).all()
    first = 0
    for r, n in enumerate(found):
        if wanted[r]:
            own = np.where((region == r) & (labels >= 0), labels - first, -1)
            assert_sound(region == r, int(wanted[r]), own, int(n))
        else:
            assert n == 0
        first += n


def test_any_labels_become_segments(rng: np.random.Generator) -> None:
    mask = np.ones((30, 40), np.uint8)
    labels = rng.integers(-1, 50, mask.shape).astype(np.int32)
    counts = np.array([50], np.int32)
    found = _native.connect(labels, 1 - mask, counts)
    assert_sound(mask, 50, labels, int(found[0]))


@pytest.mark.parametrize("shape", [(2, 2), (2, 7), (9, 2), (24, 31)])
@pytest.mark.parametrize("detail", [0.0, 0.5, 1.5])
def test_density_is_the_gradient(shape: tuple[int, int], detail: float, rng: np.random.Generator) -> None:
    picture = rng.uniform(-1, 1, (*shape, 3)).astype(np.float32)
    padded = np.pad(picture[:, :, 0].astype(np.float64), 1, mode="reflect")
    smooth, slope = [1, 2, 1], [-1, 0, 1]

    def convolved(down: list[int], across: list[int]) -> np.ndarray:
        h, w = shape
        return sum(down[j] * across[i] * padded[j : j + h, i : i + w] for j in range(3) for i in range(3))

    energy = np.hypot(convolved(smooth, slope), convolved(slope, smooth))
    expected = (energy + 0.25 * energy.mean() + 1e-6) ** detail
    np.testing.assert_allclose(_native.density(picture, detail), expected, rtol=1e-4)


@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (9, 1)])
def test_a_line_has_even_density(shape: tuple[int, int]) -> None:
    assert (_native.density(np.ones((*shape, 3), np.float32), 1.5) == 1).all()


@pytest.mark.parametrize("widen", [1.1, 1.6])
def test_gaussians_are_the_moments_of_their_segments(rng: np.random.Generator, widen: float) -> None:
    pixels = rng.integers(0, 256, (23, 31, 3)).astype(np.uint8)
    picture = opponent_from_rgb(pixels)
    mask = rng.uniform(size=(23, 31)) < 0.8
    labels, found = segment(mask, 40, picture=picture)
    params = _native.gaussians_of_segments(pixels, labels, found, widen, MATRIX)
    assert params.dtype == np.float32
    assert params.shape == (found, 8)
    for n, gaussian in enumerate(params.astype(np.float64)):
        y, x = np.nonzero(labels == n)
        points = np.stack((x, y)) + 0.5
        own = np.eye(2) / 12  # a pixel's own variance
        factor = np.array([[gaussian[2], 0], [gaussian[3], gaussian[4]]])
        np.testing.assert_allclose(gaussian[:2], points.mean(1), atol=1e-5)
        np.testing.assert_allclose(
            factor @ factor.T, widen**2 * (np.cov(points, bias=True).reshape(2, 2) + own), atol=1e-4
        )
        np.testing.assert_allclose(gaussian[5:], picture[y, x].mean(0), atol=1e-5)


def test_smallest_gaussian_is_permitted() -> None:
    pixels, labels = np.full((1, 1, 3), 255, np.uint8), np.zeros((1, 1), np.int32)
    params = _native.gaussians_of_segments(pixels, labels, 1, 0.1, MATRIX)
    np.testing.assert_allclose(params[0], [0.5, 0.5, 0.3, 0, 0.3, 3**0.5, 0, 0], atol=1e-6)
