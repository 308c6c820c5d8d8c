"""Motion of the reference's Gaussians: two source frames -> a coarse mesh of displacements.

It is found between *source* frames (the decoded one misleads it), as the mesh that a P-frame can code: half
pixels at control points, interpolated bilinearly at every mean (docs/bitstream.md, "Motion"). Of the meshes
near the found one the cheapest to code is taken, as far as the picture lets it (csrc/mesh_choice.cpp).
"""

from __future__ import annotations

from copy import copy

import cv2
import numpy as np

from gscodec.analysis import _native

MATCHED_SIDE = 180  # pixels of the shorter side of the pictures that are compared, at least, or all
SMALLEST = 16  # rows or columns of them; of smaller pictures nothing moves
UNITS_PER_PIXEL = 2
CHOICE_LAMBDA = 2.0  # of a mesh, against that of a P-frame's symbols: the picture found has more to lose
STILL = 0.05  # pixels; a room that drifts less from frame to frame is not looked at closer


class MotionEstimator:
    """Follows a clip: displacement of control points from one coded frame to the next, in half pixels.

    Two hypotheses are kept: only the person moves (0), or the room moves too (1, a hand-held camera). What
    rounding or a decision not to send leaves uncoded is carried over to the next frame.
    """

    def __init__(self, size: tuple[int, int], mesh: tuple[int, int, int], pixels_per_step: int) -> None:
        """Begin a clip.

        Args:
            mesh: log2 of the pixels between control points, the first of which is at (0, 0); rows, columns.
            pixels_per_step: of the search, looked at; a larger area by every second, fourth … row in turn.
        """
        mesh_log2, self.rows, self.columns = mesh
        self._factor = max(1, min(size) // MATCHED_SIDE)
        self._matched = size[0] // self._factor, size[1] // self._factor
        spacing = (1 << mesh_log2) / self._factor
        self._search = _native.MeshSearch(
            *self._matched, self.rows, self.columns, spacing, spacing, pixels_per_step
        )
        self._uncoded = np.zeros((2, self.rows, self.columns, 2), np.float32)

    def copy(self) -> MotionEstimator:
        """An estimator that goes on from here by itself."""
        twin = copy(self)
        twin._search, twin._uncoded = self._search.copy(), self._uncoded.copy()
        return twin

    def start(self, pixels: np.ndarray) -> None:
        """Begin at an I-frame."""
        self._look(pixels)
        self._uncoded[:] = 0

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
            used: control points that would be coded under each hypothesis, uint8 [rows, columns].
            lambda_: Σ weight·d² that one bit of a P-frame must buy.
        Returns:
            One mesh per hypothesis, int32 [2, rows, columns, 2], half pixels; the second is all zero where
            no Gaussian is the room's, or the room stands still.
        """
        self._look(pixels)
        if min(self._matched) < SMALLEST:
            return np.zeros(self._uncoded.shape, np.int32)
        factor = np.float32(self._factor)
        self._uncoded += self._search.follow(points, is_room, factor, STILL / self._factor) * factor
        wanted = np.clip(self._uncoded, -64, 64) * np.float32(UNITS_PER_PIXEL)
        meshes = np.zeros(wanted.shape, np.int32)
        at = np.ascontiguousarray(points / factor)
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

    def coded(self, mesh: np.ndarray | None, room_moves: bool = False) -> None:
        """What the P-frame really codes, and for whom; what was wanted and is not coded fades."""
        for hypothesis in (0, 1):
            if mesh is None or hypothesis > room_moves:
                self._uncoded[hypothesis] *= 0.5
            else:
                self._uncoded[hypothesis] -= mesh / np.float32(UNITS_PER_PIXEL)

    def _look(self, pixels: np.ndarray) -> None:
        grey = cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY)  # first: a third of the samples to shrink
        width, height = self._matched
        whole = grey[: height * self._factor, : width * self._factor]  # shrunk by whole blocks
        self._search.look(cv2.resize(whole, self._matched, interpolation=cv2.INTER_AREA))
