"""The normalised blend: every fast backend against the twin in float64, and what the blend promises."""

from __future__ import annotations

import numpy as np
import pytest
from scenes import needles, random_gaussians

from conftest import CPU_BACKENDS, FAST_BACKENDS, open_backend
from gscodec.splat.gaussians import COLOR, LOG_WEIGHT
from gscodec.splat.raster import FitSchedule, Noise

torch = pytest.importorskip("torch")
raster_cpu = pytest.importorskip("gscodec.splat.cpu.raster", reason="no native core", exc_type=ImportError)
pursuit = pytest.importorskip("gscodec.rdo.pursuit", reason="no native core", exc_type=ImportError)
from gscodec.rdo import rates  # noqa: E402
from gscodec.splat.raster_torch import TorchRasterizer  # noqa: E402

W, H, N = 45, 37, 60
MIN_SCALE = raster_cpu.MIN_SCALE


@pytest.fixture(params=FAST_BACKENDS)
def fast(request: pytest.FixtureRequest):
    """A rasteriser of each fast backend."""
    return open_backend(request.param, "normalised")(W, H, 2)


@pytest.fixture(params=CPU_BACKENDS)
def cpu(request: pytest.FixtureRequest):
    """The native core, once for each instruction set."""
    return open_backend(request.param, "normalised")(W, H, 2)


def sums_of_weights(params: np.ndarray) -> np.ndarray:  # [N, 9] -> [H, W]
    return raster_cpu.CpuRasterizer(W, H, blend="normalised").tiled.weights(params)


@pytest.fixture
def twin() -> TorchRasterizer:
    return TorchRasterizer(W, H, torch.float64, blend="normalised")


def gaussians(rng: np.random.Generator, n: int = N, make=random_gaussians) -> np.ndarray:
    weights = rng.uniform(-4, 4, (n, 1))
    return np.hstack((make(rng, n, W, H), weights)).astype(np.float32)


def matte() -> np.ndarray:
    return np.tile(np.clip(np.linspace(-1, 2, W), 0, 1).astype(np.float32), (H, 1))


@pytest.mark.parametrize("make", [random_gaussians, needles])
def test_the_picture_is_the_twins(fast, twin, rng: np.random.Generator, make) -> None:
    params = gaussians(rng, make=make)
    np.testing.assert_allclose(fast.render(params), twin.render(params), atol=2e-4)


def test_the_picture_lies_between_its_colours(fast, rng: np.random.Generator) -> None:
    """A mean neither overshoots nor leaves black gaps: what sums do at edges and where they are thin."""
    params = gaussians(rng)
    params[:, COLOR] = rng.uniform(0.2, 0.7, (N, 3))
    seen = sums_of_weights(params) > 1
    picture = fast.render(params)[seen]
    assert len(picture) > W * H / 2
    assert picture.min() > 0.2 - 1e-3
    assert picture.max() < 0.7 + 1e-3


def test_all_weights_together_change_nothing(fast, rng: np.random.Generator) -> None:
    params = gaussians(rng)
    heavier = params.copy()
    heavier[:, LOG_WEIGHT] += 3
    seen = sums_of_weights(params) > 0.1
    np.testing.assert_allclose(fast.render(heavier)[seen], fast.render(params)[seen], atol=3e-3)


def test_where_nothing_is_the_ground_shows(fast) -> None:
    ground = np.array([0.3, 0.2, -0.1], np.float32)
    pixels = fast.render_rgb8(np.zeros((0, 9), np.float32), ground)
    assert (pixels == pixels[0, 0]).all()
    assert pixels[0, 0].tolist() == (255 * np.clip(ground @ _rgb(), 0, 1) + 0.5).astype(int).tolist()


def _rgb() -> np.ndarray:
    from gscodec.splat.gaussians import OPPONENT_FROM_RGB

    return OPPONENT_FROM_RGB


def test_gradients_are_the_twins(fast, twin, rng: np.random.Generator) -> None:
    params, residual = gaussians(rng), rng.normal(0, 1, (H, W, 3)).astype(np.float32)
    expected = twin.gradients(params, residual)
    scale = np.abs(expected).max(axis=0)
    assert (np.abs(fast.gradients(params, residual) - expected).max(axis=0) < 2e-3 * scale).all()


def test_the_person_and_its_alpha_are_the_twins(fast, twin, rng: np.random.Generator) -> None:
    params, is_room = gaussians(rng), rng.random(N) < 0.5
    params[:, COLOR] *= 0.2
    ground, background = np.array([0.8, 0, 0], np.float32), np.array([0.1, 0.6, 0.2], np.float32)
    found = fast.render_person(params, is_room, background, ground)
    expected = twin.render_person(params, is_room, background, ground)
    for a, b in zip(found, expected, strict=True):
        assert np.abs(a.astype(int) - b).max() <= 1
    everyone = fast.render_person(params, np.zeros(N, bool), background, ground)[1]
    assert (everyone[sums_of_weights(params) > 0.1] >= 254).all()


@pytest.mark.parametrize("subset", [None, np.arange(0, N, 3, dtype=np.uint32)], ids=["all", "some"])
@pytest.mark.parametrize("matted", [False, True])
def test_five_steps_follow_the_twin(fast, twin, rng: np.random.Generator, subset, matted: bool) -> None:
    start, is_room = gaussians(rng), rng.random(N) < 0.4
    picture = rng.uniform(0, 1, (H, W, 3)).astype(np.float32)
    weight = rng.uniform(0.1, 1, (H, W)).astype(np.float32)
    term = (matte(), 0.5) if matted else ()
    ends, results = [], []
    for raster in (fast, twin):
        params = start.copy()
        target = raster.target(picture, weight, *term)
        results.append(raster.fit(target, params, subset, FitSchedule(5), is_room=is_room))
        ends.append(params)
    assert results[0].loss == pytest.approx(results[1].loss, rel=1e-3)
    assert np.median(np.abs(ends[0] - ends[1])) < 1e-4
    assert np.abs(ends[0] - start).max() > 0.05
    if subset is not None:
        others = np.setdiff1d(np.arange(N), subset)
        np.testing.assert_array_equal(ends[0][others], start[others])


def test_noise_costs_what_its_width_says(fast, rng: np.random.Generator) -> None:
    """Colours off by uniform noise: Σ d² is Σ width²/12 of what each colour weighs, and nothing moves."""
    params = gaussians(rng)
    width = np.zeros_like(params)
    width[:, COLOR] = rng.uniform(0.05, 0.3, (N, 3))
    ones = np.ones((H, W), np.float32)
    core = raster_cpu.CpuRasterizer(W, H, blend="normalised")
    picture = core.render(params)
    area = core.tiled.curvatures(core.target(picture, ones), params)[:, :1]
    expected = float((area * width[:, COLOR].astype(np.float64) ** 2 / 12).sum())
    target, noise = fast.target(picture, ones), Noise(width, np.random.default_rng(1), MIN_SCALE)
    drawn = params.copy()
    losses = [fast.fit(target, drawn, None, FitSchedule(0), noise).loss for _ in range(60)]
    assert np.mean(losses) == pytest.approx(expected, rel=0.1)
    assert np.std(losses) > 0.02 * expected  # another noise every time
    np.testing.assert_array_equal(drawn, params)


@pytest.mark.parametrize("matted", [False, True])
def test_a_fit_goes_on_under_noise(fast, rng: np.random.Generator, matted: bool) -> None:
    """Noise of no width changes nothing; of some, the fit still ends nearer to the target."""
    start, is_room = gaussians(rng), rng.random(N) < 0.4
    term = (matte(), 0.5) if matted else ()
    target = fast.target(rng.uniform(0, 1, (H, W, 3)).astype(np.float32), np.ones((H, W), np.float32), *term)
    ends = []
    for width in (None, 0.0, 0.05):
        noise = (
            Noise(np.full_like(start, width), np.random.default_rng(1), MIN_SCALE)
            if width is not None
            else None
        )
        fitted = start.copy()
        fast.fit(target, fitted, None, FitSchedule(6), noise, is_room=is_room)
        ends.append(fitted)
    assert np.median(np.abs(ends[0] - ends[1])) < 1e-4
    assert np.median(np.abs(ends[0] - ends[2])) > 1e-4
    before, after = (
        fast.fit(target, p.copy(), None, FitSchedule(0), is_room=is_room) for p in (start, ends[2])
    )
    assert after.loss < 0.8 * before.loss


def test_the_matte_draws_the_alpha(fast, rng: np.random.Generator) -> None:
    """Of a picture of one colour only the matte says who is who."""
    params, is_room = gaussians(rng), rng.random(N) < 0.5
    errors = []
    for weight in (0.0, 1.0):
        fitted = params.copy()
        target = fast.target(np.ones((H, W, 3), np.float32), np.ones((H, W), np.float32), matte(), weight)
        fast.fit(target, fitted, None, FitSchedule(150), is_room=is_room)
        alpha = fast.render_person(fitted, is_room, np.zeros(3, np.float32))[1] / 255
        errors.append(np.abs(alpha - matte()).mean())
    assert errors[1] < 0.5 * errors[0]


@pytest.mark.parametrize("subset", [None, np.arange(0, N, 3, dtype=np.uint32)], ids=["all", "some"])
def test_colours_are_the_twins_and_the_best(fast, twin, rng: np.random.Generator, subset) -> None:
    picture, weight = rng.uniform(0, 1, (H, W, 3)).astype(np.float32), np.ones((H, W), np.float32)
    start = gaussians(rng)
    ends = []
    for raster in (fast, twin):
        params = start.copy()
        raster.solve_colors(raster.target(picture, weight), params, subset, 12, 1e-3)
        ends.append(params)
    np.testing.assert_allclose(ends[0], ends[1], atol=5e-3)
    residual = fast.render(ends[0]) - picture
    before = np.abs(fast.gradients(start, fast.render(start) - picture)[:, COLOR])
    after = np.abs(fast.gradients(ends[0], residual)[:, COLOR])
    active = slice(None) if subset is None else subset
    assert after[active].mean() < 0.1 * before[active].mean()


@pytest.mark.parametrize("column", range(9))
def test_curvatures_predict_what_a_step_does(cpu, rng: np.random.Generator, column: int) -> None:
    """The picture's change under a small step of one number, squared, against what was gathered for it."""
    params = gaussians(rng, 12)
    params[:, :2] = rng.uniform((10, 8), (W - 10, H - 8), (12, 2))
    weight = rng.uniform(0.2, 1, (H, W)).astype(np.float32)
    target = cpu.target(np.zeros((H, W, 3), np.float32), weight)
    area, *_, by_weight, uu, vv, uuuu, uuvv, vvvv = cpu.tiled.curvatures(target, params).T
    gathered = [uu, vv, uuuu, uuvv, vvvv, area, area, area, np.log(2) ** 2 * by_weight][column]
    eps = 1e-4  # small against the weights at a rim that nothing else covers
    before = cpu.render(params).astype(np.float64)
    for i in range(12):
        after = params.copy().astype(np.float64)
        l1, l2, l3 = after[i, 2:5]
        step = [(l1, l2), (0, l3), (0, 0, l1, l2, 0), (0, 0, 0, l3, 0), (0, 0, 0, 0, l3)]
        change = np.zeros(9)
        if column < 5:
            change[: len(step[column])] = step[column]
        else:
            change[column] = 1
        after[i] += eps * change
        moved = cpu.render(after.astype(np.float32)).astype(np.float64) - before
        found = (weight[..., None] * moved**2).sum() / eps**2
        assert found == pytest.approx(float(gathered[i]), rel=0.08, abs=0.02 * float(gathered.max()))


@pytest.mark.parametrize("mode", ["iframe", "pframe"])
@pytest.mark.parametrize("matted", [False, True])
def test_updates_report_the_truth_and_lower_the_cost(cpu, rng: np.random.Generator, mode: str, matted: bool):
    n, lambda_ = 24, 0.01
    params = gaussians(rng, n)
    params[:, COLOR] *= 0.3
    step = np.array([0.5, 0.5, 0.3, 0.4, 0.3, 0.05, 0.05, 0.05, 0.7]) * np.ones((n, 1))
    offset = np.array([0.25, 0.25, 0, 0, 0, 0, 0, 0, 0]) * np.ones((n, 1))
    low, high = np.full((n, 9), -200, np.int32), np.full((n, 9), 200, np.int32)
    low[:, :2], low[:, [2, 4]], low[:, 8], high[:, 8] = 0, 1, -16, 15
    symbols = np.clip(np.rint((params - offset) / step).astype(np.int32), low, high)
    is_room = rng.random(n) < 0.5
    arrays = pursuit.SymbolArrays(symbols, symbols.copy(), step, offset, low, high, is_room)
    others, others_room = gaussians(rng, 10), rng.random(10) < 0.5
    picture = cpu.render(gaussians(rng, n))
    term = (matte(), 0.05) if matted else ()
    target = cpu.target(picture, np.ones((H, W), np.float32), *term)

    def loss() -> float:
        drawn = np.concatenate([arrays.values(), others])
        found = ((cpu.render(drawn).astype(np.float64) - picture) ** 2).sum()
        if matted:
            rooms = np.concatenate([is_room, others_room])
            weights = cpu.tiled.weights(drawn)
            person = cpu.tiled.weights(np.ascontiguousarray(drawn[~rooms]))
            found += 0.05 * ((person / (weights + 1e-4) - matte()) ** 2).sum()
        return float(found)

    before = loss()
    run = pursuit._pursue
    tables = (
        (rates.INTRA_RATES, rates.INTRA_GROUPS)
        if mode == "iframe"
        else (rates.UPDATE_RATES, rates.UPDATE_GROUPS)
    )
    first = None if mode == "iframe" else np.full(n, 5.0, np.float32)
    result = run(cpu, target, arrays, *tables, first, pursuit.Effort(4), lambda_, others, others_room)
    assert result.kept > 10
    assert result.loss_before == pytest.approx(before, rel=2e-3)
    assert result.loss == pytest.approx(loss(), rel=5e-3)
    assert result.loss < 0.9 * before
    assert (symbols >= low).all()
    assert (symbols <= high).all()


def test_a_target_with_a_matte_asks_who_is_the_rooms(fast, rng: np.random.Generator) -> None:
    params = gaussians(rng, 4)
    target = fast.target(np.ones((H, W, 3), np.float32), np.ones((H, W), np.float32), matte(), 1.0)
    with pytest.raises(ValueError, match="is_room must be given"):
        fast.fit(target, params, None, FitSchedule(1))
    with pytest.raises(ValueError, match="another length"):
        fast.fit(target, params, None, FitSchedule(1), is_room=np.zeros(3, bool))
    with pytest.raises(ValueError, match="only the normalised blend"):
        raster_cpu.CpuRasterizer(W, H).target(
            np.ones((H, W, 3), np.float32), np.ones((H, W), np.float32), matte(), 1.0
        )
