"""Seeds on the card: the pixels of every region go to the seeds that the native core gives them to."""

from __future__ import annotations

import numpy as np
import pytest

from conftest import open_backend

frame_store = pytest.importorskip("gscodec.encode.frame_store", reason="no native core", exc_type=ImportError)

pytestmark = pytest.mark.cuda


def labels_of(
    backend: str, pixels: np.ndarray, region: np.ndarray, counts: list[int], detail: float
) -> np.ndarray:
    height, width = region.shape
    raster = open_backend(backend)(width, height)
    settings = frame_store.FrameSettings(is_room_coded=True, room_weight=0.05, detail=detail, hold=5)
    store = frame_store.make_frame_store(settings, raster)
    store.take(pixels, np.full(region.shape, 255, np.uint8), True)
    store.make_target()
    return store.nearest_seeds(region, np.array(counts, np.int32))


@pytest.mark.parametrize("size", [(1, 1), (1, 40), (33, 7), (180, 320), (270, 130)])
@pytest.mark.parametrize("detail", [0.0, 0.5, 1.5])
def test_a_card_and_the_core_label_alike(size: tuple[int, int], detail: float, rng) -> None:
    height, width = size
    coarse = rng.integers(0, 256, (height // 5 + 1, width // 5 + 1, 3)).repeat(5, 0).repeat(5, 1)
    noise = rng.integers(-9, 10, (height, width, 3))
    pixels = np.clip(coarse[:height, :width] + noise, 0, 255).astype(np.uint8)
    region = (np.hypot(*(np.indices(size) - np.array(size)[:, None, None] / 2)) > height / 3).astype(np.uint8)
    region[: height // 9] = 2  # nobody's
    counts = [min(n, int((region == r).sum())) for r, n in ((0, 300), (1, 60))]
    card, core = (labels_of(name, pixels, region, counts, detail) for name in ("cuda", "cpu-baseline"))
    assert card.dtype == np.int32
    assert (card[region == 2] == -1).all()
    # Sums of densities are taken in another order, so a seed may fall on a neighbouring pixel.
    assert (card == core).mean() > 0.98
    again = labels_of("cuda", pixels, region, counts, detail)
    np.testing.assert_array_equal(card, again)


def test_a_region_may_get_no_seeds(rng) -> None:
    pixels = rng.integers(0, 256, (40, 60, 3)).astype(np.uint8)
    region = np.zeros((40, 60), np.uint8)
    region[:, 30:] = 1
    labels = labels_of("cuda", pixels, region, [0, 25], 0.5)
    assert (labels[:, :30] == -1).all()
    assert set(np.unique(labels[:, 30:])) >= set(range(25))
