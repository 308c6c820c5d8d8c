"""Panels -> one picture: rows and columns of them on a dark ground, with titles and legends."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from gscodec.video.frame import VideoFormat
from gscodec.visualize.draw import (
    FAINT,
    INK,
    PAPER,
    blend,
    draw_text,
    resized,
    rounded_corners,
    text_width,
)
from gscodec.visualize.views import USUAL_WIDTH, Key, Panel

# All of a panel USUAL_WIDTH wide; they grow with it.
MARGIN, GAP, RADIUS = 30, 22, 8
HEAD, TITLE, LEGEND = 24, 31, 22  # heights of letters
HEAD_SPACE, TITLE_SPACE, LEGEND_SPACE = 44, 46, 32  # of a line each
BELOW = 14  # under the last line of a legend
DOT, BAR, AFTER_DOT, BETWEEN_KEYS = 13, 110, 8, 20


@dataclass(frozen=True, slots=True)
class Cell:
    """A panel and what stands above it; "": nothing."""

    title: str
    panel: Panel


def panel_size(video: VideoFormat, width: int) -> tuple[int, int]:
    """Width and height of a panel for that video, as it is shown: `width` is the longer side."""
    aspect = video.width * float(video.sample_aspect_ratio) / video.height
    if aspect >= 1:
        return width, max(1, round(width / aspect))
    return max(1, round(width * aspect)), width


def n_columns(n_views: int) -> int:
    """Columns in which the views of one frame are laid out."""
    return n_views if n_views <= 3 else 2 if n_views == 4 else 3 if n_views <= 9 else 4


def rows_of_views(cells: Sequence[Cell]) -> list[list[Cell]]:
    """The cells of one frame in rows."""
    n = n_columns(len(cells))
    return [list(cells[i : i + n]) for i in range(0, len(cells), n)]


def compose(
    rows: Sequence[Sequence[Cell]], heads: Sequence[str], width: int, n_lines: int | None = None
) -> np.ndarray:
    """Lay cells out.

    Args:
        rows: of cells, all with panels of one size.
        heads: one for each column, or one for all of them.
        width: of a panel's longer side, pixels.
        n_lines: of every legend; None: what the longest of a row needs.
    Returns:
        uint8 [H, W, 3], both even, as encoders of video want it.
    """
    unit = width / USUAL_WIDTH
    pixels = rows[0][0].panel.pixels
    cell_width = max(pixels.shape[1], round(0.7 * width))
    height = pixels.shape[0]
    step = cell_width + round(GAP * unit)
    legends = [[_broken(cell.panel.keys, cell_width, unit) for cell in row] for row in rows]
    lines = [n_lines if n_lines is not None else max(map(len, row)) for row in legends]
    tops, y = [], round((MARGIN + HEAD_SPACE) * unit)
    for row, n in zip(rows, lines, strict=True):
        y += round(TITLE_SPACE * unit) if any(cell.title for cell in row) else 0
        tops.append(y)
        y += height + round((n * LEGEND_SPACE + BELOW) * unit)
    columns = max(map(len, rows))
    sheet_width = 2 * round(MARGIN * unit) + columns * step - round(GAP * unit)
    size = _even(sheet_width), _even(y + round((MARGIN - BELOW) * unit))
    sheet = np.full((size[1], size[0], 3), PAPER, np.uint8)
    corners = rounded_corners((pixels.shape[1], height), RADIUS * unit)
    room = sheet_width - 2 * round(MARGIN * unit) if len(heads) == 1 else cell_width
    for i, head in enumerate(heads):
        at = round(MARGIN * unit) + i * step, round((MARGIN + HEAD) * unit - 0.2 * HEAD * unit)
        letters = HEAD * unit * min(1.0, room / max(text_width(head, HEAD * unit), 1))
        draw_text(sheet, at, head, letters, FAINT)
    for row, row_legends, top, n in zip(rows, legends, tops, lines, strict=True):
        for i, (cell, legend) in enumerate(zip(row, row_legends, strict=True)):
            left = round(MARGIN * unit) + i * step
            draw_text(sheet, (left, top - 0.55 * TITLE * unit), cell.title, TITLE * unit, INK)
            place = sheet[top : top + height, left : left + pixels.shape[1]]
            place[:] = blend(place, cell.panel.pixels, corners)
            for j, keys in enumerate(legend[:n]):
                base = top + height + (j + 0.82) * LEGEND_SPACE * unit
                _draw_keys(sheet, (left, base), keys, unit)
    return sheet


def _even(length: int) -> int:
    return length + length % 2


def _sign_width(key: Key, unit: float) -> float:
    """Of what is shown before the words, with the space after it."""
    if key[0] is None:
        return 0.0
    return ((BAR if isinstance(key[0], np.ndarray) else DOT) + AFTER_DOT) * unit


def _key_width(key: Key, unit: float) -> float:
    return _sign_width(key, unit) + text_width(key[1], LEGEND * unit)


def _broken(keys: Sequence[Key], width: int, unit: float) -> list[list[Key]]:
    """The keys in lines that are no wider than a cell."""
    lines: list[list[Key]] = []
    x = 0.0
    for key in keys:
        needed = _key_width(key, unit)
        if not lines or x + needed > width:
            lines.append([])
            x = 0.0
        lines[-1].append(key)
        x += needed + _space_after(key, unit)
    return lines


def _draw_keys(sheet: np.ndarray, at: tuple[float, float], keys: Sequence[Key], unit: float) -> None:
    x, base = at
    side = max(1, round(DOT * unit))
    top = round(base - 0.36 * LEGEND * unit - side / 2)
    for key in keys:
        sign, text = key
        if sign is not None:
            width = max(1, round(BAR * unit)) if isinstance(sign, np.ndarray) else side
            place = sheet[top : top + side, round(x) : round(x) + width]
            if isinstance(sign, np.ndarray):
                sign = resized(sign[None], (width, side))[:, : place.shape[1]]
            place[:] = blend(place, sign, rounded_corners((width, side), side / 2)[:, : place.shape[1]])
        draw_text(sheet, (x + _sign_width(key, unit), base), text, LEGEND * unit, FAINT)
        x += _key_width(key, unit) + _space_after(key, unit)


def _space_after(key: Key, unit: float) -> float:
    """A remark in front of a bar belongs to it."""
    return (AFTER_DOT if key[0] is None else BETWEEN_KEYS) * unit
