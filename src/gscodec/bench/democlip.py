"""A synthetic video call with an exact matte: the clip of the examples, of `bench` and of the matting tests.

The person is matplotlib's sample picture `grace_hopper.jpg` (US government work, public domain), cut out
along the outline written down below and moved by smooth warps; `demoroom.py` draws the room. As every frame
is composited here, the person's matte is known exactly. Equal arguments give equal frames.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np

from gscodec.bench.demoroom import draw_room
from gscodec.errors import BackendError, install_extra

# The person's outline in the sample picture (512x600), clockwise from the top of the cap, pixels. It leaves
# the picture on the right, where the sleeve is continued by reflection, and at the bottom.
OUTLINE = (
    "262,24 276,25 287,29 295,37 301,42 313,43 326,50 338,59 346,70 351,85 357,87 363,86 367,95 "
    "368,115 370,140 370,160 367,182 372,185 376,197 375,208 370,225 365,245 360,262 359,275 355,287 "
    "348,298 340,304 333,307 331,313 334,319 345,329 362,341 385,351 408,361 420,367 440,372 460,377 "
    "480,389 490,396 497,409 505,429 512,449 520,476 528,506 535,541 540,620 6,620 11,600 15,560 "
    "20,500 25,460 29,430 35,409 43,391 55,381 62,380 75,371 95,364 120,358 150,348 170,342 185,333 "
    "195,323 200,317 204,312 204,299 200,296 185,291 171,283 163,276 163,262 166,255 164,245 161,230 "
    "156,215 154,200 155,188 152,178 150,160 149,140 150,120 154,103 158,94 166,87 175,84 178,73 "
    "184,63 193,54 204,47 215,42 223,41 224,34 235,28 250,24"
)
SLEEVE_PIXELS = 40  # how far the picture is continued on the right
NECK = (265.0, 330.0)  # the head turns about this point
NOSE = (265.0, 200.0)
EYES = ((219.0, 190.0), (305.0, 187.0))
MOUTH = (264.0, 280.0)
HEAD_TOP, BOTTOM = 24.0, 560.0  # rows of the picture shown at 12 % and at 100 % of the frame's height
BLINKS_S = (0.55, 1.9, 2.15, 3.4, 5.2, 7.0)
NOISE_SIGMA = 1.4  # of the camera, code values


@dataclass(frozen=True, slots=True)
class Pose:
    """Where head and shoulders are; lengths in pixels of the sample picture, angles in radians.

    Attributes:
        head_x, head_y, roll: movement of the head against the shoulders, about NECK.
        yaw, pitch: shift of the nose against the rim of the head, as turning and nodding show it.
        body_x, body_y: movement of the whole person.
        mouth, lids: 0 closed (open eyes) to 1 (open mouth, closed eyes).
    """

    head_x: float
    head_y: float
    roll: float
    yaw: float
    pitch: float
    body_x: float
    body_y: float
    mouth: float
    lids: float


def demo_frames(
    n: int, width: int = 640, height: int = 360, fps: float = 30.0
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield the clip's first n frames and their exact mattes.

    Args:
        n: number of frames.
        width, height: pixels of a frame.
        fps: frames per second; the movement is a function of time, so it sets how far two frames are apart.
    Yields:
        (pixels, matte): uint8 [H, W, 3] R'G'B', and float32 [H, W] in [0, 1], 1 on the person.
    Raises:
        BackendError: matplotlib, which holds the picture of the person, is not installed.
    """
    person = cut_out_person()
    room = draw_room(width, height).astype(np.float32)
    for index in range(n):
        pose = pose_at(index / fps)
        layer = _place(_animate_face(person, pose), pose, width, height)
        matte = np.ascontiguousarray(layer[..., 3])
        picture = layer[..., :3] + room * (1.0 - matte[..., None])
        noise = np.random.default_rng(index).normal(0.0, NOISE_SIGMA, (height, width, 3)).astype(np.float32)
        picture += cv2.GaussianBlur(noise, (3, 3), 0.5) * 1.4
        yield np.clip(picture + 0.5, 0, 255).astype(np.uint8), matte


def cut_out_person() -> np.ndarray:
    """Cut the person out of the sample picture.

    Returns:
        float32 [600, 512 + SLEEVE_PIXELS, 4]: R'G'B' 0–255 multiplied by alpha, and alpha in [0, 1].
    Raises:
        BackendError: matplotlib is not installed.
    """
    try:
        from matplotlib import cbook
    except ImportError as error:
        raise BackendError(
            f"the demo clip needs matplotlib; {install_extra('bench')}, or name a clip of yours"
        ) from error
    path = cbook.get_sample_data("grace_hopper.jpg", asfileobj=False)
    with open(path, "rb") as file:
        coded = np.frombuffer(file.read(), np.uint8)
    picture = np.asarray(cv2.imdecode(coded, cv2.IMREAD_COLOR_RGB))
    picture = cv2.copyMakeBorder(picture, 0, 0, 0, SLEEVE_PIXELS, cv2.BORDER_REFLECT)
    height, width = picture.shape[:2]

    points = np.array([p.split(",") for p in OUTLINE.split()], np.float32)
    shape = np.zeros((height, width), np.uint8)
    fixed = np.rint((points + 0.5) * 16).astype(np.int32)
    cv2.fillPoly(shape, [fixed], 255, cv2.LINE_AA, shift=4)
    alpha = cv2.GaussianBlur(shape.astype(np.float32) / 255, (0, 0), 1.6)
    alpha = np.clip((alpha - 0.35) / 0.6, 0, 1)  # rounds the polygon's corners, edge half a pixel inside

    # Colours near the outline are mixed with the old background: spread those from further inside instead.
    inside = cv2.erode((shape > 250).astype(np.float32), np.ones((7, 7)))
    spread: np.ndarray
    weight: np.ndarray
    spread, weight = picture * inside[..., None], inside.copy()
    filled, known = spread.copy(), inside > 0
    for _ in range(8):
        spread, weight = cv2.blur(spread, (3, 3)), cv2.blur(weight, (3, 3))
        new = ~known & (weight > 1e-4)
        filled[new] = spread[new] / weight[new][:, None]
        known |= new
    filled = 14 + 0.9 * filled  # the studio picture has more contrast than a camera in that room would give
    return np.dstack([filled * alpha[..., None], alpha]).astype(np.float32)


def pose_at(time_s: float) -> Pose:
    """Return the pose at a time: sums of slow sines that never quite repeat, words with pauses, blinks."""
    t = time_s

    def wave(period_s: float, phase: float) -> float:
        return float(np.sin(2 * np.pi * (t / period_s + phase)))

    return Pose(
        head_x=9 * wave(3.1, 0.10) + 3 * wave(1.3, 0.45),
        head_y=3 * wave(2.3, 0.30) + 2 * wave(0.9, 0.15),
        roll=0.055 * wave(3.7, 0.80) + 0.02 * wave(1.7, 0.20),
        yaw=15 * wave(2.9, 0.05) + 4 * wave(1.1, 0.60),
        pitch=7 * wave(1.9, 0.55) + 3 * wave(0.8, 0.35),
        body_x=6 * wave(4.3, 0.00),
        body_y=2.5 * wave(3.3, 0.25),
        mouth=float(speech_envelope(np.asarray(t))),
        lids=float(_bump((t - np.array(BLINKS_S)) / 0.11).max()),
    )


def speech_envelope(time_s: np.ndarray) -> np.ndarray:
    """Return how open the mouth, and how loud the voice, is: in [0, 1], about four syllables a second."""
    syllable = np.sin(2 * np.pi * (4.1 * time_s + 0.25 * np.sin(2 * np.pi * 0.7 * time_s)))
    word = np.sin(2 * np.pi * (0.62 * time_s + 0.1)) + 0.45
    return np.clip(syllable, 0, 1) * np.clip(1.6 * word, 0, 1)


def _bump(x: np.ndarray) -> np.ndarray:
    """Return a smooth hill: 1 at 0, 0 beyond ±1."""
    return np.clip(1 - np.square(x), 0, None) ** 2


def _smoothstep(x: np.ndarray) -> np.ndarray:
    x = np.clip(x, 0, 1)
    return x * x * (3 - 2 * x)


def _animate_face(person: np.ndarray, pose: Pose) -> np.ndarray:  # [h, w, 4] -> [h, w, 4]
    """Return the cut-out with mouth and eyelids in position; still in coordinates of the sample picture."""
    face: np.ndarray = person.copy()
    height, width = face.shape[:2]
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)

    # The jaw drops: rows below the lips move down, and the gap shows a dark mouth.
    drop = 9.0 * pose.mouth
    below = _smoothstep((y - MOUTH[1] + 1) / 4) * (1 - _smoothstep((y - 318) / 40))
    jaw = drop * below * _bump((x - MOUTH[0]) / 80)
    face = cv2.remap(face, x, (y - jaw).astype(np.float32), cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    if drop > 0.5:
        radius = ((x - MOUTH[0]) / 31) ** 2 + ((y - MOUTH[1] - drop * 0.55) / (0.55 * drop + 0.5)) ** 2
        gap = _smoothstep((1.25 - radius) / 0.6)[..., None] * 0.9
        face[..., :3] += gap * (np.array([58, 22, 22], np.float32) - face[..., :3])

    # Lids: the skin below the eye, mirrored upwards, with a line of lashes where lids meet.
    for eye_x, eye_y in EYES:
        if pose.lids <= 0:
            break
        lid = _smoothstep((1 - ((x - eye_x) / 21) ** 2 - ((y - eye_y) / 10) ** 2) / 0.35)
        lid = lid * _smoothstep((eye_y - 10 + 22 * pose.lids - y) / 4)
        mirrored = cv2.remap(face, x, (2 * (eye_y + 10) - y).astype(np.float32), cv2.INTER_LINEAR)
        lashes = 1 - 0.45 * _bump((y - eye_y - 7) / 4) * pose.lids
        face[..., :3] += lid[..., None] * (mirrored[..., :3] * lashes[..., None] - face[..., :3])
    return face


def _place(person: np.ndarray, pose: Pose, width: int, height: int) -> np.ndarray:  # -> [H, W, 4]
    """Warp the cut-out into the frame: premultiplied R'G'B' 0–255 and alpha, float32."""
    scale = 0.88 * height / (BOTTOM - HEAD_TOP)  # frame pixels per pixel of the sample picture
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    x = (x + 0.5 - 0.47 * width) / scale + NECK[0] - pose.body_x
    y = (y + 0.5 - height) / scale + BOTTOM - pose.body_y

    # Inverse warp. The head's share of the movement fades out through the neck; shoulders do not take part.
    beside = _smoothstep((np.abs(x - NECK[0]) - 60) / 70)
    share = 1 - _smoothstep((y - 292 + 25 * beside) / 105)
    cos, sin = np.cos(pose.roll), np.sin(pose.roll)
    turned_x = NECK[0] + cos * (x - NECK[0]) + sin * (y - NECK[1]) - pose.head_x
    turned_y = NECK[1] - sin * (x - NECK[0]) + cos * (y - NECK[1]) - pose.head_y
    x, y = x + share * (turned_x - x), y + share * (turned_y - y)
    near = _bump(np.hypot((x - NOSE[0]) / 125, (y - NOSE[1]) / 190))  # how far a point stands out of the head
    x, y = x - pose.yaw * near, y - pose.pitch * near

    # At half size or less, plain sampling would shimmer: shrink the source first.
    blur = 0.45 / scale
    source = cv2.GaussianBlur(person, (0, 0), blur) if blur > 0.6 else person
    placed = cv2.remap(
        source,
        (x - 0.5).astype(np.float32),
        (y - 0.5).astype(np.float32),
        cv2.INTER_CUBIC if scale > 0.8 else cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_CONSTANT,
        borderValue=(0, 0, 0, 0),
    )
    placed[..., 3] = np.clip(placed[..., 3], 0, 1)
    return np.clip(placed, 0, None)
