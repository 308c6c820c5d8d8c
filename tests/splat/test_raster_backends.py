"""Every fast backend against the twin in float64: the picture and all eight gradient columns."""

from __future__ import annotations

from functools import cache
from typing import NamedTuple

import numpy as np
import pytest
from scenes import (
    RADIUS_SQ,
    TOLERANCE,
    clear_pixels,
    draw_by_definition,
    edge_gaussians,
    gradient_scale,
    needles,
    picture_scale,
    random_gaussians,
    special_gaussians,
    squared_radii,
)

torch = pytest.importorskip("torch")
raster_torch = pytest.importorskip("gscodec.splat.raster_torch")

FLOAT32 = TOLERANCE["float32"]
SCENES = ("ordinary", "one", "needles", "special", "wide", "crowded tile", "five thousand")


class Case(NamedTuple):
    """A scene and what the twin makes of it."""

    width: int
    height: int
    params: np.ndarray  # float32 [N, 8]
    clear: np.ndarray  # bool [H, W]: no Gaussian is at its cut-off
    residual: np.ndarray  # float32 [H, W, 3], zero where not clear
    picture: np.ndarray  # float64 [H, W, 3]
    gradients: np.ndarray  # float64 [N, 8]


def make_case(rng: np.random.Generator, params: np.ndarray, width: int, height: int) -> Case:
    clear = clear_pixels(params, width, height)
    residual = (rng.normal(0, 1, (height, width, 3)) * clear[..., None]).astype(np.float32)
    twin = raster_torch.TorchRasterizer(width, height, torch.float64)
    return Case(width, height, params, clear, residual, twin.render(params), twin.gradients(params, residual))


@cache
def named_case(name: str) -> Case:
    rng = np.random.default_rng(SCENES.index(name))
    w, h = 45, 37
    params = {
        "ordinary": lambda: random_gaussians(rng, 80, w, h),
        "one": lambda: np.array([[21, 18, 5, -2, 4, 1, 0.5, -0.5]], np.float32),
        "needles": lambda: needles(rng, 50, w, h),
        "special": lambda: special_gaussians(w, h),
        "wide": lambda: random_gaussians(rng, 20, w, h, 20, 300),
        "crowded tile": lambda: random_gaussians(rng, 700, 14, 7, 0.4, 3),
        "five thousand": lambda: random_gaussians(rng, 5000, w, h, 0.5, 3),
    }[name]()
    return make_case(rng, params, w, h)


@cache
def sized_cases() -> list[Case]:
    """Widths 1 to 40, each with another height of 1 to 40."""
    rng = np.random.default_rng(0)
    cases = []
    for w in range(1, 41):
        h = 7 * w % 40 + 1
        params = np.concatenate((random_gaussians(rng, 8, w, h), needles(rng, 4, w, h)))
        cases.append(make_case(rng, params, w, h))
    return cases


def assert_picture_agrees(case: Case, picture: np.ndarray) -> None:
    assert picture.dtype == np.float32
    assert picture.shape == (case.height, case.width, 3)
    tolerance = FLOAT32.picture * picture_scale(case.params, case.width, case.height)
    np.testing.assert_allclose(picture, case.picture, rtol=0, atol=tolerance)


def assert_gradients_agree(case: Case, gradients: np.ndarray) -> None:
    assert gradients.dtype == np.float32
    assert gradients.shape == (len(case.params), 8)
    scale = gradient_scale(case.params, case.residual)
    share = np.abs(gradients - case.gradients) / scale
    assert share.max(initial=0) <= FLOAT32.gradient, np.argwhere(share > FLOAT32.gradient)[:10].tolist()
    for columns in (slice(0, 5), slice(5, 8)):
        norms = np.linalg.norm(case.gradients[:, columns], axis=1)
        errors = np.linalg.norm(gradients[:, columns] - case.gradients[:, columns], axis=1)
        large = norms > 1e-3 * scale[:, columns].max(1, initial=0)
        assert (errors[large] <= FLOAT32.row * norms[large]).all()
        np.testing.assert_array_equal(gradients[:, columns][norms == 0], 0)


@pytest.mark.parametrize("name", SCENES)
def test_picture_agrees_with_the_twin(fast_backend, name: str) -> None:
    case = named_case(name)
    assert_picture_agrees(case, fast_backend(case.width, case.height).render(case.params))


@pytest.mark.parametrize("name", SCENES)
def test_gradients_agree_with_the_twin(fast_backend, name: str) -> None:
    case = named_case(name)
    gradients = fast_backend(case.width, case.height).gradients(case.params, case.residual)
    assert_gradients_agree(case, gradients)


def test_every_size_agrees_with_the_twin(fast_backend) -> None:
    for case in sized_cases():
        rasterizer = fast_backend(case.width, case.height)
        assert_picture_agrees(case, rasterizer.render(case.params))
        assert_gradients_agree(case, rasterizer.gradients(case.params, case.residual))


def test_scenes_are_worth_comparing() -> None:
    """Gradients are compared at clear pixels and in large rows only: there must be many of both."""
    for name in SCENES:
        case = named_case(name)
        assert case.clear.mean() > 0.9, name
        norms = np.linalg.norm(case.gradients[:, :5], axis=1)
        large = norms > 1e-3 * gradient_scale(case.params, case.residual)[:, :5].max(1)
        assert large.mean() > (0.3 if name == "special" else 0.5), name


def test_crowded_tile_is_crowded() -> None:
    params = named_case("crowded tile").params
    inside = (params[:, 0] > 0) & (params[:, 0] < 14) & (params[:, 1] > 0) & (params[:, 1] < 7)
    assert inside.sum() > 256


def test_rounding_at_the_cut_off_moves_no_pixel(fast_backend) -> None:
    """No pixel is exempt, however many cut-offs pass through it: weights go to 0 there without a step."""
    rng = np.random.default_rng(5)
    w, h = 40, 36
    twin = raster_torch.TorchRasterizer(w, h, torch.float64)
    n_edges = 0
    for _ in range(12):
        params = edge_gaussians(rng, 30, w, h)
        n_edges += int((np.abs(squared_radii(params, w, h) - RADIUS_SQ) < 1e-5).sum())
        rasterizer, expected = fast_backend(w, h), twin.render(params)
        np.testing.assert_allclose(expected, draw_by_definition(params, w, h), rtol=0, atol=1e-12)
        error = rasterizer.render(params) - expected
        assert np.abs(error).max() <= FLOAT32.picture * picture_scale(params, w, h)
        codes = [r.render_rgb8(params).astype(int) for r in (rasterizer, twin)]
        assert np.abs(codes[0] - codes[1]).max() <= 1
    assert n_edges > 500


def test_no_gaussians(backend) -> None:
    rasterizer, none = backend(9, 5), np.zeros((0, 8), np.float32)
    assert rasterizer.gradients(none, np.ones((5, 9, 3), np.float32)).shape == (0, 8)
    np.testing.assert_array_equal(rasterizer.render(none), np.zeros((5, 9, 3)))


def test_arguments_are_left_alone(backend) -> None:
    case = named_case("ordinary")
    params, residual = case.params.copy(), case.residual.copy()
    rasterizer = backend(case.width, case.height)
    rasterizer.render(params)
    rasterizer.gradients(params, residual)
    rasterizer.render_person(params, np.zeros(len(params), bool), np.zeros(3, np.float32))
    np.testing.assert_array_equal(params, case.params)
    np.testing.assert_array_equal(residual, case.residual)


def test_results_repeat_bit_for_bit(backend) -> None:
    case = named_case("ordinary")
    rasterizer = backend(case.width, case.height)
    first = rasterizer.render(case.params)
    np.testing.assert_array_equal(rasterizer.render(case.params), first)


@pytest.mark.parametrize("name", ["ordinary", "needles", "crowded tile", "five thousand"])
def test_two_threads_draw_what_one_draws(cpu_backend, name: str) -> None:
    case = named_case(name)
    one, two = (cpu_backend(case.width, case.height, threads=n) for n in (1, 2))
    np.testing.assert_array_equal(one.render(case.params), two.render(case.params))
    np.testing.assert_array_equal(
        one.gradients(case.params, case.residual), two.gradients(case.params, case.residual)
    )
