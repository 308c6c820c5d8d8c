"""Starts by the real fast-slic, the optional package: `make test-slic` installs it and runs these."""

from __future__ import annotations

import json

import numpy as np
import pytest

from cli_tools import QUICK, make_clip, succeed
from conftest import synthetic_clip
from gscodec.analysis.seeds import Label
from gscodec.analysis.superpixel import initial_gaussians
from gscodec.splat.gaussians import COLOR, MEAN, Gaussians, opponent_from_rgb

pytest.importorskip("fast_slic", reason="fast-slic is not installed; `make test-slic` does that")

WIDTH, HEIGHT = 64, 48
PERSON_RGB, ROOM_RGB = (118, 124, 120), (124, 118, 120)  # so alike that fast-slic's segments cross the border


def never_label() -> Label:
    """The native superpixels' labels, which a start by fast-slic has no use for."""

    def label(*_: object) -> np.ndarray:
        raise AssertionError("fast-slic's segments are not the native ones")

    return label


def start(pixels: np.ndarray, person: np.ndarray, count: int, room_share: float = 0.25) -> Gaussians:
    return initial_gaussians(pixels, person, count, never_label(), room_share=room_share, init="fast-slic")


def disc() -> np.ndarray:
    y, x = np.mgrid[:HEIGHT, :WIDTH] + 0.5
    return np.hypot(x - 30, y - 25) < 17


def test_segments_stay_inside_their_mask() -> None:
    person = disc()
    pixels = np.where(person[..., None], PERSON_RGB, ROOM_RGB).astype(np.uint8)
    gaussians = start(pixels, person, 80)
    # A segment's colour is the mean of its pixels: one pixel from across the border would show.
    for is_room, color in ((False, PERSON_RGB), (True, ROOM_RGB)):
        own = gaussians.params[gaussians.is_room == is_room]
        wanted = opponent_from_rgb(np.array([[color]], np.uint8))[0, 0]
        assert len(own) >= 10
        np.testing.assert_allclose(own[:, COLOR], np.tile(wanted, (len(own), 1)), atol=1e-5)
    column, row = np.floor(gaussians.params[~gaussians.is_room][:, MEAN]).astype(int).T
    assert person[row, column].mean() > 0.9  # a cut segment may be bent around its mean


def test_no_share_for_the_room_leaves_it_empty() -> None:
    assert not start(
        synthetic_clip("gradient", WIDTH, HEIGHT, 1)[0], disc(), 40, room_share=0.0
    ).is_room.any()


@pytest.mark.parametrize("count", [1, 20, 100])
def test_about_as_many_as_asked_for(count: int) -> None:
    everywhere = np.ones((HEIGHT, WIDTH), bool)
    gaussians = start(synthetic_clip("gradient", WIDTH, HEIGHT, 1)[0], everywhere, count)
    assert count / 2 <= len(gaussians) <= 2 * count
    assert np.isfinite(gaussians.params).all()


@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (9, 1), (2, 2), (4, 5), (16, 16)])
@pytest.mark.parametrize("half", [False, True], ids=["whole picture", "half of it"])
def test_more_segments_than_pixels(shape: tuple[int, int], half: bool) -> None:
    """Asked directly for so many, fast-slic divides by zero, and the process dies."""
    height, width = shape
    person = np.ones(shape, bool)
    if half:
        person[:, width // 2 :] = False
    gaussians = start(synthetic_clip("noise", width, height, 1)[0], person, 50 * height * width)
    n_person = int((~gaussians.is_room).sum())
    sizes = int(person.sum()), int((~person).sum())
    assert 1 <= len(gaussians) <= height * width
    if 0 < sizes[0] < height * width:
        assert 1 <= n_person <= sizes[0]
        assert 1 <= len(gaussians) - n_person <= sizes[1]
    assert np.isfinite(gaussians.params).all()
    assert (gaussians.params[:, [2, 4]] > 0).all()


def test_the_same_start_every_time() -> None:
    pixels = synthetic_clip("noise", WIDTH, HEIGHT, 1)[0]
    a, b = (start(pixels, disc(), 60).params for _ in range(2))
    np.testing.assert_array_equal(a, b)


def test_encode_and_decode(tmp_path) -> None:
    clip = make_clip(tmp_path / "clip.mp4", 6)
    psnr = {}
    for init in ("fast-slic", "random"):
        path = tmp_path / f"{init}.gsv"
        facts = json.loads(succeed("encode", clip, path, "--init", init, "--gop", 3, "--json", *QUICK).stdout)
        assert facts["options"]["init"] == init
        psnr[init] = facts["psnr_db"]
        succeed("decode", path, path.with_suffix(".mp4"), "-q")
        assert path.with_suffix(".mp4").stat().st_size > 0
    assert psnr["fast-slic"] > psnr["random"] + 1  # with three iterations the start is most of the picture
