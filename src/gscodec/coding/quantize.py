"""Gaussians <-> integer symbols. The symbols are the state of a stream: what both ends agree on, bit for bit.

Every Gaussian carries two classes, chosen once when it is born and sent with it; they fix its steps:

    size class k     √(l1·l3) ≈ BASE_SIZE·2^(k/2)       colour step ∝ 1/size
    energy class e   |colour| ≈ step·2^(e/2)            geometry steps ∝ size·2^(−e/2) ∝ 1/|colour|

That is where a step of any attribute costs the same squared error (docs/bits.md, "Steps"),
so one number, the quality, scales them all. Specified in docs/bitstream.md, "Quantisation".
Dequantisation is one multiplication and at most one addition per value in float64, rounded once to float32.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cache

import numpy as np

from gscodec.coding import _native
from gscodec.splat.gaussians import COLOR, LOG_WEIGHT, MEAN, N_PARAMS, opponent_from_rgb

BASE_SIZE = 0.25  # pixels, of size class 0
MAX_SIZE_CLASS = 28
MAX_ENERGY_CLASS = 24
MAX_SYMBOL = (1 << 20) - 1
MARGIN = 64  # pixels a mean may lie outside the picture
CELL_LOG2 = 3  # means are ordered by cells of 8 x 8 pixels
MIN_MEAN_LOG2 = -4  # finest step of a mean: 1/16 pixel
MIN_SCALE: float = _native.MIN_SCALE  # pixels; the rasteriser's
NO_WEIGHT: int = _native.NO_WEIGHT  # symbol of the log-weight of a Gaussian that is not there
HIGH_WEIGHT: int = _native.HIGH_WEIGHT

# Calibrated by tools/tune_steps.py; docs/bits.md, "Steps".
COLOR_STEP = 0.14  # of a Gaussian of size 1 pixel at quality 1, opponent units
MEAN_STEP = 1.4  # all three: shares of size·2^(−e/2)
SCALE_STEP = 1.5
SHEAR_STEP = 2.5
WEIGHT_STEP = 0.7  # octaves, of a log-weight

MEAN_X, MEAN_Y, L1, L2, L3, COLOR_0, COLOR_1, COLOR_2, WEIGHT = range(N_PARAMS + 1)


@dataclass(slots=True)
class State:
    """The integers of every live Gaussian, in the canonical order both ends share.

    Attributes:
        symbols: int32 [N, 8], columns as Gaussians.params; [N, 9] under the normalised blend.
        size_class, energy_class: int32 [N].
        is_room: bool [N].
        quality: factor on every colour step, and through the energy class on all others.
        drift: int32 [N, 2], 1/256 pixel: how far motions finer than its step have moved a mean from its
            symbols, at most half a step; where nothing is given, all zero.
        ground: R'G'B' uint8 [3]: what colours are counted from under the normalised blend; else black.
    """

    symbols: np.ndarray
    size_class: np.ndarray
    energy_class: np.ndarray
    is_room: np.ndarray
    quality: float
    drift: np.ndarray = field(default_factory=lambda: np.zeros((0, 2), np.int32))
    ground: np.ndarray = field(default_factory=lambda: np.zeros(3, np.uint8))

    def __post_init__(self) -> None:
        if len(self.drift) == 0:
            self.drift = np.zeros((len(self.symbols), 2), np.int32)

    def __len__(self) -> int:
        return len(self.symbols)

    def copy(self) -> State:
        return State(
            self.symbols.copy(),
            self.size_class.copy(),
            self.energy_class.copy(),
            self.is_room.copy(),
            self.quality,
            self.drift.copy(),
            self.ground,
        )

    @property
    def is_normalised(self) -> bool:
        """Whether its Gaussians have log-weights: the normalised blend's."""
        return self.symbols.shape[1] > WEIGHT

    @property
    def is_visible(self) -> np.ndarray:  # -> [N]
        """Which Gaussians show at all; others cost bits for nothing."""
        if self.is_normalised:
            return np.asarray(self.symbols[:, WEIGHT] > NO_WEIGHT)
        return np.asarray(self.symbols[:, COLOR].any(axis=1))


def _half_powers(exponents: np.ndarray) -> np.ndarray:
    """2^(n/2) for integer n, float64: exact powers of two times one constant, the same on every machine."""
    return np.ldexp(np.where(exponents % 2 == 0, 1.0, 1.4142135623730951), exponents // 2)


def color_steps(size_class: np.ndarray, quality: float) -> np.ndarray:  # [N] -> [N]
    """Colour step of each Gaussian, opponent units, float64."""
    return COLOR_STEP * quality / BASE_SIZE * _half_powers(-size_class)


def mean_log2_steps(size_class: np.ndarray, energy_class: np.ndarray) -> np.ndarray:  # [N] -> [N]
    """log2 of the step of each mean, pixels, int32: powers of two, so that all grids nest in the cells."""
    # floor(log2(MEAN_STEP·BASE_SIZE·2^((k−e)/2)) + ½), in integers: MEAN_STEP·BASE_SIZE is about 2^(−3/2)
    return np.clip((size_class - energy_class - 2) >> 1, MIN_MEAN_LOG2, CELL_LOG2).astype(np.int32)


def geometry_steps(size_class: np.ndarray, energy_class: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Steps of l1 and l3, and of l2, pixels, float64 [N] each."""
    unit = BASE_SIZE * _half_powers(size_class - energy_class)
    return SCALE_STEP * unit, SHEAR_STEP * unit


def ground_color(state: State) -> np.ndarray:  # -> [3]
    """What the state's colours are counted from, opponent units, float32."""
    return opponent_from_rgb(state.ground)


def classify(
    params: np.ndarray, quality: float, contrast: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:  # [N, 8] -> [N], [N]
    """Size and energy class of Gaussians about to be born.

    Args:
        contrast: how far the colour of each is from what it takes the place of, opponent units [N];
            None: from nothing, as under the sum.
    """
    p = params.astype(np.float64)
    size = np.sqrt(p[:, L1] * p[:, L3])
    k = np.clip(np.rint(2 * np.log2(size / BASE_SIZE)), 0, MAX_SIZE_CLASS).astype(np.int32)
    norm = (np.linalg.norm(p[:, COLOR], axis=1) if contrast is None else contrast) / color_steps(k, quality)
    e = np.clip(np.rint(2 * np.log2(np.maximum(norm, 1.0))), 0, MAX_ENERGY_CLASS).astype(np.int32)
    return k, e


def quantize_geometry(
    params: np.ndarray, state: State, rows: np.ndarray | slice, limits: tuple[int, int]
) -> None:
    """Round means and Cholesky factors of `params[rows]` into `state.symbols[rows]`.

    Args:
        limits: width and height of the picture, pixels: means are kept within MARGIN of it.
    """
    k, e = state.size_class[rows], state.energy_class[rows]
    p = params[rows].astype(np.float64)
    log2_step = mean_log2_steps(k, e)
    top = (np.array(limits) + 2 * MARGIN)[None] * np.ldexp(1.0, -log2_step)[:, None]
    means = np.floor(np.ldexp(p[:, MEAN] + MARGIN, -log2_step[:, None]))
    state.symbols[rows, MEAN_X:L1] = np.clip(means, 0, np.ceil(top) - 1)
    scale, shear = geometry_steps(k, e)
    state.symbols[rows, L1] = np.clip(np.rint(p[:, L1] / scale), 1, MAX_SYMBOL)
    state.symbols[rows, L2] = np.clip(np.rint(p[:, L2] / shear), -MAX_SYMBOL, MAX_SYMBOL)
    state.symbols[rows, L3] = np.clip(np.rint(p[:, L3] / scale), 1, MAX_SYMBOL)


def quantize_colors(params: np.ndarray, state: State, rows: np.ndarray | slice) -> None:
    """Round the colours of `params[rows]` into `state.symbols[rows]`."""
    step = color_steps(state.size_class[rows], state.quality)[:, None]
    state.symbols[rows, COLOR] = np.clip(np.rint(params[rows, COLOR] / step), -MAX_SYMBOL, MAX_SYMBOL)


def quantize_weights(params: np.ndarray, state: State, rows: np.ndarray | slice) -> None:
    """Round the log-weights of `params[rows]` into `state.symbols[rows]`; none of them vanishes."""
    found = np.rint(params[rows, LOG_WEIGHT] / WEIGHT_STEP)
    state.symbols[rows, WEIGHT] = np.clip(found, NO_WEIGHT + 1, HIGH_WEIGHT)


@cache
def step_table(is_normalised: bool = False) -> np.ndarray:
    """Steps of all symbols by class, float64 [(MAX_SIZE_CLASS + 1)·(MAX_ENERGY_CLASS + 1), 8 or 9].

    The colours' are those at which a Gaussian of size class 0 has 1.
    """
    k, e = np.mgrid[: MAX_SIZE_CLASS + 1, : MAX_ENERGY_CLASS + 1].astype(np.int32).reshape(2, -1)
    mean, color = np.ldexp(1.0, mean_log2_steps(k, e)), _half_powers(-k)
    scale, shear = geometry_steps(k, e)
    weight = [np.full(len(k), WEIGHT_STEP)] if is_normalised else []
    return np.stack([mean, mean, scale, shear, scale, color, color, color, *weight], axis=1)


def dequantize(state: State) -> np.ndarray:  # -> [N, 8] or [N, 9]
    """Parameters of the state, float32: identical on every machine."""
    color = COLOR_STEP * state.quality / BASE_SIZE
    classes = state.size_class, state.energy_class
    table = step_table(state.is_normalised)
    return _native.dequantize(table, state.symbols, state.drift, *classes, color)


def cells(state: State) -> np.ndarray:  # -> [N]
    """Morton number of the cell each mean lies in, int64: the first key of the canonical order."""
    shift = CELL_LOG2 - mean_log2_steps(state.size_class, state.energy_class)
    x = (state.symbols[:, MEAN_X] >> shift).astype(np.int64)
    y = (state.symbols[:, MEAN_Y] >> shift).astype(np.int64)
    return _spread(x) | _spread(y) << 1


def cell_position(morton: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Column and row of cells from their Morton numbers."""
    return _gather(morton), _gather(morton >> 1)


def canonical_order(state: State) -> np.ndarray:  # -> [N]
    """Indices that sort the state: by cell, then by everything else, so that equal sets give equal files."""
    keys = [state.symbols[:, i] for i in range(state.symbols.shape[1] - 1, -1, -1)]
    return np.lexsort([state.is_room, *keys, state.energy_class, state.size_class, cells(state)])


def take(state: State, order: np.ndarray) -> State:
    """The Gaussians at `order`, in that order."""
    return State(
        state.symbols[order],
        state.size_class[order],
        state.energy_class[order],
        state.is_room[order],
        state.quality,
        state.drift[order],
        state.ground,
    )


def append(state: State, others: State) -> State:
    """The Gaussians of both, those of `others` behind."""

    def joined(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        return np.concatenate([a, b])

    return State(
        joined(state.symbols, others.symbols),
        joined(state.size_class, others.size_class),
        joined(state.energy_class, others.energy_class),
        joined(state.is_room, others.is_room),
        state.quality,
        joined(state.drift, others.drift),
        state.ground,
    )


def _spread(x: np.ndarray) -> np.ndarray:
    """Put a zero bit between the low 16 bits of x."""
    x = (x | x << 8) & 0x00FF00FF
    x = (x | x << 4) & 0x0F0F0F0F
    x = (x | x << 2) & 0x33333333
    return (x | x << 1) & 0x55555555


def _gather(x: np.ndarray) -> np.ndarray:
    """Undo `_spread`."""
    x = x & 0x55555555
    x = (x | x >> 1) & 0x33333333
    x = (x | x >> 2) & 0x0F0F0F0F
    x = (x | x >> 4) & 0x00FF00FF
    return (x | x >> 8) & 0x0000FFFF


def affine_arrays(
    state: State, size: tuple[int, int]
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """What turns symbols into values, and their bounds, spelt out per symbol for the native core.

    Args:
        size: width and height of the picture, pixels.
    Returns:
        step and offset, float64 as wide as symbols, with value = symbol·step + offset; lowest and
        highest symbol, int32.
    """
    color = COLOR_STEP * state.quality / BASE_SIZE
    return _native.affine(
        step_table(state.is_normalised), state.drift, state.size_class, state.energy_class, color, *size
    )
