"""Clips for bench_cuda.py: frames, and mattes and starts that were found where the native core is."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from gscodec.encode.budget import NORMALISED_RATES
from gscodec.encode.frame_store import MATTE_WEIGHT
from gscodec.encode.iframe import NORMALISED_WIDEN
from gscodec.splat.gaussians import CHOLESKY, opponent_from_rgb
from gscodec.splat.raster import FitSchedule

KINDS = ("sum", "normalised", "matted")  # the blend; matted: normalised, with the alpha fitted to the matte


def read_frames(path: Path, scale: float, limit: int) -> list[np.ndarray]:
    """R'G'B' uint8 [H, W, 3] of a clip's first frames."""
    capture, frames = cv2.VideoCapture(str(path)), []
    while len(frames) < limit:
        ok, frame = capture.read()
        if not ok:
            break
        if scale != 1:
            frame = cv2.resize(frame, None, fx=scale, fy=scale, interpolation=cv2.INTER_CUBIC)
        frames.append(np.ascontiguousarray(frame[:, :, ::-1]))
    if not frames:
        raise SystemExit(f"{path} has no pictures")
    return frames


def prepare(options: argparse.Namespace) -> None:
    """Write mattes and superpixel starts of every n-th frame."""
    from gscodec.analysis.matting import make_matter
    from gscodec.analysis.seeds import nearest_seeds
    from gscodec.analysis.superpixel import initial_gaussians

    frames = read_frames(options.clip, options.scale, options.frames)
    matter, mattes, starts, index = make_matter(options.roi), [], [], []
    for i, pixels in enumerate(frames):
        matte = matter.matte(pixels)
        if i % options.every:
            continue
        label = nearest_seeds(opponent_from_rgb(pixels), 0.5)
        start = initial_gaussians(pixels, matte >= 0.5, options.gaussians, label, room_share=0.0)
        index.append(i)
        mattes.append((255 * matte + 0.5).astype(np.uint8))
        starts.append(start.params)
    np.savez_compressed(
        options.out,
        clip=os.path.relpath(options.clip, Path(options.out).parent),
        scale=options.scale,
        n_frames=len(frames),
        index=index,
        mattes=mattes,
        starts=starts,
    )


def _with_weights(params: np.ndarray) -> np.ndarray:  # [N, 8] -> [N, 9]
    return np.concatenate([params, np.zeros((len(params), 1), np.float32)], axis=1)


def _normalised(params: np.ndarray) -> np.ndarray:  # [N, 8] -> [N, 9]
    """A start of the sum as one of the normalised blend, as encode/iframe.py makes it."""
    from gscodec.analysis.superpixel import WIDEN

    made = _with_weights(params)
    made[:, CHOLESKY] *= NORMALISED_WIDEN / WIDEN
    made[:, [2, 4]] = np.maximum(made[:, [2, 4]], 0.3)
    return made


class Case:
    """One prepared clip: frames, loss weights, mattes and starts, as one of KINDS."""

    def __init__(self, path: Path, kind: str = "sum") -> None:
        data = np.load(path)
        self.frames = read_frames(
            path.parent / str(data["clip"]), float(data["scale"]), int(data["n_frames"])
        )
        self.index, self.starts = data["index"], list(data["starts"])
        inside = [np.clip(2.0 * m.astype(np.float32) / 255 - 0.5, 0, 1) for m in data["mattes"]]
        self.weights = [(255 * (0.05 + 0.95 * w) + 0.5).astype(np.uint8) for w in inside]
        self.height, self.width = self.frames[0].shape[:2]
        self.name = f"{path.stem} {self.width}x{self.height} N={len(self.starts[0])} {kind}"
        self.blend, self._mattes = "sum" if kind == "sum" else "normalised", None
        if kind == "matted":
            self._mattes = [m.astype(np.float32) / 255 for m in data["mattes"]]
        self.of_the_sum = self.starts  # the same geometry whatever the blend
        if self.blend == "normalised":
            self.of_the_sum = [_with_weights(start) for start in self.starts]
            self.starts = [_normalised(start) for start in self.starts]

    def schedule(self, iterations: int, **settings: Any) -> FitSchedule:
        """As the encoder has it for the blend."""
        rates = NORMALISED_RATES if self.blend == "normalised" else {}
        return FitSchedule(iterations, **rates, **settings)

    def target(self, batch: Any, picks: list[int]) -> Any:
        """Pictures with their weights, and mattes where they are fitted, sent to the card."""
        pixels = np.stack([self.frames[self.index[i]] for i in picks])
        weights = np.stack([self.weights[i] for i in picks])
        if self._mattes is None:
            return batch.target(pixels, weights)
        return batch.target(pixels, weights, np.stack([self._mattes[i] for i in picks]), MATTE_WEIGHT)

    def picks(self, count: int) -> list[int]:
        return [i % len(self.starts) for i in range(count)]
