"""Which Gaussians of a frame matter most: what would change if one were not drawn.

Under the normalised blend a pixel has the mean of its Gaussians' colours, so one that is missing leaves its
place to its neighbours, and what is lost is how far their colours are from its own. Under the sum it leaves
black.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from gscodec.decode.scale import scaled
from gscodec.splat.gaussians import COLOR, Gaussians
from gscodec.splat.raster import Rasterizer

ROUNDS = 2  # in which the least important go: who is left matters more once they are gone
CONTRAST_POWER = 0.75  # of the powers tried what kept most of the picture (docs/decoding.md)
MAX_SHARE = 0.95  # of a pixel's weight, beyond which nothing is known of the neighbours
COARSE = 4  # Gaussians are ranked on a picture so many times smaller each way: that takes little time
DRAWN_BEFORE = 2.0  # factor on the importance of what the frame before drew, so that choices last


def importance(raster: Rasterizer, params: np.ndarray) -> np.ndarray:  # [N, 8 or 9] -> [N]
    """How much each Gaussian matters to the picture, in no unit, float64.

    Args:
        raster: of the size and the blend that `params` are of.
    """
    area = 2 * np.pi * params[:, 2].astype(np.float64) * params[:, 4]
    if raster.blend == "sum":
        return np.asarray(area * np.linalg.norm(params[:, COLOR], axis=1))
    # A colour's gradient is what its Gaussian weighs at each pixel, times what is asked about, summed.
    ones = np.zeros((raster.height, raster.width, 3), np.float32)
    ones[:, :, 0] = 1
    pixels = raster.gradients(params, ones)[:, 5].astype(np.float64)  # how many it makes up, in sum
    beneath = raster.gradients(params, raster.render(params))[:, COLOR]
    mean_color = beneath / np.maximum(pixels, 1e-9)[:, None]
    # The picture beneath it is its own colour by its share, and its neighbours' by the rest.
    share = np.clip(pixels / area, 0, MAX_SHARE)
    contrast = np.linalg.norm(params[:, COLOR] - mean_color, axis=1) / (1 - share)
    return np.asarray(pixels * contrast**CONTRAST_POWER)


def most_important(
    raster: Rasterizer, params: np.ndarray, most: int, favour: np.ndarray | None = None
) -> np.ndarray:  # -> [most]
    """Indices of the Gaussians to draw where more than `most` are there, ascending.

    Args:
        favour: factors on their importance [N]; None: all alike.
    """
    rows = np.arange(len(params))
    for number in np.geomspace(len(params), most, ROUNDS + 1)[1:].round().astype(int):
        found = importance(raster, np.ascontiguousarray(params[rows]))
        if favour is not None:
            found = found * favour[rows]
        rows = np.sort(rows[np.argsort(-found, kind="stable")[:number]])
    return rows


class Chooser:
    """Chooses the Gaussians of successive frames, and changes the choice only where Gaussians come or go."""

    def __init__(self, make: Callable[[int, int], Rasterizer], coded: tuple[int, int], most: int) -> None:
        """Make one.

        Args:
            make: makes the rasteriser for a width and a height. coded: width and height that the Gaussians
                are of, pixels. most: Gaussians of a picture, at least 1.
        """
        size = (max(1, coded[0] // COARSE), max(1, coded[1] // COARSE))
        self._scale = size[0] / coded[0], size[1] / coded[1]
        self._raster, self._most = make(*size), most
        self._seen = np.zeros(0, np.int64)  # ids of the frame that was chosen from last
        self._chosen = np.zeros(0, np.int64)

    def choose(self, gaussians: Gaussians, restart: bool) -> Gaussians:
        """What is drawn of a frame: at most `most` of its Gaussians.

        Args:
            restart: an I-frame or a recovery point, where nothing depends on frames before it.
        """
        if len(gaussians) <= self._most:
            self._seen = self._chosen = gaussians.ids
            return gaussians
        before = np.isin(gaussians.ids, self._chosen, assume_unique=True)
        if restart or not np.array_equal(gaussians.ids, self._seen):
            favour = None if restart else np.where(before, DRAWN_BEFORE, 1.0)
            rows = most_important(self._raster, scaled(gaussians.params, *self._scale), self._most, favour)
        else:
            rows = np.flatnonzero(before)
        self._seen, self._chosen = gaussians.ids, gaussians.ids[rows]
        return gaussians.take(rows)
