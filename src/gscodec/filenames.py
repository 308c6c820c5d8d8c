"""Names of files: `-` is a standard stream, frames/%05d.png are pictures, no target destroys its source."""

from __future__ import annotations

import os
import re
import sys

from gscodec.errors import ConfigError, GscodecError, MediaError

STANDARD = "-"
PICTURES = (".png", ".jpg", ".jpeg", ".webp")
FOREIGN = (
    *(".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".ts", ".y4m", ".flv", ".gif", ".mpg", ".wmv"),
    *(".yuv", ".rgb", *PICTURES),
)
_NUMBER = re.compile(r"%%|%(0?\d{0,3})d")


def is_picture(name: str) -> bool:
    """Whether a name is a picture's, or a pattern of pictures' names."""
    return name.lower().endswith(PICTURES)


def is_pattern(name: str) -> bool:
    """Whether a name is that of numbered pictures: frames/%05d.png. Only the last part may have the number.

    Raises:
        MediaError: it is a picture's name with a % that means nothing.
    """
    last = os.path.basename(name)
    if not is_picture(name) or "%" not in last:
        return False
    n_numbers = sum(found[0] != "%%" for found in _NUMBER.finditer(last))
    if n_numbers != 1 or "%" in _NUMBER.sub("", last):
        raise MediaError(f"{name}: expected one number such as %05d in the name, and %% for a percent sign")
    return True


def numbered(pattern: str, number: int) -> str:
    """The name of one picture of a pattern, as FFmpeg makes it: %05d is 00001, %d is 1."""
    folder, last = os.path.split(pattern)
    made = _NUMBER.sub(lambda found: "%" if found[0] == "%%" else f"%{found[1]}d" % number, last)
    return os.path.join(folder, made)


def source_path(name: str) -> str:
    """The path to read.

    Raises:
        GscodecError: it is standard input, which is closed: its number may be another file's.
    """
    if name != STANDARD:
        return name
    if sys.__stdin__ is None:
        raise GscodecError("-: standard input is closed; give the name of a file to read")
    return "/dev/stdin"


def check_gsv_name(name: str) -> None:
    """Refuse a name to write a .gsv to which says that it is another kind of video.

    Raises:
        ConfigError: it does; nothing could then play the file.
    """
    if name.lower().endswith(FOREIGN):
        raise ConfigError(f"{name}: what is encoded is a .gsv; give the target a name that ends so")


def check_stdout() -> None:
    """Refuse to find out what nobody could then be told.

    Raises:
        GscodecError: standard output is closed.
    """
    if sys.__stdout__ is None:
        raise GscodecError("standard output is closed; open it, or send it to /dev/null")


def check_target(source: str, target: str, overwrite: bool, as_json: bool) -> None:
    """Refuse, before any work, a target that would destroy something.

    Raises:
        GscodecError: it is the source, or exists and may not be overwritten, or is closed.
        ConfigError: it is standard output, where the summary shall go too.
    """
    if target == STANDARD:
        if as_json:
            raise ConfigError("--json and the target '-' both want standard output; give the target a name")
        if sys.__stdout__ is None:
            raise GscodecError("-: standard output is closed; give the target a name")
        if os.path.isfile(source) and os.path.samestat(os.stat(source), os.fstat(1)):
            raise GscodecError(f"{source}: is where standard output goes too; give the target a name")
        return
    if is_pattern(target):
        target = numbered(target, 1)
    if os.path.exists(target) and os.path.exists(source) and os.path.samefile(source, target):
        raise GscodecError(f"{target}: source and target are the same file; give another name")
    if os.path.isfile(target) and not overwrite:
        raise GscodecError(f"{target}: exists already; -y overwrites it")


def check_decode_names(target: str, background: str, matte: str | None, overwrite: bool) -> None:
    """Refuse, before any work, names of `decode` that would destroy a background or each other.

    Args:
        background: what `--background` says, perhaps a file. matte: where mattes go.
    Raises:
        GscodecError: a file is read and written, or exists and may not be overwritten.
        ConfigError: mattes have no file of their own.
    """
    if matte == STANDARD:
        raise ConfigError("--matte-out '-': mattes go to a file; give its name, such as matte.mkv")
    if matte is not None and os.path.realpath(matte) == os.path.realpath(target):
        raise ConfigError(f"--matte-out {matte}: is the target too; give another name")
    for name in (target, matte):
        if name not in (None, STANDARD):
            first = numbered(name, 1) if is_pattern(name) else name
            if os.path.exists(first) and os.path.exists(background) and os.path.samefile(first, background):
                raise GscodecError(f"{first}: is the background too; give another name to write to")
    if matte is not None:
        check_target(background, matte, overwrite, as_json=False)
