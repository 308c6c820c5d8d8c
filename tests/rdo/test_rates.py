"""Guesses of bits: where they are taken, and where the coder's own answer is."""

from __future__ import annotations

import numpy as np
import pytest

from gscodec.coding.frames import make_frame_coder
from gscodec.config import ENTROPY_CODERS, EncoderConfig
from gscodec.container.headers import FrameType

rates = pytest.importorskip("gscodec.rdo.rates", reason="no native core", exc_type=ImportError)
from gscodec.encode.encoder import Encoder  # noqa: E402
from gscodec.splat.raster import make_rasterizer  # noqa: E402

SIZE = WIDTH, HEIGHT = 64, 48
FULL = np.ones((HEIGHT, WIDTH), np.float32)


def test_larger_changes_cost_more() -> None:
    for table in (rates.UPDATE_RATES[:, 1:], rates.INTRA_RATES[2:]):
        assert (np.diff(table, axis=1) > 0).all()


def test_a_newborn_costs_more_than_a_gaussian_of_an_iframe() -> None:
    extra = rates.BIRTH_GROUPS - rates.INTRA_GROUPS
    assert extra[0, 0] == pytest.approx(rates.BIRTH_BITS - rates.TYPICAL_INTRA_BITS)
    assert np.count_nonzero(extra) == 1
    assert extra[0, 0] > 0


def test_a_motion_costs_what_its_displacements_do() -> None:
    mesh = np.zeros((3, 4, 2), np.int32)
    assert rates.motion_bits(mesh) == 0
    mesh[1, 2], mesh[0, 0, 1] = (5, -3), 1
    assert rates.motion_bits(mesh) == 3 * rates.DISPLACEMENT_BITS


@pytest.mark.parametrize("entropy", ENTROPY_CODERS)
def test_what_a_coder_says_it_can_do_it_does(entropy: str) -> None:
    coder = make_frame_coder(entropy, SIZE)
    assert coder.has_births == (entropy == "adaptive")
    assert (coder.motion is not None) == (entropy == "adaptive")
    assert (coder.change_costs() is not None) == (entropy == "adaptive")


@pytest.mark.parametrize("entropy", ["adaptive", "ans"])
def test_the_guess_is_taken_where_the_coder_cannot_tell(monkeypatch, entropy: str) -> None:
    """A guess that forbids every change stops the plain coder's updates, and never the adaptive coder's."""
    monkeypatch.setattr(rates, "CHANGE_BITS", 1e9)
    config = EncoderConfig(gaussians=30, iterations=20, entropy=entropy, motion=False, births=False)
    encoder = Encoder(config, make_rasterizer("cpu", *SIZE, 1))
    x = np.mgrid[:HEIGHT, :WIDTH][1]
    clip = [
        np.where((abs(x - c) < 9)[..., None], [230, 170, 90], [20, 60, 70]).astype(np.uint8) for c in (20, 26)
    ]
    encoder.encode(clip[0], FULL, FrameType.I)
    changed = encoder.encode(clip[1], FULL, FrameType.P).n_coded
    assert (changed > 0) == (entropy == "adaptive")
