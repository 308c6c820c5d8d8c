"""Distortion of a whole clip, frame by frame, so that decoded frames need not be kept."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np

from gscodec.bench.clips import Clip
from gscodec.bench.vmaf import VmafMeter, vmaf_is_there
from gscodec.metrics import MAX_PSNR_DB, luma, psnr_db, squared_error

SSIM_EVERY = 4  # frames; SSIM and MS-SSIM cost far more than PSNR and vary slowly
MS_SSIM_WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)  # Wang, Simoncelli, Bovik 2003
STILL_CODES = 2.0  # the source changes by no more than this where flicker is measured
_REACH = 5  # of SSIM's window to either side
_C1, _C2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2


def ssim_maps(a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """SSIM of two pictures with the usual Gaussian window (11 pixels, sigma 1.5).

    Args:
        a, b: float32 [H, W], code values 0–255.
    Returns:
        SSIM and its contrast-structure part, float32 [H, W].
    """

    def blur(image: np.ndarray) -> Any:
        return cv2.GaussianBlur(image, (11, 11), 1.5, borderType=cv2.BORDER_REFLECT_101)

    mean_a, mean_b = blur(a), blur(b)
    var_a, var_b = blur(a * a) - mean_a * mean_a, blur(b * b) - mean_b * mean_b
    covariance = blur(a * b) - mean_a * mean_b
    structure = (2 * covariance + _C2) / (var_a + var_b + _C2)
    return (2 * mean_a * mean_b + _C1) / (mean_a**2 + mean_b**2 + _C1) * structure, structure


def ms_ssim(a: np.ndarray, b: np.ndarray, mask: np.ndarray | None = None) -> float | None:
    """Multi-scale SSIM (Wang, Simoncelli, Bovik 2003); `scale_maps` and `pooled` say what counts.

    Args:
        a, b: float32 [H, W], code values 0–255. mask: bool [H, W] of the pixels that count; None is all.
    """
    return pooled(scale_maps(a, b), mask)


def scale_maps(a: np.ndarray, b: np.ndarray) -> list[np.ndarray]:
    """What MS-SSIM averages at each of its five scales: contrast and structure, at the last scale SSIM.

    Only windows that lie wholly within the picture count, so a map is 10 pixels smaller than its scale in
    either direction. From one scale to the next 2x2 pixels become one; an odd last line is dropped.

    Args:
        a, b: float32 [H, W], code values 0–255.
    Returns:
        Five maps, float32; none for pictures under 176 pixels, whose last scale holds no window.
    """
    if min(a.shape) < 176:
        return []
    maps = []
    for i in range(len(MS_SSIM_WEIGHTS)):
        full, structure = ssim_maps(a, b)
        last = i == len(MS_SSIM_WEIGHTS) - 1
        maps.append(_within(full if last else structure))
        a, b = _halved(a), _halved(b)
    return maps


def pooled(maps: list[np.ndarray], mask: np.ndarray | None = None) -> float | None:
    """MS-SSIM of `scale_maps`: the weighted product of the maps' means.

    With a mask each window counts by the share of its centre pixel that belongs to the mask, which is one or
    nothing at the first scale and a mean over 2x2, 4x4, … 16x16 pixels at the others. All ones give MS-SSIM.

    Args:
        mask: bool [H, W]; None is all.
    Returns:
        None where there are no maps, or where a scale has no window centred within the mask.
    """
    if not maps:
        return None
    product, share = 1.0, None if mask is None else mask.astype(np.float32)
    for each, exponent in zip(maps, MS_SSIM_WEIGHTS, strict=True):
        weights = None if share is None else _within(share)
        if weights is not None and not weights.any():
            return None
        product *= max(0.0, float(np.average(each, weights=weights))) ** exponent
        share = None if share is None else _halved(share)
    return product


def similarity_db(value: float) -> float:
    """−10 log10(1 − MS-SSIM), on which equal steps look alike, as BD-rates need; at most MAX_PSNR_DB."""
    return min(MAX_PSNR_DB, float(-10 * np.log10(max(1 - value, 1e-12))))


def _within(image: np.ndarray) -> np.ndarray:
    """Without the pixels whose window of 11 reaches beyond the picture."""
    return image[_REACH:-_REACH, _REACH:-_REACH]


def _halved(image: np.ndarray) -> np.ndarray:
    height, width = (n // 2 for n in image.shape)
    return image[: 2 * height, : 2 * width].reshape(height, 2, width, 2).mean(axis=(1, 3))


class Scorer:
    """Adds up the distortion of a clip's decoded frames, which come in order."""

    def __init__(self, clip: Clip, protocol: str, *, structural: bool = True) -> None:
        self._clip, self._protocol, self._structural = clip, protocol, structural
        self._sums = dict.fromkeys(("roi", "whole", "roi_y", "y"), (0.0, 0))
        self._ssim: list[float] = []
        self._ms_ssim: dict[str, list[float]] = {"roi_ms_ssim": [], "ms_ssim": []}
        self._flicker: list[float] = []
        self._before: tuple[np.ndarray, np.ndarray] | None = None
        self._vmaf = VmafMeter(clip.width, clip.height) if structural and vmaf_is_there() else None
        self._n = 0

    def add(self, decoded: np.ndarray) -> None:
        """Take the next decoded frame, uint8 [H, W, 3]."""
        source, roi = self._clip.picture(self._n, self._protocol), self._clip.roi_mask(self._n)
        source_y, decoded_y = luma(source), luma(decoded)
        self._add("roi", *squared_error(decoded, source, roi))
        self._add("whole", *squared_error(decoded, source))
        self._add("roi_y", float(np.square(decoded_y[roi] - source_y[roi]).sum()), int(roi.sum()))
        self._add("y", float(np.square(decoded_y - source_y).sum()), decoded_y.size)
        if self._structural and self._n % SSIM_EVERY == 0:
            self._ssim.append(float(ssim_maps(source_y, decoded_y)[0][roi].mean()))
            maps = scale_maps(source_y, decoded_y)
            for name, mask in (("roi_ms_ssim", roi), ("ms_ssim", None)):
                multi = pooled(maps, mask)
                if multi is not None:
                    self._ms_ssim[name].append(multi)
        if self._vmaf:
            self._vmaf.add(decoded, source)
        if self._before is not None:
            still = roi & (np.abs(source_y - self._before[0]) <= STILL_CODES)
            if still.any():
                self._flicker.append(float(np.abs(decoded_y - self._before[1])[still].mean()))
        self._before = (source_y, decoded_y)
        self._n += 1

    def figures(self) -> dict[str, Any]:
        """Figures of the person ("roi_…") and of the whole picture; `flicker` is the mean |change| of decoded
        luma, in code values, between neighbouring frames where the source stands still."""
        multi = {name: _mean(values) for name, values in self._ms_ssim.items()}
        decibels = {f"{n}_db": None if v is None else similarity_db(v) for n, v in multi.items()}
        roi, whole, roi_y, y = (psnr_db(*self._sums[name]) for name in ("roi", "whole", "roi_y", "y"))
        return {
            "roi_psnr_db": roi,
            "psnr_db": whole,
            "roi_y_psnr_db": roi_y,
            "y_psnr_db": y,
            "roi_ssim": _mean(self._ssim),
            **multi,
            **decibels,
            "flicker": _mean(self._flicker),
            "vmaf": self._vmaf.score() if self._vmaf else None,
        }

    def _add(self, name: str, error: float, n_samples: int) -> None:
        total, count = self._sums[name]
        self._sums[name] = (total + error, count + n_samples)


def _mean(values: list[float]) -> float | None:
    return float(np.mean(values)) if values else None
