"""Symbols <-> bytes. The only place that knows an entropy coder.

A writer takes streams of integers, each symbol with a small context number that the reader can work out from
what it has read before; a reader gives them back in the same order. Three coders share that face:

    ans        rANS (constriction) with integer tables: two-sided geometric models, one per stream and
               context, shipped defaults or sent as six bits each where that pays
    bits-back  the same, but a set of indices gives the bits of its order back (`bits_back`)
    zstd       plain bytes through zstandard: the baseline

A model is a ratio out of RATIOS. All probabilities are integers over 2^24, so no float decides a symbol.
An ANS decoder accepts any bytes, so lengths and check sums come first (container, headers), and
a reader's `finish` verifies that everything was consumed. Specified in docs/bitstream.md, "Entropy coding".
"""

from __future__ import annotations

import functools
from typing import Any, Protocol

import constriction
import numpy as np
import zstandard

from gscodec.coding.bits_back import pop_set, push_set
from gscodec.errors import CorruptError

# Ratio of the probabilities of neighbouring values, in 1/65536: half-lives of 2^((t-18)/6) values.
# fmt: off
RATIOS = (
    256, 469, 804, 1299, 1992, 2917, 4096, 5543, 7257, 9227, 11427, 13826, 16384, 19059,
    21808, 24590, 27366, 30101, 32768, 35342, 37805, 40144, 42349, 44415, 46341, 48127, 49776, 51292,
    52682, 53952, 55109, 56161, 57115, 57978, 58758, 59462, 60097, 60668, 61181, 61641, 62055, 62425,
    62757, 63055, 63321, 63559, 63772, 63962, 64132, 64283, 64419, 64540, 64648, 64744, 64830, 64907,
    64975, 65036, 65090, 65139, 65182, 65221, 65255, 65286,
)
# fmt: on
MODEL_BITS = 6
MAX_PLAIN = 62  # larger magnitudes are escapes
TOTAL_LOG2 = 24
ESCAPE_LENGTH_BITS = 5  # an escape: bit length of the remainder, then the remainder

_model_family = constriction.stream.model.Categorical


class SymbolWriter(Protocol):
    """Where a frame's symbols go; see AnsWriter."""

    def put(self, values: np.ndarray, contexts: np.ndarray | None, signed: bool, default: int) -> None: ...
    def put_raw(self, values: np.ndarray, widths: np.ndarray) -> None: ...
    def put_set(self, members: np.ndarray, n: int, default: int) -> None: ...
    def finish(self) -> tuple[bytes, bytes]: ...


class SymbolReader(Protocol):
    """Where a frame's symbols come from; see AnsReader."""

    def get(self, n: int, contexts: np.ndarray | None, signed: bool, default: int) -> np.ndarray: ...
    def get_raw(self, widths: np.ndarray) -> np.ndarray: ...
    def get_set(self, count: int, n: int, default: int) -> np.ndarray: ...
    def finish(self) -> None: ...


def make_writer(entropy: str) -> SymbolWriter:
    """A writer for the coder named in the sequence header."""
    return ZstdWriter() if entropy == "zstd" else AnsWriter(bits_back=entropy == "bits-back")


def make_reader(entropy: str, symbols: bytes, raw: bytes, max_symbols: int) -> SymbolReader:
    """The reader of what `make_writer(entropy)` finished; `max_symbols` bounds what is allocated."""
    if entropy == "zstd":
        return ZstdReader(symbols, raw, max_symbols)
    return AnsReader(symbols, raw, bits_back=entropy == "bits-back")


@functools.cache
def _table(signed: bool, model: int) -> np.ndarray:
    """Integer frequencies of one geometric model, summing to 2^24; the last entry is the escape."""
    weights, w = [], 1 << 40
    for _ in range(MAX_PLAIN + 1):
        weights.append(w)
        w = w * RATIOS[model] >> 16
    plain = weights[:0:-1] + weights if signed else weights
    plain.append(max(w, 1))  # escape: about as likely as the first value beyond
    total, n = sum(plain), len(plain)
    table = [1 + p * ((1 << TOTAL_LOG2) - n) // total for p in plain]
    table[MAX_PLAIN if signed else 0] += (1 << TOTAL_LOG2) - sum(table)
    return np.array(table, dtype=np.int64)


@functools.cache
def _model(signed: bool, model: int) -> Any:
    # constriction scales what it is given to a sum of 2^24 minus the number of symbols, rounds down, and
    # adds 1 to each. These sum to just that, so its frequencies are the table, exactly.
    return _model_family((_table(signed, model) - 1).astype(np.float64), perfect=False)


def symbol_interval(value: int, signed: bool, model: int) -> tuple[int, int]:
    """Where a number up to MAX_PLAIN lies in [0, 2^24) under a model (bits_back.Ans)."""
    table = _table(signed, model)
    at = value + (MAX_PLAIN if signed else 0)
    low = int(table[:at].sum())
    return low, low + int(table[at])


@functools.cache
def _costs(signed: bool) -> np.ndarray:
    """Bits of every symbol under every model, float32 [models, symbols]."""
    tables = np.stack([_table(signed, m) for m in range(len(RATIOS))])
    return (TOTAL_LOG2 - np.log2(tables)).astype(np.float32)


def _to_alphabet(values: np.ndarray, signed: bool) -> tuple[np.ndarray, np.ndarray]:
    """Symbols of the alphabet, and which of them are escapes."""
    escaped = (np.abs(values) > MAX_PLAIN) if signed else (values > MAX_PLAIN)
    offset = MAX_PLAIN if signed else 0
    escape = 2 * MAX_PLAIN + 1 if signed else MAX_PLAIN + 1
    return np.where(escaped, escape, values + offset).astype(np.int32), escaped


def zigzag(values: np.ndarray) -> np.ndarray:
    """Signed to unsigned: 0, −1, 1, −2 … -> 0, 1, 2, 3 …"""
    return np.where(values < 0, -2 * values - 1, 2 * values)


def unzigzag(values: np.ndarray) -> np.ndarray:
    """Undo `zigzag`."""
    return np.where(values & 1, -(values + 1) // 2, values // 2)


class BitWriter:
    """Plain bits, most significant first."""

    def __init__(self) -> None:
        self._parts: list[np.ndarray] = []

    def put(self, values: np.ndarray, widths: np.ndarray) -> None:
        """Append each value in its own number of bits (0 to 31)."""
        values, widths = np.asarray(values, np.int64), np.asarray(widths, np.int64)
        ends = np.cumsum(widths)
        if len(ends) == 0 or ends[-1] == 0:
            return
        owner = np.repeat(np.arange(len(widths)), widths)
        place = ends[owner] - 1 - np.arange(ends[-1])
        self._parts.append((values[owner] >> place & 1).astype(np.uint8))

    def finish(self) -> bytes:
        return np.packbits(np.concatenate(self._parts)).tobytes() if self._parts else b""


class BitReader:
    """Reads what BitWriter wrote."""

    def __init__(self, data: bytes) -> None:
        self._bits = np.unpackbits(np.frombuffer(data, np.uint8))
        self._at = 0

    def get(self, widths: np.ndarray) -> np.ndarray:
        """The next values, int64, one per width."""
        widths = np.asarray(widths, np.int64)
        ends = np.cumsum(widths)
        n_bits = int(ends[-1]) if len(ends) else 0
        if self._at + n_bits > len(self._bits):
            raise CorruptError(f"{n_bits} plain bits are wanted, {len(self._bits) - self._at} are left")
        if n_bits == 0:
            return np.zeros(len(widths), np.int64)
        bits = self._bits[self._at : self._at + n_bits].astype(np.int64)
        self._at += n_bits
        owner = np.repeat(np.arange(len(widths)), widths)
        place = ends[owner] - 1 - np.arange(n_bits)
        out = np.zeros(len(widths), np.int64)
        np.add.at(out, owner, bits << place)
        return out

    def finish(self) -> None:
        """Raise CorruptError unless only padding is left."""
        rest = self._bits[self._at :]
        if len(rest) > 7 or rest.any():
            raise CorruptError(f"{len(rest)} plain bits are left over, at most 7 zero ones are expected")


class AnsWriter:
    """Collects streams and codes them with rANS, last stream first, as a stack demands."""

    def __init__(self, *, bits_back: bool = False) -> None:
        self._bits_back = bits_back
        self._set: tuple[np.ndarray, int] | None = None
        self._pushes: list[tuple[np.ndarray, Any]] = []
        self._raw = BitWriter()

    def put(self, values: np.ndarray, contexts: np.ndarray | None, signed: bool, default: int) -> None:
        """Append a stream.

        Args:
            values: integers [n]; not negative unless `signed`.
            contexts: small integers [n], or None for one context.
            default: model for all contexts unless better ones pay for their six bits each.
        """
        if len(values) == 0:
            return
        symbols, escaped = _to_alphabet(values, signed)
        groups = _groups(contexts, len(values))
        costs = _costs(signed)
        per_group = [costs[:, symbols[g]].sum(axis=1) for g in groups]
        best = [int(np.argmin(c)) for c in per_group]
        gain = sum(c[default] - c[b] for c, b in zip(per_group, best, strict=True))
        custom = gain > MODEL_BITS * len(groups)
        self._raw.put(np.array([custom]), np.array([1]))
        if custom:
            self._raw.put(np.array(best), np.full(len(best), MODEL_BITS))
        for group, model in zip(groups, best if custom else [default] * len(groups), strict=True):
            self._pushes.append((symbols[group], _model(signed, model)))
        if escaped.any():
            beyond = values[escaped].astype(np.int64)
            self._put_escapes(zigzag(beyond) if signed else beyond)

    def _put_escapes(self, values: np.ndarray) -> None:
        widths = np.ceil(np.log2(values + 1.0)).astype(np.int64)
        self._raw.put(widths, np.full(len(widths), ESCAPE_LENGTH_BITS))
        self._raw.put(values, widths)

    def put_raw(self, values: np.ndarray, widths: np.ndarray) -> None:
        """Append values as they are, each in its own number of bits."""
        self._raw.put(values, widths)

    def put_set(self, members: np.ndarray, n: int, default: int) -> None:
        """Append a set, before any stream: ascending numbers below n; `default` is the model of gaps."""
        if self._bits_back:
            self._set = members, n
        else:
            self.put(np.diff(members, prepend=-1) - 1, None, False, default)

    def finish(self) -> tuple[bytes, bytes]:
        """The coded symbols, and the plain bits."""
        coder = constriction.stream.stack.AnsCoder()
        for symbols, model in reversed(self._pushes):
            coder.encode_reverse(symbols, model)
        words = coder.get_compressed()
        if self._set:  # last, so that it can give back bits of all the streams
            words = push_set(words, *self._set)
        return words.astype("<u4").tobytes().rstrip(b"\0"), self._raw.finish()


class AnsReader:
    """Reads what AnsWriter finished."""

    def __init__(self, symbols: bytes, raw: bytes, *, bits_back: bool = False) -> None:
        padded = symbols + b"\0" * (-len(symbols) % 4)
        self._bits_back = bits_back
        self._raw = BitReader(raw)
        self._start(np.frombuffer(padded, "<u4").astype(np.uint32))

    def _start(self, words: np.ndarray) -> None:
        self._words = words
        try:
            self._coder = constriction.stream.stack.AnsCoder(words)
        except (ValueError, OverflowError) as error:
            raise CorruptError(f"the coded symbols do not start an ANS stream: {error}") from error

    def get(self, n: int, contexts: np.ndarray | None, signed: bool, default: int) -> np.ndarray:
        """The next stream, int32 [n]; arguments as for AnsWriter.put."""
        out = np.zeros(n, np.int32)
        if n == 0:
            return out
        groups = _groups(contexts, n)
        custom = bool(self._raw.get(np.array([1]))[0])
        models = self._raw.get(np.full(len(groups), MODEL_BITS)) if custom else [default] * len(groups)
        for group, model in zip(groups, models, strict=True):
            size = n if isinstance(group, slice) else len(group)
            out[group] = self._coder.decode(_model(signed, int(model)), size)
        escaped = np.flatnonzero(out == (2 * MAX_PLAIN + 1 if signed else MAX_PLAIN + 1))
        out -= MAX_PLAIN if signed else 0
        if len(escaped):
            widths = self._raw.get(np.full(len(escaped), ESCAPE_LENGTH_BITS))
            values = self._raw.get(widths)
            out[escaped] = unzigzag(values) if signed else values
        return out

    def get_raw(self, widths: np.ndarray) -> np.ndarray:
        return self._raw.get(widths)

    def get_set(self, count: int, n: int, default: int) -> np.ndarray:
        """The set that AnsWriter.put_set appended, ascending, int64 [count]."""
        if not self._bits_back:
            return _from_gaps(self.get(count, None, False, default), n)
        if count > n:
            raise CorruptError(f"a set has {count} members, at most {n} are possible")
        members, words = pop_set(self._words, count, n)
        self._start(words)
        return members

    def finish(self) -> None:
        """Raise CorruptError unless everything was consumed."""
        if not self._coder.is_empty():
            raise CorruptError("coded symbols are left over at the end of the frame")
        self._raw.finish()


def _from_gaps(gaps: np.ndarray, n: int) -> np.ndarray:
    members = np.cumsum(gaps.astype(np.int64) + 1) - 1
    if len(members) and members[-1] >= n:
        raise CorruptError(f"index {int(members[-1])}; permitted: 0 to {n - 1}")
    return members


def _groups(contexts: np.ndarray | None, n: int) -> list[Any]:
    """Positions of each context that occurs, contexts ascending."""
    if contexts is None:
        return [slice(0, n)]
    order = np.argsort(contexts, kind="stable")
    return np.split(order, np.flatnonzero(np.diff(contexts[order])) + 1)


class ZstdWriter:
    """The plain baseline: zigzag bytes, long values behind a 255, one zstandard frame."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []
        self._raw = BitWriter()

    def put(self, values: np.ndarray, contexts: np.ndarray | None, signed: bool, default: int) -> None:
        plain = zigzag(values.astype(np.int64)) if signed else values.astype(np.int64)
        self._parts.append(np.minimum(plain, 255).astype(np.uint8).tobytes())
        self._parts.append(plain[plain >= 255].astype("<u4").tobytes())

    def put_raw(self, values: np.ndarray, widths: np.ndarray) -> None:
        self._raw.put(values, widths)

    def put_set(self, members: np.ndarray, n: int, default: int) -> None:
        self.put(np.diff(members, prepend=-1) - 1, None, False, default)

    def finish(self) -> tuple[bytes, bytes]:
        compressor = zstandard.ZstdCompressor(level=19, write_content_size=True)
        return compressor.compress(b"".join(self._parts)), self._raw.finish()


class ZstdReader:
    """Reads what ZstdWriter finished."""

    def __init__(self, symbols: bytes, raw: bytes, max_symbols: int) -> None:
        limit = 5 * max_symbols
        try:
            size = zstandard.frame_content_size(symbols)
            if not 0 <= size <= limit:
                raise CorruptError(f"the symbols unpack to {size} bytes, at most {limit} are permitted")
            self._data = zstandard.ZstdDecompressor().decompress(
                symbols, max_output_size=max(limit, 1), allow_extra_data=False
            )
        except zstandard.ZstdError as error:
            raise CorruptError(f"the symbols are no zstandard frame: {error}") from error
        self._at = 0
        self._raw = BitReader(raw)

    def _take(self, n_bytes: int) -> bytes:
        if self._at + n_bytes > len(self._data):
            raise CorruptError(f"{n_bytes} symbol bytes are wanted, {len(self._data) - self._at} are left")
        self._at += n_bytes
        return self._data[self._at - n_bytes : self._at]

    def get(self, n: int, contexts: np.ndarray | None, signed: bool, default: int) -> np.ndarray:
        plain = np.frombuffer(self._take(n), np.uint8).astype(np.int64)
        long = np.flatnonzero(plain == 255)
        plain[long] = np.frombuffer(self._take(4 * len(long)), "<u4")
        if (plain >= 1 << 31).any():
            raise CorruptError(f"a symbol is {int(plain.max())}; permitted: up to {(1 << 31) - 1}")
        return (unzigzag(plain) if signed else plain).astype(np.int32)

    def get_raw(self, widths: np.ndarray) -> np.ndarray:
        return self._raw.get(widths)

    def get_set(self, count: int, n: int, default: int) -> np.ndarray:
        return _from_gaps(self.get(count, None, False, default), n)

    def finish(self) -> None:
        if self._at != len(self._data):
            raise CorruptError("symbol bytes are left over at the end of the frame")
        self._raw.finish()
