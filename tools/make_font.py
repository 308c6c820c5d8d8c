#!/usr/bin/env python3
"""Draw the letters of `gscodec visualize` (src/gscodec/visualize/font.npz) from the font inside Pillow.

python tools/make_font.py

That font is Aileron Regular by Sora Sagano (dotcolon.net), in the public domain: CC0 1.0, no rights reserved.
Pictures of its letters are all that labels need, so that gscodec depends on no library that draws text.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

HEIGHT = 64  # of a letter's picture, pixels; BASELINE of them lie above the line
BASELINE = 48
SIZE = 48  # of the font, pixels
SIDE = 6  # pixels of a letter's picture left of where its advance begins
LETTERS = "".join(map(chr, range(32, 127))) + "±°·"
TARGET = Path(__file__).parents[1] / "src" / "gscodec" / "visualize" / "font.npz"


def main() -> None:
    """Write the file."""
    font = ImageFont.load_default(SIZE)
    assert isinstance(font, ImageFont.FreeTypeFont), "this Pillow was built without FreeType"
    advances = np.array([font.getlength(c) for c in LETTERS], np.float32)
    glyphs = np.zeros((len(LETTERS), HEIGHT, 2 * SIDE + int(np.ceil(advances.max()))), np.uint8)
    for glyph, letter in zip(glyphs, LETTERS, strict=True):
        picture = Image.new("L", glyph.shape[::-1], 0)
        ImageDraw.Draw(picture).text((SIDE, BASELINE), letter, 255, font, anchor="ls")
        glyph[:] = np.asarray(picture)
    np.savez_compressed(TARGET, glyphs=glyphs, advances=advances, letters=np.array(LETTERS))
    print(f"{TARGET}: {len(LETTERS)} letters, {TARGET.stat().st_size} bytes")


if __name__ == "__main__":
    main()
