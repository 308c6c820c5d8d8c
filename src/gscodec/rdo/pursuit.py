"""Greedy integer updates of a state: which symbols to change so that D + λR falls most (csrc/pursuit.cpp).

P-frames start from the reference and change only what pays for its bits; an I-frame's symbols are polished
the same way after rounding. Rates are those of rdo/rates.py.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from gscodec.rdo import _native
from gscodec.rdo.rates import BIRTH_GROUPS, INTRA_GROUPS, INTRA_RATES, UPDATE_GROUPS, UPDATE_RATES
from gscodec.splat._native import ABSENT_LOG_WEIGHT, MIN_SCALE, Target
from gscodec.splat.cpu.raster import CpuRasterizer
from gscodec.splat.gaussians import LOG_WEIGHT


@dataclass(frozen=True, slots=True)
class SymbolArrays:
    """A state's integers, spelt out: value = symbol·step + offset.

    Attributes:
        symbols: int32 [N, 8 or 9], changed in place. base: int32, what the rate is counted from.
        step, offset: float64. low, high: int32, bounds of the symbols. All as wide as the blend has it.
        is_room: bool [N], where the target has a matte.
    """

    symbols: np.ndarray
    base: np.ndarray
    step: np.ndarray
    offset: np.ndarray
    low: np.ndarray
    high: np.ndarray
    is_room: np.ndarray | None = None

    def values(self) -> np.ndarray:
        """What the symbols stand for, rounded as coding.quantize.dequantize does it: float32 [N, 8]."""
        found = (self.symbols * self.step + self.offset).astype(np.float32)
        found[:, [2, 4]] = np.maximum(found[:, [2, 4]], np.float32(MIN_SCALE))
        if found.shape[1] > LOG_WEIGHT:
            found[self.symbols[:, LOG_WEIGHT] <= self.low[:, LOG_WEIGHT], LOG_WEIGHT] = ABSENT_LOG_WEIGHT
        return found


@dataclass(frozen=True, slots=True)
class Effort:
    """How long a pursuit may go on: passes over everything that was touched, and seconds (0: no limit)."""

    passes: int
    deadline_s: float = 0.0


def polish_iframe(
    raster: CpuRasterizer, target: Target, arrays: SymbolArrays, effort: Effort, lambda_: float
) -> _native.PursuitResult:
    """Improve an I-frame's rounded symbols in place; `arrays.base` is what each symbol is predicted to be."""
    return _pursue(raster, target, arrays, INTRA_RATES, INTRA_GROUPS, None, effort, lambda_)


def polish_births(
    raster: CpuRasterizer,
    target: Target,
    arrays: SymbolArrays,
    effort: Effort,
    lambda_: float,
    others: np.ndarray | None = None,
    others_room: np.ndarray | None = None,
) -> _native.PursuitResult:
    """Improve births in place; one that does not pay for rates.BIRTH_BITS or so turns invisible.

    Args:
        target: the picture, or under the sum what those alive leave of it.
        others, others_room: params of those alive, and whose they are, where the target is the picture.
    """
    return _pursue(
        raster, target, arrays, INTRA_RATES, BIRTH_GROUPS, None, effort, lambda_, others, others_room
    )


def update_pframe(
    raster: CpuRasterizer,
    target: Target,
    arrays: SymbolArrays,
    change_costs: np.ndarray,
    effort: Effort,
    lambda_: float,
) -> _native.PursuitResult:
    """Change the reference's symbols (`arrays.base`) in place where it pays.

    Args:
        change_costs: bits of saying that a Gaussian changes, float32 [N].
        lambda_: Σ weight·d² that one bit must buy.
    """
    return _pursue(raster, target, arrays, UPDATE_RATES, UPDATE_GROUPS, change_costs, effort, lambda_)


def _pursue(
    raster: CpuRasterizer,
    target: Target,
    arrays: SymbolArrays,
    rates: np.ndarray,
    groups: np.ndarray,
    first: np.ndarray | None,
    effort: Effort,
    lambda_: float,
    others: np.ndarray | None = None,
    others_room: np.ndarray | None = None,
) -> _native.PursuitResult:
    n_params = arrays.symbols.shape[1]
    rates, groups = rates[:n_params], np.ascontiguousarray(groups[:, : 5 if n_params > LOG_WEIGHT else 4])
    options = _native.PursuitOptions()
    options.passes = effort.passes
    options.deadline_s = effort.deadline_s
    options.lambda_ = lambda_
    a = arrays
    return _native.pursue(
        raster.tiled,
        target,
        a.symbols,
        a.base,
        a.step,
        a.offset,
        a.low,
        a.high,
        others,
        rates,
        groups,
        first,
        options,
        a.is_room,
        others_room,
    )
