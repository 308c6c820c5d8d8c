"""Block averages of pictures, and what two of them tell: a scene cut, or that something moved."""

from __future__ import annotations

import numpy as np

CUT_THRESHOLD = (
    22.0  # mean |difference| of 16x16 block averages, code values; hand-held motion stays below 12
)
MOTION_THRESHOLD = 10.0  # code values by which a block must change to show that something moves
_BLOCK = 16
_CHANNELS = np.tile(np.eye(3, dtype=np.float32), (_BLOCK, 1))  # adds a block's columns up, channel by channel


def thumbnail(pixels: np.ndarray) -> np.ndarray:
    """Block averages of a picture, for `is_scene_cut`; a small picture is its own thumbnail."""
    height, width = (n // _BLOCK * _BLOCK for n in pixels.shape[:2])
    if not height or not width:
        return pixels.astype(np.float32)
    columns = pixels[:height, :width].reshape(-1, _BLOCK, width * 3).sum(axis=1, dtype=np.uint16)
    sums = columns.astype(np.float32).reshape(-1, _BLOCK * 3) @ _CHANNELS
    return sums.reshape(height // _BLOCK, width // _BLOCK, 3) / np.float32(_BLOCK * _BLOCK)


def is_scene_cut(before: np.ndarray | None, now: np.ndarray) -> bool:
    """Whether two thumbnails of neighbouring frames show different scenes."""
    return before is not None and float(np.abs(now - before).mean()) > CUT_THRESHOLD


def has_moved(before: np.ndarray, now: np.ndarray) -> bool:
    """Whether anything as large as a block differs between two thumbnails."""
    return float(np.abs(now - before).mean(axis=2).max()) > MOTION_THRESHOLD
