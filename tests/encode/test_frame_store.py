"""Frame stores, in host memory and on the card: targets, losses, updates and scores against plain NumPy."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scenes import random_gaussians

from conftest import open_backend

frame_store = pytest.importorskip("gscodec.encode.frame_store", reason="no native core", exc_type=ImportError)
pursuit = pytest.importorskip("gscodec.rdo.pursuit", reason="no native core", exc_type=ImportError)
from gscodec.encode.frame_store import FrameSettings  # noqa: E402
from gscodec.splat import gaussians  # noqa: E402
from gscodec.splat.cpu import raster as raster_cpu  # noqa: E402
from gscodec.splat.raster import FitSchedule  # noqa: E402

WIDTH, HEIGHT, N = 52, 37, 20
LUMA_CODES = 255 / 3**0.5
SETTINGS = FrameSettings(is_room_coded=True, room_weight=0.05, detail=1.5, hold=5)
STORES = ("cpu", pytest.param("cuda", marks=pytest.mark.cuda))


@pytest.fixture(params=gaussians.BLENDS)
def blend(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(params=STORES)
def make_store(request: pytest.FixtureRequest, blend: str):
    """A function settings -> FrameStore, or a skipped test that says why there is none."""
    make = opened(request.param, blend)
    return lambda settings: frame_store.make_frame_store(settings, make(WIDTH, HEIGHT))


def opened(store: str, blend: str):
    return open_backend("cpu-baseline" if store == "cpu" else store, blend)


def some_gaussians(rng: np.random.Generator, n: int, blend: str) -> np.ndarray:
    """float32 [n, 8 or 9]."""
    params = random_gaussians(rng, n, WIDTH, HEIGHT)
    if blend == "sum":
        return params
    return np.hstack((params, rng.uniform(-3, 3, (n, 1)))).astype(np.float32)


def frames(rng: np.random.Generator) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Two frames, half of them the same in both, and their mattes."""
    first = rng.integers(0, 256, (HEIGHT, WIDTH, 3)).astype(np.uint8)
    second = first.copy()
    second[:, WIDTH // 2 :] = rng.integers(0, 256, second[:, WIDTH // 2 :].shape)
    return [first, second], [rng.random((HEIGHT, WIDTH)).astype(np.float32) for _ in range(2)]


def expected_target(
    settings: FrameSettings, pixels: np.ndarray, matte: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    picture = pixels.astype(np.float64) / 255 @ gaussians.OPPONENT_FROM_RGB.T.astype(np.float64)
    if not settings.is_room_coded:
        picture *= np.minimum(1, 2 * matte)[..., None]
    inside = np.clip(2 * matte.astype(np.float64) - 0.5, 0, 1)
    return picture, settings.room_weight + (1 - settings.room_weight) * inside


def core(params: np.ndarray) -> raster_cpu.CpuRasterizer:
    """The native core of the blend that these are Gaussians of."""
    blend = "sum" if params.shape[1] == gaussians.N_PARAMS else "normalised"
    return raster_cpu.CpuRasterizer(WIDTH, HEIGHT, blend=blend)


def drawn(params: np.ndarray) -> np.ndarray:
    return core(params).render(params).astype(np.float64)


@pytest.mark.parametrize("is_room_coded", [True, False])
def test_losses_are_those_of_the_target(make_store, rng, blend: str, is_room_coded: bool) -> None:
    settings = replace(SETTINGS, is_room_coded=is_room_coded)
    store = make_store(settings)
    (pixels, _), (matte, _) = frames(rng)
    store.take(pixels, matte, False)
    store.make_target()
    candidates = [some_gaussians(rng, n, blend) for n in (N, 0, 3)]
    picture, weight = expected_target(settings, pixels, matte)
    wanted = [(weight[..., None] * (drawn(p) - picture) ** 2).sum() for p in candidates]
    assert store.losses(candidates) == pytest.approx(wanted, rel=2e-4)
    np.testing.assert_allclose(store.picture, picture, atol=1e-5)
    np.testing.assert_array_equal(store.person, matte >= 0.5)
    assert store.losses([candidates[0]]) == pytest.approx(wanted[:1], rel=2e-4)


@pytest.mark.parametrize("is_room_coded", [True, False])
def test_a_matte_may_be_of_codes(make_store, rng, blend: str, is_room_coded: bool) -> None:
    (pixels, _), _ = frames(rng)
    codes = rng.integers(0, 256, (HEIGHT, WIDTH)).astype(np.uint8)
    params = some_gaussians(rng, N, blend)
    found = []
    for matte in (codes, codes.astype(np.float32) / 255):
        store = make_store(replace(SETTINGS, is_room_coded=is_room_coded))
        store.take(pixels, matte, False)
        store.make_target()
        found.append((store.matte, store.losses([params]), store.show(params, True)))
    np.testing.assert_array_equal(found[0][0], found[1][0])
    assert found[0][1] == pytest.approx(found[1][1], rel=1e-6)
    assert found[0][2] == found[1][2]


def test_without_a_person_everything_counts(make_store, rng, blend: str) -> None:
    (pixels, _), _ = frames(rng)
    for nobody in (np.full((HEIGHT, WIDTH), 127, np.uint8), np.full((HEIGHT, WIDTH), 0.49, np.float32)):
        store = make_store(SETTINGS)
        store.take(pixels, nobody, False)
        assert (store.matte == 1).all()
        assert store.show(some_gaussians(rng, N, blend), True)["roi_samples"] == pixels.size


@pytest.mark.parametrize("is_room_coded", [True, False])
def test_a_steady_target_lies_between_the_picture_and_what_was_shown(
    make_store, rng, blend: str, is_room_coded
) -> None:
    settings = replace(SETTINGS, is_room_coded=is_room_coded)
    store = make_store(settings)
    clip, mattes = frames(rng)
    params = some_gaussians(rng, N, blend)
    store.take(clip[0], mattes[0], False)
    store.show(params, True)
    store.take(clip[1], mattes[1], False)
    store.make_target(0.5)
    shown = core(params).render_rgb8(params)
    then, _ = expected_target(settings, clip[0], mattes[0])
    picture, weight = expected_target(settings, clip[1], mattes[1])
    steady, _ = expected_target(replace(settings, is_room_coded=True), shown, mattes[1])
    s = 0.5 * np.clip(2 - 0.5 * np.abs(picture - then)[..., 0] * LUMA_CODES, 0, 1)[..., None]
    assert 0 < (s > 0).mean() < 1
    target, weight = (picture + s * steady) / (1 + s), weight[..., None] * (1 + s)
    wanted = (weight * (drawn(params) - target) ** 2).sum()
    assert store.losses([params]) == pytest.approx([wanted], rel=1e-3)
    store.make_target()
    plain = (weight / (1 + s) * (drawn(params) - picture) ** 2).sum()
    assert store.losses([params]) == pytest.approx([plain], rel=2e-4)


@pytest.mark.parametrize("room_only", [True, False])
@pytest.mark.parametrize("codes", [True, False])
def test_an_even_target_weighs_all_pixels_alike(
    make_store, rng, blend: str, room_only: bool, codes: bool
) -> None:
    """What a solve starts from, Σ weight·d², is that of the picture; the room's is without the person."""
    name = "cuda" if "Cuda" in type(make_store(SETTINGS)).__name__ else "cpu"
    raster = opened(name, blend)(WIDTH, HEIGHT)
    store = frame_store.make_frame_store(SETTINGS, raster)
    (pixels, _), (matte, _) = frames(rng)
    store.take(pixels, (255 * matte + 0.5).astype(np.uint8) if codes else matte, False)
    store.make_target()
    params = some_gaussians(rng, N, blend)
    before = store.losses([params])
    picture, _ = expected_target(SETTINGS, pixels, matte)
    if room_only:
        picture *= 1 - np.minimum(1, 2 * matte[..., None])
    wanted = ((drawn(params) - picture) ** 2).sum()
    loss = raster.solve_colors(store.even_target(room_only), params.copy(), None, 1, 1e-3)
    assert loss == pytest.approx(wanted, rel=5e-3)
    assert store.losses([params]) == before


def test_the_rest_is_the_target_without_the_sum(make_store, rng, blend: str) -> None:
    settings = SETTINGS
    store = make_store(settings)
    clip, mattes = frames(rng)
    params = some_gaussians(rng, N, blend)
    store.take(clip[0], mattes[0], False)
    store.show(params, True)
    store.take(clip[1], mattes[1], False)
    store.make_target()
    picture, weight = expected_target(settings, clip[1], mattes[1])
    rest = store.residual(params)
    assert rest.shape == (HEIGHT, WIDTH, 4)
    assert rest.dtype == np.float32
    np.testing.assert_allclose(rest[..., :3], picture - drawn(params), atol=1e-3)
    np.testing.assert_allclose(rest[..., 3], weight, atol=1e-5)
    store.make_target(0.5)
    steady = store.residual(params)
    wanted = store.losses([params])[0]
    assert (steady[..., 3] * (steady[..., :3].astype(float) ** 2).sum(-1)).sum() == pytest.approx(
        wanted, rel=1e-3
    )
    assert (steady[..., 3] > rest[..., 3] + 1e-3).any()
    np.testing.assert_allclose(rest[..., 3], weight, atol=1e-5)  # an array of its own


def test_what_is_shown_is_scored_inside_and_outside_the_roi(make_store, rng, blend: str) -> None:
    store = make_store(SETTINGS)
    (pixels, _), (matte, _) = frames(rng)
    params = some_gaussians(rng, N, blend)
    store.take(pixels, matte, False)
    errors = store.show(params, True)
    square = (core(params).render_rgb8(params).astype(float) - pixels) ** 2
    assert errors["roi_error"] == pytest.approx(square[matte >= 0.5].sum(), rel=1e-3)
    assert errors["roi_samples"] == 3 * (matte >= 0.5).sum()
    assert errors["error"] == pytest.approx(square.sum(), rel=1e-3)
    assert errors["samples"] == pixels.size


def test_where_nobody_is_everything_matters(make_store, rng, blend: str) -> None:
    store = make_store(SETTINGS)
    (pixels, _), _ = frames(rng)
    store.take(pixels, np.full((HEIGHT, WIDTH), 0.3, np.float32), False)
    assert (store.matte == 1).all()
    assert store.show(some_gaussians(rng, 0, blend), True)["roi_samples"] == pixels.size


@pytest.mark.parametrize("intra", [True, False])
@pytest.mark.parametrize("lambda_", [1e-4, 0.01])
def test_updates_lower_what_they_are_to_lower(
    make_store, rng, blend: str, intra: bool, lambda_: float
) -> None:
    """Σ weight·d² + λ·bits falls, by the stores' own losses, and symbols stay within their bounds."""
    store = make_store(SETTINGS)
    params = some_gaussians(rng, N, blend)
    params[:, 5:8] *= 0.3
    n_params = gaussians.n_params(blend)
    step = np.array([0.5, 0.5, 0.3, 0.4, 0.3, 0.05, 0.05, 0.05, 0.5])[:n_params] * np.ones((N, 1))
    offset = np.array([0.25, 0.25, 0, 0, 0, 0, 0, 0, 0])[:n_params] * np.ones((N, 1))
    low, high = np.full((N, n_params), -300, np.int32), np.full((N, n_params), 300, np.int32)
    low[:, :2], low[:, [2, 4]] = 0, 1
    low[:, 8:], high[:, 8:] = -16, 15
    symbols = np.clip(np.rint((params - offset) / step), low, high).astype(np.int32)
    base = symbols.copy()
    arrays = pursuit.SymbolArrays(symbols, base, step, offset, low, high, np.zeros(N, bool))
    spread = np.array([1, 1, 0.5, 0.5, 0.5, 0.1, 0.05, 0.05, 0.3])[:n_params]
    wanted = params + rng.normal(0, 1, params.shape) * spread
    wanted[:, [2, 4]] = np.maximum(wanted[:, [2, 4]], 0.6)
    pixels = core(wanted).render_rgb8(wanted.astype(np.float32))
    store.take(pixels, np.ones((HEIGHT, WIDTH), np.float32), False)
    store.make_target()
    before = store.losses([arrays.values()])[0]
    costs = None if intra else rng.uniform(2, 9, N).astype(np.float32)
    assert store.update(arrays, costs, pursuit.Effort(4), lambda_) > 0
    after = store.losses([arrays.values()])[0]
    assert after < before
    changed = (arrays.symbols != base).any(axis=1)
    assert changed.any()
    if not intra:
        assert after + lambda_ * costs[changed].sum() < before
    assert ((arrays.symbols >= low) & (arrays.symbols <= high)).all()
    again = arrays.symbols.copy()
    assert store.update(arrays, costs, pursuit.Effort(0), lambda_) == 0
    np.testing.assert_array_equal(arrays.symbols, again)


@pytest.mark.cuda
def test_a_card_and_the_core_find_updates_of_like_worth(blend: str) -> None:
    """The orders differ, so the symbols do; what they are worth must not, taken together."""
    costs = {name: np.mean([loss_left(name, blend, seed) for seed in range(6)]) for name in ("cpu", "cuda")}
    assert costs["cuda"] == pytest.approx(costs["cpu"], rel=0.25)


def loss_left(name: str, blend: str, seed: int) -> float:
    """The share of a loss that updates of a P-frame leave over."""
    own, n_params = np.random.default_rng(seed), gaussians.n_params(blend)
    store = frame_store.make_frame_store(SETTINGS, opened(name, blend)(WIDTH, HEIGHT))
    params = some_gaussians(own, 60, blend)
    step, offset = np.full((60, n_params), 0.1), np.zeros((60, n_params))
    low, high = np.full((60, n_params), -3000, np.int32), np.full((60, n_params), 3000, np.int32)
    low[:, [2, 4]], low[:, 8:], high[:, 8:] = 3, -60, 60
    symbols = np.clip(np.rint(params / step), low, high).astype(np.int32)
    rooms = own.random(60) < 0.3
    arrays = pursuit.SymbolArrays(symbols, symbols.copy(), step, offset, low, high, rooms)
    pixels = own.integers(0, 256, (HEIGHT // 6 + 1, WIDTH // 6 + 1, 3)).repeat(6, 0).repeat(6, 1)
    store.take(pixels[:HEIGHT, :WIDTH].astype(np.uint8), np.ones((HEIGHT, WIDTH), np.float32), True)
    store.make_target()
    before = store.losses([arrays.values()])[0]
    store.update(arrays, np.full(60, 5, np.float32), pursuit.Effort(40), 1e-3)
    return store.losses([arrays.values()])[0] / before


@pytest.mark.cuda
@pytest.mark.parametrize("is_room_coded", [True, False])
def test_a_card_and_the_core_see_the_same(rng, is_room_coded: bool, blend: str) -> None:
    """From the ground colour on: targets, fits to them, contrasts, what is left and what is shown."""
    settings, (clip, mattes) = replace(SETTINGS, is_room_coded=is_room_coded), frames(rng)
    params, rooms = some_gaussians(rng, 60, blend), rng.random(60) < 0.4
    params[:, 5:8] *= 0.2
    found = []
    for name in ("cpu", "cuda"):
        raster = opened(name, blend)(WIDTH, HEIGHT)
        store = frame_store.make_frame_store(settings, raster)
        store.take(clip[0], mattes[0], True)
        store.make_target()
        fitted = params.copy()
        raster.fit(store.target(), fitted, None, FitSchedule(3), is_room=rooms)
        contrasts = store.contrasts(params) if blend == "normalised" else 0  # the sum's may differ
        shown = store.show(params, True)
        store.take(clip[1], mattes[1], False)
        store.make_target(0.5)
        residual, losses = store.residual(params), store.losses([params, fitted])
        there, born = (0, 0), params.copy()
        if blend == "normalised":
            there = store.drawn_at(params, residual, np.array([3, 20, 30]), np.array([4, 25, 44]))
            store.solve_births(born, 50, 8, 1e-3)
        arrays = store.ground, store.picture, store.matte, fitted, contrasts, residual, *there, born
        found.append((*arrays, shown, losses))
    tolerances = (0, 1e-6, 1e-6, 5e-3, 1e-3, 1e-3, 1e-3, 1e-3, 5e-3, None, None)
    for a, b, tolerance in zip(*found, tolerances, strict=True):
        if tolerance is None:
            assert b == pytest.approx(a, rel=2e-3)
        else:
            np.testing.assert_allclose(b, a, rtol=tolerance, atol=tolerance)
    assert (found[0][0] > 0).all() == (blend == "normalised")


def test_pictures_are_held_until_an_iframe(make_store, rng, blend: str) -> None:
    """Three pictures, the third an I-frame's: errors are those of what hold.py's formula shows."""
    settings = replace(SETTINGS, hold=9)
    store = make_store(settings)
    (pixels, _), _ = frames(rng)
    matte = np.ones((HEIGHT, WIDTH), np.float32)
    before = None
    for i in range(4):
        params = some_gaussians(rng, N, blend)
        params[:, 5:8] *= 0.1  # near each other, so that some pixels are held and some are not
        picture = core(params).render_rgb8(params).astype(int)
        t = np.array([5, 9, 3])
        shown = picture if before is None or i == 2 else np.clip(before, picture - t, picture + t)
        if i in (1, 3):
            assert 0.05 < (shown == before).mean() < 0.95
        before = shown
        store.take(pixels, matte, False)
        wanted = ((shown - pixels.astype(int)) ** 2).sum()
        assert store.show(params, i == 2)["error"] == pytest.approx(wanted, rel=2e-3)


@pytest.mark.parametrize("as_codes", [False, True])
def test_a_bframe_shows_nothing_beyond_its_neighbours(make_store, rng, blend: str, as_codes: bool) -> None:
    """Scored against its own source, twice the same; the next frame is held as if it had not been there."""
    store = make_store(replace(SETTINGS, hold=9))
    (pixels, source), (_, matte) = frames(rng)
    matte = np.rint(matte * 255).astype(np.uint8) if as_codes else matte
    drawn = [some_gaussians(rng, N, blend) for _ in range(3)]
    for params in drawn:
        params[:, 5:8] *= 0.1
    first, middle, last = (core(p).render_rgb8(p).astype(int) for p in drawn)
    store.take(pixels, np.ones((HEIGHT, WIDTH), np.float32), False)
    store.show(drawn[0], True)
    last_errors = store.show(drawn[2], False)
    t = np.array([5, 9, 3])
    last = np.clip(first, last - t, last + t)
    shown = np.clip(middle, np.minimum(first, last), np.maximum(first, last))
    assert 0.05 < (shown == middle).mean() < 0.95
    for _ in range(2):
        errors = store.score_between(drawn[1], source, matte)
        inside = (matte >= (128 if as_codes else 0.5))[..., None]
        wanted = (shown - source.astype(int)) ** 2
        assert errors["error"] == pytest.approx(wanted.sum(), rel=2e-3)
        assert errors["roi_error"] == pytest.approx((wanted * inside).sum(), rel=2e-3)
        assert errors["roi_samples"] == 3 * inside.sum()
    store.take_back()
    assert store.show(drawn[2], False) == pytest.approx(last_errors, rel=2e-3)
