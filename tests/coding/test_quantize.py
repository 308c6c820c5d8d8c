"""Symbols and parameters: exact, canonical, within bounds, and as docs/bitstream.md says."""

from __future__ import annotations

import hashlib
import math
from fractions import Fraction

import numpy as np
import pytest
import quantize_twin
from adaptive_twin import clamp
from adaptive_twin_frames import luma, morton, round_scale, round_sq

from coding_states import SIZE, assert_same, extreme_state, random_state
from gscodec.coding import frames
from gscodec.coding.quantize import (
    MARGIN,
    MAX_ENERGY_CLASS,
    MAX_SIZE_CLASS,
    MAX_SYMBOL,
    NO_WEIGHT,
    WEIGHT,
    State,
    affine_arrays,
    canonical_order,
    cell_position,
    cells,
    classify,
    color_steps,
    dequantize,
    geometry_steps,
    mean_log2_steps,
    quantize_colors,
    quantize_geometry,
    take,
)
from gscodec.errors import CorruptError

# Of dequantize(grid_state()): every machine and every version 1 must give it.
GOLDEN = "fcb6ef76ca080381"


def grid_state() -> State:
    """All pairs of classes, symbols by a rule."""
    k, e = (a.ravel().astype(np.int32) for a in np.mgrid[: MAX_SIZE_CLASS + 1, : MAX_ENERGY_CLASS + 1])
    n = np.arange(len(k))[:, None]
    symbols = ((n * 7919 + np.arange(8) * 104729) % 4001 - 2000).astype(np.int32)
    symbols[:, :2] = np.abs(symbols[:, :2]) % 32
    symbols[:, [2, 4]] = np.abs(symbols[:, [2, 4]]) % 60 + 1
    return State(symbols, k, e, n[:, 0] % 3 == 0, 307 / 256)


def random_params(rng: np.random.Generator, n: int, size: tuple[int, int] = SIZE) -> np.ndarray:
    mean = rng.uniform(-20, np.array(size) + 20, (n, 2))
    shape = np.stack([rng.uniform(0.4, 20, n), rng.normal(0, 5, n), rng.uniform(0.4, 20, n)], 1)
    return np.concatenate([mean, shape, rng.normal(0, 0.5, (n, 3))], 1).astype(np.float32)


def quantized(params: np.ndarray, quality: float) -> State:
    k, e = classify(params, quality)
    state = State(np.zeros(params.shape, np.int32), k, e, np.zeros(len(params), bool), quality)
    quantize_geometry(params, state, slice(None), SIZE)
    quantize_colors(params, state, slice(None))
    return state


def test_parameters_are_bit_exact() -> None:
    params = dequantize(grid_state())
    assert params.dtype == np.float32
    assert hashlib.sha256(params.astype("<f4").tobytes()).hexdigest()[:16] == GOLDEN


def test_parameters_are_the_documents() -> None:
    """The formulas of "Quantisation", one number at a time."""
    state = grid_state()
    got = dequantize(state)
    for i in range(0, len(state), 5):
        k, e, s = int(state.size_class[i]), int(state.energy_class[i]), [int(x) for x in state.symbols[i]]

        def h(n: int) -> float:
            return math.ldexp(1.4142135623730951 if n % 2 else 1.0, n >> 1)

        m, u = clamp((k - e - 2) >> 1, -4, 3), 0.25 * h(k - e)
        color = ((0.14 * state.quality) / 0.25) * h(-k)
        wanted = [
            *(float((s[j] + Fraction(1, 2)) * Fraction(2) ** m - 64) for j in (0, 1)),
            max(s[2] * (1.5 * u), 0.3),
            s[3] * (2.5 * u),
            max(s[4] * (1.5 * u), 0.3),
            *(s[j] * color for j in (5, 6, 7)),
        ]
        np.testing.assert_array_equal(got[i], np.array(wanted, np.float32))


def test_constants_that_predictions_use_agree() -> None:
    """coding.frames, and through the twin csrc/syntax.cpp."""
    for e in range(MAX_ENERGY_CLASS + 1):
        assert frames._ROUND_SQ[e] == round_sq(e)
        assert frames._ROUND[e] == round_scale(e)
        assert frames._LUMA[e] == luma(e)


@pytest.mark.parametrize("quality", [0.3, 1.0, 4.0])
def test_rounding_errs_by_half_a_step(quality: float) -> None:
    params = random_params(np.random.default_rng(1), 500)
    state = quantized(params, quality)
    error = np.abs(dequantize(state).astype(np.float64) - params)
    k, e = state.size_class, state.energy_class
    scale, shear = geometry_steps(k, e)
    slack = 1 + 1e-5
    assert (error[:, :2] <= np.ldexp(0.5, mean_log2_steps(k, e))[:, None] * slack + 1e-5).all()
    unclamped = state.symbols[:, 2] > 1
    assert (error[unclamped, 2] <= 0.5 * scale[unclamped] * slack + 1e-5).all()
    assert (error[:, 3] <= 0.5 * shear * slack + 1e-5).all()
    assert (error[:, 5:] <= 0.5 * color_steps(k, quality)[:, None] * slack).all()


def test_classes_follow_size_and_energy() -> None:
    params = random_params(np.random.default_rng(2), 400)
    k, e = classify(params, 1.0)
    size = np.sqrt(params[:, 2].astype(np.float64) * params[:, 4])
    assert np.abs(2 * np.log2(size / 0.25) - k).max() <= 0.5 + 1e-9
    norm = np.linalg.norm(params[:, 5:].astype(np.float64), axis=1) / color_steps(k, 1.0)
    visible = norm >= 1
    assert np.abs(2 * np.log2(norm[visible]) - e[visible]).max() <= 0.5 + 1e-9
    assert (e[norm < 1] == 0).all()


def test_classes_and_symbols_stay_in_range_whatever_comes() -> None:
    params = random_params(np.random.default_rng(3), 64)
    params[::4, :2] = [[-1e6, 1e6]]
    params[1::4, 2:5] = [[1e5, -1e7, 1e5]]
    params[2::4, 2:5] = [[1e-6, 0, 1e-6]]
    params[3::4, 5:] = [[1e9, -1e9, 0]]
    for quality in (0.05, 20.0):
        state = quantized(params, quality)
        assert 0 <= state.size_class.min() <= state.size_class.max() <= MAX_SIZE_CLASS
        assert 0 <= state.energy_class.min() <= state.energy_class.max() <= MAX_ENERGY_CLASS
        _, _, low, high = affine_arrays(state, SIZE)
        assert (low <= state.symbols).all()
        assert (state.symbols <= high).all()
        assert np.isfinite(dequantize(state)).all()
        means = dequantize(state)[:, :2]
        assert ((means >= -MARGIN) & (means < np.array(SIZE) + MARGIN)).all()


def test_dequantised_parameters_round_to_themselves() -> None:
    state = quantized(random_params(np.random.default_rng(4), 300), 1.0)
    again = state.copy()
    again.symbols[:] = 0
    params = dequantize(state)
    quantize_geometry(params, again, slice(None), SIZE)
    quantize_colors(params, again, slice(None))
    same = (params[:, [2, 4]] > np.float32(quantize_twin.MIN_SCALE)).all(axis=1)  # not clamped
    np.testing.assert_array_equal(again.symbols[same], state.symbols[same])


def test_only_some_rows_can_be_rounded() -> None:
    rng = np.random.default_rng(5)
    state = quantized(random_params(rng, 50), 1.0)
    before, rows = state.copy(), np.array([3, 17, 40], np.uint32)
    params = random_params(rng, 50)
    quantize_geometry(params, state, rows, SIZE)
    quantize_colors(params, state, rows)
    others = np.setdiff1d(np.arange(50), rows)
    np.testing.assert_array_equal(state.symbols[others], before.symbols[others])
    assert (state.symbols[rows] != before.symbols[rows]).any(axis=1).all()


def test_canonical_order_is_unique() -> None:
    rng = np.random.default_rng(6)
    state = random_state(rng, 300)
    doubled = take(state, np.repeat(np.arange(300), 2))
    doubled.is_room[::2] ^= True  # twins that differ in nothing else
    by_one_symbol = []  # at random no two share cell and classes, and only such need the symbols
    for column in range(8):
        twins = take(state, np.repeat(np.arange(300), 2))
        twins.symbols[::2, column] ^= 1
        by_one_symbol.append(twins)
    for s in (state, doubled, *by_one_symbol):
        ordered = take(s, canonical_order(s))
        shuffled = take(s, rng.permutation(len(s)))
        assert_same(take(shuffled, canonical_order(shuffled)), ordered)


def test_cells_are_the_documents() -> None:
    state = extreme_state(np.random.default_rng(8), 200)
    numbers = cells(state)
    shift = 3 - mean_log2_steps(state.size_class, state.energy_class)
    x, y = state.symbols[:, 0] >> shift, state.symbols[:, 1] >> shift
    assert [morton((int(a), int(b))) for a, b in zip(x, y, strict=True)] == numbers.tolist()
    np.testing.assert_array_equal(cell_position(numbers), (x, y))
    means = dequantize(state)[:, :2]
    np.testing.assert_array_equal(np.floor((means + MARGIN) / 8).astype(int), np.stack([x, y], 1))


@pytest.mark.parametrize("make", [random_state, extreme_state])
@pytest.mark.parametrize("quality", [1.0, 307 / 256, 13 / 256])
def test_native_equals_twin(make, quality: float) -> None:
    state = make(np.random.default_rng(11), 400)
    state.quality = quality
    k, e = np.mgrid[: MAX_SIZE_CLASS + 1, : MAX_ENERGY_CLASS + 1].reshape(2, -1).astype(np.int32)
    every = State(np.ones((len(k), 8), np.int32), k, e, np.zeros(len(k), bool), quality)
    for s in (state, every):
        assert dequantize(s).tobytes() == quantize_twin.dequantize(s).tobytes()
        pairs = zip(affine_arrays(s, SIZE), quantize_twin.affine_arrays(s, SIZE), strict=True)
        for native, twin in pairs:
            assert native.dtype == twin.dtype
            np.testing.assert_array_equal(native, twin)


def test_native_checks_classes_and_lengths() -> None:
    state = grid_state()
    state.size_class[0] = MAX_SIZE_CLASS + 1
    for use in (dequantize, lambda s: affine_arrays(s, SIZE)):
        with pytest.raises(ValueError, match="leaves its range"):
            use(state)
    state = grid_state()
    state.energy_class = state.energy_class[1:]
    for use in (dequantize, lambda s: affine_arrays(s, SIZE)):
        with pytest.raises(ValueError, match="another length"):
            use(state)


@pytest.mark.parametrize("make", [random_state, extreme_state])
def test_affine_arrays_agree_with_dequantize(make) -> None:
    state = make(np.random.default_rng(9), 300)
    state.quality = 307 / 256
    step, offset, low, high = affine_arrays(state, SIZE)
    for symbols in (
        low,
        high,
        state.symbols,
        (low.astype(np.int64) + high) // 2,
        np.clip(state.symbols + 1, low, high),
    ):
        state.symbols = symbols.astype(np.int32)
        values = (symbols * step + offset).astype(np.float32)
        values[:, [2, 4]] = np.maximum(values[:, [2, 4]], np.float32(quantize_twin.MIN_SCALE))
        np.testing.assert_array_equal(values, dequantize(state))
    assert step.dtype == offset.dtype == np.float64
    assert low.dtype == high.dtype == np.int32
    assert high[:, 2:].max() == MAX_SYMBOL


def test_bounds_of_means_are_what_a_frame_may_hold() -> None:
    """The highest symbol passes the decoder's check and the next one does not."""
    for size in ((1, 1), (33, 27), SIZE):
        state = random_state(np.random.default_rng(10), 60, size=size)
        *_, high = affine_arrays(state, size)
        for axis in (0, 1):
            state.symbols[:, axis] = high[:, axis]
        frames._check(state, size)
        for axis in (0, 1):
            beyond = state.copy()
            beyond.symbols[:, axis] += 1
            for i in range(len(state)):
                with pytest.raises(CorruptError):
                    frames._check(take(beyond, np.array([i])), size)


def test_a_copy_shares_nothing() -> None:
    state = grid_state()
    copy = state.copy()
    for name in ("symbols", "size_class", "energy_class", "is_room"):
        assert not np.shares_memory(getattr(state, name), getattr(copy, name))
    assert_same(state, copy)


def test_who_is_absent_and_who_is_smallest_is_what_drawing_says():
    """coding knows no splat, so it has the two constants again (csrc/quantize.h)."""
    native = pytest.importorskip("gscodec.splat._native")
    state = random_state(np.random.default_rng(0), 20, n_symbols=9)
    state.symbols[:, [2, 4]] = 0
    state.symbols[:, WEIGHT] = NO_WEIGHT
    params = dequantize(state)
    assert (params[:, [2, 4]] == np.float32(native.MIN_SCALE)).all()
    assert (params[:, WEIGHT] == native.ABSENT_LOG_WEIGHT).all()
