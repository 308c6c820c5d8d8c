"""Gaussians drawn at another size than the coded one: the same Gaussians on a finer or coarser grid.

Larger: positions are scaled, nothing else. A fit knows its pixels' centres only, but neither shrinking the
Gaussians by what a pixel had blurred nor widening the thinnest comes nearer to larger originals. Smaller: a
picture is drawn at a whole multiple of its size, at least as fine as the coded one, and averaged: a pixel's
own blur added to every Gaussian (EWA) is worse, because a mean of colours is no sum (docs/decoding.md).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import numpy as np

from gscodec.splat.gaussians import MEAN
from gscodec.splat.raster import Rasterizer


class Drawer(Protocol):
    """The part of raster.Rasterizer that makes pictures to look at; docstrings there."""

    def render_rgb8(self, params: np.ndarray, ground: np.ndarray | None = None) -> np.ndarray: ...
    def render_person(
        self,
        params: np.ndarray,
        is_room: np.ndarray,
        background: np.ndarray,
        ground: np.ndarray | None = None,
    ) -> tuple[np.ndarray, np.ndarray]: ...


class ScaledDrawer:
    """A Drawer of pictures of another size than its Gaussians were coded for."""

    def __init__(
        self, make: Callable[[int, int], Rasterizer], coded: tuple[int, int], size: tuple[int, int]
    ) -> None:
        """Make a drawer.

        Args:
            make: makes the rasteriser for a width and a height. coded, size: width and height that the
                Gaussians are of, and of the pictures, pixels.
        """
        self._samples = samples_per_pixel(coded[0], size[0]), samples_per_pixel(coded[1], size[1])
        drawn = size[0] * self._samples[0], size[1] * self._samples[1]
        self._scale = drawn[0] / coded[0], drawn[1] / coded[1]
        self._raster = make(*drawn)

    def render_rgb8(self, params: np.ndarray, ground: np.ndarray | None = None) -> np.ndarray:
        picture = self._raster.render_rgb8(scaled(params, *self._scale), ground)
        return block_means(picture, *self._samples)

    def render_person(
        self,
        params: np.ndarray,
        is_room: np.ndarray,
        background: np.ndarray,
        ground: np.ndarray | None = None,
    ) -> tuple[np.ndarray, np.ndarray]:
        params = scaled(params, *self._scale)
        picture, alpha = self._raster.render_person(params, is_room, background, ground)
        return block_means(picture, *self._samples), block_means(alpha, *self._samples)


def samples_per_pixel(coded: int, drawn: int) -> int:
    """Samples along one axis that a pixel is the mean of: as many as no coded pixel is missed with."""
    return -(-coded // drawn)


def scaled(params: np.ndarray, x: float, y: float) -> np.ndarray:  # [N, 8 or 9] -> [N, 8 or 9]
    """Parameters after the plane is stretched by x and y: μ becomes S·μ and L becomes S·L, float32.

    Distances in units of the Gaussian stay, and with them cut-off, weights and the share of the ground.
    """
    out = params.astype(np.float64)
    out[:, MEAN] *= x, y
    out[:, 2] *= x
    out[:, 3:5] *= y
    return out.astype(np.float32)


def block_means(picture: np.ndarray, columns: int, rows: int) -> np.ndarray:
    """Means of blocks of pixels, rounded to the nearest, halves up.

    Args:
        picture: uint8 [H·rows, W·columns] or [H·rows, W·columns, 3].
    Returns:
        uint8 [H, W] or [H, W, 3].
    """
    if columns == rows == 1:
        return picture
    height, width = picture.shape[0] // rows, picture.shape[1] // columns
    sums = np.zeros((height, width, *picture.shape[2:]), np.uint32)
    for y in range(rows):
        for x in range(columns):
            sums += picture[y::rows, x::columns]
    n = rows * columns
    return ((sums + n // 2) // n).astype(np.uint8)
