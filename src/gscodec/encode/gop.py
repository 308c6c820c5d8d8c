"""Where GOPs begin: frame index and scene cuts -> FrameType.

A closed GOP ends where its length is over. An open one goes on while the state holds its quality: where a
closed one would end there is a recovery point instead, a P-frame from which pictures can be shown without
those before. After MAX_OPEN_GOPS lengths it ends all the same, so that who seeks need not read for long.
"""

from __future__ import annotations

from gscodec.container.headers import FrameType
from gscodec.encode.encoded import EncodedFrame

DECAY_DB = 3.0  # ROI-PSNR that P-frames may lose before an open GOP ends (docs/bits.md, "Open GOPs")
MAX_OPEN_GOPS = 5  # lengths after which an open GOP ends


def longest_gop(gop_length: int, is_open: bool) -> int:
    """Frames that a GOP may have at most, its I-frame counted."""
    return gop_length * (MAX_OPEN_GOPS if is_open else 1)


class GopCounter:
    """Counts frames to where a GOP is over, and GOPs to where an open one must end too."""

    def __init__(self, gop_length: int) -> None:
        """`gop_length`: frames of a GOP, its I-frame counted."""
        self._length = gop_length
        self._n_frames = self._n_gops = 0

    def due(self, is_cut: bool) -> tuple[FrameType, bool]:
        """The type that closed GOPs give the next frame, and whether open ones must have it so too."""
        is_over = self._n_frames >= self._length
        must = is_cut or self._n_frames == 0 or (is_over and self._n_gops >= MAX_OPEN_GOPS)
        return (FrameType.I if must or is_over else FrameType.P), must

    def took(self, frame_type: FrameType, must: bool) -> None:
        """Count a frame: the type that it got, and what `due` said that it must."""
        if frame_type == FrameType.P:
            self._n_frames += 1
        else:
            self._n_frames, self._n_gops = 1, 1 if must else self._n_gops + 1


class OpenGop:
    """Lets a GOP go on where it holds its quality."""

    def __init__(self, is_open: bool) -> None:
        """`is_open`: False leaves every frame the type it has."""
        self._is_open = is_open
        self._iframe_mse = self._last_mse = 0.0

    def type_of(self, asked: FrameType, must: bool) -> FrameType:
        """A frame's type, where closed GOPs give it `asked`, and whether it must have that (GopCounter)."""
        holds = self._last_mse <= self._iframe_mse * 10 ** (DECAY_DB / 10)
        is_kept = self._is_open and asked == FrameType.I and not must and holds
        return FrameType.RECOVERY if is_kept else asked

    def coded(self, frame: EncodedFrame) -> None:
        """Take note of a coded frame."""
        self._last_mse = frame.roi_error / max(1, frame.roi_samples)
        if frame.frame_type == FrameType.I:
            self._iframe_mse = self._last_mse
