"""Which blobs of a matte are people: the largest, those that hold a face, and those that move.

A network that marks people also marks flags, cushions and chairs, mostly as specks of their own. A face is
looked for in every blob but the largest one. Who was a person once stays one, also when turned away, as long
as the blob can be followed; a thing is looked at again after a while. A hand whose arm is outside the picture
has no face, but it moves, and little else in a room does.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np

from gscodec.analysis.faces import FaceTracker

PERSON = 0.5  # of a matte: from here on a pixel is part of a blob
GAP = 5  # pixels of the matte: blobs nearer than that are one, as fingers and hands are of their owner
LEAST_BODY = 0.002  # of the picture: the largest blob is nobody where it is smaller
LEAST_OTHER = 0.01  # of the picture: other blobs so small are not even looked at
FIRST_WAIT = 6  # frames until a blob in which no face was found is looked at again; each time twice as long …
LAST_WAIT = 192  # … up to this: a look takes as long as some frames, and a cushion stays one
LOOK_SIDE = 192  # long side of the picture in which a face is looked for
MARGIN = 0.2  # of a blob's sides, around it, to look for its face: cascades want what is around a face
FACE_SHARE = 0.15  # of a blob's width: no narrower face is its own
MOVES = 0.3  # of a blob's pixels that change: so much is alive …
ROOM_MOVES = 0.1  # … unless so much of the room changes too: then the camera moves
ALIVE_FRAMES = 50  # for which a blob that moved counts as alive when it rests
MOST_LOOKS = 2  # blobs looked at in one frame, the largest of them


@dataclass(frozen=True, slots=True)
class _Blob:
    """What is known about a blob that is not the largest.

    Attributes:
        mask: its pixels, bool at the matte's size.
        person: whether a face was found in it.
        wait: frames until the next look, which is `then` frames after the last one.
        alive: frames for which it is kept although no face was found, since it moved.
    """

    mask: np.ndarray
    person: bool = False
    wait: int = 0
    then: int = 0
    alive: int = 0


class PeopleBlobs:
    """Takes out of successive mattes what is nobody."""

    def __init__(self) -> None:
        """Load the face detectors.

        Raises:
            BackendError: this OpenCV has none.
        """
        self._faces = FaceTracker()
        self.reset()

    def reset(self) -> None:
        """Forget all blobs: the next matte is of another scene."""
        self._known: list[_Blob] = []

    def people(self, matte: np.ndarray, changed: np.ndarray, pixels: np.ndarray) -> np.ndarray | None:
        """Return a matte without the blobs that are nobody; None where none is anybody.

        Args:
            matte: float32 [h, w] in [0, 1].
            changed: how much the picture has changed at each pixel of the matte, float32 [h, w] in [0, 1].
            pixels: the frame, uint8 [H, W, 3].
        """
        solid = (matte > PERSON).astype(np.uint8)
        joined = cv2.dilate(solid, np.ones((GAP, GAP), np.uint8))
        count, labels = cv2.connectedComponents(joined, connectivity=8)
        areas = np.bincount(labels[solid > 0], minlength=count)  # none for what is no blob, number 0
        if areas.max() < LEAST_BODY * matte.size:
            self._known = []
            return None
        order = np.argsort(-areas)
        keep = np.zeros(count, np.uint8)
        keep[order[0]] = 1
        still_room = changed[labels == 0].mean() < ROOM_MOVES if (labels == 0).any() else False
        known, looks = [], 0
        for label in order[1:]:
            if areas[label] < LEAST_OTHER * matte.size:
                break
            mask = labels == label
            blob = self._known_as(mask) or _Blob(mask)
            blob = replace(blob, mask=mask, wait=blob.wait - 1, alive=blob.alive - 1)
            if still_room and changed[mask].mean() > MOVES:
                blob = replace(blob, alive=ALIVE_FRAMES)
            if not blob.person and blob.wait <= 0 and looks < MOST_LOOKS:
                looks += 1
                wait = min(max(FIRST_WAIT, 2 * blob.then), LAST_WAIT)
                blob = replace(blob, person=self._has_face(mask, pixels), wait=wait, then=wait)
            known.append(blob)
            keep[label] = blob.person or blob.alive > 0
        # The largest blob is a person too, and stays one where another outgrows it.
        known.append(_Blob(labels == order[0], person=True))
        self._known = known
        return matte * cv2.dilate(keep[labels], np.ones((GAP, GAP), np.uint8))

    def _known_as(self, mask: np.ndarray) -> _Blob | None:
        """The blob of the frame before that this one mostly is."""
        shares = [np.count_nonzero(mask & blob.mask) for blob in self._known]
        if not shares or max(shares) < 0.5 * np.count_nonzero(mask):
            return None
        return self._known[int(np.argmax(shares))]

    def _has_face(self, mask: np.ndarray, pixels: np.ndarray) -> bool:
        """Look for a face inside a blob."""
        rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
        height, width = pixels.shape[0] / mask.shape[0], pixels.shape[1] / mask.shape[1]
        y0, y1, x0, x1 = (
            rows[0] * height,
            (rows[-1] + 1) * height,
            columns[0] * width,
            (columns[-1] + 1) * width,
        )
        dy, dx = MARGIN * (y1 - y0), MARGIN * (x1 - x0)
        top, left = max(0, int(y0 - dy)), max(0, int(x0 - dx))
        crop = pixels[top : int(y1 + dy) + 1, left : int(x1 + dx) + 1]
        scale = LOOK_SIDE / max(crop.shape[:2])
        size = max(1, round(crop.shape[1] * scale)), max(1, round(crop.shape[0] * scale))
        if min(size) < 24:
            return False
        gray = cv2.cvtColor(cv2.resize(crop, size, interpolation=cv2.INTER_AREA), cv2.COLOR_RGB2GRAY)
        for x, y, _ in self._faces.sure_faces(gray, FACE_SHARE * (x1 - x0) * scale):
            row = min(int((y / scale + top) / height), mask.shape[0] - 1)
            column = min(int((x / scale + left) / width), mask.shape[1] - 1)
            if mask[row, column]:
                return True
        return False
