"""Where a finished file goes: under its name in one step, or to a descriptor that is open already."""

from __future__ import annotations

import errno
import os
import re
import secrets
import stat
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from gscodec import interrupts
from gscodec.errors import MediaError

_NAMED = {"-": 1, "/dev/stdout": 1, "/dev/stderr": 2}
_STEM_CHARACTERS = 40  # of the name in the part file's; a name of 255 bytes has no room for more
_NOT_THERE = (errno.EINVAL, errno.ENOTSUP, errno.ENOSYS)  # file systems without fsync


@contextmanager
def atomic_path(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield an empty file `.STEM.RANDOM.part.EXT` beside `path`; rename it on success, else delete it.

    The extension stays last so that writers which look at it (FFmpeg's muxers) choose the same format. An
    existing file under `path` is replaced in one step, by one with its permissions; a symbolic link keeps
    pointing at its target, which is replaced. What is neither a file nor free (a pipe, /dev/full) is yielded
    itself: renaming would destroy it. Descriptors (`-`, /dev/stdout) are `open_descriptor`'s.

    The name cannot be guessed and nothing that exists is opened: in a folder that others may write to, a
    link planted under a known name would lead the writing to any file of the user's.

    Raises:
        MediaError: `path` is a directory, or nothing can be created beside it.
    """
    given = Path(path)
    if given.is_dir():
        raise MediaError(f"{path}: is a directory; give the name of a file to write")
    if given.exists() and not given.is_file():
        yield given
        return
    final = Path(os.path.realpath(path))
    try:
        mode = stat.S_IMODE(final.stat().st_mode) & 0o777
    except OSError:
        mode = None  # a new file: as the umask says
    part = final.with_name(f".{final.stem[:_STEM_CHARACTERS]}.{secrets.token_hex(8)}.part{final.suffix}")
    flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        with interrupts.lock:
            # Nobody may read an unfinished file who may not read the finished one.
            handle = os.open(part, flags, 0o666 if mode is None else 0o600)
            interrupts.unfinished.add(os.fspath(part))
    except OSError as error:
        raise MediaError(
            f"{path}: cannot be created ({error.strerror}); give a folder that exists and is writable"
        ) from error
    try:
        try:
            yield part
            _settle(handle, mode)
        finally:
            os.close(handle)
        try:
            with interrupts.lock:
                part.replace(final)
                interrupts.unfinished.discard(os.fspath(part))
        except OSError as error:
            raise MediaError(f"{path}: cannot be replaced by the finished file ({error.strerror})") from error
    except BaseException:
        with interrupts.lock:
            with suppress(OSError):
                part.unlink()
            interrupts.unfinished.discard(os.fspath(part))
        raise
    _keep_name(final.parent)


def descriptor_of(path: str | os.PathLike[str]) -> int | None:
    """The number of the open file that `path` is another word for, such as `-` or /dev/fd/3; else None.

    The file behind such a name must not be replaced: it may hold something already (`>> all.bin`), and
    whoever opened it goes on writing to it.
    """
    name = os.fspath(path)
    match = re.fullmatch(r"/(?:dev|proc/self)/fd/(\d+)", name)
    return int(match[1]) if match else _NAMED.get(name)


@contextmanager
def open_descriptor(number: int, name: str) -> Iterator[BinaryIO]:
    """Yield an open file to write to, which stays open.

    Raises:
        MediaError: it is closed, or was when the process began: its number may be another file's by now.
    """
    began = {1: sys.__stdout__, 2: sys.__stderr__}.get(number, sys)
    try:
        if began is None:
            raise OSError(errno.EBADF, "")
        os.fstat(number)
    except OSError as error:
        what = "standard output" if number == 1 else f"descriptor {number}"
        raise MediaError(f"{name}: {what} is closed; give the name of a file to write") from error
    file = open(number, "wb", closefd=False)  # noqa: SIM115
    try:
        yield file
        if not file.closed:
            file.flush()
    finally:
        with suppress(OSError):  # what could not be written was said already
            file.close()


def _settle(handle: int, mode: int | None) -> None:
    """Give the file its permissions, and have it on the disk before its name says that it is whole."""
    if mode is not None:
        os.fchmod(handle, mode)
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno not in _NOT_THERE:
            raise


def _keep_name(folder: Path) -> None:
    """Have the new name on the disk too. The old one would be whole as well, so that failing is no error."""
    with suppress(OSError):
        handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
