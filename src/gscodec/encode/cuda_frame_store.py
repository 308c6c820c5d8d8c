"""frame_store.FrameStore on the card: a frame is sent once, and only symbols and sums come back."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from ctypes import c_float, c_int, c_void_p
from typing import TYPE_CHECKING, Any

import numpy as np

from gscodec.analysis.cuda_seeds import nearest_seeds
from gscodec.decode.show import tolerances
from gscodec.encode.frame_store import MATTE_WEIGHT, FrameSettings, contrasts_of, ground_of, look_at, roi_of
from gscodec.rdo import rates
from gscodec.rdo.cuda_pursuit import curvatures, pursue
from gscodec.rdo.pursuit import Effort, SymbolArrays
from gscodec.splat._native import GROUND
from gscodec.splat.cuda.fit import losses_of, sources
from gscodec.splat.cuda.params import THREADS, DrawParams, channels_of
from gscodec.splat.cuda.scene import CudaTarget
from gscodec.splat.gaussians import COLOR, OPPONENT_FROM_RGB, opponent_from_rgb

if TYPE_CHECKING:
    from gscodec.splat.cuda.batch import CudaBatch

MATRIX = (OPPONENT_FROM_RGB / np.float32(255)).reshape(-1).tolist()


# Structs of parameters, field for field as in csrc/frame_store.cu.


class MatteParams(ctypes.Structure):
    _fields_ = [("values", c_void_p), ("codes", c_void_p)]


class LookParams(ctypes.Structure):
    _fields_ = [
        ("rgb", c_void_p),
        ("matte", MatteParams),
        ("luma_before", c_void_p),
        ("shown", c_void_p),
        ("target", c_void_p),
        ("matte_out", c_void_p),
        ("luma", c_void_p),
        ("roi_pixels", c_void_p),
        ("pixels", c_int),
        ("mask", c_int),
        ("background_weight", c_float),
        ("stability", c_float),
        ("ground", c_float * 3),
        ("matrix", c_float * 9),
    ]


class HoldParams(ctypes.Structure):
    _fields_ = [
        ("shown", c_void_p),
        ("before", c_void_p),
        ("picture", c_void_p),
        ("pixels", c_int),
        ("restart", c_int),
        ("tolerance", c_int * 3),
    ]


class BetweenParams(ctypes.Structure):
    _fields_ = [
        ("before", c_void_p),
        ("after", c_void_p),
        ("picture", c_void_p),
        ("pixels", c_int),
    ]


class ScoreParams(ctypes.Structure):
    _fields_ = [
        ("shown", c_void_p),
        ("rgb", c_void_p),
        ("matte", MatteParams),
        ("sums", c_void_p),
        ("pixels", c_int),
    ]


def cuda_frame_store(settings: FrameSettings, raster: Any) -> CudaFrameStore:
    """The store of a CudaRasterizer, with all kernels that it will need compiled."""
    batch = raster.batch
    matted = channels_of(batch.blend, has_person=batch.blend != "sum")
    channels = sorted({batch.channels, matted})
    batch.device.prepare(
        [
            *(("splat/cuda/raster", {"rows": batch.rows(1), "channels": n}) for n in channels),
            *sources(batch),
            ("rdo/pursuit", {"rows": 4, "channels": matted}),
            ("encode/frame_store", {}),
            ("analysis/seeds", {"rows": 4}),
        ]
    )
    return CudaFrameStore(settings, batch)


class CudaFrameStore:
    """frame_store.FrameStore; docstrings there."""

    def __init__(self, settings: FrameSettings, batch: CudaBatch) -> None:
        self._settings, self._batch, self._work = settings, batch, batch.work
        self._n_pixels = batch.width * batch.height
        self.pixels = np.empty(0, np.uint8)
        self.ground = np.zeros(3, np.uint8)
        self._ground = np.zeros(3, np.float32)  # the same in opponent units
        self._roi = np.empty(0, np.uint8)  # the matte as it came
        take = self._work.take
        self._source, self._matte = take(self._n_pixels * 3), take(self._n_pixels * 4)
        self._target = CudaTarget(batch.width, batch.height, 1, take(self._n_pixels * 16), take(4))
        if batch.blend == "normalised":
            self._target.mattes, self._target.matte_weight = take(self._n_pixels * 4), MATTE_WEIGHT
        self._even = CudaTarget(batch.width, batch.height, 1, take(self._n_pixels * 16), take(4))
        self._lumas = take(self._n_pixels * 4), take(self._n_pixels * 4)  # of this frame and the last one
        # Drawn; shown last; shown before that.
        self._drawn, self._shown, self._shown_before = (take(self._n_pixels * 3) for _ in range(3))
        self._tolerances = tolerances(settings.hold).tolist()
        self._is_shown, self._has_target = False, True

    @property
    def picture(self) -> np.ndarray:
        return look_at(self.pixels, self._roi, self._settings)[0] - self._ground

    @property
    def matte(self) -> np.ndarray:
        roi = self._roi
        return roi.astype(np.float32) / 255 if roi.dtype == np.uint8 else roi

    @property
    def person(self) -> np.ndarray:
        return self._roi >= (128 if self._roi.dtype == np.uint8 else 0.5)

    def take(self, pixels: np.ndarray, matte: np.ndarray, starts_gop: bool) -> None:
        if not self._has_target:
            self.make_target()  # the next frame asks for this one's luma
        if starts_gop and self._batch.blend == "normalised":
            self.ground = ground_of(pixels)
            self._ground = opponent_from_rgb(self.ground)
        self.pixels, self._roi = pixels, roi_of(matte)
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
        if self._batch.blend == "sum":
            return np.linalg.norm(params[:, COLOR], axis=1)
        return contrasts_of(curvatures(self._batch, self._target, params))

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
        residual = self._work.buffer("candidates' residuals", n * self._n_pixels * 16)
        batch.draw(placed, DrawParams(target=self._target.pixels.address, residual=residual, one_target=1))
        found = losses_of(batch, residual, n)
        self._work.wait()
        return [float(loss) for loss in found[:, 0]]

    def residual(self, params: np.ndarray) -> np.ndarray:
        batch, work = self._batch, self._work
        placed = batch.place_as("candidates", [params])
        residual = work.buffer("candidates' residuals", self._n_pixels * 16)
        batch.draw(placed, DrawParams(target=self._target.pixels.address, residual=residual, one_target=1))
        found = work.download(residual, np.empty((batch.height, batch.width, 4), np.float32))
        work.wait()
        return found.copy()  # the download's own memory is used again

    def update(
        self, arrays: SymbolArrays, change_costs: np.ndarray | None, effort: Effort, lambda_: float
    ) -> int:
        tables = (rates.UPDATE_RATES, rates.UPDATE_GROUPS)
        if change_costs is None:
            tables = (rates.INTRA_RATES, rates.INTRA_GROUPS)
        return pursue(self._batch, self._target, arrays, *tables, change_costs, effort, lambda_).passes

    def drawn_at(
        self, params: np.ndarray, residual: np.ndarray, rows: np.ndarray, columns: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        batch, work = self._batch, self._work
        address = work.buffer("candidates' residuals", self._n_pixels * 16)
        batch.draw(batch.place_as("candidates", [params]), DrawParams(sums=address))
        sums = work.download(address, np.empty((batch.height, batch.width, 4), np.float32))
        work.wait()
        found = sums[rows, columns]
        return found[:, :3] / (found[:, 3:] + np.float32(GROUND)), found[:, 3]

    def solve_births(self, params: np.ndarray, first: int, sweeps: int, ridge: float) -> None:
        active = np.arange(first, len(params), dtype=np.uint32)
        self._batch.solve_colors(self._target, [params], [active], sweeps, ridge)

    def polish_births(
        self,
        arrays: SymbolArrays,
        others: np.ndarray,
        others_room: np.ndarray,
        effort: Effort,
        lambda_: float,
    ) -> None:
        tables = (rates.INTRA_RATES, rates.BIRTH_GROUPS)
        beside = {"others": others, "others_room": others_room}
        pursue(self._batch, self._target, arrays, *tables, None, effort, lambda_, **beside)

    def show(self, params: np.ndarray, restart: bool) -> dict[str, Any]:
        self._draw(params)
        self._shown, self._shown_before = self._shown_before, self._shown
        held = HoldParams(shown=self._shown.address, before=self._shown_before.address)
        held.picture, held.pixels = self._drawn.address, self._n_pixels
        held.restart, held.tolerance[:] = int(restart or not self._is_shown), self._tolerances
        self._launch("hold", held)
        self._is_shown = True
        return self._score(self._shown.address, self._source.address, self._matte_on_card())

    def score_between(self, params: np.ndarray, pixels: np.ndarray, matte: np.ndarray) -> dict[str, Any]:
        self._draw(params)
        if any(self._tolerances):
            between = BetweenParams(before=self._shown_before.address, after=self._shown.address)
            between.picture, between.pixels = self._drawn.address, self._n_pixels
            self._launch("between", between)
        roi = roi_of(matte)
        source, area = (self._work.buffer(f"B-frame's {n}", self._n_pixels * 4) for n in ("source", "matte"))
        for address, array in ((source, pixels), (area, roi)):
            self._work.send(address, [np.ascontiguousarray(array)])
        return self._score(self._drawn.address, source, _matte_at(area, roi))

    def take_back(self) -> None:
        self._shown, self._shown_before = self._shown_before, self._shown

    def _draw(self, params: np.ndarray) -> None:
        drawn = DrawParams(rgb=self._drawn.address)
        self._batch.set_grounds(drawn, self._ground[None])
        self._batch.draw(self._batch.place_as("drawn", [params]), drawn)

    def _score(self, shown: int, source: int, matte: MatteParams) -> dict[str, Any]:
        work = self._work
        p = ScoreParams(shown=shown, rgb=source, matte=matte, pixels=self._n_pixels)
        p.sums = work.buffer("scores", 24)
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
        p.matte_out, p.ground[:] = target.mattes and target.mattes.address, self._ground.tolist()
        self._work.zero(p.roi_pixels, 4)
        self._launch("look", p)

    def _matte_on_card(self) -> MatteParams:
        return _matte_at(self._matte.address, self._roi)

    def _launch(self, name: str, p: Any, pictures: int = 1) -> None:
        kernel = self._batch.device.kernel("encode/frame_store", name)
        self._work.launch(kernel, (min(256, -(-self._n_pixels // THREADS)), pictures), p)


def _matte_at(address: int, roi: np.ndarray) -> MatteParams:
    return MatteParams(codes=address) if roi.dtype == np.uint8 else MatteParams(values=address)
