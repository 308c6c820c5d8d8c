"""QAT: the paper's quantisers inside the fit, their tables learned with the Gaussians (paper §3.3 A).

A fit draws quantised Gaussians while it moves the unquantised ones; gradients pass straight through the
rounding. Those of scales and offsets are LSQ's (Esser et al. 2020), those of codebook entries the sums over
the Gaussians that use them. Which entries a Gaussian uses is settled at the start: with 64 colours in all,
choosing again and again makes the fit jump (docs/bits.md, "PTQ and QAT"). Sibling: `quantize`.
"""

from __future__ import annotations

import numpy as np

from gscodec.paper.quantize import (
    ENTRIES,
    LEVELS,
    MAX_TABLE_COLOR,
    MAX_TABLE_OFFSET,
    MAX_TABLE_SCALE,
    MIN_TABLE_SCALE,
    PaperTables,
    calibrated_tables,
    dequantize_codes,
    quantize,
)

SCALE_RATE = 1e-3  # Adam's first steps, in scales; an offset's: over the whole range of levels
COLOR_RATE = 3e-3
BETA1, BETA2 = 0.9, 0.99
FINAL_RATE = 0.1  # at the end of a cosine


class LearnedQuantizer:
    """A `splat.raster.Project` that learns its tables while it is called, once per iteration."""

    def __init__(
        self, params: np.ndarray, size: tuple[int, int], iterations: int, tables: PaperTables | None = None
    ) -> None:
        """Start from PTQ's tables.

        Args:
            params: float32 [n, 8], where the fit starts. iterations: how often it will be called.
            tables: take these and do not change them (P-frames).
        """
        self._learns = tables is None
        tables = tables or calibrated_tables(params)
        self._size = size
        self._iterations = max(1, iterations)
        self._scale = tables.scale.astype(np.float64)
        self._offset = tables.offset.astype(np.float64)
        self._books = tables.codebooks.astype(np.float64)
        self._entries = quantize(params, tables, size)[:, 5:]
        self._memory = np.zeros((2, 6 + self._books.size))
        self._beyond: np.ndarray | None = None  # of the call before: rounded minus exact level, or the end
        self._outside = np.zeros((0, 3), bool)
        self._n_steps = 0

    @property
    def tables(self) -> PaperTables:
        """The tables as they are now, in halves."""
        arrays = (self._scale, self._offset, self._books)
        return PaperTables(*(a.astype(np.float16) for a in arrays))

    def codes(self, params: np.ndarray) -> np.ndarray:
        """Codes under the tables as they are now, int32 [n, 7]."""
        return quantize(params, self.tables, self._size, self._entries)

    def __call__(self, params: np.ndarray, gradient: np.ndarray) -> np.ndarray:
        """Quantised params, float32 [n, 8]; learns from the gradient at those of the call before."""
        if self._learns and self._beyond is not None:
            self._learn(gradient.astype(np.float64))
        codes, tables = self.codes(params), self.tables
        exact = (params[:, 2:5] - tables.offset.astype(np.float64)) / tables.scale.astype(np.float64)
        self._outside = (exact < 0) | (exact > LEVELS - 1)
        self._beyond = np.where(self._outside, codes[:, 2:5], codes[:, 2:5] - exact)
        return dequantize_codes(codes, tables, self._size)

    def _learn(self, gradient: np.ndarray) -> None:
        factors, colors = gradient[:, 2:5], gradient[:, 5:8]
        books = np.zeros_like(self._books)
        for stage, book in enumerate(books):
            for k in range(3):
                book[:, k] = np.bincount(self._entries[:, stage], colors[:, k], ENTRIES)
        sums = np.concatenate(
            [
                (factors * self._beyond).sum(axis=0),
                (factors * self._outside).sum(axis=0),
                books.reshape(-1),
            ]
        )
        self._n_steps += 1
        self._memory[0] = BETA1 * self._memory[0] + (1 - BETA1) * sums
        self._memory[1] = BETA2 * self._memory[1] + (1 - BETA2) * sums**2
        mean = self._memory[0] / (1 - BETA1**self._n_steps)
        spread = np.sqrt(self._memory[1] / (1 - BETA2**self._n_steps)) + 1e-9
        phase = 0.5 + 0.5 * np.cos(np.pi * min(1.0, self._n_steps / self._iterations))
        step = (FINAL_RATE + (1 - FINAL_RATE) * phase) * mean / spread
        relative = SCALE_RATE * self._scale
        self._scale -= relative * step[:3]
        self._offset -= (LEVELS - 1) * relative * step[3:6]
        self._books -= COLOR_RATE * step[6:].reshape(self._books.shape)
        np.clip(self._scale, MIN_TABLE_SCALE, MAX_TABLE_SCALE, self._scale)
        np.clip(self._offset, -MAX_TABLE_OFFSET, MAX_TABLE_OFFSET, self._offset)
        np.clip(self._books, -MAX_TABLE_COLOR, MAX_TABLE_COLOR, self._books)
