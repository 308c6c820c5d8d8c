#!/usr/bin/env python3
"""Show that memory does not grow with the length of a clip: peak RSS of encode and decode, as a table.

python tools/measure_memory.py --frames 100 2000 --size 640x360
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from fractions import Fraction
from pathlib import Path

import numpy as np

from gscodec.video.frame import Frame, VideoFormat
from gscodec.video.writer import VideoWriter

QUICK = "--preset realtime --roi full --gaussians 100 --gop 20 --threads 2"


def main() -> None:
    """Parse the command line and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--frames", type=int, nargs="+", default=[100, 500, 2000])
    parser.add_argument("--size", default="640x360")
    parser.add_argument("options", nargs="*", default=QUICK.split(), help="of gscodec encode, behind --")
    args = parser.parse_args()
    width, height = map(int, args.size.split("x"))
    print(f"`gscodec encode {' '.join(args.options)}`, {args.size}:\n")
    print("| frames | encode, peak MiB | encode, s | decode, peak MiB | decode, s |\n|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        for n_frames in args.frames:
            clip, gsv, out = (str(Path(folder) / f"{n_frames}.{end}") for end in ("mp4", "gsv", "out.mp4"))
            write_clip(clip, n_frames, width, height)
            encode = peak_of("encode", "-q", clip, gsv, *args.options)
            decode = peak_of("decode", "-q", gsv, out)
            print(
                f"| {n_frames} | {encode[0]:.0f} | {encode[1]:.1f} | {decode[0]:.0f} | {decode[1]:.1f} |",
                flush=True,
            )


def write_clip(path: str, n_frames: int, width: int, height: int) -> None:
    """Write a clip in which everything moves a little: a textured disc over a ramp, with a camera's noise."""
    y, x = np.mgrid[:height, :width].astype(np.float32)
    ramp = np.stack((70 + 90 * x / width, 80 + 60 * y / height, 120 - 50 * x / width), -1)
    noise = np.random.default_rng(0).normal(0, 2, (height, width, 3)).astype(np.float32)
    video = VideoFormat(width, height, Fraction(1, 30), Fraction(30))
    with VideoWriter(path, video, vcodec="libx264", crf=20, preset="ultrafast") as writer:
        for n in range(n_frames):
            center = width * (0.5 + 0.1 * np.sin(n / 40)), height * (0.5 + 0.1 * np.cos(n / 31))
            far = np.hypot(x - center[0], y - center[1]) / (0.3 * height)
            disc = np.clip(8 * (1 - far), 0, 1)[..., None]
            face = 150 + 60 * np.sin(far * 9)[..., None] * np.array([1, 0.8, 0.6], np.float32)
            pixels = ramp + disc * (face - ramp) + np.roll(noise, 7 * n, (0, 1))
            writer.write(Frame(np.clip(pixels, 0, 255).astype(np.uint8), n, 1))


def peak_of(*args: str) -> tuple[float, float]:
    """Run `gscodec args`; return its peak resident memory in MiB and how long it took in seconds."""
    began = time.perf_counter()
    process = subprocess.Popen([sys.executable, "-m", "gscodec", *args])
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        sys.exit(f"gscodec {args[0]} failed")
    unit = 1 if sys.platform == "darwin" else 1024  # bytes there, KiB here
    return usage.ru_maxrss * unit / 2**20, time.perf_counter() - began


if __name__ == "__main__":
    main()
