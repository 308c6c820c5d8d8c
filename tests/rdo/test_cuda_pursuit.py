"""Greedy integer updates on the card: Gaussians for a warp, a block and the grid, against fresh drawings."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from pursuit_scene import KINDS, MODES, Scene, pursuit, rates

from conftest import open_backend

pytestmark = pytest.mark.cuda
SIZE, N = (400, 260), 150
WARP, BLOCK, GRID = 1 << 10, 1 << 13, 400 * 260  # pixels of boxes at most: csrc/pursuit.cuh


class CardScene(Scene):
    """The same task for the card, with Gaussians of every size."""

    def __init__(self, seed: int, n: int = N, kind: str = "sum") -> None:
        super().__init__(np.random.default_rng(seed), n, SIZE, largest=12, kind=kind)
        card = open_backend("cuda", self.raster.blend)(*SIZE)
        self.batch = card.batch
        self.on_card = card.target(self.picture, self.weight, *self.matte_term)

    def spread(self) -> list[int]:
        """How many Gaussians a warp, a block and the grid work on."""
        p = self.arrays.values()
        half = 3 * np.stack([np.abs(p[:, 2]), np.hypot(p[:, 3], p[:, 4])], axis=1)
        low = np.clip(p[:, :2] - half, 0, SIZE)
        high = np.clip(p[:, :2] + half, 0, SIZE)
        return np.histogram((high - low).prod(axis=1), [0, WARP, BLOCK, GRID])[0].tolist()

    def run_on_card(self, mode: str, lambda_: float, passes: int = 4, deadline_s: float = 0.0, **others):
        from gscodec.rdo.cuda_pursuit import pursue

        tables, costs = (rates.UPDATE_RATES, rates.UPDATE_GROUPS), self.change_costs
        if mode == "iframe":
            tables, costs = (rates.INTRA_RATES, rates.INTRA_GROUPS), None
        effort = pursuit.Effort(passes, deadline_s)
        return pursue(self.batch, self.on_card, self.arrays, *tables, costs, effort, lambda_, **others)


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(params=MODES)
def mode(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.mark.parametrize("lambda_", [1e-4, 0.02])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_what_it_reports_is_true(mode: str, lambda_: float, seed: int, kind: str) -> None:
    scene = CardScene(seed, kind=kind)
    assert min(scene.spread()) >= 5
    before, bits_before = scene.loss(), scene.bits(mode)
    result = scene.run_on_card(mode, lambda_)
    after, bits_after = scene.loss(), scene.bits(mode)
    assert result.loss_before == pytest.approx(before, rel=1e-4)
    assert result.loss == pytest.approx(after, rel=1e-3, abs=1e-4)
    assert after + lambda_ * bits_after < before + lambda_ * bits_before
    assert 0 < result.kept <= result.tried
    a = scene.arrays
    changed = a.symbols != a.base
    assert ((a.low <= a.symbols) & (a.symbols <= a.high))[changed & (a.symbols != 0)].all()


@pytest.mark.parametrize("kind", KINDS[1:])
def test_curvatures_are_those_of_the_core(kind: str) -> None:
    """Of a mean; the sum's have a closed form."""
    scene = CardScene(10, kind=kind)
    from gscodec.rdo.cuda_pursuit import curvatures

    params = scene.arrays.values()
    found = curvatures(scene.batch, scene.on_card, params)
    expected = scene.raster.tiled.curvatures(scene.target, params)
    assert (np.abs(found - expected) < 2e-3 * np.abs(expected) + 1e-4 * np.abs(expected).max(axis=0)).all()


def test_the_core_finds_no_more(mode: str, kind: str) -> None:
    """The orders differ, so the symbols do; what they are worth must not."""
    lambda_, found = 0.003, []
    for on_card in (True, False):
        scene = CardScene(3, kind=kind)
        before = scene.loss() + lambda_ * scene.bits(mode)
        (scene.run_on_card if on_card else scene.run)(mode, lambda_, 30)
        found.append((scene.loss() + lambda_ * scene.bits(mode)) / before)
    assert found[0] == pytest.approx(found[1], rel=0.15)


def test_gaussians_of_the_grid_are_changed_too(kind: str) -> None:
    scene = CardScene(4, kind=kind)
    scene.run_on_card("pframe", 1e-5, 20)
    p = scene.arrays.values()
    reach = 3 * np.abs(p[:, 2]) * 3 * np.hypot(p[:, 3], p[:, 4])  # a fourth of the box, where it is inside
    changed = (scene.arrays.symbols != scene.arrays.base).any(axis=1)
    assert changed[reach > BLOCK].mean() > 0.5


def test_again_is_the_same(mode: str, kind: str) -> None:
    found = []
    for _ in range(2):
        scene = CardScene(5, kind=kind)
        scene.run_on_card(mode, 0.003)
        found.append(scene.arrays.symbols)
    np.testing.assert_array_equal(*found)


def test_more_of_the_grids_than_are_shared(mode: str, kind: str) -> None:
    """1 100 Gaussians of most of the picture: blocks take them one by one."""
    scene = CardScene(6, 1100, kind=kind)
    scene.arrays.symbols[:, [2, 4]] = scene.arrays.base[:, [2, 4]] = 190
    scene.arrays.symbols[:, 3] = scene.arrays.base[:, 3] = 0
    assert scene.spread()[2] > 1024
    before = scene.loss()
    result = scene.run_on_card(mode, 1e-3, 1)
    assert result.loss == pytest.approx(scene.loss(), rel=2e-3)
    assert result.loss < before


def test_where_bits_are_dear_nothing_changes(kind: str) -> None:
    scene = CardScene(7, kind=kind)
    result = scene.run_on_card("pframe", 1e6)
    assert result.kept == 0
    np.testing.assert_array_equal(scene.arrays.symbols, scene.arrays.base)


def test_a_deadline_stops_it_soon(mode: str, kind: str) -> None:
    scene = CardScene(8, kind=kind)
    result = scene.run_on_card(mode, 1e-6, 1000, 1e-6)
    assert result.passes <= 1
    assert result.loss == pytest.approx(scene.loss(), rel=1e-3)


def test_others_stay_and_are_drawn(mode: str, kind: str) -> None:
    """Half of the Gaussians are given as others: the loss is that of all, and only the rest may change."""
    scene, half = CardScene(11, kind=kind), N // 2
    before, everyone = scene.loss(), scene.arrays
    others = everyone.values()[half:]
    names = ("symbols", "base", "step", "offset", "low", "high", "is_room")
    scene.arrays = replace(everyone, **{name: getattr(everyone, name)[:half].copy() for name in names})
    scene.change_costs = scene.change_costs[:half]
    result = scene.run_on_card(mode, 0.003, others=others, others_room=everyone.is_room[half:])
    everyone.symbols[:half] = scene.arrays.symbols
    scene.arrays = everyone
    assert result.kept > 10
    assert result.loss_before == pytest.approx(before, rel=1e-4)
    assert result.loss == pytest.approx(scene.loss(), rel=1e-3)


def test_no_gaussians(kind: str) -> None:
    scene = CardScene(9, 0, kind=kind)
    result = scene.run_on_card("pframe", 0.01)
    assert result.kept == result.tried == 0
    assert result.loss == pytest.approx(result.loss_before)
