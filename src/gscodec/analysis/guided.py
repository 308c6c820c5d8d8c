"""The colour guided filter (He, Sun and Tang, 2013): fits a rough matte to the edges of a picture."""

from __future__ import annotations

import cv2
import numpy as np

RADIUS = 0.016  # of its windows, in long sides
EPSILON = 6e-4  # its smoothing, in squared intensities of [0, 1]
SHARPEN = 1.8  # slope at 0.5 afterwards: it leaves flat parts short of 0 and 1, and edges wider than they are


def guided_filter(pixels: np.ndarray, small: np.ndarray, matte: np.ndarray) -> np.ndarray:
    """Return the matte fitted to the edges of a frame.

    Its linear coefficients are found in a small picture and applied to the large one (He and Sun, 2015).

    Args:
        pixels: the frame, uint8 [H, W, 3].
        small: the same picture, uint8 [h, w, 3].
        matte: rough, float32 [h, w] in [0, 1].
    Returns:
        float32 [H, W] in [0, 1].
    """
    guide = small.astype(np.float32) / 255
    radius = max(2, round(RADIUS * max(matte.shape)))
    box = (2 * radius + 1, 2 * radius + 1)
    mean_guide, mean_matte = cv2.blur(guide, box), cv2.blur(matte, box)
    cross = cv2.blur(guide * matte[..., None], box) - mean_guide * mean_matte[..., None]
    squares = cv2.blur(guide * guide, box) - mean_guide * mean_guide + EPSILON
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
    return np.clip((result - 0.5) * SHARPEN + 0.5, 0, 1)
