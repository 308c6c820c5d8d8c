"""Train the counters that every GOP of the adaptive coder begins with -> src/gscodec/coding/priors/BLEND.bin.

The table is part of the format: training anew makes another format. Clips are encoded at several crf; a
counter starts from how often its decisions were 1, and counts as having seen up to MOST_SEEN of them.

    python tools/train_prior.py CLIP ... [--blend sum] [--frames N] [--jobs N] [--out FILE]

It prints the SHA-256 that coding/prior.py has to name.
"""

from __future__ import annotations

import argparse
import hashlib
import itertools
import os
import struct
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from gscodec.bench.clips import load_clip
from gscodec.bench.suite_quick import MASKED
from gscodec.coding.adaptive import STREAMS
from gscodec.config import encoder_config
from gscodec.container.headers import FrameType
from gscodec.encode.encoder import Encoder
from gscodec.splat.raster import make_rasterizer

TABLES = Path(__file__).parents[1] / "src" / "gscodec" / "coding" / "priors"
CRFS = (38.0, 32.0, 27.0, 21.0)
GOP = 120  # most GOPs are open and go on past --gop
SIZE = "640x360"
PROTOCOLS: dict[str, dict[str, Any]] = {"masked": MASKED, "whole": {}}
N_NODES = 8  # zero, sign, length 1 to 5; longer ones are rare
N_INPUTS = 4
# The plain bits at the end have no counters; the sum has no log-weights, whose three streams come before.
N_STREAMS = {"normalised": len(STREAMS) - 1, "sum": len(STREAMS) - 4}
MOST_SEEN = 12
LEAST_SEEN = 12  # decisions in training that make an entry
PULL = 8.0  # decisions that a node's own frequency over all contexts is worth

Seen = dict[tuple[int, int, int, int], tuple[int, int]]  # stream, input, context, node -> zeros, ones
Rows = dict[tuple[int, int, int], list[int]]  # stream, input, context -> packed counters of the nodes


def train(clips: list[Path], n_frames: int, blend: str, jobs: int) -> tuple[Rows, np.ndarray]:
    """Counters, and weights in 1/64, int [streams, nodes, inputs]; clips are spread over `jobs` processes."""
    seen: Seen = {}
    weights = []
    with ProcessPoolExecutor(jobs) as pool:
        for counts, learnt in pool.map(count, clips, itertools.repeat(n_frames), itertools.repeat(blend)):
            for at, (zeros, ones) in counts.items():
                before = seen.get(at, (0, 0))
                seen[at] = before[0] + zeros, before[1] + ones
            weights.append(learnt)
    return table(seen), np.clip(np.rint(np.mean(weights, axis=0) / 1024), 0, 255).astype(int)


def count(path: Path, n_frames: int, blend: str) -> tuple[Seen, np.ndarray]:
    """What the decisions of a clip's encodings were, and the mean of the weights that they end with."""
    seen: Seen = {}
    weights, n_runs = np.zeros((N_STREAMS[blend], N_NODES, N_INPUTS)), 0
    clip = load_clip(path, SIZE, n_frames, "portrait")
    for crf, protocol in itertools.product(CRFS, PROTOCOLS):
        raster = make_rasterizer("cpu", clip.width, clip.height, 1, blend=blend)
        encoder = Encoder(encoder_config(crf=crf, blend=blend, **PROTOCOLS[protocol]), raster)
        core = encoder._coder._core
        core.decisions()
        for i, (pixels, matte) in enumerate(zip(clip.pictures(protocol), clip.mattes, strict=True)):
            kind = FrameType.P if i % GOP else FrameType.I
            encoder.encode(pixels, matte.astype(np.float32) / 255, kind)
        for stream, input_, context, node, zeros, ones in core.decisions().tolist():
            at = stream, input_, context, node
            before = seen.get(at, (0, 0))
            seen[at] = before[0] + zeros, before[1] + ones
        for place in np.ndindex(*weights.shape):
            weights[place] += core.weight(*place)
        n_runs += 1
        print(path.stem, crf, protocol, flush=True)
    return seen, weights / n_runs


def table(seen: Seen) -> Rows:
    """Counters as 256 times the probability in 1/256, plus the decisions seen; 0: untrained."""
    marginal: dict[tuple[int, int], np.ndarray] = {}
    for (stream, input_, _, node), both in seen.items():
        if input_ == 0:  # always in use
            marginal[stream, node] = marginal.get((stream, node), np.zeros(2)) + both
    rows: Rows = {}
    for (stream, input_, context, node), both in sorted(seen.items()):
        counts = np.array(both)
        if node >= N_NODES or counts.sum() < LEAST_SEEN:
            continue
        usual = (marginal[stream, node][1] + 0.4) / (marginal[stream, node].sum() + 0.8)
        p = (counts[1] + PULL * usual) / (counts.sum() + PULL)
        n = min(MOST_SEEN, 2 + int(counts.sum()) // 4)
        row = rows.setdefault((stream, input_, context), [0] * N_NODES)
        row[node] = int(np.clip(np.rint(p * 255), 2, 253)) << 8 | n
    return rows


def packed(rows: Rows, weights: np.ndarray) -> bytes:
    """The file (coding/prior.py)."""
    out = [b"GSVP", struct.pack("<HHI", len(weights), N_NODES, len(rows))]
    out += [struct.pack(f"<3B{N_NODES}H", *key, *counters) for key, counters in rows.items()]
    return b"".join([*out, weights.astype(np.uint8).tobytes()])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("clips", nargs="+", type=Path)
    parser.add_argument("--frames", type=int, default=120)
    parser.add_argument("--blend", choices=N_STREAMS, default="normalised")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="processes")
    options = parser.parse_args()
    found = packed(*train(options.clips, options.frames, options.blend, options.jobs))
    out = options.out or TABLES / f"{options.blend}.bin"
    out.write_bytes(found)
    print(f"{out}: {len(found)} bytes, SHA-256 {hashlib.sha256(found).hexdigest()}")


if __name__ == "__main__":
    main()
