"""Decoded picture -> RGB array as it is shown: colour, size and orientation."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any

import av
import numpy as np
from av.video.reformatter import Interpolation, VideoReformatter

from gscodec.config import MAX_PIXELS
from gscodec.errors import MediaError
from gscodec.video.color import FULL, LIMITED, SWS_MATRICES, UNSPECIFIED, conversion_matrix
from gscodec.video.frame import VideoFormat
from gscodec.video.hdr import BT709, CURVES, ToneMapper, has_peak

# Without these two flags swscale repeats chroma instead of interpolating it and errs by up to 5 code values.
_EXACT = Interpolation.ACCURATE_RND | Interpolation.FULL_CHR_H_INT

_MAX_ASPECT = 65535  # of either number of a sample aspect ratio

# swscale takes grey as full range whatever it is told.
_GRAY_LIMITED_TO_FULL = np.clip(np.rint((np.arange(256) - 16) * (255 / 219)), 0, 255).astype(np.uint8)


@dataclass(frozen=True, slots=True)
class Orientation:
    """How a decoded picture is turned to be shown: transpose first, then mirror."""

    transpose: bool = False
    mirror_x: bool = False
    mirror_y: bool = False

    def apply(self, pixels: np.ndarray) -> np.ndarray:  # [H, W, 3] -> [H, W, 3] or [W, H, 3]
        """Return the turned picture, a view where nothing moves in memory."""
        if self.transpose:
            pixels = pixels.transpose(1, 0, 2)
        if self.mirror_x:
            pixels = pixels[:, ::-1]
        if self.mirror_y:
            pixels = pixels[::-1]
        return pixels


@dataclass(frozen=True, slots=True)
class SourceColor:
    """Colour facts of a decoded picture, H.273 code points; `gray` and `rgb` tell what the samples are."""

    matrix: int
    primaries: int
    transfer: int
    full_range: bool
    gray: bool
    rgb: bool


class PictureConverter:
    """Turns decoded pictures of one stream into uint8 RGB arrays of one size.

    Attributes:
        width, height: of the arrays, pixels as shown.
        sample_aspect_ratio: of the arrays' pixels.
        color: of the first picture.
    """

    def __init__(
        self,
        first: av.VideoFrame,
        size: str | tuple[int, int] | None,
        sample_aspect_ratio: Fraction,
        warn: Callable[[str], None],
    ):
        self._warn = warn
        self.color = source_color(first)
        self._tone_mapper = self._begin_tone_mapping(first)
        self._coded = (first.width, first.height)
        self._orientation = source_orientation(first)
        shown = _swap_if(self._orientation.transpose, self._coded)
        if not 0 < shown[0] * shown[1] <= MAX_PIXELS:
            raise MediaError(f"pictures of {shown[0]}x{shown[1]}; at most {MAX_PIXELS} pixels are supported")
        if self._orientation.transpose:
            sample_aspect_ratio = 1 / sample_aspect_ratio
        self.width, self.height = output_size(size, *shown)
        self.sample_aspect_ratio = _scaled_aspect(sample_aspect_ratio, shown, (self.width, self.height))
        self._target = _swap_if(self._orientation.transpose, (self.width, self.height))
        self._mine = threading.local()  # a reformatter keeps tables that threads must not share
        self._warned_size = False
        if first.interlaced_frame:
            warn(
                "the pictures are interlaced and are coded as they are; deinterlace them first to avoid combs"
            )
        if _is_transparent(first):
            warn("transparency is left out: pixels show the colour that lies beneath it")

    def __call__(self, frame: av.VideoFrame) -> np.ndarray:  # -> uint8 [H, W, 3], C-contiguous
        """Convert one picture; one of another size is scaled to the size of the first, with one warning.

        Several threads may call.
        """
        if self._tone_mapper:
            frame = self._tone_mapper(frame)
        color = source_color(frame)
        if (frame.width, frame.height) != self._coded and not self._warned_size:
            self._warned_size = True
            self._warn(
                f"the picture size changes from {self._coded[0]}x{self._coded[1]} to "
                f"{frame.width}x{frame.height} midway; later pictures are scaled to the first size"
            )
        if color.matrix not in (*SWS_MATRICES, UNSPECIFIED) and not color.rgb:
            self._warn(f"colour matrix {color.matrix} (H.273) is not supported; the usual default is used")
        shrinks = self._target[0] * self._target[1] < frame.width * frame.height
        if not hasattr(self._mine, "reformatter"):
            self._mine.reformatter = VideoReformatter()
        converted = self._mine.reformatter.reformat(
            frame,
            self._target[0],
            self._target[1],
            "rgb24",
            src_colorspace=conversion_matrix(color.matrix, frame.height),
            interpolation=(Interpolation.AREA if shrinks else Interpolation.BICUBIC) | _EXACT,
            src_color_range=FULL if color.full_range else LIMITED,
            dst_color_range=FULL,
            threads=1,  # several pictures are converted at a time
        )
        pixels = converted.to_ndarray()
        if color.gray and not color.full_range:
            pixels = _GRAY_LIMITED_TO_FULL[pixels]
        return np.ascontiguousarray(self._orientation.apply(pixels))

    def _begin_tone_mapping(self, first: av.VideoFrame) -> ToneMapper | None:
        """Where pictures are HDR and this FFmpeg can make SDR of them: what does, and what they are then."""
        curve = CURVES.get(self.color.transfer)
        if curve is None:
            return None
        made = ToneMapper()
        try:
            made(first)
        except (av.FFmpegError, ValueError):
            self._warn(
                f"the pictures are HDR ({curve}) and become 8 bit as they are: expect bands; "
                "convert them to SDR first"
            )
            return None
        unknown = curve == "PQ" and not has_peak(first)
        peak = ", as if made for 10000 cd/m²: the file does not say" if unknown else ""
        self._warn(f"the pictures are HDR ({curve}); they become SDR (BT.709), bright parts compressed{peak}")
        self.color = replace(
            self.color, matrix=BT709, primaries=BT709, transfer=BT709, full_range=False, rgb=False
        )
        return made


def source_color(frame: av.VideoFrame) -> SourceColor:
    """Read a picture's colour facts; grey and RGB are full range unless said otherwise, as in FFmpeg."""
    name = frame.format.name
    gray = name.startswith(("gray", "ya", "mono"))
    rgb = frame.format.is_rgb or name == "pal8"
    said = int(frame.color_range)
    full = rgb or name.startswith("yuvj") or said == FULL or (gray and said != LIMITED)
    matrix, primaries, transfer = int(frame.colorspace), int(frame.color_primaries), int(frame.color_trc)
    return SourceColor(0 if rgb else matrix, primaries, transfer, full, gray, rgb)


def _is_transparent(frame: av.VideoFrame) -> bool:
    """Whether some pixel is; many pictures with an alpha channel have none that is."""
    if not any(component.is_alpha for component in frame.format.components):
        return False
    return bool(frame.to_ndarray(format="rgba")[:, :, 3].min() < 255)


def source_orientation(frame: av.VideoFrame) -> Orientation:
    """Read the display matrix: rows (a, b, u), (c, d, v), …; x' = ax + cy, y' = bx + dy, y downwards."""
    side_data: Any = frame.side_data.get("DISPLAYMATRIX")
    if side_data is None:
        return Orientation()
    a, b, _, c, d = (int(v) for v in np.frombuffer(bytes(side_data), np.int32)[:5])
    if abs(a) + abs(d) >= abs(b) + abs(c):
        return Orientation(False, a < 0, d < 0)
    return Orientation(True, c < 0, b < 0)


def output_size(size: str | tuple[int, int] | None, width: int, height: int) -> tuple[int, int]:
    """Return (width, height) in pixels for a `size` setting and a picture as shown.

    Args:
        size: "640x360", (640, 360), "360p" (height 360, width keeps the shape and is rounded to even), "2x"
            or "0.5x" (times as large; even sides stay even), None.

    Raises:
        MediaError: unknown form, not positive, or more than MAX_PIXELS pixels.
    """
    if size is None:
        return width, height
    if isinstance(size, str) and "-" in size:
        size = _with_free_side(size, width, height)
    if isinstance(size, str):
        exact, lines = re.fullmatch(r"(\d{1,6})x(\d{1,6})", size), re.fullmatch(r"(\d{1,6})p", size)
        times = re.fullmatch(r"(\d{1,6}(?:\.\d{1,6})?)x", size)
        if times:
            wanted = (_side_times(width, float(times[1])), _side_times(height, float(times[1])))
        elif exact:
            wanted = (int(exact[1]), int(exact[2]))
        elif lines:
            wanted = (max(2, 2 * round(width * int(lines[1]) / height / 2)), int(lines[1]))
        else:
            raise MediaError(f"size {size!r} is unknown; expected WIDTHxHEIGHT such as 640x360, 360p or 2x")
    else:
        wanted = (int(size[0]), int(size[1]))
    if min(wanted) < 1 or wanted[0] * wanted[1] > MAX_PIXELS:
        made = f"size {size!r} makes {wanted[0]}x{wanted[1]} of {width}x{height}"
        raise MediaError(f"{made}; expected at least 1x1 and at most {MAX_PIXELS} pixels")
    return wanted


def _with_free_side(size: str, width: int, height: int) -> str:
    """ "640x-2" -> "640x360" of a picture of 16:9: the side -N keeps the shape and is a multiple of N."""
    found = re.fullmatch(r"(-?)(\d{1,6})x(-?)(\d{1,6})", size, re.ASCII)
    if not found or bool(found[1]) == bool(found[3]) or "0" in (found[2], found[4]):
        return size  # which is then refused
    first, second = int(found[2]), int(found[4])
    if found[3]:
        return f"{first}x{max(second, second * round(height * first / width / second))}"
    return f"{max(first, first * round(width * second / height / first))}x{second}"


def _side_times(side: int, factor: float) -> int:
    return 2 * round(side * factor / 2) if side % 2 == 0 else round(side * factor)


def resized(format: VideoFormat, size: str | tuple[int, int] | None) -> VideoFormat:
    """A video's format with pictures of another size (`output_size`) and the same shape."""
    shown = format.width, format.height
    width, height = scaled = output_size(size, *shown)
    aspect = _scaled_aspect(format.sample_aspect_ratio, shown, scaled)
    return replace(format, width=width, height=height, sample_aspect_ratio=aspect)


def _scaled_aspect(aspect: Fraction, shown: tuple[int, int], scaled: tuple[int, int]) -> Fraction:
    """Keep the shape of the picture: only rounding to whole pixels (under 1 %) leaves the ratio as it was."""
    stretch = Fraction(shown[0] * scaled[1], shown[1] * scaled[0])
    return _in_16_bits(aspect if abs(stretch - 1) < Fraction(1, 100) else aspect * stretch)


def _in_16_bits(ratio: Fraction) -> Fraction:
    """The nearest ratio, or nearly, that a .gsv and H.264 can say: two numbers from 1 to 65535."""
    if ratio > 1:
        return 1 / _in_16_bits(1 / ratio)
    return max(ratio.limit_denominator(_MAX_ASPECT), Fraction(1, _MAX_ASPECT))


def _swap_if(swap: bool, pair: tuple[int, int]) -> tuple[int, int]:
    return (pair[1], pair[0]) if swap else pair
