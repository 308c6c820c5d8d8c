"""frame_store.FrameStore on the card: a frame is sent once, and only symbols and sums come back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from gscodec.analysis.cuda_seeds import nearest_seeds
from gscodec.decode.show import tolerances
from gscodec.encode.frame_store import FrameSettings, look_at, roi_of
from gscodec.rdo import rates
from gscodec.rdo.cuda_pursuit import pursue
from gscodec.rdo.pursuit import Effort, SymbolArrays
from gscodec.splat.cuda.fit import losses_of, macros
from gscodec.splat.cuda.params import (
    THREADS,
    DrawParams,
    HoldParams,
    LookParams,
    MatteParams,
    ScoreParams,
)
from gscodec.splat.cuda.scene import CudaTarget
from gscodec.splat.gaussians import COLOR, OPPONENT_FROM_RGB

if TYPE_CHECKING:
    from gscodec.splat.cuda.batch import CudaBatch

# Kernels that a frame store and what works on it need; compiled all at once when one is made.
KERNELS = ("splat/cuda/raster", "encode/frame_store", "rdo/pursuit", "analysis/seeds")
MATRIX = (OPPONENT_FROM_RGB / np.float32(255)).reshape(-1).tolist()


def cuda_frame_store(settings: FrameSettings, raster: Any) -> CudaFrameStore:
    """The store of a CudaRasterizer, with all kernels that it will need compiled."""
    batch = raster.batch
    batch.device.prepare(
        [
            ("splat/cuda/raster", {"rows": batch.rows(1)}),
            *((kernel, {} if kernel == "encode/frame_store" else {"rows": 4}) for kernel in KERNELS),
            ("splat/cuda/fit", macros(batch)),
        ]
    )
    return CudaFrameStore(settings, batch)


class CudaFrameStore:
    """frame_store.FrameStore; docstrings there."""

    def __init__(self, settings: FrameSettings, batch: CudaBatch) -> None:
        self._settings, self._batch, self._work = settings, batch, batch.work
        self._n_pixels = batch.width * batch.height
        self.pixels = np.empty(0, np.uint8)
        self.ground = np.zeros(3, np.uint8)  # sums are counted from black
        self._roi = np.empty(0, np.uint8)  # the matte as it came
        self._looked: tuple[np.ndarray, np.ndarray] | None = None
        take = self._work.take
        self._source, self._matte = take(self._n_pixels * 3), take(self._n_pixels * 4)
        self._target = CudaTarget(batch.width, batch.height, 1, take(self._n_pixels * 16), take(4))
        self._even = CudaTarget(batch.width, batch.height, 1, take(self._n_pixels * 16), take(4))
        self._lumas = take(self._n_pixels * 4), take(self._n_pixels * 4)  # of this frame and the last one
        self._sum, self._shown = take(self._n_pixels * 3), take(self._n_pixels * 3)
        self._tolerances = tolerances(settings.hold).tolist()
        self._is_shown, self._has_target = False, True

    @property
    def picture(self) -> np.ndarray:
        return self._look()[0]

    @property
    def matte(self) -> np.ndarray:
        return self._look()[1]

    @property
    def person(self) -> np.ndarray:
        return self._roi >= (128 if self._roi.dtype == np.uint8 else 0.5)

    def take(self, pixels: np.ndarray, matte: np.ndarray, starts_gop: bool) -> None:
        if not self._has_target:
            self.make_target()  # the next frame asks for this one's luma
        self.pixels, self._roi, self._looked = pixels, roi_of(matte), None
        self._has_target = False
        self._lumas = self._lumas[1], self._lumas[0]
        work = self._work
        for buffer, array in ((self._source, self.pixels), (self._matte, self._roi)):
            work.send(buffer.address, [np.ascontiguousarray(array)])
        work.flush()  # it is under way while the motion is looked for

    def make_target(self, stability: float = 0.0) -> None:
        p = LookParams(mask=int(not self._settings.is_room_coded))
        p.background_weight = self._settings.room_weight
        p.luma, p.luma_before = (luma.address for luma in self._lumas)
        if stability and self._is_shown:
            p.shown, p.stability = self._shown.address, stability
        self._look_at(self._target, p)
        self._has_target = True

    def contrasts(self, params: np.ndarray) -> np.ndarray:
        return np.linalg.norm(params[:, COLOR], axis=1)

    def target(self) -> CudaTarget:
        return self._target

    def even_target(self, room_only: bool) -> CudaTarget:
        self._look_at(self._even, LookParams(mask=-int(room_only), background_weight=1.0))
        return self._even

    def nearest_seeds(self, region: np.ndarray, counts: np.ndarray) -> np.ndarray:
        target = self._target.pixels.address
        return nearest_seeds(self._batch, target, region, counts, self._settings.detail)

    def losses(self, candidates: Sequence[np.ndarray]) -> list[float]:
        batch, n = self._batch, len(candidates)
        placed = batch.place_as("candidates", candidates)
        rest = self._work.buffer("candidates' rest", n * self._n_pixels * 16)
        batch.draw(placed, DrawParams(target=self._target.pixels.address, rest=rest, one_target=1))
        found = losses_of(batch, rest, n)
        self._work.wait()
        return [float(loss) for loss in found[:, 0]]

    def residual(self, params: np.ndarray) -> np.ndarray:
        batch, work = self._batch, self._work
        placed = batch.place_as("candidates", [params])
        rest = work.buffer("candidates' rest", self._n_pixels * 16)
        batch.draw(placed, DrawParams(target=self._target.pixels.address, rest=rest, one_target=1))
        found = work.download(rest, np.empty((batch.height, batch.width, 4), np.float32))
        work.wait()
        return found.copy()  # the download's own memory is used again

    def update(
        self, arrays: SymbolArrays, change_costs: np.ndarray | None, effort: Effort, lambda_: float
    ) -> int:
        tables = (rates.UPDATE_RATES, rates.UPDATE_GROUPS)
        if change_costs is None:
            tables = (rates.INTRA_RATES, rates.INTRA_GROUPS)
        target = self._target.pixels.address
        return pursue(self._batch, target, arrays, *tables, change_costs, effort, lambda_).passes

    def show(self, params: np.ndarray, restart: bool) -> dict[str, Any]:
        work, batch = self._work, self._batch
        batch.draw(batch.place_as("drawn", [params]), DrawParams(rgb=self._sum.address))
        held = HoldParams(shown=self._shown.address, sum=self._sum.address, pixels=self._n_pixels)
        held.restart, held.tolerance[:] = int(restart or not self._is_shown), self._tolerances
        self._launch("hold", held)
        self._is_shown = True
        p = ScoreParams(rgb=self._source.address, matte=self._matte_on_card(), pixels=self._n_pixels)
        p.shown, p.sums = self._shown.address, work.buffer("scores", 24)
        work.zero(p.sums, 24)
        self._launch("score", p)
        sums = work.download(p.sums, np.empty(3, np.uint64))
        work.wait()
        roi_error, roi_pixels, error = (int(x) for x in sums)
        return {
            "roi_error": roi_error,
            "roi_samples": 3 * roi_pixels,
            "error": error,
            "samples": 3 * self._n_pixels,
        }

    def _look_at(self, target: CudaTarget, p: LookParams) -> None:
        p.rgb, p.matte, p.target = self._source.address, self._matte_on_card(), target.pixels.address
        p.roi_pixels, p.pixels, p.matrix[:] = target.roi_pixels.address, self._n_pixels, MATRIX
        self._work.zero(p.roi_pixels, 4)
        self._launch("look", p)

    def _look(self) -> tuple[np.ndarray, np.ndarray]:
        if self._looked is None:
            self._looked = look_at(self.pixels, self._roi, self._settings)[:2]
        return self._looked

    def _matte_on_card(self) -> MatteParams:
        address = self._matte.address
        return MatteParams(codes=address) if self._roi.dtype == np.uint8 else MatteParams(values=address)

    def _launch(self, name: str, p: Any, pictures: int = 1) -> None:
        kernel = self._batch.device.kernel("encode/frame_store", name)
        self._work.launch(kernel, (min(256, -(-self._n_pixels // THREADS)), pictures), p)
