"""Rate control: the controller on a made-up clip, and real files against their targets."""

from __future__ import annotations

import math

import pytest

from gscodec import config as settings
from gscodec.encode.rate import MAX_STEP, RateControl, corrected_crf, starting_crf
from gscodec.errors import ConfigError


def made_up_bits(crf: float, difficulty: float) -> float:
    """Bits of a two-second GOP: halved by every six crf."""
    return difficulty * 130e3 * 2 ** ((26 - crf) / 6)


@pytest.mark.parametrize("difficulty", [0.2, 1.0, 6.0])
@pytest.mark.parametrize("kbit", [20.0, 65.0, 400.0])
def test_the_bitrate_is_met_whatever_the_clip(difficulty: float, kbit: float) -> None:
    config = settings.encoder_config(bitrate=kbit)
    crf = starting_crf(config, 640 * 360, 25)
    assert crf is not None
    control, total, n_gops = RateControl(config), 0.0, 30
    for _ in range(n_gops):
        offset = control.crf_offset
        bits = made_up_bits(crf + offset, difficulty)
        control.finished(offset, bits, 2.0, 30.0)
        total += bits
    assert total / (2e3 * n_gops) == pytest.approx(kbit, rel=0.15)
    assert bits / 2e3 == pytest.approx(kbit, rel=0.05)  # and the last GOP is on target


def test_the_psnr_is_met() -> None:
    config = settings.encoder_config(target_psnr=33.0)
    crf, control = starting_crf(config, 640 * 360, 25) or 0.0, RateControl(config)
    for _ in range(12):
        offset = control.crf_offset
        psnr = 27.0 + (26 - crf - offset) / 3.5
        control.finished(offset, 1e5, 2.0, psnr)
    assert psnr == pytest.approx(33.0, abs=0.1)


@pytest.mark.parametrize("difficulty", [0.1, 1.0, 10.0])
def test_a_trial_puts_the_crf_right(difficulty: float) -> None:
    for config in (settings.encoder_config(bitrate=60.0), settings.encoder_config(target_psnr=31.0)):
        crf = starting_crf(config, 640 * 360, 25)
        for _ in range(2):
            assert crf is not None
            kbit, psnr = made_up_bits(crf, difficulty) / 2e3, 27.0 + (26 - crf) / 3.5 - difficulty / 10
            found, crf = (kbit, psnr), corrected_crf(settings.replace(config, crf=crf), kbit, psnr)
        if config.bitrate:
            assert found[0] == pytest.approx(60.0, rel=0.05)
        else:
            assert found[1] == pytest.approx(31.0, abs=0.8)


def test_no_target_no_offset() -> None:
    config = settings.encoder_config(crf=31.0)
    control = RateControl(config)
    control.finished(0.0, 1e9, 2.0, 10.0)
    assert control.crf_offset == 0.0
    assert starting_crf(config, 640 * 360, 25) == 31.0


def test_one_odd_gop_moves_quality_by_a_bounded_step() -> None:
    control = RateControl(settings.encoder_config(bitrate=50.0))
    control.finished(0.0, 1e9, 2.0, 30.0)
    assert control.crf_offset == MAX_STEP


def test_starting_crf_stays_in_range() -> None:
    for kbit in (1.0, 1e6):
        crf = starting_crf(settings.encoder_config(bitrate=kbit), 16, 1)
        assert 0 <= crf <= 51
        assert math.isfinite(crf)


def test_two_targets_exclude_each_other() -> None:
    with pytest.raises(ConfigError, match="exclude each other"):
        settings.encoder_config(bitrate=50.0, target_psnr=30.0)


def test_more_gaussians_mean_finer_steps_and_a_given_crf_wins() -> None:
    vga = 640 * 360
    for blend, n in settings.GAUSSIANS_AT_CENTER.items():
        assert settings.encoder_config(blend=blend).operating_point(vga) == (n, 1.0)
        assert settings.encoder_config(blend=blend, gaussians=n).operating_point(vga) == (n, 1.0)
    few, many = (settings.encoder_config(gaussians=n).operating_point(vga) for n in (250, 4000))
    assert few[1] > 1.9 > 0.5 > many[1]
    assert settings.encoder_config(gaussians=4000, crf=26.0).operating_point(vga) == (4000, 1.0)
    assert settings.encoder_config(gaussians=4000, quality=1.5).operating_point(vga) == (4000, 1.5)
    for n in (1, 1 << 20):
        settings.encoder_config(gaussians=n).operating_point(vga)
