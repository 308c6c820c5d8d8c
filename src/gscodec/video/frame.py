"""A picture with its time, and the facts of the video it belongs to."""

from __future__ import annotations

from dataclasses import dataclass, field
from fractions import Fraction

import numpy as np


@dataclass(frozen=True, slots=True)
class VideoFormat:
    """What every frame of one video shares.

    Attributes:
        width, height: pixels of the picture as shown (rotation and `--size` already applied).
        time_base: seconds per tick of `Frame.pts`.
        frame_rate: average frames per second; only a hint, pts are what counts.
        sample_aspect_ratio: width of a pixel over its height.
        matrix, primaries, transfer: ITU-T H.273 code points of the *source* (2 = unspecified).
        full_range: True when the source's luma spans 0–255.
    """

    width: int
    height: int
    time_base: Fraction
    frame_rate: Fraction
    sample_aspect_ratio: Fraction = Fraction(1)
    matrix: int = 2
    primaries: int = 2
    transfer: int = 2
    full_range: bool = False


@dataclass(frozen=True, slots=True)
class Frame:
    """One picture.

    Attributes:
        pixels: uint8 [H, W, 3], R'G'B' 0–255, C-contiguous; [H, W, 4] for a `VideoWriter` with alpha.
        pts: presentation time in ticks of `VideoFormat.time_base`.
        duration: ticks until the next frame, 0 when unknown.
    """

    pixels: np.ndarray
    pts: int
    duration: int = 0


@dataclass(frozen=True, slots=True)
class SideStream:
    """A sound, subtitle or data stream that travels through a .gsv untouched.

    Attributes:
        kind: "audio", "subtitle" or "data".
        codec: FFmpeg's codec name, for `gscodec info`.
        time_base: seconds per tick of its packets.
        extradata: opaque bytes from which `video.sidestreams` rebuilds the output stream.
    """

    kind: str
    codec: str
    time_base: Fraction
    extradata: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class SidePacket:
    """One untouched packet of a `SideStream`; pts and duration in the stream's own ticks."""

    stream: int
    pts: int
    dts: int
    duration: int
    is_keyframe: bool
    payload: bytes = field(repr=False)
