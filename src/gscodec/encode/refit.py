"""The paper's P-frames (--update refit): Gaussians that influence changed pixels are fitted again (§3.3)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from gscodec.coding.quantize import State, dequantize, quantize_colors, quantize_geometry
from gscodec.encode.iframe import RIDGE
from gscodec.encode.pframe import UpdatedState
from gscodec.encode.task import FrameTask
from gscodec.splat.raster import Rasterizer

COLOR_SWEEPS = 3


@dataclass(frozen=True, slots=True)
class Changed:
    """What a frame changes: pixels, bool [H, W], and the Gaussians that influence them, uint32 indices."""

    pixels: np.ndarray
    gaussians: np.ndarray


class FittedSource:
    """Per pixel, the source as it was when Gaussians there were last fitted.

    Compared with that, not with the frame before: what changes slowly would otherwise never be noticed.
    """

    def __init__(self, threshold: float) -> None:
        """`threshold`: mean |difference| of a pixel, in code values, that marks it as changed."""
        self._threshold = threshold
        self._source = np.empty(0, np.uint8)

    def restart(self, pixels: np.ndarray) -> None:
        """An I-frame has fitted everything: R'G'B' uint8 [H, W, 3]."""
        self._source = pixels.copy()

    def changes(self, raster: Rasterizer, params: np.ndarray, pixels: np.ndarray) -> Changed | None:
        """What must be fitted again for a frame; None where nothing is.

        Args:
            params: of the reference, float32 [N, 8]. pixels: of the frame, R'G'B' uint8 [H, W, 3].
        """
        from gscodec.analysis.change import changed_pixels, influencing_gaussians  # cv2 loads slowly

        changed = changed_pixels(pixels, self._source, self._threshold)
        if not changed.any():
            return None
        active = influencing_gaussians(raster, params, changed)
        return Changed(changed, active) if len(active) else None

    def fitted(self, changed: Changed, pixels: np.ndarray) -> None:
        """Those Gaussians now show the frame."""
        self._source[changed.pixels] = pixels[changed.pixels]


def refit_pframe(task: FrameTask, reference: State, memory: FittedSource, iterations: int) -> UpdatedState:
    """Fit the Gaussians that influence changed pixels and round them; the reference stays as it is.

    Raises:
        FitError: the fit diverged.
    """
    params, pixels = dequantize(reference), task.source.pixels
    changed = memory.changes(task.raster, params, pixels)
    state = reference.copy()
    if changed is None:
        return UpdatedState(state, 0)
    active = changed.gaussians
    task.source.make_target()
    target = task.source.target()
    task.raster.solve_colors(target, params, active, COLOR_SWEEPS, RIDGE)
    result = task.fit(target, params, active, iterations)
    quantize_geometry(params, state, active, task.size)
    quantize_colors(params, state, active)
    memory.fitted(changed, pixels)
    return UpdatedState(state, result.iterations)
