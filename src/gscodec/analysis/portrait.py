"""The person of a video call without any model: faces, a head-and-shoulders prior, a cut, optical flow.

Every few frames the people are cut out at a small size. Each pixel's odds of being a person are the sum of
where it lies, seen from the faces that `faces.py` finds, of its colour, and of the matte so far; a minimum
cut turns them into a shape. Between those frames optical flow carries the matte along, and at every frame a
guided filter fits its edge to the picture at full size. docs/matting.md has costs and accuracy.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import cv2
import numpy as np

from gscodec.analysis.faces import WORKING_SIDE, Face, FaceTracker
from gscodec.analysis.guided import guided_filter

MIN_SIDE = 24  # working pixels: a picture thinner than this shows nobody
GUIDE_SCALE = 0.6  # of the working size: where the guided filter finds its coefficients
CUT_PIXELS = 16_000  # a cut's cost is linear in these
CUT_EVERY = 5  # frames between cuts
CUT_MOVED = 0.15  # of a face's width: it moved so far since the last cut, so cut again
CUT_GAP = 2  # frames at least between cuts
FIRST_CUTS = 3  # in the first frame, colours and shape are found in turn so often
NEW_SHARE = 0.5  # weight of a cut against the matte carried along: cuts flicker, their mean does not
STALE_FRAMES = 15  # a face not seen for so long says less than the matte so far

# Odds are natural logarithms of person against room. They were searched for on hand-drawn mattes of ten clips
# and pictures, bright and darkened, with the faces' places shaken: docs/matting.md.
FAR = -5.0  # beyond what heads and torsos reach; the cut never goes there
HEADS = (  # odds, half width, half height, rise of the middle above the face's; in face widths
    (-1.2, 0.95, 1.25, 0.18),
    (1.2, 0.50, 0.95, 0.22),
    (2.1, 0.42, 0.62, 0.02),
)
TORSOS = (  # odds, outline of the right half: right of and below the middle of the face; in face widths
    (-1.2, ((0.6, 0.3), (0.9, 0.6), (1.6, 0.75), (2.1, 1.2), (2.5, 9.0))),
    (1.75, ((0.3, 0.5), (0.5, 0.72), (1.0, 0.88), (1.35, 1.15), (1.5, 9.0))),
)
BLUR = 0.06  # of these shapes, face widths
COLOR_LIMIT = 2.4  # what one colour can say at most …
COLOR_WEIGHT = 3.2  # … and what that counts against place
COLOR_FLOOR = 0.01  # share of a distribution spread over all colours: unseen ones say nothing
KNOWN_WEIGHT = 1.0  # of the matte so far; STALE_WEIGHT where no face was seen lately
STALE_WEIGHT = 4.0
CUT_SPAN = 12.5  # odds that a cut can tell apart: more are as good as certain
COLOR_BINS = (24, 20, 20)  # of L, a, b


class PortraitMatter:
    """Finds the people of successive frames."""

    name = "portrait"

    def __init__(self) -> None:
        """Load the face detectors."""
        self._tracker = FaceTracker()
        self._flow: Any = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_FAST)
        self.reset()

    def reset(self) -> None:
        """Forget everything: the next frame is of another scene."""
        self._tracker.reset()
        self._gray: np.ndarray | None = None  # of the frame before, working size
        self._odds: np.ndarray | None = None  # float32 at the cut's size: -1 room … +1 person
        self._cut_faces: list[Face] = []
        self._since_cut = 0

    def matte(self, pixels: np.ndarray) -> Callable[[], np.ndarray] | None:
        """Find the people of the next frame.

        Args:
            pixels: uint8 [H, W, 3], R'G'B'; another size counts as another scene.
        Returns:
            What makes their matte, float32 [H, W] in [0, 1], 1 on people, on any thread: it is near half of
            the work, and the next frame needs none of it. None when there is nobody.
        """
        small = _resized(pixels, WORKING_SIDE / max(pixels.shape[:2]))
        if min(small.shape[:2]) < MIN_SIDE:
            return None
        if self._gray is not None and self._gray.shape != small.shape[:2]:
            self.reset()
        gray = cv2.cvtColor(small, cv2.COLOR_RGB2GRAY)
        flow = None if self._gray is None else self._flow.calc(gray, self._gray, None)
        self._gray = gray
        faces = self._tracker.update(gray, flow)
        if not faces:
            self._odds = None
            return None
        if self._odds is not None and flow is not None:
            self._odds = _carried(self._odds, flow)
        self._since_cut += 1
        if self._odds is None or self._due(faces):
            self._odds = self._cut(small, faces)
        guide = _resized(small, GUIDE_SCALE)
        matte = 0.5 + 0.5 * cv2.resize(self._odds, (guide.shape[1], guide.shape[0]))
        return partial(guided_filter, pixels, guide, matte)

    def _due(self, faces: list[Face]) -> bool:
        """Return whether the people must be cut out anew."""
        if self._since_cut >= CUT_EVERY or len(faces) != len(self._cut_faces):
            return True
        steps = zip(faces, self._cut_faces, strict=True)
        far = any(np.hypot(a.x - b.x, a.y - b.y) > CUT_MOVED * a.width for a, b in steps)
        return far and self._since_cut >= CUT_GAP

    def _cut(self, small: np.ndarray, faces: list[Face]) -> np.ndarray:
        """Cut the people out of the frame; return the new state of the matte."""
        scale = min(1.0, (CUT_PIXELS / (small.shape[0] * small.shape[1])) ** 0.5)
        tiny = _normalized(_resized(small, scale))
        scale = tiny.shape[1] / small.shape[1]
        prior, labels = _place_odds(tiny.shape[:2], faces, scale)
        place = _probability(prior)
        if self._odds is None:
            share = place
        else:
            stale = min(face.missing for face in faces) > STALE_FRAMES
            prior = prior + (STALE_WEIGHT if stale else KNOWN_WEIGHT) * self._odds
            share = 0.5 + 0.5 * self._odds
        lab = cv2.cvtColor(tiny, cv2.COLOR_RGB2LAB)
        for _ in range(FIRST_CUTS if self._odds is None else 1):
            color = _color_odds(lab, share * place**0.6, (1 - share) * (1 - place) ** 0.6)
            person = _minimum_cut(tiny, COLOR_WEIGHT * color + prior, labels)
            share = cv2.GaussianBlur(person.astype(np.float32), (0, 0), 1.0)
        found = _tidied(person, faces, scale).astype(np.float32) * 2 - 1
        self._cut_faces = faces
        self._since_cut = 0
        return found if self._odds is None else self._odds + NEW_SHARE * (found - self._odds)


def _resized(pixels: np.ndarray, scale: float) -> np.ndarray:
    height, width = pixels.shape[:2]
    shape = max(1, round(width * scale)), max(1, round(height * scale))
    return cv2.resize(pixels, shape, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)


def _normalized(pixels: np.ndarray) -> np.ndarray:
    """Return the picture with its bright end at 255 and dark tones spread: dark rooms have colours too."""
    top = max(32.0, float(np.percentile(pixels, 98)))
    table = np.clip(np.arange(256) / top, 0, 1) ** 0.75 * 255
    return table.astype(np.uint8)[pixels]


def _probability(odds: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-odds))


def _place_odds(shape: tuple[int, int], faces: list[Face], scale: float) -> tuple[np.ndarray, np.ndarray]:
    """Return what the places of faces say about every pixel.

    Args:
        shape: height and width of the results.
        faces: of the working picture.
        scale: pixels of the results per pixel of the working picture.
    Returns:
        odds float32 [h, w], and GrabCut's labels uint8 [h, w]: room, undecided, or the middle of a face.
    """
    odds: np.ndarray = np.full(shape, FAR, np.float32)
    for face in faces:
        x, y, f = face.x * scale, face.y * scale, face.width * scale
        one = np.full(shape, FAR, np.float32)
        # From the widest to the surest; a head lies in front of its torso.
        for level, outline in TORSOS:
            points = np.array([*outline, *((-dx, dy) for dx, dy in reversed(outline))]) * f + (x, y)
            cv2.fillPoly(one, [np.rint(points).astype(np.int32)], level)
            for head_level, half_width, half_height, rise in HEADS:
                if (head_level < 0) == (level < 0):
                    _ellipse(one, x, y - rise * f, half_width * f, half_height * f, head_level)
        odds = np.maximum(odds, cv2.GaussianBlur(one, (0, 0), max(0.5, BLUR * f)))
    labels = np.where(odds > FAR + 0.5, cv2.GC_PR_FGD, cv2.GC_BGD).astype(np.uint8)
    for face in faces:
        if face.missing <= STALE_FRAMES:
            x, y, f = face.x * scale, face.y * scale, face.width * scale
            _ellipse(labels, x, y + 0.02 * f, 0.33 * f, 0.45 * f, cv2.GC_FGD)
    return odds, labels


def _ellipse(
    image: np.ndarray, x: float, y: float, half_width: float, half_height: float, value: float
) -> None:
    axes = max(1, round(half_width)), max(1, round(half_height))
    cv2.ellipse(image, (round(x), round(y)), axes, 0, 0, 360, value, -1)


def _color_odds(lab: np.ndarray, person: np.ndarray, room: np.ndarray) -> np.ndarray:
    """Return what each pixel's colour says, given how much every pixel counts as person and as room.

    Args:
        lab: uint8 [h, w, 3], OpenCV's L, a, b.
        person, room: weights, float [h, w], >= 0.
    Returns:
        float32 [h, w] within ±COLOR_LIMIT.
    """
    chroma = np.clip(lab[..., 1:].astype(np.int32) - 128, -60, 59) + 60
    lightness = lab[..., 0].astype(np.int32) * COLOR_BINS[0] >> 8
    bins = (lightness * COLOR_BINS[1] + chroma[..., 0] // 6) * COLOR_BINS[2] + chroma[..., 1] // 6
    logs = []
    for weights in (person, room):
        counts = np.bincount(bins.ravel(), weights.ravel(), minlength=int(np.prod(COLOR_BINS)))
        density: np.ndarray = counts.reshape(COLOR_BINS)
        for axis in range(3):  # [1 2 1] / 4: neighbouring colours are alike
            ends = np.take(density, [0, -1], axis)
            padded = np.concatenate([np.take(ends, [0], axis), density, np.take(ends, [1], axis)], axis)
            n = density.shape[axis]
            lower, upper = np.take(padded, range(n), axis), np.take(padded, range(2, n + 2), axis)
            density = 0.25 * lower + 0.5 * density + 0.25 * upper
        logs.append(
            np.log(density / max(1e-9, density.sum()) + COLOR_FLOOR / (COLOR_BINS[1] * COLOR_BINS[2]))
        )
    odds = np.clip(logs[0] - logs[1], -COLOR_LIMIT, COLOR_LIMIT).astype(np.float32)
    return odds.ravel()[bins]


def _minimum_cut(tiny: np.ndarray, odds: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Return the shape that best fits the odds and whose edge lies on edges of the picture.

    OpenCV's only minimum cut is inside GrabCut, which knows no odds, only colours. So its third channel
    carries the odds, its frozen colour models are two Gaussians in that channel whose log-ratio is just these
    odds, and the other two channels, in which the models are flat, give it the picture's edges.

    Args:
        tiny: the picture, uint8 [h, w, 3].
        odds: float32 [h, w], positive for the person.
        labels: uint8 [h, w], GrabCut's: what is certain.
    Returns:
        uint8 [h, w], 1 on people.
    """
    luma, red, blue = cv2.split(cv2.cvtColor(tiny, cv2.COLOR_RGB2YCrCb))
    carrier = np.clip(127.5 + odds * (127.5 / CUT_SPAN), 0, 255).astype(np.uint8)
    image = np.dstack([luma, cv2.addWeighted(red, 1, blue, -1, 128), carrier])
    room, person = _carrier_model(0), _carrier_model(255)
    result = labels.copy()
    cv2.grabCut(image, result, (0, 0, 1, 1), room, person, 1, cv2.GC_EVAL_FREEZE_MODEL)
    return (result & 1).astype(np.uint8)  # GC_FGD and GC_PR_FGD are odd


def _carrier_model(mean: float) -> np.ndarray:
    """Return GrabCut's colour model with one Gaussian: narrow in the third channel only.

    With variance v, log-ratios of means 0 and 255 are 255 · (value - 127.5) / v: CUT_SPAN at the ends.
    """
    model = np.zeros((1, 65))  # weights of 5 Gaussians, 5 means, 5 covariances
    model[0, 0] = 1
    model[0, 5:8] = 128, 128, mean
    model[0, 20:29] = np.diag([1e6, 1e6, 255 * 127.5 / CUT_SPAN]).ravel()
    return model


def _tidied(person: np.ndarray, faces: list[Face], scale: float) -> np.ndarray:
    """Drop pieces that belong to no face and no chest, and fill small holes."""
    width = max(face.width for face in faces) * scale
    person = cv2.morphologyEx(person, cv2.MORPH_OPEN, np.ones((3, 3), np.uint8))
    _, pieces, stats, _ = cv2.connectedComponentsWithStats(person, connectivity=4)
    core: np.ndarray = np.zeros(person.shape, np.uint8)
    for face in faces:
        x, y, f = face.x * scale, face.y * scale, face.width * scale
        _ellipse(core, x, y, 0.4 * f, 0.55 * f, 1)
        cv2.rectangle(
            core, (round(x - 0.6 * f), round(y + 1.1 * f)), (round(x + 0.6 * f), core.shape[0]), 1, -1
        )
    overlap = np.bincount(pieces[core > 0], minlength=len(stats))
    keep = overlap > 0.05 * width * width
    keep[0] = False
    person = keep[pieces].astype(np.uint8)
    # Holes: pieces of the room that do not reach the picture's sides or top.
    _, pieces, stats, _ = cv2.connectedComponentsWithStats(1 - person, connectivity=4)
    for hole, (x, y, w, _, area) in enumerate(np.asarray(stats).tolist()):
        if hole > 0 and x > 0 and y > 0 and x + w < person.shape[1] and area < 0.25 * width * width:
            person[pieces == hole] = 1
    return person


def _carried(odds: np.ndarray, flow: np.ndarray) -> np.ndarray:
    """Return the matte's state moved by the flow, which may be of another size."""
    height, width = odds.shape
    scale = width / flow.shape[1]
    offset = cv2.resize(flow, (width, height), interpolation=cv2.INTER_AREA) * scale
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    return cv2.remap(
        odds, x + offset[..., 0], y + offset[..., 1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
    )
