"""The slow, obvious twin of the adaptive coder, written from docs/bitstream.md, "Adaptive coding".

Plain Python integers and dictionaries, no table that is not in the document. This file has the arithmetic
coder, the decisions and the binarisation; `adaptive_twin_frames` has what frames consist of.
"""

from __future__ import annotations

import functools
import struct
from collections import defaultdict
from pathlib import Path

from gscodec.coding.adaptive import STREAMS

COUNTER_LIMIT = 120
FIRST_WEIGHT = 17000
LEARNING_RATE = 3
MAX_WEIGHT = 1 << 30
MIN_PROBABILITY = 64
MAX_LENGTH = 28
MAX_OVERRUN = 4  # zero bytes that may be left out at the end
PLAIN = 32768

# fmt: off
SQUASH = (
    22, 36, 60, 98, 162, 267, 439, 720, 1179, 1921, 3108, 4971, 7812, 11955, 17625, 24743, 32768,
    40793, 47911, 53581, 57724, 60565, 62428, 63615, 64357, 64816,
    65097, 65269, 65374, 65438, 65476, 65500, 65514,
)
# fmt: on


def clamp(v: int, low: int, high: int) -> int:
    return min(max(v, low), high)


def sign(v: int) -> int:
    return (v > 0) - (v < 0)


def bl(v: int) -> int:
    """Binary digits of |v|."""
    return abs(v).bit_length()


def graded(v: int, n: int) -> int:
    return n + sign(v) * min(bl(v), n)


def divide(a: int, b: int) -> int:
    """a / b, rounded towards zero."""
    return abs(a) // abs(b) * (1 if (a < 0) == (b < 0) else -1)


def squash(x: int) -> int:
    x = clamp(x, -2047, 2047)
    i, f = (x + 2048) >> 7, (x + 2048) % 128
    return (SQUASH[i] * (128 - f) + SQUASH[i + 1] * f + 64) >> 7


@functools.cache
def stretch(y: int) -> int:
    return next((x for x in range(-2047, 2048) if squash(x) >> 4 >= y), 2047)


class Writer:
    """Bits -> bytes, with an interval of unlimited precision: no carry to propagate."""

    def __init__(self) -> None:
        self.low, self.range, self.n_shifts = 0, 0xFFFFFFFF, 0

    def bit(self, bit: int | None, p: int) -> int:
        assert bit in (0, 1)
        bound = self.range * p >> 16
        if bit:
            self.range = bound
        else:
            self.low += bound
            self.range -= bound
        while self.range < 1 << 24:
            self.low, self.range = self.low << 8, self.range << 8
            self.n_shifts += 1
        return bit

    def finish(self) -> bytes:
        for zeros in range(32, -1, -1):
            value = -(-self.low >> zeros) << zeros  # the next multiple of 2^zeros
            if value < self.low + self.range:
                break
        data = value.to_bytes(self.n_shifts + 4, "big")
        for _ in range(MAX_OVERRUN):
            data = data.removesuffix(b"\0")
        return data


class Reader:
    """Bytes -> bits."""

    def __init__(self, data: bytes) -> None:
        self.data, self.at = data, 0
        self.range, self.code = 0xFFFFFFFF, 0
        for _ in range(4):
            self.code = self.code << 8 | self.next_byte()

    def next_byte(self) -> int:
        self.at += 1
        assert self.at <= len(self.data) + MAX_OVERRUN, "cut"
        return self.data[self.at - 1] if self.at <= len(self.data) else 0

    def bit(self, bit: int | None, p: int) -> int:
        bound = self.range * p >> 16
        if self.code < bound:
            bit, self.range = 1, bound
        else:
            bit, self.code, self.range = 0, self.code - bound, self.range - bound
        while self.range < 1 << 24:
            self.code, self.range = self.code << 8 | self.next_byte(), self.range << 8
        return bit

    def finish(self) -> None:
        assert self.at >= len(self.data), "bytes are left"


PRIORS = Path(__file__).parents[2] / "src/gscodec/coding/priors"
PRIOR_NODES = ("zero", "sign", None, *(("length", i) for i in range(1, 6)))


@functools.cache
def prior(blend: str = "sum") -> tuple[dict[tuple, tuple[int, int]], dict[tuple, int]]:
    """The tables of coding/priors as docs/bitstream.md, "Prior", reads them: counters (p, n) and weights."""
    data = (PRIORS / f"{blend}.bin").read_bytes()
    assert data[:4] == b"GSVP"
    n_streams, n_nodes, n_rows = struct.unpack_from("<HHI", data, 4)
    assert (n_streams, n_nodes) == (len(STREAMS) - (4 if blend == "sum" else 1), len(PRIOR_NODES))
    counters, weights = {}, {}
    for stream, i, context, *packed in struct.iter_unpack("<3B8H", data[12 : 12 + 19 * n_rows]):
        for node, number in zip(PRIOR_NODES, packed, strict=True):
            if number:
                counters[STREAMS[stream], i, context, node] = number // 256 * 257, number % 256
    numbers = iter(data[12 + 19 * n_rows :])
    for stream in STREAMS[:n_streams]:
        for node in PRIOR_NODES:
            for i in range(4):
                weights[stream, node, i] = next(numbers) * 1024
    assert next(numbers, None) is None
    return counters, weights


Inputs = tuple[int | None, ...]  # the context of each input, None where it is not in use
Node = str | tuple[str, int] | tuple[str, int, int]


class Coder:
    """Symbols -> bits or back, with all counters and weights of a GOP. A value is None while decoding."""

    def __init__(self, trained: str) -> None:
        """`trained`: the blend whose prior it begins with, or "" for none."""
        self.counters: dict[tuple, list[int]] = defaultdict(lambda: [32768, 0])  # p, n
        self.weights: dict[tuple, int] = defaultdict(lambda: FIRST_WEIGHT)
        if trained:
            counters, weights = prior(trained)
            self.counters.update({key: list(counter) for key, counter in counters.items()})
            self.weights.update(weights)
        self.bits: Writer | Reader = Writer()

    def plain(self, bit: int | None) -> int:
        return self.bits.bit(bit, PLAIN)

    def decide(self, stream: str, inputs: Inputs, node: Node, bit: int | None) -> int:
        used = [i for i, context in enumerate(inputs) if context is not None]
        counters = [self.counters[stream, i, inputs[i], node] for i in used]
        t = [stretch(counter[0] >> 4) for counter in counters]
        p = squash(sum(self.weights[stream, node, i] * x for i, x in zip(used, t, strict=True)) >> 16)
        p = clamp(p, MIN_PROBABILITY, 65536 - MIN_PROBABILITY)
        bit = self.bits.bit(bit, p)
        target = 65535 if bit else 0
        for i, counter, x in zip(used, counters, t, strict=True):
            w = self.weights[stream, node, i] + (x * (target - p) * LEARNING_RATE >> 16)
            self.weights[stream, node, i] = clamp(w, -MAX_WEIGHT, MAX_WEIGHT)
            rate = 655360 // (10 * counter[1] + 20)
            counter[0] += (target - counter[0]) * rate >> 16
            counter[1] = min(counter[1] + 1, COUNTER_LIMIT)
        return bit

    def flag(self, stream: str, inputs: Inputs, bit: int | None) -> int:
        return self.decide(stream, inputs, "zero", bit)

    def unsigned(self, stream: str, inputs: Inputs, v: int | None) -> int:
        if self.decide(stream, inputs, "zero", None if v is None else int(v == 0)):
            return 0
        return self.magnitude(stream, inputs, v)

    def signed(self, stream: str, inputs: Inputs, v: int | None) -> int:
        if self.decide(stream, inputs, "zero", None if v is None else int(v == 0)):
            return 0
        negative = self.decide(stream, inputs, "sign", None if v is None else int(v < 0))
        m = self.magnitude(stream, inputs, None if v is None else abs(v))
        return -m if negative else m

    def magnitude(self, stream: str, inputs: Inputs, m: int | None) -> int:
        length = 1
        while length < MAX_LENGTH:
            if not self.decide(
                stream, inputs, ("length", length), None if m is None else int(bl(m) > length)
            ):
                break
            length += 1
        value = 1
        for depth in range(length - 1):
            bit = None if m is None else m >> (length - 2 - depth) & 1
            if depth == 0:
                bit = self.decide(stream, inputs, ("second", length), bit)
            elif depth == 1:
                bit = self.decide(stream, inputs, ("third", length, value & 1), bit)
            else:
                bit = self.plain(bit)
            value = value << 1 | bit
        return value
