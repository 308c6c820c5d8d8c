"""Clips for bench_cuda.py: frames, and mattes and starts that were found where the native core is."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

import cv2
import numpy as np

from gscodec.splat.gaussians import opponent_from_rgb


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


class Case:
    """One prepared clip: frames, loss weights and starts."""

    def __init__(self, path: Path) -> None:
        data = np.load(path)
        self.frames = read_frames(
            path.parent / str(data["clip"]), float(data["scale"]), int(data["n_frames"])
        )
        self.index, self.starts = data["index"], list(data["starts"])
        inside = [np.clip(2.0 * m.astype(np.float32) / 255 - 0.5, 0, 1) for m in data["mattes"]]
        self.weights = [(255 * (0.05 + 0.95 * w) + 0.5).astype(np.uint8) for w in inside]
        self.height, self.width = self.frames[0].shape[:2]
        self.name = f"{path.stem} {self.width}x{self.height} N={len(self.starts[0])}"

    def picks(self, count: int) -> list[int]:
        return [i % len(self.starts) for i in range(count)]
