"""What is shown behind the person: what `--background` says, and pictures and videos that cover the frame."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

import numpy as np

from gscodec.config import MAX_PIXELS
from gscodec.errors import ConfigError, MediaError
from gscodec.video.frame import Frame, VideoFormat
from gscodec.video.reader import open_video

COLORS = {
    "black": (0, 0, 0),
    "white": (255, 255, 255),
    "gray": (128, 128, 128),
    "red": (255, 0, 0),
    "green": (0, 255, 0),
    "blue": (0, 0, 255),
}
MAX_RADIUS = 1000.0  # of a blur, pixels
_HEX = frozenset("0123456789abcdefABCDEF")


@dataclass(frozen=True, slots=True)
class Background:
    """What is shown where no person is.

    Attributes:
        kind: original: what was there. transparent: nothing. blur: the room, blurred, and filled in where the
            person is. removed: the same, sharp, and without the person. color, file: what they name.
        color: R'G'B', 0 to 255. path: of a picture or a video.
        radius: standard deviation of the blur in pixels of the picture; None: a thirtieth of its height.
    """

    kind: Literal["original", "transparent", "color", "file", "blur", "removed"]
    color: tuple[int, int, int] = (0, 0, 0)
    path: str = ""
    radius: float | None = None


def chosen_background(background: str | tuple[int, int, int], person_removed: bool) -> Background:
    """What is shown behind the person, for a word, file or colour, or for the room alone.

    Raises:
        ConfigError: see parse_background; or both are asked for.
    """
    behind = parse_background(background) if isinstance(background, str) else Background("color", background)
    if not person_removed:
        return behind
    if behind.kind != "original":
        raise ConfigError("--person-removed shows the room, --background something else; leave one out")
    return Background("removed")


def parse_background(text: str) -> Background:
    """Read what `--background` says.

    Raises:
        ConfigError: it is neither a word that is known nor the name of something that is there.
    """
    word = text.lower()
    if word in ("original", "transparent"):
        return Background(word)  # type: ignore[arg-type]
    if word == "blur" or word.startswith("blur:"):
        return Background("blur", radius=_radius(text) if ":" in word else None)
    if word in COLORS:
        return Background("color", COLORS[word])
    if len(text) == 7 and text[0] == "#" and _HEX.issuperset(text[1:]):
        red, green, blue = bytes.fromhex(text[1:])
        return Background("color", (red, green, blue))
    if text and os.path.exists(text):
        return Background("file", path=text)
    raise ConfigError(
        f"--background {text!r} is neither known nor a file; permitted: #rrggbb or {', '.join(COLORS)}, "
        "transparent, original, blur or blur:RADIUS, or the name of a picture or a video"
    )


def _radius(text: str) -> float:
    try:
        radius = float(text.partition(":")[2])
    except ValueError:
        radius = math.nan
    if not 0 < radius <= MAX_RADIUS:  # nan is in no range
        raise ConfigError(
            f"--background {text!r}: the radius is out of range; "
            f"permitted: more than 0, at most {MAX_RADIUS:g} pixels, as in blur:12"
        )
    return radius


class CoveringVideo:
    """A picture or a video, scaled so that it covers a frame and cut around its middle; a video loops.

    Attributes:
        warnings: one line each.
    """

    def __init__(self, path: str, form: VideoFormat) -> None:
        """Open the file.

        Args:
            form: of the frames that it lies behind.
        Raises:
            MediaError: it is no picture and no video, or its shape is too far from the frame's.
        """
        self.warnings: list[str] = []
        self._path, self._form = path, form
        if os.path.isdir(path):
            raise MediaError(f"background {path}: is a directory; expected a picture or a video")
        try:
            with open_video(path, max_frames=1) as reader:
                self._size = covering_size(reader.format, form)
        except MediaError as error:
            raise MediaError(f"background {error}") from error
        if self._size[0] * self._size[1] > MAX_PIXELS:
            raise MediaError(
                f"background {path}: would have {self._size[0]}x{self._size[1]} pixels to cover "
                f"{form.width}x{form.height}, at most {MAX_PIXELS} are supported; cut it to a similar shape"
            )
        self._frames = self._opened()
        self._began = Fraction(0)  # of the loop that plays, in seconds from the first frame shown
        self._length: Fraction | None = None  # of a loop, once it is known
        self._now = next(self._frames)
        self._ahead = next(self._frames, None)
        self._is_still = self._ahead is None

    def at(self, time: Fraction) -> np.ndarray:
        """The picture at a time, uint8 [H, W, 3].

        Args:
            time: seconds since the first frame; never less than at the call before.
        """
        while not self._is_still:
            if self._length is not None and time >= self._began + self._length:
                self._began += (time - self._began) // self._length * self._length
                self._frames = self._opened()
                self._now, self._ahead = next(self._frames), next(self._frames, None)
            elif self._ahead is not None and self._began + self._ahead[0] <= time:
                self._now, self._ahead = self._ahead, next(self._frames, None)
            elif self._ahead is None and self._length is None:
                self._length = self._now[1]
            else:
                break
        return self._now[2]

    def _opened(self) -> Iterator[tuple[Fraction, Fraction, np.ndarray]]:
        """Start and end in seconds from the first picture on, and what covers the frame."""
        form = self._form
        first: int | None = None
        with open_video(self._path, size=self._size) as reader:
            clock = reader.format.time_base
            for item in reader:
                if isinstance(item, Frame):
                    first = item.pts if first is None else first
                    start = item.pts - first
                    pixels = centred(item.pixels, form.width, form.height)
                    yield start * clock, (start + max(item.duration, 1)) * clock, pixels
            self.warnings += [
                f"background: {w}" for w in reader.warnings if f"background: {w}" not in self.warnings
            ]


def covering_size(background: VideoFormat, form: VideoFormat) -> tuple[int, int]:
    """Width and height that a background is scaled to: its shape, and nowhere smaller than the frame."""
    shape = Fraction(background.width, background.height)
    shape *= background.sample_aspect_ratio / form.sample_aspect_ratio
    if shape * form.height >= form.width:
        return max(form.width, round(shape * form.height)), form.height
    return form.width, max(form.height, round(form.width / shape))


def centred(pixels: np.ndarray, width: int, height: int) -> np.ndarray:
    """The middle [height, width, 3] of a picture that is at least as large."""
    y, x = (pixels.shape[0] - height) // 2, (pixels.shape[1] - width) // 2
    return pixels[y : y + height, x : x + width]
