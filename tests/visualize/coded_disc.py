"""A disc that moves over a ramp, coded as a person before a room."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
from video_clips import write_clip

from cli_tools import disc_frames
from gscodec import encode_file, encoder_config

WIDTH, HEIGHT = 48, 32


def write_disc(folder: Path, n_frames: int = 6, **settings: Any) -> tuple[Path, Path]:
    """The clip, and the .gsv that is made of it."""
    clip = write_clip(folder / "disc.mp4", disc_frames(n_frames, WIDTH, HEIGHT))
    return clip, encode_disc(folder, clip, **settings)


def write_matte(folder: Path) -> Path:
    """White where the disc passes."""
    matte = np.zeros((HEIGHT, WIDTH), np.uint8)
    cv2.circle(matte, (WIDTH * 2 // 5, HEIGHT // 2), 12, 255, -1)
    path = folder / "matte.png"
    cv2.imwrite(str(path), matte)
    return path


def encode_disc(folder: Path, clip: Path, **settings: Any) -> Path:
    """A clip as a .gsv of few Gaussians in few steps."""
    quick = {"gaussians": 40, "iterations": 5, "threads": 1, "backend": "cpu", "background_share": 0.4}
    roi = {"roi": str(write_matte(folder))}
    encode_file(clip, folder / "disc.gsv", encoder_config("realtime", **{**quick, **roi, **settings}))
    return folder / "disc.gsv"
