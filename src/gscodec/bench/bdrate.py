"""Bjøntegaard's mean differences between two rate-distortion curves, with Akima interpolation.

Current practice (JVET; the Python package `bjontegaard`, whose figures the tests hold): log10 of the rate as
a piecewise cubic of quality, and the reverse, integrated exactly over what both curves span.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

MIN_POINTS = 3
MIN_OVERLAP_DB = 0.5

Curve = Sequence[tuple[float, float]]  # (rate, quality in dB)


class Refused(Exception):
    """A mean difference cannot be given honestly; the message says why."""


class NoOverlap(Refused):
    """The curves have too little quality in common."""


def bd_rate(anchor: Curve, test: Curve, limits: tuple[float, float] | None = None) -> float:
    """Mean difference of rate at equal quality, percent; negative where `test` needs fewer bits.

    Args:
        anchor, test: points (rate, dB) in any order.
        limits: (lowest, highest) dB that count; None is all that both span.
    Raises:
        Refused: too few points, a curve that does not rise, or too little in common.
    """
    (rate_a, quality_a), (rate_t, quality_t) = checked(anchor), checked(test)
    low, high = common_range(quality_a, quality_t, limits)
    mean_a = akima_integral(quality_a, np.log10(rate_a), low, high) / (high - low)
    mean_t = akima_integral(quality_t, np.log10(rate_t), low, high) / (high - low)
    return float((10 ** (mean_t - mean_a) - 1) * 100)


def bd_psnr(anchor: Curve, test: Curve, limits: tuple[float, float] | None = None) -> float:
    """Mean difference of quality at equal rate, dB, over the rates that both span.

    Args:
        limits: (lowest, highest) dB of `anchor` whose rates count; None is all.
    Raises:
        Refused: see `bd_rate`.
    """
    (rate_a, quality_a), (rate_t, quality_t) = checked(anchor), checked(test)
    log_a, log_t = np.log10(rate_a), np.log10(rate_t)
    low, high = max(log_a[0], log_t[0]), min(log_a[-1], log_t[-1])
    if limits is not None:
        at = akima(quality_a, log_a, np.clip(np.array(limits), quality_a[0], quality_a[-1]))
        low, high = max(low, at[0]), min(high, at[1])
    if high <= low:
        spans = " against ".join(f"{rate[0]:.4g} to {rate[-1]:.4g}" for rate in (rate_a, rate_t))
        raise Refused(f"no rate in common: {spans}")
    difference = akima_integral(log_t, quality_t, low, high) - akima_integral(log_a, quality_a, low, high)
    return float(difference / (high - low))


def checked(curve: Curve) -> tuple[np.ndarray, np.ndarray]:
    """Rates and qualities, sorted, both strictly rising.

    Raises:
        Refused: they do not rise, or are too few.
    """
    if len(curve) < MIN_POINTS:
        raise Refused(f"{len(curve)} points, at least {MIN_POINTS} are needed")
    points = np.array(sorted(curve), np.float64)
    if not np.isfinite(points).all() or points[0, 0] <= 0:
        raise Refused("a rate or a quality is no positive number")
    if (np.diff(points, axis=0) <= 0).any():
        raise Refused("more bits do not always give more dB on one of the curves")
    return points[:, 0], points[:, 1]


def common_range(a: np.ndarray, b: np.ndarray, limits: tuple[float, float] | None) -> tuple[float, float]:
    """Qualities that both curves span, within the limits, dB.

    Raises:
        NoOverlap: less than MIN_OVERLAP_DB.
    """
    low, high = max(a[0], b[0]), min(a[-1], b[-1])
    if limits is not None:
        low, high = max(low, limits[0]), min(high, limits[1])
    if high - low < MIN_OVERLAP_DB:
        within = "" if limits is None else f" within {limits[0]:g} to {limits[1]:g} dB"
        raise NoOverlap(
            f"the curves share less than {MIN_OVERLAP_DB} dB{within}: "
            f"{a[0]:.2f} to {a[-1]:.2f} against {b[0]:.2f} to {b[-1]:.2f}"
        )
    return float(low), float(high)


def akima_slopes(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Akima's slopes at the points of a curve, x strictly rising (J. ACM 17, 1970)."""
    secants = np.diff(y) / np.diff(x)
    if len(secants) == 1:
        return np.repeat(secants, 2)
    before = 2 * secants[0] - secants[1]
    after = 2 * secants[-1] - secants[-2]
    m = np.concatenate([[2 * before - secants[0], before], secants, [after, 2 * after - secants[-1]]])
    change = np.abs(np.diff(m))
    right, left = change[2:], change[:-2]
    total = left + right
    slopes = 0.5 * (m[3:] + m[:-3])  # where both sides are straight
    bent = total > 1e-9 * total.max(initial=0)
    slopes[bent] = ((right * m[1:-2] + left * m[2:-1]) / np.where(bent, total, 1))[bent]
    return slopes


def akima(x: np.ndarray, y: np.ndarray, at: np.ndarray) -> np.ndarray:
    """Value of the Akima curve through (x, y) at places within [x[0], x[-1]]."""
    slopes = akima_slopes(x, y)
    i = np.clip(np.searchsorted(x, at, side="right") - 1, 0, len(x) - 2)
    width = x[i + 1] - x[i]
    t = (at - x[i]) / width
    a, b = slopes[i] * width, slopes[i + 1] * width
    rise = y[i + 1] - y[i]
    return y[i] + t * (a + t * ((3 * rise - 2 * a - b) + t * (a + b - 2 * rise)))


def akima_integral(x: np.ndarray, y: np.ndarray, low: float, high: float) -> float:
    """Integral of the Akima curve through (x, y) from low to high; Simpson's rule is exact on its cubics."""
    knots = np.unique(np.concatenate([[low, high], x[(x > low) & (x < high)]]))
    start, end = knots[:-1], knots[1:]
    values = akima(x, y, start) + 4 * akima(x, y, (start + end) / 2) + akima(x, y, end)
    return float(((end - start) / 6 * values).sum())
