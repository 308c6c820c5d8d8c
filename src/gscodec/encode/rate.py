"""Rate control: how far each GOP's quality is moved so that the file meets a bitrate or a ROI-PSNR.

A GOP's crf offset changes its number of Gaussians and what a bit must buy; the steps are the file's. What is
asked for is compared with what finished GOPs took, so a GOP that starts while others are on other cores
uses what is known by then: the same for the same number of threads.
"""

from __future__ import annotations

import math

from gscodec.config import CRF_CENTER, EncoderConfig
from gscodec.rdo.rates import TYPICAL_IFRAME_KBIT, TYPICAL_PFRAME_KBIT

TYPICAL_PSNR_DB = 30.5  # of a talking head at CRF_CENTER, where the search starts
CRF_PER_DB = 3.0
CRF_PER_OCTAVE = 6.0  # of bits
DAMPING = 0.8
BUFFER_S = 4.0  # what was spent too much or too little is made good over this time
MAX_STEP = 6.0  # crf, from one GOP to the next


def starting_crf(config: EncoderConfig, n_pixels: int, frames_per_s: float) -> float | None:
    """The crf whose steps a file with a target is given; config.crf without one."""
    if config.bitrate is None and config.target_psnr is None:
        return config.crf
    # Of closed GOPs, also where they are open: how long those get is not known yet.
    kbit_per_frame = mean_of_gop(TYPICAL_IFRAME_KBIT, TYPICAL_PFRAME_KBIT, config.gop_length)
    kbit_per_s = kbit_per_frame * frames_per_s * (n_pixels / (640 * 360)) ** 0.5
    return _met_crf(config, CRF_CENTER, kbit_per_s, TYPICAL_PSNR_DB)


def corrected_crf(config: EncoderConfig, kbit_per_s: float, psnr_db: float) -> float:
    """The crf that meets the target, from what a trial at config.crf took and gave."""
    assert config.crf is not None
    return _met_crf(config, config.crf, kbit_per_s, psnr_db)


def mean_of_gop(iframe: float, pframe: float, n_frames: int) -> float:
    """Mean over a GOP's frames of what its one I-frame and each of its P-frames have."""
    return (iframe + (n_frames - 1) * pframe) / n_frames


def _met_crf(config: EncoderConfig, crf: float, kbit_per_s: float, psnr_db: float) -> float:
    """The crf that meets the target of `config`, where `crf` takes and gives that."""
    if config.bitrate is not None:
        crf += CRF_PER_OCTAVE * math.log2(kbit_per_s / config.bitrate)
    else:
        assert config.target_psnr is not None
        crf += CRF_PER_DB * (psnr_db - config.target_psnr)
    return min(51.0, max(0.0, crf))


class RateControl:
    """The crf offset of the next GOP, from what the GOPs before it took. Without a target always 0."""

    def __init__(self, config: EncoderConfig) -> None:
        self._bitrate = config.bitrate
        self._target_psnr = config.target_psnr
        self.crf_offset = 0.0
        self._owed_bits = 0.0  # spent beyond the target so far

    def finished(self, offset: float, n_bits: float, duration_s: float, psnr_db: float) -> None:
        """Learn from a GOP that was encoded at `offset`."""
        if self._bitrate is not None and duration_s > 0:
            wanted = self._bitrate * 1e3 * duration_s
            self._owed_bits += n_bits - wanted
            allowed = max(0.2 * wanted, wanted - self._owed_bits * duration_s / BUFFER_S)
            self._move(offset + CRF_PER_OCTAVE * DAMPING * math.log2(n_bits / allowed))
        elif self._target_psnr is not None:
            self._move(offset + CRF_PER_DB * DAMPING * (psnr_db - self._target_psnr))

    def _move(self, offset: float) -> None:
        self.crf_offset = min(self.crf_offset + MAX_STEP, max(self.crf_offset - MAX_STEP, offset))
