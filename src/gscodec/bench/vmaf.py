"""VMAF through FFmpeg's filter libvmaf, where the FFmpeg inside PyAV has it: in wheels, from PyAV 19 on."""

from __future__ import annotations

import gc
import json
import tempfile
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np

from gscodec import interrupts
from gscodec.errors import MediaError

NOTE = "VMAF: the FFmpeg inside this PyAV has no libvmaf; wheels of PyAV 19 (Python 3.12 and newer) have it"


def vmaf_is_there() -> bool:
    return "libvmaf" in av.filter.filters_available


class VmafMeter:
    """Compares a clip with its original, frame by frame, and keeps only the score."""

    def __init__(self, width: int, height: int) -> None:
        with interrupts.lock:
            self._folder = tempfile.TemporaryDirectory()
            interrupts.unfinished.add(self._folder.name)
        self._log = Path(self._folder.name) / "vmaf.json"
        self._score: float | None = None
        self._pair = Pair(width, height, "libvmaf", f"log_fmt=json:log_path={self._log}")

    def add(self, decoded: np.ndarray, original: np.ndarray) -> None:
        """Take the next frame of both, uint8 [H, W, 3]."""
        self._pair.add(decoded, original)

    def score(self) -> float:
        """Mean VMAF of all frames, 0 to 100; no more frames can be added then.

        Raises:
            MediaError: the filter wrote no score.
        """
        if self._score is None:
            try:
                self._pair.close()
                self._score = score_of(self._log.read_text(encoding="utf-8") if self._log.exists() else "")
            finally:
                self._folder.cleanup()
                interrupts.unfinished.discard(self._folder.name)
        return self._score


class Pair:
    """A filter that takes two videos, fed frame by frame; what it has to say it writes as it is closed."""

    def __init__(self, width: int, height: int, name: str, arguments: str) -> None:
        self._n = 0
        self._graph: Any = av.filter.Graph()
        form = av.VideoFormat("yuv420p")
        self._inputs: list[Any] = [
            self._graph.add_buffer(width=width, height=height, format=form, time_base=Fraction(1, 25))
            for _ in range(2)
        ]
        compare = self._graph.add(name, arguments)
        self._sink: Any = self._graph.add("buffersink")
        for i, node in enumerate(self._inputs):
            node.link_to(compare, 0, i)
        compare.link_to(self._sink)
        self._graph.configure()

    def add(self, *pictures: np.ndarray) -> None:
        """Take the next frame of both, uint8 [H, W, 3]."""
        for node, pixels in zip(self._inputs, pictures, strict=True):
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels), format="rgb24")
            frame = frame.reformat(format="yuv420p")
            frame.pts, frame.time_base = self._n, Fraction(1, 25)
            node.push(frame)
        self._drain()
        self._n += 1

    def close(self) -> None:
        """Let the filter finish: it writes its log as it is freed."""
        while self._inputs:
            self._inputs.pop(0).push(None)
        self._drain()
        self._sink = self._graph = None
        gc.collect()  # in PyAV 19 a graph and its filters hold each other

    def _drain(self) -> None:
        while True:
            try:
                self._sink.pull()
            except (av.BlockingIOError, av.EOFError):
                return


def score_of(log: str) -> float:
    """The mean score in libvmaf's JSON log.

    Raises:
        MediaError: there is none.
    """
    try:
        return float(json.loads(log)["pooled_metrics"]["vmaf"]["mean"])
    except (ValueError, KeyError, TypeError) as error:
        raise MediaError(f"libvmaf wrote no score: {log[:80]!r}") from error
