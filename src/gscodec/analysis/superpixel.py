"""Picture and ROI -> the Gaussians an I-frame's fit starts from (paper §3.2 A).

The superpixels are the native core's: masked k-means, exactly N connected segments, denser where there is
detail. `fast-slic` (optional) and a random start (GaussianImage's, the baseline) share the face.
"""

from __future__ import annotations

import numpy as np

from gscodec.errors import BackendError
from gscodec.splat import _native
from gscodec.splat.gaussians import COLOR, MEAN, N_PARAMS, Gaussians, opponent_from_rgb

WIDEN = 1.75  # a segment's own covariance is too narrow: sums of such Gaussians ripple (docs/fitting.md)
DETAIL_RADIUS = 8  # pixels over which gradient energy is averaged into a density


def initial_gaussians(
    pixels: np.ndarray,
    picture: np.ndarray,
    matte: np.ndarray,
    count: int,
    *,
    room_share: float,
    detail: float,
    init: str = "superpixels",
    seed: int = 0,
) -> Gaussians:
    """Place `count` Gaussians on the person and, with a share of them, on the room.

    Args:
        pixels: R'G'B' uint8 [H, W, 3]. picture: the same in opponent colours, float32.
        matte: float32 [H, W]; from 0.5 on a pixel is the person's.
        room_share: of the Gaussians, for pixels that are not the person's; 0 codes the person only.
        detail: 0 for segments of equal area, 1 for equal gradient energy.
        init: superpixels, random or fast-slic.
    Returns:
        Gaussians with the segments' mean colours: `count` of them, or as many as there are pixels. fast-slic
        knows no mask, so with it their number is only near `count`.
    Raises:
        BackendError: fast-slic is wanted and not installed.
    """
    person = matte >= 0.5
    n_room = round(count * room_share) if 0 < person.sum() < person.size else 0
    regions = [(person, count - n_room, False)] if person.any() else [(~person, count, False)]
    if n_room:
        regions.append((~person, n_room, True))
    density = _density(picture, detail)
    parts = []
    for mask, n, _ in regions:
        if init == "random":
            parts.append(_random_start(mask, n, seed))
        else:
            labels, found = _segment(pixels, picture, mask, density, n, init)
            parts.append(_native.gaussians_of_segments(picture, labels, found, WIDEN))
    is_room = np.concatenate([np.full(len(p), r) for p, (_, _, r) in zip(parts, regions, strict=True)])
    return Gaussians(np.concatenate(parts), is_room)


def _density(picture: np.ndarray, detail: float) -> np.ndarray:
    """How many segments a pixel deserves, float32 [H, W], up to a factor."""
    import cv2  # here, because importing it costs a tenth of a second

    luma = np.ascontiguousarray(picture[:, :, 0])
    if detail == 0 or min(luma.shape) < 2:
        return np.ones(luma.shape, np.float32)
    dx, dy = cv2.Sobel(luma, cv2.CV_32F, 1, 0), cv2.Sobel(luma, cv2.CV_32F, 0, 1)
    side = 2 * DETAIL_RADIUS + 1
    energy = cv2.blur(cv2.magnitude(dx, dy), (side, side))
    return ((energy + 0.25 * energy.mean() + 1e-6) ** np.float32(detail)).astype(np.float32)


def _segment(
    pixels: np.ndarray, picture: np.ndarray, mask: np.ndarray, density: np.ndarray, count: int, init: str
) -> tuple[np.ndarray, int]:
    if init == "fast-slic":
        return _fast_slic(pixels, mask, count)
    count = min(count, int(mask.sum()))
    return _native.superpixels(picture, mask.astype(np.uint8), density, count)


def _fast_slic(pixels: np.ndarray, mask: np.ndarray, count: int) -> tuple[np.ndarray, int]:
    """fast-slic knows no mask: segment the whole picture finely enough, keep what lies inside."""
    try:
        from fast_slic import Slic
    except ImportError as error:
        raise BackendError(
            "--init fast-slic needs the package fast-slic: pip install cython numpy setuptools, then "
            "pip install --no-build-isolation fast-slic; or take --init superpixels"
        ) from error
    wanted = round(count * mask.size / max(1, int(mask.sum())))
    wanted = max(1, min(wanted, mask.size // 4))  # with more segments than pixels fast-slic dies of SIGFPE
    labels = Slic(num_components=wanted, compactness=10).iterate(np.ascontiguousarray(pixels))
    kept = np.unique(labels[mask])
    number = np.full(int(labels.max()) + 1, -1, np.int32)
    number[kept] = np.arange(len(kept), dtype=np.int32)
    return np.where(mask, number[labels], -1).astype(np.int32), len(kept)


def _random_start(mask: np.ndarray, count: int, seed: int) -> np.ndarray:
    """GaussianImage's start: random places, sizes and colours (its init: uniform Cholesky plus 0.5)."""
    rng = np.random.default_rng(seed)
    rows, columns = np.nonzero(mask)
    picks = rng.integers(0, len(rows), count)
    params = np.empty((count, N_PARAMS), np.float32)
    params[:, MEAN] = np.stack([columns[picks], rows[picks]], axis=1) + rng.random((count, 2))
    params[:, 2:5] = rng.random((count, 3)) + np.array([0.5, 0.0, 0.5])
    params[:, COLOR] = opponent_from_rgb((255 * rng.random((count, 1, 3))).astype(np.uint8))[:, 0]
    return params
