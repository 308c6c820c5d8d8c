#!/usr/bin/env python3
"""Draw one frame three times: original, decoded, and the person alone on another background.

python tools/side_by_side.py clip.mp4 clip.gsv side_by_side.png
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from gscodec import Decoder, GscodecError, GsvReader, inspect_file
from gscodec.metrics import psnr
from gscodec.transcode import video_format
from gscodec.video.frame import VideoFormat
from gscodec.video.reader import open_video

PANEL = 640  # width of a picture in the drawing, pixels
MARGIN, GAP, RADIUS = 36, 24, 10
TITLE_SIZE, TEXT_SIZE, LINE = 26, 19, 29
PAPER, INK, FAINT = (250, 250, 248), (28, 30, 34), (108, 112, 120)
BACKDROP = ((24, 62, 84), (116, 176, 170))  # top and bottom, behind the person alone


@dataclass(frozen=True, slots=True)
class Shown:
    """The frame that is drawn: what the decoder made of it, and where it stands."""

    pixels: np.ndarray  # uint8 [H, W, 3]
    person: np.ndarray  # over black
    alpha: np.ndarray  # uint8 [H, W]
    pts: int
    number: int
    n_gaussians: int
    n_person: int


def main() -> None:
    """Parse the command line and write the picture."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("clip")
    parser.add_argument("gsv")
    parser.add_argument("out", help="a PNG")
    parser.add_argument("--frame", type=int, help="which frame, counted from 0; the middle one if not given")
    args = parser.parse_args()
    try:
        facts = inspect_file(args.gsv)
        number = facts["frames"] // 2 if args.frame is None else args.frame
        shown, video = decode_frame(args.gsv, number)
        original = read_frame(args.clip, video, shown.pts)
        draw(original, shown, video, facts).save(args.out)
    except (GscodecError, OSError) as error:
        sys.exit(f"side_by_side: error: {error}")
    print(f"{args.out}: frame {number} of {facts['frames']}")


def decode_frame(path: str, number: int) -> tuple[Shown, VideoFormat]:
    """Decode a .gsv up to frame `number`."""
    with GsvReader(path) as reader:
        decoder = Decoder(reader.sequence)
        pictures = (packet for packet in decoder.frames(reader) if packet.frame_type is not None)
        for n, packet in enumerate(pictures):
            if n == number:
                person, alpha = decoder.render_person(np.zeros(3, np.float32))
                room = decoder.state.is_room
                shown = Shown(decoder.render(), person, alpha, packet.pts, n, len(room), int((~room).sum()))
                return shown, video_format(reader)
    raise GscodecError(f"{path}: has no frame {number}")


def read_frame(path: str, video: VideoFormat, pts: int) -> np.ndarray:
    """Return the original at a time, in the size that was coded."""
    with open_video(path, size=(video.width, video.height)) as reader:
        for item in reader:
            if getattr(item, "pixels", None) is not None and item.pts >= pts:
                return item.pixels
    raise GscodecError(f"{path}: is not the clip that was encoded, it ends before the frame to be drawn")


def draw(original: np.ndarray, shown: Shown, video: VideoFormat, facts: dict) -> Image.Image:
    """Lay the three pictures out with their figures beneath."""
    time_s = float(shown.pts * video.time_base)
    rate = f"{float(video.frame_rate):.4g} frames/s"
    roi = shown.alpha >= 128
    quality = f"{psnr(original, shown.pixels):.1f} dB PSNR"
    if roi.any():
        quality = f"{psnr(original, shown.pixels, roi):.1f} dB PSNR on the person, {quality[:-5]} overall"
    n_video = sum(row["bytes"] for row in facts["frame_types"].values())
    kbit_per_s = n_video * 8e-3 / facts["duration_s"]
    per_frame = n_video / facts["frames"]
    panels = (
        (original, "Original", f"{video.width} x {video.height}, {rate}", f"at {time_s:.2f} s"),
        (
            shown.pixels,
            f"Decoded, {kbit_per_s:.0f} kb/s",
            quality,
            f"{shown.n_gaussians} Gaussians, {per_frame:.0f} bytes a frame on average",
        ),
        (
            over_backdrop(shown),
            "Person alone",
            f"{shown.n_person} of the {shown.n_gaussians} Gaussians,",
            "from the same file, on another background",
        ),
    )
    height = round(PANEL * video.height / (video.width * float(video.sample_aspect_ratio)))
    size = (2 * MARGIN + 3 * PANEL + 2 * GAP, 2 * MARGIN + height + 20 + TITLE_SIZE + 16 + 2 * LINE)
    sheet = Image.new("RGB", size, PAPER)
    pen = ImageDraw.Draw(sheet)
    title_font, text_font = ImageFont.load_default(TITLE_SIZE), ImageFont.load_default(TEXT_SIZE)
    corners = Image.new("L", (PANEL, height), 0)
    ImageDraw.Draw(corners).rounded_rectangle((0, 0, PANEL - 1, height - 1), RADIUS, 255)
    for n, (pixels, title, *lines) in enumerate(panels):
        x, y = MARGIN + n * (PANEL + GAP), MARGIN
        picture = Image.fromarray(pixels).resize((PANEL, height), Image.Resampling.LANCZOS)
        sheet.paste(picture, (x, y), corners)
        y += height + 20
        pen.text((x, y), title, INK, title_font)
        y += TITLE_SIZE + 16
        for line in lines:
            pen.text((x, y), line, FAINT, text_font)
            y += LINE
    return sheet


def over_backdrop(shown: Shown) -> np.ndarray:  # -> uint8 [H, W, 3]
    """Put the person before a ramp of colours; `person` over black is already multiplied by alpha."""
    down = np.linspace(0, 1, len(shown.alpha))[:, None, None]
    ramp = (1 - down) * np.array(BACKDROP[0]) + down * np.array(BACKDROP[1])
    mixed = shown.person + (1 - shown.alpha[..., None] / 255) * ramp
    return np.clip(mixed + 0.5, 0, 255).astype(np.uint8)


if __name__ == "__main__":
    main()
