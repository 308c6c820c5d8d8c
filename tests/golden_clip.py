"""What the encoder makes of the demo clip: the measurement behind tests/golden.json.

The kernels are those of the baseline instruction set on every machine, so that what differs is the encoder.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from video_clips import write_clip

from gscodec import encode_file, encoder_config
from gscodec.bench.democlip import demo_frames
from gscodec.splat.cpu.raster import CpuRasterizer

FILE = Path(__file__).with_name("golden.json")
SIZE = 160, 96
N_FRAMES, GOP = 24, 8
RUNS: dict[str, dict[str, Any]] = {
    "crf 20": {"crf": 20.0},
    "crf 26": {"crf": 26.0},
    "crf 32": {"crf": 32.0},
    "bitrate 40": {"bitrate": 40.0},
    "open GOP": {"crf": 26.0, "open_gop": True},
}
Figures = dict[str, Any]


def write_source(folder: Path) -> tuple[Path, Path]:
    """The clip and its mattes, both without loss: two paths."""
    frames = list(demo_frames(N_FRAMES, *SIZE))
    lossless: Any = {"codec": "ffv1", "pix_fmt": "bgr0", "rate": 30, "time_base": Fraction(1, 30)}
    clip = write_clip(folder / "clip.mkv", [pixels for pixels, _ in frames], **lossless)
    mattes = [cv2.cvtColor(np.uint8(255 * m + 0.5), cv2.COLOR_GRAY2RGB) for _, m in frames]
    return clip, write_clip(folder / "mattes.mkv", mattes, **lossless)


def measure(run: str, source: Path, mattes: Path, coded: Path, threads: int = 1) -> Figures:
    """Encode the clip with the settings of a run.

    Returns:
        frames, iframes: numbers that must be exact. bytes: of the coded frames. roi_db, db: of what a
        decoder shows.
    """
    config = encoder_config(
        "medium",
        backend="cpu",
        roi=str(mattes),
        gop_length=GOP,
        threads=threads,
        **{"open_gop": False} | RUNS[run],
    )
    with baseline_kernels():
        tally = encode_file(source, coded, config)
    return {
        "frames": tally.n_frames,
        "iframes": tally.n_iframes,
        "bytes": tally.n_video_bytes,
        "roi_db": round(tally.roi_psnr_db, 3),
        "db": round(tally.psnr_db, 3),
    }


@contextmanager
def baseline_kernels() -> Iterator[None]:
    """While this is open, every rasteriser that names no instruction set gets the baseline's kernels."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(CpuRasterizer.__init__, "__defaults__", (1, "baseline", "sum"))
        assert CpuRasterizer(8, 8).isa == "baseline"
        yield


def measure_all() -> dict[str, Figures]:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        clip, mattes = write_source(folder)
        return {run: measure(run, clip, mattes, folder / "x.gsv") for run in RUNS}


def stored() -> dict[str, Figures]:
    return json.loads(FILE.read_text(encoding="utf-8"))
