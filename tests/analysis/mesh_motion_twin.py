"""analysis/csrc/mesh_motion.cpp once more, in NumPy: every pixel a row of a dense least-squares problem."""

from __future__ import annotations

import numpy as np

BLOCK = 8
N_LEVELS, SMALLEST = 4, 12
ROBUST, SMOOTHNESS = 10.0, 0.2
STEPS, LAST_STEPS, SETTLED = 3, 2, 0.1
PIXELS_PER_STEP = 6000


def fit_mesh(
    before: np.ndarray, now: np.ndarray, points: np.ndarray, rows: int, columns: int, sx: float, sy: float
) -> np.ndarray:
    """Displacements [rows, columns, 2] of control points `sx`, `sy` apart."""
    mesh = np.zeros((rows, columns, 2))
    if len(points) == 0 or min(before.shape) < 2:
        return mesh
    levels = [(before.astype(float), now.astype(float))]
    while len(levels) < N_LEVELS and min(levels[-1][0].shape) >= 2 * SMALLEST:
        levels.append(tuple(map(_half, levels[-1])))  # type: ignore[arg-type]
    weight = _block_weights(points, before.shape)
    for level in reversed(range(len(levels))):
        a, b = levels[level]
        size = BLOCK >> level
        at = [np.minimum(np.arange(n) // size, m - 1) for n, m in zip(a.shape, weight.shape, strict=True)]
        pixels = weight[at[0][:, None], at[1][None]]
        stride = 1
        while np.count_nonzero(weight) * size * size > PIXELS_PER_STEP * stride:
            stride *= 2
        spacing = sx / 2**level, sy / 2**level
        for i in range(STEPS if level else LAST_STEPS):
            looked_at = np.zeros_like(pixels)
            looked_at[i % stride :: stride] = pixels[i % stride :: stride]
            step = _step(a, b, looked_at, mesh, spacing)
            mesh += step
            if np.abs(step).max() < SETTLED:
                break
        if level:
            mesh *= 2
    return mesh


def drift(before: np.ndarray, now: np.ndarray, points: np.ndarray) -> float:
    """Most pixels that a quarter of the picture moves as a whole, around the points."""
    a, b = before.astype(float), now.astype(float)
    level = 0
    while level < 2 and min(a.shape) >= 2 * SMALLEST:
        a, b, level = _half(a), _half(b), level + 1
    blocks = _block_weights(points, before.shape)
    at = [
        np.minimum(np.arange(n) // (BLOCK >> level), m - 1)
        for n, m in zip(a.shape, blocks.shape, strict=True)
    ]
    weight = blocks[at[0][:, None], at[1][None]]
    weight[[0, -1]] = weight[:, [0, -1]] = 0
    gy, gx = np.gradient((a + b) / 2)
    r = b - a
    weight = weight / (1 + (r / ROBUST) ** 2)
    rows, columns = np.arange(a.shape[0]) * 2 >= a.shape[0], np.arange(a.shape[1]) * 2 >= a.shape[1]
    largest = 0.0
    for lower in (False, True):
        for right in (False, True):
            w = weight * (rows == lower)[:, None] * (columns == right)
            matrix = np.array([[(w * p * q).sum() for p in (gx, gy)] for q in (gx, gy)])
            matrix += (1e-3 * np.trace(matrix) + 1e-6) * np.eye(2)
            step = np.linalg.solve(matrix, [(w * gx * r).sum(), (w * gy * r).sum()])
            largest = max(largest, float(np.abs(step).max()))
    return largest * 2**level


def _half(p: np.ndarray) -> np.ndarray:
    p = p[: p.shape[0] // 2 * 2, : p.shape[1] // 2 * 2]
    return (p[::2, ::2] + p[::2, 1::2] + p[1::2, ::2] + p[1::2, 1::2]) / 4


def _block_weights(points: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    height, width = shape
    count = np.zeros(((height - 1) // BLOCK + 3, (width - 1) // BLOCK + 3))
    for x, y in np.clip(points, 0, [width - 1, height - 1]).astype(int):
        around = count[y // BLOCK : y // BLOCK + 3, x // BLOCK : x // BLOCK + 3]
        around += 0.5
        around[1, 1] += 0.5
    return count[1:-1, 1:-1]


def _bilinear(n: int, spacing: float, n_points: int) -> np.ndarray:
    """What each control point along an axis counts at the middle of each pixel, [n, n_points]."""
    g = np.minimum((np.arange(n) + 0.5) / spacing, n_points - 1.001)
    cell = g.astype(int)
    out = np.zeros((n, n_points))
    out[np.arange(n), cell] = 1 - (g - cell)
    out[np.arange(n), cell + 1] = g - cell
    return out


def _step(
    a: np.ndarray, b: np.ndarray, weight: np.ndarray, mesh: np.ndarray, spacing: tuple[float, float]
) -> np.ndarray:
    rows, columns = mesh.shape[:2]
    height, width = a.shape
    basis = np.einsum(
        "yr,xc->yxrc", _bilinear(height, spacing[1], rows), _bilinear(width, spacing[0], columns)
    ).reshape(height * width, rows * columns)
    d = (basis @ mesh.reshape(-1, 2)).reshape(height, width, 2)
    y, x = np.mgrid[:height, :width]
    u, v = np.clip(x + d[..., 0], 0, width - 1.001), np.clip(y + d[..., 1], 0, height - 1.001)
    iu, iv = u.astype(int), v.astype(int)
    tu, tv = u - iu, v - iv
    p00, p01, p10, p11 = b[iv, iu], b[iv, iu + 1], b[iv + 1, iu], b[iv + 1, iu + 1]
    top, bottom = p00 + tu * (p01 - p00), p10 + tu * (p11 - p10)
    residual = top + tv * (bottom - top) - a
    padded = np.pad(a, 1, mode="edge")
    gx = 0.5 * ((1 - tv) * (p01 - p00) + tv * (p11 - p10)) + (padded[1:-1, 2:] - padded[1:-1, :-2]) / 4
    gy = 0.5 * (bottom - top) + (padded[2:, 1:-1] - padded[:-2, 1:-1]) / 4
    w = (weight / (1 + (residual / ROBUST) ** 2)).ravel()
    gradient = np.stack([gx.ravel(), gy.ravel()], axis=1)
    jacobian = (basis[:, :, None] * gradient[:, None, :]).reshape(height * width, -1)
    matrix = jacobian.T @ (w[:, None] * jacobian)
    right = -jacobian.T @ (w * residual.ravel())
    s = SMOOTHNESS * np.trace(matrix) / len(matrix) + 1e-3
    index = np.arange(rows * columns).reshape(rows, columns)
    flat = mesh.reshape(-1)
    beside = zip(index[:, 1:].ravel(), index[:, :-1].ravel(), strict=True)
    below = zip(index[1:].ravel(), index[:-1].ravel(), strict=True)
    for m, n in (*beside, *below):
        for k in (0, 1):
            i, j = 2 * m + k, 2 * n + k
            matrix[[i, j], [i, j]] += s
            matrix[[i, j], [j, i]] -= s
            right[[i, j]] -= s * np.array([flat[i] - flat[j], flat[j] - flat[i]])
    matrix[np.diag_indices_from(matrix)] += 1e-3 * s
    return np.linalg.solve(matrix, right).reshape(mesh.shape)
