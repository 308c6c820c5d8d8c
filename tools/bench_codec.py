"""Times the whole codec on a machine: live frames, clips off-line, a file to pixels; any backend.

    python tools/bench_codec.py clip.mp4 [more.mp4 ...] --backend cuda cpu --presets realtime medium

Live is one encoder with all of the machine on each frame, from pictures in host memory to packets. Off-line
is `gscodec encode` in this process, from file to file. The ROI may be a matte's file, beside each clip as
NAME_matte.mkv, so that machines without the portrait matte's model see the same person.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import product
from pathlib import Path

import numpy as np

from gscodec.analysis.matting import make_matter
from gscodec.config import BLENDS, DecoderLimits, encoder_config
from gscodec.container.container import GsvReader
from gscodec.container.headers import FrameType
from gscodec.container.packet import Packet
from gscodec.decode.decoder import Decoder
from gscodec.encode.encoder import Encoder
from gscodec.metrics import psnr_db
from gscodec.splat.raster import make_rasterizer
from gscodec.transcode import encode_file
from gscodec.video.frame import Frame
from gscodec.video.reader import open_video

LIVE_FRAMES = 150


def roi_of(clip: Path) -> str:
    """The matte file beside a clip, else whatever finds a person here."""
    matte = clip.with_name(f"{clip.stem}_matte.mkv")
    return str(matte) if matte.exists() else "auto"


def live(clip: Path, backend: str, preset: str, gop: int, blend: str) -> str:
    """One encoder, frame after frame."""
    matter, frames = make_matter(roi_of(clip)), []
    for item in open_video(clip, max_frames=LIVE_FRAMES):
        if isinstance(item, Frame):
            frames.append((item.pixels, matter.codes(item.pixels)))
    height, width = frames[0][0].shape[:2]
    config = encoder_config(preset, backend=backend, gop_length=gop, blend=blend)
    raster = make_rasterizer(backend, width, height, blend=blend)
    for _ in range(2):  # the second time everything is compiled and warm
        encoder, seconds, coded = Encoder(config, raster), [], []
        for i, (pixels, matte) in enumerate(frames):
            begin = time.perf_counter()
            coded.append(encoder.encode(pixels, matte, FrameType.P if i % gop else FrameType.I))
            seconds.append(time.perf_counter() - begin)
    inter = 1e3 * np.array([s for s, c in zip(seconds, coded, strict=True) if c.frame_type == FrameType.P])
    intra = 1e3 * np.median([s for s, c in zip(seconds, coded, strict=True) if c.frame_type == FrameType.I])
    db = psnr_db(sum(c.roi_error for c in coded), sum(c.roi_samples for c in coded))
    return (
        f"live {preset} GOP {gop}: {len(seconds) / sum(seconds):.0f} FPS; P-frame {np.median(inter):.2f} ms "
        f"median, {np.percentile(inter, 95):.2f} 95 %; I-frame {intra:.1f} ms; {db:.2f} dB, "
        f"{sum(len(c.payload) for c in coded) / 1e3:.1f} kB"
    )


def offline(clip: Path, backend: str, preset: str, gop: int, threads: int, blend: str, out: Path) -> str:
    """From file to file."""
    config = encoder_config(
        preset, backend=backend, roi=roi_of(clip), gop_length=gop, threads=threads, blend=blend
    )
    tally = encode_file(clip, out, config)
    return (
        f"off-line {preset} GOP {gop}, {threads or 'all'} threads: {tally.fps:.0f} FPS, "
        f"{tally.roi_psnr_db:.2f} dB, {tally.n_bytes / 1e3:.1f} kB, {tally.n_frames} frames"
    )


def gops_of(path: Path) -> tuple[dict[str, object], list[list[Packet]]]:
    with GsvReader(path, DecoderLimits()) as reader:
        gops: list[list[Packet]] = []
        for packet in reader:
            if packet.frame_type == FrameType.I:
                gops.append([])
            if packet.frame_type is not None:
                gops[-1].append(packet)
        return reader.sequence, gops


def to_pixels(path: Path, backend: str) -> Iterator[str]:
    """A file decoded to pictures in host memory: one frame after another, and GOPs side by side."""
    header, gops = gops_of(path)
    n_frames = sum(map(len, gops))

    def decode(gop: list[Packet], decoder: Decoder) -> int:
        for _ in decoder.frames(gop):
            decoder.render()
        return len(gop)

    for workers in (1, 4, 16):
        decoders = [Decoder(header, backend=backend, threads=1) for _ in range(workers)]
        decode(gops[0], decoders[0])
        begin = time.perf_counter()
        with ThreadPoolExecutor(workers) as pool:
            jobs = [
                pool.submit(lambda own, d: [decode(g, d) for g in own], gops[i::workers], decoder)
                for i, decoder in enumerate(decoders)
            ]
            for job in jobs:
                job.result()
        yield f"file to pixels, {workers} at a time: {n_frames / (time.perf_counter() - begin):.0f} FPS"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("clips", type=Path, nargs="+")
    parser.add_argument("--backend", nargs="+", default=["cpu"])
    parser.add_argument("--presets", nargs="+", default=["realtime", "medium"])
    parser.add_argument("--blends", nargs="+", default=list(BLENDS))
    parser.add_argument("--gop", type=int, default=30)
    parser.add_argument("--threads", type=int, nargs="+", default=[0])
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "out.gsv"
        for clip in options.clips:
            for backend, blend in product(options.backend, options.blends):
                print(f"{clip.stem}, {backend}, {blend}", flush=True)
                for preset in options.presets:
                    print("  " + live(clip, backend, preset, LIVE_FRAMES, blend), flush=True)
                    for threads in options.threads:
                        line = offline(clip, backend, preset, options.gop, threads, blend, out)
                        print("  " + line, flush=True)
                for line in to_pixels(out, backend):
                    print("  " + line, flush=True)


if __name__ == "__main__":
    main()
