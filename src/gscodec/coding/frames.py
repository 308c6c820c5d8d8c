"""Frames <-> payloads under the coders ans, bits-back and zstd: which symbols a frame holds, in which order.

Every stream is coded for all Gaussians of the frame before the next one begins, so that contexts and
predictions are whole arrays. docs/bitstream.md, "Frame payloads", is the normative text.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from gscodec.coding.adaptive import AdaptiveCoder, Motion
from gscodec.coding.entropy import make_reader, make_writer
from gscodec.coding.quantize import (
    CELL_LOG2,
    COLOR_0,
    L1,
    L2,
    L3,
    MARGIN,
    MAX_ENERGY_CLASS,
    MAX_SIZE_CLASS,
    MAX_SYMBOL,
    MEAN_X,
    MEAN_Y,
    State,
    cell_position,
    cells,
    mean_log2_steps,
)
from gscodec.container.headers import I_FRAME_HEADER, P_FRAME_HEADER, pack, unpack
from gscodec.errors import CorruptError, LimitError

N_SYMBOLS = 8
_SYMBOLS_PER_GAUSSIAN = 16  # more than any frame codes per Gaussian; bounds what a hostile frame can allocate

# Models used where a frame sends none of its own: index into entropy.RATIOS.
GAP, ROOM, SIZE, ENERGY, LUMA, CHROMA, SCALE, SHEAR = 36, 2, 16, 18, 26, 22, 26, 26
CHANGED_GAP = 38
CHANGE = (16, 16, 16, 16, 16, 16, 12, 12)

# √(25/36·2^e): what l1 would be in steps if the Gaussian were round; integers, so that both ends agree.
_ROUND_SQ = np.array([25 * (1 << e) // 36 for e in range(MAX_ENERGY_CLASS + 1)], np.int64)
_ROUND = np.array([max(1, int(x**0.5)) for x in _ROUND_SQ.tolist()], np.int64)
_LUMA = np.array([int((0.8 * (1 << e)) ** 0.5) for e in range(MAX_ENERGY_CLASS + 1)], np.int64)


class MotionCoder(Protocol):
    """The part of a coder whose P-frames may move Gaussians by a mesh of displacements first."""

    @property
    def mesh(self) -> tuple[int, int, int]: ...
    def coded_points(self, room_moves: bool) -> np.ndarray: ...
    def moved(self, motion: Motion, quality: float) -> State: ...


class FrameCoder(Protocol):
    """Turns states into payloads and back. Encoder and decoder each keep one, fed the same frames.

    Attributes:
        has_births: whether P-frames may add Gaussians (`born` of pack_pframe).
        motion: how P-frames may move Gaussians; None where they cannot, and `motion` of pack_pframe must be.
    """

    @property
    def has_births(self) -> bool: ...
    @property
    def motion(self) -> MotionCoder | None: ...

    @property
    def kept(self) -> np.ndarray | None:
        """Which Gaussians of its reference the last P-frame kept, int32; None: it permits no B-frames."""

    def change_costs(self) -> np.ndarray | None:
        """Bits of saying that a Gaussian changes in the next P-frame, float32 [N]; None: it cannot tell."""

    def iframe_base(self, state: State) -> np.ndarray:
        """What each symbol of an I-frame in canonical order is predicted to be, int32."""

    def pack_iframe(self, state: State) -> bytes: ...
    def pack_pframe(
        self, reference: State, state: State, motion: Motion | None = None, born: State | None = None
    ) -> bytes: ...
    def unpack_iframe(self, payload: bytes, quality: float, max_gaussians: int) -> State: ...
    def unpack_pframe(self, payload: bytes, reference: State) -> State: ...


def make_frame_coder(entropy: str, size: tuple[int, int], blend: str = "sum") -> FrameCoder:
    """The coder named in the sequence header, for pictures of `size` (width, height)."""
    if entropy.startswith("adaptive"):
        return AdaptiveCoder(size, is_older=entropy == "adaptive-0.1.0", blend=blend)
    return PlainCoder(entropy, size)


@dataclass(frozen=True, slots=True)
class PlainCoder:
    """FrameCoder of ans, bits-back and zstd: keeps nothing from frame to frame."""

    entropy: str
    size: tuple[int, int]

    @property
    def has_births(self) -> bool:
        return False

    @property
    def motion(self) -> None:
        return None

    @property
    def kept(self) -> None:
        return None

    def change_costs(self) -> None:
        return None

    def iframe_base(self, state: State) -> np.ndarray:
        return iframe_base(state)

    def pack_iframe(self, state: State) -> bytes:
        return pack_iframe(state, self.entropy)

    def pack_pframe(
        self, reference: State, state: State, motion: Motion | None = None, born: State | None = None
    ) -> bytes:
        assert motion is None, "these P-frames cannot move Gaussians"
        assert born is None, "these P-frames cannot add Gaussians"
        return pack_pframe(reference, state, self.entropy)

    def unpack_iframe(self, payload: bytes, quality: float, max_gaussians: int) -> State:
        return unpack_iframe(payload, self.entropy, quality, self.size, max_gaussians)

    def unpack_pframe(self, payload: bytes, reference: State) -> State:
        return unpack_pframe(payload, reference, self.entropy, self.size)


def iframe_base(state: State) -> np.ndarray:  # -> [N, 8]
    """What each symbol of an I-frame is predicted to be, roughly, int32: where its bits are counted from."""
    e = state.energy_class
    base = np.zeros_like(state.symbols)
    base[:, MEAN_X : MEAN_Y + 1] = state.symbols[:, MEAN_X : MEAN_Y + 1]
    base[:, L1] = base[:, L3] = _ROUND[e]
    base[:, COLOR_0] = np.sign(state.symbols[:, COLOR_0]) * _LUMA[e]
    return base


def pack_iframe(state: State, entropy: str) -> bytes:
    """Payload of an I-frame. `state` must be in canonical order (quantize.canonical_order)."""
    w = make_writer(entropy)
    s, e = state.symbols.astype(np.int64), state.energy_class
    w.put(np.diff(cells(state), prepend=0), None, False, GAP)
    w.put(np.abs(np.diff(state.is_room.astype(np.int32), prepend=0)), None, False, ROOM)
    w.put(np.diff(state.size_class, prepend=0), None, True, SIZE)
    w.put(np.diff(e, prepend=0), None, True, ENERGY)
    w.put(np.abs(s[:, COLOR_0]) - _LUMA[e], e, True, LUMA)
    w.put_raw((s[:, COLOR_0] < 0).astype(np.int64), (s[:, COLOR_0] != 0).astype(np.int64))
    for k in (1, 2):
        w.put(s[:, COLOR_0 + k], e, True, CHROMA)
    w.put(s[:, L1] - _ROUND[e], e, True, SCALE)
    w.put(s[:, L3] - _ROUND_SQ[e] // s[:, L1], e, True, SCALE)
    w.put(s[:, L2], e, True, SHEAR)
    width = CELL_LOG2 - mean_log2_steps(state.size_class, e).astype(np.int64)
    for column in (MEAN_X, MEAN_Y):
        w.put_raw(s[:, column] & ((1 << width) - 1), width)
    symbols, raw = w.finish()
    return pack(I_FRAME_HEADER, {"n_gaussians": len(state), "symbol_bytes": len(symbols)}) + symbols + raw


def unpack_iframe(
    payload: bytes, entropy: str, quality: float, size: tuple[int, int], max_gaussians: int
) -> State:
    """The state an I-frame codes.

    Args:
        size: width and height of the picture, pixels.
    Raises:
        BitstreamError: anything docs/bitstream.md does not permit; LimitError before memory is taken.
    """
    header, rest = unpack(I_FRAME_HEADER, memoryview(payload))
    n = header["n_gaussians"]
    if n > max_gaussians:
        raise LimitError(f"the frame has {n} Gaussians, at most {max_gaussians} are permitted")
    symbols, raw = _split(rest, header["symbol_bytes"])
    r = make_reader(entropy, symbols, raw, _SYMBOLS_PER_GAUSSIAN * n)
    s = np.zeros((n, N_SYMBOLS), np.int64)
    cell = np.cumsum(r.get(n, None, False, GAP).astype(np.int64))
    is_room = (np.cumsum(_within("room flag", r.get(n, None, False, ROOM), 0, 1)) & 1).astype(bool)
    k = _within("size class", np.cumsum(r.get(n, None, True, SIZE)), 0, MAX_SIZE_CLASS)
    e = _within("energy class", np.cumsum(r.get(n, None, True, ENERGY)), 0, MAX_ENERGY_CLASS)
    magnitude = _within("luma", r.get(n, e, True, LUMA) + _LUMA[e], 0, MAX_SYMBOL)
    negative = r.get_raw((magnitude != 0).astype(np.int64))
    s[:, COLOR_0] = np.where(negative, -magnitude, magnitude)
    for i in (1, 2):
        s[:, COLOR_0 + i] = r.get(n, e, True, CHROMA)
    s[:, L1] = _within("l1", r.get(n, e, True, SCALE) + _ROUND[e], 1, MAX_SYMBOL)
    s[:, L3] = r.get(n, e, True, SCALE) + _ROUND_SQ[e] // s[:, L1]
    s[:, L2] = r.get(n, e, True, SHEAR)
    width = CELL_LOG2 - mean_log2_steps(k, e).astype(np.int64)
    column, row = cell_position(_within("cell", cell, 0, (1 << 32) - 1))
    s[:, MEAN_X] = column << width | r.get_raw(width)
    s[:, MEAN_Y] = row << width | r.get_raw(width)
    r.finish()
    state = State(s, k.astype(np.int32), e.astype(np.int32), is_room, quality)
    _check(state, size)
    state.symbols = s.astype(np.int32)
    return state


def pack_pframe(reference: State, state: State, entropy: str) -> bytes:
    """Payload of a P-frame: the Gaussians of `state` whose symbols differ from the reference's."""
    delta = state.symbols.astype(np.int64) - reference.symbols
    changed = np.flatnonzero(delta.any(axis=1))
    w = make_writer(entropy)
    w.put_set(changed, len(reference), CHANGED_GAP)
    for i in range(N_SYMBOLS):
        w.put(delta[changed, i], None, True, CHANGE[i])
    symbols, raw = w.finish()
    return pack(P_FRAME_HEADER, {"n_changed": len(changed), "symbol_bytes": len(symbols)}) + symbols + raw


def unpack_pframe(payload: bytes, reference: State, entropy: str, size: tuple[int, int]) -> State:
    """The state after a P-frame; the reference stays as it is. Raises like unpack_iframe."""
    header, rest = unpack(P_FRAME_HEADER, memoryview(payload))
    n = header["n_changed"]
    if n > len(reference):
        raise CorruptError(f"the P-frame changes {n} Gaussians, its reference has {len(reference)}")
    symbols, raw = _split(rest, header["symbol_bytes"])
    r = make_reader(entropy, symbols, raw, _SYMBOLS_PER_GAUSSIAN * n)
    changed = r.get_set(n, len(reference), CHANGED_GAP)
    state = reference.copy()
    s = state.symbols.astype(np.int64)
    for i in range(N_SYMBOLS):
        s[changed, i] += r.get(n, None, True, CHANGE[i])
    r.finish()
    state.symbols = s
    _check(state, size)
    state.symbols = s.astype(np.int32)
    return state


def _split(rest: memoryview, n_symbol_bytes: int) -> tuple[bytes, bytes]:
    if n_symbol_bytes > len(rest):
        raise CorruptError(f"{n_symbol_bytes} symbol bytes are announced, {len(rest)} are left in the frame")
    return bytes(rest[:n_symbol_bytes]), bytes(rest[n_symbol_bytes:])


def _within(name: str, values: np.ndarray, low: int, high: int) -> np.ndarray:
    if len(values) and not (low <= int(values.min()) and int(values.max()) <= high):
        raise CorruptError(f"{name} {int(values.min())} to {int(values.max())}; permitted: {low} to {high}")
    return values


def _check(state: State, size: tuple[int, int]) -> None:
    """Every symbol within the range docs/bitstream.md gives it."""
    s = state.symbols
    log2_step = mean_log2_steps(state.size_class, state.energy_class).astype(np.int64)
    for column, length in ((MEAN_X, size[0]), (MEAN_Y, size[1])):
        end = (length + 2 * MARGIN) * 16  # in the finest steps, 1/16 pixel
        _within("mean", s[:, column] << (log2_step + 4), 0, end - 1)
    for column, low in ((L1, 1), (L2, -MAX_SYMBOL), (L3, 1)):
        _within("Cholesky symbol", s[:, column], low, MAX_SYMBOL)
    _within("colour symbol", s[:, COLOR_0:].reshape(-1), -MAX_SYMBOL, MAX_SYMBOL)
