"""The adaptive coder's Python side: states in, payloads out.

The native module (csrc/) walks a frame's symbols with mixed adaptive contexts; what it learned lasts for a
GOP. docs/bitstream.md, "Adaptive coding", is the normative text.
"""

from __future__ import annotations

from copy import copy
from dataclasses import dataclass

import numpy as np

from gscodec.coding import _native
from gscodec.coding.prior import prior
from gscodec.coding.quantize import State, append, take
from gscodec.config import MAX_GAUSSIANS
from gscodec.container.headers import ADAPTIVE_FRAME_HEADER, pack, unpack
from gscodec.errors import CorruptError, LimitError

# In the order of syntax.cpp.
# fmt: off
STREAMS = (
    "gap", "room", "size", "energy", "luma", "luma-sign",
    "chroma-u", "chroma-v", "l1", "l3", "shear", "changed",
    "mean?", "shape?", "luma?", "chroma?", "Δx", "Δy",
    "Δl1", "Δl2", "Δl3", "Δluma", "Δu", "Δv",
    "motion", "motion-x", "motion-y", "births", "birth-gap",
    "weight", "weight?", "Δweight", "plain",
)
# fmt: on


@dataclass(frozen=True, slots=True)
class Motion:
    """How a frame moves against its reference.

    Attributes:
        mesh: int32 [rows, columns, 2], half pixels at control points (AdaptiveCoder.mesh).
        room_moves: whether Gaussians of the room move too (a hand-held camera).
    """

    mesh: np.ndarray
    room_moves: bool


class AdaptiveCoder:
    """Codes the frames of one GOP after another; encoder and decoder each keep one, fed the same frames."""

    def __init__(self, size: tuple[int, int], *, is_older: bool = False, blend: str = "sum") -> None:
        """`is_older`: as in files of version 0.1.0 (docs/bitstream.md, "Older files")."""
        self._is_normalised = blend == "normalised"
        table = b"" if is_older else prior(blend)
        self._core = _native.FrameCoder(*size, is_older, self._is_normalised, table)
        self._ground = np.zeros(3, np.uint8)  # of the GOP
        self._max_gaussians = MAX_GAUSSIANS

    def iframe_base(self, state: State) -> np.ndarray:
        """What each symbol of an I-frame in canonical order is predicted to be, roughly, int32."""
        return self._core.predictions(*_arrays(state))

    def pack_iframe(self, state: State) -> bytes:
        """Payload of an I-frame; `state` in canonical order."""
        body = self._core.encode_iframe(*_arrays(state))
        self._ground = state.ground
        ground = state.ground.tobytes() if self._is_normalised else b""
        return pack(ADAPTIVE_FRAME_HEADER, {"n_gaussians": len(state)}) + ground + body

    def pack_pframe(
        self, reference: State, state: State, motion: Motion | None = None, born: State | None = None
    ) -> bytes:
        """Payload of a P-frame; the reference is what was packed last, `motion` is applied to it first.

        Args:
            born: Gaussians that are new, in canonical order. Where it is given, even without any, the state
                after the frame is `renewed(state, born)`; else it is `state`.
        """
        mesh, room_moves = (motion.mesh, motion.room_moves) if motion else (None, False)
        n_born = -1 if born is None else len(born)
        every = state if born is None else append(state, born)
        return self._core.encode_pframe(*_arrays(every), mesh, room_moves, n_born)

    def moved(self, motion: Motion, quality: float) -> State:
        """The reference after a motion."""
        return self._state(self._core.moved(motion.mesh, motion.room_moves), quality)

    @property
    def has_births(self) -> bool:
        """P-frames may add Gaussians."""
        return True

    @property
    def motion(self) -> AdaptiveCoder:
        """The frames.MotionCoder of its P-frames: itself."""
        return self

    @property
    def mesh(self) -> tuple[int, int, int]:
        """Control points of a motion: log2 of the pixels between them, rows, columns."""
        return self._core.mesh

    def coded_points(self, room_moves: bool) -> np.ndarray:
        """Control points whose displacements a motion has to code, uint8 [rows, columns]."""
        return self._core.used_points(room_moves)

    def unpack_iframe(self, payload: bytes, quality: float, max_gaussians: int) -> State:
        """The state an I-frame codes. Raises BitstreamError; LimitError before memory is taken."""
        header, body = unpack(ADAPTIVE_FRAME_HEADER, memoryview(payload))
        n = header["n_gaussians"]
        if n > max_gaussians:
            raise LimitError(f"the frame has {n} Gaussians, at most {max_gaussians} are permitted")
        self._max_gaussians = max_gaussians
        if self._is_normalised:
            if len(body) < 3:
                raise CorruptError("the I-frame ends before its ground colour")
            self._ground, body = np.frombuffer(body[:3], np.uint8), body[3:]
        try:
            return self._state(self._core.decode_iframe(bytes(body), n), quality)
        except RuntimeError as error:
            raise CorruptError(f"the I-frame cannot be decoded: {error}") from error

    def unpack_pframe(self, payload: bytes, reference: State) -> State:
        """The state after a P-frame; the reference is what was unpacked last. Raises as unpack_iframe."""
        try:
            return self._state(self._core.decode_pframe(payload, self._max_gaussians), reference.quality)
        except ValueError as error:  # std::length_error
            raise LimitError(f"the P-frame has {error}, {self._max_gaussians} are permitted") from error
        except RuntimeError as error:
            raise CorruptError(f"the P-frame cannot be decoded: {error}") from error

    def change_costs(self) -> np.ndarray:
        """Bits of saying that a Gaussian changes in the next P-frame rather than not, float32 [N]."""
        return self._core.change_costs()

    @property
    def n_changed(self) -> int:
        """Gaussians that the last P-frame changed or added, not counting those its motion alone moved."""
        return self._core.n_changed

    @property
    def kept(self) -> np.ndarray:  # -> [K]
        """Which Gaussians of its reference the last P-frame kept, ascending int32; newborn follow them."""
        return self._core.kept

    @property
    def updated(self) -> np.ndarray:  # -> [N]
        """Which Gaussians of its reference the last P-frame updated, bool; motion does not count."""
        return self._core.updated

    @property
    def gaussian_bits(self) -> np.ndarray:  # -> [N]
        """Bits that the last frame spent on each Gaussian, float64; zeros until `take_bits` was called.

        Of an I-frame its Gaussians; of a P-frame those of its reference, and then the newborn. What is no
        single Gaussian's (motion, number of births) is in none of them.
        """
        return self._core.gaussian_bits

    def copy(self) -> AdaptiveCoder:
        """A coder that goes on from here by itself."""
        twin = copy(self)
        twin._core = self._core.copy()
        return twin

    def take_bits(self) -> dict[str, float]:
        """Bits per stream since the last call; counting starts with the first call."""
        return dict(zip(STREAMS, self._core.take_bits(), strict=True))

    def _state(self, arrays: tuple[np.ndarray, ...], quality: float) -> State:
        symbols, size_class, energy_class, is_room, drift = arrays
        return State(symbols, size_class, energy_class, is_room, quality, drift, self._ground)


def renewed(state: State, born: State) -> State:
    """What a P-frame with births leaves: `state` without Gaussians that are invisible, and the newborn."""
    return append(take(state, np.flatnonzero(state.is_visible)), born)


def _arrays(state: State) -> tuple[np.ndarray, ...]:
    return state.symbols, state.size_class, state.energy_class, state.is_room, state.drift
