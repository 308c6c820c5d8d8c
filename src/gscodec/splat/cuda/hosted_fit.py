"""Fits that draw something else than what they move, where a whole fit is one launch: for learned quantisers.

The loop of raster_torch.TorchRasterizer.fit in NumPy, around a drawing that happens elsewhere: an iteration
goes there and back. The native core has it inside (csrc/fit.cpp).
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from gscodec.splat._native import MAX_LOG_WEIGHT
from gscodec.splat.gaussians import CHOLESKY, COLOR, LOG_WEIGHT, MEAN
from gscodec.splat.raster import FitResult, FitSchedule, Project

# Params float32 [n, 8 or 9] -> Σ weight·d², the ROI's mean squared error, gradient in each Gaussian's frame.
Evaluate = Callable[[np.ndarray], tuple[float, float, np.ndarray]]


def fit_projected(
    evaluate: Evaluate,
    params: np.ndarray,
    schedule: FitSchedule,
    project: Project,
    limits: tuple[float, float],
) -> FitResult:
    """Move Gaussians, in place, so that what `project` makes of them comes near a target.

    Args:
        params: float32 [n, 8 or 9]. limits: least l1 and l3, and largest factor, pixels.
    """
    now = params.astype(np.float64)
    first, second = np.zeros_like(now), np.zeros_like(now)
    plain = np.zeros_like(params)
    loss_before = math.inf
    of_groups = [schedule.rate_mean, schedule.rate_shape, schedule.rate_color, schedule.rate_weight]
    rates = np.repeat(of_groups, [2, 3, 3, 1])[: params.shape[1]]
    for iteration in range(schedule.iterations + 1):
        drawn = project(now.astype(np.float32), plain)
        loss, roi_mse, natural = evaluate(drawn)
        if not (math.isfinite(loss) and np.isfinite(now).all()):
            return FitResult(iteration, loss, roi_mse, finite=False)
        done = iteration == schedule.iterations or 0 < roi_mse <= schedule.target_mse
        if schedule.plateau > 0 and iteration % 10 == 0:
            done |= iteration > 0 and loss_before - loss < schedule.plateau * loss_before
            loss_before = loss
        if done:
            break
        plain = plain_gradient(drawn, natural)
        gradient = natural if schedule.natural else plain
        first += (1 - schedule.beta1) * (gradient - first)
        second += (1 - schedule.beta2) * (np.square(gradient) - second)
        spread = np.sqrt(second / (1 - schedule.beta2 ** (iteration + 1))) + 1e-6
        phase = iteration / max(1, schedule.iterations)
        share = schedule.final_rate + (1 - schedule.final_rate) * 0.5 * (1 + math.cos(math.pi * phase))
        step = -share * rates * first / (1 - schedule.beta1 ** (iteration + 1)) / spread
        now = moved(now, step) if schedule.natural else now + step
        now[:, [2, 4]] = np.clip(now[:, [2, 4]], *limits)
        now[:, 3] = np.clip(now[:, 3], -limits[1], limits[1])
        now[:, LOG_WEIGHT:] = np.clip(now[:, LOG_WEIGHT:], -MAX_LOG_WEIGHT, MAX_LOG_WEIGHT)
    params[...] = now
    return FitResult(iteration, loss, roi_mse, finite=True)


def plain_gradient(params: np.ndarray, natural: np.ndarray) -> np.ndarray:  # [n, 8 or 9] twice -> the same
    """The gradient with respect to (mean, L, colour) from the one in each Gaussian's own frame, float32."""
    l1, l2, l3 = params[:, CHOLESKY].T.astype(np.float64)
    g = natural.astype(np.float64)
    g[:, 1] /= l3
    g[:, 0] = (g[:, 0] - l2 * g[:, 1]) / l1
    g[:, 3] /= l3
    g[:, 2] = (g[:, 2] - l2 * g[:, 3]) / l1
    g[:, 4] /= l3
    return g.astype(np.float32)


def moved(params: np.ndarray, step: np.ndarray) -> np.ndarray:  # [n, 8 or 9] twice -> the same
    """After a step in their own frame: μ += L·(A, B), L <- L·[[e^C, 0], [D, e^E]], others += step."""
    l1, l2, l3 = params[:, CHOLESKY].T
    grow1, grow3 = np.exp(step[:, 2]), np.exp(step[:, 4])
    out = params.copy()
    out[:, MEAN] += np.stack([l1 * step[:, 0], l2 * step[:, 0] + l3 * step[:, 1]], axis=1)
    out[:, CHOLESKY] = np.stack([l1 * grow1, l2 * grow1 + l3 * step[:, 3], l3 * grow3], axis=1)
    out[:, COLOR.start :] += step[:, COLOR.start :]
    return out
