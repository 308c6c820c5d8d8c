"""Gaussians as arrays, their colour space, and the conventions everything else relies on.

Origin top-left, x right, y down, centre of pixel (0, 0) at (0.5, 0.5), lengths in pixels of the coded
size. Gaussian n has mean μ, Cholesky factor L = [[l1, 0], [l2, l3]] of its covariance and a colour of
three numbers of either sign. Two blends make a picture of them:

    sum          Σ colour·w                          the paper's (eq. 2)
    normalised   Σ colour·w·2^b / (GROUND + Σ w·2^b)   a weighted mean; b is each Gaussian's log-weight

Normalised colours are counted from the ground colour of the GOP, which shows where no Gaussian is.

Colours live in an orthonormal opponent space, so that squared error there *is* squared error in RGB:
    Y = (R+G+B)/√3    U = (R−B)/√2    V = (R−2G+B)/√6       R, G, B in [0, 1]
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

N_PARAMS = 8
MEAN = slice(0, 2)  # μx, μy, pixels
CHOLESKY = slice(2, 5)  # l1, l2, l3, pixels
COLOR = slice(5, 8)  # Y, U, V
LOG_WEIGHT = 8  # b, octaves; only under the normalised blend
BLENDS = ("sum", "normalised")

# RGB in [0, 1] -> opponent colours; rows are orthonormal, so the inverse is the transpose.
OPPONENT_FROM_RGB = np.array(
    [
        [3**-0.5, 3**-0.5, 3**-0.5],
        [2**-0.5, 0.0, -(2**-0.5)],
        [6**-0.5, -2 * 6**-0.5, 6**-0.5],
    ],
    dtype=np.float32,
)
RGB_FROM_OPPONENT = np.ascontiguousarray(OPPONENT_FROM_RGB.T)


@dataclass(slots=True)
class Gaussians:
    """A set of Gaussians.

    Attributes:
        params: float32 [N, 8], columns MEAN, CHOLESKY, COLOR, or [N, 9] with LOG_WEIGHT under the normalised
            blend; l1, l3 >= raster MIN_SCALE.
        is_room: bool [N], True where the Gaussian belongs to the room and not to the person.
        ids: int64 [N]: the same number is the same Gaussian in another frame. Empty: not known.
        ground: what colours are counted from, float32 [3]; None: from black.
    """

    params: np.ndarray
    is_room: np.ndarray
    ids: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))
    ground: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.params)

    def take(self, rows: np.ndarray) -> Gaussians:
        """Those at `rows`, ascending indices."""
        params = np.ascontiguousarray(self.params[rows])
        return Gaussians(params, self.is_room[rows], self.ids[rows], self.ground)


def n_params(blend: str) -> int:
    """Numbers of a Gaussian under a blend of BLENDS: columns of params."""
    return N_PARAMS + (blend == "normalised")


def opponent_from_rgb(pixels: np.ndarray) -> np.ndarray:  # [H, W, 3] -> [H, W, 3]
    """Opponent colours, float32, of an 8-bit R'G'B' picture."""
    return pixels.astype(np.float32) @ (OPPONENT_FROM_RGB.T / np.float32(255))


def rgb_from_opponent(picture: np.ndarray) -> np.ndarray:  # [H, W, 3] -> [H, W, 3]
    """8-bit R'G'B' of an opponent picture: the one clamp and the one rounding."""
    rgb = picture @ (RGB_FROM_OPPONENT.T * np.float32(255))
    return (np.clip(rgb, 0, 255) + 0.5).astype(np.uint8)


def covariances(params: np.ndarray) -> np.ndarray:  # [N, 8] -> [N, 2, 2]
    """Σ = L Lᵀ, pixels², dtype of params."""
    factor = np.zeros((len(params), 2, 2), params.dtype)
    factor[:, 0, 0], factor[:, 1, 0], factor[:, 1, 1] = params[:, CHOLESKY].T
    return factor @ factor.transpose(0, 2, 1)
