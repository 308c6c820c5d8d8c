"""gscodec: a video codec whose pictures are sets of 2D Gaussians.

    from gscodec import decode_file, encode_file, encoder_config
    encode_file("talk.mp4", "talk.gsv", encoder_config("medium", crf=24))
    decode_file("talk.gsv", "talk_again.mp4")

Encoder and Decoder are the same frame by frame (examples/encode_frames.py, examples/decode_frames.py).
Names are loaded when first used, so that `import gscodec` and `gscodec --help` stay quick.
tests/test_public_api.py keeps this list true; what is not in it may change without notice.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gscodec import errors
    from gscodec.config import DecoderLimits, EncoderConfig, encoder_config
    from gscodec.container.container import GsvReader, GsvWriter
    from gscodec.container.headers import FrameType
    from gscodec.decode.decoder import Decoder
    from gscodec.errors import GscodecError
    from gscodec.inspection import inspect_file
    from gscodec.live import Encoder
    from gscodec.transcode import decode_file, encode_file

__version__ = "0.1.0"

__all__ = [
    "Decoder",
    "DecoderLimits",
    "Encoder",
    "EncoderConfig",
    "FrameType",
    "GscodecError",
    "GsvReader",
    "GsvWriter",
    "__version__",
    "decode_file",
    "encode_file",
    "encoder_config",
    "errors",
    "inspect_file",
]

_HOMES = {
    "Decoder": "gscodec.decode.decoder",
    "DecoderLimits": "gscodec.config",
    "Encoder": "gscodec.live",
    "EncoderConfig": "gscodec.config",
    "FrameType": "gscodec.container.headers",
    "GscodecError": "gscodec.errors",
    "GsvReader": "gscodec.container.container",
    "GsvWriter": "gscodec.container.container",
    "decode_file": "gscodec.transcode",
    "encode_file": "gscodec.transcode",
    "encoder_config": "gscodec.config",
    "inspect_file": "gscodec.inspection",
}


def __getattr__(name: str) -> Any:
    if name == "errors":
        return importlib.import_module("gscodec.errors")
    if name not in _HOMES:
        raise AttributeError(f"module 'gscodec' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
