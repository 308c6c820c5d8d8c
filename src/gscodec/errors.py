"""Every error gscodec raises on purpose.

    GscodecError(Exception)
    ├─ ConfigError(…, ValueError)        a setting: field, value, permitted range         CLI exit 2
    ├─ MediaError                        a video, sound or matte file cannot be read or written
    ├─ BitstreamError(…, ValueError)     .gsv bytes: carries offset, and frame index if known
    │  ├─ TruncatedError                 fewer bytes than a length promised
    │  ├─ CorruptError                   magic, CRC, field range, entropy decoder
    │  ├─ UnsupportedError               newer version or unknown required feature
    │  └─ LimitError                     valid, but past DecoderLimits (pixels, Gaussians, packet bytes)
    ├─ BackendError(…, RuntimeError)     a backend or optional package is missing; says what to run
    └─ FitError(…, RuntimeError)         the optimiser diverged: frame, iteration         all others exit 1

A message states what was found, what was expected, and what to do.
"""

from __future__ import annotations


class GscodecError(Exception):
    """Base of every error that gscodec raises on purpose."""

    exit_code = 1


class ConfigError(GscodecError, ValueError):
    """A setting is outside what is permitted."""

    exit_code = 2


class MediaError(GscodecError):
    """A media file cannot be read or written."""


class BitstreamError(GscodecError, ValueError):
    """The bytes of a .gsv file are not what docs/bitstream.md permits."""

    def __init__(self, message: str, *, offset: int | None = None, frame: int | None = None):
        where = [f"byte {offset}"] if offset is not None else []
        where += [f"frame {frame}"] if frame is not None else []
        super().__init__(f"{message} (at {', '.join(where)})" if where else message)
        self.offset = offset
        self.frame = frame


class TruncatedError(BitstreamError):
    """Fewer bytes are left than a length promised."""


class CorruptError(BitstreamError):
    """A magic number, check sum, field or payload is wrong."""


class UnsupportedError(BitstreamError):
    """The file needs a newer version or a feature this build does not know."""


class LimitError(BitstreamError):
    """The file is valid but larger than DecoderLimits permits."""


class BackendError(GscodecError, RuntimeError):
    """A rasteriser backend or optional package is not usable on this machine."""


class FitError(GscodecError, RuntimeError):
    """The optimiser diverged."""


def install_extra(extra: str) -> str:
    """What installs an optional package of gscodec, which is on no index yet: its checkout has to do."""
    return f"run pip install '.[{extra}]' in a checkout of gscodec"


def printable(text: str) -> str:
    """`text` as a terminal may get it: what is no character to look at becomes an escape such as \\x1b.

    Names of files and tags may hold anything, also what moves the cursor, colours the window or turns the
    direction of writing. Line ends stay.
    """
    return "".join(c if c.isprintable() or c == "\n" else _escape(c) for c in text)


def _escape(c: str) -> str:
    number = ord(c)
    return (
        f"\\x{number:02x}"
        if number < 0x100
        else f"\\u{number:04x}"
        if number < 0x10000
        else f"\\U{number:08x}"
    )


def describe(error: Exception, source: str, target: str) -> str:
    """One line about any error of a run from `source` to `target`, for the person who started it."""
    if isinstance(error, BitstreamError):  # made where names of files are not known
        return f"{source}: {error}"
    if isinstance(error, GscodecError):
        return str(error)
    if isinstance(error, OSError):
        return f"{error.filename or target}: {error.strerror or error}"
    if isinstance(error, MemoryError):
        return f"{source}: out of memory"
    return f"{source}: internal error, {type(error).__name__}: {error}; please report it, with -v -v"
