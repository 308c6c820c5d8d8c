"""What a profile means: its kind of state, its coder of frames, its dequantisation.

default                 quantize, and frames or adaptive
paper, gaussianimage    paper_profile, paper_frames
"""

from __future__ import annotations

from typing import Any

import numpy as np

from gscodec.coding import paper_profile, quantize
from gscodec.coding.frames import make_frame_coder
from gscodec.coding.paper_frames import PaperCoder
from gscodec.coding.paper_profile import PaperState
from gscodec.coding.quantize import State

AnyState = State | PaperState


def make_profile_coder(profile: str, entropy: str, size: tuple[int, int]) -> Any:
    """The frames.FrameCoder of a profile, for pictures of `size` (width, height)."""
    if profile == "default":
        return make_frame_coder(entropy, size)
    return PaperCoder(entropy, size, p_frames=profile == "paper")


def dequantize(state: AnyState) -> np.ndarray:  # -> [N, 8]
    """Parameters of a state, float32: identical on every machine."""
    if isinstance(state, PaperState):
        return paper_profile.dequantize(state)
    return quantize.dequantize(state)


def take(state: AnyState, order: np.ndarray) -> AnyState:
    """The Gaussians at `order`, in that order."""
    if isinstance(state, PaperState):
        return paper_profile.take(state, order)
    return quantize.take(state, order)
