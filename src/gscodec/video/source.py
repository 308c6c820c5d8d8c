"""Opening what a name stands for: a file, numbered pictures, raw pictures, a pipe, a URL or a device."""

from __future__ import annotations

import os
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av

from gscodec.errors import MediaError
from gscodec.filenames import is_pattern, numbered
from gscodec.video.truncation import n_bytes_missing

# Tags may be in any encoding; PyAV 18 would refuse the file, 19 knows no other way than this one.
_OPEN_SETTINGS: Any = (
    {} if int(av.__version__.split(".")[0]) >= 19 else {"metadata_errors": "surrogateescape"}
)
_DEMUXERS = {"y4m": "yuv4mpegpipe", "mkv": "matroska", "ts": "mpegts", "yuv": "rawvideo", "rgb": "rawvideo"}
_RAW = (".yuv", ".rgb", ".raw")
_DEVICES = ("lavfi", "v4l2", "video4linux2", "avfoundation", "x11grab", "kmsgrab", "fbdev")
_FIRST_NUMBERS = range(5)  # at one of these the pictures of a pattern begin, as in FFmpeg


@dataclass(frozen=True, slots=True)
class SourceFormat:
    """What somebody says of a source that does not say it itself, or of a device.

    Attributes:
        container: FFmpeg's name of a demuxer or a device, such as rawvideo, y4m or v4l2.
        pix_fmt: pixel format of raw pictures, FFmpeg's name.
        width, height: of raw pictures or a device, pixels.
        rate: frames per second of raw pictures, numbered ones or a device.
    """

    container: str | None = None
    pix_fmt: str | None = None
    size: tuple[int, int] | None = None
    rate: Fraction | None = None


def open_container(path: str, given: SourceFormat) -> Any:
    """Open a source with FFmpeg.

    Args:
        path: a file; a pattern such as frames/%05d.png; a URL; the name of a device.
        given: what it is, where FFmpeg cannot find out.

    Raises:
        MediaError: there is no such source, FFmpeg cannot read it, or it has to be told what it is.
    """
    demuxer = _DEMUXERS.get(given.container or "", given.container)
    pattern = is_pattern(path) and not os.path.exists(path)
    is_raw = demuxer == "rawvideo" or (demuxer is None and path.lower().endswith(_RAW))
    if pattern:
        demuxer = demuxer or "image2"
        if not any(os.path.exists(numbered(path, i)) for i in _FIRST_NUMBERS):
            raise MediaError(
                f"{path}: no picture has such a name with a number from 0 to {_FIRST_NUMBERS[-1]}"
            )
    elif not is_url(path) and demuxer not in _DEVICES:
        check_readable(path)
    options = _options(given, demuxer)
    if is_raw:
        demuxer = "rawvideo"
        if given.pix_fmt is None or given.size is None:
            raise MediaError(
                f"{path}: raw pictures do not say what they are; give --pix-fmt (such as yuv420p or rgb24), "
                "--input-size WxH and --rate"
            )
    elif unused := _unused(given, demuxer, pattern):
        raise MediaError(f"{path}: says itself what {unused}; leave that out, or read it with -f rawvideo")
    try:
        name = path if is_url(path) or demuxer in _DEVICES else os.path.abspath(path)
        if pattern:
            folder, last = os.path.split(name)
            name = os.path.join(folder.replace("%", "%%"), last)
        return av.open(name, format=demuxer, options=options, **_OPEN_SETTINGS)
    except (av.FFmpegError, ValueError) as error:
        n_missing = n_bytes_missing(path)
        reason = f"its last {n_missing} bytes are missing" if n_missing else reason_of(error)
        what = f"as {demuxer}" if given.container else "as media"
        raise MediaError(
            f"{path}: FFmpeg cannot read it {what} ({reason}); expected a video (mp4, mkv, webm)"
        ) from error


def is_url(path: str) -> bool:
    """Whether a name is for FFmpeg's protocols (http://, rtsp://) and no file's."""
    return "://" in path and not os.path.exists(path)


def check_readable(path: str | os.PathLike[str]) -> None:
    """Raise MediaError with one clear line unless `path` is something that can hold a video."""
    file = Path(path)
    if not file.exists():
        raise MediaError(f"{path}: no such file; give the path of a video")
    if file.is_dir():
        raise MediaError(f"{path}: is a directory; give the path of one video file")
    if file.is_file() and file.stat().st_size == 0:
        raise MediaError(f"{path}: is empty (0 bytes); expected a video")


def why_no_picture(container: Any, path: str) -> str:
    """What to say of a source in which no picture was found."""
    if container.format.name.startswith("mov,") and not os.path.isfile(path):
        return (
            "this MP4 has its index (moov) behind its pictures, and a pipe cannot be rewound to them; "
            "give the file's name, or have it written with -movflags +faststart or as Matroska"
        )
    return "no picture could be decoded; expected at least one frame of video"


def reason_of(error: BaseException) -> str:
    """FFmpeg's words for an error, without the number and the name around it."""
    return getattr(error, "strerror", None) or str(error)


def _options(given: SourceFormat, demuxer: str | None) -> dict[str, str]:
    options = {}
    if given.pix_fmt is not None:
        try:
            av.VideoFormat(given.pix_fmt)
        except ValueError as error:
            raise MediaError(
                f"pix_fmt {given.pix_fmt!r} is unknown to FFmpeg; permitted among others: rgb24, yuv420p"
            ) from error
        options["pixel_format"] = given.pix_fmt
    if given.size is not None:
        options["video_size"] = f"{given.size[0]}x{given.size[1]}"
    if given.rate is not None:
        options["framerate"] = str(given.rate)
    if demuxer == "lavfi":
        options = {}
    return options


def _unused(given: SourceFormat, demuxer: str | None, pattern: bool) -> str:
    """Which of the settings a source has no use for, in words; a device takes them all."""
    if demuxer in _DEVICES and demuxer != "lavfi":
        return ""
    if given.size is not None:
        return "size its pictures have"
    if given.pix_fmt is not None:
        return "pixel format its pictures have"
    return "" if pattern or given.rate is None else "rate its pictures have"
