"""What each frame of a .gsv did to the Gaussians, and how many of its bits went to each of them."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

import numpy as np

from gscodec.coding.adaptive import AdaptiveCoder
from gscodec.coding.bframe import between
from gscodec.coding.quantize import State
from gscodec.config import DecoderLimits
from gscodec.container.container import Packet
from gscodec.container.headers import FrameType
from gscodec.decode.decoder import Sequence
from gscodec.decode.profile import AnyState, dequantize, make_profile_coder
from gscodec.errors import CorruptError


class Fate(IntEnum):
    """What a frame did to a Gaussian."""

    UNTOUCHED = 0
    MOVED = 1  # by the frame's motion alone, or, in a B-frame, by lying between two others
    UPDATED = 2  # the frame codes new values for it
    BORN = 3
    GONE = 4  # it was there in the frame before


@dataclass(frozen=True, slots=True)
class Trace:
    """A frame's Gaussians and what became of each.

    Attributes:
        params: float32 [N, 8 or 9], as splat.gaussians has them; the last ones are GONE, as they last were.
        is_room: bool [N]. fate: uint8 [N], numbers of Fate.
        bits: float64 [N], of this frame, for each of them. n_bits: of its whole payload.
    """

    params: np.ndarray
    is_room: np.ndarray
    fate: np.ndarray
    bits: np.ndarray
    n_bits: int

    @property
    def is_live(self) -> np.ndarray:  # -> [N]
        """Which of them the frame is drawn of."""
        return np.asarray(self.fate != Fate.GONE)


class Tracer:
    """Follows one stream packet by packet, beside a Decoder."""

    def __init__(self, sequence: Sequence, limits: DecoderLimits) -> None:
        size = sequence.width, sequence.height
        self._quality, self._limits = sequence.quality, limits
        self._coder = make_profile_coder(sequence.profile, sequence.entropy, size, sequence.blend)
        if isinstance(self._coder, AdaptiveCoder):
            self._coder.take_bits()  # from here on it counts
        self._before: AnyState | None = None
        self._state: AnyState | None = None

    def take(self, packet: Packet) -> Trace:
        """What an I-frame or P-frame did.

        Raises:
            BitstreamError: it is damaged.
        """
        n_bits = 8 * len(packet.payload)
        self._before = self._state
        if packet.frame_type == FrameType.I:
            self._state = self._coder.unpack_iframe(packet.payload, self._quality, self._limits.max_gaussians)
            born = np.full(len(self._state), Fate.BORN, np.uint8)
            return self._traced(dequantize(self._state), self._state.is_room, born, n_bits)
        if self._before is None:
            raise CorruptError("a P-frame without its reference; expected an I-frame")
        self._state = self._coder.unpack_pframe(packet.payload, self._before)
        return self._pframe(self._before, self._state, n_bits)

    def take_between(self) -> Trace:
        """What the B-frame in front of the P-frame taken last shows; nothing is coded for it."""
        if not isinstance(self._before, State) or not isinstance(self._state, State):
            raise CorruptError("a B-frame before a frame that permits none")
        params, is_room = between(self._before, self._state, self._coder.kept)
        old = dequantize(self._before)[self._coder.kept]
        fate = np.full(len(params), Fate.MOVED, np.uint8)
        fate[: len(old)][(params[: len(old)] == old).all(axis=1)] = Fate.UNTOUCHED
        return Trace(params, is_room, fate, np.zeros(len(params)), 0)

    def _pframe(self, before: AnyState, state: AnyState, n_bits: int) -> Trace:
        old, new = dequantize(before), dequantize(state)
        if isinstance(self._coder, AdaptiveCoder):
            kept, updated = self._coder.kept, self._coder.updated
        else:  # every Gaussian stays, and whatever differs was coded
            kept, updated = np.arange(len(old)), (state.symbols != before.symbols).any(axis=1)
        gone = np.setdiff1d(np.arange(len(old)), kept)
        n = len(kept)
        fate = np.full(len(new) + len(gone), Fate.BORN, np.uint8)
        fate[:n] = np.where((new[:n] != old[kept]).any(axis=1), Fate.MOVED, Fate.UNTOUCHED)
        fate[:n][updated[kept]] = Fate.UPDATED
        fate[len(new) :] = Fate.GONE
        order = np.concatenate([kept, np.arange(len(old), len(old) + len(new) - n), gone])
        params, is_room = (
            np.concatenate([new, old[gone]]),
            np.concatenate([state.is_room, before.is_room[gone]]),
        )
        return self._traced(params, is_room, fate, n_bits, order)

    def _traced(
        self,
        params: np.ndarray,
        is_room: np.ndarray,
        fate: np.ndarray,
        n_bits: int,
        order: np.ndarray | None = None,
    ) -> Trace:
        """`order`: where the coder has the bits of each Gaussian."""
        if isinstance(self._coder, AdaptiveCoder):
            bits = self._coder.gaussian_bits if order is None else self._coder.gaussian_bits[order]
        else:  # whole streams of symbols are coded at once: nobody knows more than how many were
            coded = np.isin(fate, (Fate.UPDATED, Fate.BORN)).astype(np.float64)
            bits = coded * (n_bits / max(coded.sum(), 1))
        # A payload's last zeros are left out, so that it may be a little shorter than what it says.
        return Trace(params, is_room, fate, bits * min(1.0, n_bits / max(bits.sum(), 1e-9)), n_bits)
