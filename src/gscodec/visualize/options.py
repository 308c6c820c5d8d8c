"""What a run of `gscodec visualize` was asked for: one frozen record, made from the command line."""

from __future__ import annotations

import argparse
import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NoReturn

from gscodec.config import PRESETS, EncoderConfig, encoder_config
from gscodec.decode.backgrounds import parse_background
from gscodec.errors import ConfigError, MediaError
from gscodec.filenames import check_target

PICTURES = (".png", ".jpg", ".jpeg")
VIDEOS = (".mp4", ".mkv", ".mov", ".webm")
NAMES = {
    "source": "the clip itself",
    "picture": "what a decoder shows",
    "ellipses": "the Gaussians' outlines at one standard deviation, the person's and the room's",
    "superpixels": "what the fit of the I-frame begins with",
    "roi": "the region of interest",
    "changed": "which Gaussians this frame updated, moved, added, removed",
    "bits": "where this frame's bits went",
    "alpha": "the person's alpha",
    "person": "the person alone",
}
USUAL_FRAMES = 3
MAX_FRAMES = 32
USUAL_DURATION_S = 5.0
MIN_PANEL, MAX_PANEL = 120, 1920
CHECKERBOARD = "checkerboard"


@dataclass(frozen=True, slots=True)
class Options:
    """Settings of a run.

    Attributes:
        what: names of NAMES, in that order shown; None: the usual ones that this source permits.
        frames: how many are drawn on a sheet. at: seconds at which those are, instead.
        source: the clip that a .gsv was made of.
        size, start_s, duration_s, config: how a clip is encoded.
        panel: longer side of a panel, pixels.
        background: CHECKERBOARD, or a colour or a file's name, as of `gscodec decode`.
    """

    given: str
    target: str
    what: tuple[str, ...] | None
    frames: int
    at: tuple[float, ...]
    source: str | None
    size: str | None
    start_s: float | None
    duration_s: float | None
    config: EncoderConfig
    panel: int
    background: str
    quiet: bool

    @property
    def is_video(self) -> bool:
        """Whether the target shows every frame."""
        return self.target.lower().endswith(VIDEOS)


class _Parser(argparse.ArgumentParser):
    """Reports bad arguments as ConfigError, so that the caller prints one line."""

    def error(self, message: str) -> NoReturn:
        raise ConfigError(f"{message} (see gscodec visualize --help)")


def parse_options(arguments: Sequence[str]) -> Options:
    """Make Options from the command line after `gscodec visualize`.

    Raises:
        ConfigError: an unknown view or option, or a value out of range. GscodecError: the target may not be
            written. SystemExit: after printing the help.
    """
    given = _parser().parse_intermixed_args(arguments)
    if not 1 <= len(given.words) <= 2:
        raise ConfigError(f"expected CLIP or FILE.gsv, and OUT, got {' '.join(given.words) or 'nothing'}")
    source = given.words[0]
    stem = os.path.splitext(os.path.basename(source))[0]
    target = given.words[1] if len(given.words) == 2 else f"{stem}.png"
    is_video = target.lower().endswith(VIDEOS)
    if not is_video and not target.lower().endswith(PICTURES):
        permitted = ", ".join((*PICTURES, *VIDEOS))
        raise ConfigError(f"{target}: what is drawn is a picture or a video; permitted: {permitted}")
    if is_video and (given.frames or given.at):
        raise ConfigError("--frames and --at choose frames of a picture; a video shows all of them")
    if given.frames and given.at:
        raise ConfigError("--frames and --at exclude each other; give one of them")
    if given.frames is not None:
        _within("frames", given.frames, 1, MAX_FRAMES)
    _within("panel", given.panel, MIN_PANEL, MAX_PANEL)
    if given.start is not None:
        _within("start", given.start, 0, 1e9)
    if given.duration is not None:
        _within("duration", given.duration, 1e-3, 1e9)
    if given.background != CHECKERBOARD and parse_background(given.background).kind not in ("color", "file"):
        raise ConfigError(
            f"--background {given.background!r} shows no person alone; permitted: {CHECKERBOARD}, a colour, "
            "or the name of a picture or a video"
        )
    overrides = {"crf": given.crf, "roi": given.roi}
    config = encoder_config(given.preset, **{k: v for k, v in overrides.items() if v is not None})
    check_target(source, target, given.overwrite, False)
    if not os.path.isdir(os.path.dirname(target) or "."):  # before a clip is encoded for it
        raise MediaError(f"{target}: cannot be created; give a folder that exists and is writable")
    return Options(
        given=source,
        target=target,
        what=_views(given.what),
        frames=given.frames or USUAL_FRAMES,
        at=_seconds(given.at),
        source=given.source,
        size=given.size,
        start_s=given.start,
        duration_s=given.duration,
        config=config,
        panel=given.panel,
        background=given.background,
        quiet=given.quiet,
    )


def _parser() -> argparse.ArgumentParser:
    views = "\n".join(f"  {name:<12} {text}" for name, text in NAMES.items())
    parser = _Parser(
        prog="gscodec visualize",
        usage="gscodec visualize CLIP|FILE.gsv [OUT.png|OUT.mp4] [OPTIONS]",
        description="Draw what is inside a video of Gaussians: some frames as a picture, or all as a video.\n"
        f"A CLIP is encoded first.\n\n{views}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("words", nargs="*", metavar="CLIP OUT", help="OUT: [CLIP's name.png]")
    add("--what", metavar="NAMES", help="which of these, with commas, in that order [most of them]")
    add("--frames", type=int, metavar="N", help=f"of a picture, evenly over the video [{USUAL_FRAMES}]")
    add("--at", metavar="SECONDS", help="of a picture: the frames at these times, with commas")
    add("--source", metavar="CLIP", help="of a FILE.gsv: what it was made of, for source, superpixels, roi")
    add("--background", default=CHECKERBOARD, metavar="NAME", help="of person: a colour, or a picture's FILE")
    add("--panel", type=int, default=560, metavar="PIXELS", help="longer side of each part [560]")
    add("--preset", default="fast", metavar="NAME", help=f"of a CLIP: {', '.join(PRESETS)} [fast]")
    add("--crf", type=float, metavar="N", help="of a CLIP: quality, lower is better [26]")
    add("--roi", metavar="MODE", help="what finds the person, as for encode [auto]")
    add("--size", metavar="WxH|Hp", help="of a CLIP: scale to 640x360 or 360p first")
    add("--start", type=float, metavar="SECONDS", help="of a CLIP or --source: begin there")
    add("--duration", type=float, metavar="SECONDS", help=f"of a CLIP: stop after it [{USUAL_DURATION_S:g}]")
    add("-y", "--overwrite", action="store_true", help="replace an existing OUT")
    add("-q", "--quiet", action="store_true", help="print errors only")
    return parser


def _views(value: str | None) -> tuple[str, ...] | None:
    if value is None:
        return None
    names = tuple(dict.fromkeys(name for name in value.split(",") if name))
    for name in names or (value,):
        if name not in NAMES:
            raise ConfigError(f"--what {name!r} is unknown; permitted: {', '.join(NAMES)}")
    return names


def _seconds(value: str | None) -> tuple[float, ...]:
    if value is None:
        return ()
    try:
        times = tuple(float(part) for part in value.split(","))
    except ValueError:
        times = (math.nan,)
    if not all(0 <= t < math.inf for t in times) or len(times) > MAX_FRAMES:
        permitted = f"up to {MAX_FRAMES} times in seconds such as 0.5,2"
        raise ConfigError(f"--at {value!r} is no list of times; permitted: {permitted}")
    return times


def _within(name: str, value: float, low: float, high: float) -> None:
    if not low <= value <= high:  # also catches NaN
        raise ConfigError(f"--{name} {value:.12g} is out of range; permitted: {low:.12g} to {high:.12g}")
