"""Bits-back: sets and multisets survive, the state comes back, and the bits of the order are not spent."""

from __future__ import annotations

import math
import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from coding_states import SIZE, assert_same, changed_state, random_state
from gscodec.coding.bits_back import (
    Ans,
    pop_multiset,
    pop_set,
    pop_uniform,
    push_multiset,
    push_set,
    push_uniform,
)
from gscodec.coding.entropy import make_reader, make_writer
from gscodec.coding.frames import pack_pframe, unpack_pframe
from gscodec.errors import CorruptError


def filled(n_words: int, seed: int = 0) -> list[int]:
    """Words of a state that holds bits already; the last is not 0."""
    rng = random.Random(seed)
    return [rng.randrange(1, 1 << 32) for _ in range(n_words)]


def n_bits(words: list[int]) -> float:
    """Bits that a state holds."""
    return 32 * (len(words) - 1) + math.log2(words[-1]) if words else 0.0


@given(st.lists(st.tuples(st.integers(0, 999), st.integers(1, 1000)), max_size=60), st.integers(0, 5))
def test_uniform_numbers_are_a_stack(pairs: list[tuple[int, int]], n_words: int) -> None:
    numbers = [(value % n, n) for value, n in pairs]
    coder = Ans(filled(n_words))
    for value, n in numbers:
        push_uniform(coder, value, n)
    assert [pop_uniform(coder, n) for _, n in reversed(numbers)] == [v for v, _ in reversed(numbers)]
    assert coder.words() == filled(n_words)


@given(st.lists(st.integers(0, 7), max_size=40), st.integers(0, 6))
def test_multisets_come_back_sorted_and_leave_the_state(values: list[int], n_words: int) -> None:
    coder = Ans(filled(n_words))
    push_multiset(coder, values, lambda c, v: push_uniform(c, v, 8))
    coder = Ans(coder.words())  # as if through a file
    assert pop_multiset(coder, len(values), lambda c: pop_uniform(c, 8)) == sorted(values)
    assert coder.words() == filled(n_words)


@pytest.mark.parametrize("n_words", [0, 1, 2, 40])
@pytest.mark.parametrize("members", [[], [0], [9], [3, 7], [0, 1], list(range(10))])
def test_small_sets(members: list[int], n_words: int) -> None:
    words = np.array(filled(n_words), np.uint32)
    pushed = push_set(words, np.array(members, np.int64), 10)
    found, rest = pop_set(pushed, len(members), 10)
    assert found.tolist() == members
    assert rest.tolist() == words.tolist()


@pytest.mark.parametrize(("count", "n"), [(50, 1000), (300, 1000), (1000, 1000), (1000, 1 << 20)])
def test_a_set_costs_its_number_of_combinations(count: int, n: int) -> None:
    """log2 C(n, count): nothing of its order is spent where the state holds bits."""
    members = np.sort(np.random.default_rng(count).choice(n, count, replace=False))
    full = filled(count)
    spent = n_bits(push_set(np.array(full, np.uint32), members, n).tolist()) - n_bits(full)
    combinations = (math.lgamma(n + 1) - math.lgamma(count + 1) - math.lgamma(n - count + 1)) / math.log(2)
    assert spent == pytest.approx(combinations, rel=2e-3, abs=0.1)


@given(st.sets(st.integers(0, 40)), st.integers(0, 5))
def test_sets_come_back(members: set[int], n_words: int) -> None:
    words = np.array(filled(n_words), np.uint32)
    found, rest = pop_set(push_set(words, np.array(sorted(members), np.int64), 41), len(members), 41)
    assert found.tolist() == sorted(members)
    assert rest.tolist() == words.tolist()


def test_equal_elements_save_no_order() -> None:
    """Of n equal elements there is one order only: each costs what it costs alone."""
    full = filled(50)
    coder = Ans(full)
    push_multiset(coder, [5] * 40, lambda c, v: push_uniform(c, v, 8))
    assert n_bits(coder.words()) - n_bits(full) == pytest.approx(40 * 3, abs=0.01)


def test_an_empty_state_gives_nothing_back_and_loses_nothing() -> None:
    members = np.arange(0, 100, 3)
    alone = push_set(np.zeros(0, np.uint32), members, 100)
    found, rest = pop_set(alone, len(members), 100)
    assert found.tolist() == members.tolist()
    assert len(rest) == 0
    assert 32 * len(alone) <= len(members) * math.log2(100) + 64


def test_hostile_streams_end() -> None:
    with pytest.raises(CorruptError, match="last word"):
        pop_set(np.array([1, 0], np.uint32), 1, 10)
    found, _ = pop_set(np.zeros(0, np.uint32), 2000, 1 << 20)  # an empty stream is zeros without end
    assert len(set(found.tolist())) == 2000


def test_more_members_than_numbers_are_corrupt() -> None:
    writer = make_writer("bits-back")
    writer.put_set(np.array([0]), 1, 38)
    with pytest.raises(CorruptError, match="at most 1"):
        make_reader("bits-back", *writer.finish(), 16).get_set(2, 1, 38)


@pytest.mark.parametrize("entropy", ["ans", "bits-back", "zstd"])
def test_sets_and_streams_under_every_coder(entropy: str) -> None:
    rng = np.random.default_rng(3)
    members = np.flatnonzero(rng.random(500) < 0.2)
    values = np.rint(rng.laplace(0, 4, len(members))).astype(np.int64)
    writer = make_writer(entropy)
    writer.put_set(members, 500, 38)
    writer.put(values, None, True, 30)
    writer.put_raw(np.array([5]), np.array([3]))
    reader = make_reader(entropy, *writer.finish(), 16 * 500)
    assert reader.get_set(len(members), 500, 38).tolist() == members.tolist()
    assert reader.get(len(members), None, True, 30).tolist() == values.tolist()
    assert reader.get_raw(np.array([3])).tolist() == [5]
    reader.finish()


@pytest.mark.parametrize("share", [0.0, 0.004, 0.1, 1.0])
def test_p_frames_of_the_default_profile(share: float, rng: np.random.Generator) -> None:
    reference = random_state(rng, 400)
    state = changed_state(rng, reference, share)
    payload = pack_pframe(reference, state, "bits-back")
    assert_same(unpack_pframe(payload, reference, "bits-back", SIZE), state)
    assert len(payload) <= len(pack_pframe(reference, state, "ans")) + 8
