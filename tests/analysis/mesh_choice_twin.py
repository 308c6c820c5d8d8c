"""analysis/csrc/mesh_choice.cpp in NumPy: a dense quadratic form, values tried by their full cost."""

from __future__ import annotations

import numpy as np
from mesh_motion_twin import _bilinear, _half

BLOCK, SWEEPS = 8, 3


def bits(distance: int) -> float:
    return 3 + 2 * np.log2(min(abs(distance), 63)) if distance else 0.7


class Choice:
    """Which whole mesh to say for `wanted`, [rows, columns, 2] in units of `unit` pixels."""

    def __init__(
        self,
        picture: np.ndarray,
        points: np.ndarray,
        weights: np.ndarray,
        wanted: np.ndarray,
        used: np.ndarray,
        spacing: tuple[float, float],
        unit: float,
        lambda_: float,
    ) -> None:
        self.wanted, self.used, self.lambda_ = wanted.astype(float), used.astype(bool), lambda_
        plane, scale = picture.astype(float), 1.0
        if min(plane.shape) >= 24:
            plane, scale = _half(plane), 0.5
        height, width = plane.shape
        blocks = np.zeros(((height - 1) // BLOCK + 1, (width - 1) // BLOCK + 1))
        at = np.clip(points * np.float32(scale), 0, [width - 1, height - 1]).astype(int) // BLOCK
        for (x, y), w in zip(at, weights, strict=True):
            blocks[y, x] = max(blocks[y, x], w * 3 / 255**2 * unit**2)
        y, x = np.mgrid[1 : height - 1, 1 : width - 1]
        gx, gy = (plane[y, x + 1] - plane[y, x - 1]) / 2, (plane[y + 1, x] - plane[y - 1, x]) / 2
        rows, columns = wanted.shape[:2]
        basis = np.einsum(
            "yr,xc->yxrc",
            _bilinear(height, spacing[1] * scale, rows)[1:-1],
            _bilinear(width, spacing[0] * scale, columns)[1:-1],
        ).reshape(-1, rows * columns)
        slope = (basis[:, :, None] * np.stack([gx.ravel(), gy.ravel()], -1)[:, None]).reshape(
            len(basis), 2 * rows * columns
        )
        self.stiffness = slope.T @ (blocks[y // BLOCK, x // BLOCK].reshape(-1, 1) * slope)

    def cost(self, mesh: np.ndarray) -> float:
        """What the picture loses, plus lambda times the bits."""
        away = (mesh - self.wanted).reshape(-1)
        said = sum(
            bits(int(mesh[row, column, k]) - self.guess(mesh, row, column, k))
            for row, column in np.argwhere(self.used)
            for k in (0, 1)
        )
        return float(away @ self.stiffness @ away) + self.lambda_ * said

    def guess(self, mesh: np.ndarray, row: int, column: int, k: int) -> int:
        beside = [(row, column - 1), (row - 1, column)]
        values = [int(mesh[r, c, k]) for r, c in beside if r >= 0 and c >= 0 and self.used[r, c]]
        return int(sum(values) / max(1, len(values)))  # towards zero

    def find(self) -> np.ndarray:
        mesh = np.where(self.used[..., None], np.rint(self.wanted), 0).astype(int)
        for _ in range(SWEEPS):
            before = mesh.copy()
            for row, column in np.argwhere(self.used):
                for k in (0, 1):
                    now = mesh[row, column, k]
                    tried = {}
                    for value in (now, now - 1, now + 1, self.guess(mesh, row, column, k), 0):
                        mesh[row, column, k] = value
                        tried[int(value)] = self.cost(mesh)
                    mesh[row, column, k] = min(tried, key=tried.__getitem__)
            if (mesh == before).all():
                break
        return mesh
