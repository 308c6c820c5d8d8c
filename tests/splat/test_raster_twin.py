"""The twin against the formulas it stands for: three lines of numpy, finite differences, the eight sums."""

from __future__ import annotations

import numpy as np
import pytest
from scenes import (
    TOLERANCE,
    clear_pixels,
    draw_by_definition,
    needles,
    random_gaussians,
    special_gaussians,
    squared_radii,
)

torch = pytest.importorskip("torch")
drawing = pytest.importorskip("gscodec.splat.drawing_torch")
raster_torch = pytest.importorskip("gscodec.splat.raster_torch")

WIDTH, HEIGHT = 21, 17


def scene(rng: np.random.Generator, n: int = 12) -> np.ndarray:  # [n + 6 + 12, 8]
    """Ordinary, thin and special Gaussians together, float64."""
    parts = (
        random_gaussians(rng, n, WIDTH, HEIGHT),
        needles(rng, 6, WIDTH, HEIGHT),
        special_gaussians(WIDTH, HEIGHT),
    )
    return np.concatenate(parts).astype(np.float64)


def clear_residual(rng: np.random.Generator, params: np.ndarray) -> np.ndarray:  # [H, W, 3]
    """Random ∂loss/∂picture that is zero where a small step of a Gaussian crosses its cut-off."""
    return rng.normal(0, 1, (HEIGHT, WIDTH, 3)) * clear_pixels(params, WIDTH, HEIGHT)[..., None]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_picture_is_the_sum_of_its_definition(rng: np.random.Generator, dtype: str) -> None:
    params = scene(rng)
    drawn = drawing.rasterize(torch.tensor(params, dtype=getattr(torch, dtype)), HEIGHT, WIDTH).numpy()
    assert drawn.dtype == dtype
    expected = draw_by_definition(params, WIDTH, HEIGHT)
    np.testing.assert_allclose(drawn, expected, rtol=0, atol=TOLERANCE[dtype].picture)


def test_weight_goes_to_zero_without_a_step() -> None:
    params = torch.tensor([[0.5, 0.5, 1, 0, 1, 1, 1, 1]], dtype=torch.float64)
    row = drawing.rasterize(params, 1, 5)[0, :, 0].numpy()
    expected = np.exp([0, -0.5, -2, -4.5, -4.5]) - np.exp(-4.5)
    np.testing.assert_allclose(row, expected, rtol=0, atol=1e-16)
    params[0, 0] += 1e-3  # the last pixel but one is now just inside
    row = drawing.rasterize(params, 1, 5)[0, :, 0].numpy()
    assert 0 < row[3] < 4e-5
    assert row[4] == 0


def test_constants_are_the_native_ones() -> None:
    native = pytest.importorskip("gscodec.splat._native")
    assert drawing.RADIUS_SQ == native.RADIUS_SQ
    assert np.float32(drawing.EDGE) == np.float32(native.EDGE)
    assert np.float32(drawing.MIN_SCALE) == np.float32(native.MIN_SCALE)


def test_closed_forms_are_the_sums_over_a_large_gaussian() -> None:
    """∫w² and what couples colour and scale, over π·l1·l3: the pursuit's model of the loss."""
    native = pytest.importorskip("gscodec.splat._native")
    size, l1, l3 = 121, 15.0, 17.0
    one = np.array([[size / 2, size / 2, l1, 4, l3, 1, 0, 0]])
    twin = raster_torch.TorchRasterizer(size, size, torch.float64)
    sums = twin.gradients(one, twin.render(one))[0] / (np.pi * l1 * l3)
    assert sums[5] == pytest.approx(native.WEIGHT_ENERGY, rel=1e-4)
    assert sums[2] == pytest.approx(native.WEIGHT_ENERGY / 2, rel=1e-4)
    assert sums[4] == pytest.approx(native.WEIGHT_ENERGY / 2, rel=1e-4)


def test_chunks_do_not_change_the_result(rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch) -> None:
    params, residual = scene(rng), rng.normal(0, 1, (HEIGHT, WIDTH, 3))
    twin = raster_torch.TorchRasterizer(WIDTH, HEIGHT, torch.float64)
    picture, gradients = twin.render(params), twin.gradients(params, residual)
    monkeypatch.setattr(drawing, "PAIRS_PER_CHUNK", 300)
    assert len(list(drawing.chunks(torch.tensor(params), HEIGHT, WIDTH))) > 5
    np.testing.assert_allclose(twin.render(params), picture, atol=1e-13)
    np.testing.assert_allclose(twin.gradients(params, residual), gradients, atol=1e-11)


def test_gradients_are_finite_differences_in_natural_coordinates(rng: np.random.Generator) -> None:
    params = scene(rng)
    residual = clear_residual(rng, params)
    gradients = raster_torch.TorchRasterizer(WIDTH, HEIGHT, torch.float64).gradients(params, residual)
    gaussians, step_size = torch.tensor(params), 1e-6
    for n in range(len(params)):
        one = gaussians[n : n + 1]
        for column in range(8):
            step = torch.zeros_like(one)
            step[0, column] = step_size
            ends = [drawing.rasterize(drawing.moved(one, s), HEIGHT, WIDTH).numpy() for s in (step, -step)]
            slope = ((ends[0] - ends[1]) * residual).sum() / (2 * step_size)
            assert slope == pytest.approx(gradients[n, column], rel=1e-5, abs=1e-6), (n, column)


def test_rasterize_passes_gradcheck(rng: np.random.Generator) -> None:
    params = np.concatenate((random_gaussians(rng, 4, WIDTH, HEIGHT), needles(rng, 2, WIDTH, HEIGHT)))
    clear = torch.tensor(clear_pixels(params, WIDTH, HEIGHT))
    gaussians = torch.tensor(params, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(
        lambda p: drawing.rasterize(p, HEIGHT, WIDTH)[clear], (gaussians,), fast_mode=True
    )


def test_natural_gradients_are_the_eight_sums(rng: np.random.Generator) -> None:
    params, residual = scene(rng), rng.normal(0, 1, (HEIGHT, WIDTH, 3))
    y, x = np.mgrid[:HEIGHT, :WIDTH] + 0.5
    mean_x, mean_y, l1, l2, l3 = params[:, :5].T[..., None, None]
    u = (x - mean_x) / l1
    v = ((y - mean_y) - l2 * u) / l3
    r_sq = squared_radii(params, WIDTH, HEIGHT)
    slope = np.where(r_sq < drawing.RADIUS_SQ, np.exp(-r_sq / 2), 0)
    w = np.maximum(slope - drawing.EDGE, 0)
    sw = np.einsum("hwk,nk->nhw", residual, params[:, 5:]) * slope
    with np.errstate(invalid="ignore"):  # the Gaussian at 1e30: 0·inf
        sums = [np.nansum(sw * factor, (1, 2)) for factor in (u, v, u * u, u * v, v * v)]
    expected = np.concatenate((np.stack(sums, 1), np.einsum("nhw,hwk->nk", w, residual)), 1)
    drawn = raster_torch.TorchRasterizer(WIDTH, HEIGHT, torch.float64).gradients(params, residual)
    np.testing.assert_allclose(drawn, expected, atol=1e-9)


def test_ordinary_gradients_follow_from_the_natural_ones(rng: np.random.Generator) -> None:
    params, residual = random_gaussians(rng, 9, WIDTH, HEIGHT), rng.normal(0, 1, (HEIGHT, WIDTH, 3))
    su, sv, suu, suv, svv = (
        raster_torch.TorchRasterizer(WIDTH, HEIGHT, torch.float64).gradients(params, residual).T[:5]
    )
    gaussians = torch.tensor(params, dtype=torch.float64, requires_grad=True)
    (drawing.rasterize(gaussians, HEIGHT, WIDTH) * torch.tensor(residual)).sum().backward()
    l1, l2, l3 = params[:, 2:5].astype(np.float64).T
    q = l2 / l3
    expected = np.stack(((su - q * sv) / l1, sv / l3, (suu - q * suv) / l1, suv / l3, svv / l3), 1)
    np.testing.assert_allclose(gaussians.grad[:, :5].numpy(), expected, atol=1e-9)


def test_wrong_shapes_are_rejected() -> None:
    twin = raster_torch.TorchRasterizer(8, 6)
    params = np.zeros((2, 8), np.float32)
    with pytest.raises(ValueError, match=r"shape \[2, 7\], expected \[2, 8\]"):
        twin.render(params[:, :7])
    with pytest.raises(ValueError, match="expected"):
        twin.gradients(params, np.zeros((8, 6, 3), np.float32))
    with pytest.raises(ValueError, match="both must be positive"):
        raster_torch.TorchRasterizer(0, 6)
