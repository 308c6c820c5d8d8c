"""The paper's quantisers: exact, within their ranges, as docs/bitstream.md says, and learnable."""

from __future__ import annotations

import struct

import numpy as np
import pytest

from gscodec.errors import BitstreamError, CorruptError, LimitError, TruncatedError
from gscodec.paper.frames import TABLE_BYTES, PaperCoder, level_centers, pack_tables, unpack_tables
from gscodec.paper.qat import LearnedQuantizer
from gscodec.paper.quantize import (
    MAX_HALF,
    PaperState,
    PaperTables,
    calibrated_tables,
    dequantize,
    dequantize_codes,
    fit_codebooks,
    quantize,
)

SIZE = 200, 120
CODERS = ("ans", "bits-back", "zstd")


def some_params(rng: np.random.Generator, n: int) -> np.ndarray:
    """float32 [n, 8]: Gaussians as a fit leaves them."""
    params = np.empty((n, 8), np.float32)
    params[:, :2] = rng.random((n, 2)) * SIZE
    params[:, [2, 4]] = np.exp(rng.normal(1.3, 0.4, (n, 2)))
    params[:, 3] = rng.normal(0, 2, n)
    params[:, 5:] = rng.normal(0, 0.2, (n, 3))
    return params


def some_state(rng: np.random.Generator, n: int, n_room: int = 0) -> PaperState:
    params = some_params(rng, n)
    tables = calibrated_tables(params)
    return PaperState(quantize(params, tables, SIZE), np.arange(n) >= n - n_room, tables, SIZE)


def changed(rng: np.random.Generator, state: PaperState, share: float) -> PaperState:
    """The state with new Gaussians in place of some."""
    after, rows = state.copy(), np.flatnonzero(rng.random(len(state)) < share)
    after.symbols[rows] = quantize(some_params(rng, len(rows)), state.tables, SIZE)
    return after


def assert_same(a: PaperState, b: PaperState) -> None:
    np.testing.assert_array_equal(a.symbols, b.symbols)
    np.testing.assert_array_equal(a.is_room, b.is_room)
    assert a.symbols.dtype == b.symbols.dtype == np.int32
    assert pack_tables(a.tables) == pack_tables(b.tables)
    assert dequantize(a).tobytes() == dequantize(b).tobytes()


def test_parameters_are_the_documents(rng: np.random.Generator) -> None:
    """Written down once more in plain Python: struct's halves, floats, and one rounding to float32."""
    state = some_state(rng, 50)
    tables = struct.unpack("<54e", pack_tables(state.tables))
    books = [tables[6:30], tables[30:]]
    for got, codes in zip(dequantize(state), state.symbols.tolist(), strict=True):
        x, y = (struct.unpack("<e", struct.pack("<H", c))[0] for c in codes[:2])
        expected = [x * (SIZE[0] / 2) + SIZE[0] / 2, y * (SIZE[1] / 2) + SIZE[1] / 2]
        factors = [codes[2 + k] * tables[k] + tables[3 + k] for k in range(3)]
        expected += [max(factors[0], 0.3), factors[1], max(factors[2], 0.3)]
        expected += [books[0][3 * codes[5] + k] + books[1][3 * codes[6] + k] for k in range(3)]
        assert got.tolist() == [struct.unpack("<f", struct.pack("<f", v))[0] for v in expected]


def test_rounding_is_to_the_nearest(rng: np.random.Generator) -> None:
    params = some_params(rng, 500)
    tables = calibrated_tables(params)
    got = dequantize_codes(quantize(params, tables, SIZE), tables, SIZE)
    assert np.abs(got[:, :2] - params[:, :2]).max() <= max(SIZE) / 2 * 2**-12 + 1e-4
    low = tables.offset.astype(float)
    high = low + 63 * tables.scale.astype(float)
    inside = (params[:, 2:5] > np.maximum(low, [0.3, -99, 0.3])) & (params[:, 2:5] < high)
    error = np.abs(got[:, 2:5] - params[:, 2:5])
    assert (error <= tables.scale.astype(float) / 2 + 1e-4)[inside].all()
    assert inside.mean() > 0.9
    assert np.sqrt(((got[:, 5:] - params[:, 5:]) ** 2).sum(1).mean()) < 0.15  # of a spread of 0.35


def test_rounding_again_changes_nothing(rng: np.random.Generator) -> None:
    state = some_state(rng, 300)
    params = dequantize(state)
    again = dequantize_codes(quantize(params, state.tables, SIZE), state.tables, SIZE)
    np.testing.assert_array_equal(again, params)


def test_means_far_away_are_kept_in_range() -> None:
    params = np.array([[1e6, -1e6, 1, 0, 1, 0, 0, 0], [100, 60, 1, 0, 1, 0, 0, 0]], np.float32)
    codes = quantize(params, calibrated_tables(params), SIZE)
    assert (codes[0, :2] & 0x7FFF).tolist() == [MAX_HALF, MAX_HALF]
    assert codes[1, :2].tolist() == [0, 0]  # the centre: one of the two zeros


@pytest.mark.parametrize("n", [0, 1, 2, 7, 8])
def test_few_gaussians_have_tables_too(n: int, rng: np.random.Generator) -> None:
    state = some_state(rng, n)
    assert_same(
        PaperCoder("ans", SIZE).unpack_iframe(PaperCoder("ans", SIZE).pack_iframe(state), 1, 9), state
    )
    if 0 < n <= 8:  # as many entries as Gaussians
        params = dequantize(state)
        assert np.isfinite(params).all()


def test_codebooks_find_clusters(rng: np.random.Generator) -> None:
    first, second = rng.normal(0, 1, (8, 3)), rng.normal(0, 0.05, (8, 3))
    colors = first[rng.integers(0, 8, 900)] + second[rng.integers(0, 8, 900)]
    books = fit_codebooks(colors, np.ones(900))
    sums = (books[0][:, None] + books[1][None]).reshape(-1, 1, 3)
    error = ((sums - colors[None]) ** 2).sum(2).min(0).mean()
    assert error < 0.02 * colors.var(axis=0).sum()


@pytest.mark.parametrize("entropy", CODERS)
@pytest.mark.parametrize(("n", "n_room"), [(0, 0), (1, 0), (1, 1), (2, 1), (300, 40)])
def test_iframes_survive(entropy: str, n: int, n_room: int, rng: np.random.Generator) -> None:
    state, coder = some_state(rng, n, n_room), PaperCoder(entropy, SIZE)
    assert_same(coder.unpack_iframe(coder.pack_iframe(state), 1.0, 1000), state)


@pytest.mark.parametrize("entropy", CODERS)
@pytest.mark.parametrize("share", [0.0, 0.004, 0.2, 1.0])
def test_pframes_survive(entropy: str, share: float, rng: np.random.Generator) -> None:
    reference, coder = some_state(rng, 300, 40), PaperCoder(entropy, SIZE)
    state = changed(rng, reference, share)
    payload = coder.pack_pframe(reference, state)
    assert_same(coder.unpack_pframe(payload, reference), state)


def test_iframes_take_less_than_56_bits_a_gaussian(rng: np.random.Generator) -> None:
    state = some_state(rng, 1000)
    n_bytes = len(PaperCoder("ans", SIZE).pack_iframe(state)) - TABLE_BYTES
    assert 4.5 * 1000 < n_bytes < 0.95 * 7 * 1000


def test_entries_are_numbered_by_use(rng: np.random.Generator) -> None:
    use = np.bincount(some_state(rng, 1000).symbols[:, 5], minlength=8)
    assert (np.diff(use) <= 0).all()


def test_centers_are_the_middle_levels() -> None:
    codes = np.zeros((4, 7), np.int32)
    codes[:, 2] = [9, 1, 5, 7]
    assert level_centers(codes).tolist() == [7, 0, 0]
    assert level_centers(codes[:0]).tolist() == [0, 0, 0]


@pytest.mark.parametrize("bad", [np.nan, np.inf, 0.0, -1.0, 200.0])
def test_tables_out_of_range_are_corrupt(bad: float, rng: np.random.Generator) -> None:
    tables = calibrated_tables(some_params(rng, 20))
    wrong = PaperTables(tables.scale.copy(), tables.offset, tables.codebooks)
    wrong.scale[1] = bad
    with pytest.raises(CorruptError, match="tables"):
        unpack_tables(memoryview(pack_tables(wrong)))
    with pytest.raises(TruncatedError, match="108 bytes"):
        unpack_tables(memoryview(pack_tables(tables)[:-1]))


def test_headers_are_checked(rng: np.random.Generator) -> None:
    coder = PaperCoder("ans", SIZE)
    state = some_state(rng, 9, 3)
    payload = coder.pack_iframe(state)
    with pytest.raises(LimitError, match="at most 8"):
        coder.unpack_iframe(payload, 1.0, 8)
    with pytest.raises(CorruptError, match="10 of 9"):
        coder.unpack_iframe(bytes([9, 10]) + payload[2:], 1.0, 100)
    with pytest.raises(CorruptError, match="changes 10"):
        coder.unpack_pframe(bytes([10, 0]), state)
    with pytest.raises(CorruptError, match="gaussianimage"):
        PaperCoder("ans", SIZE, p_frames=False).unpack_pframe(coder.pack_pframe(state, state), state)


@pytest.mark.parametrize("entropy", CODERS)
def test_damaged_payloads_give_an_error_or_a_state(entropy: str, rng: np.random.Generator) -> None:
    coder = PaperCoder(entropy, SIZE)
    reference = some_state(rng, 40, 5)
    frames = coder.pack_iframe(reference), coder.pack_pframe(reference, changed(rng, reference, 0.3))
    for trial in range(300):
        data = bytearray(frames[trial % 2])
        at = int(rng.integers(len(data)))
        data[at : at + int(rng.integers(0, 3))] = rng.bytes(int(rng.integers(0, 3)))
        try:
            if trial % 2 == 0:
                state = coder.unpack_iframe(bytes(data), 1.0, 100)
            else:
                state = coder.unpack_pframe(bytes(data), reference)
        except BitstreamError:
            continue
        assert np.isfinite(dequantize(state)).all()
        assert (state.symbols >= 0).all()
        assert (state.symbols[:, :2] & 0x7FFF).max(initial=0) <= MAX_HALF
        assert state.symbols[:, 2:5].max(initial=0) <= 63
        assert state.symbols[:, 5:].max(initial=0) <= 7


def test_learned_tables_follow_the_gradient(rng: np.random.Generator) -> None:
    """A loss that wants all l1 larger and all colours brighter moves offset and codebooks there."""
    params = some_params(rng, 200)
    learned = LearnedQuantizer(params, SIZE, 50)
    first, before = learned(params, np.zeros_like(params)), learned.tables
    downhill = np.zeros_like(params)
    downhill[:, 2] = downhill[:, 5] = -1
    for _ in range(50):
        drawn = learned(params, downhill)
    assert learned.tables.scale[0] != before.scale[0]
    assert (drawn[:, 5] - first[:, 5]).mean() > 0.02
    codes = learned.codes(params)
    np.testing.assert_array_equal(dequantize_codes(codes, learned.tables, SIZE), drawn)


def test_given_tables_stay(rng: np.random.Generator) -> None:
    params = some_params(rng, 30)
    tables = calibrated_tables(params)
    fixed = LearnedQuantizer(params, SIZE, 5, tables)
    for _ in range(3):
        fixed(params, np.ones_like(params))
    assert pack_tables(fixed.tables) == pack_tables(tables)
    np.testing.assert_array_equal(fixed.codes(params), quantize(params, tables, SIZE))
