"""`gscodec visualize`: encode a clip if it is one, draw its frames, write a picture or a video."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np

from gscodec import interrupts
from gscodec.analysis.matting import make_matter
from gscodec.config import MAX_PIXELS
from gscodec.container.headers import SIGNATURE
from gscodec.decode.backgrounds import CoveringVideo, parse_background
from gscodec.errors import ConfigError, GscodecError, MediaError, describe, printable
from gscodec.progress import make_progress
from gscodec.transcode import encode_file
from gscodec.video.atomic import atomic_path
from gscodec.video.frame import Frame, VideoFormat
from gscodec.video.reader import VideoReader, open_video
from gscodec.video.writer import VideoWriter
from gscodec.visualize.options import CHECKERBOARD, USUAL_DURATION_S, Options, parse_options
from gscodec.visualize.scene import Scene, Source, Survey, scenes, survey
from gscodec.visualize.sheet import Cell, compose, panel_size, rows_of_views
from gscodec.visualize.views import DEFAULT, USUAL_WIDTH, VIEWS, Canvas

VIDEO_CRF = 17.0  # lines one pixel wide
VIDEO_LINES = 2  # of every legend: a video's panels stay where they are
JPEG_QUALITY = 86
BT_709 = 1  # code point of the matrix
CHECKS = ((104, 108, 116), (142, 147, 156))
CHECK = 20  # side of a square, of a panel 560 wide


def run(arguments: Sequence[str]) -> None:
    """Run the command with the words after `gscodec visualize`.

    Raises:
        GscodecError: one line for the person who called.
    """
    try:
        options = parse_options(arguments)
    except SystemExit:  # --help
        return
    try:
        with ExitStack() as stack:
            _draw(options, stack)
    except GscodecError as error:
        error.args = (describe(error, options.given, options.target),)
        raise
    except OSError as error:
        raise MediaError(describe(error, options.given, options.target)) from error


@dataclass(frozen=True, slots=True)
class _Plan:
    """What is drawn, and of what.

    Attributes:
        path: of the .gsv. size: of a panel, width and height. behind: the person alone, at a time in seconds.
    """

    options: Options
    names: tuple[str, ...]
    path: str | os.PathLike[str]
    facts: Survey
    source: Source | None
    size: tuple[int, int]
    behind: Callable[[Fraction], np.ndarray]

    def scenes(self, numbers: Iterable[int]) -> Iterator[Scene]:
        return scenes(self.path, self.facts, numbers, self.source, self.size)


def _draw(options: Options, stack: ExitStack) -> None:
    is_gsv = _is_gsv(options.given)
    clip = options.source if is_gsv else options.given
    names = _checked_names(options, clip is not None)
    path = options.given if is_gsv else stack.enter_context(_encoded(options))
    facts = survey(path)
    names = _with_person(names, facts, options)
    source = None
    if clip is not None and any(VIEWS[name].needs_source for name in names):
        needs_matte = {"roi", "superpixels"} & set(names)
        matter = make_matter(options.config.roi) if needs_matte else None
        source = Source(stack.enter_context(_opened(clip, options, is_gsv, facts.video)), matter)
    size = panel_size(facts.video, options.panel)
    plan = _Plan(options, names, path, facts, source, size, _behind(options, size, facts.video))
    shape = _write_video(plan) if options.is_video else _write_picture(plan)
    if not options.quiet:
        _say(f"{options.target}: {', '.join(names)}; {shape[1]}x{shape[0]} pixels")


def _checked_names(options: Options, has_source: bool) -> tuple[str, ...]:
    """The views to draw, of which those that need a source must have one."""
    if options.what is None:
        return tuple(name for name in DEFAULT if has_source or not VIEWS[name].needs_source)
    lacking = [name for name in options.what if VIEWS[name].needs_source and not has_source]
    if lacking:
        raise ConfigError(
            f"--what {','.join(lacking)} needs the clip that {options.given} was made of; "
            "give it with --source CLIP"
        )
    return options.what


def _with_person(names: tuple[str, ...], facts: Survey, options: Options) -> tuple[str, ...]:
    """The same without those that need a person, where there is none and nobody asked for them."""
    if facts.has_person:
        return names
    kept = tuple(name for name in names if not VIEWS[name].needs_person)
    why = "all of its Gaussians are one thing's, no person is told from a room"
    if options.what is not None and kept != names:
        left_out = ",".join(name for name in names if name not in kept)
        raise GscodecError(f"{options.given}: {why}; leave {left_out} out of --what")
    if kept != names:
        _say(f"gscodec: warning: {options.given}: {why}: the person alone is left out")
    return kept


def _is_gsv(path: str) -> bool:
    with open(path, "rb") as file:
        return file.read(len(SIGNATURE)) == SIGNATURE


@contextmanager
def _encoded(options: Options) -> Iterator[Path]:
    """The clip as a .gsv, until the context ends."""
    with interrupts.lock:
        folder = tempfile.mkdtemp(prefix="gscodec-")
        interrupts.unfinished.add(folder)
    try:
        path = Path(folder) / "clip.gsv"
        with make_progress("none" if options.quiet else "auto") as display:

            def on_open(reader: VideoReader) -> None:
                display.total = reader.n_frames_hint

            tally = encode_file(
                options.given,
                path,
                options.config,
                size=options.size,
                start_s=options.start_s,
                duration_s=options.duration_s or USUAL_DURATION_S,
                progress=display,
                on_open=on_open,
            )
        if not options.quiet:
            for line in tally.warnings:
                _say(f"gscodec: warning: {line}")
        yield path
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        with interrupts.lock:
            interrupts.unfinished.discard(folder)


def _opened(clip: str, options: Options, is_gsv: bool, video: VideoFormat) -> VideoReader:
    """The clip as it was encoded, or must have been."""
    if is_gsv:
        return open_video(clip, size=(video.width, video.height), start_s=options.start_s)
    duration_s = options.duration_s or USUAL_DURATION_S
    return open_video(clip, size=options.size, start_s=options.start_s, duration_s=duration_s)


def _behind(options: Options, size: tuple[int, int], video: VideoFormat) -> Callable[[Fraction], np.ndarray]:
    """What is behind the person alone at a time in seconds, uint8 [height, width, 3]."""
    width, height = size
    if options.background == CHECKERBOARD:
        side = max(1, round(CHECK * options.panel / USUAL_WIDTH))
        odd = (np.arange(height)[:, None] // side + np.arange(width) // side) % 2
        checks = np.array(CHECKS, np.uint8)[odd]
        return lambda _: checks
    background = parse_background(options.background)
    if background.kind == "file":
        form = VideoFormat(width, height, video.time_base, video.frame_rate)
        return CoveringVideo(background.path, form).at
    flat = np.full((height, width, 3), background.color, np.uint8)
    return lambda _: flat


def _numbers(options: Options, facts: Survey) -> list[int]:
    """Which frames a picture shows."""
    times = facts.times
    if options.at:
        last = times[-1] + (times[-1] - times[-2] if len(times) > 1 else 1.0)
        for t in options.at:
            if t > last:
                raise ConfigError(f"--at {t:g} is after the end; permitted: 0 to {times[-1]:g} seconds")
        return sorted({int(np.searchsorted(times, t + 1e-6, side="right")) - 1 for t in options.at})
    n = len(facts.coded)
    if options.frames == 1:
        return [facts.coded[n // 2]]
    return sorted({facts.coded[i] for i in np.rint(np.linspace(0, n - 1, options.frames)).astype(int)})


def _cells(plan: _Plan, scene: Scene) -> list[Cell]:
    coded = plan.facts.video.width, plan.facts.video.height
    canvas = Canvas(plan.size, coded, plan.behind(Fraction(scene.time_s)))
    return [Cell(VIEWS[name].title, VIEWS[name].draw(scene, canvas)) for name in plan.names]


def _head(scene: Scene) -> str:
    room = f" + {scene.n_room_bytes} of the room's video" if scene.n_room_bytes else ""
    return f"frame {scene.number} · {scene.kind} · {scene.time_s:.2f} s · {scene.n_bytes} bytes{room}"


def _write_picture(plan: _Plan) -> tuple[int, ...]:
    """Frames side by side and views below each other; of one frame the views side by side."""
    target = plan.options.target
    numbers = _numbers(plan.options, plan.facts)
    n_pixels = len(numbers) * len(plan.names) * plan.size[0] * plan.size[1]
    if n_pixels > MAX_PIXELS:
        raise ConfigError(
            f"{len(numbers)} frames of {len(plan.names)} views come to {n_pixels} pixels, at most "
            f"{MAX_PIXELS} are permitted; take fewer --frames, less of --what or a smaller --panel"
        )
    heads, frames = [], []
    for scene in plan.scenes(numbers):
        heads.append(_head(scene))
        frames.append(_cells(plan, scene))
    rows = rows_of_views(frames[0])
    if len(frames) > 1:
        rows = [
            [Cell("" if i else cell.title, cell.panel) for i, cell in enumerate(row)]
            for row in zip(*frames, strict=True)
        ]
    sheet = compose(rows, heads, plan.options.panel)
    extension = os.path.splitext(target)[1].lower()
    settings = [] if extension == ".png" else [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY]
    ok, data = cv2.imencode(extension, np.ascontiguousarray(sheet[:, :, ::-1]), settings)
    if not ok:
        what = f"{sheet.shape[1]}x{sheet.shape[0]} pixels are too many for its format"
        raise MediaError(f"{target}: {what}; give a .png")
    with atomic_path(target) as place:
        place.write_bytes(data.tobytes())
    return sheet.shape


def _write_video(plan: _Plan) -> tuple[int, ...]:
    """All views of every frame."""
    writer: VideoWriter | None = None
    sheet = np.empty((0, 0, 3), np.uint8)
    clock = plan.facts.video
    with ExitStack() as stack:
        for scene in plan.scenes(range(len(plan.facts.times))):
            rows = rows_of_views(_cells(plan, scene))
            sheet = compose(rows, [_head(scene)], plan.options.panel, VIDEO_LINES)
            if writer is None:
                height, width = sheet.shape[:2]
                form = VideoFormat(width, height, clock.time_base, clock.frame_rate, matrix=BT_709)
                writer = stack.enter_context(
                    VideoWriter(plan.options.target, form, vcodec=None, crf=VIDEO_CRF)
                )
            writer.write(Frame(sheet, scene.pts))
    return sheet.shape


def _say(line: str) -> None:
    if sys.stderr is not None:  # else it would be printed on standard output
        print(printable(line), file=sys.stderr, flush=True)
