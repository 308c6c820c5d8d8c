"""Mattes that the user made: an image for the whole clip, or a video with one picture per frame."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import cv2
import numpy as np

from gscodec.errors import MediaError
from gscodec.video.frame import Frame
from gscodec.video.reader import open_video


def read_matte_image(path: str | os.PathLike[str]) -> np.ndarray | None:
    """Return an image's grey levels as a matte, or None when the file is no image that OpenCV reads.

    A picture with a transparency channel that says anything is taken as a cut-out: its opacity is the matte.

    Returns:
        float32 [H, W] in [0, 1].
    Raises:
        MediaError: it begins like an image and cannot be decoded.
    """
    if not cv2.haveImageReader(os.fspath(path)):
        return None
    image: Any = cv2.imread(os.fspath(path), cv2.IMREAD_UNCHANGED)
    if image is None:
        raise MediaError(f"{path}: the image is damaged; expected a matte, white on the person")
    top = 1.0 if np.issubdtype(image.dtype, np.floating) else float(np.iinfo(image.dtype).max)
    if image.ndim == 3 and image.shape[2] == 4 and image[..., 3].min() < top:
        image = image[..., 3]
    levels = image.astype(np.float32) / np.float32(top)
    if levels.ndim == 3:
        levels = levels[..., :3].mean(axis=2)
    return np.clip(np.nan_to_num(levels), 0, 1)


class MatteFile:
    """Gives the matte of one frame after the other from a file.

    Attributes:
        warnings: one line each.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        """Open the file.

        Raises:
            MediaError: it cannot be read as an image or a video.
        """
        self.warnings: list[str] = []
        self._path = os.fspath(path)
        self._count = 0
        self._still = read_matte_image(path) if os.path.isfile(path) else None
        self._pictures: Iterator[Frame] | None = None
        if self._still is None:
            reader = open_video(path)
            self._pictures = (item for item in reader if isinstance(item, Frame))

    def matte(self, pixels: np.ndarray) -> np.ndarray:
        """Return the matte of the clip's next frame, scaled to it; grey levels stay as soft as they are.

        Args:
            pixels: uint8 [H, W, 3]; only its size matters.
        Returns:
            [H, W], uint8 in 255ths as a video of the clip's size has them, else float32 in [0, 1].
        Raises:
            MediaError: the video has fewer pictures than the clip, or cannot be decoded.
        """
        height, width = pixels.shape[:2]
        levels = self._next()
        if abs(levels.shape[1] * height - levels.shape[0] * width) > 0.03 * levels.shape[0] * width:
            line = (
                f"matte {self._path} is {levels.shape[1]}x{levels.shape[0]}, the clip {width}x{height}: "
                "the shapes differ, so the matte is stretched"
            )
            if line not in self.warnings:
                self.warnings.append(line)
        if levels.shape == (height, width):
            return levels.copy()
        if levels.dtype == np.uint8:
            levels = levels.astype(np.float32) / np.float32(255)
        shrinking = levels.shape[0] > height
        mode = cv2.INTER_AREA if shrinking else cv2.INTER_LINEAR
        return np.clip(cv2.resize(levels, (width, height), interpolation=mode), 0, 1)

    def _next(self) -> np.ndarray:
        if self._still is not None:
            return self._still
        assert self._pictures is not None
        frame = next(self._pictures, None)
        if frame is None:
            raise MediaError(
                f"matte {self._path} ends after {self._count} pictures but the clip goes on; "
                "expected one picture per frame of the clip, or a single image"
            )
        self._count += 1
        return cv2.cvtColor(frame.pixels, cv2.COLOR_RGB2GRAY)
