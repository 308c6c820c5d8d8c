#!/usr/bin/env python3
"""Frames of a .gsv as arrays: python examples/decode_frames.py in.gsv"""

import sys
from collections.abc import Iterator

import numpy as np

from gscodec import Decoder, GsvReader


def frames(path: str) -> Iterator[tuple[float, np.ndarray, np.ndarray]]:
    """Yield (seconds, picture uint8 [H, W, 3], alpha of the person uint8 [H, W])."""
    with GsvReader(path) as reader:
        decoder = Decoder(reader.sequence)
        for packet in decoder.frames(reader):
            if packet.frame_type is None:  # sound, subtitles
                continue
            _, alpha = decoder.render_person(np.zeros(3, np.float32))
            yield float(packet.pts * reader.streams[0].time_base), decoder.render(), alpha


def main() -> None:
    """Print a line per frame of sys.argv[1]."""
    for time_s, picture, alpha in frames(sys.argv[1]):
        share = np.mean(alpha >= 128)
        print(f"{time_s:7.3f} s  mean colour {picture.mean((0, 1)).round()}  person {share:.0%}")


if __name__ == "__main__":
    main()
