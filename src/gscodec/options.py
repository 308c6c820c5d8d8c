"""Options of the commands, and what their values are: those of the encoder, those that commands share."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, fields
from fractions import Fraction
from typing import Any

import click

from gscodec import config, progress
from gscodec.errors import ConfigError
from gscodec.filenames import check_stdout, check_target, source_path
from gscodec.terminal import translated

START_HELP = "Begin there (90.5 or 1:30.5), and count times from there."
DURATION_HELP = "Stop after it."
FRAMES_HELP = "Stop after N frames."
OPUS_KBIT = (6, 510)  # that libopus takes
_MAX_SIDE = 65535  # of a picture in a .gsv
BACKEND_HELP = f"Rasteriser: {', '.join(config.BACKENDS)}."
THREADS_HELP = "CPU threads; 0 is one per core."

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
    "bitrate": ("RATE", "Size to reach, 200k or 200 (kb/s), instead of --crf."),
    "deadline_ms": ("MS", "Time for each frame; one at a time."),
    "backend": ("NAME", BACKEND_HELP),
    "threads": ("N", THREADS_HELP),
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
MAX_RATE = 1000  # frames per second


@dataclass(frozen=True, slots=True)
class Run:
    """What encode and decode are given alike."""

    source: str
    target: str
    quiet: bool
    verbose: bool
    as_json: bool
    overwrite: bool
    display: progress.Progress


class Seconds(click.ParamType):
    """A time: 12.5, 1:02.5 or 01:02:03.5; the number of seconds comes out. Ranges are checked later."""

    name = "seconds"

    def convert(self, value: str, param: Any, ctx: Any) -> float:
        """Return the seconds."""
        parts = str(value).split(":")
        try:
            numbers = [float(part) for part in parts]
        except ValueError:
            numbers = []
        sane = len(parts) == 1 or all(re.fullmatch(r"\d{1,4}(\.\d*)?", part, re.ASCII) for part in parts)
        whole = all(number.is_integer() for number in numbers[:-1])
        if not numbers or len(parts) > 3 or not sane or not whole or any(n >= 60 for n in numbers[1:]):
            raise click.BadParameter(f"{value!r} is no time; expected 12.5 or hh:mm:ss.f", ctx, param)
        if len(parts) == 1:
            return numbers[0]
        return float(sum(Fraction(part) * 60**i for i, part in enumerate(reversed(parts))))


class Rate(click.ParamType):
    """Frames per second: 25, 29.97 or 30000/1001, as a Fraction."""

    name = "rate"

    def convert(self, value: str, param: Any, ctx: Any) -> Fraction:
        """Return the rate."""
        if isinstance(value, Fraction):
            return value
        if re.fullmatch(r"\d{1,6}(\.\d{1,6})?|\d{1,6}/\d{1,6}", value, re.ASCII):
            with suppress(ZeroDivisionError):
                rate = Fraction(value)
                if 0 < rate <= MAX_RATE:
                    return rate
        permitted = f"more than 0 and at most {MAX_RATE}, such as 25 or 30000/1001"
        raise click.BadParameter(f"{value!r} is no frame rate; permitted: {permitted}", ctx, param)


class Bitrate(click.ParamType):
    """A bitrate in kb/s: 200, or as ffmpeg writes it 200k or 1.5M. Ranges are checked later."""

    name = "bitrate"

    def convert(self, value: str, param: Any, ctx: Any) -> float:
        """Return kb/s."""
        text = str(value)
        factor = {"k": 1.0, "K": 1.0, "M": 1000.0}.get(text[-1:])
        try:
            return float(text[:-1]) * factor if factor else float(text)
        except ValueError:
            permitted = "kb/s such as 200, 200k or 1.5M"
            raise click.BadParameter(f"{value!r} is no bitrate; permitted: {permitted}", ctx, param) from None


def shared_options(command: Callable[..., Any]) -> Callable[..., Any]:
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
        with translated(source, target, verbose):
            source = source_path(source)
            if as_json:
                check_stdout()
            check_target(source, target, overwrite, as_json)
            with progress.make_progress("none" if quiet else progress_mode) as display:
                run = Run(source, target, quiet, verbose > 0 and not quiet, as_json, overwrite, display)
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


def encoder_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add one option for every field of EncoderConfig; None means: as the preset says."""
    presets = [*config.PRESET_VALUES.values(), *config.REFIT_VALUES.values()]
    in_presets = {field for values in presets for field in values}
    for field in reversed(fields(config.EncoderConfig)):
        option = _OPTION_NAMES.get(field.name, "--" + field.name.replace("_", "-"))
        metavar, text = _ENCODER_HELP.get(field.name, ("", ""))
        extra: dict[str, Any] = {"metavar": metavar, "type": _TYPES.get(str(field.type).split(" |")[0])}
        if field.name == "bitrate":
            extra["type"] = Bitrate()
        default = field.default
        if field.type == "bool":
            option, extra = f"{option}/--no-{option[2:]}", {}
            default = "yes" if default else "no"
        note = "" if default is None else f" [{default}]"
        note = " [preset]" if field.name in in_presets else note
        command = click.option(option, field.name, default=None, help=text + note, **extra)(command)
    return command


def source_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add what says what a source is, where it does not say so itself, and what is taken of it."""
    options = (
        click.option("-f", "--container", metavar="NAME", help="Of SOURCE: rawvideo, y4m, v4l2. [found]"),
        click.option("--pix-fmt", metavar="NAME", help="Of raw pictures: rgb24, yuv420p."),
        click.option("--input-size", metavar="WxH", callback=_input_size, help="Of raw pictures, a device."),
        click.option("--rate", type=Rate(), metavar="N", help="Of raw or numbered pictures, a device. [25]"),
        click.option("--start", "start_s", type=Seconds(), metavar="TIME", help=START_HELP),
        click.option("--duration", "duration_s", type=Seconds(), metavar="TIME", help=DURATION_HELP),
        click.option("--frames", "max_frames", type=click.IntRange(1), metavar="N", help=FRAMES_HELP),
        click.option("--fps", type=Rate(), metavar="N", help="Drop and repeat frames to N a second."),
        click.option("--no-audio", is_flag=True, help="Leave the sound out."),
        click.option("--audio-bitrate", type=Bitrate(), metavar="RATE", help="Code sound as Opus: 24k."),
    )
    return functools.reduce(lambda made, option: option(made), reversed(options), command)


def check_range(start_s: float | None, duration_s: float | None) -> None:
    """Refuse a start or a duration that no video has.

    Raises:
        ConfigError: out of range.
    """
    if not 0 <= (start_s or 0) < float("inf"):  # nan is in no range
        raise ConfigError(f"--start {start_s:g} is out of range; permitted: 0 seconds or more")
    if duration_s is not None and not 0 < duration_s < float("inf"):
        raise ConfigError(f"--duration {duration_s:g} is out of range; permitted: more than 0 seconds")


def sound(no_audio: bool, audio_bitrate: float | None) -> float | str:
    """What is done with the sound, as `open_video` wants it.

    Raises:
        ConfigError: the two options contradict each other, or Opus has no such bitrate.
    """
    if audio_bitrate is None:
        return "none" if no_audio else "copy"
    if no_audio:
        raise ConfigError("--no-audio and --audio-bitrate contradict each other; give one of them")
    if not OPUS_KBIT[0] <= audio_bitrate <= OPUS_KBIT[1]:
        permitted = f"{OPUS_KBIT[0]} to {OPUS_KBIT[1]} kb/s"
        raise ConfigError(f"--audio-bitrate {audio_bitrate:g} is out of range; permitted: {permitted}")
    return audio_bitrate


def _input_size(_ctx: click.Context, _param: click.Parameter, value: str | None) -> tuple[int, int] | None:
    if value is None:
        return None
    found = re.fullmatch(r"(\d{1,5})x(\d{1,5})", value, re.ASCII)
    if not found or not all(0 < int(n) <= _MAX_SIDE for n in found.groups()):
        permitted = f"WxH such as 640x360, each 1 to {_MAX_SIDE}"
        raise click.UsageError(f"--input-size {value!r} is unknown; permitted: {permitted}")
    return int(found[1]), int(found[2])


def picture_size(_ctx: click.Context, _param: click.Parameter, value: str | None) -> str | None:
    """Check the form of --size; what 360p comes to depends on the source."""
    if value is None:
        return None
    if re.fullmatch(r"[1-9]\d{0,4}x-[1-9]\d?|-[1-9]\d?x[1-9]\d{0,4}", value, re.ASCII):
        return value  # 640x-2: the other side keeps the shape, as in ffmpeg
    found = re.fullmatch(r"(\d{1,9})x(\d{1,9})|(\d{1,9})p|(\d{1,3}(?:\.\d{1,6})?)x", value, re.ASCII)
    if not found or not all(0 < float(n) <= _MAX_SIDE for n in found.groups() if n):
        permitted = f"WxH such as 640x360, 360p, each 1 to {_MAX_SIDE}, or 2x, times as large"
        raise click.UsageError(f"--size {value!r} is unknown; permitted: {permitted}")
    return value
