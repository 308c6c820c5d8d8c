"""Portrait mattes against the demo clip's exact ones; other light and framing, two people, nobody."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("matplotlib")

from matte_cases import CASES, Clip, beside, changed, demo_clip, iou, ious

from gscodec.analysis.faces import HOLD_FRAMES
from gscodec.analysis.matting import NOBODY_AT_ALL, NOBODY_IN_SOME, make_matter
from gscodec.bench.democlip import demo_frames
from gscodec.bench.demoroom import draw_room


@pytest.fixture(scope="module")
def clip() -> Clip:
    return demo_clip()


def test_demo_clip(clip: Clip) -> None:
    found = ious("portrait", clip)
    assert np.mean(found) >= 0.9
    assert min(found) >= 0.88


def test_matte_is_soft_float_in_range(clip: Clip) -> None:
    matte = make_matter("portrait").matte(clip[0][0])
    assert matte.shape == clip[0][1].shape
    assert matte.dtype == np.float32
    assert 0 <= matte.min() <= matte.max() <= 1
    assert ((matte > 0.05) & (matte < 0.95)).any()


def test_same_frames_give_the_same_mattes(clip: Clip) -> None:
    first, second = make_matter("portrait"), make_matter("portrait")
    for pixels, _ in clip[:4]:
        np.testing.assert_array_equal(first.matte(pixels), second.matte(pixels))


@pytest.mark.parametrize("case", [*CASES, "warm light"])
def test_other_pictures_of_the_person(clip: Clip, case: str) -> None:
    assert np.mean(ious("portrait", [changed(case, *frame) for frame in clip[:4]])) >= 0.85


def test_two_people(clip: Clip) -> None:
    assert np.mean(ious("portrait", [beside(clip[i], clip[-1 - i]) for i in range(4)])) >= 0.85


def test_nobody(clip: Clip) -> None:
    room = draw_room(640, 360)
    matter = make_matter("portrait")
    for _ in range(8):
        assert (matter.matte(room) == 1).all()
    assert matter.warnings == [NOBODY_AT_ALL]
    mattes = [matter.matte(pixels) for pixels, _ in clip[:8]]  # who comes in is found at the next search
    assert matter.warnings == [NOBODY_IN_SOME]
    assert iou(mattes[-1], clip[7][1]) >= 0.85


def test_person_who_leaves_is_dropped_after_a_while(clip: Clip) -> None:
    room = draw_room(320, 180)
    matter = make_matter("portrait")
    matter.matte(np.ascontiguousarray(clip[0][0][::2, ::2]))
    after = [matter.matte(room) for _ in range(HOLD_FRAMES + 30)]
    assert (after[-1] == 1).all()
    assert NOBODY_IN_SOME in matter.warnings


def test_reset_forgets_the_scene_before(clip: Clip) -> None:
    room = draw_room(640, 360)
    matter = make_matter("portrait")
    matter.matte(clip[0][0])
    matter.reset()
    assert (matter.matte(room) == 1).all()
    matter.reset()
    np.testing.assert_array_equal(matter.matte(clip[0][0]), make_matter("portrait").matte(clip[0][0]))


def test_another_size_counts_as_another_scene(clip: Clip) -> None:
    matter = make_matter("portrait")
    matter.matte(clip[0][0])
    pixels, exact = clip[1]
    pixels, exact = np.ascontiguousarray(pixels[:, 100:500]), exact[:, 100:500]
    assert iou(matter.matte(pixels), exact) >= 0.85


@pytest.mark.parametrize("shape", [(1, 1), (1, 500), (500, 1), (7, 640), (16, 16), (33, 47)])
def test_pictures_too_small_or_too_thin_for_a_face(shape: tuple[int, int]) -> None:
    matter = make_matter("portrait")
    pixels = np.random.default_rng(0).integers(0, 255, (*shape, 3), np.uint8)
    for _ in range(3):
        matte = matter.matte(pixels)
    assert matte.shape == shape
    assert np.isfinite(matte).all()


def test_demo_frames_are_reproducible_and_shoulders_reach_the_bottom() -> None:
    first, second = (list(demo_frames(2, 128, 72)) for _ in range(2))
    for (a, matte_a), (b, matte_b) in zip(first, second, strict=True):
        np.testing.assert_array_equal(a, b)
        np.testing.assert_array_equal(matte_a, matte_b)
        assert a.dtype == np.uint8
        assert matte_a.dtype == np.float32
        assert 0 <= matte_a.min() <= matte_a.max() <= 1
        assert (matte_a[-1, 45:70] > 0.99).all()
        assert (matte_a[0] == 0).all()
