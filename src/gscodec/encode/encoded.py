"""A coded frame, and what encoding it found out: what every encoder gives."""

from __future__ import annotations

from dataclasses import dataclass

from gscodec.container.headers import FrameType


@dataclass(frozen=True, slots=True)
class EncodedFrame:
    """One coded frame, and what encoding it found out.

    Attributes:
        payload: bytes of its packet. n_coded: Gaussians it codes; n_gaussians: live after it.
        iterations: steps of its fit, or passes of its pursuit. seconds: that encoding it took.
        roi_error, roi_samples, error, samples: squared error of the decoded 8-bit picture inside the ROI
            and over the whole, with the samples each spans (metrics.psnr_db makes dB of them).
    """

    frame_type: FrameType
    payload: bytes
    n_coded: int
    n_gaussians: int
    iterations: int
    seconds: float
    roi_error: float
    roi_samples: int
    error: float
    samples: int
