"""Frames <-> payloads of the profiles `paper` and `gaussianimage`.

I-frames hold tables and every Gaussian in the order of the list, P-frames the selected Gaussians in full:
which, as a set, and all 56 bits of each, entropy-coded. docs/bitstream.md, "Profile paper", is the normative
text. Sibling: `coding.frames`, the default profile.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from gscodec.coding.entropy import SymbolReader, SymbolWriter, make_reader, make_writer
from gscodec.container.headers import P_FRAME_HEADER, PAPER_I_FRAME_HEADER, pack, unpack
from gscodec.errors import CorruptError, LimitError, TruncatedError
from gscodec.paper.quantize import (
    ENTRIES,
    LEVELS,
    MAX_TABLE_COLOR,
    MAX_TABLE_OFFSET,
    MAX_TABLE_SCALE,
    MIN_TABLE_SCALE,
    N_CODES,
    STAGES,
    PaperState,
    PaperTables,
)

TABLE_BYTES = 2 * (3 + 3 + STAGES * ENTRIES * 3)
_SYMBOLS_PER_GAUSSIAN = 16  # more than any frame codes per Gaussian; bounds what a hostile frame can allocate

# Models used where a frame sends none of its own: index into entropy.RATIOS.
EXPONENT, LEVEL, FIRST_ENTRY, SECOND_ENTRY = 18, 30, 26, 26
CHANGED_GAP = 38
LEVEL_BITS, MANTISSA_BITS = 6, 10
TOP_EXPONENT = 15


@dataclass(frozen=True, slots=True)
class PaperCoder:
    """coding.frames.FrameCoder of these profiles: keeps nothing from frame to frame.

    Attributes:
        entropy: ans, bits-back or zstd. size: width and height of the picture.
        p_frames: False in the profile gaussianimage, which has none.
    """

    entropy: str
    size: tuple[int, int]
    p_frames: bool = True

    @property
    def kept(self) -> None:
        """None: these profiles have no B-frames."""

    def pack_iframe(self, state: PaperState) -> bytes:
        """Payload of an I-frame; the person's Gaussians come first."""
        w = make_writer(self.entropy)
        centers = level_centers(state.symbols)
        w.put_raw(centers, np.full(3, LEVEL_BITS))
        _put_codes(w, state.symbols.astype(np.int64), centers)
        symbols, raw = w.finish()
        header = {
            "n_gaussians": len(state),
            "n_room": int(state.is_room.sum()),
            "symbol_bytes": len(symbols),
        }
        return pack(PAPER_I_FRAME_HEADER, header) + pack_tables(state.tables) + symbols + raw

    def pack_pframe(self, reference: PaperState, state: PaperState) -> bytes:
        """Payload of a P-frame: the Gaussians of `state` whose symbols differ from the reference's."""
        changed = np.flatnonzero((state.symbols != reference.symbols).any(axis=1))
        w = make_writer(self.entropy)
        w.put_set(changed, len(reference), CHANGED_GAP)
        _put_codes(w, state.symbols[changed].astype(np.int64), level_centers(reference.symbols))
        symbols, raw = w.finish()
        return pack(P_FRAME_HEADER, {"n_changed": len(changed), "symbol_bytes": len(symbols)}) + symbols + raw

    def unpack_iframe(self, payload: bytes, quality: float, max_gaussians: int) -> PaperState:
        """The state an I-frame codes. Raises BitstreamError; LimitError before memory is taken."""
        header, rest = unpack(PAPER_I_FRAME_HEADER, memoryview(payload))
        n, n_room = header["n_gaussians"], header["n_room"]
        if n > max_gaussians:
            raise LimitError(f"the frame has {n} Gaussians, at most {max_gaussians} are permitted")
        if n_room > n:
            raise CorruptError(f"{n_room} of {n} Gaussians are the room's")
        tables, rest = unpack_tables(rest)
        r = self._reader(rest, header["symbol_bytes"], n)
        centers = r.get_raw(np.full(3, LEVEL_BITS))
        codes = _get_codes(r, n, centers)
        r.finish()
        return PaperState(codes, np.arange(n) >= n - n_room, tables, self.size)

    def unpack_pframe(self, payload: bytes, reference: PaperState) -> PaperState:
        """The state after a P-frame; the reference stays as it is. Raises like unpack_iframe."""
        if not self.p_frames:
            raise CorruptError("a P-frame in the profile gaussianimage, which has none")
        header, rest = unpack(P_FRAME_HEADER, memoryview(payload))
        n = header["n_changed"]
        if n > len(reference):
            raise CorruptError(f"the P-frame changes {n} Gaussians, its reference has {len(reference)}")
        r = self._reader(rest, header["symbol_bytes"], n)
        changed = r.get_set(n, len(reference), CHANGED_GAP)
        state = reference.copy()
        state.symbols[changed] = _get_codes(r, n, level_centers(reference.symbols))
        r.finish()
        return state

    def _reader(self, rest: memoryview, n_symbol_bytes: int, n: int) -> SymbolReader:
        if n_symbol_bytes > len(rest):
            raise CorruptError(
                f"{n_symbol_bytes} symbol bytes are announced, {len(rest)} are left in the frame"
            )
        symbols, raw = bytes(rest[:n_symbol_bytes]), bytes(rest[n_symbol_bytes:])
        return make_reader(self.entropy, symbols, raw, _SYMBOLS_PER_GAUSSIAN * n)


def level_centers(codes: np.ndarray) -> np.ndarray:  # [N, 7] -> [3]
    """The middle one of all levels of l1, l2, l3, which levels are coded relative to; int64."""
    if len(codes) == 0:
        return np.zeros(3, np.int64)
    return np.sort(codes[:, 2:5], axis=0)[len(codes) // 2].astype(np.int64)


def pack_tables(tables: PaperTables) -> bytes:
    """Scales, offsets and codebooks as halves."""
    arrays = (tables.scale, tables.offset, tables.codebooks)
    return b"".join(np.asarray(a, np.float16).astype("<f2").tobytes() for a in arrays)


def unpack_tables(view: memoryview) -> tuple[PaperTables, memoryview]:
    """What `pack_tables` wrote, and the bytes behind it."""
    if len(view) < TABLE_BYTES:
        raise TruncatedError(f"the tables need {TABLE_BYTES} bytes, {len(view)} are left")
    halves = np.frombuffer(view[:TABLE_BYTES], "<f2").astype(np.float16)
    tables = PaperTables(halves[:3], halves[3:6], halves[6:].reshape(STAGES, ENTRIES, 3))
    low = (MIN_TABLE_SCALE, -MAX_TABLE_OFFSET, -MAX_TABLE_COLOR)
    high = (MAX_TABLE_SCALE, MAX_TABLE_OFFSET, MAX_TABLE_COLOR)
    for values, least, most in zip((tables.scale, tables.offset, tables.codebooks), low, high, strict=True):
        if not ((values >= least) & (values <= most)).all():  # also catches NaN
            raise CorruptError(f"a number of the tables is not within {least:g} and {most:g}")
    return tables, view[TABLE_BYTES:]


def _put_codes(w: SymbolWriter, codes: np.ndarray, centers: np.ndarray) -> None:
    n = len(codes)
    for column in (0, 1):
        bits = codes[:, column]
        w.put(TOP_EXPONENT - (bits >> MANTISSA_BITS & 31), None, False, EXPONENT)
        w.put_raw(
            bits >> 15 << MANTISSA_BITS | bits & (1 << MANTISSA_BITS) - 1, np.full(n, MANTISSA_BITS + 1)
        )
    for k in range(3):
        w.put(codes[:, 2 + k] - centers[k], None, True, LEVEL)
    w.put(codes[:, 5], None, False, FIRST_ENTRY)
    w.put(codes[:, 6], codes[:, 5], False, SECOND_ENTRY)


def _get_codes(r: SymbolReader, n: int, centers: np.ndarray) -> np.ndarray:  # -> [n, 7]
    codes = np.zeros((n, N_CODES), np.int64)
    for column in (0, 1):
        exponent = TOP_EXPONENT - _within("exponent", r.get(n, None, False, EXPONENT), 0, TOP_EXPONENT)
        rest = r.get_raw(np.full(n, MANTISSA_BITS + 1))
        codes[:, column] = rest >> MANTISSA_BITS << 15 | exponent << MANTISSA_BITS
        codes[:, column] |= rest & (1 << MANTISSA_BITS) - 1
    for k in range(3):
        levels = r.get(n, None, True, LEVEL).astype(np.int64) + centers[k]
        codes[:, 2 + k] = _within("level", levels, 0, LEVELS - 1)
    codes[:, 5] = _within("entry", r.get(n, None, False, FIRST_ENTRY), 0, ENTRIES - 1)
    codes[:, 6] = _within("entry", r.get(n, codes[:, 5], False, SECOND_ENTRY), 0, ENTRIES - 1)
    return codes.astype(np.int32)


def _within(name: str, values: np.ndarray, low: int, high: int) -> np.ndarray:
    if len(values) and not (low <= int(values.min()) and int(values.max()) <= high):
        raise CorruptError(f"{name} {int(values.min())} to {int(values.max())}; permitted: {low} to {high}")
    return values
