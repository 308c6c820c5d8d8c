"""What the writer must know of containers: their names, their clocks and what they can hold."""

from __future__ import annotations

import os

import av

from gscodec.errors import MediaError
from gscodec.filenames import PICTURES, is_picture

CONTAINER_NAMES = ("mp4", "mov", "mkv", "webm", "avi", "ts", "y4m")
ENCODER_NAMES = (  # in the order in which they are taken unasked, where a container holds them
    *("libx264", "libx265", "libvpx-vp9", "libsvtav1", "ffv1", "mpeg4", "mjpeg", "rawvideo"),
    *("prores_ks", "qtrle", "png"),
)

# FFmpeg's names of muxers.
ISO_MEDIA = {"mp4", "mov", "ipod", "3gp", "3g2"}  # a clock per track, any rate
MILLISECONDS = {"matroska", "webm", "flv"}  # a clock of 1 ms whatever is asked for
UNSIGNED = {"flv"}  # no time is below zero: what starts there moves the whole file
CONSTANT_RATE = {"yuv4mpegpipe", "avi"}  # pictures are numbered, not timed
UNTAGGED = {"yuv4mpegpipe", "rawvideo"}  # no room for a colour matrix
PICTURES_ONLY = {"yuv4mpegpipe", "rawvideo", "image2"}  # no sound, no subtitles


def container_name(path: str, container: str | None) -> str:
    """Return FFmpeg's name of the muxer for a file name, or for a name or extension given explicitly.

    Raises:
        MediaError: there is none, or it does not write one video file.
    """
    if container is None and path == "-":
        raise MediaError(
            f"standard output needs a container; permitted among others: {', '.join(CONTAINER_NAMES)}"
        )
    if is_picture(path) and container in (None, "image2"):
        return "image2"
    # A muxer opened for writing touches no disk before its head is written.
    for file, name in ((f"x.{container}" if container else path, None), ("x", container)):
        if name is None and not os.path.splitext(file)[1]:
            continue
        try:
            with av.open(os.path.basename(file), "w", format=name) as probe:
                found = probe.format.name
        except (av.FFmpegError, ValueError):
            continue
        if not found.startswith("image2"):
            return found
    if container == "image2":
        raise MediaError(f"{path}: pictures need a name that ends in {', '.join(PICTURES)}")
    what = f"container {container!r}" if container else f"extension {os.path.splitext(path)[1]!r}"
    raise MediaError(f"{path}: {what} is unknown; permitted among others: {', '.join(CONTAINER_NAMES)}")


def can_hold(muxer: str, encoder: str) -> bool:
    """Would this muxer take this encoder's packets? (`supported_codecs` says no for muxers that take all.)"""
    with av.open(os.devnull, "w", format=muxer) as probe:
        try:
            probe.add_stream(encoder)
        except (av.FFmpegError, ValueError):
            return False
    return True
