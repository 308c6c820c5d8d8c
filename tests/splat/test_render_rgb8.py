"""8-bit output: one clamp, one rounding, and the person over a background with its alpha."""

from __future__ import annotations

import numpy as np
import pytest
from scenes import draw_by_definition, random_gaussians

from gscodec.splat.gaussians import opponent_from_rgb, rgb_from_opponent

NOBODY = np.zeros(0, bool)
SIZES = [(33, 21), (16, 8), (1, 1), (7, 40)]


def assert_within_one_code(a: np.ndarray, b: np.ndarray) -> None:
    assert a.dtype == b.dtype == np.uint8
    assert a.shape == b.shape
    assert np.abs(a.astype(int) - b).max(initial=0) <= 1


@pytest.mark.parametrize(("width", "height"), SIZES)
def test_is_the_rounded_picture(backend, rng: np.random.Generator, width: int, height: int) -> None:
    params = random_gaussians(rng, 25, width, height)
    rasterizer = backend(width, height)
    pixels = rasterizer.render_rgb8(params)
    assert_within_one_code(pixels, rgb_from_opponent(rasterizer.render(params)))


@pytest.mark.parametrize(("width", "height"), SIZES)
def test_background_shows_where_weights_are_missing(
    backend, rng: np.random.Generator, width: int, height: int
) -> None:
    params = random_gaussians(rng, 6, width, height, 1.5, 3)
    white = np.hstack((params[:, :5], np.ones((6, 3), np.float32)))
    background = np.array([0.1, 0.9, 0.4], np.float32)
    rasterizer = backend(width, height)
    pixels, alpha = rasterizer.render_person(params, np.zeros(6, bool), background)
    coverage = np.minimum(1, draw_by_definition(white, width, height)[..., :1])
    rest = (1 - coverage) * background @ opponent_matrix_rows()
    assert_within_one_code(pixels, rgb_from_opponent(rasterizer.render(params) + rest))
    assert_within_one_code(alpha, (255 * coverage[..., 0] + 0.5).astype(np.uint8))


def opponent_matrix_rows() -> np.ndarray:  # [3, 3]
    """Opponent colours of R, G and B, as rows."""
    return opponent_from_rgb(255 * np.eye(3, dtype=np.uint8)[None])[0].astype(np.float64)


def test_white_black_and_beyond(backend) -> None:
    """Sums past either end are clamped, not wrapped around."""
    everywhere = [4, 4, 100, 0, 100]
    largest = 1 - np.exp(-4.5)  # a weight
    white = opponent_from_rgb(np.full((1, 1, 3), 255, np.uint8))[0, 0] / largest
    for factor, code in ((0, 0), (0.5, 128), (1, 255), (3, 255), (-3, 0)):
        params = np.array([[*everywhere, *(factor * white)]], np.float32)
        pixels = backend(8, 8).render_rgb8(params)
        assert np.abs(pixels.astype(int) - code).max() <= 1
    background = np.array([1, 0, 0.5], np.float32)
    pixels, alpha = backend(8, 8).render_person(np.zeros((0, 8), np.float32), NOBODY, background)
    np.testing.assert_array_equal(pixels, np.broadcast_to([255, 0, 128], (8, 8, 3)))
    np.testing.assert_array_equal(alpha, 0)


def test_background_may_be_a_strided_view(backend) -> None:
    planes = np.zeros((3, 2), np.float32)
    planes[:, 0] = [1, 0, 0.5]
    pixels, _ = backend(8, 8).render_person(np.zeros((0, 8), np.float32), NOBODY, planes[:, 0])
    np.testing.assert_array_equal(pixels[0, 0], [255, 0, 128])


def test_opponent_colors_round_trip() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (9, 11, 3), dtype=np.uint8)
    opponent = opponent_from_rgb(pixels)
    np.testing.assert_array_equal(rgb_from_opponent(opponent), pixels)
    np.testing.assert_allclose(  # orthonormal: squared error is the same in both
        (opponent.astype(np.float64) ** 2).sum(), ((pixels / 255.0) ** 2).sum(), rtol=1e-5
    )
