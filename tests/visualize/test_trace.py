"""Who was updated, moved, born, removed, and whose bits are whose: against what was packed."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from coded_disc import write_disc

from coding_states import SIZE, changed_state, random_state
from gscodec.coding.adaptive import STREAMS, AdaptiveCoder, Motion, renewed
from gscodec.coding.frames import PlainCoder
from gscodec.coding.quantize import NO_WEIGHT, WEIGHT, dequantize
from gscodec.config import DecoderLimits
from gscodec.container.packet import Packet
from gscodec.decode.decoder import Sequence
from gscodec.visualize.bitmap import bit_map
from gscodec.visualize.draw import GRAY, GREEN, ORANGE, RED, outlines
from gscodec.visualize.scene import Scene, scenes, survey
from gscodec.visualize.trace import Fate, Trace, Tracer
from gscodec.visualize.views import VIEWS, Canvas

SEQUENCE = Sequence(*SIZE, "default", "adaptive", "normalised", 1.0, 0, "coarse")
OF_A_GAUSSIAN = [
    i for i, name in enumerate(STREAMS) if name not in ("motion", "motion-x", "motion-y", "births")
]


def visible(rng: np.random.Generator, n: int) -> Any:
    state = random_state(rng, n, n_symbols=9, spread=4)
    state.symbols[:, WEIGHT] = np.clip(state.symbols[:, WEIGHT], NO_WEIGHT + 1, 9)
    return state


def packet(payload: bytes, *, key: bool = False) -> Packet:
    return Packet(0, 0, key, payload)


def coded_pair(rng: np.random.Generator, motion: bool) -> tuple[list[Trace], Any, list[int], list[int], Any]:
    """Traces of an I-frame and of a P-frame; the state before, who was updated, who left, the newborn."""
    coder = AdaptiveCoder(SIZE, blend="normalised")
    before, born = visible(rng, 60), visible(rng, 4)
    packets = [packet(coder.pack_iframe(before), key=True)]
    moves = None
    start = before
    if motion:
        _, rows, columns = coder.mesh
        mesh = np.zeros((rows, columns, 2), np.int32)
        mesh[:, : columns // 2] = 6
        moves = Motion(mesh, True)
        start = coder.moved(moves, 1.0)
    after = start.copy()
    updated, gone = [3, 11, 40], [17, 41]
    after.symbols[updated, 5] += 2
    after.symbols[gone, WEIGHT] = NO_WEIGHT
    packets.append(packet(coder.pack_pframe(before, after, moves, born)))
    tracer = Tracer(SEQUENCE, DecoderLimits())
    traces = [tracer.take(p) for p in packets]
    np.testing.assert_array_equal(traces[1].params[traces[1].is_live], dequantize(renewed(after, born)))
    return traces, before, updated, gone, born


@pytest.mark.parametrize("motion", [False, True])
def test_every_gaussian_has_the_fate_that_was_packed(rng, motion: bool) -> None:
    (first, second), before, updated, gone, born = coded_pair(rng, motion)
    assert (first.fate == Fate.BORN).all()
    kept = [i for i in range(len(before)) if i not in gone]
    fates = dict(zip(kept, second.fate, strict=False))
    assert [i for i in kept if fates[i] == Fate.UPDATED] == updated
    assert (second.fate[len(kept) :] == [Fate.BORN] * len(born) + [Fate.GONE] * len(gone)).all()
    np.testing.assert_array_equal(second.params[-2:], dequantize(before)[gone])
    moved = [i for i in kept if fates[i] == Fate.MOVED]
    still = [i for i in kept if fates[i] == Fate.UNTOUCHED]
    same = (second.params[: len(kept)] == dequantize(before)[kept]).all(axis=1)
    assert [i for i, s in zip(kept, same, strict=True) if s and i not in updated] == still
    assert bool(moved) == motion
    assert still


@pytest.mark.parametrize("motion", [False, True])
def test_bits_are_those_of_the_streams_and_dearest_where_something_was_said(rng, motion: bool) -> None:
    traces, *_ = coded_pair(rng, motion)
    for trace in traces:
        assert 0 <= trace.n_bits - trace.bits.sum() < 40 + 200 * motion
    said = np.isin(traces[1].fate, (Fate.UPDATED, Fate.BORN, Fate.GONE))
    assert traces[1].bits[said].min() > 3 * traces[1].bits[~said].max()
    assert (traces[0].bits > 5).all()


def test_both_ends_count_the_same_bits_for_each_gaussian(rng) -> None:
    """And their sum is what `take_bits` says of those streams that are of single Gaussians."""
    ends = AdaptiveCoder(SIZE, blend="normalised"), AdaptiveCoder(SIZE, blend="normalised")
    for end in ends:
        end.take_bits()
    state = visible(rng, 80)
    payload = ends[0].pack_iframe(state)
    reference = ends[1].unpack_iframe(payload, 1.0, 1000)
    for n in range(3):
        np.testing.assert_allclose(ends[0].gaussian_bits, ends[1].gaussian_bits, atol=1e-9)
        streams = [list(end.take_bits().values()) for end in ends]
        for end, bits in zip(ends, streams, strict=True):
            of_gaussians = sum(bits[i] for i in OF_A_GAUSSIAN)
            assert of_gaussians == pytest.approx(end.gaussian_bits.sum(), abs=1e-6)
        after = changed_state(rng, state, 0.2)
        after.symbols[:, WEIGHT] = np.maximum(after.symbols[:, WEIGHT], NO_WEIGHT + 1)
        payload = ends[0].pack_pframe(state, after, None, visible(rng, 1) if n == 1 else None)
        reference = ends[1].unpack_pframe(payload, reference)
        state = reference
        assert len(ends[0].updated) == len(after)


def test_coders_without_bits_of_their_own_share_them_out_evenly(rng) -> None:
    coder = PlainCoder("ans", SIZE)
    before = random_state(rng, 30)
    after = before.copy()
    after.symbols[[2, 9], 5] += 1
    tracer = Tracer(Sequence(*SIZE, "default", "ans", "sum", 1.0, 0, "coarse"), DecoderLimits())
    tracer.take(packet(coder.pack_iframe(before), key=True))
    trace = tracer.take(packet(coder.pack_pframe(before, after)))
    assert np.flatnonzero(trace.fate == Fate.UPDATED).tolist() == [2, 9]
    np.testing.assert_allclose(trace.bits[[2, 9]], trace.n_bits / 2)
    assert trace.bits.sum() == pytest.approx(trace.n_bits)


def test_map_of_bits_sums_to_the_frame_and_follows_the_gaussians(rng) -> None:
    traces, *_ = coded_pair(rng, True)
    for trace in traces:
        for grid in (SIZE, (50, 30), (1, 1)):
            assert bit_map(trace, SIZE, grid).sum() == pytest.approx(trace.n_bits)
    one = Trace(
        np.array([[30, 20, 2, 0, 2, 0, 0, 0], [-50, 10, 1, 0, 1, 0, 0, 0]], np.float32),
        np.zeros(2, bool),
        np.zeros(2, np.uint8),
        np.array([100.0, 7.0]),
        107,
    )
    found = bit_map(one, (64, 40), (64, 40))
    y, x = np.mgrid[:40, :64] + 0.5
    weight = np.exp(-((x - 30) ** 2 + (y - 20) ** 2) / 8)
    expected = 100 * weight / weight.sum()
    expected[10, 0] += 7  # outside: at the edge, beside where it is
    np.testing.assert_allclose(found, expected, atol=1e-3)


def test_changed_is_drawn_exactly_where_something_changed(rng) -> None:
    """Each Gaussian by itself: its outline has its fate's colour."""
    params = np.array([[24, 20, 8, 0, 5, 0, 0, 0]], np.float32)
    blank = np.zeros((40, 48, 3), np.uint8)
    canvas = Canvas((480, 400), (48, 40), np.zeros((400, 480, 3), np.uint8))
    points = np.floor(outlines(params)[0] * 10).astype(int)
    for fate, color in (
        (Fate.UPDATED, ORANGE),
        (Fate.BORN, GREEN),
        (Fate.GONE, RED),
        (Fate.UNTOUCHED, GRAY),
    ):
        trace = Trace(params, np.zeros(1, bool), np.array([fate], np.uint8), np.ones(1), 8)
        scene = Scene(0, 0, 0.0, "P-frame", 1, trace, trace, 0, 0, blank, blank, blank[:, :, 0])
        panel = VIEWS["changed"].draw(scene, canvas)
        assert panel.pixels.shape == (400, 480, 3)
        drawn = panel.pixels[points[:, 1], points[:, 0]].mean(axis=0)
        np.testing.assert_allclose(drawn / drawn.max(), np.array(color) / max(color), atol=0.05)
        assert not panel.pixels[:100].any()
        assert len(panel.keys) == 1
        assert panel.keys[0][1].startswith("1 ")


def test_scenes_are_what_a_decoder_shows(tmp_path) -> None:
    _, gsv = write_disc(tmp_path, 7, b_frames=True)
    facts = survey(gsv)
    assert len(facts.times) == 7
    assert facts.has_person
    every = list(scenes(gsv, facts, range(7)))
    assert [scene.number for scene in every] == list(range(7))
    assert [every[i].number for i in facts.coded] == [s.number for s in every if s.kind != "B-frame"]
    some = list(scenes(gsv, facts, [2, 5]))
    for scene in some:
        np.testing.assert_array_equal(scene.picture, every[scene.number].picture)
        assert scene.trace.n_bits == 8 * scene.n_bytes
    for scene in every:
        coded = every[scene.coded_number]
        assert coded.kind != "B-frame"
        assert (scene.kind == "B-frame") == (coded is not scene)
        np.testing.assert_array_equal(scene.coded.bits, coded.trace.bits)
