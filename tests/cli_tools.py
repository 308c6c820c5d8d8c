"""The command line in tests: run it in this process or another, and what an error must look like."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
from click.testing import CliRunner, Result
from video_clips import write_clip

from gscodec.cli import cli

# Options that make encoding take milliseconds.
_SMALL = "--gaussians 20 --iterations 3 --p-iterations 2 --threads 1 --roi full"
QUICK = tuple(_SMALL.split())


def run(*args: object) -> Result:
    """Run `gscodec args` in this process."""
    result = CliRunner().invoke(cli, [str(a) for a in args])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def encoded(clip: Path, *args: object) -> bytes:
    """The .gsv that `gscodec encode` makes of a clip, in a moment."""
    path = clip.with_suffix(".gsv")
    succeed("encode", "-y", clip, path, *args, *QUICK)
    return path.read_bytes()


def start(*args: object, **settings: object) -> subprocess.Popen[str]:
    """Start `gscodec args` as a process of its own, as from a terminal.

    A shell starts background jobs with SIGINT ignored and nohup all with SIGHUP, and children inherit that; a
    terminal's do not.
    """
    command = [sys.executable, "-m", "gscodec", *map(str, args)]
    pipe = subprocess.PIPE
    settings = {"stdout": pipe, "stderr": pipe, "text": True, **settings}
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    hangup = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    try:
        return subprocess.Popen(command, **settings)  # type: ignore[call-overload]
    finally:
        signal.signal(signal.SIGINT, before)
        signal.signal(signal.SIGHUP, hangup)


def succeed(*args: object) -> Result:
    """Run `gscodec args`, which must succeed."""
    result = run(*args)
    assert result.exit_code == 0, result.stderr
    return result


def fail(*args: object, code: int = 1, folder: Path | None = None) -> str:
    """Run `gscodec args`, which must end in one clear line and leave `folder` as it is; return the line."""
    before = contents(folder)
    result = run(*args)
    check_error(result.exit_code, result.stdout, result.stderr, code)
    assert contents(folder) == before
    return result.stderr.strip()


def check_error(exit_code: int, stdout: str, stderr: str, code: int) -> None:
    assert exit_code == code, stderr
    assert stdout == ""
    assert stderr.startswith("gscodec: error: ")
    assert stderr.count("\n") == 1, stderr
    assert stderr.endswith("\n")
    assert "internal error" not in stderr
    assert "Traceback" not in stderr


def contents(folder: Path | None) -> dict[str, bytes | None]:
    """Every file in a folder with its bytes."""
    if folder is None:
        return {}
    return {p.name: p.read_bytes() if p.is_file() else None for p in sorted(folder.iterdir())}


def disc_frames(n_frames: int, width: int = 48, height: int = 32) -> list[np.ndarray]:
    """Frames uint8 [H, W, 3]: a soft disc that moves over a ramp."""
    y, x = np.mgrid[:height, :width] + 0.5
    frames = []
    for n in range(n_frames):
        far = np.hypot(x - width * (0.3 + 0.02 * n), y - height / 2) / (0.3 * min(width, height))
        disc = np.clip(1.5 - far, 0, 1)[..., None]
        ramp = np.stack((120 + 0 * x, 90 + 60 * x / width, 60 + 80 * y / height), -1)
        frames.append((ramp + disc * ([230, 170, 120] - ramp)).astype(np.uint8))
    return frames


def make_clip(path: Path, n_frames: int = 6, **settings: object) -> Path:
    """Write a tiny clip."""
    return write_clip(path, disc_frames(n_frames), **settings)  # type: ignore[arg-type]
