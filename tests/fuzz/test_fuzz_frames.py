"""Seeded fuzzing of payloads and decoders: only BitstreamError, bounded memory, an intact next GOP."""

from __future__ import annotations

import os
import random
import tracemalloc
from typing import Any

import numpy as np
import pytest

from coding_states import SIZE, assert_same, changed_state, extreme_state, random_state
from gscodec.coding.adaptive import AdaptiveCoder, Motion, renewed
from gscodec.coding.frames import make_frame_coder
from gscodec.coding.quantize import State
from gscodec.config import DecoderLimits
from gscodec.container.headers import ENTROPY_CODES, SEQUENCE_HEADER, FrameType
from gscodec.decode.decoder import Decoder
from gscodec.errors import BitstreamError

pytest.importorskip("gscodec.splat.cpu.raster", reason="no native core", exc_type=ImportError)

N_CASES = 20_000 if os.environ.get("HYPOTHESIS_PROFILE") == "fuzz" else 150
MAX_PEAK_BYTES = 4 << 20
LIMITS = DecoderLimits(max_gaussians=2000)
CODERS = ("adaptive", "adaptive-0.1.0", "ans", "bits-back", "zstd")
Gop = list[tuple[bytes, FrameType]]


def make_gop(entropy: str, seed: int) -> tuple[Gop, State]:
    """An I-frame and three P-frames, and the state after them."""
    rng = np.random.default_rng(seed)
    make = (random_state, extreme_state)[seed % 2]
    state = make(rng, (40, 3, 0, 150)[seed % 4])
    coder = make_frame_coder(entropy, SIZE)
    gop = [(coder.pack_iframe(state), FrameType.I)]
    for i in range(3):
        base, motion, born = state, None, None
        if isinstance(coder, AdaptiveCoder) and i:
            motion = Motion(rng.integers(-90, 91, (3, 5, 2), np.int32), i == 2)
            base, born = coder.moved(motion, 1.0), make(rng, 6 * i)
        after = changed_state(rng, base, 0.4)
        extra = (motion, born) if isinstance(coder, AdaptiveCoder) else ()
        gop.append((coder.pack_pframe(state, after, *extra), FrameType.P))
        state = after if born is None else renewed(after, born)
    return gop, state


GOPS = {(entropy, seed): make_gop(entropy, seed) for entropy in CODERS for seed in range(8)}


def sequence(entropy: str) -> dict[str, Any]:
    header = {field.name: field.low for field in SEQUENCE_HEADER}
    header |= {"width": SIZE[0], "height": SIZE[1], "quality_q8": 256}
    return header | {"entropy": ENTROPY_CODES.index(entropy)}


def mutated(rng: random.Random, gop: Gop) -> Gop:
    """Some packets with bytes changed, removed, inserted or cut; lost, doubled, or of the other kind."""
    out = []
    for payload, kind in gop:
        data = bytearray(payload)
        for _ in range(rng.choice((0, 0, 1, 1, 3))):
            at = rng.randrange(len(data) + 1)
            end = min(len(data), at + rng.choice((0, 1, 1, 2, 9)))
            data[at:end] = rng.choice((b"", rng.randbytes(end - at), rng.randbytes(end - at), b"\xff" * 3))
        if rng.random() < 0.05:
            kind = FrameType(1 - kind)
        if rng.random() > 0.05:
            out += [(bytes(data), kind)] * rng.choice((1, 1, 1, 1, 2))
    return out


def garbage(rng: random.Random, gop: Gop) -> Gop:
    """The first bytes of a payload, then anything."""
    return [
        (
            payload[: rng.randrange(4)] + rng.randbytes(rng.choice((0, 1, 5, 60, 600))),
            rng.choice((FrameType.I, FrameType.P, FrameType.RECOVERY)),
        )
        for payload, _ in gop
    ]


def long_numbers(rng: random.Random, gop: Gop) -> Gop:
    """Runs of one byte drive adaptive probabilities and magnitudes to their ends."""
    fills = (b"\0", b"\xff", b"\x80", b"\x01", b"\xaa")
    return [
        (bytes([rng.choice((1, 2, 60, 127))]) + rng.choice(fills) * rng.choice((3, 80, 3000)), kind)
        for _, kind in gop
    ]


@pytest.mark.parametrize("make", [mutated, garbage, long_numbers])
@pytest.mark.parametrize("entropy", CODERS)
def test_only_bitstream_errors_and_little_memory(entropy: str, make) -> None:
    rng = random.Random(f"{entropy} {make.__name__}")
    decoder = Decoder(sequence(entropy), limits=LIMITS, backend="cpu", threads=1)
    tracemalloc.start()
    n_decoded = 0
    for case in range(N_CASES):
        gop, last = GOPS[entropy, case % 8]
        for payload, kind in make(rng, gop):
            try:
                decoder.decode(payload, kind)
                n_decoded += 1
            except BitstreamError as error:
                str(error)
        if case % 25 == 0:  # whatever came before, a sound GOP decodes
            for payload, kind in gop:
                decoder.decode(payload, kind)
            assert_same(decoder.state, last)
            decoder.render()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < MAX_PEAK_BYTES
    assert n_decoded > 0 or make is not mutated


@pytest.mark.parametrize("entropy", CODERS)
def test_valid_states_of_any_values_can_be_drawn(entropy: str) -> None:
    """What passes the decoder's checks never makes the rasteriser fail, however large or thin."""
    rng = random.Random(entropy)
    decoder = Decoder(sequence(entropy), limits=LIMITS, backend="cpu", threads=1)
    for case in range(min(N_CASES, 200)):
        for payload, kind in mutated(rng, GOPS[entropy, case % 8][0]):
            try:
                gaussians = decoder.decode(payload, kind)
            except BitstreamError:
                continue
            assert np.isfinite(gaussians.params).all()
            picture = decoder.render()
            assert picture.shape == (SIZE[1], SIZE[0], 3)
