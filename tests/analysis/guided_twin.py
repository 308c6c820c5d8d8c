"""The colour guided filter with OpenCV's box means: the twin of the native one (analysis/guided.py)."""

from __future__ import annotations

import cv2
import numpy as np


def guided_filter(
    pixels: np.ndarray, small: np.ndarray, matte: np.ndarray, radius: int, epsilon: float, sharpen: float
) -> np.ndarray:
    """Return the matte fitted to the edges of a frame; arguments are those of the native one."""
    guide = small.astype(np.float32) / 255
    box = (2 * radius + 1, 2 * radius + 1)
    mean_guide, mean_matte = cv2.blur(guide, box), cv2.blur(matte, box)
    cross = cv2.blur(guide * matte[..., None], box) - mean_guide * mean_matte[..., None]
    squares = cv2.blur(guide * guide, box) - mean_guide * mean_guide + epsilon
    shifted = np.roll(guide, -1, axis=2)  # G B R: times R G B these are the mixed products
    mixed = cv2.blur(guide * shifted, box) - mean_guide * np.roll(mean_guide, -1, axis=2)
    rr, gg, bb = cv2.split(squares)
    rg, gb, rb = cv2.split(mixed)
    # Inverse of the symmetric 3x3 covariance, by cofactors.
    c00, c01, c02 = gg * bb - gb * gb, rb * gb - rg * bb, rg * gb - rb * gg
    c11, c12, c22 = rr * bb - rb * rb, rb * rg - rr * gb, rr * gg - rg * rg
    inverse = 1 / (rr * c00 + rg * c01 + rb * c02)
    x0, x1, x2 = cv2.split(cross)
    slopes = (
        (c00 * x0 + c01 * x1 + c02 * x2) * inverse,
        (c01 * x0 + c11 * x1 + c12 * x2) * inverse,
        (c02 * x0 + c12 * x1 + c22 * x2) * inverse,
    )
    constant = mean_matte - sum(
        slope * mean for slope, mean in zip(slopes, cv2.split(mean_guide), strict=True)
    )
    size = pixels.shape[1], pixels.shape[0]
    result = cv2.resize(cv2.blur(constant, box), size, interpolation=cv2.INTER_LINEAR)
    for slope, channel in zip(slopes, cv2.split(pixels), strict=True):
        large = cv2.resize(cv2.blur(slope, box), size, interpolation=cv2.INTER_LINEAR)
        result += cv2.multiply(large, channel, scale=1 / 255, dtype=cv2.CV_32F)
    return np.clip((result - 0.5) * sharpen + 0.5, 0, 1)
