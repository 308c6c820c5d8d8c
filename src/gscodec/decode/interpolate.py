"""Gaussians of a time between two frames: those of both move on straight lines, the others fade by weight."""

from __future__ import annotations

import numpy as np

from gscodec.splat.gaussians import COLOR, LOG_WEIGHT, Gaussians

ABSENT = -126.0  # log-weight of a Gaussian that is not there (docs/bitstream.md, "Quantisation")


def between(before: Gaussians, after: Gaussians, share: float) -> Gaussians:
    """The Gaussians at a time between two frames, told apart by their `ids`.

    Args:
        share: of the way from `before` to `after`, more than 0 and less than 1.
    """
    _, rows, columns = np.intersect1d(before.ids, after.ids, assume_unique=True, return_indices=True)
    left, come = _others(before, rows), _others(after, columns)
    parts = (
        _mixed(before.params[rows], after.params[columns], share),
        faded(before.params[left], 1 - share),
        faded(after.params[come], share),
    )
    ids = np.concatenate([before.ids[rows], before.ids[left], after.ids[come]])
    is_room = np.concatenate([before.is_room[rows], before.is_room[left], after.is_room[come]])
    order = np.argsort(ids)
    mixed = Gaussians(np.concatenate(parts), is_room, ids, after.ground)
    return mixed.take(order)


def faded(params: np.ndarray, share: float) -> np.ndarray:  # [N, 8 or 9] -> [N, 8 or 9]
    """Gaussians that count by a share of themselves: of their weight, or of their colour under the sum."""
    out = params.copy()
    if _is_normalised(params):
        there = out[:, LOG_WEIGHT] > ABSENT
        out[there, LOG_WEIGHT] += np.float32(np.log2(share))
    else:
        out[:, COLOR] *= np.float32(share)
    return out


def _mixed(a: np.ndarray, b: np.ndarray, share: float) -> np.ndarray:
    """Straight from a to b, in every parameter; what is absent at one end fades where it is at the other.

    Cholesky factors between two are one again: their diagonals stay above zero.
    """
    out = a + (b - a) * np.float32(share)
    if _is_normalised(a):
        for absent, there, part in ((a, b, share), (b, a, 1 - share)):
            rows = (absent[:, LOG_WEIGHT] <= ABSENT) & (there[:, LOG_WEIGHT] > ABSENT)
            out[rows] = faded(there[rows], part)
    return out


def _others(gaussians: Gaussians, rows: np.ndarray) -> np.ndarray:
    """Indices of all that are not at `rows`."""
    is_other = np.ones(len(gaussians), bool)
    is_other[rows] = False
    return np.flatnonzero(is_other)


def _is_normalised(params: np.ndarray) -> bool:
    return params.shape[1] > LOG_WEIGHT
