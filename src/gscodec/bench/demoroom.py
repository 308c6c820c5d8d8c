"""The room behind the person of `democlip.py`: drawn, not photographed, so that anyone may use it.

Plain shapes with enough small detail (book spines, leaves, curtain folds, plaster) to be as hard to code as a
lived-in room is.
"""

from __future__ import annotations

import cv2
import numpy as np

# Everything is drawn on a canvas of this height, whose width follows the frame's, and then shrunk.
CANVAS_HEIGHT = 1080


def draw_room(width: int, height: int) -> np.ndarray:
    """Return the empty room, uint8 [H, W, 3] R'G'B'; the same picture at every call."""
    rng = np.random.default_rng(2017)
    canvas_width = max(1, round(CANVAS_HEIGHT * width / height))
    canvas = _wall(canvas_width, rng)
    _window(canvas, round(canvas_width * 0.745))
    _shelf(canvas, 0, round(canvas_width * 0.31), rng)
    _picture_frame(canvas, round(canvas_width * 0.40), 95, 190, 250, rng)
    _picture_frame(canvas, round(canvas_width * 0.595), 150, 230, 175, rng)
    _sideboard(canvas, round(canvas_width * 0.66), rng)
    _lamp(canvas, round(canvas_width * 0.70))
    _plant(canvas, round(canvas_width * 0.90), 800, rng)
    soft = cv2.GaussianBlur(canvas, (0, 0), 3.4)  # the lens is focused on the person
    light = np.linspace(0.94, 1.05, canvas_width, dtype=np.float32)[None, :, None]
    lit = np.clip(soft.astype(np.float32) * light, 0, 255)
    return cv2.resize(lit, (width, height), interpolation=cv2.INTER_AREA).astype(np.uint8)


def _wall(width: int, rng: np.random.Generator) -> np.ndarray:
    """Return plaster with a skirting of shade towards the floor."""
    shade = np.linspace(1.0, 0.82, CANVAS_HEIGHT, dtype=np.float32)[:, None, None]
    wall = np.array([206, 196, 178], np.float32) * shade * np.ones((1, width, 1), np.float32)
    coarse = cv2.resize(
        rng.normal(0, 1, (CANVAS_HEIGHT // 24, width // 24 + 1)).astype(np.float32),
        (width, CANVAS_HEIGHT),
        interpolation=cv2.INTER_CUBIC,
    )
    fine = cv2.GaussianBlur(rng.normal(0, 1, (CANVAS_HEIGHT, width)).astype(np.float32), (0, 0), 3)
    return np.clip(wall + (2.5 * coarse + 22 * fine)[..., None], 0, 255).astype(np.uint8)


def _box(canvas: np.ndarray, x0: float, y0: float, x1: float, y1: float, color: tuple[int, int, int]) -> None:
    cv2.rectangle(canvas, (round(x0), round(y0)), (round(x1), round(y1)), color, -1, cv2.LINE_AA)


def _scaled(color: tuple[int, int, int], factor: float) -> tuple[int, int, int]:
    red, green, blue = (max(0, min(255, round(c * factor))) for c in color)
    return red, green, blue


def _shelf(canvas: np.ndarray, left: int, right: int, rng: np.random.Generator) -> None:
    """Draw a book shelf from the ceiling down, full of books and a few objects."""
    wood, inside = (104, 72, 46), (62, 44, 32)
    colors = (
        (142, 46, 40),
        (38, 74, 112),
        (196, 170, 120),
        (52, 92, 66),
        (30, 34, 44),
        (186, 112, 44),
        (120, 120, 124),
        (214, 204, 186),
        (92, 52, 92),
    )
    _box(canvas, left, 0, right, CANVAS_HEIGHT, inside)
    n_boards = 5
    pitch = CANVAS_HEIGHT / n_boards
    for board in range(n_boards):
        floor = (board + 1) * pitch - 16
        x = left + 22.0
        while x < right - 44:
            if rng.random() < 0.08:  # a gap with a bowl
                cv2.ellipse(
                    canvas,
                    (round(x + 30), round(floor)),
                    (28, 40),
                    0,
                    180,
                    360,
                    (176, 190, 186),
                    -1,
                    cv2.LINE_AA,
                )
                x += 70
                continue
            thick, tall = rng.uniform(14, 34), rng.uniform(0.62, 0.9) * pitch
            color = _scaled(colors[rng.integers(len(colors))], rng.uniform(0.8, 1.2))
            _box(canvas, x, floor - tall, x + thick - 2, floor, color)
            _box(canvas, x, floor - tall, x + 2, floor, _scaled(color, 1.35))
            _box(canvas, x + thick - 5, floor - tall, x + thick - 2, floor, _scaled(color, 0.6))
            band = floor - tall * rng.uniform(0.7, 0.9)
            _box(canvas, x + 3, band, x + thick - 5, band + 5, _scaled(color, 1.9))
            for line in range(int(rng.integers(3, 9))):  # a title, too small to read
                y = floor - tall * 0.6 + line * 9
                _box(
                    canvas,
                    x + thick * 0.35,
                    y,
                    x + thick * rng.uniform(0.45, 0.7),
                    y + 4,
                    _scaled(color, 2.2),
                )
            x += thick
        _box(canvas, left, floor, right, floor + 16, wood)
        _box(canvas, left, floor, right, floor + 3, _scaled(wood, 1.35))
    _box(canvas, right - 20, 0, right, CANVAS_HEIGHT, wood)
    _box(canvas, right, 0, right + 10, CANVAS_HEIGHT, (168, 158, 142))  # its shadow on the wall


def _window(canvas: np.ndarray, left: int) -> None:
    """Draw a window with sky, roofs, glazing bars and a curtain, out to the right edge."""
    right, top, bottom = canvas.shape[1], 40, 640
    sky = np.linspace(0, 1, bottom - top, dtype=np.float32)[:, None, None]
    view = np.array([150, 186, 226], np.float32) * (1 - sky) + np.array([226, 232, 232], np.float32) * sky
    canvas[top:bottom, left:right] = np.broadcast_to(view, (bottom - top, right - left, 3)).astype(np.uint8)
    for x in range(left - 40, right, 120):
        roof = np.array([[x, bottom - 90], [x + 60, bottom - 150], [x + 120, bottom - 90]], np.int32)
        cv2.fillPoly(canvas, [roof], (132, 92, 78), cv2.LINE_AA)
        _box(canvas, max(left, x + 6), bottom - 90, x + 114, bottom, (178, 166, 152))
        _box(canvas, max(left, x + 40), bottom - 70, x + 76, bottom - 30, (92, 100, 112))
    frame = (236, 232, 224)
    middle = (left + right) // 2
    for x in (left, middle, right - 6):
        _box(canvas, x - 9, top, x + 9, bottom, frame)
    for y in (top, (top + bottom) // 2 - 60, bottom):
        _box(canvas, left - 9, y - 9, right, y + 9, frame)
    _box(canvas, left - 24, bottom, right, bottom + 26, (222, 216, 204))
    curtain_width = 84
    columns = np.arange(curtain_width, dtype=np.float32)
    folds = 0.86 + 0.14 * np.sin(columns / 5.2) + 0.05 * np.sin(columns / 2.1 + 1)
    cloth = np.array([158, 108, 92], np.float32) * folds[None, :, None]
    start = max(0, left - 50)
    canvas[20:760, start : start + curtain_width] = np.clip(cloth, 0, 255).astype(np.uint8)


def _picture_frame(canvas: np.ndarray, x: int, y: int, w: int, h: int, rng: np.random.Generator) -> None:
    """Draw a framed abstract landscape with its shadow."""
    _box(canvas, x + 8, y + 10, x + w + 8, y + h + 10, (160, 152, 138))
    _box(canvas, x, y, x + w, y + h, (58, 44, 34))
    _box(canvas, x + 12, y + 12, x + w - 12, y + h - 12, (238, 234, 226))
    _box(canvas, x + 34, y + 34, x + w - 34, y + h - 34, (168, 196, 208))
    for layer in range(4):
        ridge = y + 34 + (h - 68) * (0.35 + 0.16 * layer)
        color = _scaled((150, 140, 90), 1.0 - 0.17 * layer)
        previous = ridge
        for step in range(x + 34, x + w - 34, 6):
            previous = float(np.clip(previous + rng.normal(0, 4), ridge - 22, ridge + 22))
            _box(canvas, step, previous, min(step + 6, x + w - 34), y + h - 34, color)


def _sideboard(canvas: np.ndarray, left: int, rng: np.random.Generator) -> None:
    """Draw a sideboard with wood grain and knobs under the window."""
    right, top = canvas.shape[1], 810
    grain: np.ndarray = rng.normal(0, 1, (CANVAS_HEIGHT - top, right - left)).astype(np.float32)
    grain = cv2.GaussianBlur(grain, (0, 0), sigmaX=28, sigmaY=1.2)
    wood = np.array([134, 96, 62], np.float32) + 60 * grain[..., None]
    canvas[top:, left:] = np.clip(wood, 0, 255).astype(np.uint8)
    _box(canvas, left - 14, top - 16, right, top + 8, (156, 116, 78))
    _box(canvas, left - 14, top + 8, right, top + 13, (84, 58, 38))
    for x in range(left + 160, right, 190):
        cv2.line(canvas, (x, top + 14), (x, CANVAS_HEIGHT), (84, 58, 38), 4, cv2.LINE_AA)
        cv2.circle(canvas, (x - 26, top + 90), 9, (196, 176, 120), -1, cv2.LINE_AA)


def _lamp(canvas: np.ndarray, x: int) -> None:
    """Draw a table lamp with its glow."""
    _box(canvas, x - 6, 640, x + 6, 795, (96, 84, 70))
    cv2.ellipse(canvas, (x, 792), (46, 12), 0, 0, 360, (96, 84, 70), -1, cv2.LINE_AA)
    shade = np.array([[x - 44, 520], [x + 44, 520], [x + 80, 660], [x - 80, 660]], np.int32)
    cv2.fillPoly(canvas, [shade], (244, 214, 158), cv2.LINE_AA)
    y_grid, x_grid = np.mgrid[0 : canvas.shape[0], 0 : canvas.shape[1]].astype(np.float32)
    glow = np.exp(-(((x_grid - x) / 210) ** 2 + ((y_grid - 600) / 240) ** 2))[..., None]
    lit = canvas + glow * np.array([46, 34, 12], np.float32)
    canvas[:] = np.clip(lit, 0, 255).astype(np.uint8)


def _plant(canvas: np.ndarray, x: int, floor: int, rng: np.random.Generator) -> None:
    """Draw a potted plant: a fan of leaves on stems."""
    pot = np.array([[x - 62, floor - 110], [x + 62, floor - 110], [x + 46, floor], [x - 46, floor]], np.int32)
    for _ in range(46):
        angle = rng.uniform(-1.25, 1.25)
        reach = rng.uniform(110, 330)
        tip_x, tip_y = x + np.sin(angle) * reach, floor - 110 - np.cos(angle) * reach
        green = _scaled((66, 116, 62), rng.uniform(0.6, 1.3))
        cv2.line(canvas, (x, floor - 110), (round(tip_x), round(tip_y)), _scaled(green, 0.7), 4, cv2.LINE_AA)
        tilt = np.degrees(angle) + rng.uniform(-35, 35)
        axes = (round(rng.uniform(13, 24)), round(rng.uniform(38, 62)))
        cv2.ellipse(canvas, (round(tip_x), round(tip_y)), axes, tilt, 0, 360, green, -1, cv2.LINE_AA)
        vein = np.radians(tilt)
        dx, dy = np.sin(vein) * axes[1] * 0.8, np.cos(vein) * axes[1] * 0.8
        start, end = (round(tip_x - dx), round(tip_y + dy)), (round(tip_x + dx), round(tip_y - dy))
        cv2.line(canvas, start, end, _scaled(green, 1.35), 2, cv2.LINE_AA)
    cv2.fillPoly(canvas, [pot], (178, 104, 74), cv2.LINE_AA)
    _box(canvas, x - 68, floor - 124, x + 68, floor - 100, (192, 116, 84))
