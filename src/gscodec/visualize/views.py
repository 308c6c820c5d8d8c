"""What can be seen of a frame: one function for each view, from a scene to a panel."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np

from gscodec.coding.quantize import L1, L3
from gscodec.visualize.bitmap import bit_map
from gscodec.visualize.draw import (
    BLUE,
    GRAY,
    GREEN,
    ORANGE,
    RED,
    Color,
    area_coverage,
    blend,
    border_coverage,
    dimmed,
    line_coverage,
    outlines,
    resized,
)
from gscodec.visualize.scene import Scene
from gscodec.visualize.trace import Fate

# Of a legend: a sign and what it means. A colour is a dot, uint8 [N, 3] a bar; None: the words are a remark.
Key = tuple[Color | np.ndarray | None, str]

LINE = 1.5  # width of the outlines of large Gaussians, of a panel USUAL_WIDTH wide
LEAST_LINE, LINE_SHARE = 0.6, 0.13  # width of others: this share of their radius, but not less
USUAL_WIDTH = 560
CELLS = 240  # of the map of bits, along the longer side
BLOCK = 8  # pixels: bits are given for blocks of that side
LEAST_BITS, MOST_BITS = 0.01, 100.0  # of a block: the ends of the colours, the same in every picture
FATES: tuple[tuple[Fate, Color, str], ...] = (
    (Fate.MOVED, BLUE, "only moved"),
    (Fate.UPDATED, ORANGE, "updated"),
    (Fate.BORN, GREEN, "new"),
    (Fate.GONE, RED, "gone"),
)


@dataclass(frozen=True, slots=True)
class Canvas:
    """What a view draws on.

    Attributes:
        size: width and height, pixels. coded: those of the coded picture.
        backdrop: behind the person alone, uint8 [height, width, 3].
    """

    size: tuple[int, int]
    coded: tuple[int, int]
    backdrop: np.ndarray

    @property
    def line(self) -> float:
        """Width of a line, pixels: the same share of the panel whatever the size of the video."""
        return LINE * max(self.size) / USUAL_WIDTH

    def lines(self, params: np.ndarray) -> np.ndarray:  # -> [N]
        """Width of each Gaussian's outline: thinner where they are small and many."""
        radius = np.sqrt(params[:, L1] * params[:, L3]) * min(self.scale)
        least, most = LEAST_LINE * self.line / LINE, self.line
        return np.asarray(np.clip(LINE_SHARE * radius, least, most))

    @property
    def scale(self) -> tuple[float, float]:
        """Pixels of the panel per pixel of the coded picture, along x and y."""
        return self.size[0] / self.coded[0], self.size[1] / self.coded[1]


@dataclass(frozen=True, slots=True)
class Panel:
    """A picture of the canvas's size, uint8 [height, width, 3], and its legend."""

    pixels: np.ndarray
    keys: tuple[Key, ...] = ()


@dataclass(frozen=True, slots=True)
class View:
    """A way to look at a frame.

    Attributes:
        title: above its panels. needs_source: the clip itself. needs_person: one told from the room.
    """

    title: str
    draw: Callable[[Scene, Canvas], Panel]
    needs_source: bool = False
    needs_person: bool = False


def _picture(scene: Scene, canvas: Canvas) -> Panel:
    n = int(scene.trace.is_live.sum())
    return Panel(resized(scene.picture, canvas.size), ((None, f"{n} Gaussians"),))


def _source(scene: Scene, canvas: Canvas) -> Panel:
    assert scene.source is not None
    height, width = scene.source.shape[:2]
    return Panel(resized(scene.source, canvas.size), ((None, f"{width} x {height} pixels"),))


def _ellipses(scene: Scene, canvas: Canvas) -> Panel:
    """Each Gaussian's outline at one standard deviation, over the picture."""
    trace = scene.trace
    pixels, keys = dimmed(resized(scene.picture, canvas.size), 0.45, 0.75), []
    for is_room, color, name in ((True, BLUE, "the room's"), (False, ORANGE, "the person's")):
        mine = trace.is_live & (trace.is_room == is_room)
        points = outlines(trace.params[mine])
        lines = canvas.lines(trace.params[mine])
        coverage = line_coverage(points, canvas.size, canvas.scale, lines)
        pixels = blend(pixels, color, coverage * np.float32(0.85))
        keys.append((color, f"{int(mine.sum())} {name}"))
    return Panel(pixels, tuple(reversed(keys)))


def _superpixels(scene: Scene, canvas: Canvas) -> Panel:
    """The superpixels that the I-frame's fit begins with: each in its mean colour, with its border."""
    start = scene.start
    assert start is not None
    labels, n_person = start.labels
    flat, inside = labels.ravel(), labels.ravel() >= 0
    n = int(flat.max()) + 1
    counts = np.maximum(np.bincount(flat[inside], minlength=n), 1)
    channels = start.source.reshape(-1, 3)[inside].astype(np.float64)
    sums = [np.bincount(flat[inside], channels[:, k], n) for k in range(3)]
    colors = np.rint(np.stack(sums, axis=-1) / counts[:, None]).astype(np.uint8)
    filled = np.where((labels >= 0)[:, :, None], colors[labels], start.source)
    pixels = cv2.resize(filled, canvas.size, interpolation=cv2.INTER_NEAREST)
    is_person = cv2.resize(
        ((labels >= 0) & (labels < n_person)).astype(np.uint8), canvas.size, interpolation=cv2.INTER_NEAREST
    )
    coverage = border_coverage(labels, canvas.size, 0.6 * canvas.line)
    tint = np.where(is_person[:, :, None] > 0, np.array(ORANGE), np.array(BLUE))
    pixels = blend(pixels, tint, coverage * np.float32(0.75))
    room = int(labels.max()) + 1 - n_person
    keys = (ORANGE, f"{n_person} the person's"), (BLUE, f"{room} the room's")
    return Panel(pixels, (*keys, *_of_another(scene, start.number)))


def _of_another(scene: Scene, number: int) -> tuple[Key, ...]:
    """What is said where another frame is shown than the scene's."""
    return () if number == scene.number else ((None, f"of frame {number}"),)


def _roi(scene: Scene, canvas: Canvas) -> Panel:
    """The region of interest in full light, the rest dim, and where the matte is a half."""
    assert scene.source is not None
    assert scene.matte is not None
    picture = resized(scene.source, canvas.size)
    matte = resized(scene.matte, canvas.size).astype(np.float32) / 255
    rest = blend(dimmed(picture, 0.45, 0.25), BLUE, 0.16)
    pixels = blend(rest, picture, matte)
    steep = cv2.GaussianBlur(matte, (0, 0), canvas.line)
    contours, _ = cv2.findContours((steep >= 0.5).astype(np.uint8), cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
    edge = np.zeros(matte.shape, np.uint8)
    cv2.polylines(edge, contours, True, 255, max(1, round(1.6 * canvas.line)), cv2.LINE_AA)
    rim = 1 + round(2 * canvas.line)  # the picture's own edge is none of the matte's
    for side in (edge[:rim], edge[-rim:], edge[:, :rim], edge[:, -rim:]):
        side[:] = 0
    share = 100 * float(scene.matte.mean()) / 255
    pixels = blend(pixels, ORANGE, edge.astype(np.float32) / 255)
    return Panel(pixels, ((ORANGE, f"of interest: {share:.0f} % of the picture"),))


def _changed(scene: Scene, canvas: Canvas) -> Panel:
    """Which Gaussians the frame sent, which it only moved, and which came or went."""
    trace, scale = scene.coded, canvas.scale
    pixels = dimmed(resized(scene.picture, canvas.size), 0.4, 0.15)
    points, lines = outlines(trace.params), canvas.lines(trace.params)
    still = trace.fate == Fate.UNTOUCHED
    coverage = line_coverage(points[still], canvas.size, scale, 0.7 * lines[still])
    pixels = blend(pixels, GRAY, coverage * np.float32(0.4))
    keys: list[Key] = []
    for fate, color, name in FATES:
        mine = trace.fate == fate
        strength = 0.55 if fate == Fate.MOVED else 1.0
        if fate != Fate.MOVED and not (fate == Fate.BORN and mine.all()):
            pixels = blend(pixels, color, area_coverage(points[mine], canvas.size, scale) * np.float32(0.3))
        coverage = line_coverage(points[mine], canvas.size, scale, lines[mine])
        pixels = blend(pixels, color, coverage * np.float32(strength))
        if mine.any():
            keys.append((color, f"{int(mine.sum())} {name}"))
    if still.any():
        keys.append((GRAY, f"{int(still.sum())} untouched"))
    return Panel(pixels, (*keys, *_of_another(scene, scene.coded_number)))


def _bits(scene: Scene, canvas: Canvas) -> Panel:
    """How many of the frame's bits lie where: a heat map."""
    width, height = canvas.coded
    longer = max(width, height)
    grid = max(1, min(width, width * CELLS // longer)), max(1, min(height, height * CELLS // longer))
    bits = bit_map(scene.coded, (width, height), grid) * (grid[0] * grid[1] * BLOCK**2 / (width * height))
    pixels = blend(
        dimmed(resized(scene.picture, canvas.size), 0.35, 0.0),
        resized(heat(bits), canvas.size),
        0.82,
    )
    n_bits, shared = scene.coded.n_bits, scene.coded.n_bits - float(scene.coded.bits.sum())
    note = f"{100 * shared / n_bits:.0f} % shared" if n_bits else "nothing is sent"
    return Panel(pixels, (*heat_keys(), (None, note), *_of_another(scene, scene.coded_number)))


def heat(bits: np.ndarray) -> np.ndarray:  # [H, W] -> [H, W, 3]
    """Colours of bits per block, on a scale of logarithms from LEAST_BITS to MOST_BITS."""
    span = np.log(MOST_BITS / LEAST_BITS)
    level = np.log(np.maximum(bits, 1e-9) / LEAST_BITS) / span
    codes = np.clip(np.rint(255 * level), 0, 255).astype(np.uint8)
    return np.asarray(cv2.applyColorMap(codes, cv2.COLORMAP_INFERNO)[:, :, ::-1])


def heat_keys() -> tuple[Key, ...]:
    """What the colours of `heat` mean."""
    ramp = np.geomspace(LEAST_BITS, MOST_BITS, 64)[None]
    return ((None, f"{LEAST_BITS:g}"), (heat(ramp)[0], f"{MOST_BITS:g} bits per {BLOCK}x{BLOCK}"))


def _alpha(scene: Scene, canvas: Canvas) -> Panel:
    gray = cv2.cvtColor(resized(scene.alpha, canvas.size), cv2.COLOR_GRAY2RGB)
    share = 100 * float(scene.alpha.mean()) / 255
    return Panel(np.asarray(gray), ((None, f"{share:.0f} % of the picture"),))


def _person(scene: Scene, canvas: Canvas) -> Panel:
    """The person alone, decoded without the room."""
    share = scene.alpha.astype(np.float32)[:, :, None] / 255
    person = resized(scene.person * share, canvas.size)
    alpha = np.clip(resized(share[:, :, 0], canvas.size), 0, 1)[:, :, None]
    pixels = np.clip(person + (1 - alpha) * canvas.backdrop + 0.5, 0, 255).astype(np.uint8)
    n = int((scene.trace.is_live & ~scene.trace.is_room).sum())
    return Panel(pixels, ((None, f"{n} Gaussians, drawn without the room"),))


VIEWS = {
    "source": View("Source", _source, needs_source=True),
    "picture": View("Decoded", _picture),
    "ellipses": View("Its Gaussians", _ellipses),
    "superpixels": View("Superpixels", _superpixels, needs_source=True),
    "roi": View("Region of interest", _roi, needs_source=True),
    "changed": View("What this frame changed", _changed),
    "bits": View("Where its bits went", _bits),
    "alpha": View("The person's alpha", _alpha, needs_person=True),
    "person": View("The person alone", _person, needs_person=True),
}
DEFAULT = ("picture", "ellipses", "superpixels", "roi", "changed", "bits", "person")
