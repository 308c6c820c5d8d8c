"""Drawing at another size: against points of the plane taken one by one, held, whole streams."""

from __future__ import annotations

import numpy as np
import pytest
from decode_clips import Coded, coded_clip
from scenes import random_gaussians
from test_show import slow

from conftest import MakeRasterizer, open_backend
from gscodec.config import DecoderLimits
from gscodec.container.headers import FrameType
from gscodec.decode.decoder import Decoder
from gscodec.decode.scale import ScaledDrawer, block_means, samples_per_pixel
from gscodec.decode.show import tolerances
from gscodec.errors import ConfigError
from gscodec.splat.gaussians import RGB_FROM_OPPONENT, opponent_from_rgb
from gscodec.splat.raster import Rasterizer

CODED = (30, 22)
SIZES = [(60, 44), (75, 40), (31, 23), (20, 22), (15, 11), (7, 5), (1, 1), (90, 8)]
GROUND = opponent_from_rgb(np.array([90, 120, 60], np.uint8))
COLOR = np.array([0.2, 0.9, 0.4], np.float32)


def some_gaussians(rng: np.random.Generator, blend: str, n: int = 25) -> np.ndarray:
    params = random_gaussians(rng, n, *CODED)
    params[:, 5:] *= 0.3
    if blend == "normalised":
        params = np.hstack([params, rng.uniform(-3, 3, (n, 1))]).astype(np.float32)
    return params


def weights_at(params: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:  # [N, *x.shape]
    """What each Gaussian weighs at points of the coded plane, docs/bitstream.md, "Rendering"."""
    out = []
    for mx, my, l1, l2, l3, *rest in params.astype(np.float64):
        u = (x - mx) / l1
        v = ((y - my) - l2 * u) / l3
        weight = np.maximum(np.exp(-(u * u + v * v) / 2) - np.exp(-4.5), 0)
        out.append(weight * 2.0 ** (rest[3] if len(rest) > 3 else 0))
    return np.array(out)


def slow_picture(
    params: np.ndarray, blend: str, size: tuple[int, int], is_room: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Code values of the picture, or of the person over COLOR, and the alpha: means of blocks of points."""
    samples = [samples_per_pixel(c, s) for c, s in zip(CODED, size, strict=True)]
    width, height = size[0] * samples[0], size[1] * samples[1]
    x, y = np.meshgrid(
        (np.arange(width) + 0.5) * CODED[0] / width, (np.arange(height) + 0.5) * CODED[1] / height
    )
    weights = weights_at(params, x, y)
    who = np.ones(len(params), bool) if is_room is None else ~is_room
    total = 1e-4 + weights.sum(0) if blend == "normalised" else np.ones_like(x)
    color = np.einsum("nyx,nc->yxc", weights[who], params[who, 5:8].astype(np.float64)) / total[..., None]
    alpha = weights[who].sum(0) / total
    rgb = color @ RGB_FROM_OPPONENT.T.astype(np.float64)
    ground = GROUND.astype(np.float64) @ RGB_FROM_OPPONENT.T if blend == "normalised" else np.zeros(3)
    if is_room is None:
        rgb = rgb + ground
    else:
        alpha = np.minimum(alpha, 1)
        rgb = rgb + alpha[..., None] * ground + (1 - alpha[..., None]) * COLOR

    def mean(a: np.ndarray) -> np.ndarray:
        blocks = np.clip(a * 255, 0, 255).reshape(size[1], samples[1], size[0], samples[0], -1)
        return blocks.mean(axis=(1, 3))

    return mean(rgb), mean(alpha)[..., 0]


@pytest.mark.parametrize("blend", ["sum", "normalised"])
@pytest.mark.parametrize("size", SIZES)
def test_every_pixel_is_the_mean_of_points(
    rng: np.random.Generator, size: tuple[int, int], blend: str
) -> None:
    params = some_gaussians(rng, blend)
    ground = GROUND if blend == "normalised" else None
    is_room = rng.random(len(params)) < 0.4
    make = open_backend("cpu-baseline", blend)
    drawer = ScaledDrawer(lambda w, h: make(w, h), CODED, size)
    picture = drawer.render_rgb8(params, ground)
    assert picture.shape == (size[1], size[0], 3)
    assert np.abs(picture - slow_picture(params, blend, size)[0]).max() < 1.6
    person, alpha = drawer.render_person(params, is_room, COLOR, ground)
    wanted, wanted_alpha = slow_picture(params, blend, size, is_room)
    assert np.abs(person - wanted).max() < 1.6
    assert np.abs(alpha - wanted_alpha).max() < 1.6


def test_every_backend_draws_the_same(rng: np.random.Generator, backend: MakeRasterizer) -> None:
    params = some_gaussians(rng, "sum")
    for size in SIZES[:5]:
        picture = ScaledDrawer(lambda w, h: backend(w, h), CODED, size).render_rgb8(params)
        assert np.abs(picture - slow_picture(params, "sum", size)[0]).max() < 1.6


@pytest.mark.parametrize(("columns", "rows"), [(1, 1), (2, 1), (3, 4)])
def test_blocks_are_averaged(rng: np.random.Generator, columns: int, rows: int) -> None:
    for channels in ((), (3,)):
        picture = rng.integers(0, 256, (5 * rows, 7 * columns, *channels), np.uint8)
        exact = picture.reshape(5, rows, 7, columns, -1).mean(axis=(1, 3)).reshape(5, 7, *channels)
        wanted = np.floor(exact + 0.5)
        np.testing.assert_array_equal(block_means(picture, columns, rows), wanted)


def test_no_coded_pixel_is_missed() -> None:
    for coded, drawn, wanted in ((10, 10, 1), (10, 20, 1), (10, 9, 2), (10, 5, 2), (10, 4, 3), (10, 1, 10)):
        assert samples_per_pixel(coded, drawn) == wanted


@pytest.fixture(scope="module", params=["normalised", "sum"])
def coded(request: pytest.FixtureRequest) -> Coded:
    return coded_clip(blend=request.param, hold=9)


def test_the_coded_size_is_no_other_way_of_drawing(coded: Coded) -> None:
    plain, same = coded.decoder(), coded.decoder(size=coded.size)
    for payload, kind in coded.frames:
        plain.decode(payload, kind)
        same.decode(payload, kind)
        np.testing.assert_array_equal(plain.render(), same.render())


@pytest.mark.parametrize("factor", [2, 0.5])
@pytest.mark.parametrize("background", [None, COLOR])
def test_pictures_of_another_size_are_held_among_themselves(
    coded: Coded, factor: float, background: np.ndarray | None
) -> None:
    size = round(coded.size[0] * factor), round(coded.size[1] * factor)
    decoder = coded.decoder(size=size, background=background)
    drawer = ScaledDrawer(coded.make, coded.size, size)
    before = None
    for payload, kind in coded.frames:
        g = decoder.decode(payload, kind)
        now = drawer.render_rgb8(g.params, g.ground)
        if background is not None:
            now = drawer.render_person(g.params, g.is_room, background, g.ground)[0]
            np.testing.assert_array_equal(decoder.render_person(background)[0], now)
        if kind == FrameType.P:
            assert before is not None
            now = slow(before, now, tolerances(9))
        np.testing.assert_array_equal(decoder.render(), now)
        before = now


@pytest.mark.parametrize("size", [(0, 5), (5, 0), (1 << 14, 1 << 13), (-4, -4)])
def test_sizes_out_of_range(coded: Coded, size: tuple[int, int]) -> None:
    with pytest.raises(ConfigError, match=r"--size .* is out of range; permitted: 1x1 to 67108864 pixels"):
        coded.decoder(size=size)


def test_limits_are_those_of_the_decoder(coded: Coded) -> None:
    limits = DecoderLimits(max_pixels=coded.size[0] * coded.size[1])
    Decoder(coded.header, backend="cpu", threads=1, limits=limits, size=coded.size)
    with pytest.raises(ConfigError, match="--size 65x48"):
        Decoder(coded.header, backend="cpu", threads=1, limits=limits, size=(65, 48))


def test_a_raster_of_the_drawn_size_is_made() -> None:
    made = []

    def make(width: int, height: int) -> Rasterizer:
        made.append((width, height))
        return open_backend("cpu-baseline")(width, height)

    for size in ((60, 44), (20, 44), (10, 11)):
        ScaledDrawer(make, CODED, size)
    assert made == [(60, 44), (40, 44), (30, 22)]
