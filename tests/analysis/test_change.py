"""Which Gaussians a change wakes: the fast sums against brute force."""

from __future__ import annotations

import numpy as np
import pytest

from gscodec.analysis.change import MIN_INFLUENCE, changed_pixels, influencing_gaussians

WIDTH, HEIGHT = 48, 40


def brute_force(params: np.ndarray, changed: np.ndarray) -> np.ndarray:
    """Share of each Gaussian's weight on changed pixels, float64 [N]."""
    y, x = np.mgrid[:HEIGHT, :WIDTH] + 0.5
    shares = []
    for mx, my, l1, l2, l3 in params[:, :5].astype(np.float64):
        u = (x - mx) / l1
        v = ((y - my) - l2 * u) / l3
        weight = np.maximum(np.exp(-0.5 * (u * u + v * v)) - np.exp(-4.5), 0)
        shares.append((weight * changed).sum() / max(weight.sum(), 1e-6))
    return np.array(shares)


@pytest.fixture
def params(rng: np.random.Generator) -> np.ndarray:
    n = 60
    mean = rng.uniform(-6, [WIDTH + 6, HEIGHT + 6], (n, 2))
    shape = np.stack([rng.uniform(0.6, 5, n), rng.normal(0, 2, n), rng.uniform(0.6, 5, n)], 1)
    return np.concatenate([mean, shape, rng.normal(0, 1, (n, 3))], 1).astype(np.float32)


@pytest.mark.parametrize("region", [np.s_[10:20, 5:30], np.s_[:, :], np.s_[39:40, 47:48], np.s_[:0, :0]])
def test_influencing_gaussians_are_those_of_brute_force(cpu_backend, params: np.ndarray, region) -> None:
    changed = np.zeros((HEIGHT, WIDTH), bool)
    changed[region] = True
    shares = brute_force(params, changed)
    found = influencing_gaussians(cpu_backend(WIDTH, HEIGHT), params, changed)
    assert found.dtype == np.uint32
    clear = np.abs(shares - MIN_INFLUENCE) > 1e-4
    expected = np.flatnonzero(shares > MIN_INFLUENCE)
    np.testing.assert_array_equal(found[clear[found]], expected[clear[expected]])


def test_color_does_not_matter(cpu_backend, params: np.ndarray) -> None:
    changed = np.zeros((HEIGHT, WIDTH), bool)
    changed[:20] = True
    black = params.copy()
    black[:, 5:] = 0
    raster = cpu_backend(WIDTH, HEIGHT)
    np.testing.assert_array_equal(
        influencing_gaussians(raster, params, changed), influencing_gaussians(raster, black, changed)
    )


def test_no_gaussians_no_influence(cpu_backend) -> None:
    none = np.zeros((0, 8), np.float32)
    assert len(influencing_gaussians(cpu_backend(WIDTH, HEIGHT), none, np.ones((HEIGHT, WIDTH), bool))) == 0


def test_changed_pixels_are_averages_of_three_by_three(rng: np.random.Generator) -> None:
    before = rng.integers(40, 200, (HEIGHT, WIDTH, 3), np.uint8)
    after = before.copy()
    after[10:20, 10:20] += 30
    after[30, 40] += 40  # a single noisy pixel: 40/9 on average
    changed = changed_pixels(after, before, 6.0)
    assert changed.dtype == bool
    assert changed[10:20, 10:20].all()
    assert changed[9, 12]  # 3 of 9 pixels, 10 on average
    assert not changed[:8].any()
    assert not changed[28:33, 38:43].any()
    assert not changed_pixels(before, before, 0.0).any()
