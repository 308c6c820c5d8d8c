"""The colour guided filter (He, Sun and Tang, 2013): fits a rough matte to the edges of a picture.

The native core does it, csrc/guided_kernels.cpp; tests/analysis/guided_twin.py has the same with OpenCV.
"""

from __future__ import annotations

import numpy as np

from gscodec.analysis import _native

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
    radius = max(2, round(RADIUS * max(matte.shape)))
    return _native.guided_filter(pixels, small, matte, radius, EPSILON, SHARPEN)
