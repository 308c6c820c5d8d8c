"""The native adaptive coder against its twin, which is written from docs/bitstream.md."""

from __future__ import annotations

import re
from pathlib import Path

import adaptive_twin
import numpy as np
import pytest
from adaptive_twin_frames import FrameTwin

from coding_states import SIZE, assert_same, changed_state, extreme_state, random_state
from gscodec.coding.adaptive import STREAMS, AdaptiveCoder, Motion, renewed
from gscodec.coding.prior import SHA256, prior
from gscodec.coding.quantize import NO_WEIGHT, State, dequantize, mean_log2_steps, take
from gscodec.container.headers import ADAPTIVE_FRAME_HEADER, pack
from gscodec.errors import CorruptError, GscodecError, LimitError
from gscodec.splat.gaussians import BLENDS

ROOT = Path(__file__).parents[2]
N_HEADER = 1  # bytes of ADAPTIVE_FRAME_HEADER below 128 Gaussians


def random_mesh(rng: np.random.Generator, size: tuple[int, int] = SIZE, most: int = 40) -> np.ndarray:
    rows, columns = (((length - 1) >> 6) + 2 for length in (size[1], size[0]))
    return rng.integers(-most, most + 1, (rows, columns, 2), np.int32)


Coded = tuple[bytes, State, Motion | None, State | None]  # payload, state before births, motion, newborn


def gop(
    rng: np.random.Generator,
    state: State,
    n_pframes: int,
    make=random_state,
    is_older: bool = False,
    blend: str = "sum",
) -> list[Coded]:
    """An I-frame and P-frames after it, natively coded; every other one moves, two of three renew."""
    coder = AdaptiveCoder(SIZE, is_older=is_older, blend=blend)
    frames: list[Coded] = [(coder.pack_iframe(state), state, None, None)]
    for i in range(n_pframes):
        motion = Motion(random_mesh(rng), i % 4 == 1) if i % 2 else None
        base = coder.moved(motion, state.quality) if motion else state
        after = changed_state(rng, base, (0.0, 0.1, 0.6)[i % 3])
        leaves = rng.random(len(after)) < 0.1  # where the frame renews
        after.symbols[leaves, 5:] = 0 if blend == "sum" else NO_WEIGHT
        n_born = (0, 1, 9)[i // 2 % 3]
        born = make(rng, n_born, n_symbols=state.symbols.shape[1]) if i % 3 else None
        frames.append((coder.pack_pframe(state, after, motion, born), after, motion, born))
        state = after if born is None else renewed(after, born)
    return frames


@pytest.mark.parametrize("make", [random_state, extreme_state])
@pytest.mark.parametrize("variant", ["0.1.0", "sum", "normalised"])
@pytest.mark.parametrize("n", [0, 1, 2, 40])
def test_twin_and_native_write_the_same_bytes_and_read_each_other(make, n: int, variant: str) -> None:
    rng = np.random.default_rng(n)
    is_older, normalised = variant == "0.1.0", variant == "normalised"
    blend = "normalised" if normalised else "sum"
    frames = gop(rng, make(rng, n, n_symbols=9 if normalised else 8), 8, make, is_older, blend)
    native = AdaptiveCoder(SIZE, is_older=is_older, blend=blend)
    writer, reader = (FrameTwin(*SIZE, is_older, normalised) for _ in range(2))
    (payload, state, *_), *rest = frames
    header = payload[:N_HEADER] + (state.ground.tobytes() if normalised else b"")
    assert payload.startswith(header)
    assert_same(native.unpack_iframe(payload, 1.0, 1000), state)
    payload = b"-" + payload[len(header) :]
    assert payload[N_HEADER:] == writer.encode_iframe(state)
    assert_same(reader.decode_iframe(payload[N_HEADER:], n, 1.0), state)
    reference = state
    for payload, state, motion, born in rest:
        mesh, room_moves = (motion.mesh, motion.room_moves) if motion else (None, False)
        assert payload == writer.encode_pframe(state, mesh, room_moves, born)
        reference = native.unpack_pframe(payload, reference)
        assert_same(reference, state if born is None else renewed(state, born))
        stay = np.arange(len(state)) if born is None else np.flatnonzero(state.is_visible)
        np.testing.assert_array_equal(native.kept, stay)
        assert_same(reader.decode_pframe(payload, 1.0), reference)
    assert len(reference) > n or n == 40  # some were born
    if n == 40:
        assert reference.drift.any() != is_older


def test_a_renewal_drops_what_is_dark_and_appends_the_newborn() -> None:
    rng = np.random.default_rng(13)
    state, born = random_state(rng, 30), random_state(rng, 5)
    coder, decoder = AdaptiveCoder(SIZE), AdaptiveCoder(SIZE)
    reference = decoder.unpack_iframe(coder.pack_iframe(state), 1.0, 33)
    after = state.copy()
    after.symbols[[3, 7], 5:] = 0
    assert_same(decoder.unpack_pframe(coder.pack_pframe(state, after), reference), after)  # still there
    reference = decoder.unpack_pframe(coder.pack_pframe(after, after, None, born), after)
    dark = ~after.symbols[:, 5:].any(axis=1)
    assert 2 <= dark.sum() <= 4
    assert len(reference) == 30 - dark.sum() + 5 <= 33
    np.testing.assert_array_equal(reference.symbols[-5:], born.symbols)
    np.testing.assert_array_equal(reference.symbols[:-5], after.symbols[~dark])


def test_births_past_the_limit_are_refused_before_memory_is_taken() -> None:
    rng = np.random.default_rng(14)
    state, born = random_state(rng, 30), random_state(rng, 10)
    coder = AdaptiveCoder(SIZE)
    first, second = coder.pack_iframe(state), coder.pack_pframe(state, state, None, born)
    n = len(renewed(state, born))
    decoder = AdaptiveCoder(SIZE)
    assert len(decoder.unpack_pframe(second, decoder.unpack_iframe(first, 1.0, n))) == n
    decoder.unpack_iframe(first, 1.0, n - 1)
    with pytest.raises(LimitError, match=f"10 newborn.*{n - 1} are permitted"):
        decoder.unpack_pframe(second, state)
    coder.pack_iframe(state)
    with pytest.raises(ValueError, match="canonical order"):
        coder.pack_pframe(state, state, None, take(born, np.arange(10)[::-1]))
    born.drift[4] = 1
    with pytest.raises(ValueError, match="drifted"):
        coder.pack_pframe(state, state, None, born)
    for n_bytes in range(len(second) // 2, len(second) - 8, 3):  # cut among the newborn
        decoder.unpack_iframe(first, 1.0, 1000)
        with pytest.raises(CorruptError):
            decoder.unpack_pframe(second[:n_bytes], state)


def test_files_with_and_without_the_prior_are_not_each_others() -> None:
    state = random_state(np.random.default_rng(15), 60)
    payloads = {old: AdaptiveCoder(SIZE, is_older=old).pack_iframe(state) for old in (True, False)}
    assert payloads[True] != payloads[False]
    for old, payload in payloads.items():
        assert_same(AdaptiveCoder(SIZE, is_older=old).unpack_iframe(payload, 1.0, 60), state)


@pytest.mark.parametrize("blend", BLENDS)
def test_the_prior_is_within_its_ranges(blend: str) -> None:
    """What the C++ does not check: probabilities are short of 0 and 1, and every row has its place."""
    counters, weights = adaptive_twin.prior(blend)
    streams = set(STREAMS[: -4 if blend == "sum" else -1])
    assert len(counters) > 1000
    assert {stream for stream, *_ in counters} <= streams
    assert {stream for stream, *_ in weights} == streams
    for (_, i, context, _), (p, n) in counters.items():
        assert 64 <= p < 65472
        assert 1 <= n <= adaptive_twin.COUNTER_LIMIT
        assert i < 4
        assert context < 32


@pytest.mark.parametrize("blend", BLENDS)
def test_a_damaged_prior_is_refused(blend: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(SHA256, blend, "0" * 64)
    with pytest.raises(GscodecError, match=r"damaged.*reinstall"):
        prior.__wrapped__(blend)


def test_decisions_are_counted() -> None:
    rng = np.random.default_rng(16)
    state = random_state(rng, 50)
    coder = AdaptiveCoder(SIZE)._core
    assert len(coder.decisions()) == 0
    rows = (state.symbols, state.size_class, state.energy_class, state.is_room, state.drift)
    coder.encode_iframe(*rows)
    coder.encode_pframe(*rows, None, False, -1)
    found = {tuple(row[:4]): tuple(row[4:]) for row in coder.decisions().tolist()}
    changed, gap = STREAMS.index("changed"), STREAMS.index("gap")
    for stream, i in ((changed, 0), (changed, 3), (gap, 0), (gap, 2)):
        at_zero = [counts for key, counts in found.items() if (key[0], key[1], key[3]) == (stream, i, 0)]
        assert sum(map(sum, at_zero)) == 50
    assert all(ones == 0 for key, (_, ones) in found.items() if key[0] == changed)


def test_sparse_large_pictures_have_long_gaps() -> None:
    size = 60_000, 1_000
    state = random_state(np.random.default_rng(3), 6, size=size)
    payload = AdaptiveCoder(size).pack_iframe(state)
    assert payload[N_HEADER:] == FrameTwin(*size).encode_iframe(state)
    assert_same(AdaptiveCoder(size).unpack_iframe(payload, 1.0, 6), state)


def test_many_small_frames_survive_leaving_out_zero_bytes() -> None:
    """About one in a thousand ends in more zero bytes than may be left out."""
    rng = np.random.default_rng(4)
    pool = random_state(rng, 400, size=(64, 48))
    coder, reader = AdaptiveCoder((64, 48)), AdaptiveCoder((64, 48))
    for _ in range(3000):
        state = take(pool, np.sort(rng.choice(400, int(rng.integers(0, 5)), replace=False)))
        assert_same(reader.unpack_iframe(coder.pack_iframe(state), 1.0, 4), state)


def test_zero_bytes_that_are_left_out_are_at_most_four() -> None:
    writer = adaptive_twin.Writer()
    for _ in range(400):
        writer.bit(1, 65472)
    while writer.n_shifts < 6:
        writer.bit(1, 64)
    assert writer.finish() == bytes(writer.n_shifts)


def test_constants_are_the_documents() -> None:
    """mixing_coder.h, the twin and docs/bitstream.md agree."""
    document = (ROOT / "docs" / "bitstream.md").read_text(encoding="utf-8")
    header = (ROOT / "src/gscodec/coding/csrc/mixing_coder.h").read_text(encoding="utf-8")
    rows = re.search(r"<!-- constants: mixing_coder.h -->\n.*\n.*\n((?:\|.*\n)+)", document)
    assert rows
    printed = dict(re.findall(r"\| `(\w+)` \| ([\d^]+) \|", rows[1]))
    for name, text in printed.items():
        value = eval(text.replace("^", "**"))
        written = re.search(rf"\b{name} = ([^;]+);", header)
        assert written, name
        assert eval(written[1]) == value, name
        assert getattr(adaptive_twin, name, value) == value, name
    squash = re.search(r"SQUASH\[33\] = \{([^}]*)\}", header)
    assert squash
    assert tuple(map(int, squash[1].split(","))) == adaptive_twin.SQUASH
    assert " ".join(map(str, adaptive_twin.SQUASH[:17])) in document
    assert " ".join(map(str, adaptive_twin.SQUASH[17:])) in document
    streams = dict.fromkeys(re.findall(r"^\| ([\w?Δ-]+) \| (?:flag|signed|unsigned)", document, re.MULTILINE))
    i_frame, motion, births, weights = STREAMS[:11], STREAMS[-9:-6], STREAMS[-6:-4], STREAMS[-4:-1]
    assert {*streams, "plain"} == set(STREAMS)
    assert list(streams)[:11] == list(i_frame)
    without = [stream for stream in streams if stream not in weights]
    assert without[11:14] == list(motion)
    assert without[-2:] == list(births)


def test_stretch_undoes_squash() -> None:
    probabilities = np.arange(22, 65515)
    back = [adaptive_twin.squash(adaptive_twin.stretch(int(p) >> 4)) for p in probabilities[::97]]
    assert np.abs(np.array(back) - probabilities[::97]).max() <= 64  # a step of 1/256 at the steepest place


@pytest.mark.parametrize("room_moves", [False, True])
def test_unused_points_are_not_coded_and_do_not_matter(room_moves: bool) -> None:
    """Nobody is in the right half, and in the second quarter from the left only the room is."""
    rng, size = np.random.default_rng(5), (640, 60)
    state = random_state(rng, 60, size=size)
    x = dequantize(state)[:, 0]
    state.is_room = (x > 160) | state.is_room
    state = take(state, np.flatnonzero(x < 320))
    mesh = random_mesh(rng, size)

    def payload(mesh: np.ndarray) -> bytes:
        coder = AdaptiveCoder(size)
        coder.pack_iframe(state)
        motion = Motion(mesh.astype(np.int32), room_moves)
        return coder.pack_pframe(state, coder.moved(motion, 1.0), motion)

    coder = AdaptiveCoder(size)
    coder.pack_iframe(state)
    used = coder.coded_points(room_moves).astype(bool)
    assert used[:, :3].all()
    assert used[:, 5].all() == room_moves
    assert not used[:, 6:].any()
    assert payload(np.where(used[:, :, None], mesh, 99)) == payload(mesh)
    for row, column in np.argwhere(used):
        other = mesh.copy()
        other[row, column] = 99
        assert payload(other) != payload(mesh)


def test_slow_motion_adds_up_whatever_the_step() -> None:
    """Half a pixel, said again and again, moves means by that much each time, however coarse their steps."""
    state = random_state(np.random.default_rng(17), 60, classes=(20, 4))
    coder = AdaptiveCoder(SIZE)
    coder.pack_iframe(state)
    mesh = np.full_like(random_mesh(np.random.default_rng(0)), 1)
    steps = np.ldexp(1.0, mean_log2_steps(state.size_class, state.energy_class))
    assert steps.max() == 8
    begin = dequantize(state)[:, :2]
    for i in range(1, 12):
        moved = coder.moved(Motion(mesh, True), 1.0)
        coder.pack_pframe(state, moved, Motion(mesh, True))
        state = moved
        inside = (dequantize(state)[:, :2] < np.array(SIZE) + 55).all(axis=1)
        np.testing.assert_array_equal((dequantize(state)[:, :2] - begin)[inside], 0.5 * i)
        assert (np.abs(state.drift) <= 128 * steps[:, None]).all()


def test_room_stands_still_unless_it_moves_too() -> None:
    rng = np.random.default_rng(6)
    state = random_state(rng, 60)
    coder = AdaptiveCoder(SIZE)
    coder.pack_iframe(state)
    mesh = np.full_like(random_mesh(rng), 32)  # 8 pixels
    moved = coder.moved(Motion(mesh, False), 1.0)
    np.testing.assert_array_equal(moved.symbols[state.is_room], state.symbols[state.is_room])
    assert (moved.symbols[~state.is_room, :2] != state.symbols[~state.is_room, :2]).any()
    np.testing.assert_array_equal(moved.symbols[:, 2:], state.symbols[:, 2:])


def test_change_costs_are_what_the_flag_costs() -> None:
    rng = np.random.default_rng(7)
    state = random_state(rng, 50)
    coder = AdaptiveCoder(SIZE)
    coder.pack_iframe(state)
    costs = coder.change_costs()
    assert costs.shape == (50,)
    assert np.isfinite(costs).all()
    for _ in range(12):
        coder.pack_pframe(state, state)
    assert coder.change_costs().min() > costs.max()  # nothing has changed for long


def test_bits_by_stream_are_within_the_payload() -> None:
    """Every bit is counted in its stream; plain ones, among them the places inside the cells, in the last."""
    rng = np.random.default_rng(8)
    coder = AdaptiveCoder(SIZE)
    assert tuple(coder.take_bits()) == STREAMS
    state = random_state(rng, 120, spread=2.0)
    n_bits = 8 * len(coder.pack_iframe(state))
    bits = coder.take_bits()
    n_place_bits = int((2 * (3 - mean_log2_steps(state.size_class, state.energy_class))).sum())
    assert bits["plain"] >= n_place_bits
    assert 0.97 * n_bits < sum(bits.values()) <= n_bits
    assert bits["changed"] == bits["motion"] == 0


def test_wrong_use_is_refused() -> None:
    rng = np.random.default_rng(9)
    coder, state = AdaptiveCoder(SIZE), random_state(rng, 20)
    with pytest.raises(ValueError, match="canonical order"):
        coder.pack_iframe(take(state, np.arange(20)[::-1]))
    with pytest.raises(ValueError, match="number of Gaussians"):
        coder.pack_pframe(state, state)  # the coder holds none after that
    coder.pack_iframe(state)
    with pytest.raises(ValueError, match="mesh"):
        coder.pack_pframe(state, state, Motion(np.zeros((1, 1, 2), np.int32), False))
    with pytest.raises(ValueError, match="motion"):
        coder.pack_pframe(state, state, Motion(random_mesh(rng) + 5000, False))
    beyond = state.copy()
    beyond.symbols[0, 0] = 1 << 22
    with pytest.raises(RuntimeError, match="mean"):
        coder.pack_pframe(state, beyond)


def test_errors_of_the_stream() -> None:
    rng = np.random.default_rng(10)
    state = random_state(rng, 60)
    payload = AdaptiveCoder(SIZE).pack_iframe(state)
    with pytest.raises(LimitError):
        AdaptiveCoder(SIZE).unpack_iframe(payload, 1.0, 59)
    with pytest.raises(CorruptError, match="left over"):
        AdaptiveCoder(SIZE).unpack_iframe(payload + 5 * b"\1", 1.0, 60)
    for n_bytes in range(1, len(payload) - 4, 7):
        with pytest.raises(CorruptError):
            AdaptiveCoder(SIZE).unpack_iframe(payload[:n_bytes], 1.0, 60)
    lie = pack(ADAPTIVE_FRAME_HEADER, {"n_gaussians": 1 << 20})
    with pytest.raises(CorruptError):
        AdaptiveCoder(SIZE).unpack_iframe(lie, 1.0, 1 << 20)
    coder = AdaptiveCoder(SIZE)
    coder.unpack_iframe(payload, 1.0, 60)
    with pytest.raises(CorruptError):
        coder.unpack_iframe(payload[:20], 1.0, 60)
    nothing = AdaptiveCoder(SIZE).pack_pframe(take(state, np.array([], int)), take(state, np.array([], int)))
    assert len(coder.unpack_pframe(nothing, state)) == 0  # nothing is left that a P-frame could damage


def test_a_motion_alone_changes_nothing_but_moves() -> None:
    rng = np.random.default_rng(12)
    state = random_state(rng, 40)
    coder, decoder = AdaptiveCoder(SIZE), AdaptiveCoder(SIZE)
    reference = decoder.unpack_iframe(coder.pack_iframe(state), 1.0, 100)
    rows, columns = (((n - 1) >> 6) + 2 for n in (SIZE[1], SIZE[0]))
    motion = Motion(np.full((rows, columns, 2), 60, np.int32), True)
    moved = coder.moved(motion, 1.0)
    after = decoder.unpack_pframe(coder.pack_pframe(state, moved, motion), reference)
    assert (after.symbols != reference.symbols).any()
    assert coder.n_changed == decoder.n_changed == 0
    changed = take(moved, np.arange(len(moved)))
    changed.symbols[:3, 5] += 1
    decoder.unpack_pframe(coder.pack_pframe(moved, changed, None), after)
    assert coder.n_changed == decoder.n_changed == 3
