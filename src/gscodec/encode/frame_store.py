"""What an encoder does with whole frames: the source in hand, the target it makes, what a decoder shows.

Two stores keep one contract. CpuFrameStore is the definition: arrays, and the native core. With the CUDA
rasteriser frames go to the card once and stay there (cuda_frame_store.CudaFrameStore).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from gscodec.analysis.seeds import nearest_seeds
from gscodec.decode.show import Holder
from gscodec.encode import _native
from gscodec.rdo.births import Surroundings
from gscodec.rdo.pursuit import Effort, SymbolArrays, polish_births, polish_iframe, update_pframe
from gscodec.splat._native import WEIGHT_ENERGY
from gscodec.splat.cpu.raster import CpuRasterizer
from gscodec.splat.gaussians import OPPONENT_FROM_RGB, opponent_from_rgb
from gscodec.splat.raster import Rasterizer

MATTE_WEIGHT = 0.015  # of the person's share of a pixel, against its colours in [0, 1]; docs/fitting.md


@dataclass(frozen=True, slots=True)
class FrameSettings:
    """How source frames are looked at and shown.

    Attributes:
        is_room_coded: False makes the room black in the target.
        room_weight: of a room pixel in the loss; a pixel of the person has 1.
        detail: of the superpixels (analysis/seeds.py).
        hold: code values by which a decoder lets the last frame's green stand (decode/show.py).
    """

    is_room_coded: bool
    room_weight: float
    detail: float
    hold: int


class FrameStore(Surroundings, Protocol):
    """Source frames in, targets, losses and scores out; one frame at a time, in order.

    To births it is what surrounds them, by the target; only under the normalised blend.

    Attributes:
        pixels: the source in hand, R'G'B' uint8 [H, W, 3]. matte: its ROI, float32 [H, W]; all ones where
            nobody is there.
        person: where that is at least a half, bool [H, W].
        picture: what its sum must look like, opponent colours float32 [H, W, 3].
    """

    pixels: np.ndarray

    @property
    def matte(self) -> np.ndarray: ...

    @property
    def person(self) -> np.ndarray: ...

    @property
    def picture(self) -> np.ndarray: ...

    @property
    def ground(self) -> np.ndarray:
        """What colours are counted from until the next GOP, R'G'B' uint8 [3]; black under the sum."""

    def take(self, pixels: np.ndarray, matte: np.ndarray, starts_gop: bool) -> None:
        """Take the next frame in hand; pixels and matte as for encoder.Encoder.encode."""

    def make_target(self, stability: float = 0.0) -> None:
        """Make the frame the target of what follows.

        Args:
            stability: weight of standing still where the source does, against the picture's 1. Adding
                s·w·|x − shown|² to w·|x − picture|² makes one square around their mean, of weight (1 + s)·w.
        """

    def target(self) -> Any:
        """What make_target made, as the rasteriser's fits take it; valid until the next one."""

    def even_target(self, room_only: bool) -> Any:
        """The frame as a target of which every pixel counts alike; valid until the next one.

        Args:
            room_only: where the person is it is the ground's colour, black under the sum.
        """

    def nearest_seeds(self, region: np.ndarray, counts: np.ndarray) -> np.ndarray:
        """Which seed each pixel of the frame is nearest to (analysis/seeds.py, Label)."""

    def contrasts(self, params: np.ndarray) -> np.ndarray:
        """How far the colour of each Gaussian is from what it takes the place of, root mean square, [N].

        Measured by how much the picture changes where the Gaussian moves; under the sum its colour's length.
        """

    def losses(self, candidates: Sequence[np.ndarray]) -> list[float]:
        """Σ weight·d² of the target for each set of params, float32 [N, 8]."""

    def residual(self, params: np.ndarray) -> np.ndarray:
        """Target minus the sum of params, float32 [N, 8], and the target's weight: float32 [H, W, 4]."""

    def update(
        self, arrays: SymbolArrays, change_costs: np.ndarray | None, effort: Effort, lambda_: float
    ) -> int:
        """Change symbols in place where it pays (rdo/pursuit.py); how many passes that took.

        Args:
            change_costs: bits of saying that a Gaussian of a P-frame changes, float32 [N]; None: an I-frame.
        """

    def show(self, params: np.ndarray, restart: bool) -> dict[str, Any]:
        """Draw what a decoder shows, and keep it; its errors, by the names of encoded.EncodedFrame.

        Args:
            restart: an I-frame or a recovery point, which hold nothing of the frames before.
        """

    def score_between(self, params: np.ndarray, pixels: np.ndarray, matte: np.ndarray) -> dict[str, Any]:
        """Draw what a decoder shows of a B-frame in front of the frame shown last; its errors, as for `show`.

        Args:
            pixels, matte: the B-frame's own source, as for `take`.
        """

    def take_back(self) -> None:
        """Forget the frame shown last, as if the one before it were the last; not with `stability`."""


class CpuFrameStore:
    """FrameStore in host memory. Updates run on the native core whatever fits and draws."""

    def __init__(self, settings: FrameSettings, raster: Rasterizer) -> None:
        self._settings, self._raster = settings, raster
        self._core = (
            raster
            if isinstance(raster, CpuRasterizer)
            else CpuRasterizer(raster.width, raster.height, blend=raster.blend)
        )
        self.ground = np.zeros(3, np.uint8)
        self._ground = np.zeros(3, np.float32)  # the same in opponent units
        self.pixels = np.empty(0, np.uint8)
        self.matte = self.picture = self._weight = np.empty(0, np.float32)
        self.person = np.empty(0, bool)
        self._picture_before = np.empty(0, np.float32)
        self._shown = np.empty(0, np.uint8)
        self._holder = Holder(settings.hold)
        self._target: Any = None
        self._target_arrays = self.picture, self._weight

    def take(self, pixels: np.ndarray, matte: np.ndarray, starts_gop: bool) -> None:
        self._picture_before, self.pixels = self.picture, pixels
        if starts_gop and self._raster.blend == "normalised":
            self.ground = ground_of(pixels)
            self._ground = opponent_from_rgb(self.ground)
        self.picture, self.matte, self._weight = look_at(pixels, matte, self._settings)
        self.picture -= self._ground
        self.person = self.matte >= 0.5

    def make_target(self, stability: float = 0.0) -> None:
        picture, weight = self.picture, self._weight
        if stability:  # what was shown is counted from black
            picture, weight = picture + self._ground, weight.copy()
            before = self._picture_before + self._ground
            _native.steady(picture, weight, before, self._shown, OPPONENT_FROM_RGB, stability)
            picture -= self._ground
        self._target_arrays = picture, weight
        self._target = self._core.target(picture, weight, *self._matte_term())

    def target(self) -> Any:
        if self._raster is self._core:
            return self._target
        return self._raster.target(*self._target_arrays, *self._matte_term())

    def _matte_term(self) -> tuple[np.ndarray, float] | tuple[()]:
        """Under the normalised blend the person's share of a pixel is to be the matte."""
        return (self.matte, MATTE_WEIGHT) if self._raster.blend == "normalised" else ()

    def even_target(self, room_only: bool) -> Any:
        outside = 1.0 - np.minimum(1.0, 2.0 * self.matte)
        picture = self.picture * outside[:, :, None] if room_only else self.picture
        return self._raster.target(picture, np.ones_like(self.matte))

    def nearest_seeds(self, region: np.ndarray, counts: np.ndarray) -> np.ndarray:
        return nearest_seeds(self.picture, self._settings.detail)(region, counts)

    def contrasts(self, params: np.ndarray) -> np.ndarray:
        return contrasts_of(self._core.tiled.curvatures(self._target, params))

    def losses(self, candidates: Sequence[np.ndarray]) -> list[float]:
        return [self._core.tiled.loss(self._target, params) for params in candidates]

    def residual(self, params: np.ndarray) -> np.ndarray:
        return self._core.tiled.residual(self._target, params)

    def update(
        self, arrays: SymbolArrays, change_costs: np.ndarray | None, effort: Effort, lambda_: float
    ) -> int:
        if change_costs is None:
            return polish_iframe(self._core, self._target, arrays, effort, lambda_).passes
        return update_pframe(self._core, self._target, arrays, change_costs, effort, lambda_).passes

    def drawn_at(
        self, params: np.ndarray, residual: np.ndarray, rows: np.ndarray, columns: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        shown = self._target_arrays[0][rows, columns] - residual[rows, columns, :3]
        return shown, self._core.tiled.weights(params)[rows, columns]

    def solve_births(self, params: np.ndarray, first: int, sweeps: int, ridge: float) -> None:
        active = np.arange(first, len(params), dtype=np.uint32)
        self._core.solve_colors(self._target, params, active, sweeps, ridge)

    def polish_births(
        self,
        arrays: SymbolArrays,
        others: np.ndarray,
        others_room: np.ndarray,
        effort: Effort,
        lambda_: float,
    ) -> None:
        polish_births(self._core, self._target, arrays, effort, lambda_, others, others_room)

    def show(self, params: np.ndarray, restart: bool) -> dict[str, Any]:
        self._shown = self._raster.render_rgb8(params, self._ground)
        self._holder.show(self._shown, restart)
        return score(self._shown, self.pixels, self.matte)

    def score_between(self, params: np.ndarray, pixels: np.ndarray, matte: np.ndarray) -> dict[str, Any]:
        picture = self._raster.render_rgb8(params, self._ground)
        self._holder.show_between(picture)
        matte = roi_of(matte)
        return score(picture, pixels, matte.astype(np.float32) / 255 if matte.dtype == np.uint8 else matte)

    def take_back(self) -> None:
        self._holder.take_back()


def make_frame_store(settings: FrameSettings, raster: Rasterizer) -> FrameStore:
    """The store that goes with a rasteriser: on the card where it draws there."""
    if raster.backend != "cuda":
        return CpuFrameStore(settings, raster)
    from gscodec.encode.cuda_frame_store import cuda_frame_store  # needs CUDA's packages

    return cuda_frame_store(settings, raster)


def look_at(
    pixels: np.ndarray, matte: np.ndarray, settings: FrameSettings
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """What a frame's sum must look like, and where it matters.

    Args:
        pixels, matte: as for encoder.Encoder.encode.
    Returns:
        The picture in opponent colours, or the person alone on black, float32 [H, W, 3];
        the matte, all ones where nobody is there, because then the whole picture matters, float32; the loss's
        weights.
    """
    matte = roi_of(matte)
    if matte.dtype == np.uint8:
        matte = matte.astype(np.float32) / 255
    picture = opponent_from_rgb(pixels)
    if not settings.is_room_coded:
        picture *= np.minimum(1.0, 2.0 * matte)[:, :, None]
    return picture, matte, loss_weight(matte, settings.room_weight)


def ground_of(pixels: np.ndarray) -> np.ndarray:  # [H, W, 3] -> [3]
    """The mean R'G'B' of a frame, uint8: what a GOP that it begins counts its colours from."""
    return np.rint(pixels.mean(axis=(0, 1))).astype(np.uint8)


def contrasts_of(curvatures: np.ndarray) -> np.ndarray:  # [N, 10] -> [N]
    """FrameStore.contrasts of Gaussians whose second derivatives were gathered (kernels.h, Curvature)."""
    found = curvatures.astype(np.float64)
    area, moved = found[:, 0], found[:, 5] + found[:, 6]
    return np.sqrt(np.maximum(moved, 0) * WEIGHT_ENERGY / np.maximum(area, 1e-9))


def roi_of(matte: np.ndarray) -> np.ndarray:  # [H, W] -> [H, W]
    """The matte as it came, float32 or uint8; all ones, or 255, where nobody is there."""
    whole = 255 if matte.dtype == np.uint8 else 1.0
    nobody = matte.max(initial=0) < whole / 2  # not so with a NaN, which must not go unseen
    return np.full_like(matte, whole) if nobody else matte


def score(shown: np.ndarray, pixels: np.ndarray, matte: np.ndarray) -> dict[str, Any]:
    """The errors of a decoded picture, by the names of encoded.EncodedFrame."""
    roi_error, roi_samples, error = _native.squared_errors(shown, pixels, (matte >= 0.5).astype(np.uint8))
    return {"roi_error": roi_error, "roi_samples": roi_samples, "error": error, "samples": pixels.size}


def loss_weight(matte: np.ndarray, room_weight: float) -> np.ndarray:  # [H, W] -> [H, W]
    """Weight of every pixel in the loss: 1 on the person, `room_weight` in the room, a ramp between."""
    inside = np.clip(2.0 * matte - 0.5, 0.0, 1.0)
    return (room_weight + (1.0 - room_weight) * inside).astype(np.float32)
