"""Motion of the reference's Gaussians: dense flow between source frames -> a coarse mesh of displacements.

The flow is taken between *source* frames (the decoded one misleads it); the mesh is what a P-frame can say,
quarter pixels at control points, interpolated bilinearly at every mean (docs/bitstream.md, "Motion").
"""

from __future__ import annotations

import cv2
import numpy as np

FLOW_HEIGHT = 180  # rows at which the flow is computed
SMOOTHNESS = 0.1  # of the mesh against the mean number of samples per control point
UNITS_PER_PIXEL = 4


class MotionEstimator:
    """Follows a clip: displacement of control points from one coded frame to the next, in quarter pixels.

    Two hypotheses are kept: only the person moves (0), or the room moves too (1, a hand-held camera). What
    rounding or a decision not to send leaves unsaid is carried over to the next frame.
    """

    def __init__(self, size: tuple[int, int], mesh_log2: int) -> None:
        self._width, self._height = size
        self._spacing = 1 << mesh_log2
        self.rows = ((self._height - 1) >> mesh_log2) + 2
        self.columns = ((self._width - 1) >> mesh_log2) + 2
        self._flow = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
        self._before: np.ndarray | None = None
        self._unsaid = np.zeros((2, self.rows, self.columns, 2), np.float32)

    def start(self, pixels: np.ndarray) -> None:
        """Begin at an I-frame."""
        self._before = self._small(pixels)
        self._unsaid[:] = 0

    def estimate(self, pixels: np.ndarray, points: np.ndarray, is_room: np.ndarray) -> np.ndarray:
        """Meshes that move Gaussians from the last frame to this one.

        Args:
            points: means of the Gaussians, pixels [N, 2]. is_room: bool [N].
        Returns:
            One mesh per hypothesis, int32 [2, rows, columns, 2], quarter pixels; the second is all zero where
            no Gaussian is the room's.
        """
        now = self._small(pixels)
        if self._before is None or min(now.shape) < 16:
            self._before = now
            return np.zeros(self._unsaid.shape, np.int32)
        flow = self._flow.calc(self._before, now, np.zeros((*now.shape, 2), np.float32))
        self._before = now
        scale = np.array([self._width / now.shape[1], self._height / now.shape[0]], np.float32)
        at = np.clip((points / scale).astype(np.int64), 0, [now.shape[1] - 1, now.shape[0] - 1])
        moved = flow[at[:, 1], at[:, 0]] * scale
        self._unsaid[0] += self._fit(points[~is_room], moved[~is_room])
        if is_room.any():
            self._unsaid[1] += self._fit(points, moved)
        return np.rint(np.clip(self._unsaid, -64, 64) * UNITS_PER_PIXEL).astype(np.int32)

    def said(self, mesh: np.ndarray | None, room_moves: bool = False) -> None:
        """What the P-frame really said, and for whom; what was wanted and not said fades."""
        for hypothesis in (0, 1):
            if mesh is None or hypothesis > room_moves:
                self._unsaid[hypothesis] *= 0.5
            else:
                self._unsaid[hypothesis] -= mesh / np.float32(UNITS_PER_PIXEL)

    def _small(self, pixels: np.ndarray) -> np.ndarray:
        height = min(FLOW_HEIGHT, self._height)
        width = max(1, round(self._width * height / self._height))
        return cv2.cvtColor(
            cv2.resize(pixels, (width, height), interpolation=cv2.INTER_AREA), cv2.COLOR_RGB2GRAY
        )

    def _fit(self, points: np.ndarray, flow: np.ndarray) -> np.ndarray:
        """Least squares of the mesh to sampled displacements, with smoothness; float32 [rows, columns, 2]."""
        n = self.rows * self.columns
        if len(points) == 0:
            return np.zeros((self.rows, self.columns, 2), np.float32)
        grid = np.clip(points / self._spacing, 0, [self.columns - 1.001, self.rows - 1.001])
        cell = grid.astype(np.int64)
        f = grid - cell
        first = cell[:, 1] * self.columns + cell[:, 0]
        corners = np.stack([first, first + 1, first + self.columns, first + self.columns + 1], axis=1)
        weights = np.stack(
            [
                (1 - f[:, 0]) * (1 - f[:, 1]),
                f[:, 0] * (1 - f[:, 1]),
                (1 - f[:, 0]) * f[:, 1],
                f[:, 0] * f[:, 1],
            ],
            axis=1,
        )
        pairs = (n * corners[:, :, None] + corners[:, None, :]).ravel()
        products = (weights[:, :, None] * weights[:, None, :]).ravel()
        normal: np.ndarray = np.bincount(pairs, products, n * n).reshape(n, n)
        shares = [(weights * flow[:, k : k + 1]).ravel() for k in (0, 1)]
        right = np.stack([np.bincount(corners.ravel(), share, n) for share in shares], axis=1)
        smooth = SMOOTHNESS * len(points) / n + 1e-3
        index = np.arange(n).reshape(self.rows, self.columns)
        for a, b in ((index[:, :-1], index[:, 1:]), (index[:-1], index[1:])):
            a, b = a.ravel(), b.ravel()
            normal[a, a] += smooth
            normal[b, b] += smooth
            normal[a, b] -= smooth
            normal[b, a] -= smooth
        normal[np.arange(n), np.arange(n)] += 1e-4
        return np.linalg.solve(normal, right).reshape(self.rows, self.columns, 2).astype(np.float32)
