"""HDR pictures -> SDR: a .gsv holds 8-bit pictures, in which the curves PQ and HLG show bands."""

from __future__ import annotations

import threading
from itertools import pairwise
from typing import Any

import av
import av.filter

CURVES = {16: "PQ", 18: "HLG"}  # H.273 code points of transfer characteristics
_FLAGS = "flags=bicubic+accurate_rnd+full_chroma_int"
BT709 = 1  # primaries and transfer of the pictures that come out


class ToneMapper:
    """Turns HDR pictures into RGB of BT.709 with FFmpeg's swscale, which compresses bright parts.

    Several threads may call; one works at a time, since each would need seconds to set up tables of its own.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._form: tuple[Any, ...] = ()
        self._graph: Any = None

    def __call__(self, frame: av.VideoFrame) -> av.VideoFrame:
        """Return the picture as rgb24 in its size.

        Raises:
            av.FFmpegError: this FFmpeg cannot.
        """
        form = (frame.width, frame.height, frame.format.name, int(frame.color_trc), int(frame.colorspace))
        with self._lock:
            if form != self._form:
                self._graph, self._form = _graph(frame), form
            self._graph.push(frame)
            return self._graph.pull()


def has_peak(frame: av.VideoFrame) -> bool:
    """Whether a picture says how bright the display was that it was made on."""
    return frame.side_data.get("MASTERING_DISPLAY_METADATA") is not None


def _graph(frame: av.VideoFrame) -> Any:
    graph = av.filter.Graph()
    facts = {
        "video_size": f"{frame.width}x{frame.height}",
        "pix_fmt": frame.format.name,
        "time_base": "1/90000",
        "colorspace": str(int(frame.colorspace)),
        "range": str(int(frame.color_range)),
    }
    parts = [
        graph.add("buffer", ":".join(f"{key}={value}" for key, value in facts.items())),
        graph.add("scale", f"{_FLAGS}:out_transfer=bt709:out_primaries=bt709:intent=perceptual"),
        graph.add("format", "rgb24"),
        graph.add("buffersink"),
    ]
    for one, next_one in pairwise(parts):
        one.link_to(next_one)
    graph.configure()
    return graph
