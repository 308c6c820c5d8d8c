"""Frames under every coder: round trips, GOPs, lies and damage."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from coding_states import SIZE, assert_same, changed_state, extreme_state, random_state
from gscodec.coding.adaptive import AdaptiveCoder, Motion
from gscodec.coding.frames import FrameCoder, iframe_base, make_frame_coder
from gscodec.coding.quantize import State, canonical_order, mean_log2_steps, take
from gscodec.container.headers import ADAPTIVE_FRAME_HEADER, I_FRAME_HEADER, P_FRAME_HEADER, pack, unpack
from gscodec.errors import BitstreamError, CorruptError, LimitError

CODERS = ("adaptive", "ans", "bits-back", "zstd")
LIMIT = 4000  # Gaussians


@pytest.fixture(params=CODERS)
def entropy(request: pytest.FixtureRequest) -> str:
    return request.param


def round_trip(entropy: str, state: State, size: tuple[int, int] = SIZE) -> bytes:
    payload = make_frame_coder(entropy, size).pack_iframe(state)
    decoded = make_frame_coder(entropy, size).unpack_iframe(payload, state.quality, len(state))
    assert_same(decoded, state)
    assert decoded.is_room.dtype == bool
    return payload


def one_cell(rng: np.random.Generator, n: int) -> State:
    """All means in one cell, some in the same place."""
    state = random_state(rng, n)
    width = 3 - mean_log2_steps(state.size_class, state.energy_class)
    for axis in (0, 1):
        state.symbols[:, axis] = 9 << width | rng.integers(0, 1 << width)
    return take(state, canonical_order(state))


@pytest.mark.parametrize("n", [0, 1, 2, 300])
def test_iframes_come_back(entropy: str, n: int) -> None:
    round_trip(entropy, random_state(np.random.default_rng(n), n, quality=307 / 256))


@pytest.mark.parametrize("n", [1, 2, 300])
def test_extreme_iframes_come_back(entropy: str, n: int) -> None:
    round_trip(entropy, extreme_state(np.random.default_rng(n), n))


def test_crowded_and_small_iframes_come_back(entropy: str) -> None:
    rng = np.random.default_rng(1)
    round_trip(entropy, one_cell(rng, 200))
    round_trip(entropy, take(one_cell(rng, 1), np.zeros(50, int)))  # one Gaussian fifty times
    for size in ((1, 1), (9, 3000), (65535, 8)):
        round_trip(entropy, random_state(rng, 40, size=size), size)


@given(seed=st.integers(0, 1 << 20), n=st.integers(0, 25), spread=st.sampled_from([0.3, 5.0, 4000.0]))
@pytest.mark.parametrize("entropy", CODERS)
def test_any_gop_comes_back(entropy: str, seed: int, n: int, spread: float) -> None:
    rng = np.random.default_rng(seed)
    state = random_state(rng, n, spread=spread, classes=(28, 24))
    writer, reader = make_frame_coder(entropy, SIZE), make_frame_coder(entropy, SIZE)
    decoded = reader.unpack_iframe(writer.pack_iframe(state), 1.0, n)
    for share in (0.2, 0.0, 1.0):
        after = changed_state(rng, state, share, spread=spread)
        decoded = reader.unpack_pframe(writer.pack_pframe(state, after), decoded)
        assert_same(decoded, after)
        state = after


def test_extreme_changes_come_back(entropy: str) -> None:
    rng = np.random.default_rng(2)
    state, other = extreme_state(rng, 80), extreme_state(rng, 80)
    other.size_class, other.energy_class, other.is_room = state.size_class, state.energy_class, state.is_room
    other.symbols[:, :2] = state.symbols[:, :2]
    writer, reader = make_frame_coder(entropy, SIZE), make_frame_coder(entropy, SIZE)
    decoded = reader.unpack_iframe(writer.pack_iframe(state), 1.0, 80)
    decoded = reader.unpack_pframe(writer.pack_pframe(state, other), decoded)
    assert_same(decoded, other)


def test_decoding_leaves_the_reference_alone(entropy: str) -> None:
    rng = np.random.default_rng(3)
    state = random_state(rng, 50)
    writer, reader = make_frame_coder(entropy, SIZE), make_frame_coder(entropy, SIZE)
    reference = reader.unpack_iframe(writer.pack_iframe(state), 1.0, 50)
    before = reference.copy()
    reader.unpack_pframe(writer.pack_pframe(state, changed_state(rng, state, 0.5)), reference)
    assert_same(reference, before)


def test_a_frame_that_changes_nothing_is_tiny(entropy: str) -> None:
    state = random_state(np.random.default_rng(4), 1000)
    coder = make_frame_coder(entropy, SIZE)
    coder.pack_iframe(state)
    sizes = [len(coder.pack_pframe(state, state)) for _ in range(12)]
    assert max(sizes) <= {"adaptive": 30, "ans": 3, "bits-back": 3, "zstd": 12}[entropy]
    assert sizes[-1] <= {"adaptive": 2, "ans": 3, "bits-back": 3, "zstd": 12}[entropy]


def encoded_gops(entropy: str) -> tuple[list[bytes], list[State]]:
    """Two GOPs of four frames, some with motion."""
    rng = np.random.default_rng(5)
    coder = make_frame_coder(entropy, SIZE)
    payloads, states = [], []
    for _ in range(2):
        state = random_state(rng, 60)
        payloads.append(coder.pack_iframe(state))
        states.append(state)
        for i in range(3):
            base, motion = state, None
            if isinstance(coder, AdaptiveCoder) and i:
                motion = Motion(rng.integers(-40, 41, (3, 5, 2), np.int32), i == 2)
                base = coder.moved(motion, 1.0)
            after = changed_state(rng, base, 0.3)
            extra = (motion,) if motion else ()
            payloads.append(coder.pack_pframe(state, after, *extra))
            states.append(after)
            state = after
    return payloads, states


def decode(coder: FrameCoder, payloads: list[bytes], iframes: tuple[int, ...]) -> list[State]:
    states: list[State] = []
    for i, payload in enumerate(payloads):
        if i in iframes:
            states.append(coder.unpack_iframe(payload, 1.0, LIMIT))
        else:
            states.append(coder.unpack_pframe(payload, states[-1]))
    return states


def test_decoding_may_start_at_any_iframe(entropy: str) -> None:
    payloads, states = encoded_gops(entropy)
    whole = decode(make_frame_coder(entropy, SIZE), payloads, (0, 4))
    late = decode(make_frame_coder(entropy, SIZE), payloads[4:], (0,))
    used = make_frame_coder(entropy, SIZE)
    decode(used, payloads[:3], (0,))  # another GOP, not to its end
    after_another = decode(used, payloads[4:], (0,))
    for a, b in zip([*whole, *late, *after_another], [*states, *states[4:], *states[4:]], strict=True):
        assert_same(a, b)


def test_equal_frames_give_equal_bytes(entropy: str) -> None:
    assert encoded_gops(entropy)[0] == encoded_gops(entropy)[0]


def test_a_number_of_gaussians_past_the_limit(entropy: str) -> None:
    payload = make_frame_coder(entropy, SIZE).pack_iframe(random_state(np.random.default_rng(6), 30))
    with pytest.raises(LimitError, match="30 Gaussians, at most 29"):
        make_frame_coder(entropy, SIZE).unpack_iframe(payload, 1.0, 29)


@pytest.mark.parametrize("n", [31, 1000, 1 << 20])
def test_lies_about_the_number_of_gaussians(entropy: str, n: int) -> None:
    payload = make_frame_coder(entropy, SIZE).pack_iframe(random_state(np.random.default_rng(7), 30))
    table = ADAPTIVE_FRAME_HEADER if entropy == "adaptive" else I_FRAME_HEADER
    header, rest = unpack(table, payload)
    lie = pack(table, header | {"n_gaussians": n}) + bytes(rest)
    tracemalloc.start()
    with pytest.raises(LimitError if n > LIMIT else CorruptError):
        make_frame_coder(entropy, SIZE).unpack_iframe(lie, 1.0, LIMIT)
    assert tracemalloc.get_traced_memory()[1] < 8 << 20
    tracemalloc.stop()


@pytest.mark.parametrize("entropy", ["ans", "zstd"])
def test_lies_about_what_changes(entropy: str) -> None:
    rng = np.random.default_rng(8)
    state = random_state(rng, 30)
    coder = make_frame_coder(entropy, SIZE)
    payload = coder.pack_pframe(state, changed_state(rng, state, 0.5))
    header, rest = unpack(P_FRAME_HEADER, payload)
    n, n_bytes = header["n_changed"], len(rest)
    for lie in (
        {"n_changed": 31},
        {"n_changed": 1 << 20},
        {"n_changed": n - 1},
        {"symbol_bytes": n_bytes + 1},
    ):
        with pytest.raises(CorruptError):
            coder.unpack_pframe(pack(P_FRAME_HEADER, header | lie) + bytes(rest), state)


def test_symbols_out_of_range_are_corrupt(entropy: str) -> None:
    """Whatever a writer puts there, a reader must not accept it."""
    state = random_state(np.random.default_rng(9), 20)
    for column, value in ((0, 1 << 15), (2, 0), (4, -3), (2, 1 << 20), (3, -(1 << 20)), (6, 1 << 20)):
        bad = state.copy()
        bad.symbols[7, column] = value
        if entropy == "adaptive":
            coder = make_frame_coder(entropy, SIZE)
            coder.pack_iframe(state)
            with pytest.raises(RuntimeError):
                coder.pack_pframe(state, bad)
        else:
            coder = make_frame_coder(entropy, SIZE)
            with pytest.raises(CorruptError):
                coder.unpack_pframe(coder.pack_pframe(state, bad), state)


def test_an_iframe_of_a_smaller_picture_is_corrupt(entropy: str) -> None:
    payload = make_frame_coder(entropy, SIZE).pack_iframe(random_state(np.random.default_rng(10), 100))
    with pytest.raises(CorruptError):
        make_frame_coder(entropy, (20, 20)).unpack_iframe(payload, 1.0, 100)


def test_damage_and_cuts_give_errors_or_valid_states(entropy: str) -> None:
    rng = np.random.default_rng(11)
    payloads, states = encoded_gops(entropy)
    for case in range(400):
        index = int(rng.integers(4))
        data = bytearray(payloads[index])
        for _ in range(rng.integers(1, 4)):
            at = int(rng.integers(len(data) + 1))
            kind = rng.integers(4)
            if kind == 0 and at < len(data):
                data[at] ^= 1 << rng.integers(8)
            elif kind == 1:
                del data[at:]
            elif kind == 2:
                data[at:at] = rng.bytes(3)
            elif at < len(data):
                data[at] = rng.integers(256)
        coder = make_frame_coder(entropy, SIZE)
        damaged = [*payloads[:index], bytes(data), *payloads[index + 1 : 4]]
        try:
            got = decode(coder, damaged, (0,))[-1]
        except BitstreamError:
            if case % 4 == 0:  # the next GOP is not touched by it
                assert_same(decode(coder, payloads[4:], (0,))[-1], states[-1])
            continue
        if index:
            assert len(got) == 60
        assert_same(make_valid(entropy, got), got)


def make_valid(entropy: str, state: State) -> State:
    """The state through another coder, which only valid ones pass."""
    ordered = take(state, canonical_order(state))
    ordered.drift[:] = 0  # of motions, which I-frames have not
    other = "zstd" if entropy == "adaptive" else "adaptive"
    coder = make_frame_coder(other, SIZE)
    decoded = make_frame_coder(other, SIZE).unpack_iframe(coder.pack_iframe(ordered), 1.0, len(state))
    assert_same(decoded, ordered)
    return state


def test_base_is_near_the_symbols_of_round_gaussians() -> None:
    state = random_state(np.random.default_rng(12), 40)
    base = iframe_base(state)
    assert base.dtype == np.int32
    np.testing.assert_array_equal(base[:, :2], state.symbols[:, :2])
    assert (base[:, [2, 4]] >= 1).all()
    assert (base[:, [3, 6, 7]] == 0).all()
    assert (np.sign(base[:, 5]) * np.sign(state.symbols[:, 5]) >= 0).all()
