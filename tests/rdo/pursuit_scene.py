"""A pursuit's task whose answer can be checked: Gaussians on a grid of symbols, a picture, the rate model."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scenes import random_gaussians

rates = pytest.importorskip("gscodec.rdo.rates", reason="no native core", exc_type=ImportError)
pursuit = pytest.importorskip("gscodec.rdo.pursuit", reason="no native core", exc_type=ImportError)
raster_cpu = pytest.importorskip("gscodec.splat.cpu.raster", reason="no native core", exc_type=ImportError)

WIDTH, HEIGHT, N = 40, 32, 24
RATE_ENTRIES = rates.UPDATE_RATES.shape[1]
GROUP_OF = (0, 0, 1, 1, 1, 2, 3, 3, 4)
KINDS = ("sum", "normalised", "matted")  # matted: normalised, and a target with a matte
MATTE_WEIGHT = 0.05
MODES = ("iframe", "pframe")


class Scene:
    """Gaussians on a grid of symbols, and a picture of others to reach."""

    def __init__(
        self,
        rng: np.random.Generator,
        n: int = N,
        size: tuple[int, int] = (WIDTH, HEIGHT),
        largest: float = 1.0,
        kind: str = "sum",
    ) -> None:
        """`largest`: some of them are that many times larger than random_gaussians makes them."""
        is_sum = kind == "sum"
        self.raster = raster_cpu.CpuRasterizer(*size, blend="sum" if is_sum else "normalised")
        n_params = 8 if is_sum else 9
        params = random_gaussians(rng, n, *size)
        if largest > 1:
            params[:, 2:5] *= np.exp(rng.uniform(0, np.log(largest), (n, 1)))
        params[:, 5:] *= 0.3
        if not is_sum:
            params = np.hstack((params, rng.uniform(-3, 3, (n, 1)))).astype(np.float32)
        step = np.array([0.5, 0.5, 0.3, 0.4, 0.3, 0.05, 0.05, 0.05, 0.5])[:n_params] * np.ones((n, 1))
        step[::3] *= 0.7
        offset = np.array([0.25, 0.25, 0, 0, 0, 0, 0, 0, 0])[:n_params] * np.ones((n, 1))
        symbols = np.rint((params - offset) / step).astype(np.int32)
        low = np.full((n, n_params), -200, np.int32)
        low[:, :2], low[:, [2, 4]], low[:, 8:] = 0, 1, -16
        high = np.full((n, n_params), 200, np.int32)
        high[:, 8:] = 15
        symbols = np.clip(symbols, low, high)
        self.is_room = np.zeros(n, bool) if is_sum else rng.random(n) < 0.5
        self.arrays = pursuit.SymbolArrays(symbols, symbols.copy(), step, offset, low, high, self.is_room)
        spread = np.array([0.7, 0.7, 0.4, 0.4, 0.4, 0.1, 0.05, 0.05, 0.3])[:n_params]
        wanted = params + rng.normal(0, 1, params.shape) * spread
        wanted[:, [2, 4]] = np.maximum(wanted[:, [2, 4]], 0.6)
        self.picture = self.raster.render(wanted.astype(np.float32))
        self.weight = rng.choice([0.05, 1.0], size[::-1]).astype(np.float32)
        ramp = np.clip(np.linspace(-1, 2, size[0]), 0, 1).astype(np.float32)
        matte = np.tile(ramp, (size[1], 1))
        self.matte_term = (matte, MATTE_WEIGHT) if kind == "matted" else ()
        self.target = self.raster.target(self.picture, self.weight, *self.matte_term)
        self.change_costs = rng.uniform(2, 9, n).astype(np.float32)

    def loss(self, symbols: np.ndarray | None = None) -> float:
        """Σ weight·d² of a fresh drawing, and the matte's, in float64."""
        a = self.arrays
        params = replace(a, symbols=a.symbols if symbols is None else symbols).values()
        difference = self.raster.render(params).astype(np.float64) - self.picture
        found = float((self.weight[..., None] * difference**2).sum())
        if self.matte_term:
            everyone = self.raster.tiled.weights(params)
            person = self.raster.tiled.weights(np.ascontiguousarray(params[~self.is_room]))
            found += MATTE_WEIGHT * float(((person / (everyone + 1e-4) - self.matte_term[0]) ** 2).sum())
        return found

    def bits(self, mode: str, symbols: np.ndarray | None = None) -> float:
        """The rate model, one Gaussian and one symbol at a time."""
        a = self.arrays
        table = rates.UPDATE_RATES if mode == "pframe" else rates.INTRA_RATES
        on, off = rates.UPDATE_GROUPS if mode == "pframe" else rates.INTRA_GROUPS
        total = 0.0
        for i, s in enumerate(a.symbols if symbols is None else symbols):
            distance = np.abs(s - a.base[i])
            moved = {GROUP_OF[j] for j in range(len(s)) if distance[j]}
            if mode == "iframe" and not (s[5:].any() if len(s) == 8 else s[8] > a.low[i, 8]):
                continue
            if mode == "pframe" and not moved:
                continue
            total += float(self.change_costs[i]) if mode == "pframe" else 0.0
            for group in range(GROUP_OF[len(s) - 1] + 1):
                if mode == "iframe" or group in moved:
                    total += float(on[group])
                    columns = [j for j in range(len(s)) if GROUP_OF[j] == group]
                    total += sum(cost(table[j], int(distance[j])) for j in columns)
                else:
                    total += float(off[group])
        return total

    def run(self, mode: str, lambda_: float, passes: int = 4):
        effort = pursuit.Effort(passes)
        if mode == "iframe":
            return pursuit.polish_iframe(self.raster, self.target, self.arrays, effort, lambda_)
        return pursuit.update_pframe(
            self.raster, self.target, self.arrays, self.change_costs, effort, lambda_
        )


def cost(table: np.ndarray, distance: int) -> float:
    if distance < RATE_ENTRIES:
        return float(table[distance])
    slope = float(table[-1]) - float(table[-2])
    return float(table[-1]) + slope * (distance - RATE_ENTRIES + 1)
