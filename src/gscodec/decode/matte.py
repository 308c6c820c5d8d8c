"""The alpha that Gaussians have -> the one to cut a person out with.

Inside a person the room's Gaussians keep a few percent, outside the person's do: there is a haze around
people, and what is behind shines through them. A few Gaussians are drawn out into thin smears along edges of
the room. Both go here; docs/matting.md has the figures. Nothing in a file depends on it.
"""

from __future__ import annotations

import cv2
import numpy as np

HAZE = 48  # code values at either end that mean nothing and all
SMEAR = 1 / 180  # of the picture's height: what is not twice as wide and stands out is no person
_LEVELS = np.clip(np.rint((np.arange(256) - HAZE) * (255 / (255 - 2 * HAZE))), 0, 255).astype(np.uint8)


def cleaned(alpha: np.ndarray) -> np.ndarray:
    """Cut off haze and smears: uint8 [H, W] -> [H, W]."""
    stretched = _LEVELS[alpha]
    radius = round(SMEAR * len(alpha))
    if radius == 0:
        return stretched
    body = cv2.morphologyEx(stretched, cv2.MORPH_OPEN, _disc(radius))
    return np.minimum(stretched, cv2.dilate(body, _disc(1)))


def _disc(radius: int) -> np.ndarray:
    size = 2 * radius + 1
    return np.asarray(cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (size, size)))
