"""Layers of a frame -> the picture that is written: the person over a background, or the room alone."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction

import numpy as np

from gscodec.container.container import Stream
from gscodec.container.packet import Packet
from gscodec.decode.backgrounds import Background, CoveringVideo
from gscodec.decode.decoder import Sequence
from gscodec.decode.layers import Layer, split
from gscodec.decode.retime import Step
from gscodec.decode.span import Span
from gscodec.errors import ConfigError
from gscodec.video.frame import Frame, VideoFormat
from gscodec.video.room import RoomDecoder

MAX_ROOMS = 64  # pictures of the room that wait for their frames
_LAYERS: dict[str, tuple[Layer, ...]] = {  # others need the person alone
    "original": ("picture",),
    "blur": ("person", "room"),
    "removed": ("person", "room"),
}
_INSTEAD = {  # where nobody was found
    "color": "only the background is shown",
    "transparent": "everything is transparent",
    "file": "only the background is shown",
    "blur": "everything is blurred",
    "removed": "the whole picture is shown",
    "original": "the matte is black",
}


class Composer:
    """Makes the pictures that are written, frame after frame.

    Attributes:
        layers: what the decoder has to draw.
        alpha: pictures have an alpha.
    """

    def __init__(
        self,
        background: Background,
        sequence: Sequence,
        form: VideoFormat,
        matte: bool = False,
        room: Stream | None = None,
    ) -> None:
        """Open what is needed.

        Args:
            form: of the frames that are written. matte: mattes are wanted too.
            room: the last stream, where it is the room's video.
        Raises:
            ConfigError: the file has no room that could be shown.
            MediaError: the background cannot be read, or does not fit.
        """
        kind = background.kind
        if kind in ("blur", "removed") and sequence.background == "none":
            what = "blurred" if kind == "blur" else "shown alone"
            raise ConfigError(
                f"the file holds no room (--background none) that could be {what}; "
                "permitted: a colour, transparent, a picture or a video behind the person"
            )
        self.layers = _LAYERS.get(kind, ("person",))
        shows_room = kind in ("original", "blur", "removed")
        self._room = RoomDecoder(room.codec, form.width, form.height) if room and shows_room else None
        self._room_now: np.ndarray | None = None
        self._rooms: dict[int, np.ndarray] = {}  # by pts, of frames that come
        if (matte or self._room) and "person" not in self.layers:
            self.layers = (*self.layers, "person")
        self.alpha = kind == "transparent"
        self._background = background
        self._video = CoveringVideo(background.path, form) if kind == "file" else None
        self._color = np.full((form.height, form.width, 3), background.color, np.uint8)
        self._radius = background.radius or form.height / 30
        self._is_matte = matte
        self._start: Fraction | None = None
        self._n_frames = self._n_uncut = 0

    @property
    def warnings(self) -> list[str]:
        """One line each; grows while frames come."""
        lines = list(self._video.warnings) if self._video else []
        if self._n_uncut and "person" in self.layers:
            where = (
                "" if self._n_uncut == self._n_frames else f"{self._n_uncut} of {self._n_frames} frames of "
            )
            lines.append(
                f"no person is marked in {where}this file (nobody was found, or --roi full): there "
                f"{_INSTEAD[self._background.kind]}"
            )
        return lines

    def take(self, packet: Packet) -> None:
        """Decode a packet of the room."""
        picture = self._room.decode(packet.payload) if self._room else None
        if picture is not None:
            while len(self._rooms) >= MAX_ROOMS:
                del self._rooms[next(iter(self._rooms))]
            self._rooms[packet.pts] = picture

    def go_to(self, pts: int) -> None:
        """Tell the pts of the frame that is composed next: the room's picture is that of the same."""
        self._room_now = self._rooms.pop(pts, self._room_now)

    def compose(
        self, pixels: np.ndarray, is_cut_out: bool, time: Fraction
    ) -> tuple[np.ndarray, np.ndarray | None]:
        """Make the picture of a frame, and its matte if that is wanted.

        Args:
            pixels: the layers, as the decoder drew them, uint8 [H, W, channels].
            is_cut_out: person and room are told apart.
            time: of the frame, seconds; later than that of the frame before.
        Returns:
            R'G'B' uint8 [H, W, 3], or R'G'B'A [H, W, 4]; and uint8 [H, W] or None.
        """
        self._start = time if self._start is None else self._start
        self._n_frames += 1
        self._n_uncut += not is_cut_out
        parts = split(pixels, self.layers)
        if "person" not in parts:
            return pixels, None
        from gscodec.decode import matte  # OpenCV takes its time to load

        person = parts["person"].copy()
        if not is_cut_out:  # whatever is there is no person
            parts |= {"room": person[..., :3]} if "room" in parts else {}
            person[..., 3] = 0
        alpha = person[..., 3].copy()
        person[..., 3] = matte.cleaned(alpha)
        kept = person[..., 3].copy() if self._is_matte else None
        if self.alpha:
            return person, kept
        if "picture" in parts:
            if self._room_now is None or not is_cut_out:
                return np.ascontiguousarray(parts["picture"]), kept
            return over(np.dstack([parts["picture"], person[..., 3]]), self._room_now), kept
        if "room" in parts:
            if self._room_now is not None and is_cut_out:
                parts["room"] = self._room_now
            return self._over_room(person, parts["room"], alpha), kept
        behind = self._video.at(time - self._start) if self._video else self._color
        return over(person, behind), kept

    def _over_room(self, person: np.ndarray, room: np.ndarray, alpha: np.ndarray) -> np.ndarray:
        from gscodec.decode.fill import blurred, without_person

        alone = without_person(room, alpha)  # as drawn: also haze is no room
        return alone if self._background.kind == "removed" else over(person, blurred(alone, self._radius))


def composed(
    steps: Iterator[Step], composer: Composer, form: VideoFormat, span: Span | None, room_stream: int | None
) -> Iterator[tuple[Step, Frame | None, np.ndarray | None]]:
    """Steps of a decoder with the frames to write and their mattes.

    Args:
        form: of the frames; their times are in its ticks. room_stream: number of the room's video.
        span: the part that is wanted; frames outside of it are decoded, and no more.
    """
    for step in steps:
        p = step.packet
        if p is not None and p.stream == room_stream:
            composer.take(p)
            continue
        if p is not None and p.frame_type is not None:
            composer.go_to(p.pts)
        frame = step.frame
        if frame is not None and span:
            frame = span.frame(frame)
            if span.is_past:
                return
        if frame is None:
            yield step, None, None
            continue
        picture, matte = composer.compose(frame.pixels, step.is_cut_out, frame.pts * form.time_base)
        yield step, replace(frame, pixels=picture), matte


def over(person: np.ndarray, background: np.ndarray) -> np.ndarray:
    """Straight alpha over a picture, of code values.

    Args:
        person: R'G'B'A uint8 [H, W, 4]. background: R'G'B' uint8 [H, W, 3].
    """
    alpha = person[..., 3:].astype(np.uint16)
    mixed = alpha * person[..., :3] + (255 - alpha) * background + 127
    return np.asarray(mixed // 255, np.uint8)
