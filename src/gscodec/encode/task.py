"""A frame to encode: what every step of it is given."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from gscodec.encode.budget import Budget, StopRule, fit_schedule, slowed
from gscodec.encode.frame_store import FrameStore
from gscodec.encode.lagrangian import Lagrangian
from gscodec.errors import FitError
from gscodec.rdo.pursuit import Effort
from gscodec.splat.raster import FitResult, Project, Rasterizer


@dataclass(frozen=True, slots=True)
class FrameTask:
    """One frame, and the means to encode it.

    Attributes:
        number: of the frame, counted from the encoder's first.
        source: holds the frame's pixels and matte.
        raster: draws and fits.
        lagrangian: what a bit must buy. budget: the time there is. stop: when a fit has done enough.
    """

    number: int
    source: FrameStore
    raster: Rasterizer
    lagrangian: Lagrangian
    budget: Budget
    stop: StopRule

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of the picture, pixels."""
        return self.raster.width, self.raster.height

    def effort(self, passes: int) -> Effort:
        """That of a pursuit of so many passes at most, within the time that is left."""
        return Effort(passes, self.budget.seconds_left())

    def fit(
        self,
        target: Any,
        params: np.ndarray,
        active: np.ndarray | None,
        iterations: int,
        share: float = 1.0,
        is_room: np.ndarray | None = None,
        project: Project | None = None,
        rates: tuple[float, float] | None = None,
    ) -> FitResult:
        """Move the active Gaussians towards the target, in place.

        Args:
            active: uint32 indices; None: all. iterations: upper bound.
            share: of the time that is left under --deadline.
            is_room: bool [N], under the normalised blend.
            project: what is drawn in place of the Gaussians (raster.Project).
            rates: shares of their usual values at which rates begin and end; None: as they usually do.
        Raises:
            FitError: the fit diverged.
        """
        schedule = fit_schedule(iterations, self.stop, self.budget, share, self.raster.blend)
        if rates is not None:
            schedule = slowed(schedule, *rates)
        result = self.raster.fit(target, params, active, schedule, project, is_room=is_room)
        if not result.finite or not math.isfinite(result.loss):
            raise FitError(
                f"the fit of frame {self.number} diverged at iteration {result.iterations}; "
                "please report the clip, and try another --preset meanwhile"
            )
        return result
