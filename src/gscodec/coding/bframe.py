"""A B-frame: Gaussians halfway between those of the frame before and those of the P-frame after it.

It costs no bits. A Gaussian that lives in both frames has the mean of its parameters; one that is born in the
P-frame, or leaves in it, is there with half its weight, so that it fades. docs/bitstream.md, "B-frames".
"""

from __future__ import annotations

import numpy as np

from gscodec.coding.quantize import State, dequantize
from gscodec.splat.gaussians import COLOR, LOG_WEIGHT


def between(before: State, after: State, kept: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The Gaussians of a B-frame.

    Args:
        before: the state of the frame in front of it.
        after: that of the P-frame behind it: the Gaussians that it kept, in order, and then its newborn.
        kept: which Gaussians of `before` those are, ascending indices.
    Returns:
        Their parameters, float32 [N, 8 or 9], the same on every machine: those kept, the newborn, those gone.
        Whether each is the room's, bool [N].
    """
    old, new = dequantize(before), dequantize(after)
    n = len(kept)
    is_gone = np.ones(len(old), bool)
    is_gone[kept] = False
    mean = (old[kept] + new[:n]) * np.float32(0.5)
    params = np.concatenate([mean, _halved(new[n:], after), _halved(old[is_gone], before)])
    is_room = np.concatenate([after.is_room, before.is_room[is_gone]])
    return params, is_room


def _halved(params: np.ndarray, state: State) -> np.ndarray:
    """Gaussians with half their weight; under the sum, where none has a weight, of half their colour."""
    faded = params.copy()
    if state.is_normalised:
        faded[:, LOG_WEIGHT] -= np.float32(1)  # an octave
    else:
        faded[:, COLOR] *= np.float32(0.5)
    return faded
