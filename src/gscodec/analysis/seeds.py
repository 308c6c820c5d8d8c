"""Picture -> which seed each pixel is nearest to, in colour and place; what superpixels are made of."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from gscodec.analysis import _native

# (region of each pixel, uint8 [H, W]; seeds of each region, int32 [R]) -> labels, int32 [H, W]. Regions from
# R on get no seeds; those of region r are numbered after those before it; -1: no seed is near.
Label = Callable[[np.ndarray, np.ndarray], np.ndarray]

KMEANS_ITERATIONS = 4  # as in SLIC; seeds that follow detail are best left alone (docs/fitting.md)


def nearest_seeds(picture: np.ndarray, detail: float, iterations: int = 1) -> Label:
    """What labels the pixels of a picture on the native core; the definition.

    Args:
        picture: opponent colours, float32 [H, W, 3].
        detail: 0 for seeds at equal distances, 1 for equal gradient energy between them.
        iterations: from two on seeds move to the middle of what is theirs, as in k-means.
    """

    def label(region: np.ndarray, counts: np.ndarray) -> np.ndarray:
        return _native.nearest_seeds(picture, region, _native.density(picture, detail), counts, iterations)

    return label
