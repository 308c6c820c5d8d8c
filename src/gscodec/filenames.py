"""Names of files on the command line: `-` is a standard stream, and no target destroys its source."""

from __future__ import annotations

import os

from gscodec.errors import ConfigError, GscodecError

STANDARD = "-"


def source_path(name: str) -> str:
    """The path to read."""
    return "/dev/stdin" if name == STANDARD else name


def target_path(name: str) -> str:
    """The path to write."""
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
