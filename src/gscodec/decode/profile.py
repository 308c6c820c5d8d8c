"""What a profile means: its kind of state, its coder of frames, its dequantisation.

default                 coding.quantize, and coding.frames or coding.adaptive
paper, gaussianimage    paper.quantize, paper.frames
"""

from __future__ import annotations

from typing import Any

import numpy as np

from gscodec.coding import quantize
from gscodec.coding.frames import make_frame_coder
from gscodec.coding.quantize import State
from gscodec.paper import quantize as paper_quantize
from gscodec.paper.frames import PaperCoder
from gscodec.paper.quantize import PaperState

AnyState = State | PaperState


def make_profile_coder(profile: str, entropy: str, size: tuple[int, int], blend: str) -> Any:
    """The frames.FrameCoder of a profile, for pictures of `size` (width, height)."""
    if profile == "default":
        return make_frame_coder(entropy, size, blend)
    return PaperCoder(entropy, size, p_frames=profile == "paper")


def dequantize(state: AnyState) -> np.ndarray:  # -> [N, 8]
    """Parameters of a state, float32: identical on every machine."""
    if isinstance(state, PaperState):
        return paper_quantize.dequantize(state)
    return quantize.dequantize(state)


def ground_color(state: AnyState) -> np.ndarray | None:  # -> [3]
    """What a state's colours are counted from, opponent units, float32; None: from black."""
    return None if isinstance(state, PaperState) else quantize.ground_color(state)
