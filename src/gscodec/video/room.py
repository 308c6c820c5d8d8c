"""The room of `--background hybrid` as packets of AV1 or H.264, and back: one picture a frame, in order."""

from __future__ import annotations

import os
from fractions import Fraction
from typing import Any

import av
import numpy as np
from av.video.reformatter import VideoReformatter

from gscodec.errors import BackendError
from gscodec.video.color import BT601, FULL, LIMITED
from gscodec.video.frame import SidePacket, VideoFormat

# FFmpeg's encoder, the codec that it writes, its options: no picture waits for a later one.
_ENCODERS: tuple[tuple[str, str, dict[str, str]], ...] = (
    ("libsvtav1", "av1", {"preset": "8", "svtav1-params": "pred-struct=1:tune=1:lp=2"}),
    ("libx264", "h264", {"preset": "medium", "tune": "zerolatency"}),
)
DECODERS = {"av1": "libdav1d", "h264": "h264"}  # FFmpeg's own "av1" needs a graphics card
CRF = {"av1": "58", "h264": "36"}
_SHRINK_FROM = 128  # pixels: larger sides are halved, the room is soft anyway
_FOREIGN = (av.FFmpegError, ValueError, OSError)


class RoomEncoder:
    """Encodes the pictures of a room.

    Attributes:
        codec: FFmpeg's name of what comes out.
    """

    def __init__(self, form: VideoFormat) -> None:
        """Open the first encoder that this FFmpeg has.

        Raises:
            BackendError: it has none of them.
        """
        self._time_base = form.time_base
        self._reformatter = VideoReformatter()
        os.environ.setdefault("SVT_LOG", "1")  # no option keeps SVT-AV1 from printing on stderr
        for name, codec, options in _ENCODERS:
            try:
                context: Any = av.CodecContext.create(name, "w")
                context.width, context.height = _coded(form.width), _coded(form.height)
                context.pix_fmt = "yuv420p"
                context.time_base = form.time_base
                context.framerate = form.frame_rate or Fraction(25)
                context.gop_size = 1 << 15
                context.options = options | {"crf": CRF[codec]}
                context.open()
            except _FOREIGN:
                continue
            self.codec, self._context = codec, context
            return
        names = " and ".join(name for name, _, _ in _ENCODERS)
        raise BackendError(f"--background hybrid needs one of {names}, which this FFmpeg lacks; take coarse")

    def encode(self, pixels: np.ndarray | None, pts: int, stream: int) -> list[SidePacket]:
        """Encode the next picture, uint8 [H, W, 3], or with None what is still inside.

        Args:
            pts: in ticks of the format's time base. stream: number that the packets get.
        """
        picture: Any = None
        if pixels is not None:
            picture = self._reformatter.reformat(
                av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels), "rgb24"),
                self._context.width,
                self._context.height,
                "yuv420p",
                dst_colorspace=BT601,
                interpolation="AREA",
                src_color_range=FULL,
                dst_color_range=LIMITED,
                threads=1,
            )
            picture.pts, picture.time_base = pts, self._time_base
        packets = self._context.encode(picture)
        return [SidePacket(stream, p.pts, p.pts, 0, p.is_keyframe, bytes(p)) for p in packets if p.size]


class RoomDecoder:
    """Decodes them. What is damaged, or refers to what was not read, gives no picture."""

    def __init__(self, codec: str, width: int, height: int) -> None:
        """Open a decoder.

        Args:
            codec: of DECODERS. width, height: of the pictures that come out, pixels.
        Raises:
            BackendError: this FFmpeg has no decoder for it.
        """
        self._size = width, height
        self._reformatter = VideoReformatter()
        try:
            self._context: Any = av.CodecContext.create(DECODERS[codec], "r")
            self._context.thread_count = 1  # more would keep pictures back
            self._context.options = {"max_pixels": str((width + 1) * (height + 1))}  # nothing larger is made
            self._context.open()
        except _FOREIGN as error:
            raise BackendError(
                f"the room is {codec}, for which this FFmpeg has no decoder; install PyAV's wheel"
            ) from error

    def decode(self, payload: bytes) -> np.ndarray | None:
        """The picture of one packet, uint8 [H, W, 3]; None where there is none."""
        try:
            pictures = self._context.decode(av.Packet(payload))
        except _FOREIGN:
            return None
        if not pictures:
            return None
        shown = self._reformatter.reformat(
            pictures[-1],
            *self._size,
            "rgb24",
            src_colorspace=BT601,
            interpolation="BICUBIC",
            src_color_range=LIMITED,
            dst_color_range=FULL,
            threads=1,
        )
        return np.asarray(shown.to_ndarray())


def _coded(side: int) -> int:
    """Pixels that a side of a picture is coded with: even, and half as many where there are enough."""
    half = side // 2 if side >= _SHRINK_FROM else side
    return half + half % 2
