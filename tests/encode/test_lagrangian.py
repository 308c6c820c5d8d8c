"""Lambda follows the square of a colour's step, and the crf of a GOP."""

from __future__ import annotations

from dataclasses import astuple

import pytest

from gscodec.coding.quantize import COLOR_STEP
from gscodec.config import BLENDS
from gscodec.encode.lagrangian import LAMBDA_BIRTH, LAMBDA_I, LAMBDA_P, lagrangian


@pytest.mark.parametrize("blend", BLENDS)
def test_lambda_is_a_factor_times_the_square_of_the_step(blend: str) -> None:
    unit = (COLOR_STEP * 1.5) ** 2
    expected = [factor * unit for factor in (LAMBDA_I[blend], LAMBDA_P[blend], LAMBDA_BIRTH[blend])]
    assert astuple(lagrangian(1.5, 1.0, 0.0, blend)) == pytest.approx(expected)


@pytest.mark.parametrize(("scale", "offset", "ratio"), [(3.0, 0.0, 3.0), (1.0, 5.0, 2.0), (1.0, -10.0, 0.25)])
def test_a_coarser_gop_asks_more_of_a_bit(scale: float, offset: float, ratio: float) -> None:
    plain, moved = astuple(lagrangian(0.8, 1.0, 0.0, "sum")), astuple(lagrangian(0.8, scale, offset, "sum"))
    assert moved == pytest.approx([ratio * lambda_ for lambda_ in plain])
