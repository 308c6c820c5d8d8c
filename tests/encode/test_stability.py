"""The target of a P-frame that stands still: the native loop against the formula."""

from __future__ import annotations

import numpy as np
import pytest

from gscodec.splat.gaussians import OPPONENT_FROM_RGB, opponent_from_rgb

_native = pytest.importorskip("gscodec.encode._native", reason="no native core", exc_type=ImportError)


def slow(picture: np.ndarray, weight: np.ndarray, before: np.ndarray, decoded: np.ndarray, stability: float):
    change = np.abs(picture[:, :, 0] - before[:, :, 0]) * 255 / np.sqrt(3)
    s = stability * np.clip(2 - change / 2, 0, 1)
    share = (s / (1 + s))[:, :, None]
    return picture + share * (opponent_from_rgb(decoded) - picture), weight * (1 + s)


@pytest.mark.parametrize("stability", [0.0, 0.5, 7.0])
def test_native_follows_the_formula(rng: np.random.Generator, stability: float) -> None:
    before = rng.normal(0.5, 0.3, (17, 23, 3)).astype(np.float32)
    picture = before + rng.normal(0, 0.02, before.shape).astype(np.float32)
    decoded = rng.integers(0, 256, before.shape).astype(np.uint8)
    weight = rng.random(before.shape[:2]).astype(np.float32)
    wanted_picture, wanted_weight = slow(picture, weight, before, decoded, stability)
    _native.steady(picture, weight, before, decoded, OPPONENT_FROM_RGB, stability)
    np.testing.assert_allclose(picture, wanted_picture, atol=2e-6)
    np.testing.assert_allclose(weight, wanted_weight, rtol=2e-6)


def test_sizes_must_agree() -> None:
    picture, weight = np.zeros((4, 5, 3), np.float32), np.zeros((4, 4), np.float32)
    with pytest.raises(ValueError, match="weight is 4x4, expected 5x4"):
        _native.steady(picture, weight, picture, np.zeros((4, 5, 3), np.uint8), OPPONENT_FROM_RGB, 1.0)
