"""Options of the commands, and what their values are: those of the encoder, those that commands share."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any

import click

from gscodec import config, progress
from gscodec.filenames import check_stdout, check_target, source_path
from gscodec.terminal import translated

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
    "bitrate": ("KBIT", "Size to reach in kb/s, instead of --crf."),
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
        default = field.default
        if field.type == "bool":
            option, extra = f"{option}/--no-{option[2:]}", {}
            default = "yes" if default else "no"
        note = "" if default is None else f" [{default}]"
        note = " [preset]" if field.name in in_presets else note
        command = click.option(option, field.name, default=None, help=text + note, **extra)(command)
    return command


def picture_size(_ctx: click.Context, _param: click.Parameter, value: str | None) -> str | None:
    """Check the form of --size; what 360p comes to depends on the source."""
    if value is None:
        return None
    numbers = [value[:-1]] if value.endswith("p") else value.split("x", 1)
    sane = all(n.isascii() and n.isdigit() and 0 < int(n) <= _MAX_SIDE for n in numbers)
    if not sane or (len(numbers) == 1 and not value.endswith("p")):
        permitted = f"WxH such as 640x360, or 360p, each 1 to {_MAX_SIDE}"
        raise click.UsageError(f"--size {value!r} is unknown; permitted: {permitted}")
    return value
