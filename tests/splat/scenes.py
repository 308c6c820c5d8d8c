"""Sets of Gaussians that are hard on a rasteriser, and how closely two rasterisers must agree on them."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

RADIUS_SQ = 9.0
MIN_SCALE = 0.3


class Tolerance(NamedTuple):
    """How far a backend may be from the twin in float64.

    Attributes:
        picture: as a share of `picture_scale`, what a pixel could reach if nothing cancelled.
        gradient: as a share of `gradient_scale`, what a row could reach if nothing cancelled.
        row: of the norm of a row's geometry and of its colours, relative. Absolute tolerances alone
            would pass a backward that wrongly returns zero.
        params: of the parameters after five steps of a fit, pixels and colours.
    """

    picture: float
    gradient: float
    row: float
    params: float


TOLERANCE = {
    "float32": Tolerance(picture=2e-5, gradient=2e-4, row=2e-3, params=2e-4),
    "float64": Tolerance(picture=1e-12, gradient=1e-12, row=1e-9, params=1e-9),
}


def random_gaussians(
    rng: np.random.Generator, n: int, width: int, height: int, low: float = 0.8, high: float = 6.0
) -> np.ndarray:
    """float32 [n, 8]: means in and around the picture, axes of `low` to `high` pixels, any tilt."""
    mean_x, mean_y = rng.uniform(-3, width + 3, n), rng.uniform(-3, height + 3, n)
    l1, l3 = np.exp(rng.uniform(np.log(low), np.log(high), (2, n)))
    l2 = rng.normal(0, 0.5 * high, n)
    return np.stack((mean_x, mean_y, l1, l2, l3, *rng.normal(0, 1, (3, n))), 1).astype(np.float32)


def needles(rng: np.random.Generator, n: int, width: int, height: int) -> np.ndarray:
    """float32 [n, 8]: as thin as permitted in one or both axes, upright, flat and strongly tilted."""
    params = random_gaussians(rng, n, width, height)
    params[:, 2] = rng.choice([MIN_SCALE, 0.5, 8.0], n)
    params[:, 3] = rng.choice([0.0, 4.0, -25.0], n)
    params[:, 4] = rng.choice([MIN_SCALE, 0.5, 1.0, 8.0], n)
    return params


def special_gaussians(width: int, height: int) -> np.ndarray:
    """float32 [n, 8]: off-screen, at the edge, far away, larger than the picture, at the smallest scale."""
    w, h = width, height
    geometry = [
        (-40, -40, 2, 0, 2),  # off-screen
        (w + 9, h / 2, 3, 1, 3),  # just out of reach
        (w + 3, h / 2, 3, 1, 3),  # just within
        (w / 2, -2, 2, -3, 1),
        (1e6, -1e6, 5, 0, 5),
        (-1e30, 1e30, 5, 0, 5),
        (w / 2, h / 2, 5 * w, 0, 5 * h),  # larger than the picture
        (w / 3, h / 3, 2 * w, -3 * h, 2 * h),
        (-3 * w, h / 2, 2 * w, 3, h),  # its mean outside, itself not
        (0, 0, MIN_SCALE, 0, MIN_SCALE),  # between four pixels
        (2.5, 1.5, MIN_SCALE, 0, MIN_SCALE),  # on a pixel
        (w / 2, h / 2, w / 3, -2 * h, MIN_SCALE),  # needle across the picture
    ]
    colors = np.linspace(-1, 1, 3 * len(geometry)).reshape(-1, 3)
    return np.hstack((np.array(geometry), colors)).astype(np.float32)


def squared_radii(params: np.ndarray, width: int, height: int) -> np.ndarray:  # [N, 8] -> [N, H, W]
    """u² + v² of every Gaussian at every pixel, float64; straight from the definition."""
    y, x = np.mgrid[:height, :width] + 0.5
    mean_x, mean_y, l1, l2, l3 = params.astype(np.float64)[:, :5].T[..., None, None]
    u = (x - mean_x) / l1
    v = ((y - mean_y) - l2 * u) / l3
    return u * u + v * v


def clear_pixels(params: np.ndarray, width: int, height: int, margin: float = 2e-4) -> np.ndarray:  # [H, W]
    """True where no Gaussian is at its cut-off, where gradients (not weights) have a step."""
    clear = np.ones((height, width), bool)
    for some in np.array_split(params, max(1, len(params) * width * height >> 22)):
        clear &= (np.abs(squared_radii(some, width, height) - RADIUS_SQ) > margin).all(0)
    return clear


def picture_scale(params: np.ndarray, width: int, height: int) -> float:
    """The largest sum of weight times |colour| over the pixels, at least 1."""
    positive = np.hstack((params[:, :5], np.abs(params[:, 5:])))
    return max(1.0, float(draw_by_definition(positive, width, height).max(initial=0)))


def gradient_scale(params: np.ndarray, residual: np.ndarray) -> np.ndarray:  # [N, 8], [H, W, 3] -> [N, 8]
    """What the entries of a row could reach without cancellation: weights times residual times colour."""
    height, width = residual.shape[:2]
    area = np.clip(2 * np.pi * params[:, 2].astype(np.float64) * params[:, 4], 1, width * height)[:, None]
    largest = np.abs(residual).max(initial=0)
    color = np.linalg.norm(params[:, 5:], axis=1, keepdims=True)
    return area * largest * np.hstack((np.repeat(color, 5, 1), np.ones((len(params), 3))))


def edge_gaussians(rng: np.random.Generator, n: int, width: int, height: int) -> np.ndarray:
    """float32 [n, 8]: strong colours, and each has pixel centres at its cut-off but for a few roundings.

    Half of them are round, with radii of whole pixels; the others are scaled until a random pixel lies there.
    """
    params = random_gaussians(rng, n, width, height)
    params[:, :2] = rng.integers(0, [width, height], (n, 2)) + 0.5
    params[: n // 2, 2:5] = rng.choice([1, 2, 3, 4], (n // 2, 1)) * [1, 0, 1]
    for row in params[n // 2 :]:
        dx, dy = rng.choice([-1, 1], 2) * rng.integers(2, 12, 2)
        u = dx / float(row[2])
        radius = np.hypot(u, (dy - float(row[3]) * u) / float(row[4]))
        row[2:5] *= radius / 3
    params[:, [2, 4]] = np.maximum(params[:, [2, 4]], MIN_SCALE)
    params[:, 5:] = rng.choice([-2, 2], (n, 3))
    return params


def draw_by_definition(params: np.ndarray, width: int, height: int) -> np.ndarray:  # [N, 8] -> [H, W, 3]
    """The picture in three lines of numpy, float64."""
    r_sq = squared_radii(params, width, height)
    weight = np.maximum(np.exp(-r_sq / 2) - np.exp(-RADIUS_SQ / 2), 0)
    return np.tensordot(weight, params[:, 5:].astype(np.float64), (0, 0))


def smooth_picture(width: int, height: int) -> np.ndarray:  # [H, W, 3]
    """Opponent colours, float32: something a few Gaussians can fit."""
    y, x = np.mgrid[:height, :width] + 0.5
    waves = [0.8 + 0.4 * np.sin(x / 5) * np.cos(y / 4), 0.2 * np.cos(x / 7), 0.2 * np.sin(y / 6 + x / 9)]
    return np.stack(waves, -1).astype(np.float32)


def grid_gaussians(rng: np.random.Generator, columns: int, rows: int, width: int, height: int) -> np.ndarray:
    """float32 [columns·rows, 8]: an even start for a fit, shaken so that no cut-off falls on a pixel."""
    x, y = np.meshgrid((np.arange(columns) + 0.5) * width / columns, (np.arange(rows) + 0.5) * height / rows)
    n = columns * rows
    params = np.zeros((n, 8))
    params[:, 0], params[:, 1] = x.ravel(), y.ravel()
    params[:, 2], params[:, 4] = 0.7 * width / columns, 0.7 * height / rows
    params[:, 5:] = [0.5, 0.0, 0.0]
    params += rng.normal(0, [0.3, 0.3, 0.1, 0.3, 0.1, 0.05, 0.05, 0.05], (n, 8))
    return params.astype(np.float32)
