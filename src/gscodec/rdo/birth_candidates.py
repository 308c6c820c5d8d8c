"""What a sum of Gaussians leaves unexplained -> where one more Gaussian would explain most.

A matched filter at octaves of size: a round Gaussian g of the best colour at a place lowers Σ w·r² by
|Σ w·g·r|² / Σ w·g², which two blurs give for all places at once.
"""

from __future__ import annotations

import cv2
import numpy as np

from gscodec.splat.gaussians import N_PARAMS

# Pixels of a level; each level is half the size of the one before, the first half the picture's.
SIGMAS = ((1.25,), (1.0, 1.6), (1.25, 2.0))
MIN_DISTANCE = 0.9  # of the sum of two candidates' sizes: the closest that both are taken


def find_candidates(residual: np.ndarray, least_gain: float, most: int) -> np.ndarray:
    """Round Gaussians that would lower Σ weight·residual² most, the best first.

    Args:
        residual: target minus sum and weight, float32 [H, W, 4].
        least_gain: of Σ weight·residual², that each must promise by itself.
        most: at most so many.
    Returns:
        Their params with the best colours, float32 [K, 8].
    """
    height, width = residual.shape[:2]
    level, found = residual, [np.zeros((0, 1 + N_PARAMS), np.float32)]
    for i, sigmas in enumerate(SIGMAS):
        if min(level.shape[:2]) < 4:
            break
        level = cv2.resize(
            level, (-(-level.shape[1] // 2), -(-level.shape[0] // 2)), interpolation=cv2.INTER_AREA
        )
        if i == 0:
            *colors, weight = cv2.split(level)
            level = cv2.merge([*(c * weight for c in colors), weight])
        scale = np.array([width / level.shape[1], height / level.shape[0]], np.float32)
        for sigma in sigmas:
            found.append(_peaks(level, sigma, float(2 << i), scale, least_gain))
    gains, params = np.split(np.concatenate(found), [1], axis=1)
    chosen: list[int] = []
    for i in np.argsort(-gains[:, 0], kind="stable"):
        if len(chosen) == most:
            break
        p, others = params[i], params[chosen]
        if (np.hypot(others[:, 0] - p[0], others[:, 1] - p[1]) > MIN_DISTANCE * (others[:, 2] + p[2])).all():
            chosen.append(int(i))
    return params[chosen]


def _peaks(
    level: np.ndarray, sigma: float, unit: float, scale: np.ndarray, least_gain: float
) -> np.ndarray:  # -> [n, 1 + 8]: gain, params
    """Local maxima of the gain at one size. `unit`: picture's pixels per pixel of the level."""
    area = np.float32(unit * unit * np.pi * sigma * sigma)
    correlation = cv2.GaussianBlur(level, (0, 0), sigma)
    energy = cv2.GaussianBlur(level[:, :, 3], (0, 0), sigma / 2**0.5) * area + np.float32(1e-3)
    y, u, v, _ = cv2.split(correlation)
    gain = (y * y + u * u + v * v) * (4 * area * area) / energy
    at = np.nonzero((gain >= cv2.dilate(gain, np.ones((3, 3), np.uint8))) & (gain > least_gain))
    out = np.zeros((len(at[0]), 1 + N_PARAMS), np.float32)
    out[:, 0] = gain[at]
    out[:, 1:3] = (np.stack([at[1], at[0]], axis=1) + 0.5) * scale
    out[:, 3] = out[:, 5] = sigma * unit
    out[:, 6:] = correlation[at][:, :3] * (2 * area) / energy[at][:, None]
    return out
