"""Fitting: every backend follows the twin, and every backend (the twin too) keeps the contract."""

from __future__ import annotations

import numpy as np
import pytest
from scenes import TOLERANCE, grid_gaussians, smooth_picture

from gscodec.splat.raster import FitSchedule

WIDTH, HEIGHT = 37, 22
FULL = np.ones((HEIGHT, WIDTH), np.float32)


@pytest.fixture
def start(rng: np.random.Generator) -> np.ndarray:
    """float32 [20, 8]: Gaussians on a grid, before a fit."""
    return grid_gaussians(rng, 5, 4, WIDTH, HEIGHT)


def roi_weight() -> np.ndarray:  # [H, W]
    """A region of interest with a soft edge, and little weight outside."""
    x = np.arange(WIDTH, dtype=np.float32)
    return np.tile(np.clip((x - 12) / 8, 0.05, 1), (HEIGHT, 1))


@pytest.mark.parametrize("subset", [None, [3, 4, 11, 17]], ids=["all", "subset"])
def test_five_steps_follow_the_twin(fast_backend, start: np.ndarray, subset: list[int] | None) -> None:
    raster_torch = pytest.importorskip("gscodec.splat.raster_torch")
    active = None if subset is None else np.array(subset, np.uint32)
    schedule = FitSchedule(iterations=5)
    results = []
    for rasterizer in (
        raster_torch.TorchRasterizer(WIDTH, HEIGHT, raster_torch.torch.float64),
        fast_backend(WIDTH, HEIGHT),
    ):
        params = start.copy()
        target = rasterizer.target(smooth_picture(WIDTH, HEIGHT), roi_weight())
        results.append((params, rasterizer.fit(target, params, active, schedule)))
    (expected, twin), (params, result) = results
    rows = slice(None) if active is None else active
    assert np.abs(expected[rows] - start[rows]).max() > 0.1  # so that standing still fails
    np.testing.assert_allclose(params, expected, rtol=0, atol=TOLERANCE["float32"].params)
    assert (result.iterations, result.finite) == (5, True)
    assert result.loss == pytest.approx(twin.loss, rel=1e-3)
    assert result.roi_mse == pytest.approx(twin.roi_mse, rel=1e-3)


def test_one_step_is_adam_in_natural_coordinates(backend, start: np.ndarray) -> None:
    """Adam's first step is its rate against the gradient's sign, so it can be written down."""
    picture = smooth_picture(WIDTH, HEIGHT)
    rasterizer, params = backend(WIDTH, HEIGHT), start.copy()
    gradient = rasterizer.gradients(params, rasterizer.render(params).astype(np.float32) - picture)
    schedule = FitSchedule(iterations=1, rate_mean=0.1, rate_shape=0.05, rate_color=0.02)
    rasterizer.fit(rasterizer.target(picture, FULL), params, None, schedule)
    rates = np.array([0.1] * 2 + [0.05] * 3 + [0.02] * 3)
    a, b, c, d, e, *colors = (-rates * gradient / (np.abs(gradient) + 1e-6)).T
    mean_x, mean_y, l1, l2, l3, *before = start.T
    expected = [mean_x + l1 * a, mean_y + l2 * a + l3 * b, l1 * np.exp(c), l2 * np.exp(c) + l3 * d]
    expected += [l3 * np.exp(e), *(np.array(before) + colors)]
    np.testing.assert_allclose(params.T, expected, rtol=0, atol=2e-4)


def test_loss_falls_and_is_the_loss_of_the_result(backend, start: np.ndarray) -> None:
    picture, weight = smooth_picture(WIDTH, HEIGHT), roi_weight()
    rasterizer, params = backend(WIDTH, HEIGHT), start.copy()
    target = rasterizer.target(picture, weight)
    before = rasterizer.fit(target, params, None, FitSchedule(iterations=0))
    np.testing.assert_array_equal(params, start)
    after = rasterizer.fit(target, params, None, FitSchedule(iterations=40))
    assert (before.iterations, after.iterations) == (0, 40)
    assert after.loss < 0.1 * before.loss
    for result, gaussians in ((before, start), (after, params)):
        squares = (rasterizer.render(gaussians).astype(np.float64) - picture) ** 2
        assert result.loss == pytest.approx((weight[..., None] * squares).sum(), rel=1e-4)
        assert result.roi_mse == pytest.approx(squares[weight > 0.5].mean(), rel=1e-4)


def test_subset_leaves_the_others_bit_for_bit(backend, start: np.ndarray) -> None:
    active = np.array([2, 9, 10], np.uint32)
    others = np.setdiff1d(np.arange(len(start)), active)
    rasterizer, params = backend(WIDTH, HEIGHT), start.copy()
    target = rasterizer.target(smooth_picture(WIDTH, HEIGHT), FULL)
    before = rasterizer.fit(target, params, active, FitSchedule(iterations=0))
    after = rasterizer.fit(target, params, active, FitSchedule(iterations=12))
    np.testing.assert_array_equal(params[others], start[others])
    assert (params[active] != start[active]).any(axis=1).all()
    assert after.loss < before.loss


def test_empty_subset_changes_nothing(backend, start: np.ndarray) -> None:
    rasterizer, params = backend(WIDTH, HEIGHT), start.copy()
    target = rasterizer.target(smooth_picture(WIDTH, HEIGHT), FULL)
    none = np.zeros(0, np.uint32)
    result = rasterizer.fit(target, params, none, FitSchedule(iterations=3))
    rasterizer.solve_colors(target, params, none, 3, 0.0)
    np.testing.assert_array_equal(params, start)
    full = rasterizer.fit(target, params, None, FitSchedule(iterations=0))
    assert result.loss == pytest.approx(full.loss, rel=1e-5)


def test_target_mse_stops(backend, start: np.ndarray) -> None:
    rasterizer, params = backend(WIDTH, HEIGHT), start.copy()
    target = rasterizer.target(smooth_picture(WIDTH, HEIGHT), roi_weight())
    result = rasterizer.fit(target, params, None, FitSchedule(iterations=100, target_mse=5e-3))
    assert 0 < result.iterations < 100
    assert 0 < result.roi_mse <= 5e-3


def test_plateau_stops(backend, start: np.ndarray) -> None:
    rasterizer, params = backend(WIDTH, HEIGHT), start.copy()
    target = rasterizer.target(smooth_picture(WIDTH, HEIGHT), FULL)
    result = rasterizer.fit(target, params, None, FitSchedule(iterations=100, plateau=0.5))
    assert 0 < result.iterations < 100
    assert result.iterations % 10 == 0


def test_scales_stay_in_their_range(backend) -> None:
    """A dot and a flat picture pull the scales to both ends; l stays in [0.3, longer side]."""
    dot = np.zeros((8, 8, 3), np.float32)
    dot[3, 4] = 5
    params = np.array([[4.5, 3.5, 0.5, 0.1, 0.5, 3, 3, 3], [4, 4, 7, -7, 7, 1, 1, 1]], np.float32)
    rasterizer = backend(8, 8)
    for picture in (dot, np.ones_like(dot)):
        target = rasterizer.target(picture, np.ones((8, 8), np.float32))
        assert rasterizer.fit(target, params, None, FitSchedule(iterations=25, rate_shape=0.9)).finite
        assert params[:, [2, 4]].min() >= np.float32(0.3)
        assert np.abs(params[:, 2:5]).max() <= 8


@pytest.mark.parametrize("column", range(8))
def test_nan_gaussian_is_reported(backend, start: np.ndarray, column: int) -> None:
    start[7, column] = np.nan
    rasterizer, params = backend(WIDTH, HEIGHT), start.copy()
    target = rasterizer.target(smooth_picture(WIDTH, HEIGHT), FULL)
    assert not rasterizer.fit(target, params, None, FitSchedule(iterations=3)).finite
    np.testing.assert_array_equal(params, start)


@pytest.mark.parametrize("where", ["picture", "weight"])
def test_nan_target_is_reported(backend, start: np.ndarray, where: str) -> None:
    arrays = {"picture": smooth_picture(WIDTH, HEIGHT), "weight": FULL.copy()}
    arrays[where][3, 5] = np.nan
    rasterizer, params = backend(WIDTH, HEIGHT), start.copy()
    result = rasterizer.fit(rasterizer.target(**arrays), params, None, FitSchedule(iterations=3))
    assert not result.finite
    np.testing.assert_array_equal(params, start)


def test_active_index_past_the_end_is_rejected(backend, start: np.ndarray) -> None:
    rasterizer, params = backend(WIDTH, HEIGHT), start.copy()
    target = rasterizer.target(smooth_picture(WIDTH, HEIGHT), FULL)
    past = np.array([0, len(start)], np.uint32)
    with pytest.raises(IndexError, match="active index"):
        rasterizer.fit(target, params, past, FitSchedule(iterations=1))
    with pytest.raises(IndexError, match="active index"):
        rasterizer.solve_colors(target, params, past, 1, 0.0)
    np.testing.assert_array_equal(params, start)


def test_target_of_another_size_is_rejected(backend, start: np.ndarray) -> None:
    rasterizer, other = backend(WIDTH, HEIGHT), backend(HEIGHT, WIDTH)
    target = other.target(smooth_picture(HEIGHT, WIDTH), FULL.T.copy())
    with pytest.raises(ValueError, match="expected 37x22"):
        rasterizer.fit(target, start, None, FitSchedule(iterations=1))
    with pytest.raises(ValueError, match="expected 37x22"):
        rasterizer.solve_colors(target, start, None, 1, 0.0)


def test_two_threads_fit_what_one_fits(cpu_backend) -> None:
    rng = np.random.default_rng(1)
    width, height = 150, 90  # enough tiles and Gaussians that both threads get some
    start, picture = grid_gaussians(rng, 15, 10, width, height), smooth_picture(width, height)
    weight, results = np.ones((height, width), np.float32), []
    for threads in (1, 2):
        rasterizer, params = cpu_backend(width, height, threads=threads), start.copy()
        target = rasterizer.target(picture, weight)
        loss = rasterizer.solve_colors(target, params, None, 4, 0.01)
        results.append((params, loss, rasterizer.fit(target, params, None, FitSchedule(iterations=8))))
    np.testing.assert_array_equal(results[0][0], results[1][0])
    assert results[0][1:] == results[1][1:]
