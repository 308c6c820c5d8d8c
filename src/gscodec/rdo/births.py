"""Gaussians born in P-frames: where the picture has something that those alive cannot show.

Candidates are the places of the largest residual; rounded, they are polished against what the others
leave of the picture, and those that do not pay for their bits are dropped again (docs/bits.md, "Births").
"""

from __future__ import annotations

from typing import Protocol

import numpy as np

from gscodec.coding.frames import iframe_base
from gscodec.coding.quantize import (
    State,
    affine_arrays,
    canonical_order,
    classify,
    dequantize,
    quantize_colors,
    quantize_geometry,
    quantize_weights,
    take,
)
from gscodec.rdo.birth_candidates import find_candidates
from gscodec.rdo.pursuit import Effort, SymbolArrays, polish_births
from gscodec.rdo.rates import BIRTH_BITS
from gscodec.splat.cpu.raster import CpuRasterizer
from gscodec.splat.gaussians import COLOR, LOG_WEIGHT

WAIT = 2  # after a search without births the next comes that many P-frames later
GROWTH = {"sum": 1.5, "normalised": 3.0}  # at most so many times the Gaussians of the I-frame
MAX_BIRTHS = 24  # in one frame
SWEEPS, RIDGE = 8, 1e-3  # of the colours of candidates
SHARE = 2.0  # weight of a candidate under the normalised blend, over that of what is there


class Surroundings(Protocol):
    """The target that newborns are to help to reach, and those alive (encode.frame_store.FrameStore)."""

    def drawn_at(
        self, params: np.ndarray, residual: np.ndarray, rows: np.ndarray, columns: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """What Gaussians show at pixels, counted from the ground, float32 [n, 3], and Σ weight, float32 [n].

        Args:
            residual: target minus that picture, float32 [H, W, 4].
        """

    def solve_births(self, params: np.ndarray, first: int, sweeps: int, ridge: float) -> None:
        """Set the colours of params[first:] to weighted least squares beside the others, in place."""

    def polish_births(
        self,
        arrays: SymbolArrays,
        others: np.ndarray,
        others_room: np.ndarray,
        effort: Effort,
        lambda_: float,
    ) -> None:
        """pursuit.polish_births in the target, beside others that stay as they are."""


class Births:
    """Looks for births in frames of one size.

    A search that finds nothing is not repeated at once: what appears stays for a few frames.
    """

    def __init__(self, size: tuple[int, int], blend: str) -> None:
        self._size = size
        self._core = CpuRasterizer(*size, blend=blend)  # under the sum, whatever draws
        self._growth = GROWTH[blend]
        self._limit = 0  # visible Gaussians that the GOP's frames may have
        self._wait = 0  # P-frames until the next search

    def restart(self, n_iframe: int) -> None:
        """Begin a GOP whose I-frame has so many Gaussians."""
        self._limit, self._wait = round(self._growth * n_iframe), 0

    def n_due(self, state: State) -> int:
        """How many Gaussians a search may add to the next P-frame; 0 or less: none is due. Once a frame."""
        self._wait -= 1
        if self._wait > 0:
            return 0
        return self._limit - int(state.is_visible.sum())

    def find(
        self,
        residual: np.ndarray,
        matte: np.ndarray | None,
        quality: float,
        effort: Effort,
        lambda_: float,
        most: int,
    ) -> State:
        """Births that pay, in canonical order.

        Args:
            residual: target minus the sum of those alive, and weight, float32 [H, W, 4].
            matte: float32 [H, W]; where it is below ½ a birth is the room's. None: all are the person's.
            lambda_: Σ weight·d² that one bit must buy. most: at most so many.
        """
        params, _, is_room = self._candidates(residual, matte, lambda_, most)
        target = None
        if len(params):
            target = self._core.target(
                np.ascontiguousarray(residual[:, :, :3]), np.ascontiguousarray(residual[:, :, 3])
            )
            self._core.solve_colors(target, params, None, SWEEPS, RIDGE)
        size_class, energy_class = classify(params, quality)
        born = State(np.zeros(params.shape, np.int32), size_class, energy_class, is_room, quality)
        everything = slice(None)
        quantize_geometry(params, born, everything, self._size)
        quantize_colors(params, born, everything)
        if target is not None:
            arrays = SymbolArrays(born.symbols, iframe_base(born), *affine_arrays(born, self._size))
            polish_births(self._core, target, arrays, effort, lambda_)
        return self._kept(born)

    def find_among(
        self,
        residual: np.ndarray,
        matte: np.ndarray | None,
        state: State,
        alive: np.ndarray,
        surroundings: Surroundings,
        effort: Effort,
        lambda_: float,
        most: int,
    ) -> State:
        """Births that pay under the normalised blend, where each takes its share from those alive.

        Args:
            residual, matte, lambda_, most: as for `find`.
            state, alive: those alive, and their params [N, 9].
        """
        found, pixels, is_room = self._candidates(residual, matte, lambda_, most)
        n = len(found)
        params = np.concatenate([found, np.zeros((n, 1), np.float32)], axis=1)
        if n:
            shown, before = surroundings.drawn_at(alive, residual, *pixels)
            params[:, LOG_WEIGHT] = np.log2(np.maximum(before, 2.0**-6) * SHARE)
            params[:, COLOR] = shown + found[:, COLOR] * (1 + 1 / SHARE)
        size_class, energy_class = classify(params, state.quality, np.linalg.norm(found[:, COLOR], axis=1))
        born = State(np.zeros(params.shape, np.int32), size_class, energy_class, is_room, state.quality)
        born.ground = state.ground
        everything = slice(None)
        quantize_weights(params, born, everything)
        quantize_geometry(params, born, everything, self._size)
        if n:
            together = np.concatenate([alive, dequantize(born)])
            together[len(alive) :, COLOR] = params[:, COLOR]
            surroundings.solve_births(together, len(alive), SWEEPS, RIDGE)
            base = born.symbols.copy()
            quantize_colors(np.concatenate([params[:, :5], shown], axis=1), born, everything)
            base[:, COLOR] = born.symbols[:, COLOR]
            quantize_colors(together[len(alive) :], born, everything)
            arrays = SymbolArrays(born.symbols, base, *affine_arrays(born, self._size), born.is_room)
            surroundings.polish_births(arrays, alive, state.is_room, effort, lambda_)
        return self._kept(born)

    def _candidates(
        self, residual: np.ndarray, matte: np.ndarray | None, lambda_: float, most: int
    ) -> tuple[np.ndarray, tuple[np.ndarray, np.ndarray], np.ndarray]:
        """Gaussians that may pay, float32 [n, 8]; row and column of each; whether it is the room's."""
        params = find_candidates(residual, lambda_ * BIRTH_BITS, min(most, MAX_BIRTHS))
        column, row = (np.clip(params[:, i], 0, self._size[i] - 1).astype(int) for i in (0, 1))
        is_room = np.zeros(len(params), bool) if matte is None else matte[row, column] < 0.5
        return params, (row, column), is_room

    def _kept(self, born: State) -> State:
        """Those that pay, in canonical order."""
        born = take(born, np.flatnonzero(born.is_visible))
        self._wait = 1 if len(born) else WAIT
        return take(born, canonical_order(born))
