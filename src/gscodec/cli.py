"""The command `gscodec encode | decode | info | bench`: parse, call, translate errors; no logic.

Whatever loads slowly (numpy, PyAV, OpenCV) is imported inside the commands: `gscodec --help` takes a tenth
of a second. Every error becomes one line on stderr and the exit code its class names: 2 for a setting, 1 for
the rest, 128 and the signal's number when interrupted by Ctrl-C, SIGTERM or a terminal that closes.
"""

from __future__ import annotations

import functools
import json
import os
import re
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields
from typing import Any, NoReturn

import click

from gscodec import __version__, config, interrupts, progress
from gscodec.errors import BackendError, ConfigError, describe, printable
from gscodec.filenames import check_gsv_name, check_stdout, check_target, source_path

_MAX_SIDE = 65535  # of a picture in a .gsv
_COLORS = {
    "black": (0, 0, 0),
    "white": (255, 255, 255),
    "gray": (128, 128, 128),
    "red": (255, 0, 0),
    "green": (0, 255, 0),
    "blue": (0, 0, 255),
}
_BACKEND_HELP = f"Rasteriser: {', '.join(config.BACKENDS)}."
_THREADS_HELP = "CPU threads; 0 is one per core."

# Field of EncoderConfig -> what its value is called, and help. Types come from the field; ranges and
# permitted names are checked by `config` alone.
_ENCODER_HELP = {
    "roi": ("MODE", f"What matters: {', '.join(config.ROI_MODES)} or a matte's FILE."),
    "matte_model": ("FILE", "Matting model: ONNX, or u2net_human_seg (rembg)."),
    "matte_every": ("N", "Frames that one matte may serve while nothing moves."),
    "blend": ("MODE", f"How colours are blended: {' or '.join(config.BLENDS)}; default the best that goes."),
    "background": ("MODE", f"The room: {', '.join(config.BACKGROUND_MODES)}."),
    "background_share": ("SHARE", "Share of the Gaussians for the room."),
    "background_weight": ("WEIGHT", "Weight of a room pixel; the ROI has 1."),
    "crf": ("N", "Quality in one number, 26 if nothing else says: lower is better and larger."),
    "separate_room": ("", "With --blend sum: whether the person can be drawn without the room."),
    "gaussians": ("N", "Gaussians of an I-frame; default from --crf."),
    "gop_length": ("N", "Frames from one I-frame to the next, the I-frame counted."),
    "scene_cut": ("", "Whether a cut starts a GOP early."),
    "open_gop": ("", "Whether a GOP may go on past --gop, up to five times it, while it holds its quality."),
    "change_threshold": ("VALUE", "Difference that marks a changed pixel."),
    "init": ("MODE", f"Where Gaussians start: {', '.join(config.INIT_MODES)}."),
    "detail": ("SHARE", "Superpixels of 0: equal area, 1: equal detail."),
    "iterations": ("N", "Most steps to fit an I-frame."),
    "noise_iterations": ("N", "Then steps with the noise of rounding, with --blend normalised."),
    "p_iterations": ("N", "Most steps to fit a P-frame, with --update refit."),
    "plateau": ("SHARE", "End a fit when ten steps gain less than this share."),
    "target_psnr": ("DB", "ROI-PSNR to reach, instead of --crf."),
    "bitrate": ("KBIT", "Size to reach in kb/s, instead of --crf."),
    "deadline_ms": ("MS", "Time for each frame; one at a time."),
    "backend": ("NAME", _BACKEND_HELP),
    "threads": ("N", _THREADS_HELP),
    "devices": ("N,N", "GPUs to use; default all."),
    "profile": ("NAME", f"Codec and quantisers: {', '.join(config.PROFILES)}."),
    "quantization": ("MODE", f"Steps of the other profiles: {', '.join(config.QUANTIZATIONS)}."),
    "quality": ("FACTOR", "On every quantiser step; default from --crf."),
    "update": ("MODE", f"How P-frames change: {', '.join(config.UPDATE_MODES)}."),
    "hold": ("N", "Code values by which a decoder lets the last frame stand."),
    "stability": ("WEIGHT", "Of standing still where the source does."),
    "motion": ("", "Whether P-frames first move what moved."),
    "motion_pixels": ("N", "That a step of the search for motion looks at; fewer are faster."),
    "b_frames": ("", "Whether frames may be the mean of those around them, which costs nothing."),
    "births": ("", "Whether P-frames add Gaussians where something appears, and drop those that went dark."),
    "polish_passes": ("N", "Most greedy passes over an I-frame's symbols."),
    "update_passes": ("N", "Most greedy passes over a P-frame's symbols."),
    "lambda_scale": ("FACTOR", "On what a bit must buy: larger is smaller files."),
    "entropy": ("NAME", f"Entropy coder: {', '.join(config.ENTROPY_CODERS)}."),
    "seed": ("N", "Of --init random."),
}
_OPTION_NAMES = {"gop_length": "--gop", "deadline_ms": "--deadline"}  # where it is not the field's
_TYPES = {"str": str, "int": int, "float": float}


@dataclass(frozen=True, slots=True)
class Run:
    """What encode and decode are given alike."""

    source: str
    target: str
    quiet: bool
    verbose: bool
    as_json: bool
    display: progress.Progress


class _Color(click.ParamType):
    name = "color"

    def convert(self, value: str, param: Any, ctx: Any) -> tuple[int, int, int]:
        if value.lower() in _COLORS:
            return _COLORS[value.lower()]
        if len(value) == 7 and value[0] == "#" and all(c in "0123456789abcdefABCDEF" for c in value[1:]):
            red, green, blue = bytes.fromhex(value[1:])
            return red, green, blue
        permitted = f"#rrggbb or {', '.join(_COLORS)}"
        raise click.BadParameter(f"{value!r} is no colour; permitted: {permitted}", ctx, param)


class _Failure(click.ClickException):
    """An error of gscodec or of the system, as click's."""

    def __init__(self, message: str, exit_code: int):
        super().__init__(message)
        self.exit_code = exit_code  # type: ignore[misc]


class _Group(click.Group):
    """A group that ends in one line on stderr, where click would print usage and hints on several."""

    def main(self, *args: Any, **extra: Any) -> NoReturn:  # type: ignore[override]
        try:
            code = super().main(*args, **{**extra, "standalone_mode": False})
        except click.ClickException as error:
            sys.exit(_fail(error.format_message() + _hint(error), error.exit_code))
        except click.Abort:  # what click makes of Ctrl-C where `interrupts` is not installed
            sys.exit(_fail("interrupted", 128 + signal.SIGINT))
        except OSError as error:  # `gscodec info … | head` ends silently, `… > /dev/full` does not
            if sys.stdout is not None:
                os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            quiet = isinstance(error, BrokenPipeError)
            sys.exit(1 if quiet else _fail(f"standard output: {error.strerror or error}", 1))
        sys.exit(code if isinstance(code, int) else 0)


def main() -> NoReturn:
    """Run the command; `__main__` has it from the entry point."""
    interrupts.install()
    try:
        cli.main(prog_name="gscodec")
    finally:
        interrupts.too_late()


@click.group(
    cls=_Group,
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(__version__, prog_name="gscodec", message="%(prog)s %(version)s")
@click.pass_context
def cli(ctx: click.Context) -> None:
    """Encode videos as 2D Gaussians (.gsv), and decode them again.

    \b
    gscodec encode in.mp4 out.gsv
    gscodec decode out.gsv out.mp4
    gscodec info out.gsv
    """
    if ctx.invoked_subcommand is None:
        click.echo(ctx.get_help())


def _shared_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add what encode and decode have in common; the command gets it as a Run."""

    @functools.wraps(command)
    def wrapped(
        files: tuple[str, ...],
        source: str | None,
        overwrite: bool,
        quiet: bool,
        verbose: int,
        as_json: bool,
        progress_mode: str,
        **settings: Any,
    ) -> None:
        names = files if source is None else (source, *files)
        if len(names) != 2:
            raise click.UsageError(f"expected SOURCE and TARGET, got {' '.join(names) or 'nothing'}")
        source, target = names[0], names[1]
        with _translated(source, target, verbose):
            source = source_path(source)
            if as_json:
                check_stdout()
            check_target(source, target, overwrite, as_json)
            with progress.make_progress("none" if quiet else progress_mode) as display:
                run = Run(source, target, quiet, verbose > 0 and not quiet, as_json, display)
                command(run, **settings)

    modes = ", ".join(progress.MODES)
    options = (
        click.argument("files", nargs=-1, metavar="SOURCE TARGET"),
        click.option("-i", "--input", "source", metavar="SOURCE", help="SOURCE in ffmpeg's way."),
        click.option("-y", "--overwrite", is_flag=True, help="Replace an existing TARGET."),
        click.option("-q", "--quiet", is_flag=True, help="Print errors only."),
        click.option("-v", "--verbose", count=True, help="Say more; twice: tracebacks too."),
        click.option("--json", "as_json", is_flag=True, help="Print a summary as JSON on stdout."),
        click.option(
            "--progress",
            "progress_mode",
            type=click.Choice(progress.MODES),
            default="auto",
            metavar="MODE",
            help=f"On stderr: {modes}. [auto: a bar on a terminal]",
        ),
    )
    return functools.reduce(lambda made, option: option(made), reversed(options), wrapped)


def _encoder_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add one option for every field of EncoderConfig; None means: as the preset says."""
    presets = [*config.PRESET_VALUES.values(), *config.REFIT_VALUES.values()]
    in_presets = {field for values in presets for field in values}
    for field in reversed(fields(config.EncoderConfig)):
        option = _OPTION_NAMES.get(field.name, "--" + field.name.replace("_", "-"))
        metavar, text = _ENCODER_HELP.get(field.name, ("", ""))
        extra: dict[str, Any] = {"metavar": metavar, "type": _TYPES.get(str(field.type).split(" |")[0])}
        default = field.default
        if field.type == "bool":
            option, extra = f"{option}/--no-{option[2:]}", {}
            default = "yes" if default else "no"
        note = "" if default is None else f" [{default}]"
        note = " [preset]" if field.name in in_presets else note
        command = click.option(option, field.name, default=None, help=text + note, **extra)(command)
    return command


def _size(_ctx: click.Context, _param: click.Parameter, value: str | None) -> str | None:
    """Check the form of --size; what 360p comes to depends on the source."""
    if value is None:
        return None
    form = r"(\d{1,9})x(\d{1,9})|(\d{1,9})p|(\d{1,3}(?:\.\d{1,6})?)x"
    found = re.fullmatch(form, value, re.ASCII)
    if not found or not all(0 < float(n) <= _MAX_SIDE for n in found.groups() if n):
        permitted = f"WxH such as 640x360, 360p, each 1 to {_MAX_SIDE}, or 2x, times as large"
        raise click.UsageError(f"--size {value!r} is unknown; permitted: {permitted}")
    return value


@cli.command(short_help="Video to .gsv.")
@click.option("--preset", default="medium", metavar="NAME", help=f"{', '.join(config.PRESETS)}. [medium]")
@click.option("--size", metavar="WxH|Hp|Nx", callback=_size, help="Scale to 640x360, 360p or 0.5x first.")
@click.option(
    "--start", "start_s", type=float, metavar="SECONDS", help="Begin there, and count times from there."
)
@click.option("--duration", "duration_s", type=float, metavar="SECONDS", help="Stop after it.")
@click.option("--frames", "max_frames", type=click.IntRange(1), metavar="N", help="Stop after N frames.")
@_encoder_options
@_shared_options
def encode(
    run: Run,
    preset: str,
    size: str | None,
    start_s: float | None,
    duration_s: float | None,
    max_frames: int | None,
    **settings: Any,
) -> None:
    """Encode the video SOURCE to the file TARGET (.gsv); sound and subtitles travel along untouched.

    A preset is values for the options marked [preset]; options given here win.
    """
    if not 0 <= (start_s or 0) < float("inf"):  # nan is in no range
        raise ConfigError(f"--start {start_s:g} is out of range; permitted: 0 seconds or more")
    if duration_s is not None and not 0 < duration_s < float("inf"):
        raise ConfigError(f"--duration {duration_s:g} is out of range; permitted: more than 0 seconds")
    check_gsv_name(run.target)
    options = config.encoder_config(preset, **{k: v for k, v in settings.items() if v is not None})
    from gscodec.transcode import encode_file

    def on_open(reader: Any) -> None:
        run.display.total = reader.n_frames_hint
        if run.verbose:
            _say(progress.source_line(run.source, reader.format, reader.side_streams))
            _say(", ".join(f"{name}={value}" for name, value in asdict(options).items()))

    tally = encode_file(
        run.source,
        run.target,
        options,
        size=size,
        start_s=start_s,
        duration_s=duration_s,
        max_frames=max_frames,
        progress=run.display,
        on_open=on_open,
    )
    _report(run, tally, {"preset": preset, **asdict(options)})


@cli.command(short_help=".gsv to video.")
@click.option("--vcodec", metavar="NAME", help="FFmpeg's name of the encoder. [libx264 where it fits]")
@click.option("--crf", type=click.FloatRange(0), metavar="VALUE", help="Quality setting of that encoder.")
@click.option("-f", "--container", metavar="NAME", help="Container. [by the extension of TARGET]")
@click.option("--background", type=_Color(), metavar="COLOR", help="Draw the person alone over this colour.")
@click.option("--size", metavar="WxH|Hp|Nx", callback=_size, help="Draw at 1280x720, 720p or 2x. [as coded]")
@click.option("--fps", metavar="N", help="Frames per second; those between are interpolated. [as coded]")
@click.option(
    "--max-gaussians", type=click.IntRange(1), metavar="K", help="Draw the K most important of a frame. [all]"
)
@click.option("--backend", default="auto", metavar="NAME", help=f"{_BACKEND_HELP} [auto]")
@click.option("--threads", type=click.IntRange(0), default=0, metavar="N", help=f"{_THREADS_HELP} [0]")
@click.option("--frames", "max_frames", type=click.IntRange(1), metavar="N", help="Stop after N frames.")
@click.option("--allow-partial", is_flag=True, help="Of a damaged file keep the frames before the damage.")
@_shared_options
def decode(run: Run, max_frames: int | None, **settings: Any) -> None:
    """Decode the file SOURCE (.gsv) to the video TARGET, with its times, sound and subtitles."""
    from gscodec.decode.decoder import video_format
    from gscodec.transcode import decode_file

    def on_open(reader: Any) -> None:
        index = reader.index()
        if index and settings["fps"] is None:
            run.display.total = min(index.n_frames, max_frames or index.n_frames)
        if run.verbose:
            _say(progress.source_line(run.source, video_format(reader), reader.streams[1:]))

    tally = decode_file(
        run.source, run.target, max_frames=max_frames, progress=run.display, on_open=on_open, **settings
    )
    _report(run, tally, {"max_frames": max_frames, **settings})


@cli.command(short_help="What a .gsv holds.")
@click.argument("source")
@click.option("-v", "--verbose", count=True, help="Twice: tracebacks too.")
@click.option("--json", "as_json", is_flag=True, help="Print all facts as JSON.")
@click.option("--bits", is_flag=True, help="Where the bits are, per stream of the adaptive coder.")
def info(source: str, verbose: int, as_json: bool, bits: bool) -> None:
    """Say what the file SOURCE (.gsv) holds: streams, size, GOPs, Gaussians, bytes per frame type."""
    with _translated(source, source, verbose):
        source = source_path(source)
        check_stdout()
        from gscodec.inspection import inspect_file

        facts = inspect_file(source, bits=bits)
    click.echo(_json({"path": source, **facts}) if as_json else printable(progress.describe(source, facts)))


@cli.command(
    short_help="Speed, size and quality.",
    add_help_option=False,
    context_settings={"ignore_unknown_options": True, "allow_extra_args": True},
)
@click.pass_context
def bench(ctx: click.Context) -> None:
    """Measure speed, size and quality, also against other codecs."""
    with _translated("bench", "bench", 0):
        import importlib

        try:
            run = importlib.import_module("gscodec.bench.command").run
        except ImportError as error:
            raise BackendError(f"bench cannot be loaded ({error}); pip install 'gscodec[bench]'") from error
        ctx.exit(run(ctx.args) or 0)


@contextmanager
def _translated(source: str, target: str, verbose: int) -> Iterator[None]:
    """Turn errors into click's, which `_Group.main` prints, with the name of the file they are about."""
    try:
        yield
    except (click.ClickException, click.exceptions.Exit, BrokenPipeError):
        raise
    except Exception as error:
        if verbose > 1:
            import traceback

            _say(traceback.format_exc().rstrip())
        raise _Failure(describe(error, source, target), getattr(error, "exit_code", 1)) from error


def _hint(error: click.ClickException) -> str:
    if not isinstance(error, click.UsageError) or error.ctx is None:
        return ""
    return f" (see {error.ctx.command_path} --help)"


def _fail(message: str, code: int) -> int:
    _say(f"gscodec: error: {' '.join(message.split())}")
    return code


def _say(line: str) -> None:
    click.echo(printable(line), err=True)


def _report(run: Run, tally: Any, options: dict[str, Any]) -> None:
    if not run.quiet:
        run.display.close()
        for line in tally.warnings:
            _say(f"gscodec: warning: {line}")
        _say(progress.summary(run.target, tally))
    if run.as_json:
        facts = {"source": run.source, "target": run.target, "options": options}
        click.echo(_json(facts | tally.as_dict()))


def _json(facts: dict[str, Any]) -> str:
    text = json.dumps(facts, indent=2, ensure_ascii=False)
    return re.sub(r"[^ -~\n]", lambda c: c[0] if c[0].isprintable() else json.dumps(c[0])[1:-1], text)
