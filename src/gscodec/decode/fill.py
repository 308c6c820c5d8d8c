"""The room behind a person: what is seen of it, carried on softly where it is not seen; and blurred."""

from __future__ import annotations

import cv2
import numpy as np

RIM = 1 / 40  # of the picture's height: so near to a person the room's Gaussians show some of the person
SURE = 0.1  # person's alpha from which on nothing of the room is believed
LEAST = 1e-4  # trust in what the room's Gaussians show behind a person: where there is nothing else
SHRINK = 2  # how much smaller the picture is in which the hole is filled
SOFT = 3.0  # standard deviation, pixels, by which the filling is smoothed once more
WIDEST = 6.0  # standard deviation that is blurred directly; wider ones in a smaller picture


def without_person(room: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    """The room alone, uint8 [H, W, 3].

    Args:
        room: what the room's Gaussians show, uint8 [H, W, 3].
        alpha: of the person, uint8 [H, W].
    """
    if not alpha.any():
        return np.ascontiguousarray(room)
    reach = 2 * round(RIM * len(alpha)) + 1
    near = cv2.dilate(
        np.ascontiguousarray(alpha), cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (reach, reach))
    )
    is_near = np.minimum(near.astype(np.float32) / np.float32(255 * SURE), 1)
    hidden = cv2.GaussianBlur(is_near, (0, 0), reach / 6)
    height, width = alpha.shape
    small = (max(1, width // SHRINK), max(1, height // SHRINK))  # what is filled in is soft
    trust = np.maximum(cv2.resize(1 - hidden, small, interpolation=cv2.INTER_AREA), np.float32(LEAST))
    seen = np.ascontiguousarray(room) * (1 - hidden)[..., None]
    sums = cv2.resize(seen, small, interpolation=cv2.INTER_AREA).reshape(small[1], small[0], 3)
    guess = cv2.resize(np.ascontiguousarray(room), small, interpolation=cv2.INTER_AREA).reshape(sums.shape)
    colors = np.where(trust[..., None] > LEAST, sums / trust[..., None], guess).astype(np.float32)
    behind = cv2.GaussianBlur(_carried_on(colors, trust), (0, 0), SOFT / SHRINK)
    behind = cv2.resize(behind, (width, height), interpolation=cv2.INTER_LINEAR).reshape(height, width, 3)
    return _to_codes(seen + hidden[..., None] * behind)


def blurred(picture: np.ndarray, radius: float) -> np.ndarray:
    """A Gaussian blur of uint8 [H, W, 3]; `radius` is its standard deviation, pixels."""
    height, width = picture.shape[:2]
    factor = max(1, int(radius / WIDEST))
    if factor == 1:
        return np.asarray(cv2.GaussianBlur(picture, (0, 0), radius, borderType=cv2.BORDER_REPLICATE))
    small = (max(1, width // factor), max(1, height // factor))
    colors: np.ndarray = cv2.resize(picture, small, interpolation=cv2.INTER_AREA).astype(np.float32)
    colors = cv2.GaussianBlur(
        colors,
        (0, 0),
        radius * small[0] / width,
        sigmaY=radius * small[1] / height,
        borderType=cv2.BORDER_REPLICATE,
    )
    return _to_codes(cv2.resize(colors, (width, height), interpolation=cv2.INTER_CUBIC))


def _carried_on(colors: np.ndarray, trust: np.ndarray) -> np.ndarray:
    """Colours where they are trusted, else means of trusted ones around, the wider the fewer there are.

    Pull-push (Gortler et al. 1996): halved weighted means down to one pixel, then up again.

    Args:
        colors: float32 [H, W, 3]. trust: float32 [H, W], more than 0, at most 1.
    """
    height, width = trust.shape
    sums = np.dstack([colors * trust[..., None], trust])
    if max(height, width) == 1:
        return sums[..., :3] / trust[..., None]
    half = ((width + 1) // 2, (height + 1) // 2)
    smaller = cv2.resize(sums, half, interpolation=cv2.INTER_AREA).reshape(half[1], half[0], 4)
    weight = smaller[..., 3]
    mean = smaller[..., :3] / weight[..., None]
    # A mean of few pixels is as good as one of many: trust grows until all of the hole is filled.
    coarse = _carried_on(mean, np.minimum(2 * weight, 1))
    wide = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_LINEAR).reshape(height, width, 3)
    return np.asarray(wide + trust[..., None] * (colors - wide))


def _to_codes(colors: np.ndarray) -> np.ndarray:
    return np.clip(colors + np.float32(0.5), 0, 255).astype(np.uint8)
