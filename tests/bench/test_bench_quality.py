"""Masking and distortion figures."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

from gscodec.bench.clips import Clip, mask_room, shortened, shrunk
from gscodec.bench.quality import Scorer, ms_ssim, similarity_db, ssim_maps
from gscodec.metrics import psnr, squared_error
from gscodec.video.frame import VideoFormat


def small_clip(frames, roi):
    height, width = roi.shape
    form = VideoFormat(width, height, Fraction(1, 25), Fraction(25))
    mattes = [np.where(roi, 255, 0).astype(np.uint8)] * len(frames)
    return Clip("c", "0", None, None, form, frames, mattes, "exact", (10, 20, 30))


@pytest.fixture
def disc(make_clip):
    roi = np.zeros((48, 64), bool)
    roi[10:40, 20:44] = True
    return small_clip(make_clip("disc", 64, 48, 3), roi)


def test_mask_keeps_the_person_and_fades_to_the_fill(disc):
    roi, masked = disc.roi_mask(0), disc.picture(0, "masked")
    assert (masked[roi] == disc.frames[0][roi]).all()
    assert (masked[0, 0] == disc.fill).all()
    edge = mask_room(
        np.full((90, 90, 3), 200, np.uint8), np.arange(90)[None, :] * np.ones((90, 1)) < 45, (0, 0, 0)
    )
    row = edge[40, :, 0].astype(int)
    assert (np.diff(row) <= 0).all()
    assert 0 < row[45] < 200
    assert row[48] == 0


def test_nobody_means_everything(disc):
    disc.mattes[0] = np.zeros((48, 64), np.uint8)
    assert disc.roi_mask(0).all()
    assert disc.picture(0, "masked") is disc.frames[0]


def test_identical_pictures_score_best(disc):
    scorer = Scorer(disc, "whole")
    for pixels in disc.frames:
        scorer.add(pixels)
    figures = scorer.figures()
    assert figures["roi_psnr_db"] == figures["psnr_db"] == figures["y_psnr_db"] == 99
    assert figures["roi_ssim"] == pytest.approx(1)
    assert figures["roi_ms_ssim"] is None


def test_only_the_person_counts_for_the_roi(disc):
    damaged = disc.frames[0].copy()
    damaged[0, 0] = 255 - damaged[0, 0]
    scorer = Scorer(disc, "whole")
    scorer.add(damaged)
    assert scorer.figures()["roi_psnr_db"] == 99
    assert scorer.figures()["psnr_db"] == pytest.approx(psnr(damaged, disc.frames[0]))


def test_flicker_is_change_where_the_source_stands_still(disc):
    clip = small_clip([disc.frames[0]] * 3, disc.roi_mask(0))
    scorer = Scorer(clip, "whole", structural=False)
    for change in (0, 4, 0):
        scorer.add(disc.frames[0] + np.uint8(change))
    assert scorer.figures()["flicker"] == pytest.approx(4, abs=1e-4)


def waves(height, width):
    """Two pictures that everyone can make again, the second with less contrast and a texture of its own."""
    y, x = np.mgrid[:height, :width].astype(np.float64)
    a = np.round(127.5 + 60 * np.sin(x / 7) * np.cos(y / 11) + 50 * np.sin((x + 2 * y) / 31))
    return a, np.clip(np.round(0.9 * a + 10 + 12 * np.sin(x * y / 97)), 0, 255)


def ms_ssim_twin(a, b, mask):
    """MS-SSIM from its definition, window by window, in float64."""
    line = np.exp(-np.square(np.arange(-5, 6)) / (2 * 1.5**2))
    window = np.outer(line, line) / line.sum() ** 2
    product, share = 1.0, mask.astype(np.float64)
    for scale, exponent in enumerate((0.0448, 0.2856, 0.3001, 0.2363, 0.1333)):
        total, weights = 0.0, 0.0
        for i in range(a.shape[0] - 10):
            for j in range(a.shape[1] - 10):
                p, q = a[i : i + 11, j : j + 11], b[i : i + 11, j : j + 11]
                mean_p, mean_q = (window * p).sum(), (window * q).sum()
                variance = (window * (p - mean_p) ** 2).sum() + (window * (q - mean_q) ** 2).sum()
                both = (window * (p - mean_p) * (q - mean_q)).sum()
                value = (2 * both + 7.65**2) / (variance + 7.65**2)
                if scale == 4:
                    value *= (2 * mean_p * mean_q + 2.55**2) / (mean_p**2 + mean_q**2 + 2.55**2)
                total += share[i + 5, j + 5] * value
                weights += share[i + 5, j + 5]
        product *= (total / weights) ** exponent
        a, b, share = (
            (z[0::2, 0::2] + z[1::2, 0::2] + z[0::2, 1::2] + z[1::2, 1::2]) / 4 if scale < 4 else z
            for z in (a, b, share)
        )
    return product


@pytest.mark.parametrize(("size", "value"), [((192, 208), 0.9517706252), ((256, 176), 0.9547289687)])
def test_ms_ssim_is_that_of_pytorch_msssim(size, value):
    """The values are those of the Python package pytorch-msssim 1.0.0 in float64."""
    a, b = (image.astype(np.float32) for image in waves(*size))
    assert ms_ssim(a, b) == pytest.approx(value, abs=1e-6)
    assert ms_ssim(a, b, np.ones(size, bool)) == pytest.approx(value, abs=1e-6)


def test_ms_ssim_of_a_person_counts_windows_by_their_centre():
    a, b = waves(176, 176)
    mask = np.hypot(*(np.mgrid[:176, :176] - 80)) < 45
    assert ms_ssim(a.astype(np.float32), b.astype(np.float32), mask) == pytest.approx(
        ms_ssim_twin(a, b, mask), abs=1e-6
    )


def test_ms_ssim_is_not_said_where_it_is_not_defined():
    a = np.zeros((200, 200), np.float32)
    corner = np.zeros((200, 200), bool)
    corner[:60, :60] = True  # at the last scale no window of 11 pixels is centred in it
    assert ms_ssim(a, a, corner) is None
    assert ms_ssim(a[:175], a[:175]) is None


def test_ms_ssim_in_decibels():
    assert similarity_db(0.99) == pytest.approx(20)
    assert similarity_db(0.0) == 0
    assert similarity_db(1.0) == 99


def test_only_the_person_counts_for_the_persons_ms_ssim(rng):
    roi = np.zeros((200, 240), bool)
    roi[60:180, 60:120] = True
    frame = rng.integers(0, 256, (200, 240, 3)).astype(np.uint8)
    damaged = frame.copy()
    damaged[:, 208:] = 128  # 88 pixels from the person, as far as windows of the last scale reach
    scorer = Scorer(small_clip([frame], roi), "whole")
    scorer.add(damaged)
    figures = scorer.figures()
    assert figures["roi_ms_ssim"] == pytest.approx(1)
    assert figures["ms_ssim"] < 0.99
    assert figures["roi_ms_ssim_db"] == pytest.approx(similarity_db(figures["roi_ms_ssim"]))


def test_ssim_falls_with_noise(rng):
    y = rng.random((200, 220), np.float32) * 255
    noisy = y + rng.normal(0, 20, y.shape).astype(np.float32)
    assert ms_ssim(y, y) == pytest.approx(1, abs=1e-6)
    assert ms_ssim(y, noisy) < 0.99
    assert ssim_maps(y, noisy)[0].mean() < 0.98


def test_large_errors_do_not_overflow():
    black, white = np.zeros((400, 400, 3), np.uint8), np.full((400, 400, 3), 255, np.uint8)
    assert squared_error(black, white) == (400 * 400 * 3 * 255.0**2, 400 * 400 * 3)
    assert psnr(black, white) == pytest.approx(0)


def test_shortened_and_shrunk(disc):
    assert len(shortened(disc, 2).mattes) == 2
    small = shrunk(disc, 32, 24)
    assert (small.width, small.frames[0].shape, small.mattes[1].shape) == (32, (24, 32, 3), (24, 32))
    assert disc.width == 64
