#!/usr/bin/env python3
"""Write the demo clip of `gscodec.bench.democlip`: a synthetic video call with sound, and its exact matte.

python tools/make_demo_clip.py demo.mp4 --matte demo_matte.mkv
"""

from __future__ import annotations

import argparse
import io
from contextlib import ExitStack
from fractions import Fraction

import av
import numpy as np

from gscodec.bench.democlip import demo_frames, speech_envelope
from gscodec.video.frame import Frame, SidePacket, SideStream, VideoFormat
from gscodec.video.sidestreams import describe, to_side_packet
from gscodec.video.writer import VideoWriter

SAMPLE_RATE = 48_000
TIME_BASE = Fraction(1, 90_000)


def main() -> None:
    """Parse the command line and write the files."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", help="the clip, for instance demo.mp4")
    parser.add_argument(
        "--matte", help="also write the exact matte there: lossless grey, for instance matte.mkv"
    )
    parser.add_argument("--seconds", type=float, default=4.0)
    parser.add_argument("--size", type=parse_size, default=(640, 360), metavar="WIDTHxHEIGHT")
    parser.add_argument("--fps", type=Fraction, default=Fraction(30))
    args = parser.parse_args()
    width, height = args.size
    if args.seconds <= 0 or args.fps <= 0:
        parser.error("--seconds and --fps must be above 0")
    n = max(1, round(args.seconds * args.fps))

    stream, packets = make_sound(n / args.fps)
    clip_format = VideoFormat(width, height, TIME_BASE, args.fps)
    matte_format = VideoFormat(width, height, TIME_BASE, args.fps, full_range=True)
    with ExitStack() as files:
        clip = files.enter_context(
            VideoWriter(args.out, clip_format, side_streams=[stream], vcodec="libx264", crf=12)
        )
        mattes = None
        if args.matte:
            mattes = files.enter_context(VideoWriter(args.matte, matte_format, vcodec="ffv1", pix_fmt="gray"))
        for index, (pixels, matte) in enumerate(demo_frames(n, width, height, float(args.fps))):
            pts, end = (round(i / args.fps / TIME_BASE) for i in (index, index + 1))
            while packets and packets[0].pts * stream.time_base <= pts * TIME_BASE:
                clip.write_side(packets.pop(0))
            clip.write(Frame(pixels, pts, end - pts))
            if mattes is not None:
                levels = np.round(matte * 255).astype(np.uint8)
                mattes.write(Frame(np.dstack([levels] * 3), pts, end - pts))
        for packet in packets:
            clip.write_side(packet)


def parse_size(text: str) -> tuple[int, int]:
    """Return (width, height) of "640x360"; ValueError for anything else, which argparse reports."""
    width, height = (int(part) for part in text.split("x"))
    if width < 16 or height < 16:
        raise ValueError(text)
    return width, height


def make_sound(duration_s: Fraction | float) -> tuple[SideStream, list[SidePacket]]:
    """Return something that sounds like soft speech, in time with the mouth: AAC, mono."""
    time_s = np.arange(round(float(duration_s) * SAMPLE_RATE)) / SAMPLE_RATE
    pitch_hz = 165 + 22 * np.sin(2 * np.pi * 0.55 * time_s) + 9 * np.sin(2 * np.pi * 2.3 * time_s)
    phase = 2 * np.pi * np.cumsum(pitch_hz) / SAMPLE_RATE
    first_hz = 480 + 190 * np.sin(2 * np.pi * 1.7 * time_s)  # formants, wandering from vowel to vowel
    second_hz = 1500 + 480 * np.sin(2 * np.pi * 1.1 * time_s + 1)
    voice = np.zeros_like(time_s)
    for harmonic in range(1, 24):
        at_hz = harmonic * pitch_hz
        gain = np.exp(-(((at_hz - first_hz) / 160) ** 2)) + 0.4 * np.exp(-(((at_hz - second_hz) / 240) ** 2))
        voice += (gain + 0.02) / harmonic**0.5 * np.sin(harmonic * phase)
    breath = np.random.default_rng(7).normal(0, 0.02, len(time_s))
    wave = 0.22 * speech_envelope(time_s) * (voice + breath) + 0.01 * breath
    samples = np.clip(wave, -1, 1).astype(np.float32)[None]

    coded = io.BytesIO()
    with av.open(coded, "w", format="mp4") as container:
        stream = container.add_stream("aac", rate=SAMPLE_RATE, layout="mono")
        frame = av.AudioFrame.from_ndarray(samples, format="fltp", layout="mono")
        frame.sample_rate, frame.pts = SAMPLE_RATE, 0
        for packet in [*stream.encode(frame), *stream.encode(None)]:
            container.mux(packet)
    coded.seek(0)
    with av.open(coded) as container:
        track = container.streams.audio[0]
        time_base = Fraction(track.time_base.numerator, track.time_base.denominator)
        packets = [to_side_packet(p, 0, 0) for p in container.demux(track) if p.size]
        return describe(track, time_base), packets


if __name__ == "__main__":
    main()
