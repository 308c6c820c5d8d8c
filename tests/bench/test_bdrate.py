"""Bjøntegaard differences against the figures of the Python package `bjontegaard` 1.3 (method "akima")."""

from __future__ import annotations

import numpy as np
import pytest

from gscodec.bench.bdrate import Refused, akima, akima_integral, bd_psnr, bd_rate


def curve(rates, qualities):
    return list(zip(rates, qualities, strict=True))


JCTVC_ANCHOR = curve((9487.76, 4593.60, 2486.44, 1358.24), (40.037, 38.615, 36.845, 34.851))
JCTVC_TEST = curve((9787.80, 4469.00, 2451.52, 1356.24), (40.121, 38.651, 36.970, 34.987))
FIVE_ANCHOR = curve((10, 20, 40, 80, 160), (26, 28.2, 30.1, 31.7, 33.0))
FIVE_TEST = curve((8, 15, 33, 70, 150), (26.5, 28.4, 30.9, 32.1, 33.3))


@pytest.mark.parametrize(
    ("anchor", "test", "rate", "psnr"),
    [
        (JCTVC_ANCHOR, JCTVC_TEST, -4.425245156997, 0.119409270285),
        (FIVE_ANCHOR, FIVE_TEST, -33.009549000740, 0.942907243026),
        (FIVE_ANCHOR[:3], FIVE_TEST[:3], -31.025721290786, 1.132497970689),
    ],
    ids=["jctvc", "five", "three"],
)
def test_known_values(anchor, test, rate, psnr):
    assert bd_rate(anchor, test) == pytest.approx(rate, abs=1e-8)
    assert bd_psnr(anchor, test) == pytest.approx(psnr, abs=1e-8)
    assert bd_rate(list(reversed(anchor)), test) == pytest.approx(rate, abs=1e-8)


def test_half_the_rate_everywhere_is_minus_fifty_percent():
    half = [(rate / 2, quality) for rate, quality in FIVE_ANCHOR]
    assert bd_rate(FIVE_ANCHOR, half) == pytest.approx(-50)
    assert bd_rate(FIVE_ANCHOR, FIVE_ANCHOR) == pytest.approx(0)
    better = [(rate, quality + 1.5) for rate, quality in FIVE_ANCHOR]
    assert bd_psnr(FIVE_ANCHOR, better) == pytest.approx(1.5)


def test_limits_narrow_what_counts():
    bent = [(rate * (0.5 if quality < 29 else 1), quality) for rate, quality in FIVE_ANCHOR]
    assert bd_rate(FIVE_ANCHOR, bent, (31, 33)) == pytest.approx(0, abs=0.5)
    assert bd_rate(FIVE_ANCHOR, bent, (26, 28)) < -40


@pytest.mark.parametrize(
    ("test", "reason"),
    [
        ([(10, 40), (20, 42), (40, 44)], "share less than"),
        ([(10, 30), (20, 29), (40, 31)], "do not always give more"),
        ([(10, 30), (10, 31), (40, 32)], "do not always give more"),
        ([(10, 30), (20, 31)], "2 points"),
        ([(0, 28), (20, 30), (40, 31)], "no positive"),
        ([(10, float("nan")), (20, 30), (40, 31)], "no positive"),
    ],
)
def test_refused_with_a_reason(test, reason):
    with pytest.raises(Refused, match=reason):
        bd_rate(FIVE_ANCHOR, test)


def test_no_rate_in_common_is_refused():
    with pytest.raises(Refused, match="no rate in common: 10 to 160 against 1000 to 4000"):
        bd_psnr(FIVE_ANCHOR, [(1000, 27), (2000, 29), (4000, 32)])


def test_akima_passes_through_its_points_and_keeps_lines_straight(rng):
    x = np.sort(rng.random(7)).cumsum()
    y = rng.random(7)
    assert akima(x, y, x) == pytest.approx(y)
    assert akima(x, 3 * x + 1, np.linspace(x[0], x[-1], 50)) == pytest.approx(
        3 * np.linspace(x[0], x[-1], 50) + 1
    )
    dense = np.linspace(x[0], x[-1], 200_001)
    assert akima_integral(x, y, x[0], x[-1]) == pytest.approx(
        np.trapezoid(akima(x, y, dense), dense), rel=1e-7
    )
