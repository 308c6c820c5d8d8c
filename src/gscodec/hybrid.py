"""`--background hybrid`: the room as a side stream of video, without whoever stands before it."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator

import cv2
import numpy as np

from gscodec.decode.fill import without_person
from gscodec.parallel import Item, Job
from gscodec.thumbnails import is_scene_cut, thumbnail
from gscodec.video.room import RoomEncoder

_SURE = 230  # matte in 255ths from which on a pixel shows nothing of the room
# Two pixels around: a person is taken for smaller where the room is drawn, because alpha may be smaller than
# the matte, and for larger where it is remembered.
_SQUARE = np.ones((5, 5), np.uint8)


class RoomKeeper:
    """Makes pictures of the room: where people stand what was last seen there stays, which costs nothing."""

    def __init__(self) -> None:
        self._room: np.ndarray | None = None  # float32 [H, W, 3]
        self._seen: np.ndarray | None = None  # thumbnail of the last picture

    def without_people(self, pixels: np.ndarray, matte: np.ndarray) -> np.ndarray:
        """The room of the next picture, uint8 [H, W, 3].

        Args:
            pixels: uint8 [H, W, 3]. matte: uint8 [H, W], 255 is the person.
        """
        inside = cv2.erode((matte > _SURE).astype(np.uint8), _SQUARE)
        near = cv2.dilate((matte >= 255 - _SURE).astype(np.uint8), _SQUARE)
        now = thumbnail(pixels)
        if self._room is None or is_scene_cut(self._seen, now):
            self._room = without_person(pixels, near * np.uint8(255)).astype(np.float32)
        self._seen = now
        self._room = np.where(near[..., None], self._room, pixels).astype(np.float32)
        soft: np.ndarray = cv2.GaussianBlur(inside.astype(np.float32), (0, 0), 1.5) * inside
        made = pixels + soft[..., None] * (self._room - pixels)
        return np.clip(made + np.float32(0.5), 0, 255).astype(np.uint8)


def with_room(jobs: Iterable[Item], encoder: RoomEncoder, stream: int) -> Iterator[Item]:
    """Put the room's packet before each frame; frames wait for it.

    Args:
        stream: number of the room among the side streams, from 0 on.
    """
    keeper = RoomKeeper()
    waiting: deque[Item] = deque()
    ready: deque[Item] = deque()  # packets of the room, one for each frame, in order

    def paired() -> Iterator[Item]:
        while waiting and (ready or not isinstance(waiting[0], Job)):
            if isinstance(waiting[0], Job):
                yield ready.popleft()
            yield waiting.popleft()

    for item in jobs:
        waiting.append(item)
        if isinstance(item, Job):
            room = keeper.without_people(item.frame.pixels, item.matte)
            ready.extend(encoder.encode(room, item.frame.pts, stream))
        yield from paired()
    ready.extend(encoder.encode(None, 0, stream))
    yield from paired()
    yield from waiting
