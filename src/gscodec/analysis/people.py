"""The people of a video, by the network that comes with the package: what `--roi human` and `auto` are.

The network sees each frame by itself, at a small size, and its answers differ a little from frame to frame
even where nothing moves. So a matte is carried from frame to frame, and what the network says about a pixel
counts the more, the more the picture has changed there since the matte was made: all of it where a hand
moves, little where the picture stands still. Then blobs that are nobody are taken out, and a guided filter
fits the edge to the picture at full size. docs/matting.md has costs, accuracy and what it gets wrong.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import cv2
import numpy as np

from gscodec.analysis.blobs import PeopleBlobs
from gscodec.analysis.guided import guided_filter
from gscodec.analysis.network import load_network, make_runner

GUIDE_SIDE = 256  # the long side of the picture in which the guided filter finds its coefficients
STILL_SHARE = 0.03  # what the network's answer counts where nothing has changed
STILL_CHANGE = 2.0  # code values of change that still count as none …
FULL_CHANGE = 8.0  # … and from which on only the new answer counts
CHANGE_REACH = 3  # pixels of the network's picture: so wide a square around a change counts as changed


class PeopleMatter:
    """Finds the people of successive frames."""

    name = "human"

    def __init__(self) -> None:
        """Load the network, and the cascades that tell people from things.

        Raises:
            GscodecError: the network's file is damaged. BackendError: this OpenCV has no cascades.
        """
        network = load_network()
        self._size = network.width, network.height
        self._network = make_runner()
        self._blobs = PeopleBlobs()
        self.reset()

    def reset(self) -> None:
        """Forget everything: the next frame is of another scene."""
        self._state: np.ndarray | None = None  # the matte so far, float32 at the network's size
        self._seen: np.ndarray | None = None  # the picture that it belongs to, float32 R'G'B'
        self._shape: tuple[int, ...] | None = None
        self._blobs.reset()

    def matte(self, pixels: np.ndarray) -> Callable[[], np.ndarray] | None:
        """Find the people of the next frame.

        Args:
            pixels: uint8 [H, W, 3], R'G'B'; another size counts as another scene.
        Returns:
            What makes their matte, float32 [H, W] in [0, 1], 1 on people, on any thread: the next frame needs
            none of that work. None when there is nobody.
        """
        if self._shape != pixels.shape:
            self.reset()
            self._shape = pixels.shape
        small = _resized(pixels, self._size)
        matte, changed = self._smoothed(small, self._network.run(small))
        people = self._blobs.people(matte, changed, pixels)
        if people is None:
            return None
        scale = GUIDE_SIDE / max(pixels.shape[:2])
        size = max(1, round(pixels.shape[1] * scale)), max(1, round(pixels.shape[0] * scale))
        guide = small if size == self._size else _resized(pixels, size)
        rough = cv2.resize(people, size, interpolation=cv2.INTER_LINEAR)
        return partial(guided_filter, pixels, guide, rough)

    def _smoothed(self, small: np.ndarray, found: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Take the network's answer about a small picture into the matte so far.

        The picture that the matte belongs to is blended as the matte is. Thus slow changes, each too small to
        count, add up until they do.

        Returns:
            The matte, and how much each of its pixels has changed, 0 … 1.
        """
        seen = small.astype(np.float32)
        if self._state is None or self._seen is None:
            self._state, self._seen = found, seen
            return found, np.zeros_like(found)
        # OpenCV, since NumPy takes four times as long for the same.
        step = cv2.subtract(seen, self._seen)
        red, green, blue = cv2.split(cv2.absdiff(seen, self._seen))
        change = cv2.blur(cv2.max(cv2.max(red, green), blue), (3, 3))
        change = cv2.dilate(change, np.ones((CHANGE_REACH, CHANGE_REACH), np.uint8))
        changed = np.clip((change - STILL_CHANGE) / (FULL_CHANGE - STILL_CHANGE), 0, 1)
        share = STILL_SHARE + (1 - STILL_SHARE) * changed
        self._state = self._state + share * (found - self._state)
        self._seen = cv2.add(self._seen, cv2.multiply(step, cv2.merge([share, share, share])))
        return self._state, changed


def _resized(pixels: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    shrinking = pixels.shape[1] > size[0] or pixels.shape[0] > size[1]
    return cv2.resize(pixels, size, interpolation=cv2.INTER_AREA if shrinking else cv2.INTER_LINEAR)
