"""Motion of the reference's Gaussians: two source frames -> a coarse mesh of displacements.

It is found between *source* frames (the decoded one misleads it), as the mesh that a P-frame can say: half
pixels at control points, interpolated bilinearly at every mean (docs/bitstream.md, "Motion"). Of the meshes
near the found one the cheapest to say is taken, as far as the picture lets it (csrc/mesh_choice.cpp).
"""

from __future__ import annotations

import cv2
import numpy as np

from gscodec.splat import _native

MATCHED_HEIGHT = 240  # rows of the pictures that are compared
SMALLEST = 16  # rows or columns of them; of smaller pictures nothing is said to move
UNITS_PER_PIXEL = 2
CHOICE_LAMBDA = 2.0  # of a mesh, against that of a P-frame's symbols: the picture found has more to lose
STILL = 0.05  # pixels; a room that drifts less from frame to frame is not looked at closer


class MotionEstimator:
    """Follows a clip: displacement of control points from one coded frame to the next, in half pixels.

    Two hypotheses are kept: only the person moves (0), or the room moves too (1, a hand-held camera). What
    rounding or a decision not to send leaves unsaid is carried over to the next frame.
    """

    def __init__(self, size: tuple[int, int], mesh_log2: int, rows: int, columns: int) -> None:
        """Control points of the mesh stand 2^mesh_log2 pixels apart, the first at (0, 0)."""
        self._width, self._height = size
        self.rows, self.columns = rows, columns
        height = min(MATCHED_HEIGHT, self._height)
        self._matched = max(1, round(self._width * height / self._height)), height
        self._scale = np.array([self._width, self._height], np.float32) / np.array(self._matched, np.float32)
        spacing = ((1 << mesh_log2) / self._scale).tolist()
        self._search = _native.MeshSearch(*self._matched, self.rows, self.columns, *spacing)
        self._unsaid = np.zeros((2, self.rows, self.columns, 2), np.float32)

    def start(self, pixels: np.ndarray) -> None:
        """Begin at an I-frame."""
        self._look(pixels)
        self._unsaid[:] = 0

    def estimate(
        self,
        pixels: np.ndarray,
        points: np.ndarray,
        is_room: np.ndarray,
        weights: np.ndarray,
        used: tuple[np.ndarray, np.ndarray],
        lambda_: float,
    ) -> np.ndarray:
        """Meshes that move Gaussians from the last frame to this one.

        Args:
            points: means of the Gaussians, pixels [N, 2]. is_room: bool [N].
            weights: of the pixels around each in the loss, float32 [N].
            used: control points that would be said under each hypothesis, uint8 [rows, columns].
            lambda_: Σ weight·d² that one bit of a P-frame must buy.
        Returns:
            One mesh per hypothesis, int32 [2, rows, columns, 2], half pixels; the second is all zero where
            no Gaussian is the room's, or the room stands still.
        """
        self._look(pixels)
        if min(self._matched) < SMALLEST:
            return np.zeros(self._unsaid.shape, np.int32)
        still = STILL / float(self._scale.max())
        self._unsaid += self._search.follow(points, is_room, *self._scale.tolist(), still) * self._scale
        wanted = np.clip(self._unsaid, -64, 64) * np.float32(UNITS_PER_PIXEL)
        meshes = np.zeros(wanted.shape, np.int32)
        at = np.ascontiguousarray(points / self._scale, np.float32)
        for hypothesis, moves in enumerate((~is_room, np.ones_like(is_room))):
            if wanted[hypothesis].any():
                meshes[hypothesis] = self._search.choose(
                    at[moves],
                    weights[moves],
                    wanted[hypothesis],
                    used[hypothesis],
                    1 / UNITS_PER_PIXEL,
                    CHOICE_LAMBDA * lambda_,
                )
        return meshes

    def said(self, mesh: np.ndarray | None, room_moves: bool = False) -> None:
        """What the P-frame really said, and for whom; what was wanted and not said fades."""
        for hypothesis in (0, 1):
            if mesh is None or hypothesis > room_moves:
                self._unsaid[hypothesis] *= 0.5
            else:
                self._unsaid[hypothesis] -= mesh / np.float32(UNITS_PER_PIXEL)

    def _look(self, pixels: np.ndarray) -> None:
        grey = cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY)  # first: a third of the samples to shrink
        self._search.look(cv2.resize(grey, self._matched, interpolation=cv2.INTER_AREA))
