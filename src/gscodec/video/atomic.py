"""Files that appear under their name only when they are complete."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from gscodec.errors import MediaError


@contextmanager
def atomic_path(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield an empty file `.STEM.PID.part.EXT` beside `path`; rename it on success, delete it on exceptions.

    The extension stays last so that writers which look at it (FFmpeg's muxers) choose the same format. An
    existing file under `path` is replaced in one step; a symbolic link keeps pointing at its target, which
    is replaced. What is neither a file nor free (a pipe, /dev/full, /dev/stdout) is yielded itself: renaming
    would destroy it.

    Raises:
        MediaError: `path` is a directory, or nothing can be created beside it.
    """
    given = Path(path)
    if given.is_dir():
        raise MediaError(f"{path}: is a directory; give the name of a file to write")
    if given.exists() and not given.is_file():
        yield given  # as it is: /dev/stdout may lead to a pipe, which has no path
        return
    final = Path(os.path.realpath(path))
    part = final.with_name(f".{final.stem}.{os.getpid()}.part{final.suffix}")
    try:
        part.touch()
    except OSError as error:
        raise MediaError(
            f"{path}: cannot be created ({error.strerror}); give a folder that exists and is writable"
        ) from error
    try:
        yield part
        try:
            part.replace(final)
        except OSError as error:
            raise MediaError(f"{path}: cannot be replaced by the finished file ({error.strerror})") from error
    except BaseException:
        with suppress(OSError):
            part.unlink()
        raise
