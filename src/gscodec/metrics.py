"""Distortion and rate figures. Everything is measured on decoded pictures and bytes on disk."""

from __future__ import annotations

import numpy as np

MAX_PSNR_DB = 99.0  # of identical pictures


def squared_error(a: np.ndarray, b: np.ndarray, mask: np.ndarray | None = None) -> tuple[float, int]:
    """Sum of squared differences of two uint8 pictures [H, W, C], and how many samples it spans.

    Args:
        mask: bool [H, W]; only its pixels count.
    """
    if mask is not None:
        a, b = a[mask], b[mask]
    difference = a.astype(np.int32) - b.astype(np.int32)
    return float(np.square(difference).sum(dtype=np.int64)), difference.size


def psnr_db(error: float, n_samples: int) -> float:
    """PSNR of 8-bit samples from their summed squared error, dB; identical pictures give MAX_PSNR_DB."""
    if n_samples == 0 or error == 0:
        return MAX_PSNR_DB
    return min(MAX_PSNR_DB, float(10 * np.log10(255.0**2 * n_samples / error)))


def psnr(a: np.ndarray, b: np.ndarray, mask: np.ndarray | None = None) -> float:
    """PSNR of two 8-bit pictures, over the pixels of `mask` if given, dB."""
    return psnr_db(*squared_error(a, b, mask))


def bits_per_pixel(n_bytes: int, width: int, height: int, n_frames: int) -> float:
    """8 · bytes / (width · height · frames)."""
    return 8 * n_bytes / (width * height * max(1, n_frames))


def luma(pixels: np.ndarray) -> np.ndarray:  # uint8 [H, W, 3] -> float32 [H, W]
    """BT.601 luma of a picture, full range 0–255, not rounded."""
    return pixels @ np.array([0.299, 0.587, 0.114], np.float32)
