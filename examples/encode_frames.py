#!/usr/bin/env python3
"""Arrays to a .gsv, frame by frame: python examples/encode_frames.py out.gsv"""

import sys
from collections.abc import Iterator

import numpy as np

from gscodec import Encoder, GsvWriter, encoder_config

WIDTH, HEIGHT, FRAME_RATE = 160, 120, 25


def frames(n: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield (picture uint8 [H, W, 3], matte float32 [H, W]): a disc that crosses a plain room."""
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    for i in range(n):
        disc = np.hypot(x - 40 - 2 * i, y - HEIGHT / 2) < 30
        yield (
            np.where(disc[..., None], [220, 150, 110], [40, 60, 90]).astype(np.uint8),
            disc.astype(np.float32),
        )


def main() -> None:
    """Write a second to sys.argv[1]."""
    encoder = Encoder(encoder_config("fast", crf=24), WIDTH, HEIGHT, frame_rate=FRAME_RATE)
    with GsvWriter(sys.argv[1], encoder.streams) as writer:
        for i, (pixels, matte) in enumerate(frames(FRAME_RATE)):
            coded = encoder.encode(pixels, matte)
            writer.write(encoder.packet(coded, pts=i))
            print(f"{coded.frame_type.name} {i}: {len(coded.payload)} bytes, {coded.n_gaussians} Gaussians")


if __name__ == "__main__":
    main()
