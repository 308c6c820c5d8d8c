"""What a frame may spend: the time that --deadline leaves of it, and when a fit has done enough."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import Any

from gscodec.splat.raster import FitSchedule

# Of a frame's time, for everything up to the last update; drawing and coding take the remaining fifth.
DEADLINE_SHARE = 0.8
SHORTEST_S = 1e-4  # what a step gets that finds no time left; 0 would mean no limit
FIT_MARGIN_DB = 2.5  # rounding and the P-frames of a GOP lose about that much of an I-frame's fit


@dataclass(frozen=True, slots=True)
class StopRule:
    """When a fit ends before its last iteration.

    Attributes:
        target_mse: at this mean squared error of the ROI; 0: never.
        plateau: where ten steps gain less than this share of the loss; 0: never.
    """

    target_mse: float
    plateau: float


def stop_rule(target_psnr: float | None, plateau: float) -> StopRule:
    """The rule of a file; with a target a fit ends once it is FIT_MARGIN_DB above it."""
    return StopRule(10 ** (-(target_psnr + FIT_MARGIN_DB) / 10) if target_psnr else 0.0, plateau)


@dataclass(frozen=True, slots=True)
class Budget:
    """Time of one frame.

    Attributes:
        began: when it was begun, by time.perf_counter.
        deadline_s: what all of it may take; None: as long as it takes.
    """

    began: float
    deadline_s: float | None

    def seconds_left(self) -> float:
        """What a fit or pursuit may take now; 0: no limit, as FitSchedule and Effort have it."""
        if self.deadline_s is None:
            return 0.0
        return max(SHORTEST_S, DEADLINE_SHARE * self.deadline_s - self.seconds_spent())

    def seconds_spent(self) -> float:
        """How long ago the frame was begun."""
        return time.perf_counter() - self.began

    def allows(self, seconds: float) -> bool:
        """Whether there is time for a step that takes so long."""
        return self.deadline_s is None or self.seconds_left() > seconds


def begin_frame(deadline_ms: float | None) -> Budget:
    """The budget of a frame that begins now."""
    return Budget(time.perf_counter(), None if deadline_ms is None else deadline_ms / 1e3)


# Of fits of normalised Gaussians, where FitSchedule's own are the sum's: docs/fitting.md, "The optimiser".
NORMALISED_RATES: dict[str, Any] = {"rate_shape": 0.2, "beta2": 0.8}


def fit_schedule(
    iterations: int, stop: StopRule, budget: Budget, share: float = 1.0, blend: str = "sum"
) -> FitSchedule:
    """Up to `iterations` steps; with a deadline at most `share` of the time that is left."""
    return FitSchedule(
        iterations,
        **(NORMALISED_RATES if blend == "normalised" else {}),
        target_mse=stop.target_mse,
        deadline_s=share * budget.seconds_left(),
        plateau=stop.plateau,
    )


def slowed(schedule: FitSchedule, first: float, last: float) -> FitSchedule:
    """The schedule with rates that fall from a share `first` of themselves to a share `last`."""
    names = ("rate_mean", "rate_shape", "rate_color", "rate_weight")
    rates = {name: first * getattr(schedule, name) for name in names}
    return replace(schedule, **rates, final_rate=last / first)
