"""The pursuit's rate tables: that they say something, and that what they say changes what is chosen."""

from __future__ import annotations

import numpy as np
import pytest
from pursuit_scene import Scene, pursuit

LAMBDA = 0.004
TABLES = {"pframe": "UPDATE_RATES", "iframe": "INTRA_RATES"}


def chosen(mode: str, seed: int) -> np.ndarray:
    scene = Scene(np.random.default_rng(seed))
    scene.run(mode, LAMBDA)
    return scene.arrays.symbols - scene.arrays.base


@pytest.mark.parametrize("mode", TABLES)
def test_farther_costs_more(mode: str) -> None:
    rates = getattr(pursuit, TABLES[mode])
    for table in rates[2:]:
        assert (np.diff(table[1:]) > 0).all()
        assert 1.0 < table[16] - table[4] < 16  # two doublings of the distance
    if mode == "pframe":
        assert (rates[:, 1] > rates[:, 0]).all()
        assert (rates[:, 2] > rates[:, 1]).all()


@pytest.mark.parametrize("mode", TABLES)
def test_the_table_changes_what_is_chosen(mode: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where every distance costs the same, symbols go farther."""
    with_table = [chosen(mode, seed) for seed in range(5)]
    rates = getattr(pursuit, TABLES[mode])
    monkeypatch.setattr(pursuit, TABLES[mode], np.repeat(rates[:, 1:2], rates.shape[1], axis=1))
    flat = [chosen(mode, seed) for seed in range(5)]
    distances = [sum(np.abs(d[:, 2:]).sum() for d in run) for run in (with_table, flat)]
    assert distances[0] < 0.97 * distances[1]
