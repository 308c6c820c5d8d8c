"""The Gaussians an I-frame starts from: how many, where, whose, and what picture they make."""

from __future__ import annotations

import numpy as np
import pytest

from conftest import synthetic_clip
from gscodec.analysis.seeds import nearest_seeds
from gscodec.analysis.superpixel import WIDEN, initial_gaussians
from gscodec.errors import BackendError
from gscodec.splat.gaussians import Gaussians, opponent_from_rgb

WIDTH, HEIGHT = 64, 48
PIXELS = synthetic_clip("gradient", WIDTH, HEIGHT, 1)[0]


def disc_matte() -> np.ndarray:
    y, x = np.mgrid[:HEIGHT, :WIDTH] + 0.5
    return (np.hypot(x - 32, y - 24) < 16).astype(np.float32)


def start(count: int, matte: np.ndarray | None = None, pixels: np.ndarray = PIXELS, **kwargs) -> Gaussians:
    matte = np.ones(pixels.shape[:2], np.float32) if matte is None else matte
    options = {"room_share": 0.25} | kwargs
    label = nearest_seeds(opponent_from_rgb(pixels), options.pop("detail", 0.5))
    return initial_gaussians(pixels, matte >= 0.5, count, label, **options)


@pytest.mark.parametrize("init", ["superpixels", "random"])
@pytest.mark.parametrize("count", [1, 2, 30, 200])
def test_as_many_as_asked_for_person_and_room(init: str, count: int) -> None:
    gaussians = start(count, disc_matte(), init=init)
    assert len(gaussians) == count
    assert gaussians.is_room.sum() == round(0.25 * count)
    assert gaussians.params.dtype == np.float32
    assert np.isfinite(gaussians.params).all()
    assert (gaussians.params[:, [2, 4]] >= 0.3).all()


@pytest.mark.parametrize("init", ["superpixels", "random"])
def test_everyone_lies_in_their_region(init: str) -> None:
    matte = disc_matte()
    gaussians = start(60, matte, init=init)
    column, row = np.floor(gaussians.params[:, :2]).astype(int).T
    inside = matte[np.clip(row, 0, HEIGHT - 1), np.clip(column, 0, WIDTH - 1)] >= 0.5
    person = ~gaussians.is_room
    assert inside[person].mean() > 0.95  # a mean is that of a segment, which may be bent
    if init == "random":
        assert not inside[~person].any()


@pytest.mark.parametrize("value", [0.0, 0.49, 0.5, 1.0])
def test_a_uniform_matte_has_one_region(value: float) -> None:
    gaussians = start(40, np.full((HEIGHT, WIDTH), value, np.float32))
    assert len(gaussians) == 40
    assert not gaussians.is_room.any()


def test_no_share_no_room() -> None:
    assert not start(40, disc_matte(), room_share=0.0).is_room.any()


def test_no_more_than_pixels() -> None:
    pixels = synthetic_clip("noise", 5, 4, 1)[0]
    gaussians = start(100, pixels=pixels)
    assert len(gaussians) == 20
    matte = np.zeros((4, 5), np.float32)
    matte[0, :2] = 1
    gaussians = start(100, matte, pixels)
    assert (~gaussians.is_room).sum() == 2
    assert gaussians.is_room.sum() == 18


@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (9, 1), (2, 2)])
def test_smallest_pictures(shape: tuple[int, int]) -> None:
    pixels = synthetic_clip("noise", shape[1], shape[0], 1)[0]
    gaussians = start(3, pixels=pixels)
    assert 1 <= len(gaussians) <= 3
    assert np.isfinite(gaussians.params).all()


def test_detail_puts_more_where_there_is_texture() -> None:
    pixels = np.full((HEIGHT, WIDTH, 3), 120, np.uint8)
    pixels[:, WIDTH // 2 :] = np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH // 2, 1))
    shares = []
    for detail in (0.0, 0.5, 1.0):
        means = start(100, pixels=pixels, detail=detail).params[:, 0]
        shares.append((means > WIDTH / 2).mean())
    assert shares[0] == pytest.approx(0.5, abs=0.1)
    assert shares[0] < shares[1] < shares[2]


def test_the_start_resembles_the_picture(cpu_backend) -> None:
    gaussians = start(60)
    raster = cpu_backend(WIDTH, HEIGHT)
    picture = opponent_from_rgb(PIXELS)
    raster.solve_colors(
        raster.target(picture, np.ones((HEIGHT, WIDTH), np.float32)), gaussians.params, None, 10, 1e-3
    )
    error = ((raster.render(gaussians.params) - picture) ** 2).mean()
    assert error < 0.1 * ((picture - picture.mean(axis=(0, 1))) ** 2).mean()
    assert WIDEN > 1


@pytest.mark.parametrize("init", ["superpixels", "random"])
def test_the_same_start_every_time(init: str) -> None:
    a, b = (start(50, disc_matte(), init=init, seed=3).params for _ in range(2))
    np.testing.assert_array_equal(a, b)
    if init == "random":
        assert (start(50, disc_matte(), init=init, seed=4).params != a).any()


def test_fast_slic_or_what_to_do_about_it() -> None:
    try:
        import fast_slic  # noqa: F401
    except ImportError:
        with pytest.raises(BackendError, match="pip install"):
            start(20, init="fast-slic")
    else:
        assert 1 <= len(start(20, init="fast-slic")) <= 40
