"""Fitting as the papers do: plain Adam on mean, factor and colour, and drawing what a projection makes."""

from __future__ import annotations

import numpy as np
import pytest
from scenes import TOLERANCE, grid_gaussians, smooth_picture

from gscodec.errors import BackendError
from gscodec.splat.raster import FitSchedule

WIDTH, HEIGHT = 37, 22
FULL = np.ones((HEIGHT, WIDTH), np.float32)
PLAIN = {"rate_mean": 0.3, "rate_shape": 0.15, "rate_color": 0.015, "beta2": 0.999, "natural": False}


@pytest.fixture
def start(rng: np.random.Generator) -> np.ndarray:
    """float32 [20, 8]: Gaussians on a grid, before a fit."""
    return grid_gaussians(rng, 5, 4, WIDTH, HEIGHT)


def coarse(params: np.ndarray, gradient: np.ndarray) -> np.ndarray:
    """A quantiser with large steps."""
    return np.round(params * 4) / np.float32(4) + np.float32([0, 0, 1, 0, 1, 0, 0, 0]) / 64


def plain_gradient(params: np.ndarray, natural: np.ndarray) -> np.ndarray:
    """∂/∂params, by hand from ∂ in each Gaussian's own frame (docs/fitting.md)."""
    l1, l2, l3 = params[:, 2:5].T.astype(float)
    a, b, c, d, e = natural[:, :5].T
    geometry = [(a - l2 / l3 * b) / l1, b / l3, (c - l2 / l3 * d) / l1, d / l3, e / l3]
    return np.concatenate((np.stack(geometry, 1), natural[:, 5:]), 1)


def skip_without(make, **given: object) -> None:
    """Skip where a backend says that it has no such fit."""
    rasterizer = make(WIDTH, HEIGHT)
    target = rasterizer.target(np.zeros((HEIGHT, WIDTH, 3), np.float32), FULL)
    schedule = FitSchedule(0, natural=bool(given.get("natural", True)))
    try:
        rasterizer.fit(target, np.ones((1, 8), np.float32), None, schedule, given.get("project"))
    except BackendError as error:
        pytest.skip(str(error))


@pytest.mark.parametrize("projected", [False, True], ids=["as-is", "projected"])
@pytest.mark.parametrize("natural", [False, True], ids=["plain", "natural"])
@pytest.mark.parametrize("subset", [None, [3, 4, 11, 17]], ids=["all", "subset"])
def test_five_steps_follow_the_twin(
    fast_backend, start: np.ndarray, subset: list[int] | None, natural: bool, projected: bool
) -> None:
    raster_torch = pytest.importorskip("gscodec.splat.raster_torch")
    project = coarse if projected else None
    skip_without(fast_backend, natural=natural, project=project)
    active = None if subset is None else np.array(subset, np.uint32)
    schedule = FitSchedule(5) if natural else FitSchedule(5, **PLAIN)
    results = []
    for rasterizer in (
        raster_torch.TorchRasterizer(WIDTH, HEIGHT, raster_torch.torch.float64),
        fast_backend(WIDTH, HEIGHT),
    ):
        params = start.copy()
        target = rasterizer.target(smooth_picture(WIDTH, HEIGHT), FULL)
        results.append((params, rasterizer.fit(target, params, active, schedule, project)))
    (expected, twin), (params, result) = results
    rows = slice(None) if active is None else active
    assert np.abs(expected[rows] - start[rows]).max() > 0.1  # so that standing still fails
    np.testing.assert_allclose(params, expected, rtol=0, atol=TOLERANCE["float32"].params)
    assert result.loss == pytest.approx(twin.loss, rel=1e-3)
    assert result.roi_mse == pytest.approx(twin.roi_mse, rel=1e-3)


def test_one_step_is_adam_in_plain_coordinates(backend, start: np.ndarray) -> None:
    skip_without(backend, natural=False)
    picture = smooth_picture(WIDTH, HEIGHT)
    rasterizer, params = backend(WIDTH, HEIGHT), start.copy()
    residual = rasterizer.render(params).astype(np.float32) - picture
    gradient = plain_gradient(params, rasterizer.gradients(params, residual))
    rasterizer.fit(rasterizer.target(picture, FULL), params, None, FitSchedule(1, **PLAIN))
    rates = np.array([0.3] * 2 + [0.15] * 3 + [0.015] * 3)
    expected = start - rates * gradient / (np.abs(gradient) + 1e-6)
    expected[:, [2, 4]] = np.maximum(expected[:, [2, 4]], 0.3)
    np.testing.assert_allclose(params, expected, rtol=0, atol=2e-4)


def test_projection_sees_params_and_the_gradient_of_what_was_drawn(backend, start: np.ndarray) -> None:
    calls = []

    def project(params: np.ndarray, gradient: np.ndarray) -> np.ndarray:
        calls.append((params.copy(), gradient.copy()))
        return coarse(params, gradient)

    skip_without(backend, project=coarse)
    picture, active = smooth_picture(WIDTH, HEIGHT), np.array([2, 5, 9], np.uint32)
    rasterizer, params = backend(WIDTH, HEIGHT), start.copy()
    target = rasterizer.target(picture, FULL)
    result = rasterizer.fit(target, params, active, FitSchedule(2, **PLAIN), project)
    assert len(calls) == 3  # one more than steps: the last is drawn for the loss alone
    np.testing.assert_array_equal(calls[0][0], start[active])
    assert not calls[0][1].any()
    np.testing.assert_array_equal(calls[2][0], params[active])
    drawn = start.copy()
    drawn[active] = coarse(start[active], start)
    residual = rasterizer.render(drawn).astype(np.float32) - picture
    expected = plain_gradient(drawn, rasterizer.gradients(drawn, residual))[active]
    np.testing.assert_allclose(calls[1][1], expected, rtol=1e-3, atol=1e-3)
    drawn[active] = coarse(params[active], params)
    squares = (rasterizer.render(drawn).astype(np.float64) - picture) ** 2
    assert result.loss == pytest.approx(squares.sum(), rel=1e-4)


def test_an_error_in_the_projection_comes_through(cpu_backend, start: np.ndarray) -> None:
    rasterizer, params = cpu_backend(WIDTH, HEIGHT), start.copy()
    target = rasterizer.target(smooth_picture(WIDTH, HEIGHT), FULL)

    def fail(params: np.ndarray, gradient: np.ndarray) -> np.ndarray:
        raise KeyError("no")

    with pytest.raises(KeyError):
        rasterizer.fit(target, params, None, FitSchedule(1), fail)
    with pytest.raises(ValueError, match="what project returned"):
        rasterizer.fit(target, params, None, FitSchedule(1), lambda p, g: p[1:])
    np.testing.assert_array_equal(params, start)
