"""Colours by least squares: every backend against a dense solve in float64."""

from __future__ import annotations

import numpy as np
import pytest
from scenes import draw_by_definition, grid_gaussians, smooth_picture

WIDTH, HEIGHT = 31, 19


@pytest.fixture
def start(rng: np.random.Generator) -> np.ndarray:
    """float32 [15, 8]: Gaussians that overlap moderately, so that the system is well conditioned."""
    return grid_gaussians(rng, 5, 3, WIDTH, HEIGHT)


def basis(params: np.ndarray) -> np.ndarray:  # [N, 8] -> [H·W, N]
    """Weights of every Gaussian as columns: a picture of the Gaussians is basis @ colours."""
    white = np.hstack((params[:, :5], np.ones((len(params), 3))))
    return np.stack([draw_by_definition(g[None], WIDTH, HEIGHT)[..., 0].ravel() for g in white], 1)


def preconditioner(columns: np.ndarray, weight: np.ndarray) -> np.ndarray:  # [H·W, N], [H·W] -> [N]
    return 0.5 * columns.T @ weight + 1e-3


def weights(name: str) -> np.ndarray:  # [H, W]
    if name == "even":
        return np.ones((HEIGHT, WIDTH), np.float32)
    return np.random.default_rng(3).uniform(0.05, 1, (HEIGHT, WIDTH)).astype(np.float32)


@pytest.mark.parametrize("weight_name", ["even", "uneven"])
@pytest.mark.parametrize("subset", [None, [1, 2, 7, 13]], ids=["all", "subset"])
def test_colors_are_the_dense_solution(
    backend, start: np.ndarray, weight_name: str, subset: list[int] | None
) -> None:
    picture, weight = smooth_picture(WIDTH, HEIGHT), weights(weight_name)
    active = np.arange(len(start)) if subset is None else np.array(subset)
    others = np.setdiff1d(np.arange(len(start)), active)
    columns, root = basis(start), np.sqrt(weight.reshape(-1, 1).astype(np.float64))
    rest = picture.reshape(-1, 3) - columns[:, others] @ start[others, 5:].astype(np.float64)
    expected = np.linalg.lstsq(root * columns[:, active], root * rest, rcond=None)[0]

    rasterizer, params = backend(WIDTH, HEIGHT), start.copy()
    target = rasterizer.target(picture, weight)
    before = rasterizer.solve_colors(
        target, params, None if subset is None else active.astype(np.uint32), 60, 0.0
    )
    np.testing.assert_allclose(params[active, 5:], expected, rtol=0, atol=2e-3)
    np.testing.assert_array_equal(params[others], start[others])
    np.testing.assert_array_equal(params[:, :5], start[:, :5])
    squares = (picture - draw_by_definition(start, WIDTH, HEIGHT)) ** 2
    assert before == pytest.approx((weight[..., None] * squares).sum(), rel=1e-4)


def test_ridge_holds_colors_near_the_start(backend, start: np.ndarray) -> None:
    """With ridge ρ the change δ solves (BᵀWB + ρ·diagonal)·δ = BᵀW·(picture − B·c)."""
    picture, weight, ridge = smooth_picture(WIDTH, HEIGHT), weights("uneven"), 0.3
    columns, w = basis(start), weight.ravel().astype(np.float64)
    normal = columns.T @ (w[:, None] * columns) + ridge * np.diag(preconditioner(columns, w))
    rest = picture.reshape(-1, 3) - columns @ start[:, 5:].astype(np.float64)
    expected = start[:, 5:] + np.linalg.solve(normal, columns.T @ (w[:, None] * rest))

    rasterizer, params = backend(WIDTH, HEIGHT), start.copy()
    rasterizer.solve_colors(rasterizer.target(picture, weight), params, None, 40, ridge)
    np.testing.assert_allclose(params[:, 5:], expected, rtol=0, atol=1e-3)


def test_few_sweeps_follow_the_twin(fast_backend, start: np.ndarray) -> None:
    raster_torch = pytest.importorskip("gscodec.splat.raster_torch")
    picture, weight, results = smooth_picture(WIDTH, HEIGHT), weights("uneven"), []
    for rasterizer in (
        raster_torch.TorchRasterizer(WIDTH, HEIGHT, raster_torch.torch.float64),
        fast_backend(WIDTH, HEIGHT),
    ):
        params = start.copy()
        rasterizer.solve_colors(rasterizer.target(picture, weight), params, None, 3, 0.01)
        results.append(params)
    assert np.abs(results[0] - start).max() > 0.1
    np.testing.assert_allclose(results[1], results[0], rtol=0, atol=1e-3)


def test_solved_colors_stay_solved(backend, start: np.ndarray) -> None:
    """A second solve has nothing to do and must not blow up on what rounding left over."""
    rasterizer, params = backend(WIDTH, HEIGHT), start.copy()
    target = rasterizer.target(smooth_picture(WIDTH, HEIGHT), weights("even"))
    first = rasterizer.solve_colors(target, params, None, 30, 0.0)
    once = params.copy()
    second = rasterizer.solve_colors(target, params, None, 30, 0.0)
    assert second < first
    np.testing.assert_allclose(params, once, rtol=0, atol=2e-3)


def test_gaussians_outside_the_picture_keep_their_color(backend, start: np.ndarray) -> None:
    start[4, :2] = [500, -500]
    rasterizer, params = backend(WIDTH, HEIGHT), start.copy()
    rasterizer.solve_colors(
        rasterizer.target(smooth_picture(WIDTH, HEIGHT), weights("even")), params, None, 8, 0.0
    )
    np.testing.assert_array_equal(params[4], start[4])
    assert np.isfinite(params).all()
