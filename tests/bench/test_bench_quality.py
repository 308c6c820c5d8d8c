"""Masking and distortion figures."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

from gscodec.bench.clips import Clip, mask_room, shortened, shrunk
from gscodec.bench.quality import Scorer, ms_ssim, ssim_maps
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


def test_ssim_falls_with_noise(rng):
    y = rng.random((200, 220), np.float32) * 255
    noisy = y + rng.normal(0, 20, y.shape).astype(np.float32)
    everything = np.ones(y.shape, bool)
    assert ms_ssim(y, y, everything) == pytest.approx(1, abs=1e-6)
    assert ms_ssim(y, noisy, everything) < 0.99
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
