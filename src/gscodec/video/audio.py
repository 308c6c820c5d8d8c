"""Sound coded anew: packets of a source's sound -> Opus at a bitrate. `sidestreams` copies it instead."""

from __future__ import annotations

import io
from fractions import Fraction
from typing import Any

import av

from gscodec.video.frame import SidePacket, SideStream
from gscodec.video.sidestreams import describe

RATE = 48_000  # Hz: Opus's clock, whatever the source's
_TIME_BASE = Fraction(1, RATE)


class OpusEncoder:
    """Decodes one stream of sound and encodes it as Opus.

    Attributes:
        side_stream: what comes out.
    """

    def __init__(self, stream: Any, kbit: float):
        """Set up for an input stream of sound.

        Args:
            stream: PyAV's, of type audio.
            kbit: kb/s.

        Raises:
            ValueError, av.FFmpegError: FFmpeg has no decoder for it, or libopus refuses it.
        """
        self._decoder = stream.codec_context
        if self._decoder is None:
            raise ValueError("no decoder for the sound")
        layout = "mono" if self._decoder.layout.nb_channels == 1 else "stereo"
        self._home = av.open(io.BytesIO(), "w", format="matroska")  # an encoder needs a file to belong to
        out: Any = self._home.add_stream("libopus", rate=RATE, layout=layout)
        out.bit_rate = round(kbit * 1000)
        self._home.start_encoding()
        self._encoder = out.codec_context
        self._resampler = av.AudioResampler(
            format="flt", layout=layout, rate=RATE, frame_size=self._encoder.frame_size
        )
        self.side_stream: SideStream = describe(out, _TIME_BASE)

    def feed(self, packet: Any, index: int) -> list[SidePacket]:
        """Return what a packet of the source comes to; damage is left out.

        Args:
            packet: PyAV's; None ends the stream.
            index: of the side stream.
        """
        try:
            blocks = self._decoder.decode(packet)
        except av.FFmpegError:
            blocks = []
        made = []
        for block in [*blocks, *([None] if packet is None else [])]:
            for part in self._resampler.resample(block):
                made += self._encoder.encode(part)
        if packet is None:
            made += self._encoder.encode(None)
        return [SidePacket(index, p.pts, p.pts, p.duration or 0, True, bytes(p)) for p in made]
