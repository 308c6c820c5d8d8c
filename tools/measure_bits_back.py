#!/usr/bin/env python3
"""Say what bits-back saves in .gsv files, against naming, log2 n! and sorting (docs/bits.md).

python tools/measure_bits_back.py FILE.gsv...    made with --profile paper, or --entropy ans or bits-back

P-frames are coded again under ans (ascending indices, gaps) and bits-back, whole payloads. I-frames of the
profiles paper and gaussianimage are coded once more as a list in their order, as a multiset by bits-back,
and sorted by x with gaps, all three under the same models.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator
from typing import Any

import numpy as np

from gscodec.coding.bits_back import (
    TOTAL_LOG2,
    Ans,
    pop_multiset,
    push_multiset,
    push_uniform,
)
from gscodec.coding.entropy import make_writer, symbol_interval
from gscodec.config import DecoderLimits
from gscodec.container.container import GsvReader
from gscodec.container.headers import FrameType
from gscodec.decode.decoder import check_sequence
from gscodec.decode.profile import AnyState, make_profile_coder
from gscodec.errors import GscodecError
from gscodec.paper.frames import EXPONENT, FIRST_ENTRY, LEVEL, SECOND_ENTRY, level_centers
from gscodec.paper.quantize import PaperState

GAP = 50  # model of the gaps between sorted x


def main() -> None:
    """Print a line for the P-frames and one for the I-frames of every file."""
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    for name in sys.argv[1:]:
        rows_p, rows_i = [], []
        for sequence, reference, state in states(name):
            if reference is not None:
                rows_p.append(of_pframe(sequence, reference, state))
            elif isinstance(state, PaperState):
                rows_i.append(of_iframe(state))
        print(name)
        show("P-frames", rows_p)
        show("I-frames", rows_i)


def states(name: str) -> Iterator[tuple[Any, AnyState | None, AnyState]]:
    """Sequence, reference (None for an I-frame) and state of every frame."""
    with GsvReader(name) as reader:
        sequence = check_sequence(reader.sequence, DecoderLimits())
        size = sequence.width, sequence.height
        coder = make_profile_coder(sequence.profile, sequence.entropy, size, sequence.blend)
        state: AnyState | None = None
        for packet in reader:
            if packet.frame_type is None:
                continue
            reference = state
            if packet.frame_type == FrameType.I:
                reference, state = None, coder.unpack_iframe(packet.payload, sequence.quality, 1 << 20)
            else:
                state = coder.unpack_pframe(packet.payload, reference)
            assert state is not None
            yield sequence, reference, state


def of_pframe(sequence: Any, reference: AnyState, state: AnyState) -> dict[str, float]:
    """Figures of one P-frame."""
    k = int((state.symbols != reference.symbols).any(axis=1).sum())
    n = len(state)
    size = (sequence.width, sequence.height)
    coded = {
        entropy: len(make_profile_coder(sequence.profile, entropy, size, "sum").pack_pframe(reference, state))
        for entropy in ("ans", "bits-back")
    }
    return {
        "n": n,
        "changed": k,
        "named one by one, bits": k * math.log2(max(n, 1)),
        "log2 k!, bits": log2_factorial(k),
        "log2 C(n, k), bits": log2_factorial(n) - log2_factorial(k) - log2_factorial(n - k),
        "ans (sorted gaps), bytes": coded["ans"],
        "bits-back, bytes": coded["bits-back"],
    }


def of_iframe(state: PaperState) -> dict[str, float]:
    """Figures of one I-frame under the paper's quantisers, tables not counted."""
    n, centers = len(state), level_centers(state.symbols)
    elements = [tuple(row) for row in state.symbols.tolist()]
    plain = Ans([])
    for element in elements:
        push_element(plain, element, centers)
    # Another payload first, so that the first pops are free: here the first eighth of the list.
    first = n // 8
    multiset = Ans([])
    for element in elements[:first]:
        push_element(multiset, element, centers)
    push_multiset(multiset, elements[first:], lambda c, e: push_element(c, e, centers))
    check(multiset, elements[first:], centers)
    order = np.argsort(ordered(state.symbols[:, 0]), kind="stable")
    codes = state.symbols[order]
    gaps = make_writer("ans")
    gaps.put(np.diff(ordered(codes[:, 0]), prepend=0), None, False, GAP)
    rest = Ans([])
    for row in codes.tolist():
        push_element(rest, (None, *row[1:]), centers)
    return {
        "n": n,
        "log2 n!, bytes": log2_factorial(n - first) / 8,
        "a list, bytes": 4 * len(plain.words()),
        "multiset, bytes": 4 * len(multiset.words()),
        "sorted by x, bytes": sum(map(len, gaps.finish())) + 4 * len(rest.words()),
    }


def ordered(halves: np.ndarray) -> np.ndarray:
    """Halves' bits as integers that grow with their values, from 0."""
    magnitude = halves.astype(np.int64) & 0x7FFF
    return np.where(halves >> 15, -magnitude, magnitude) + (1 << 14)


def push_element(coder: Ans, element: tuple[Any, ...], centers: np.ndarray) -> None:
    """Append the seven codes of a Gaussian under the models of paper/frames.py; None is left out."""
    for symbol, signed, model in symbols_of(element, centers):
        coder.push(*symbol_interval(symbol, signed, model))
    for half in element[:2]:
        if half is not None:
            push_uniform(coder, half >> 15 << 10 | half & 1023, 2048)


def symbols_of(element: tuple[Any, ...], centers: np.ndarray) -> Iterator[tuple[int, bool, int]]:
    yield element[6], False, SECOND_ENTRY
    yield element[5], False, FIRST_ENTRY
    for k in range(3):
        yield element[2 + k] - int(centers[k]), True, LEVEL
    for half in element[:2]:
        if half is not None:
            yield 15 - (half >> 10 & 31), False, EXPONENT


def check(coder: Ans, elements: list[tuple[int, ...]], centers: np.ndarray) -> None:
    """Take the multiset off again: nothing counts that cannot be decoded."""
    found = pop_multiset(Ans(coder.words()), len(elements), lambda c: pop_element(c, centers))
    assert found == sorted(elements)


def pop_element(coder: Ans, centers: np.ndarray) -> tuple[int, ...]:
    """Undo `push_element`."""
    rests = []
    for _ in range(2):
        value = ((coder.peek() + 1) * 2048 - 1) >> TOTAL_LOG2
        coder.pop((value << TOTAL_LOG2) // 2048, (value + 1 << TOTAL_LOG2) // 2048)
        rests.append(value)
    y, x = (rest >> 10 << 15 | 15 - pop_symbol(coder, False, EXPONENT) << 10 | rest & 1023 for rest in rests)
    levels = [pop_symbol(coder, True, LEVEL) + int(centers[k]) for k in (2, 1, 0)]
    entries = [pop_symbol(coder, False, model) for model in (FIRST_ENTRY, SECOND_ENTRY)]
    return (x, y, *levels[::-1], *entries)


def pop_symbol(coder: Ans, signed: bool, model: int) -> int:
    """Take off one symbol of a model."""
    for symbol in range(-62 if signed else 0, 63):
        low, high = symbol_interval(symbol, signed, model)
        if low <= coder.peek() < high:
            coder.pop(low, high)
            return symbol
    raise ValueError("an escape")


def log2_factorial(n: int) -> float:
    return math.lgamma(n + 1) / math.log(2)


def show(title: str, rows: list[dict[str, float]]) -> None:
    """Print the mean of each figure."""
    if rows:
        print(f"  {len(rows)} {title}, means")
        for key in rows[0]:
            print(f"    {key:28}{np.mean([row[key] for row in rows]):10.1f}")


if __name__ == "__main__":
    try:
        main()
    except GscodecError as error:
        sys.exit(f"error: {error}")
