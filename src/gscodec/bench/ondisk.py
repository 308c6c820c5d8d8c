"""Pictures of a whole clip on disk instead of in memory, and what is said when the disk is full."""

from __future__ import annotations

import errno
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from gscodec.errors import GscodecError, MediaError

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def on_disk(images: Iterable[np.ndarray], folder: Path | None) -> np.ndarray:
    """All images as one array that the system pages in and out, [n, *shape], read-only.

    The file has no name (where the system can do that), so nothing of it is left, whatever happens.

    Args:
        images: of one shape and dtype. folder: where there is room; None: the system's.
    Raises:
        MediaError: there is none. OSError: there is no room.
    """
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
    first, n = None, 0
    with tempfile.TemporaryFile(dir=folder) as file:
        for image in images:
            first = image if first is None else first
            file.write(np.ascontiguousarray(image).data)
            n += 1
        file.flush()
        if first is None:
            raise MediaError("there is not a single picture to keep")
        return np.asarray(np.memmap(file, first.dtype, "r", shape=(n, *first.shape)))


def is_full(error: BaseException | None) -> bool:
    """Whether an error, or one that it was made from, is a disk that is full."""
    while error is not None:
        if getattr(error, "errno", None) in FULL:
            return True
        error = error.__cause__
    return False


@contextmanager
def full_disk_said(folder: Path) -> Iterator[None]:
    """Make one clear error of a disk that is full.

    Raises:
        MediaError: it is.
    """
    try:
        yield
    except (OSError, GscodecError) as error:
        if not is_full(error):
            raise
        raise MediaError(
            f"no space is left for {folder}; free some, or take another disk with --out; "
            "rows that are finished are kept, and the same command goes on"
        ) from error
