"""RGB or RGBA array -> picture in an encoder's pixel format, with colour tags. Counterpart: `picture`."""

from __future__ import annotations

from typing import Any

import av
import numpy as np
from av.video.reformatter import Interpolation, VideoReformatter

from gscodec.video.color import FULL, LIMITED, SWS_MATRICES, UNSPECIFIED, conversion_matrix
from gscodec.video.frame import VideoFormat

_FLAGS = Interpolation.BICUBIC | Interpolation.ACCURATE_RND | Interpolation.FULL_CHR_H_INP


class OutputConverter:
    """Turns uint8 arrays into pictures for one encoder, and tells the encoder how they are to be read."""

    def __init__(self, context: Any, form: VideoFormat, *, tagged: bool, alpha: bool):
        """Set the colour tags of an encoder.

        Args:
            context: PyAV's codec context, its pixel format already set.
            form: whose colours the pictures have.
            tagged: the container has room for a colour matrix.
            alpha: arrays are [H, W, 4], straight alpha, else [H, W, 3].
        """
        self._context = context
        self._layout = "rgba" if alpha else "rgb24"
        self._reformatter = VideoReformatter()
        self._rgb = context.format.is_rgb
        # Full range with the RGB "matrix" comes from an RGB source: its YCbCr is then the usual one.
        full = (form.full_range and form.matrix != 0) or context.pix_fmt.startswith("yuvj")
        self._range = FULL if full or self._rgb else LIMITED
        matrix = form.matrix if form.matrix in SWS_MATRICES and tagged else UNSPECIFIED
        self._matrix = conversion_matrix(matrix, form.height)
        context.colorspace = 0 if self._rgb else matrix
        context.color_range = self._range
        context.color_primaries, context.color_trc = form.primaries, form.transfer

    def __call__(self, pixels: np.ndarray) -> Any:  # uint8 [H, W, 3] or [H, W, 4]
        """Convert one picture; alpha stays straight and full range, whatever the range of the colours."""
        pixels = np.ascontiguousarray(pixels)
        source = av.VideoFrame.from_numpy_buffer(pixels, self._layout)
        picture: Any = self._reformatter.reformat(
            source,
            format=self._context.pix_fmt,
            dst_colorspace=None if self._rgb else self._matrix,
            interpolation=_FLAGS,
            src_color_range=FULL,
            dst_color_range=self._range,
            threads=1,
        )
        if picture is source:  # nothing to convert: the encoder must not look into the caller's array later
            picture = av.VideoFrame.from_ndarray(pixels, self._layout)
        context = self._context
        picture.colorspace, picture.color_range = context.colorspace, context.color_range
        picture.color_primaries, picture.color_trc = context.color_primaries, context.color_trc
        return picture
