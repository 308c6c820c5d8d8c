#!/usr/bin/env python3
"""Draw the first picture of README.md and those of docs/visualize.md, from two sentences of the GRID corpus.

python tools/look_pictures.py swiz3n.mpg lbbc2a.mpg

GRID (Cooke, Barker, Cunningham, Shao 2006, CC BY 4.0) is not part of this repository. The evening behind the
person is drawn here.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

import cv2
import numpy as np

IMAGES = Path(__file__).parents[1] / "docs" / "img"
FIRST = (
    "--what",
    "picture,ellipses,person",
    "--preset",
    "medium",
    "--crf",
    "20",
    "--at",
    "0.6",
    "--panel",
    "500",
)
VIEWS = ("picture", "ellipses", "superpixels", "roi", "changed", "bits", "alpha", "person")
EACH = ("--preset", "medium", "--crf", "24", "--panel", "420", "--frames", "2")
SKY = ((0.0, (26, 32, 78)), (0.45, (120, 66, 120)), (0.75, (236, 128, 96)), (1.0, (255, 206, 138)))
HILLS = ((0.60, (136, 84, 118)), (0.69, (88, 58, 104)), (0.79, (50, 40, 82)), (0.90, (24, 24, 52)))


def main() -> None:
    """Write the pictures into docs/img."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("first", help="clip for README.md")
    parser.add_argument("others", help="clip for docs/visualize.md")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        evening = Path(folder) / "evening.png"
        cv2.imwrite(str(evening), np.ascontiguousarray(draw_evening(1125, 900)[:, :, ::-1]))
        visualize(args.first, "look.jpg", *FIRST, "--background", str(evening))
    for name in VIEWS:
        visualize(args.others, f"look-{name}.jpg", *EACH, "--what", name)


def visualize(clip: str, name: str, *options: str) -> None:
    """Run `gscodec visualize` and say how large its picture is."""
    path = IMAGES / name
    command = [sys.executable, "-m", "gscodec", "visualize", clip, str(path), "-y", *options]
    subprocess.run(command, check=True)
    print(f"{path.name}: {path.stat().st_size} bytes")


def draw_evening(width: int, height: int) -> np.ndarray:  # -> uint8 [H, W, 3]
    """Hills one behind the other under a low sun, a little out of focus."""
    x, y = np.arange(width) / width, np.arange(height) / height
    depths, colors = [d for d, _ in SKY], np.array([c for _, c in SKY], float)
    sky = np.stack([np.interp(y / 0.72, depths, colors[:, k]) for k in range(3)], axis=-1)
    picture = np.repeat(sky[:, None], width, axis=1)
    far = np.hypot((x[None] - 0.76) * width / height, y[:, None] - 0.50)
    glow = np.exp(-((far / 0.28) ** 2)) * 0.55 + np.clip((0.072 - far) * height / 3, 0, 1)
    picture += np.clip(glow, 0, 1)[:, :, None] * (np.array([255, 238, 196]) - picture)
    for i, (base, color) in enumerate(HILLS):
        waves = ((1.3 + 0.9 * i, 0.040), (3.1 + 1.7 * i, 0.020), (7.7 + 2.9 * i, 0.008))
        ridge = base + sum(a * np.sin(2 * np.pi * (f * x + 0.37 * i + 0.11 * f)) for f, a in waves)
        below = np.clip((y[:, None] - ridge[None]) * height / 2, 0, 1)[:, :, None]
        mist = np.clip((y[:, None] - ridge[None]) / 0.16, 0, 1)[:, :, None]
        layer = np.array(color) * (1.12 - 0.2 * mist) + (1 - mist) * 8
        picture += below * (layer - picture)
    return np.clip(cv2.GaussianBlur(picture, (0, 0), 5.0) + 0.5, 0, 255).astype(np.uint8)


if __name__ == "__main__":
    main()
