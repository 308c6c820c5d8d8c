"""Greedy integer updates: what they report is true, what they accept lowers D + λR, and bounds hold."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from pursuit_scene import HEIGHT, MODES, WIDTH, Scene, pursuit, raster_cpu, rates


@pytest.fixture(params=MODES)
def mode(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.mark.parametrize("lambda_", [1e-4, 0.003, 0.02])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_what_it_reports_is_true(mode: str, lambda_: float, seed: int) -> None:
    scene = Scene(np.random.default_rng(seed))
    if mode == "iframe":
        scene.arrays.base[:, 2:] //= 2  # a prediction that is off
    before, bits_before = scene.loss(), scene.bits(mode)
    result = scene.run(mode, lambda_)
    after, bits_after = scene.loss(), scene.bits(mode)
    assert result.loss_before == pytest.approx(before, rel=1e-4)
    assert result.loss == pytest.approx(after, rel=1e-4, abs=1e-5)
    assert result.bits == pytest.approx(bits_after, rel=1e-4, abs=1e-3)
    assert after + lambda_ * bits_after <= (before + lambda_ * bits_before) * (1 + 1e-6)
    assert 0 < result.kept <= result.tried
    assert 1 <= result.passes <= 4


def test_longer_is_never_worse(mode: str) -> None:
    costs = []
    for passes in (0, 1, 2, 5):
        scene = Scene(np.random.default_rng(3))
        scene.run(mode, 0.003, passes)
        costs.append(scene.loss() + 0.003 * scene.bits(mode))
    assert costs == sorted(costs, reverse=True)
    assert costs[-1] < 0.8 * costs[0]


def test_where_bits_are_dear_nothing_changes_in_a_pframe() -> None:
    scene = Scene(np.random.default_rng(4))
    result = scene.run("pframe", 1e6)
    assert result.kept == result.bits == 0
    np.testing.assert_array_equal(scene.arrays.symbols, scene.arrays.base)
    assert result.loss == pytest.approx(result.loss_before)


def test_where_bits_are_dear_an_iframe_loses_its_gaussians() -> None:
    scene = Scene(np.random.default_rng(4))
    scene.run("iframe", 1e6)
    assert not scene.arrays.symbols[:, 5:].any()


def test_where_bits_are_cheap_the_loss_falls(mode: str) -> None:
    scene = Scene(np.random.default_rng(5))
    result = scene.run(mode, 1e-7, 12)
    assert result.loss < 0.35 * result.loss_before


def test_at_the_target_nothing_changes() -> None:
    scene = Scene(np.random.default_rng(6))
    a = scene.arrays
    params = (a.symbols * a.step + a.offset).astype(np.float32)
    params[:, [2, 4]] = np.maximum(params[:, [2, 4]], np.float32(raster_cpu.MIN_SCALE))
    scene.picture = scene.raster.render(params)
    scene.target = scene.raster.target(scene.picture, scene.weight)
    before = a.symbols.copy()
    result = scene.run("pframe", 1e-3)
    np.testing.assert_array_equal(a.symbols, before)
    assert result.loss == pytest.approx(0, abs=1e-6)


def test_a_change_that_does_not_pay_is_taken_back() -> None:
    """Symbols that moved away from the base for nothing return to it."""
    scene = Scene(np.random.default_rng(7))
    a = scene.arrays
    scene.weight[:] = 0
    scene.target = scene.raster.target(scene.picture, scene.weight)
    a.symbols[::2, 5] += 2
    result = scene.run("pframe", 1.0)
    np.testing.assert_array_equal(a.symbols, a.base)
    assert result.bits == 0


def test_symbols_stay_within_their_bounds(mode: str) -> None:
    scene = Scene(np.random.default_rng(8))
    a = scene.arrays
    a.low[:] = np.maximum(a.low, a.symbols - 1)
    a.high[:] = np.minimum(a.high, a.symbols)
    before = a.symbols.copy()
    scene.run(mode, 1e-7, 8)
    changed = a.symbols[:, :5] != before[:, :5]
    assert changed.any()
    assert (a.symbols >= a.low)[:, :5].all()
    assert (a.symbols <= a.high)[:, :5].all()
    if mode == "pframe":
        assert (a.low <= a.symbols).all()
        assert (a.symbols <= a.high).all()


@pytest.mark.parametrize("seed", range(6))
def test_an_accepted_change_is_one_that_brute_force_finds_good(seed: int) -> None:
    """One Gaussian inside the picture, its luma alone free: no other value of it is better."""
    scene = Scene(np.random.default_rng(seed), 1)
    a = scene.arrays
    a.symbols[0, :5] = a.base[0, :5] = [
        WIDTH,
        HEIGHT,
        8 + seed,
        seed,
        14 - seed,
    ]  # half-pixel steps: the centre
    scene.weight[:] = 1
    base_params = (a.symbols * a.step + a.offset).astype(np.float32)
    base_params[:, 5] += 0.31
    scene.picture = scene.raster.render(base_params)
    scene.target = scene.raster.target(scene.picture, scene.weight)
    a.low[:, [0, 1, 2, 3, 4, 6, 7]] = a.high[:, [0, 1, 2, 3, 4, 6, 7]] = a.symbols[:, [0, 1, 2, 3, 4, 6, 7]]
    before = scene.loss()
    lambda_ = 1e-4 * before
    scene.run("pframe", lambda_, 10)
    now = scene.loss() + lambda_ * scene.bits("pframe")
    assert now < before
    luma = np.eye(8, dtype=np.int32)[5]
    others = [a.symbols + d * luma for d in range(-12, 13)]
    assert now <= min(scene.loss(s) + lambda_ * scene.bits("pframe", s) for s in others) * (1 + 1e-4)


def test_every_accepted_change_lowers_the_cost_by_itself(mode: str) -> None:
    """Attempts are cut off after 1, 2, 3 … of them: the cost falls with each that was kept and stays else."""
    from gscodec.rdo import _native

    first = None if mode == "iframe" else Scene(np.random.default_rng(9)).change_costs
    tables = (
        (rates.INTRA_RATES[:8], np.ascontiguousarray(rates.INTRA_GROUPS[:, :4]))
        if mode == "iframe"
        else (rates.UPDATE_RATES[:8], np.ascontiguousarray(rates.UPDATE_GROUPS[:, :4]))
    )
    before, kept_before = np.inf, 0
    for trials in range(12):
        scene = Scene(np.random.default_rng(9))
        options = _native.PursuitOptions()
        options.passes, options.lambda_, options.max_trials = 3, 0.002, trials
        a = scene.arrays
        result = _native.pursue(
            scene.raster.tiled,
            scene.target,
            a.symbols,
            a.base,
            a.step,
            a.offset,
            a.low,
            a.high,
            None,
            *tables,
            first,
            options,
        )
        now = scene.loss() + 0.002 * scene.bits(mode)
        assert result.tried == trials
        assert result.kept - kept_before in (0, 1)
        if result.kept == kept_before:
            assert now == pytest.approx(before) or trials == 0
        else:
            assert now < before
        before, kept_before = now, result.kept


def test_no_gaussians() -> None:
    scene = Scene(np.random.default_rng(10), 0)
    result = scene.run("pframe", 0.01)
    assert result.kept == result.tried == 0
    assert result.loss == pytest.approx(result.loss_before)


def test_threads_do_not_matter(mode: str) -> None:
    found = []
    for threads in (1, 2):
        scene = Scene(np.random.default_rng(11))
        scene.raster = raster_cpu.CpuRasterizer(WIDTH, HEIGHT, threads)
        scene.target = scene.raster.target(scene.picture, scene.weight)
        scene.run(mode, 0.002)
        found.append(scene.arrays.symbols)
    np.testing.assert_array_equal(*found)


def test_a_deadline_stops_it_soon(mode: str) -> None:
    scene = Scene(np.random.default_rng(13))
    scene.raster.tiled.render(np.zeros((0, 8), np.float32))
    effort = pursuit.Effort(1000, 1e-6)
    if mode == "iframe":
        result = pursuit.polish_iframe(scene.raster, scene.target, scene.arrays, effort, 1e-6)
    else:
        result = pursuit.update_pframe(
            scene.raster, scene.target, scene.arrays, scene.change_costs, effort, 1e-6
        )
    assert result.tried <= 1
    assert result.loss == pytest.approx(scene.loss(), rel=1e-4)


def test_arrays_of_other_shapes_are_refused() -> None:
    scene = Scene(np.random.default_rng(12))
    scene.arrays = replace(scene.arrays, base=scene.arrays.base[:-1].copy())
    with pytest.raises((ValueError, TypeError)):
        scene.run("pframe", 0.01)
