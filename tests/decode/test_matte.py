"""Alpha without haze and smears."""

from __future__ import annotations

import numpy as np

from gscodec.decode.matte import HAZE, cleaned


def test_haze_becomes_nothing_and_all() -> None:
    ramp = np.broadcast_to(np.arange(256, dtype=np.uint8), (60, 256))  # too low for smears
    out = cleaned(ramp)[30].astype(int)
    assert np.all(out[: HAZE + 1] == 0)
    assert np.all(out[255 - HAZE :] == 255)
    assert np.all(np.diff(out) >= 0)
    assert out[127] + out[128] == 255


def test_smears_go_and_bodies_stay() -> None:
    alpha = np.zeros((360, 200), np.uint8)
    alpha[200:, 50:150] = 255
    alpha[100:200, 100:103] = 255  # thinner than five pixels
    alpha[100:200, 120:132] = 255
    out = cleaned(alpha)
    assert not out[100:195, 90:110].any()
    np.testing.assert_array_equal(out[104:, 115:140], alpha[104:, 115:140])
    np.testing.assert_array_equal(out[204:], alpha[204:])


def test_alpha_only_shrinks_by_it(rng: np.random.Generator) -> None:
    alpha = rng.integers(0, 256, (200, 100)).astype(np.uint8)
    small = alpha[:60]
    stretched = cleaned(small)  # no smears are looked for
    assert np.all(cleaned(alpha)[:60] <= stretched)
