"""The rasteriser on the native core (csrc/). No torch here: it is the path of a plain install."""

from __future__ import annotations

from dataclasses import fields

import numpy as np

from gscodec.splat import _native
from gscodec.splat.gaussians import RGB_FROM_OPPONENT
from gscodec.splat.raster import FitResult, FitSchedule, Project

MIN_SCALE: float = _native.MIN_SCALE
RADIUS_SQ: float = _native.RADIUS_SQ
NO_GROUND = np.zeros(3, np.float32)


class CpuRasterizer:
    """raster.Rasterizer on this machine's processor; docstrings there."""

    backend = "cpu"

    def __init__(self, width: int, height: int, threads: int = 1, isa: str = "", blend: str = "sum") -> None:
        """`isa`: baseline, x86_64_v3 or x86_64_v4 forces one build of the kernels; "" takes the widest."""
        self.width, self.height, self.blend = width, height, blend
        self.tiled = _native.TiledRaster(width, height, threads, isa, blend == "normalised")

    @property
    def isa(self) -> str:
        return str(self.tiled.isa)

    def render(self, params: np.ndarray) -> np.ndarray:
        return self.tiled.render(params)

    def render_rgb8(self, params: np.ndarray, ground: np.ndarray | None = None) -> np.ndarray:
        return self.tiled.render_rgb8(params, RGB_FROM_OPPONENT, NO_GROUND if ground is None else ground)

    def render_person(
        self,
        params: np.ndarray,
        is_room: np.ndarray,
        background: np.ndarray,
        ground: np.ndarray | None = None,
    ) -> tuple[np.ndarray, np.ndarray]:
        ground = NO_GROUND if ground is None else ground
        return self.tiled.render_person(params, is_room, RGB_FROM_OPPONENT, ground, background)

    def gradients(self, params: np.ndarray, residual: np.ndarray) -> np.ndarray:
        return self.tiled.gradients(params, residual)

    def target(
        self,
        picture: np.ndarray,
        weight: np.ndarray,
        matte: np.ndarray | None = None,
        matte_weight: float = 0.0,
    ) -> _native.Target:
        return self.tiled.target(picture, weight, matte, matte_weight)

    def fit(
        self,
        target: _native.Target,
        params: np.ndarray,
        active: np.ndarray | None,
        schedule: FitSchedule,
        project: Project | None = None,
        is_room: np.ndarray | None = None,
    ) -> FitResult:
        options = _native.FitOptions()
        for f in fields(schedule):
            setattr(options, f.name, getattr(schedule, f.name))
        r = self.tiled.fit(target, params, active, options, project, is_room)
        return FitResult(r.iterations, r.loss, r.roi_mse, r.finite)

    def solve_colors(
        self, target: _native.Target, params: np.ndarray, active: np.ndarray | None, sweeps: int, ridge: float
    ) -> float:
        return self.tiled.solve_colors(target, params, active, sweeps, ridge)


def make(width: int, height: int, threads: int, blend: str = "sum") -> CpuRasterizer:
    return CpuRasterizer(width, height, threads, blend=blend)
