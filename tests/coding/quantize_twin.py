"""dequantize and affine_arrays of coding/quantize.py once more, attribute by attribute, as defined."""

from __future__ import annotations

import numpy as np

from gscodec.coding.quantize import (
    COLOR,
    L1,
    L2,
    L3,
    MARGIN,
    MAX_SYMBOL,
    MEAN,
    State,
    color_steps,
    geometry_steps,
    mean_log2_steps,
)

MIN_SCALE = 0.3


def dequantize(state: State) -> np.ndarray:
    s = state.symbols.astype(np.float64)
    out = np.empty_like(s)
    step = np.ldexp(1.0, mean_log2_steps(state.size_class, state.energy_class))[:, None]
    out[:, MEAN] = (s[:, MEAN] + 0.5) * step - MARGIN + state.drift / 256
    scale, shear = geometry_steps(state.size_class, state.energy_class)
    out[:, L1] = np.maximum(s[:, L1] * scale, MIN_SCALE)
    out[:, L2] = s[:, L2] * shear
    out[:, L3] = np.maximum(s[:, L3] * scale, MIN_SCALE)
    out[:, COLOR] = s[:, COLOR] * color_steps(state.size_class, state.quality)[:, None]
    return out.astype(np.float32)


def affine_arrays(
    state: State, size: tuple[int, int]
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    shape = len(state), 8
    log2_step = mean_log2_steps(state.size_class, state.energy_class)
    scale, shear = geometry_steps(state.size_class, state.energy_class)
    mean, color = np.ldexp(1.0, log2_step), color_steps(state.size_class, state.quality)
    step = np.stack([mean, mean, scale, shear, scale, color, color, color], axis=1)
    offset = np.zeros(shape)
    offset[:, MEAN] = (0.5 * mean - MARGIN)[:, None] + state.drift / 256
    low, high = np.full(shape, -MAX_SYMBOL, np.int32), np.full(shape, MAX_SYMBOL, np.int32)
    low[:, MEAN] = 0
    high[:, MEAN] = np.ceil(np.ldexp(np.array(size) + 2.0 * MARGIN, -log2_step[:, None])) - 1
    low[:, [L1, L3]] = 1
    return step, offset, low, high
