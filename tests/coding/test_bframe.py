"""B-frames: halfway parameters against a loop over Gaussians, and what coders say of who stayed."""

from __future__ import annotations

import numpy as np
import pytest

from coding_states import SIZE, random_state
from gscodec.coding.adaptive import AdaptiveCoder, renewed
from gscodec.coding.bframe import between
from gscodec.coding.quantize import NO_WEIGHT, WEIGHT, State, dequantize
from gscodec.splat.gaussians import BLENDS


def slow(before: State, after: State, kept: list[int]) -> tuple[np.ndarray, list[bool]]:
    old, new = dequantize(before), dequantize(after)
    rows, rooms = [], []

    def faded(row: np.ndarray) -> np.ndarray:
        row = row.copy()
        if len(row) == 9:
            row[8] -= 1
        else:
            row[5:] /= 2
        return row

    for i, row in enumerate(new):
        rows.append((old[kept[i]] + row) / np.float32(2) if i < len(kept) else faded(row))
        rooms.append(bool(after.is_room[i]))
    for i, row in enumerate(old):
        if i not in kept:
            rows.append(faded(row))
            rooms.append(bool(before.is_room[i]))
    return np.array(rows, np.float32), rooms


def next_state(rng: np.random.Generator, blend: str) -> tuple[AdaptiveCoder, State, State, list[int]]:
    """A coder that has coded a P-frame in which some leave and some are born; the states; who stayed."""
    n_symbols = 9 if blend == "normalised" else 8
    before = random_state(rng, 40, n_symbols=n_symbols, spread=4)
    born = random_state(rng, 5, n_symbols=n_symbols, spread=4)
    for state in (before, born):
        if n_symbols == 9:
            state.symbols[:, WEIGHT] = np.clip(state.symbols[:, WEIGHT], NO_WEIGHT + 1, 9)
        else:
            state.symbols[:, 5] = np.where(state.symbols[:, 5] == 0, 1, state.symbols[:, 5])
    coder = AdaptiveCoder(SIZE, blend=blend)
    coder.pack_iframe(before)
    changed = before.copy()
    changed.symbols[::3, 2] += 1
    gone = rng.random(40) < 0.2
    changed.symbols[gone, WEIGHT if n_symbols == 9 else slice(5, 8)] = NO_WEIGHT if n_symbols == 9 else 0
    coder.pack_pframe(before, changed, None, born)
    return coder, before, renewed(changed, born), np.flatnonzero(~gone).tolist()


@pytest.mark.parametrize("blend", BLENDS)
def test_halfway_is_the_mean_and_half_the_weight_of_who_comes_or_goes(rng, blend: str) -> None:
    coder, before, after, kept = next_state(rng, blend)
    assert coder.kept.tolist() == kept
    assert 0 < len(kept) < 40
    params, is_room = between(before, after, coder.kept)
    wanted, rooms = slow(before, after, kept)
    np.testing.assert_array_equal(params, wanted)
    assert is_room.tolist() == rooms
    assert params.dtype == np.float32
    assert len(params) == 45


def test_a_frame_that_renews_nothing_keeps_all(rng) -> None:
    state = random_state(rng, 12)
    coder = AdaptiveCoder(SIZE)
    coder.pack_iframe(state)
    assert coder.kept.tolist() == []
    coder.pack_pframe(state, state)
    assert coder.kept.tolist() == list(range(12))
    params, _ = between(state, state, coder.kept)
    np.testing.assert_array_equal(params, dequantize(state))


@pytest.mark.parametrize("blend", BLENDS)
def test_a_copy_goes_on_by_itself(rng, blend: str) -> None:
    """What one coder codes does not move the other: both then write the same."""
    coder, _, state, _ = next_state(rng, blend)
    twin, moved = coder.copy(), state.copy()
    moved.symbols[::2, 3] += 2
    first = twin.pack_pframe(state, moved)
    twin.pack_pframe(moved, state)
    assert coder.pack_pframe(state, moved) == first
