"""What things cost in bits, roughly: every guess that a decision of the encoder rests on.

A decision needs the rate of what has not been coded yet, so R in D + λR is a guess: averages of what the
adaptive coder spent on the clips of docs/bits.md, "Rates". Where a coder can tell better (FrameCoder's
`change_costs`), its answer is taken and nothing here. One guess is the native core's own: bits(distance) of
mesh_choice.cpp, for displacements against their neighbours.
"""

from __future__ import annotations

import numpy as np

from gscodec.rdo import _native

# Rates are given by distance from the prediction: 0, 1 … RATE_ENTRIES - 1, the last for all beyond.
_DISTANCE = np.arange(_native.RATE_ENTRIES)


def _rate_by_distance(zero: float, one: float, per_octave: float) -> np.ndarray:
    """Bits of distance 0, of distance 1, and what each doubling from there adds."""
    return np.where(_DISTANCE == 0, zero, one + per_octave * np.log2(np.maximum(_DISTANCE, 1)))


# P-frames. A changed attribute of a group that is coded, in the order of a Gaussian's symbols; and of the
# groups (mean, shape, luma, chroma, log-weight) saying that it changes, and that it does not. The sum has no
# log-weights.
UPDATE_RATES = np.stack(
    [
        *[_rate_by_distance(2.0, 2.1, 1.9)] * 2,
        *[_rate_by_distance(1.6, 2.4, 1.9)] * 3,
        _rate_by_distance(0.0, 2.0, 1.7),
        *[_rate_by_distance(1.5, 1.9, 3.6)] * 2,
        _rate_by_distance(0.0, 2.0, 1.9),
    ]
).astype(np.float32)
UPDATE_GROUPS = np.array(
    [[0.3, 0.3, 0.6, 1.6, 2.0], [2.0, 2.2, 1.3, 0.5, 0.4]], np.float32
)  # changed, unchanged
CHANGE_BITS = 7.0  # of naming a Gaussian that changes
DISPLACEMENT_BITS = 1.0  # of one control point's displacement along one axis, where it is not 0

# I-frames. What matters is how much more a larger distance from the prediction costs.
INTRA_RATES = np.stack([*[np.zeros(_native.RATE_ENTRIES)] * 2, *[1.5 * np.log2(1.0 + _DISTANCE)] * 7]).astype(
    np.float32
)
INTRA_GROUPS = np.array([[11.0, 5.0, 1.5, 2.0, 1.5], [0.0, 0.0, 0.0, 0.0, 0.0]], np.float32)
TYPICAL_INTRA_BITS = 27.5  # of a Gaussian under these

# Births: a Gaussian that a P-frame adds costs more than one of an I-frame, whose neighbours predict it.
BIRTH_BITS = 36.0
BIRTH_GROUPS = INTRA_GROUPS.copy()
BIRTH_GROUPS[0, 0] += BIRTH_BITS - TYPICAL_INTRA_BITS

# Whole files: a talking head of 640x360 at crf 26, where rate control starts. Later GOPs do not depend on it.
TYPICAL_IFRAME_KBIT, TYPICAL_PFRAME_KBIT = 28.0, 1.15
PACKET_BITS = 32.0  # of a frame's packet around its payload


def change_costs(n_gaussians: int) -> np.ndarray:
    """Bits of saying that a Gaussian changes rather than not, float32 [N], where the coder cannot tell."""
    return np.full(n_gaussians, CHANGE_BITS, np.float32)


def motion_bits(mesh: np.ndarray) -> float:
    """Bits of a motion: int32 [rows, columns, 2], displacements of control points."""
    return DISPLACEMENT_BITS * float(np.count_nonzero(mesh))
