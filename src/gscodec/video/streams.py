"""Which stream of a file is its video."""

from __future__ import annotations

from typing import Any

import av

from gscodec.errors import MediaError
from gscodec.video.sidestreams import codec_name

_TEXT_DEMUXERS = {"tty", "bin", "xbin", "adf", "idf"}  # FFmpeg "plays" text files as terminal art


def first_video(container: Any, path: str) -> Any:
    """Return the first stream of pictures that are not a cover.

    Raises:
        MediaError: there is none, or nothing can decode it.
    """
    for stream in container.streams.video:
        if not is_cover(stream) and container.format.name not in _TEXT_DEMUXERS:
            if stream.codec_context is None:
                raise MediaError(
                    f"{path}: this build of FFmpeg has no decoder for its video; convert it first"
                )
            return stream
    found = sorted({f"{s.type} ({codec_name(s)})" for s in container.streams if not is_cover(s)})
    is_text = container.format.name in _TEXT_DEMUXERS
    what = f"no video, only {', '.join(found)}" if found and not is_text else "no video that can be played"
    raise MediaError(f"{path}: holds {what}; expected a file with a video stream")


def is_cover(stream: Any) -> bool:
    """Is this a cover picture or previews for a seek bar?"""
    flags = av.stream.Disposition
    return bool(stream.disposition & (flags.attached_pic | flags.timed_thumbnails))
