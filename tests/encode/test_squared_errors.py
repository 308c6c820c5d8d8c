"""Squared errors of decoded pictures: the native loop against the formula of metrics."""

from __future__ import annotations

import numpy as np
import pytest

from gscodec.metrics import squared_error

_native = pytest.importorskip("gscodec.encode._native", reason="no native core", exc_type=ImportError)


@pytest.mark.parametrize("inside", [0.0, 0.4, 1.0])
def test_native_follows_the_formula(rng: np.random.Generator, inside: float) -> None:
    a, b = (rng.integers(0, 256, (13, 29, 3)).astype(np.uint8) for _ in range(2))
    mask = rng.random((13, 29)) < inside
    roi_error, roi_samples, error = _native.squared_errors(a, b, mask.astype(np.uint8))
    assert (roi_error, roi_samples) == squared_error(a, b, mask)
    assert (error, a.size) == squared_error(a, b)


def test_sizes_must_agree() -> None:
    picture = np.zeros((4, 5, 3), np.uint8)
    with pytest.raises(ValueError, match="mask is 4x4, expected 5x4"):
        _native.squared_errors(picture, picture, np.zeros((4, 4), np.uint8))
