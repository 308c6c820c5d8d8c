"""Numbered pictures on disk: all appear under their names when the last one is written, or none does."""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from gscodec import interrupts
from gscodec.errors import MediaError
from gscodec.filenames import is_pattern, numbered


@contextmanager
def numbered_files(path: str) -> Iterator[str]:
    """Yield the pattern under which FFmpeg is to write pictures; then give each the name that `path` says.

    Pictures are made in a hidden folder beside the target and moved from there, so that none of them is ever
    seen half, and pictures of an earlier run stay until all new ones are there. On an error the folder goes.

    Args:
        path: a pattern such as frames/%05d.png, numbered from 1 as FFmpeg does; or the name of one picture.

    Raises:
        MediaError: the folder is missing or not writable, or a folder has the name of a picture.
    """
    pattern = is_pattern(path)
    folder, extension = Path(path).parent, Path(path).suffix
    if not folder.is_dir():
        raise MediaError(f"{path}: there is no folder {folder}; make it first")
    if Path(path).is_dir():
        raise MediaError(f"{path}: is a directory; give the name of a picture to write")
    part = folder / f".pictures.{secrets.token_hex(8)}.part"
    try:
        with interrupts.lock:
            part.mkdir()
            interrupts.unfinished.add(os.fspath(part))
    except OSError as error:
        raise MediaError(
            f"{path}: cannot be created ({error.strerror}); give a folder that exists and is writable"
        ) from error
    try:
        yield f"{os.fspath(part).replace('%', '%%')}/%d{extension}"
        _move(part, path, extension, pattern)
    finally:
        with interrupts.lock:
            shutil.rmtree(part, ignore_errors=True)
            interrupts.unfinished.discard(os.fspath(part))


def _move(part: Path, path: str, extension: str, pattern: bool) -> None:
    """Rename the pictures of a folder, which are numbered from 1."""
    n_pictures = len(os.listdir(part))
    names = [numbered(path, i) if pattern else path for i in range(1, n_pictures + 1)]
    if folder := next((name for name in names if os.path.isdir(name)), None):
        raise MediaError(f"{folder}: is a directory; give another pattern of names")
    try:
        with interrupts.lock:
            for i, name in enumerate(names, 1):
                (part / f"{i}{extension}").replace(name)
    except OSError as error:
        raise MediaError(f"{path}: pictures cannot get their names ({error.strerror})") from error
