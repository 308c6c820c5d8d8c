"""Names of files on the command line: `-` is a standard stream, and no target destroys its source."""

from __future__ import annotations

import os

from gscodec.errors import ConfigError, GscodecError

STANDARD = "-"
FOREIGN = (".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".ts", ".y4m", ".flv", ".gif", ".mpg", ".wmv")


def source_path(name: str) -> str:
    """The path to read."""
    return "/dev/stdin" if name == STANDARD else name


def gsv_path(name: str) -> str:
    """The path to write a .gsv to.

    Raises:
        ConfigError: its name says that it is another kind of video, which nothing could then play.
    """
    if name.lower().endswith(FOREIGN):
        raise ConfigError(f"{name}: what is encoded is a .gsv; give the target a name that ends so")
    return "/dev/stdout" if name == STANDARD else name


def check_target(source: str, target: str, overwrite: bool, as_json: bool) -> None:
    """Refuse, before any work, a target that would destroy something.

    Raises:
        GscodecError: it is the source, or exists and may not be overwritten.
        ConfigError: it is standard output, where the summary shall go too.
    """
    if target == STANDARD:
        if as_json:
            raise ConfigError("--json and the target '-' both want standard output; give the target a name")
        return
    if os.path.exists(target) and os.path.exists(source) and os.path.samefile(source, target):
        raise GscodecError(f"{target}: source and target are the same file; give another name")
    if os.path.isfile(target) and not overwrite:
        raise GscodecError(f"{target}: exists already; -y overwrites it")
