"""Which encoder a profile is encoded by."""

from __future__ import annotations

from gscodec.config import EncoderConfig
from gscodec.encode.encoder import Encoder
from gscodec.paper.encoder import PaperEncoder
from gscodec.splat.raster import Rasterizer

AnyEncoder = Encoder | PaperEncoder


def make_encoder(config: EncoderConfig, raster: Rasterizer) -> AnyEncoder:
    """The encoder of `config.profile`."""
    return Encoder(config, raster) if config.profile == "default" else PaperEncoder(config, raster)
