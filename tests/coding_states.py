"""States that tests of the coders share: any symbols the format permits, and ones like an encoder's."""

from __future__ import annotations

import numpy as np

from gscodec.coding.quantize import (
    MAX_ENERGY_CLASS,
    MAX_SIZE_CLASS,
    State,
    affine_arrays,
    canonical_order,
    take,
)

SIZE = 200, 120


def random_state(
    rng: np.random.Generator,
    n: int,
    *,
    size: tuple[int, int] = SIZE,
    spread: float = 9.0,
    classes: tuple[int, int] = (12, 14),
    quality: float = 1.0,
    n_symbols: int = 8,
) -> State:
    """Canonically ordered; all symbols but those of the means spread around 0, by about `spread`.

    Args:
        classes: highest size and energy class. n_symbols: 9 under the normalised blend.
    """
    symbols = np.rint(rng.laplace(0, spread, (n, n_symbols))).astype(np.int64)
    size_class = rng.integers(0, classes[0] + 1, n, np.int32)
    energy_class = rng.integers(0, classes[1] + 1, n, np.int32)
    state = State(symbols, size_class, energy_class, rng.random(n) < 0.3, quality)
    _, _, low, high = affine_arrays(state, size)
    symbols[:, :2] = rng.random((n, 2)) * high[:, :2]
    state.symbols = np.clip(symbols, low, high).astype(np.int32)
    return take(state, canonical_order(state))


def extreme_state(
    rng: np.random.Generator, n: int, size: tuple[int, int] = SIZE, n_symbols: int = 8
) -> State:
    """Every class from end to end, every symbol at an end of its range or next to it."""
    state = random_state(rng, n, size=size, classes=(MAX_SIZE_CLASS, MAX_ENERGY_CLASS), n_symbols=n_symbols)
    _, _, low, high = affine_arrays(state, size)
    ends = np.stack([low, low + 1, high - 1, high, np.clip(state.symbols, low, high)])
    state.symbols = np.take_along_axis(ends, rng.integers(0, len(ends), (1, n, n_symbols)), 0)[0].astype(
        np.int32
    )
    state.symbols = np.clip(state.symbols, low, high)
    return take(state, canonical_order(state))


def changed_state(
    rng: np.random.Generator, state: State, share: float, *, size: tuple[int, int] = SIZE, spread: float = 1.5
) -> State:
    """The state after some Gaussians changed some symbols; neighbours in the list tend to change together."""
    n, n_symbols = state.symbols.shape
    wave = np.convolve(rng.random(n + 4), np.ones(5) / 5, "valid") if n else np.zeros(0)
    chosen = wave <= np.quantile(wave, share) if n and share else np.zeros(n, bool)
    delta = np.rint(rng.laplace(0, spread, (n, n_symbols)))
    delta *= chosen[:, None] * (rng.random((n, n_symbols)) < 0.5)
    _, _, low, high = affine_arrays(state, size)
    after = state.copy()
    after.symbols = np.clip(state.symbols + delta, low, high).astype(np.int32)
    return after


def assert_same(a: State, b: State) -> None:
    """Equal in every integer, and of the types a decoder gives."""
    np.testing.assert_array_equal(a.symbols, b.symbols)
    np.testing.assert_array_equal(a.size_class, b.size_class)
    np.testing.assert_array_equal(a.energy_class, b.energy_class)
    np.testing.assert_array_equal(a.is_room, b.is_room)
    np.testing.assert_array_equal(a.drift, b.drift)
    assert a.symbols.dtype == b.symbols.dtype == np.int32
    assert a.quality == b.quality
