"""Latency of a live chain: pictures at their times -> `encode - -` -> `decode - -` -> a look at the clock.

python tools/live_chain.py CLIP --fps 25 -- --preset realtime --deadline 33 --no-b-frames
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import threading
import time
from itertools import cycle, islice
from pathlib import Path

import numpy as np

from gscodec.video.frame import Frame
from gscodec.video.reader import open_video

GSCODEC = (sys.executable, "-m", "gscodec")


def main() -> None:
    """Run the chain and print what it took."""
    parser = argparse.ArgumentParser(epilog="After -- come options of `gscodec encode`.")
    parser.add_argument("clip", type=Path)
    parser.add_argument(
        "--fps", type=float, default=25, help="at which pictures come; 0: as fast as they are taken"
    )
    parser.add_argument("--frames", type=int, default=250)
    parser.add_argument("--size", default="640x360")
    given = [*sys.argv[1:], "--"]
    args = parser.parse_args(given[: given.index("--")])
    options = given[given.index("--") + 1 : -1]
    with open_video(args.clip, size=args.size, max_frames=args.frames) as reader:
        pictures = [item.pixels.tobytes() for item in reader if isinstance(item, Frame)]
        size = f"{reader.format.width}x{reader.format.height}"
    raw = ("-f", "rawvideo", "--pix-fmt", "rgb24")
    described = (*raw, "--input-size", size, "--rate", f"{args.fps or 25:g}")
    pipe = subprocess.PIPE
    encode = subprocess.Popen(
        [*GSCODEC, "encode", "-q", *described, *options, "-", "-"], stdin=pipe, stdout=pipe
    )
    decode = subprocess.Popen([*GSCODEC, "decode", "-q", *raw, "-", "-"], stdin=encode.stdout, stdout=pipe)
    assert encode.stdin
    assert encode.stdout
    assert decode.stdout
    encode.stdout.close()  # decode's now
    sent: list[float] = []

    def feed() -> None:
        began = time.perf_counter()
        for i, picture in enumerate(islice(cycle(pictures), args.frames)):
            if args.fps:
                time.sleep(max(0.0, began + i / args.fps - time.perf_counter()))
            sent.append(time.perf_counter())
            encode.stdin.write(picture)
            encode.stdin.flush()
        encode.stdin.close()

    began = time.perf_counter()
    threading.Thread(target=feed, daemon=True).start()
    got = []
    while len(decode.stdout.read(len(pictures[0]))) == len(pictures[0]):
        got.append(time.perf_counter())
    if encode.wait() or decode.wait() or not got:
        sys.exit("the chain failed")
    half = 1e3 * (np.array(got) - sent)[len(got) // 2 :]
    print(
        f"{len(got)} frames, the first after {got[0] - began:.2f} s, {len(got) / (got[-1] - began):.1f} FPS; "
        f"later half: latency {np.median(half):.0f} ms, 99 % {np.percentile(half, 99):.0f} ms"
    )


if __name__ == "__main__":
    main()
