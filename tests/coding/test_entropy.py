"""The coders ans and zstd: round trips, golden bytes, rate, corruption; ANS against docs/bitstream.md."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gscodec.coding.entropy import (
    MAX_PLAIN,
    RATIOS,
    AnsReader,
    AnsWriter,
    BitReader,
    BitWriter,
    _costs,
    _table,
    make_reader,
    make_writer,
    unzigzag,
    zigzag,
)
from gscodec.errors import CorruptError

DOC = (Path(__file__).parents[2] / "docs" / "bitstream.md").read_text(encoding="utf-8")
CODERS = ("ans", "zstd")
TOP = (1 << 20) - 1
GOLDEN_SYMBOLS = "9604ff1d7a167c7a40487f8674"
GOLDEN_BITS = "fe73d6bfbefffffbffffbb404cb288"
EDGES = (0, 1, -1, 61, 62, 63, 64, -61, -62, -63, -64, 127, 128, -128, 254, 255, 256, TOP, -TOP, 1 << 28)

numbers = st.one_of(st.integers(-3, 3), st.sampled_from(EDGES), st.integers(-TOP, TOP))
streams = st.lists(
    st.tuples(
        st.lists(st.tuples(numbers, st.integers(0, 24)), max_size=40),
        st.booleans(),  # signed
        st.booleans(),  # with contexts
        st.integers(0, 63),  # default model
    ),
    max_size=5,
)


def write(entropy: str, values: np.ndarray, signed: bool = True, model: int = 20) -> tuple[bytes, bytes]:
    writer = make_writer(entropy)
    writer.put(values, None, signed, model)
    return writer.finish()


@pytest.mark.parametrize("entropy", CODERS)
@given(
    streams=streams, plain=st.lists(st.tuples(st.integers(0, (1 << 31) - 1), st.integers(0, 31)), max_size=9)
)
def test_round_trip(entropy: str, streams: list, plain: list) -> None:
    writer, expected = make_writer(entropy), []
    for pairs, signed, has_contexts, model in streams:
        values = np.array([v if signed else abs(v) for v, _ in pairs], np.int64)
        contexts = np.array([c for _, c in pairs], np.int64) if has_contexts else None
        writer.put(values, contexts, signed, model)
        expected.append((values, contexts, signed, model))
    widths = np.array([w for _, w in plain], np.int64)
    raw = np.array([v & ((1 << w) - 1) for v, w in plain], np.int64)
    writer.put_raw(raw, widths)
    symbols, bits = writer.finish()
    reader = make_reader(entropy, symbols, bits, 1000)
    for values, contexts, signed, model in expected:
        got = reader.get(len(values), contexts, signed, model)
        assert got.dtype == np.int32
        np.testing.assert_array_equal(got, values)
    np.testing.assert_array_equal(reader.get_raw(widths), raw)
    reader.finish()


@pytest.mark.parametrize("entropy", CODERS)
def test_nothing_is_nothing(entropy: str) -> None:
    symbols, bits = write(entropy, np.zeros(0, np.int64))
    reader = make_reader(entropy, symbols, bits, 0)
    assert len(reader.get(0, None, True, 20)) == 0
    assert len(reader.get_raw(np.zeros(0, np.int64))) == 0
    reader.finish()
    assert bits == b""
    assert entropy == "zstd" or symbols == b""


def test_golden_bytes_of_ans() -> None:
    """What is written today can be read for ever."""
    signed = np.array([0, 1, -1, 5, -62, 62, 63, -63, TOP, -TOP])
    unsigned, contexts = np.array([0, 0, 1, 0, 300, 2, 0]), np.array([4, 4, 1, 4, 1, 1, 4])
    reader = AnsReader(bytes.fromhex(GOLDEN_SYMBOLS), bytes.fromhex(GOLDEN_BITS))
    assert reader.get(10, None, True, 20).tolist() == signed.tolist()
    assert reader.get(7, contexts, False, 10).tolist() == unsigned.tolist()
    assert reader.get_raw(np.array([3, 0, 4])).tolist() == [5, 0, 1]
    reader.finish()
    writer = AnsWriter()
    writer.put(signed, None, True, 20)
    writer.put(unsigned, contexts, False, 10)
    writer.put_raw(np.array([5, 0, 1]), np.array([3, 0, 4]))
    symbols, bits = writer.finish()
    assert symbols.hex() == GOLDEN_SYMBOLS
    assert bits.hex() == GOLDEN_BITS


def document_table(signed: bool, ratio: int) -> list[int]:
    """A model's frequencies as docs/bitstream.md makes them."""
    v = [1 << 40]
    for _ in range(63):
        v.append(v[-1] * ratio // 65536)
    weights = ([*v[62:0:-1], *v[:63]] if signed else v[:63]) + [max(v[63], 1)]
    n, total = len(weights), sum(weights)
    frequencies = [1 + w * (2**24 - n) // total for w in weights]
    frequencies[62 if signed else 0] += 2**24 - sum(frequencies)
    return frequencies


def test_models_are_the_documents() -> None:
    printed = re.search(r"the t-th of\n\n((?:    [\d ]+\n)+)", DOC)
    assert printed
    assert tuple(map(int, printed[1].split())) == RATIOS
    for signed in (False, True):
        for model, ratio in enumerate(RATIOS):
            table = document_table(signed, ratio)
            assert table == _table(signed, model).tolist()
            assert min(table) >= 1
    assert ", ".join(map(str, document_table(False, RATIOS[18])[:3])) in DOC


class DocumentAns:
    """The ANS decoder of docs/bitstream.md, in plain integers."""

    def __init__(self, data: bytes) -> None:
        data += bytes(-len(data) % 4)
        self.stack = [int.from_bytes(data[i : i + 4], "little") for i in range(0, len(data), 4)]
        self.x = 0
        for _ in range(2):
            self._refill()

    def _refill(self) -> None:
        if self.x < 1 << 32 and self.stack:
            self.x = self.x << 32 | self.stack.pop()

    def decode(self, frequencies: list[int]) -> int:
        y, before, symbol = self.x % (1 << 24), 0, 0
        while before + frequencies[symbol] <= y:
            before += frequencies[symbol]
            symbol += 1
        self.x = (self.x >> 24) * frequencies[symbol] + y - before
        self._refill()
        return symbol


@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize("n", [1, 2, 5, 300])
def test_ans_is_the_documents(signed: bool, n: int) -> None:
    rng = np.random.default_rng(n)
    values = np.rint(rng.laplace(0, 6, n)).astype(np.int64)
    values = values if signed else abs(values)
    for model in (0, 20, 63):  # a model that fits badly would be replaced: take the one that was chosen
        symbols, bits = write("ans", values, signed, model)
        if bits[0] >> 7:
            model = bits[0] >> 1 & 63
        coder = DocumentAns(symbols)
        table = document_table(signed, RATIOS[model])
        assert [coder.decode(table) - (62 if signed else 0) for _ in range(n)] == values.tolist()
        assert coder.x == 0
        assert not coder.stack


@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize("model", [8, 20, 34, 46])
def test_rate_is_the_models_entropy(signed: bool, model: int) -> None:
    rng, n = np.random.default_rng(model), 20_000
    table = _table(signed, model) / (1 << 24)
    drawn = rng.choice(len(table) - 1, n, p=table[:-1] / table[:-1].sum()) - (MAX_PLAIN if signed else 0)
    symbols, bits = write("ans", drawn, signed, model)
    entropy_bits = -(table * np.log2(table)).sum() * n
    assert 8 * (len(symbols) + len(bits)) == pytest.approx(entropy_bits, rel=0.02)
    ideal = _costs(signed)[model, drawn + (MAX_PLAIN if signed else 0)].sum(dtype=np.float64)
    assert 8 * len(symbols) == pytest.approx(ideal, rel=0.001, abs=64)


def test_models_are_sent_only_where_that_pays() -> None:
    few, many = np.array([9, 9]), np.full(200, 9)
    assert write("ans", few, False, 30)[1] == b"\x00"
    symbols, bits = write("ans", many, False, 0)
    assert bits[0] >> 7 == 1
    assert 8 * len(symbols) < 200 * 5.5


def test_leftovers_are_corrupt() -> None:
    values = np.arange(-20, 20)
    for entropy in CODERS:
        symbols, bits = write(entropy, values)
        reader = make_reader(entropy, symbols, bits, 100)
        reader.get(39, None, True, 20)
        with pytest.raises(CorruptError, match="left over"):
            reader.finish()
        reader = make_reader(entropy, symbols, bits + b"\0", 100)
        reader.get(40, None, True, 20)
        with pytest.raises(CorruptError, match="left over"):
            reader.finish()


def test_too_little_is_corrupt() -> None:
    symbols, bits = write("ans", np.array([1000] * 5))
    with pytest.raises(CorruptError, match="plain bits"):
        AnsReader(symbols, bits[:3]).get(5, None, True, 20)
    symbols, _ = write("zstd", np.array([1000] * 5))
    with pytest.raises(CorruptError, match="symbol bytes"):
        make_reader("zstd", symbols, b"", 100).get(9, None, True, 20)


@pytest.mark.parametrize("data", [b"\1\2\3\4\0\0\0\0", b"\0"])
def test_ans_words_that_end_in_zero_are_corrupt(data: bytes) -> None:
    with pytest.raises(CorruptError, match="ANS"):
        AnsReader(data, b"")


def test_zstd_frames_are_checked_before_memory_is_taken() -> None:
    symbols, _ = write("zstd", np.zeros(100_000, np.int64), False)
    assert len(symbols) < 100
    with pytest.raises(CorruptError, match="at most 50 are permitted"):
        make_reader("zstd", symbols, b"", 10)
    for bad in (b"", b"\0" * 20, symbols[:-2], symbols + b"\0", symbols + symbols):
        with pytest.raises(CorruptError):
            make_reader("zstd", bad, b"", 100_000)


def test_zstd_numbers_past_31_bits_are_corrupt() -> None:
    import zstandard

    frame = zstandard.ZstdCompressor().compress(b"\xff" + (1 << 31).to_bytes(4, "little"))
    with pytest.raises(CorruptError, match="permitted"):
        make_reader("zstd", frame, b"", 100).get(1, None, False, 20)


@given(st.lists(st.integers(-(1 << 30), 1 << 30), max_size=20))
def test_zigzag(values: list[int]) -> None:
    array = np.array(values, np.int64)
    assert (zigzag(array) >= 0).all()
    np.testing.assert_array_equal(unzigzag(zigzag(array)), array)


def test_zigzag_is_that_of_svar() -> None:
    assert zigzag(np.array([0, -1, 1, -2, 2])).tolist() == [0, 1, 2, 3, 4]


def test_bits_are_packed_from_the_top() -> None:
    writer = BitWriter()
    writer.put(np.array([1, 0, 0b101]), np.array([1, 2, 3]))
    writer.put(np.array([0]), np.array([0]))
    writer.put(np.array([0b11111]), np.array([5]))
    data = writer.finish()
    assert data == bytes([0b1_00_101_11, 0b111_00000])
    reader = BitReader(data)
    assert reader.get(np.array([1, 2, 3])).tolist() == [1, 0, 5]
    assert reader.get(np.array([0, 5])).tolist() == [0, 31]
    reader.finish()
    with pytest.raises(CorruptError, match="plain bits are wanted"):
        reader.get(np.array([6]))


def test_padding_that_is_not_zero_is_corrupt() -> None:
    reader = BitReader(b"\x81")
    reader.get(np.array([3]))
    with pytest.raises(CorruptError, match="left over"):
        reader.finish()


@pytest.mark.parametrize("entropy", CODERS)
def test_random_bytes_give_an_error_or_numbers(entropy: str) -> None:
    rng = np.random.default_rng(11)
    good = write(entropy, np.rint(rng.laplace(0, 30, 60)).astype(np.int64))
    for _ in range(400):
        symbols, bits = (bytearray(part) for part in good)
        for part in (symbols, bits):
            if len(part) and rng.random() < 0.7:
                part[rng.integers(len(part))] = rng.integers(256)
        try:
            reader = make_reader(entropy, bytes(symbols), bytes(bits), 100)
            values = reader.get(60, None, True, 20)
            reader.finish()
        except CorruptError:
            continue
        assert values.shape == (60,)
