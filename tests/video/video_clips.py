"""Tiny media files made with PyAV for the tests of gscodec.video."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np

from gscodec.video.frame import Frame, SidePacket

SAMPLE_RATE = 48_000


def moving_square(n_frames, width=32, height=24, step=3):
    """Yield uint8 [height, width, 3] pictures, each with a number of its own in the top left corner's red."""
    for i in range(n_frames):
        pixels = np.full((height, width, 3), (40, 90, 160), np.uint8)
        pixels[4:12, (step * i) % width :][:, :8] = (220, 200, 30)
        yield pixels


def write_clip(
    path,
    pictures,
    *,
    pts=None,
    time_base=Fraction(1, 25),
    rate=25,
    codec="libx264",
    pix_fmt="yuv444p",
    options=None,
    container=None,
    container_options=None,
    setup=None,
    audio=None,
    n_audio=20,
    subtitle=None,
    metadata=None,
):
    """Encode pictures (arrays rgb24, or av.VideoFrame as they are); `setup(stream)` may change the stream."""
    pictures = list(pictures)
    first = pictures[0]
    height, width = first.shape[:2] if isinstance(first, np.ndarray) else (first.height, first.width)
    with av.open(str(path), "w", format=container, container_options=container_options or {}) as out:
        out.metadata.update(metadata or {})
        video = out.add_stream(codec, rate=rate, options=options or ({"crf": "4"} if "264" in codec else {}))
        video.width, video.height, video.pix_fmt = width, height, pix_fmt
        video.codec_context.time_base = video.time_base = time_base
        if setup is not None:
            setup(video)
        sound = out.add_stream(audio, rate=SAMPLE_RATE) if audio else None
        text = out.add_mux_stream(subtitle) if subtitle else None
        if text is not None:
            text.time_base = Fraction(1, 1000)
            text.metadata["language"] = "deu"
        out.start_encoding()
        for i, picture in enumerate(pictures):
            if isinstance(picture, np.ndarray):
                picture = av.VideoFrame.from_ndarray(picture, "rgb24")
            picture.pts = i if pts is None else pts[i]
            picture.time_base = time_base
            out.mux(video.encode(picture))
        if sound is not None:
            write_sound(out, sound, n_audio)
        if text is not None:
            write_subtitles(out, text, subtitle)
        out.mux(video.encode(None))
    return Path(path)


def write_sound(out, stream, n_blocks):
    rng = np.random.default_rng(7)
    for i in range(n_blocks):
        samples = rng.normal(0, 3000, (1, 2 * 1024)).astype(np.int16)
        block = av.AudioFrame.from_ndarray(samples, format="s16", layout="stereo")
        block.sample_rate, block.pts = SAMPLE_RATE, i * 1024
        out.mux(stream.encode(block))
    out.mux(stream.encode(None))


def write_subtitles(out, stream, codec):
    for i, words in enumerate((b"hello", b"world")):
        packet = av.Packet(len(words).to_bytes(2, "big") + words if codec == "mov_text" else words)
        packet.time_base = Fraction(1, 1000)
        packet.pts = packet.dts = 200 * i
        packet.duration, packet.is_keyframe, packet.stream = 200, True, stream
        out.mux(packet)


def flat_frame(samples, pix_fmt, width=32, height=16):
    """Return an av.VideoFrame of one colour; `samples` are the values of its planes."""
    frame = av.VideoFrame(width, height, pix_fmt)
    for plane, value in zip(frame.planes, samples, strict=True):
        dtype = np.uint8 if plane.line_size < 2 * plane.width else np.uint16
        np.asarray(memoryview(plane)).view(dtype)[:] = value
    return frame


def split(reader):
    """Return (frames, side packets) of everything a reader yields."""
    items = list(reader)
    return [x for x in items if isinstance(x, Frame)], [x for x in items if isinstance(x, SidePacket)]


def raw_packets(path, kind):
    """Return (pts, dts, payload) of every packet of the first stream of a kind, straight from PyAV."""
    with av.open(str(path)) as container:
        stream = next(s for s in container.streams if s.type == kind)
        return [(p.pts, p.dts, bytes(p)) for p in container.demux(stream) if p.dts is not None]
