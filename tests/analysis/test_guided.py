"""The native guided filter against its twin, and what it is for: edges of a matte move to the picture's."""

from __future__ import annotations

import cv2
import guided_twin
import numpy as np
import pytest

native = pytest.importorskip("gscodec.analysis._native")

from gscodec.analysis.guided import guided_filter  # noqa: E402

ISAS = ("baseline", "x86_64_v3", "x86_64_v4")


def scene(width: int, height: int) -> tuple[np.ndarray, np.ndarray]:
    """A noisy picture of a disc, and its matte."""
    y, x = np.mgrid[:height, :width]
    inside = np.hypot((x - 0.55 * width) / width, (y - 0.5 * height) / height) < 0.3
    picture = np.where(inside[..., None], [200, 120, 90], [60, 90, 120])
    noise = np.random.default_rng(width + height).integers(-9, 10, picture.shape)
    return (picture + noise).astype(np.uint8), inside.astype(np.float32)


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize(
    ("size", "small"),
    [
        ((640, 360), (256, 144)),
        ((202, 360), (144, 256)),
        ((67, 41), (31, 19)),
        ((30, 20), (60, 40)),
        ((5, 1), (3, 2)),
    ],
)
@pytest.mark.parametrize("radius", [2, 4])
def test_native_filter_and_twin_agree(
    isa: str, size: tuple[int, int], small: tuple[int, int], radius: int
) -> None:
    picture, matte = scene(*size)
    guide = cv2.resize(picture, small, interpolation=cv2.INTER_AREA)
    rough = cv2.GaussianBlur(cv2.resize(matte, small, interpolation=cv2.INTER_AREA), (0, 0), 2)
    arguments = (picture, guide, rough, radius, 6e-4, 1.8)
    try:
        found = native.guided_filter(*arguments, isa)
    except ValueError as error:
        pytest.skip(str(error))
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, guided_twin.guided_filter(*arguments), atol=2e-4)


def test_a_rough_matte_s_edge_moves_to_the_picture_s() -> None:
    picture, matte = scene(640, 360)
    guide = cv2.resize(picture, (192, 108), interpolation=cv2.INTER_AREA)
    rough = cv2.GaussianBlur(cv2.resize(matte, (192, 108), interpolation=cv2.INTER_AREA), (0, 0), 2)
    rough = np.roll(rough, 2, axis=1)  # seven pixels of the picture
    before = cv2.resize(rough, (640, 360)) > 0.5
    after = guided_filter(picture, guide, rough) > 0.5
    assert (before != (matte > 0.5)).mean() > 0.012
    assert (after != (matte > 0.5)).mean() < 0.002


def test_a_filter_that_was_large_does_not_spoil_a_small_one() -> None:
    """Memory is kept from call to call."""

    def fit(width: int, height: int) -> np.ndarray:
        picture, matte = scene(width, height)
        return guided_filter(picture, picture, matte)

    first = fit(40, 30)
    fit(300, 200)
    np.testing.assert_array_equal(fit(40, 30), first)


def test_wrong_sizes_are_refused() -> None:
    picture, matte = scene(40, 30)
    with pytest.raises(ValueError, match="matte is 39x30, expected 40x30"):
        native.guided_filter(picture, picture, matte[:, 1:].copy(), 2, 6e-4, 1.8)
    with pytest.raises(ValueError, match="radius is 257"):
        native.guided_filter(picture, picture, matte, 257, 6e-4, 1.8)
