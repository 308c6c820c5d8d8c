"""λ: how much loss a bit must take away to be worth spending, for each kind of decision."""

from __future__ import annotations

from dataclasses import dataclass

from gscodec.coding.quantize import COLOR_STEP

# In units of COLOR_STEP²·quality², the square of a colour's step: docs/bits.md, "Lambda".
LAMBDA_I = {"sum": 1.0, "normalised": 0.55}
LAMBDA_P = {"sum": 0.5, "normalised": 0.9}
LAMBDA_BIRTH = {"sum": 1.0, "normalised": 0.95}  # of Gaussians born in P-frames
CRF_PER_DOUBLING = 5.0  # λ doubles when a GOP's crf is moved by that much


@dataclass(frozen=True, slots=True)
class Lagrangian:
    """Σ weight·d² that one bit must buy: of an I-frame's symbols, of a P-frame's, of a birth."""

    iframe: float
    pframe: float
    birth: float


def lagrangian(quality: float, scale: float, crf_offset: float, blend: str) -> Lagrangian:
    """λ of a frame.

    Args:
        quality: of the file, on every quantiser step. scale: the user's --lambda-scale.
        crf_offset: by which rate control has moved the frame's GOP; its steps are the file's nevertheless.
    """
    step = COLOR_STEP * quality

    def of(factor: float) -> float:
        return factor * scale * step * step * 2.0 ** (crf_offset / CRF_PER_DOUBLING)

    return Lagrangian(of(LAMBDA_I[blend]), of(LAMBDA_P[blend]), of(LAMBDA_BIRTH[blend]))
