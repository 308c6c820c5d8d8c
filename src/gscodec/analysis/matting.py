"""The region of interest of a clip: one soft matte per frame, from the source that `--roi` names.

The work is done by `people.py`, `human.py`, `portrait.py` and `mattefile.py`; they are imported when they are
needed, so that importing this module costs nothing. docs/matting.md compares them.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Protocol

import numpy as np

from gscodec.config import ROI_MODES
from gscodec.errors import ConfigError

NOBODY_IN_SOME = "nobody was found in some frames: there the whole frame is the region of interest"
NOBODY_AT_ALL = (
    "nobody was found in any frame: the whole frame is the region of interest; "
    "small text, as of a screen, is readable from --crf 8 on"
)


class _Source(Protocol):
    def matte(self, pixels: np.ndarray) -> np.ndarray | Callable[[], np.ndarray] | None:
        """float32 in [0, 1] or uint8 in 255ths, [H, W], or what makes it; None: nobody is there."""


class Matter:
    """Gives the mattes of a clip's successive frames; made by `make_matter`.

    Attributes:
        name: the mode in use: "full", "portrait", "human" or "file".
    """

    def __init__(self, name: str, source: _Source | None, warnings: list[str] | None = None) -> None:
        """Wrap a source of mattes; None: every frame is all of interest."""
        self.name = name
        self._source = source
        self._warnings = list(warnings or [])
        self._n_looked_at = self._n_empty = 0  # frames

    @property
    def warnings(self) -> list[str]:
        """One line each, of the frames so far."""
        nobody = []
        if self._n_empty:
            nobody = [NOBODY_AT_ALL if self._n_empty == self._n_looked_at else NOBODY_IN_SOME]
        return [*self._warnings, *nobody, *getattr(self._source, "warnings", [])]

    def matte(self, pixels: np.ndarray) -> np.ndarray:
        """Return the matte of the next frame.

        Args:
            pixels: uint8 [H, W, 3], R'G'B'.
        Returns:
            float32 [H, W] in [0, 1]; all ones where nobody is found, with a line in `warnings`.
        Raises:
            MediaError: a matte file has no picture for this frame.
            ConfigError: the network's output is no mask.
        """
        matte = self._find(pixels)()
        if matte.dtype == np.uint8:
            return matte.astype(np.float32) / np.float32(255)
        return np.ascontiguousarray(matte, np.float32)

    def begin(self, pixels: np.ndarray) -> Callable[[], np.ndarray]:
        """Look at the next frame; what then makes its matte in 255ths, uint8 [H, W], on any thread."""
        find = self._find(pixels)

        def codes() -> np.ndarray:
            matte = find()
            if matte.dtype == np.uint8:
                return matte
            return (matte * np.float32(255) + np.float32(0.5)).astype(np.uint8)

        return codes

    def codes(self, pixels: np.ndarray) -> np.ndarray:
        """The matte of the next frame in 255ths, uint8 [H, W], as encoders take it."""
        return self.begin(pixels)()

    def _find(self, pixels: np.ndarray) -> Callable[[], np.ndarray]:
        matte = None if self._source is None else self._source.matte(pixels)
        self._n_looked_at += 1
        if matte is None:
            self._n_empty += self._source is not None
            matte = np.full(pixels.shape[:2], 255, np.uint8)
        return (lambda: matte) if isinstance(matte, np.ndarray) else matte

    @property
    def may_pause(self) -> bool:
        """Whether frames may be left out; a matte file has a picture for each."""
        return self.name != "file"

    def reset(self) -> None:
        """Tell that the next frame is of another scene. A matte file goes on with its next picture."""
        reset = getattr(self._source, "reset", None)
        if reset is not None:
            reset()


def make_matter(roi: str, *, matte_model: str | None = None) -> Matter:
    """Make the source of mattes that a setting names.

    Args:
        roi: "auto", "human", "portrait", "full", or the path of an image or a video, white on people.
        matte_model: for "human" and "auto", instead of the network that comes with the package: an ONNX
            file, or "u2net_human_seg", the model that rembg fetches.
    Raises:
        ConfigError: no such mode and no such file; or `matte_model` is not usable.
        BackendError: the mode needs a package or a model that is not there.
        GscodecError: a file of the package is damaged.
        MediaError: the matte file cannot be read.
    """
    if roi == "full":
        return Matter("full", None)
    if roi == "portrait":
        from gscodec.analysis.portrait import PortraitMatter

        return Matter("portrait", PortraitMatter())
    if roi in ("human", "auto"):
        return Matter("human", _human(matte_model))
    if not os.path.exists(roi):
        raise ConfigError(
            f"--roi {roi!r} is neither a mode nor a file; permitted: {', '.join(ROI_MODES)}, "
            "or the path of an image or a video that is white on the person"
        )
    from gscodec.analysis.mattefile import MatteFile

    return Matter("file", MatteFile(roi))


def _human(matte_model: str | None) -> _Source:
    if matte_model is None:
        from gscodec.analysis.people import PeopleMatter

        return PeopleMatter()
    from gscodec.analysis.human import MODEL, HumanMatter

    return HumanMatter(None if matte_model == MODEL else matte_model)
