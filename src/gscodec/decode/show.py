"""What a decoder shows: a frame's sum, held at the frame before where that is near.

Sums of a thousand Gaussians tremble by a few code values wherever one of them changes. Holding takes most of
that away and costs little PSNR (docs/bits.md, "Standing still"); docs/bitstream.md, "Hold", specifies it.
"""

from __future__ import annotations

import numpy as np

from gscodec.decode import _native


def tolerances(hold: int) -> np.ndarray:  # -> [3]
    """Code values by which R', G', B' may stay behind, uint8: green most, because luma has most of it."""
    return np.array([(hold + 1) // 2, hold, (hold + 1) // 3], np.uint8)


class Holder:
    """Holds the pictures of one stream, frame after frame."""

    def __init__(self, hold: int) -> None:
        self._tolerances = tolerances(hold)
        self._before: np.ndarray | None = None

    def show(self, picture: np.ndarray, restart: bool) -> None:
        """Turn a frame's sum into what is shown, in place.

        Args:
            picture: R'G'B' uint8 [H, W, 3]. restart: an I-frame or a recovery point, which
                are shown as they are.
        """
        if not self._tolerances.any():
            return
        if restart or self._before is None:
            self._before = picture.copy()
        else:
            _native.hold(self._before, picture, self._tolerances)
