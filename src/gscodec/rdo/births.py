"""Gaussians born in P-frames: where the picture has something that those alive cannot show.

Candidates are the places of the largest residual; rounded, they are polished against what the others
leave of the picture, and those that do not pay for their bits are dropped again (docs/bits.md, "Births").
"""

from __future__ import annotations

import numpy as np

from gscodec.coding.frames import iframe_base
from gscodec.coding.quantize import (
    COLOR_0,
    State,
    affine_arrays,
    canonical_order,
    classify,
    quantize_colors,
    quantize_geometry,
    take,
)
from gscodec.rdo.birth_candidates import find_candidates
from gscodec.rdo.pursuit import Effort, SymbolArrays, polish_newborn
from gscodec.rdo.rates import NEWBORN_BITS
from gscodec.splat.cpu.raster import CpuRasterizer

WAIT = 2  # after a search without births the next comes that many P-frames later
GROWTH = 1.5  # at most so many times the Gaussians of the I-frame
MAX_BIRTHS = 24  # in one frame
SWEEPS, RIDGE = 8, 1e-3  # of the colours of candidates


class Births:
    """Looks for newborns of frames of one size. Its arithmetic is the processor's, whatever draws.

    A search that finds nothing is not repeated at once: what appears stays for a few frames.
    """

    def __init__(self, size: tuple[int, int]) -> None:
        self._size = size
        self._core = CpuRasterizer(*size)
        self._limit = 0  # visible Gaussians that the GOP's frames may have
        self._wait = 0  # P-frames until the next search

    def restart(self, n_iframe: int) -> None:
        """Begin a GOP whose I-frame has so many Gaussians."""
        self._limit, self._wait = round(GROWTH * n_iframe), 0

    def n_due(self, state: State) -> int:
        """How many Gaussians a search may add to the next P-frame; 0 or less: none is due. Once a frame."""
        self._wait -= 1
        if self._wait > 0:
            return 0
        return self._limit - int(state.symbols[:, COLOR_0:].any(axis=1).sum())

    def find(
        self,
        residual: np.ndarray,
        matte: np.ndarray | None,
        quality: float,
        effort: Effort,
        lambda_: float,
        most: int,
    ) -> State:
        """Newborns that pay, in canonical order.

        Args:
            residual: target minus the sum of those alive, and weight, float32 [H, W, 4].
            matte: float32 [H, W]; where it is below ½ a newborn is the room's. None: all are the person's.
            lambda_: Σ weight·d² that one bit must buy. most: at most so many.
        """
        params = find_candidates(residual, lambda_ * NEWBORN_BITS, min(most, MAX_BIRTHS))
        target = None
        if len(params):
            target = self._core.target(
                np.ascontiguousarray(residual[:, :, :3]), np.ascontiguousarray(residual[:, :, 3])
            )
            self._core.solve_colors(target, params, None, SWEEPS, RIDGE)
        column, row = (np.clip(params[:, i], 0, self._size[i] - 1).astype(int) for i in (0, 1))
        is_room = np.zeros(len(params), bool) if matte is None else matte[row, column] < 0.5
        size_class, energy_class = classify(params, quality)
        born = State(np.zeros(params.shape, np.int32), size_class, energy_class, is_room, quality)
        everything = slice(None)
        quantize_geometry(params, born, everything, self._size)
        quantize_colors(params, born, everything)
        if target is not None:
            arrays = SymbolArrays(born.symbols, iframe_base(born), *affine_arrays(born, self._size))
            polish_newborn(self._core, target, arrays, effort, lambda_)
        born = take(born, np.flatnonzero(born.symbols[:, COLOR_0:].any(axis=1)))
        self._wait = 1 if len(born) else WAIT
        return take(born, canonical_order(born))
