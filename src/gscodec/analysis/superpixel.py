"""Picture and ROI -> the Gaussians an I-frame's fit starts from (paper §3.2 A).

The superpixels are the native core's: exactly N connected segments of any region, denser where there is
detail. `fast-slic` (optional) and a random start (GaussianImage's, the baseline) share the face.
"""

from __future__ import annotations

import numpy as np

from gscodec.analysis import _native
from gscodec.analysis.seeds import Label
from gscodec.errors import BackendError
from gscodec.splat.gaussians import (
    COLOR,
    MEAN,
    N_PARAMS,
    OPPONENT_FROM_RGB,
    Gaussians,
    opponent_from_rgb,
)

WIDEN = 1.9  # a segment's own covariance is too narrow: sums of such Gaussians ripple (docs/fitting.md)


def initial_gaussians(
    pixels: np.ndarray,
    person: np.ndarray,
    count: int,
    label: Label,
    *,
    room_share: float,
    init: str = "superpixels",
    seed: int = 0,
) -> Gaussians:
    """Place `count` Gaussians on the person and, with a share of them, on the room.

    Args:
        pixels: R'G'B' uint8 [H, W, 3].
        person: bool [H, W], whether a pixel is the person's.
        label: which seed each pixel is nearest to (analysis/seeds.py); superpixels start from it.
        room_share: of the Gaussians, for pixels that are not the person's; 0 codes the person only.
        init: superpixels, random or fast-slic.
    Returns:
        Gaussians with the segments' mean colours: `count` of them, or as many as there are pixels. fast-slic
        knows no mask, so with it their number is only near `count`.
    Raises:
        BackendError: fast-slic is wanted and not installed.
    """
    if init == "random":
        masks, counts = _shared_out(person, count, room_share)
        parts = [_random_start(mask, n, seed) for mask, n in zip(masks, counts, strict=True)]
        found = [len(part) for part in parts]
        params = np.concatenate(parts)
    else:
        labels, found = segments(pixels, person, count, label, room_share=room_share, init=init)
        params = _native.gaussians_of_segments(
            pixels, labels, sum(found), WIDEN, OPPONENT_FROM_RGB / np.float32(255)
        )
    return Gaussians(params, np.repeat([False, True][: len(found)], found))


def segments(
    pixels: np.ndarray,
    person: np.ndarray,
    count: int,
    label: Label,
    *,
    room_share: float,
    init: str = "superpixels",
) -> tuple[np.ndarray, list[int]]:
    """The superpixels that `initial_gaussians`, whose arguments these are, makes Gaussians of.

    Returns:
        Which one each pixel is in, int32 [H, W], the person's first; -1: in none. How many the person has,
        and the room if it gets any.
    """
    masks, counts = _shared_out(person, count, room_share)
    return _segment(pixels, masks, counts, label, init)


def _shared_out(person: np.ndarray, count: int, room_share: float) -> tuple[list[np.ndarray], list[int]]:
    """Masks of the person and the room, where both are there, and how many Gaussians each gets."""
    n_person = int(person.sum())
    n_room = round(count * room_share) if 0 < n_person < person.size else 0
    masks = [person, ~person][: 2 if n_room else 1] if n_person else [~person]
    return masks, [count - n_room, n_room][: len(masks)]


def _segment(
    pixels: np.ndarray, masks: list[np.ndarray], counts: list[int], label: Label, init: str
) -> tuple[np.ndarray, list[int]]:
    """Labels int32 [H, W], those of the first mask first, and how many each mask got."""
    if init == "fast-slic":
        return _fast_slic_all(pixels, masks, counts)
    region = np.full(masks[0].shape, len(masks), np.uint8)
    for i, mask in enumerate(masks):
        region[mask] = i
    most = [min(n, int(mask.sum())) for n, mask in zip(counts, masks, strict=True)]
    wanted = np.array(most, np.int32)
    labels = label(region, wanted)
    return labels, _native.connect(labels, region, wanted).tolist()


def _fast_slic_all(
    pixels: np.ndarray, masks: list[np.ndarray], counts: list[int]
) -> tuple[np.ndarray, list[int]]:
    labels = np.full(masks[0].shape, -1, np.int32)
    found: list[int] = []
    for mask, n in zip(masks, counts, strict=True):
        own, n_own = _fast_slic(pixels, mask, n)
        labels[mask] = own[mask] + sum(found)
        found.append(n_own)
    return labels, found


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
