"""What a decoder shows: a frame's sum, held at the frame before where that is near.

Sums of a thousand Gaussians tremble by a few code values wherever one of them changes. Holding takes most of
that away and costs little PSNR (docs/bits.md, "Standing still"); docs/bitstream.md, "Hold", specifies it.
"""

from __future__ import annotations

import numpy as np

from gscodec.decode import _native


def tolerances(hold: int, channels: str = "rgb") -> np.ndarray:  # -> [len(channels)]
    """Code values by which channels may stay behind, uint8: green most, because luma has most of it.

    Args:
        channels: a letter for each, r, g, b or a; alpha like green, because it moves all of a pixel.
    """
    of = {"r": (hold + 1) // 2, "g": hold, "b": (hold + 1) // 3, "a": hold}
    return np.array([of[channel] for channel in channels], np.uint8)


def keep_between(picture: np.ndarray, before: np.ndarray, after: np.ndarray) -> None:
    """Take from a picture, in place, what two others do not span; uint8 [H, W, 3] all."""
    np.clip(picture, np.minimum(before, after), np.maximum(before, after), out=picture)


class Holder:
    """Holds the pictures of one stream, frame after frame."""

    def __init__(self, hold: int, channels: str = "rgb") -> None:
        self._tolerances = tolerances(hold, channels)
        self._before: np.ndarray | None = None  # what was shown one frame earlier than _now
        self._now: np.ndarray | None = None

    def show(self, picture: np.ndarray, restart: bool) -> None:
        """Turn a frame's sum into what is shown, in place.

        Args:
            picture: uint8 [H, W, channels]. restart: an I-frame or a recovery point, which
                are shown as they are.
        """
        if not self._tolerances.any():
            return
        now = picture if restart or self._now is None else self._now
        self._before, self._now = self._now, now.copy()
        if now is not picture:
            _native.hold(self._now, picture, self._tolerances)

    def show_between(self, picture: np.ndarray) -> None:
        """Turn a B-frame's sum into what is shown, in place: nothing that both its neighbours do not span.

        The last frame shown is the P-frame after it; nothing else of the stream depends on it.
        """
        if self._tolerances.any() and self._before is not None and self._now is not None:
            keep_between(picture, self._before, self._now)

    def take_back(self) -> None:
        """Forget the last frame shown, as if the one before it were the last."""
        self._before, self._now = None, self._before
