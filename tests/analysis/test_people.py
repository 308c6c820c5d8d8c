"""Mattes by the package's network: the demo clip's exact ones, several people, things, steadiness, no lag."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

pytest.importorskip("matplotlib")
pytest.importorskip("gscodec.analysis._native")

from matte_cases import CASES, Clip, beside, changed, demo_clip, iou, ious

from gscodec.analysis import blobs, people
from gscodec.analysis.blobs import PeopleBlobs
from gscodec.analysis.matting import NOBODY_AT_ALL, NOBODY_IN_SOME, make_matter
from gscodec.analysis.people import PeopleMatter
from gscodec.bench.demoroom import draw_room


@pytest.fixture(scope="module")
def clip() -> Clip:
    return demo_clip()


def test_demo_clip(clip: Clip) -> None:
    found = ious("human", clip)
    assert np.mean(found) >= 0.97
    assert min(found) >= 0.96


def test_matte_is_soft_float_in_range_and_the_same_every_time(clip: Clip) -> None:
    first, second = make_matter("human"), make_matter("auto")
    for pixels, exact in clip[:3]:
        matte = first.matte(pixels)
        np.testing.assert_array_equal(matte, second.matte(pixels))
        assert matte.shape == exact.shape
        assert matte.dtype == np.float32
        assert 0 <= matte.min() <= matte.max() <= 1
        assert ((matte > 0.05) & (matte < 0.95)).any()


@pytest.mark.parametrize("case", CASES)
def test_other_pictures_of_the_person(clip: Clip, case: str) -> None:
    assert np.mean(ious("human", [changed(case, *frame) for frame in clip[:3]])) >= 0.93


def test_two_people(clip: Clip) -> None:
    assert np.mean(ious("human", [beside(clip[i], clip[-1 - i]) for i in range(4)])) >= 0.93


def test_nobody_and_who_comes_and_goes(clip: Clip) -> None:
    room = draw_room(640, 360)
    matter = make_matter("human")
    assert (matter.matte(room) == 1).all()
    assert matter.warnings == [NOBODY_AT_ALL]
    assert iou(matter.matte(clip[0][0]), clip[0][1]) >= 0.95  # at once
    assert matter.warnings == [NOBODY_IN_SOME]
    assert (matter.matte(room) == 1).all()  # at once


def test_reset_and_another_size_forget_the_scene_before(clip: Clip) -> None:
    matter = make_matter("human")
    fresh = make_matter("human").matte(clip[5][0])
    matter.matte(clip[0][0])
    matter.reset()
    np.testing.assert_array_equal(matter.matte(clip[5][0]), fresh)
    half = np.ascontiguousarray(clip[0][0][::2, ::2])
    np.testing.assert_array_equal(matter.matte(half), make_matter("human").matte(half))


@pytest.mark.parametrize("shape", [(1, 1), (1, 500), (500, 1), (7, 640), (33, 47)])
def test_pictures_too_small_or_too_thin_for_a_person(shape: tuple[int, int]) -> None:
    matter = make_matter("human")
    pixels = np.random.default_rng(0).integers(0, 255, (*shape, 3), np.uint8)
    for _ in range(2):
        matte = matter.matte(pixels)
    assert matte.shape == shape
    assert np.isfinite(matte).all()


class Answers:
    """In place of the network: says what it is told."""

    def __init__(self, answers: Iterator[np.ndarray]) -> None:
        self._answers = answers

    def run(self, _: np.ndarray) -> np.ndarray:
        return next(self._answers)


@pytest.fixture
def unfitted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Mattes as they are before the guided filter."""
    monkeypatch.setattr(people, "guided_filter", lambda _, __, found: found)


def body(level: float = 1.0) -> np.ndarray:
    """A matte with one blob."""
    matte = np.zeros((144, 256), np.float32)
    matte[40:, 100:160] = level
    return matte


@pytest.mark.usefixtures("unfitted")
def test_where_nothing_moves_the_matte_hardly_changes_and_where_a_hand_moves_it_is_new() -> None:
    still = np.full((144, 256, 3), 90, np.uint8)
    moved = still.copy()
    moved[60:100, 30:110] = 180
    with_hand = body(0.9)
    with_hand[60:100, 30:110] = 1
    matter = PeopleMatter()
    matter._network = Answers(iter([body(), body(0.8), with_hand]))
    first, second, third = (matter.matte(picture)() for picture in (still, still, moved))
    assert first[90, 130] == 1
    assert second[90, 130] == pytest.approx(1 - 0.2 * people.STILL_SHARE, abs=1e-6)
    assert third[80, 60] == 1  # all of the hand, at once
    assert 0.98 < third[120, 130] < 1  # and still little of what is said about the rest


@pytest.mark.usefixtures("unfitted")
def test_slow_changes_add_up() -> None:
    """A picture that changes by one code value a frame is not taken for one that stands still."""
    matter = PeopleMatter()
    matter._network = Answers(iter([body(), *[body(0.6)] * 20]))
    for level in range(21):
        found = matter.matte(np.full((144, 256, 3), 90 + level, np.uint8))()
    assert found[90, 130] == pytest.approx(0.6, abs=0.03)


def matte_of(*boxes: tuple[int, int, int, int]) -> np.ndarray:
    """A matte [144, 256] with blobs at x0, y0, x1, y1."""
    matte = np.zeros((144, 256), np.float32)
    for x0, y0, x1, y1 in boxes:
        matte[y0:y1, x0:x1] = 1
    return matte


STILL = np.zeros((144, 256), np.float32)  # nothing has changed
LARGE, CUSHION = (170, 5, 256, 144), (10, 100, 60, 144)
DEMO = (60, 20, 130, 144)  # around the person of the picture below


@pytest.fixture
def person_at_the_left(clip: Clip) -> np.ndarray:
    """The demo clip's person in the left half, an empty wall at the right."""
    pixels = draw_room(640, 360)
    pixels[:, :400] = clip[0][0][:, 60:460]
    return pixels


def test_a_thing_is_dropped_and_a_person_beside_a_larger_blob_is_kept(person_at_the_left: np.ndarray) -> None:
    kept = PeopleBlobs().people(matte_of(LARGE, CUSHION), STILL, draw_room(640, 360))
    np.testing.assert_array_equal(kept, matte_of(LARGE))
    kept = PeopleBlobs().people(matte_of(LARGE, DEMO), STILL, person_at_the_left)
    np.testing.assert_array_equal(kept, matte_of(LARGE, DEMO))


def test_who_was_a_person_stays_one_and_a_thing_is_looked_at_again(person_at_the_left: np.ndarray) -> None:
    room = draw_room(640, 360)
    found = PeopleBlobs()
    found.people(matte_of(LARGE, DEMO), STILL, person_at_the_left)
    for _ in range(3):  # turned away
        np.testing.assert_array_equal(found.people(matte_of(LARGE, DEMO), STILL, room), matte_of(LARGE, DEMO))
    found.reset()
    seen = [found.people(matte_of(LARGE, DEMO), STILL, room)]
    seen += [
        found.people(matte_of(LARGE, DEMO), STILL, person_at_the_left) for _ in range(blobs.FIRST_WAIT + 1)
    ]
    np.testing.assert_array_equal(seen[0], matte_of(LARGE))
    np.testing.assert_array_equal(seen[-1], matte_of(LARGE, DEMO))


def test_the_largest_stays_a_person_when_another_outgrows_it() -> None:
    found = PeopleBlobs()
    room = draw_room(640, 360)
    small, grown = (10, 60, 60, 144), (10, 5, 140, 144)
    found.people(matte_of(LARGE, small), STILL, room)
    np.testing.assert_array_equal(found.people(matte_of(LARGE, grown), STILL, room), matte_of(LARGE, grown))


def test_specks_are_nobody_and_a_finger_beside_the_body_is_not_lost() -> None:
    room = draw_room(640, 360)
    assert PeopleBlobs().people(matte_of((5, 5, 10, 10)), STILL, room) is None
    assert PeopleBlobs().people(matte_of(), STILL, room) is None
    hand = (160, 60, 167, 70)  # three pixels off
    kept = PeopleBlobs().people(matte_of(LARGE, hand), STILL, room)
    np.testing.assert_array_equal(kept, matte_of(LARGE, hand))


def test_a_blob_that_moves_is_kept_for_a_while_unless_the_camera_moves() -> None:
    room, found = draw_room(640, 360), PeopleBlobs()
    both, hand = matte_of(LARGE, CUSHION), matte_of(CUSHION)
    np.testing.assert_array_equal(found.people(both, hand, room), both)
    for _ in range(blobs.ALIVE_FRAMES - 1):
        np.testing.assert_array_equal(found.people(both, STILL, room), both)
    np.testing.assert_array_equal(found.people(both, STILL, room), matte_of(LARGE))
    np.testing.assert_array_equal(found.people(both, np.ones_like(hand), room), matte_of(LARGE))
