"""Where the faces are, over time: the cascades of OpenCV's wheel, held together by tracking.

`portrait.py` builds the region of interest around what this finds. Pictures are grey and small (long side
WORKING_SIDE); all lengths are pixels of that size.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, replace

import cv2
import numpy as np

from gscodec.errors import BackendError

WORKING_SIDE = 320  # the long side of the pictures that faces are looked for in

SEARCH_EVERY = 24  # frames between searches of the whole picture for people who came in
SEARCH_EVERY_ALONE = 6  # the same while nobody is known
LOOK_EVERY = 4  # frames between looks around a known face
HOLD_FRAMES = 120  # a face that no look finds is still believed for so long

MIN_SHARE = 0.10  # of the picture's short side: smaller faces are people in posters, or no faces
SURE_VOTES = 7  # windows that agree on a frontal face nobody doubts
MIN_VOTES = 3  # windows a detector needs before it says anything
PROFILE_VOTES = 8  # the profile detector is trigger-happy: windows before a new face is taken from it
CONFIRM_SIGHTINGS = 3  # before a face counts; a sure find brings all of them, a profile one, others two
PADDING = 0.10  # of the long side, around the picture: cascades miss faces that touch the border
TILT_DEG = 25.0  # of a head that leans: tried when no upright face is found


@dataclass(frozen=True, slots=True)
class Face:
    """One face.

    Attributes:
        x, y: its middle, pixels of the working picture.
        width: of the detector's square: from cheek to cheek and from brow to chin, about.
        sightings: how often it was found, weighed by how surely.
        missing: frames since it was found last.
    """

    x: float
    y: float
    width: float
    sightings: int
    missing: int = 0

    @property
    def confirmed(self) -> bool:
        """Whether it may shape the matte."""
        return self.sightings >= CONFIRM_SIGHTINGS


@dataclass(frozen=True, slots=True)
class _Find:
    x: float
    y: float
    width: float
    votes: int
    profile: bool

    @property
    def sightings(self) -> int:
        """What this find adds to `Face.sightings`."""
        if self.profile:
            return 1
        return CONFIRM_SIGHTINGS if self.votes >= SURE_VOTES else 2


class FaceTracker:
    """Follows the faces of a video; call `update` with every frame in turn."""

    def __init__(self) -> None:
        """Load the cascades (some 40 ms).

        Raises:
            BackendError: this OpenCV has none.
        """
        self._frontal = _load("frontalface_alt2")
        self._frontal2 = _load("frontalface_default")
        self._profile = _load("profileface")
        self.reset()

    def reset(self) -> None:
        """Forget everybody: the next frame is of another scene."""
        self.faces: list[Face] = []
        self._until_search = 0
        self._until_look = 0
        self._turn = -1  # which of the slower detectors has its turn; -1: all of them

    def update(self, gray: np.ndarray, flow: np.ndarray | None) -> list[Face]:
        """Return the faces of the next frame that are believed.

        Args:
            gray: uint8 [h, w], long side WORKING_SIDE.
            flow: where each pixel was in the frame before, as an offset, float32 [h, w, 2]; None: unknown.
        """
        height, width = gray.shape
        moved = [_moved(face, flow) for face in self.faces]
        self.faces = [
            face
            for face in moved
            if face.missing <= HOLD_FRAMES
            and (face.confirmed or face.missing <= 3 * SEARCH_EVERY_ALONE)
            and -0.2 * face.width < face.x < width + 0.2 * face.width
            and -0.2 * face.width < face.y < height + 0.2 * face.width
        ]
        if self._until_search <= 0:
            self._search(gray)
        elif self._until_look <= 0:
            self.faces = [self._looked_at(face, gray) for face in self.faces]
            self._until_look = LOOK_EVERY
        self._until_search -= 1
        self._until_look -= 1
        return [face for face in self.faces if face.confirmed]

    def sure_faces(self, gray: np.ndarray, least: float) -> list[tuple[float, float, float]]:
        """Return the faces in one picture that nobody doubts: x, y of the middle and width. Follows none.

        Args:
            gray: uint8 [h, w].
            least: width of the smallest face.
        """
        self._turn = -1
        finds = self._detect(gray, max(20.0, least), max(gray.shape))
        wanted = {False: SURE_VOTES - 1, True: PROFILE_VOTES}
        return [(find.x, find.y, find.width) for find in finds if find.votes >= wanted[find.profile]]

    def _search(self, gray: np.ndarray) -> None:
        """Look at the whole picture: refresh known faces, take up new ones."""
        least = max(20.0, MIN_SHARE * min(gray.shape))
        finds = self._detect(gray, least, max(gray.shape))
        refreshed = [_refreshed(face, finds) for face in self.faces]
        for find in finds:
            if find.profile and find.votes < PROFILE_VOTES:
                continue
            if not any(_same(find, face) for face in refreshed):
                refreshed.append(Face(find.x, find.y, find.width, find.sightings))
        self.faces = refreshed
        known = any(face.confirmed for face in self.faces)
        self._until_search = SEARCH_EVERY if known else SEARCH_EVERY_ALONE
        self._until_look = LOOK_EVERY

    def _looked_at(self, face: Face, gray: np.ndarray) -> Face:
        """Look for a known face near where it should be; upright first, then tilted."""
        reach = 1.1 * face.width
        x0, y0 = max(0, int(face.x - reach)), max(0, int(face.y - reach))
        x1, y1 = int(face.x + reach) + 1, int(face.y + reach) + 1
        crop = np.ascontiguousarray(gray[y0:y1, x0:x1])
        if min(crop.shape) < 24:
            return face
        least, most = 0.75 * face.width, 1.35 * face.width
        finds = self._detect(crop, least, most)
        return _refreshed(face, [replace(find, x=find.x + x0, y=find.y + y0) for find in finds])

    def _detect(self, gray: np.ndarray, least: float, most: float) -> list[_Find]:
        """Return faces of widths from least to most, the surest first.

        Upright frontal faces are looked for every time. Where there are none, profiles and leaning heads are,
        one kind a time in turn; all kinds at once in the first frame of a scene.
        """
        finds = self._cascade(self._frontal, gray, least, most)
        if all(find.votes < SURE_VOTES for find in finds):
            # The second frontal cascade errs elsewhere: what both find is sure.
            for other in self._cascade(self._frontal2, gray, least, most):
                twin = next((find for find in finds if _near(find, other.x, other.y, other.width)), None)
                if twin is None:
                    finds.append(replace(other, votes=min(other.votes, SURE_VOTES - 1)))
                else:
                    finds[finds.index(twin)] = replace(twin, votes=twin.votes + other.votes)
        if not finds:
            kinds = range(4) if self._turn < 0 else [self._turn]
            for kind in kinds:
                if kind < 2:
                    finds += self._detect_profile(gray, kind == 1, least, most)
                else:
                    finds += self._detect_tilted(gray, TILT_DEG if kind == 2 else -TILT_DEG, least, most)
            self._turn = (self._turn + 1) % 4
        self._turn = max(self._turn, 0)
        return sorted(finds, key=lambda find: -find.votes)

    def _detect_profile(self, gray: np.ndarray, mirror: bool, least: float, most: float) -> list[_Find]:
        """Return profiles; the cascade knows those that look left, the mirror shows it the others."""
        if not mirror:
            return self._cascade(self._profile, gray, least, most, profile=True)
        finds = self._cascade(self._profile, cv2.flip(gray, 1), least, most, profile=True)
        return [replace(find, x=gray.shape[1] - find.x) for find in finds]

    def _detect_tilted(self, gray: np.ndarray, tilt_deg: float, least: float, most: float) -> list[_Find]:
        """Return what the frontal cascade finds in the picture turned by an angle; never sure at once."""
        height, width = gray.shape
        turn = cv2.getRotationMatrix2D((width / 2, height / 2), tilt_deg, 1.0)
        turned = cv2.warpAffine(gray, turn, (width, height), borderMode=cv2.BORDER_REPLICATE)
        back = cv2.invertAffineTransform(turn)
        finds = []
        for find in self._cascade(self._frontal, turned, least, most):
            x, y = back @ np.array([find.x, find.y, 1.0])
            finds.append(replace(find, x=float(x), y=float(y), votes=min(find.votes, SURE_VOTES - 1)))
        return finds

    @staticmethod
    def _cascade(
        cascade: cv2.CascadeClassifier, gray: np.ndarray, least: float, most: float, *, profile: bool = False
    ) -> list[_Find]:
        pad = round(PADDING * max(gray.shape))
        padded = cv2.copyMakeBorder(gray, pad, pad, pad, pad, cv2.BORDER_REPLICATE)
        boxes, votes = cascade.detectMultiScale2(
            padded,
            scaleFactor=1.15,
            minNeighbors=MIN_VOTES,
            minSize=(round(least), round(least)),
            maxSize=(round(most), round(most)),
        )
        return [
            _Find(x + w / 2 - pad, y + h / 2 - pad, float(w), int(n), profile)
            for (x, y, w, h), n in zip(boxes, votes, strict=True)
        ]


def _load(name: str) -> cv2.CascadeClassifier:
    """Return a cascade of OpenCV's wheel; OpenCV 5 and many distributions' builds have none."""
    folder = getattr(getattr(cv2, "data", None), "haarcascades", "")
    path = os.path.join(folder, f"haarcascade_{name}.xml")
    if not hasattr(cv2, "CascadeClassifier") or not os.path.isfile(path):
        raise BackendError(
            f"finding people needs OpenCV's face cascades, which OpenCV {cv2.__version__} here has not; "
            "run: pip install 'opencv-python-headless>=4.10,<5'; or choose --roi full or --roi MASKFILE"
        )
    return cv2.CascadeClassifier(path)


def _near(find: _Find, x: float, y: float, width: float) -> bool:
    return (
        np.hypot(find.x - x, find.y - y) < 0.5 * max(width, find.width)
        and 0.6 < find.width / max(width, 1e-6) < 1.7
    )


def _same(find: _Find, face: Face) -> bool:
    """Return whether a find is, or lies inside, a face that is already known."""
    return bool(np.hypot(find.x - face.x, find.y - face.y) < 0.6 * max(face.width, find.width))


def _refreshed(face: Face, finds: list[_Find]) -> Face:
    """Return the face at the best find near it, or as it is."""
    near = [find for find in finds if _near(find, face.x, face.y, face.width)]
    if not near:
        return face
    best = max(near, key=lambda find: find.votes * (0.3 if find.profile else 1.0))
    # A detector's square jitters by some 5 % of its width, a profile's by more.
    trust = 0.2 if best.profile else 0.5
    return Face(
        face.x + trust * (best.x - face.x),
        face.y + trust * (best.y - face.y),
        face.width + 0.6 * trust * (best.width - face.width),
        face.sightings + best.sightings,
    )


def _moved(face: Face, flow: np.ndarray | None) -> Face:
    """Return the face one frame later, moved as the pixels inside it are."""
    dx = dy = 0.0
    if flow is not None:
        half = 0.35 * face.width
        y0, y1 = max(0, int(face.y - half)), int(face.y + half) + 1
        x0, x1 = max(0, int(face.x - half)), int(face.x + half) + 1
        inside = flow[y0:y1, x0:x1].reshape(-1, 2)
        if len(inside):
            dx, dy = (float(v) for v in -np.median(inside, axis=0))
    return replace(face, x=face.x + dx, y=face.y + dy, missing=face.missing + 1)
