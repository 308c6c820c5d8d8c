"""Greedy integer updates of a state: which symbols to change so that D + λR falls most (csrc/pursuit.cpp).

P-frames start from the reference and change only what pays for its bits; an I-frame's symbols are polished
the same way after rounding. The rates are averages of what the adaptive coder spends (docs/bits.md, "Rates").
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from gscodec.splat import _native
from gscodec.splat.raster_cpu import CpuRasterizer


@dataclass(frozen=True, slots=True)
class SymbolArrays:
    """A state's integers, spelt out: value = symbol·step + offset.

    Attributes:
        symbols: int32 [N, 8], changed in place. base: int32 [N, 8], what the rate is counted from.
        step, offset: float64 [N, 8]. low, high: int32 [N, 8], bounds of the symbols.
    """

    symbols: np.ndarray
    base: np.ndarray
    step: np.ndarray
    offset: np.ndarray
    low: np.ndarray
    high: np.ndarray

    def values(self) -> np.ndarray:
        """What the symbols stand for, rounded as coding.quantize.dequantize does it: float32 [N, 8]."""
        found = (self.symbols * self.step + self.offset).astype(np.float32)
        found[:, [2, 4]] = np.maximum(found[:, [2, 4]], np.float32(_native.MIN_SCALE))
        return found


@dataclass(frozen=True, slots=True)
class Effort:
    """How long a pursuit may go on: passes over everything that was touched, and seconds (0: no limit)."""

    passes: int
    deadline_s: float = 0.0


_DISTANCE = np.arange(_native.RATE_ENTRIES)


def _table(zero: float, one: float, per_octave: float) -> np.ndarray:
    return np.where(_DISTANCE == 0, zero, one + per_octave * np.log2(np.maximum(_DISTANCE, 1)))


# A changed attribute of a group that is coded: bits of distance 0, 1, and more per doubling.
UPDATE_RATES = np.stack(
    [
        *[_table(2.0, 2.1, 1.9)] * 2,
        *[_table(1.6, 2.4, 1.9)] * 3,
        _table(0.0, 2.0, 1.7),
        *[_table(1.5, 1.9, 3.6)] * 2,
    ]
).astype(np.float32)
UPDATE_GROUPS = np.array([[0.3, 0.3, 0.6, 1.6], [2.0, 2.2, 1.3, 0.5]], np.float32)  # changed, unchanged
# An I-frame's symbols: what matters is how much more a larger distance from the prediction costs.
INTRA_RATES = np.stack([*[np.zeros(_native.RATE_ENTRIES)] * 2, *[1.5 * np.log2(1.0 + _DISTANCE)] * 6]).astype(
    np.float32
)
INTRA_GROUPS = np.array([[11.0, 5.0, 1.5, 2.0], [0.0, 0.0, 0.0, 0.0]], np.float32)
TYPICAL_INTRA_BITS = 27.5  # of a Gaussian under these


def polish_iframe(
    raster: CpuRasterizer, target: _native.Target, arrays: SymbolArrays, effort: Effort, lambda_: float
) -> _native.PursuitResult:
    """Improve an I-frame's rounded symbols in place; `arrays.base` is what each symbol is predicted to be."""
    return _pursue(raster, target, arrays, INTRA_RATES, INTRA_GROUPS, None, effort, lambda_)


def polish_newborn(
    raster: CpuRasterizer,
    target: _native.Target,
    arrays: SymbolArrays,
    effort: Effort,
    lambda_: float,
    bits: float,
) -> _native.PursuitResult:
    """Improve newborns in place; one that does not pay for about `bits` turns invisible.

    Args:
        target: what those alive leave of the picture.
    """
    groups = INTRA_GROUPS.copy()
    groups[0, 0] += max(0.0, bits - TYPICAL_INTRA_BITS)
    return _pursue(raster, target, arrays, INTRA_RATES, groups, None, effort, lambda_)


def update_pframe(
    raster: CpuRasterizer,
    target: _native.Target,
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
    target: _native.Target,
    arrays: SymbolArrays,
    rates: np.ndarray,
    groups: np.ndarray,
    first: np.ndarray | None,
    effort: Effort,
    lambda_: float,
) -> _native.PursuitResult:
    options = _native.PursuitOptions()
    options.passes = effort.passes
    options.deadline_s = effort.deadline_s
    options.lambda_ = lambda_
    a = arrays
    return raster.canvas.pursue(
        target, a.symbols, a.base, a.step, a.offset, a.low, a.high, rates, groups, first, options
    )
