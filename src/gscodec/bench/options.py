"""What a run of `gscodec bench` was asked for: one frozen record, made from the command line."""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from gscodec.config import BACKENDS, GAUSSIAN_ROOMS, PRESETS, PROFILES
from gscodec.errors import ConfigError, MediaError

SUITES = {
    "quick": "speed, size and quality of each clip, beside x264 at the same bytes; a minute",
    "init": "iterations and time to 30 dB by way of starting (Table 1 and 2)",
    "latency": "encode and decode time per frame, start-up, peak memory (Fig. 4)",
    "bits": "bits per pixel against the number of Gaussians (Fig. 5)",
    "visual": "one frame of each clip, side by side (Fig. 6)",
    "rd": "rate-distortion curves and BD-rates against real codecs (Fig. 7)",
    "quantization": "PTQ against QAT, step sizes against quality (Table 3, Fig. 8)",
    "kernels": "time of each part of the codec per frame",
    "scale": "time and quality against picture size and number of Gaussians",
    "all": "every one of them",
}
PROTOCOLS = ("whole", "masked")
MATTES = ("human", "full")  # that a clip is scored over, besides files
BASELINES = PROFILES[1:]  # rivals that are profiles of this codec


@dataclass(frozen=True, slots=True)
class BenchOptions:
    """Settings of a run; None leaves a suite its own default.

    Attributes:
        clips: files and folders; none takes the built-in demo clip.
        size: "640x360" or "360p"; shrinks only, smaller clips keep their size.
        roi: what this codec is told of the person in whole pictures; mode or file.
        matte: what every codec's figures about the person are counted over, whatever `roi` is; mode of MATTES
            or file. None: `clips.scoring_matte`.
        rivals: names of `rivals.RIVALS` and BASELINES. external: CSV files of figures measured elsewhere.
        against: results.json of an earlier run to compare with.
        fresh: forget cached results. repeats: of each timing; its median counts.
        nerv_epochs: of the rival "nerv".
    """

    suite: str
    clips: tuple[Path, ...]
    out: Path
    size: str | None = None
    frames: int | None = None
    gop: int | None = None
    gaussians: int | None = None
    quality: float | None = None
    crf: float | None = None
    preset: str = "medium"
    background: str | None = None
    roi: str = "human"
    matte: str | None = None
    backend: str = "auto"
    threads: int = 0
    protocols: tuple[str, ...] = PROTOCOLS
    rivals: tuple[str, ...] | None = None
    external: tuple[Path, ...] = ()
    against: Path | None = None
    repeats: int = 3
    nerv_epochs: int = 300
    fresh: bool = False
    report: bool = True

    @property
    def n_threads(self) -> int:
        """Threads that this codec may use; rivals always have one (docs/benchmarking.md)."""
        return self.threads or os.cpu_count() or 1


class _Parser(argparse.ArgumentParser):
    """Reports bad arguments as ConfigError, so that the caller prints one line."""

    def error(self, message: str) -> NoReturn:
        raise ConfigError(f"{message} (see gscodec bench --help)")


def parse_options(arguments: Sequence[str]) -> BenchOptions:
    """Make BenchOptions from the command line after `gscodec bench`.

    Raises:
        ConfigError: an unknown suite, rival or option, or a value out of range.
        SystemExit: after printing the help.
    """
    from gscodec.bench.nerv import NERV
    from gscodec.bench.rivals import RIVALS

    given = _parser().parse_intermixed_args(arguments)
    words: list[str] = given.words
    suite = words.pop(0) if words and (words[0] in SUITES or not os.path.exists(words[0])) else "quick"
    _one_of("suite", suite, tuple(SUITES))
    for name, permitted in (("preset", PRESETS), ("backend", BACKENDS)):
        _one_of(name, getattr(given, name), permitted)
    if given.background is not None:
        _one_of("background", given.background, GAUSSIAN_ROOMS)
    for name in ("frames", "gop", "gaussians", "repeats", "nerv_epochs"):
        value = getattr(given, name)
        if value is not None and value < 1:
            raise ConfigError(f"--{name.replace('_', '-')} {value} is out of range; permitted: 1 or more")
    if given.size is not None:
        _checked_size(given.size)
    clips = tuple(Path(word) for word in [*words, *given.dataset])
    if given.matte is not None:
        _check_matte(given.matte, clips)
    protocols = _names("protocol", given.protocol, PROTOCOLS) or PROTOCOLS
    if given.against and not given.against.is_file():
        raise ConfigError(f"--against {given.against}: no such file; expected an earlier run's results.json")
    for file in given.external:
        if not file.is_file():
            raise ConfigError(f"--external {file}: no such file; expected a CSV (docs/benchmarking.md)")
    return BenchOptions(
        suite=suite,
        clips=clips,
        out=given.out,
        size=given.size,
        frames=given.frames,
        gop=given.gop,
        gaussians=given.gaussians,
        quality=given.quality,
        crf=given.crf,
        preset=given.preset,
        background=given.background,
        roi=given.roi,
        matte=given.matte,
        backend=given.backend,
        threads=given.threads,
        protocols=protocols,
        rivals=_names("rivals", given.rivals, (*RIVALS, *BASELINES, NERV)),
        external=tuple(given.external),
        against=given.against,
        repeats=given.repeats,
        nerv_epochs=given.nerv_epochs,
        fresh=given.fresh,
        report=not given.no_report,
    )


def _parser() -> argparse.ArgumentParser:
    suites = "\n".join(f"  {name:<13} {text}" for name, text in SUITES.items())
    parser = _Parser(
        prog="gscodec bench",
        usage="gscodec bench [SUITE] [CLIP or DIR ...] [OPTIONS]",
        description=f"Measure speed, size and quality on real files, beside other codecs.\n\n{suites}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("words", nargs="*", metavar="SUITE CLIP", help="the suite [quick] and clips [the built-in demo clip]")
    add("--dataset", type=Path, action="append", default=[], metavar="DIR", help="every video below DIR")
    add("--size", metavar="WxH|Hp", help="shrink to 640x360 or 360p; smaller clips keep their size")
    add("--frames", type=int, metavar="N", help="frames of each clip")
    add("--gop", type=int, metavar="N", help="frames from one I-frame to the next, for every codec")
    add("--gaussians", type=int, metavar="N", help="Gaussians of an I-frame")
    add("--quality", type=float, metavar="FACTOR", help="on every quantiser step")
    add("--crf", type=float, metavar="N", help="quality in one number; --gaussians and --quality win")
    add("--preset", default="medium", metavar="NAME", help=f"{', '.join(PRESETS)} [medium]")
    add("--background", metavar="MODE", help=f"the room: {', '.join(GAUSSIAN_ROOMS)}")
    add(
        "--roi", default="human", metavar="MODE", help="this codec's, in whole pictures: as of gscodec encode"
    )
    add("--matte", metavar="FILE", help="that every codec is scored over: a FILE, human or full [human]")
    add("--backend", default="auto", metavar="NAME", help=f"{', '.join(BACKENDS)} [auto]")
    add("--threads", type=int, default=0, metavar="N", help="for this codec; 0 is one per core")
    add("--protocol", metavar="NAMES", help=f"{', '.join(PROTOCOLS)}; several with commas [suite's own]")
    add("--rivals", metavar="NAMES", help="other codecs, with commas [suite's own]")
    add("--external", type=Path, action="append", default=[], metavar="CSV", help="figures of others")
    add("--against", type=Path, metavar="JSON", help="say what moved since that results.json")
    add("--repeats", type=int, default=3, metavar="N", help="of each timing; the median counts [3]")
    add("--nerv-epochs", type=int, default=300, metavar="N", help="training of the rival nerv [300]")
    add("--fresh", action="store_true", help="measure again what is cached in --out")
    add("--no-report", action="store_true", help="leave out report.html and the figures")
    add("--out", type=Path, default=Path("bench-out"), metavar="DIR", help="[bench-out]")
    return parser


def _checked_size(size: str) -> None:
    from gscodec.video.picture import output_size

    try:
        output_size(size, 2, 2)
    except MediaError as error:
        raise ConfigError(f"--{error}") from error


def _check_matte(matte: str, clips: Sequence[Path]) -> None:
    if matte in MATTES:
        return
    if not os.path.isfile(matte):
        raise ConfigError(
            f"--matte {matte!r} is neither a file nor a mode; expected an image or a video that is white on "
            f"the person, or {' or '.join(MATTES)}"
        )
    if len(clips) > 1 or any(path.is_dir() for path in clips):
        raise ConfigError("--matte FILE is of one clip, and there may be several; run them one at a time")


def _names(option: str, value: str | None, permitted: tuple[str, ...]) -> tuple[str, ...] | None:
    if value is None:
        return None
    names = tuple(name for name in value.split(",") if name)
    for name in names:
        _one_of(option, name, permitted)
    return names


def _one_of(option: str, value: str, permitted: tuple[str, ...]) -> None:
    if value not in permitted:
        what = option if option == "suite" else f"--{option}"
        raise ConfigError(f"{what} {value!r} is unknown; permitted: {', '.join(permitted)}")
