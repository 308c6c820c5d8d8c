"""The command `gscodec encode | decode | info | bench | visualize`: parse, call, translate errors; no logic.

Whatever loads slowly (numpy, PyAV, OpenCV) is imported inside the commands: `gscodec --help` takes a tenth
of a second. Every error becomes one line on stderr and the exit code its class names: 2 for a setting, 1 for
the rest, 128 and the signal's number when interrupted by Ctrl-C, SIGTERM or a terminal that closes.
"""

from __future__ import annotations

import json
import os
import re
import signal
import sys
from dataclasses import asdict
from fractions import Fraction
from typing import Any, NoReturn

import click

from gscodec import __version__, config, interrupts, progress
from gscodec.errors import BackendError, install_extra, printable
from gscodec.filenames import (
    STANDARD,
    check_decode_names,
    check_gsv_name,
    check_stdout,
    check_target,
    source_path,
)
from gscodec.options import (
    BACKEND_HELP,
    DURATION_HELP,
    START_HELP,
    THREADS_HELP,
    Run,
    Seconds,
    check_range,
    encoder_options,
    picture_size,
    shared_options,
    sound,
    source_options,
)
from gscodec.terminal import fail, hint, say, translated


class _Group(click.Group):
    """A group that ends in one line on stderr, where click would print usage and hints on several."""

    def main(self, *args: Any, **extra: Any) -> NoReturn:  # type: ignore[override]
        try:
            code = super().main(*args, **{**extra, "standalone_mode": False})
        except click.ClickException as error:
            sys.exit(fail(error.format_message() + hint(error), error.exit_code))
        except click.Abort:  # what click makes of Ctrl-C where `interrupts` is not installed
            sys.exit(fail("interrupted", 128 + signal.SIGINT))
        except OSError as error:  # `gscodec info … | head` ends silently, `… > /dev/full` does not
            if sys.stdout is not None:
                os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            quiet = isinstance(error, BrokenPipeError)
            sys.exit(1 if quiet else fail(f"standard output: {error.strerror or error}", 1))
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


@cli.command(short_help="Video to .gsv.")
@click.option("--preset", default="medium", metavar="NAME", help=f"{', '.join(config.PRESETS)}. [medium]")
@click.option(
    "--size", metavar="WxH|Hp|Nx", callback=picture_size, help="Scale to 640x360, 360p or 0.5x first."
)
@source_options
@encoder_options
@shared_options
def encode(
    run: Run,
    preset: str,
    size: str | None,
    start_s: float | None,
    duration_s: float | None,
    max_frames: int | None,
    fps: Fraction | None,
    no_audio: bool,
    audio_bitrate: float | None,
    container: str | None,
    pix_fmt: str | None,
    input_size: tuple[int, int] | None,
    rate: Fraction | None,
    **settings: Any,
) -> None:
    """Encode the video SOURCE to the file TARGET (.gsv); sound and subtitles travel along untouched.

    SOURCE is all that FFmpeg reads: a file, - for a pipe, numbered pictures (frames/%05d.png), one picture,
    a URL, raw pictures (-f rawvideo --pix-fmt rgb24 --input-size 640x360 --rate 30), or a camera
    (-f v4l2 /dev/video0).

    A preset is values for the options marked [preset]; options given here win.
    """
    check_range(start_s, duration_s)
    audio = sound(no_audio, audio_bitrate)
    check_gsv_name(run.target)
    options = config.encoder_config(preset, **{k: v for k, v in settings.items() if v is not None})
    from gscodec.transcode import encode_file
    from gscodec.video.source import SourceFormat

    def on_open(reader: Any) -> None:
        run.display.total = reader.n_frames_hint
        if run.verbose:
            say(progress.source_line(run.source, reader.format, reader.side_streams))
            say(", ".join(f"{name}={value}" for name, value in asdict(options).items()))

    tally = encode_file(
        run.source,
        run.target,
        options,
        size=size,
        start_s=start_s,
        duration_s=duration_s,
        max_frames=max_frames,
        fps=fps,
        audio=audio,
        source_format=SourceFormat(container, pix_fmt, input_size, rate),
        progress=run.display,
        on_open=on_open,
    )
    _report(run, tally, {"preset": preset, **asdict(options)})


@cli.command(short_help=".gsv to video.")
@click.option("--vcodec", metavar="NAME", help="FFmpeg's name of the encoder. [libx264 where it fits]")
@click.option("--crf", type=click.FloatRange(0), metavar="VALUE", help="Quality setting of that encoder.")
@click.option("--pix-fmt", metavar="NAME", help="Pixel format, FFmpeg's name. [yuv420p; lossless: RGB]")
@click.option("-f", "--container", metavar="NAME", help="Container. [by TARGET's extension; - is y4m]")
@click.option(
    "--background",
    default="original",
    metavar="WHAT",
    help="Behind the person: a COLOR, a picture's or video's FILE, transparent, blur[:RADIUS], original.",
)
@click.option("--person-removed", is_flag=True, help="Show the room without the person.")
@click.option("--matte-out", metavar="FILE", help="Write mattes there: a grey video, or mattes/%05d.png.")
@click.option(
    "--size", metavar="WxH|Hp|Nx", callback=picture_size, help="Draw at 1280x720, 720p or 2x. [as coded]"
)
@click.option("--fps", metavar="N", help="Frames per second; those between are interpolated. [as coded]")
@click.option(
    "--max-gaussians", type=click.IntRange(1), metavar="K", help="Draw the K most important of a frame. [all]"
)
@click.option("--backend", default="auto", metavar="NAME", help=f"{BACKEND_HELP} [auto]")
@click.option("--threads", type=click.IntRange(0), default=0, metavar="N", help=f"{THREADS_HELP} [0]")
@click.option("--frames", "max_frames", type=click.IntRange(1), metavar="N", help="Stop after N frames.")
@click.option("--start", "start_s", type=Seconds(), metavar="TIME", help=START_HELP)
@click.option("--duration", "duration_s", type=Seconds(), metavar="TIME", help=DURATION_HELP)
@click.option("--allow-partial", is_flag=True, help="Of a damaged file keep the frames before the damage.")
@shared_options
def decode(run: Run, max_frames: int | None, **settings: Any) -> None:
    """Decode the file SOURCE (.gsv) to the video TARGET, with its times, sound and subtitles.

    TARGET may also be pictures, numbered from 1 (frames/%05d.png, .jpg or .webp), or raw ones (x.yuv).
    """
    check_range(settings["start_s"], settings["duration_s"])
    matte = settings["matte_out"]
    check_decode_names(run.target, settings["background"], matte, run.overwrite)
    if matte is not None:
        check_target(run.source, matte, run.overwrite, as_json=False)
    from gscodec.decode.decoder import video_format
    from gscodec.transcode import decode_file

    if run.target == STANDARD and settings["container"] is None:
        settings["container"] = "y4m"
        if not run.quiet:
            say("-: Y4M, since no -f names another container")

    def on_open(reader: Any) -> None:
        index = reader.index()
        as_coded = settings["start_s"] is None and settings["duration_s"] is None and settings["fps"] is None
        run.display.total = min(index.n_frames, max_frames or index.n_frames) if index and as_coded else None
        if run.verbose:
            say(progress.source_line(run.source, video_format(reader), reader.streams[1:]))

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
    with translated(source, source, verbose):
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
    with translated("bench", "bench", 0):
        import importlib

        try:
            run = importlib.import_module("gscodec.bench.command").run
        except ImportError as error:
            raise BackendError(f"bench cannot be loaded ({error}); {install_extra('bench')}") from error
        ctx.exit(run(ctx.args) or 0)


@cli.command(
    short_help="Pictures of what is inside.",
    add_help_option=False,
    context_settings={"ignore_unknown_options": True, "allow_extra_args": True},
)
@click.pass_context
def visualize(ctx: click.Context) -> None:
    """Draw a video's Gaussians, what each frame changed, where its bits went."""
    with translated("visualize", "visualize", 0):
        from gscodec.visualize.command import run as draw

        draw(ctx.args)


def _report(run: Run, tally: Any, options: dict[str, Any]) -> None:
    if not run.quiet:
        run.display.close()
        for line in tally.warnings:
            say(f"gscodec: warning: {line}")
        for line in tally.notes:
            say(line)
        say(progress.summary(run.target, tally))
    if run.as_json:
        facts = {"source": run.source, "target": run.target, "options": options}
        click.echo(_json(facts | tally.as_dict()))


def _json(facts: dict[str, Any]) -> str:
    text = json.dumps(facts, indent=2, ensure_ascii=False)
    return re.sub(r"[^ -~\n]", lambda c: c[0] if c[0].isprintable() else json.dumps(c[0])[1:-1], text)
