"""Which Gaussians a P-frame refits: those that influence pixels which changed (paper §3.2 C)."""

from __future__ import annotations

import cv2
import numpy as np

from gscodec.splat.raster import Rasterizer

MIN_INFLUENCE = 0.08  # share of a Gaussian's weight that must lie on changed pixels


def changed_pixels(pixels: np.ndarray, reference: np.ndarray, threshold: float) -> np.ndarray:
    """Pixels whose mean |difference| over R, G, B, averaged over 3x3, exceeds `threshold`; bool [H, W].

    The average keeps sensor noise of single pixels from waking every Gaussian.
    """
    difference = cv2.absdiff(pixels, reference).astype(np.float32).mean(axis=2)
    return cv2.blur(difference, (3, 3)) > threshold


def influencing_gaussians(raster: Rasterizer, params: np.ndarray, changed: np.ndarray) -> np.ndarray:
    """Indices, uint32, of the Gaussians with a noticeable share of their weight on changed pixels.

    This is the paper's pixel-to-Gaussian metadata, computed when asked for: one backward pass over a
    picture whose first plane marks the changed pixels and whose second is 1 gives both sums.
    """
    marks = np.zeros((*changed.shape, 3), np.float32)
    marks[:, :, 0] = changed
    marks[:, :, 1] = 1.0
    sums = raster.gradients(params, marks)
    share = sums[:, 5] / np.maximum(sums[:, 6], 1e-6)
    return np.flatnonzero(share > MIN_INFLUENCE).astype(np.uint32)
