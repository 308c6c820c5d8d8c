"""Which frames become B-frames: those that the frames around them show nearly as well as their own.

A B-frame costs nothing and takes no time, but is only as good as the mean of its neighbours: where something
turns, starts or stops in between it shows two ghosts. It is measured, not foretold: the P-frame behind it is
coded first, two frames away from its reference, and the mean of the two is compared with the source.
Where that fails the work was in vain, so after a failure pairs are left alone for a while.
"""

from __future__ import annotations

from gscodec.encode.encoded import EncodedFrame

# docs/bits.md, "B-frames"
MOST_ERROR = 1.2  # of a B-frame, over that of the P-frame behind it
MOST_GROWTH = 1.1  # of the error from the frame before both to that P-frame
MOST_WAIT = 8  # pairs that are left alone at most


class PairRule:
    """Decides for the pairs of a GOP, one after the other."""

    def __init__(self, room_weight: float) -> None:
        """`room_weight`: of a room pixel's squared error; one of the person has 1."""
        self._room_weight = room_weight
        self.restart()

    def restart(self) -> None:
        """Begin a GOP."""
        self._wait = 0  # pairs left alone before the next is tried
        self._penalty = 1  # pairs that the next failure costs

    def tries(self) -> bool:
        """Whether the next pair's first frame may become a B-frame. Once a pair."""
        self._wait -= 1
        return self._wait < 0

    def accepts(self, before: EncodedFrame, middle: EncodedFrame, coded: EncodedFrame) -> bool:
        """Whether a B-frame is good enough, and the P-frame behind it, two frames from its reference.

        Args:
            before: the last frame before both that is no B-frame. middle: the B-frame. coded: the P-frame.
        """
        error = self._error(coded)
        good = self._error(middle) <= MOST_ERROR * error and error <= MOST_GROWTH * self._error(before)
        self._wait = 0 if good else self._penalty
        self._penalty = 1 if good else min(MOST_WAIT, 2 * self._penalty)
        return good

    def _error(self, frame: EncodedFrame) -> float:
        return frame.roi_error + self._room_weight * (frame.error - frame.roi_error)
