"""Mattes -> a grey video or grey pictures, without loss where the container allows."""

from __future__ import annotations

import os
from dataclasses import replace

from gscodec.video.containers import container_name
from gscodec.video.frame import VideoFormat
from gscodec.video.writer import VideoWriter

# FFmpeg's name of a muxer -> encoder and pixel format that keep every code value, and the encoder's crf.
_LOSSLESS: dict[str, tuple[str, str, float | None]] = {
    "matroska": ("ffv1", "gray", None),
    "avi": ("ffv1", "gray", None),
    "mov": ("png", "gray", None),
    "mp4": ("libx264", "gray", 0),
}


def open_matte_writer(path: str | os.PathLike[str], form: VideoFormat) -> VideoWriter:
    """Make the file. Its frames are uint8 [H, W, 3] with three equal channels, 0 to 255.

    Args:
        form: of the frames that the mattes are of.
    Raises:
        MediaError: the place cannot be written, or the name is no video's and no picture's.
    """
    path = os.fspath(path)
    muxer = container_name(path, None)
    encoder, pix_fmt, crf = _LOSSLESS.get(muxer, (None, None, None))
    if path.lower().endswith(".png"):
        pix_fmt = "gray"
    grey = replace(form, matrix=2, primaries=2, transfer=2, full_range=True)
    return VideoWriter(path, grey, vcodec=encoder, crf=crf, pix_fmt=pix_fmt)
