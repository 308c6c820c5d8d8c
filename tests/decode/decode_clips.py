"""A short coded clip for the tests of the decoder's pictures."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from conftest import synthetic_clip
from gscodec.config import QUALITY_ONE, EncoderConfig
from gscodec.container.headers import BLEND_CODES, ENTROPY_CODES, SEQUENCE_HEADER, FrameType
from gscodec.decode.decoder import Decoder
from gscodec.encode.encoder import Encoder
from gscodec.splat.raster import Rasterizer, make_rasterizer

SIZE = (64, 48)
TYPES = (FrameType.I, FrameType.P, FrameType.P, FrameType.RECOVERY, FrameType.P)


@dataclass(frozen=True)
class Coded:
    """A sequence header, and each frame's payload and type."""

    header: dict[str, Any]
    frames: list[tuple[bytes, FrameType]]
    size: tuple[int, int] = SIZE

    def decoder(self, **settings: Any) -> Decoder:
        return Decoder(self.header, backend="cpu", threads=1, **settings)

    def make(self, width: int, height: int) -> Rasterizer:
        return make_rasterizer("cpu", width, height, 1, blend=BLEND_CODES[self.header["blend"]])


@cache
def coded_clip(blend: str = "normalised", hold: int = 0, types: tuple[FrameType, ...] = TYPES) -> Coded:
    """A disc that moves; its first half is the person."""
    config = EncoderConfig(
        gaussians=40, iterations=12, polish_passes=1, update_passes=1, blend=blend, hold=hold, quality=1.0
    )
    encoder = Encoder(config, make_rasterizer("cpu", *SIZE, 1, blend=blend))
    matte = np.zeros(SIZE[::-1], np.float32)
    matte[:, :32] = 1
    clip = synthetic_clip("disc", *SIZE, len(types))
    frames = [encoder.encode(pixels, matte, kind) for pixels, kind in zip(clip, types, strict=True)]
    header = {field.name: field.low for field in SEQUENCE_HEADER}
    header |= {"width": SIZE[0], "height": SIZE[1], "quality_q8": QUALITY_ONE, "hold": hold}
    header |= {"entropy": ENTROPY_CODES.index(config.entropy), "blend": BLEND_CODES.index(blend)}
    return Coded(header, [(frame.payload, frame.frame_type) for frame in frames])
