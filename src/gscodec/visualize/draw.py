"""Lines, letters and colours on pictures: what views and sheets are drawn with.

Colours are R'G'B', pictures uint8 [H, W, 3]. What is drawn is first a coverage, how much of each pixel it
fills, float32 [H, W] in [0, 1], made larger and averaged, so that edges are smooth; then `blend`.
"""

from __future__ import annotations

from functools import cache
from importlib import resources

import cv2
import numpy as np

from gscodec.splat.gaussians import CHOLESKY, MEAN

Color = tuple[int, int, int]

PAPER: Color = (19, 22, 28)
INK: Color = (236, 238, 240)
FAINT: Color = (164, 170, 180)
# Of people who see colours differently too (Okabe and Ito, 2008), brightened for a dark ground.
ORANGE: Color = (255, 168, 38)
BLUE: Color = (86, 180, 255)
GREEN: Color = (48, 214, 140)
RED: Color = (255, 92, 74)
GRAY: Color = (150, 156, 166)

N_POINTS = 48  # of an outline
SUPER = 4  # coverages are made that much larger
_SHIFT = 4  # fractional bits of the points of a line
_FAR = 1 << 14  # pixels beyond which nothing is drawn: OpenCV's coordinates are 32 bits with the fraction
LETTER_SIZE, LETTER_BASELINE, LETTER_SIDE = 48, 48, 6  # of font.npz: tools/make_font.py


def outlines(params: np.ndarray, sigma: float = 1.0) -> np.ndarray:  # [N, 8] -> [N, N_POINTS, 2]
    """Points (x, y) of each Gaussian's outline at `sigma` standard deviations, pixels of the coded picture.

    L maps the unit circle to the ellipse where the Gaussian has exp(−½) of its height.
    """
    angles = np.linspace(0, 2 * np.pi, N_POINTS, endpoint=False)
    x, y = sigma * np.cos(angles), sigma * np.sin(angles)
    l1, l2, l3 = params[:, CHOLESKY].T.astype(np.float64)[:, :, None]
    return params[:, None, MEAN].astype(np.float64) + np.stack([l1 * x, l2 * x + l3 * y], axis=-1)


def line_coverage(
    points: np.ndarray, size: tuple[int, int], scale: tuple[float, float], width: float | np.ndarray
) -> np.ndarray:
    """Coverage of closed lines.

    Args:
        points: [N, P, 2], as `outlines`. size: width and height of the drawing, pixels.
        scale: pixels of the drawing per pixel of `points`, along x and y.
        width: of the lines, pixels of the drawing; or of each, [N].
    """
    mask = np.zeros((size[1] * SUPER, size[0] * SUPER), np.uint8)
    thickness = np.maximum(1, np.rint(np.broadcast_to(width, len(points)) * SUPER).astype(int))
    lines = _fixed(points, scale)
    for t in np.unique(thickness):
        cv2.polylines(mask, list(lines[thickness == t]), True, 255, int(t), cv2.LINE_AA, _SHIFT)
    return _averaged(mask, size)


def area_coverage(points: np.ndarray, size: tuple[int, int], scale: tuple[float, float]) -> np.ndarray:
    """Coverage of what closed lines enclose; arguments as for `line_coverage`."""
    mask = np.zeros((size[1] * SUPER, size[0] * SUPER), np.uint8)
    for polygon in _fixed(points, scale):
        cv2.fillConvexPoly(mask, polygon, 255, cv2.LINE_AA, _SHIFT)
    return _averaged(mask, size)


def _fixed(points: np.ndarray, scale: tuple[float, float]) -> np.ndarray:
    """Points as OpenCV takes them: whole numbers, (0, 0) in the middle of the first pixel."""
    at = np.clip(points * np.multiply(scale, SUPER) - 0.5, -_FAR, _FAR)
    return np.rint(at * (1 << _SHIFT)).astype(np.int32)


def _averaged(mask: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    return cv2.resize(mask, size, interpolation=cv2.INTER_AREA).astype(np.float32) / 255


def border_coverage(labels: np.ndarray, size: tuple[int, int], width: float) -> np.ndarray:
    """Coverage of the borders between labels, int32 [h, w], drawn at another size."""
    at = size[0] * SUPER, size[1] * SUPER
    large = cv2.resize(labels.astype(np.float32), at, interpolation=cv2.INTER_NEAREST)
    border = np.zeros(large.shape, np.uint8)
    border[:, 1:][large[:, 1:] != large[:, :-1]] = 255
    border[1:][large[1:] != large[:-1]] = 255
    thickness = max(1, round(width * SUPER))
    return _averaged(cv2.dilate(border, np.ones((thickness, thickness), np.uint8)), size)


def blend(picture: np.ndarray, color: Color | np.ndarray, coverage: np.ndarray | float) -> np.ndarray:
    """The picture with a colour, or another picture, over it where `coverage` says."""
    share = coverage[:, :, None] if isinstance(coverage, np.ndarray) else np.float32(coverage)
    over = np.asarray(color, np.float32)
    return np.clip(picture + share * (over - picture) + np.float32(0.5), 0, 255).astype(np.uint8)


def dimmed(picture: np.ndarray, light: float, color: float = 1.0) -> np.ndarray:
    """The picture with a share of its light, and of its colour."""
    gray = picture.astype(np.float32) @ np.array([0.299, 0.587, 0.114], np.float32)
    mixed = gray[:, :, None] + np.float32(color) * (picture - gray[:, :, None])
    return np.clip(mixed * np.float32(light) + np.float32(0.5), 0, 255).astype(np.uint8)


def resized(picture: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """The picture at another size (width, height), smoothly."""
    shrinks = size[0] < picture.shape[1]
    return np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC))


def rounded_corners(size: tuple[int, int], radius: float) -> np.ndarray:
    """Coverage of a rectangle of that size (width, height) with round corners."""
    width, height = size
    x = np.abs(np.arange(width) + 0.5 - width / 2)[None] - (width / 2 - radius)
    y = np.abs(np.arange(height) + 0.5 - height / 2)[:, None] - (height / 2 - radius)
    far = np.hypot(np.maximum(x, 0), np.maximum(y, 0))
    return np.clip(radius - far + 0.5, 0, 1).astype(np.float32)


@cache
def _font() -> tuple[str, np.ndarray, np.ndarray]:
    """Letters, their pictures uint8 [N, h, w] at LETTER_SIZE, and how far each moves on, pixels."""
    with (resources.files("gscodec.visualize") / "font.npz").open("rb") as file:
        data = np.load(file, allow_pickle=False)
        return str(data["letters"]), data["glyphs"], data["advances"]


def text_width(text: str, height: float) -> float:
    """How wide a line of text is, pixels, in letters of that size."""
    letters, _, advances = _font()
    return float(sum(advances[_number(letters, c)] for c in text)) * height / LETTER_SIZE


def draw_text(picture: np.ndarray, at: tuple[float, float], text: str, height: float, color: Color) -> None:
    """Write a line into the picture; what does not fit is cut off.

    Args:
        at: where it begins, on the base line. height: size of the letters, pixels.
    """
    letters, glyphs, advances = _font()
    x = LETTER_SIDE
    numbers = [_number(letters, c) for c in text]
    line = np.zeros(
        (glyphs.shape[1], 2 * LETTER_SIDE + int(sum(advances[n] for n in numbers)) + 64), np.uint8
    )
    place = float(x)
    for n in numbers:
        left = round(place) - LETTER_SIDE
        part = line[:, left : left + glyphs.shape[2]]
        np.maximum(part, glyphs[n][:, : part.shape[1]], out=part)
        place += float(advances[n])
    scale = height / LETTER_SIZE
    size = max(1, round(line.shape[1] * scale)), max(1, round(line.shape[0] * scale))
    coverage = cv2.resize(line, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC)
    left, top = round(at[0] - LETTER_SIDE * scale), round(at[1] - LETTER_BASELINE * scale)
    x0, y0 = max(left, 0), max(top, 0)
    part = picture[y0 : top + size[1], x0 : left + size[0]]
    seen = coverage[y0 - top :, x0 - left :][: part.shape[0], : part.shape[1]]
    part[:] = blend(part, color, seen.astype(np.float32) / 255)


def _number(letters: str, letter: str) -> int:
    found = letters.find(letter)
    return found if found >= 0 else letters.find("?")
