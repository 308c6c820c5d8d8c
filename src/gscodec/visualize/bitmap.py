"""Where a frame's bits went: a map that sums to all of them.

The bits of a Gaussian lie over the picture as it does, in proportion to its own weight at each place. What is
no single Gaussian's, such as the mesh of a motion, lies evenly over the whole picture, because it may concern
any part of it; so does the fraction of a byte at the end.
"""

from __future__ import annotations

import numpy as np

from gscodec.splat.gaussians import MEAN, covariances
from gscodec.visualize.trace import Trace

EXTENT = 4.5  # standard deviations around a Gaussian that get its bits; where it ends must not show


def bit_map(trace: Trace, size: tuple[int, int], grid: tuple[int, int]) -> np.ndarray:
    """Bits of each cell of a grid over the picture.

    Args:
        size: width and height of the picture, pixels. grid: columns and rows.
    Returns:
        float64 [rows, columns]; its sum is the frame's bits.
    """
    columns, rows = grid
    cell = np.array([size[0] / columns, size[1] / rows])
    shared = max(0.0, trace.n_bits - float(trace.bits.sum()))
    found = np.full((rows, columns), shared / (rows * columns))
    x, y = np.arange(columns) + 0.5, np.arange(rows) + 0.5
    means = trace.params[:, MEAN] / cell
    spreads = covariances(trace.params).astype(np.float64) / np.outer(cell, cell)
    reach = EXTENT * np.sqrt(spreads[:, [0, 1], [0, 1]])
    low = np.clip(np.floor(means - reach), 0, [columns, rows]).astype(int)
    high = np.clip(np.ceil(means + reach), 0, [columns, rows]).astype(int)
    for i in np.flatnonzero(trace.bits):
        (x0, y0), (x1, y1) = low[i], high[i]
        (a, b), (_, d) = np.linalg.inv(spreads[i])
        dx, dy = x[x0:x1] - means[i, 0], (y[y0:y1] - means[i, 1])[:, None]
        weight = np.exp(-0.5 * (a * dx * dx + 2 * b * dx * dy + d * dy * dy))
        total = float(weight.sum())
        if total > 1e-3:
            found[y0:y1, x0:x1] += trace.bits[i] / total * weight
        else:  # it lies outside, or between the middles of the cells
            column, row = np.clip(means[i].astype(int), 0, [columns - 1, rows - 1])
            found[row, column] += trace.bits[i]
    return found
