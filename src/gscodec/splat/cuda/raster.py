"""The rasteriser on an NVIDIA GPU: csrc/*.cu, compiled for the card that is found at first use.

One picture at a time, with the whole card on it. Many at a time: batch.CudaBatch, which this wraps.
"""

from __future__ import annotations

import numpy as np

from gscodec.splat.cuda import fit as cuda_fit
from gscodec.splat.cuda.batch import CudaBatch
from gscodec.splat.cuda.driver import device, n_devices
from gscodec.splat.cuda.params import channels_of
from gscodec.splat.cuda.scene import CudaTarget
from gscodec.splat.raster import FitResult, FitSchedule, Noise, Place, Project

__all__ = ["CudaRasterizer", "check", "make", "n_devices"]


class CudaRasterizer:
    """raster.Rasterizer on one GPU; docstrings there."""

    backend = "cuda"

    def __init__(self, width: int, height: int, place: Place | None = None, blend: str = "sum") -> None:
        self.width, self.height, self.blend = width, height, blend
        place = place or Place()
        self.batch = CudaBatch(width, height, place.ordinal, place.sharers, blend)

    def render(self, params: np.ndarray) -> np.ndarray:
        return self.batch.render([params])[0]

    def render_rgb8(self, params: np.ndarray, ground: np.ndarray | None = None) -> np.ndarray:
        return self.batch.render_rgb8([params], grounds=_of_one(ground))[0][0]

    def render_person(
        self,
        params: np.ndarray,
        is_room: np.ndarray,
        background: np.ndarray,
        ground: np.ndarray | None = None,
    ) -> tuple[np.ndarray, np.ndarray]:
        if self.blend == "sum":
            pixels, alpha = self.batch.render_rgb8([params[~is_room]], background)
        else:
            pixels, alpha = self.batch.render_rgb8(
                [params], background, grounds=_of_one(ground), is_room=[is_room]
            )
        assert alpha is not None
        return pixels[0], alpha[0]

    def gradients(self, params: np.ndarray, residual: np.ndarray) -> np.ndarray:
        return self.batch.gradients([params], residual[None])[0]

    def target(
        self,
        picture: np.ndarray,
        weight: np.ndarray,
        matte: np.ndarray | None = None,
        matte_weight: float = 0.0,
    ) -> CudaTarget:
        """`picture` may also be 8-bit R'G'B', a quarter of the bytes to send."""
        return self.batch.target(picture[None], weight[None], _of_one(matte), matte_weight)

    def fit(
        self,
        target: CudaTarget,
        params: np.ndarray,
        active: np.ndarray | None,
        schedule: FitSchedule,
        project: Project | None = None,
        is_room: np.ndarray | None = None,
    ) -> FitResult:
        noise = [project] if isinstance(project, Noise) else None
        if project is not None and noise is None:
            return cuda_fit.fit_drawn(self.batch, target, params, active, schedule, project)
        rooms = None if is_room is None else [is_room]
        return self.batch.fit(target, [params], [active], schedule, is_room=rooms, noise=noise)[0]

    def solve_colors(
        self, target: CudaTarget, params: np.ndarray, active: np.ndarray | None, sweeps: int, ridge: float
    ) -> float:
        return self.batch.solve_colors(target, [params], [active], sweeps, ridge)[0]


def make(width: int, height: int, place: Place, blend: str = "sum") -> CudaRasterizer:
    return CudaRasterizer(width, height, place, blend)


def _of_one(array: np.ndarray | None) -> np.ndarray | None:
    """That of a batch of one."""
    return None if array is None else array[None]


def check(ordinal: int = 0) -> None:
    """Raise BackendError if the GPU cannot be used: no driver, too old, or its kernels do not compile."""
    found = device(ordinal)
    found.make_current()
    found.kernel("splat/cuda/raster", "draw", rows=4, channels=channels_of("normalised"))
