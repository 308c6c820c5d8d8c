"""Greedy integer updates on the card: small, large and vast Gaussians, checked against fresh drawings."""

from __future__ import annotations

import numpy as np
import pytest
from pursuit_scene import MODES, Scene, pursuit, rates

from conftest import open_backend

pytestmark = pytest.mark.cuda
SIZE, N = (400, 260), 150
SMALL, LARGE, VAST = 1 << 10, 1 << 13, 400 * 260  # pixels of boxes at most: csrc/pursuit.cu


class CardScene(Scene):
    """The same task for the card, with Gaussians of every size."""

    def __init__(self, seed: int, n: int = N) -> None:
        super().__init__(np.random.default_rng(seed), n, SIZE, largest=12)
        card = open_backend("cuda")(*SIZE)
        self.batch, self.on_card = card.batch, card.target(self.picture, self.weight)

    def spread(self) -> list[int]:
        """How many Gaussians are small, large and vast."""
        p = self.arrays.values()
        half = 3 * np.stack([np.abs(p[:, 2]), np.hypot(p[:, 3], p[:, 4])], axis=1)
        low = np.clip(p[:, :2] - half, 0, SIZE)
        high = np.clip(p[:, :2] + half, 0, SIZE)
        return np.histogram((high - low).prod(axis=1), [0, SMALL, LARGE, VAST])[0].tolist()

    def run_on_card(self, mode: str, lambda_: float, passes: int = 4, deadline_s: float = 0.0):
        from gscodec.rdo.cuda_pursuit import pursue

        tables, costs = (rates.UPDATE_RATES, rates.UPDATE_GROUPS), self.change_costs
        if mode == "iframe":
            tables, costs = (rates.INTRA_RATES, rates.INTRA_GROUPS), None
        effort = pursuit.Effort(passes, deadline_s)
        return pursue(self.batch, self.on_card.pixels.address, self.arrays, *tables, costs, effort, lambda_)


@pytest.fixture(params=MODES)
def mode(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.mark.parametrize("lambda_", [1e-4, 0.02])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_what_it_reports_is_true(mode: str, lambda_: float, seed: int) -> None:
    scene = CardScene(seed)
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


def test_the_core_finds_no_more(mode: str) -> None:
    """The orders differ, so the symbols do; what they are worth must not."""
    lambda_, found = 0.003, []
    for on_card in (True, False):
        scene = CardScene(3)
        before = scene.loss() + lambda_ * scene.bits(mode)
        (scene.run_on_card if on_card else scene.run)(mode, lambda_, 30)
        found.append((scene.loss() + lambda_ * scene.bits(mode)) / before)
    assert found[0] == pytest.approx(found[1], rel=0.15)


def test_vast_gaussians_are_changed_too() -> None:
    scene = CardScene(4)
    scene.run_on_card("pframe", 1e-5, 20)
    p = scene.arrays.values()
    reach = 3 * np.abs(p[:, 2]) * 3 * np.hypot(p[:, 3], p[:, 4])  # a fourth of the box, where it is inside
    changed = (scene.arrays.symbols != scene.arrays.base).any(axis=1)
    assert changed[reach > LARGE].mean() > 0.5


def test_again_is_the_same(mode: str) -> None:
    found = []
    for _ in range(2):
        scene = CardScene(5)
        scene.run_on_card(mode, 0.003)
        found.append(scene.arrays.symbols)
    np.testing.assert_array_equal(*found)


def test_more_vast_ones_than_are_shared(mode: str) -> None:
    """1 100 Gaussians of most of the picture: blocks take them one by one."""
    scene = CardScene(6, 1100)
    scene.arrays.symbols[:, [2, 4]] = scene.arrays.base[:, [2, 4]] = 190
    scene.arrays.symbols[:, 3] = scene.arrays.base[:, 3] = 0
    assert scene.spread()[2] > 1024
    before = scene.loss()
    result = scene.run_on_card(mode, 1e-3, 1)
    assert result.loss == pytest.approx(scene.loss(), rel=2e-3)
    assert result.loss < before


def test_where_bits_are_dear_nothing_changes() -> None:
    scene = CardScene(7)
    result = scene.run_on_card("pframe", 1e6)
    assert result.kept == 0
    np.testing.assert_array_equal(scene.arrays.symbols, scene.arrays.base)


def test_a_deadline_stops_it_soon(mode: str) -> None:
    scene = CardScene(8)
    result = scene.run_on_card(mode, 1e-6, 1000, 1e-6)
    assert result.passes <= 1
    assert result.loss == pytest.approx(scene.loss(), rel=1e-3)


def test_no_gaussians() -> None:
    scene = CardScene(9, 0)
    result = scene.run_on_card("pframe", 0.01)
    assert result.kept == result.tried == 0
    assert result.loss == pytest.approx(result.loss_before)
