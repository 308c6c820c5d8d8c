"""Many pictures of one size on one GPU at a time: drawn, fitted and coloured in one launch each.

Each picture has its own Gaussians, target and active set. A single picture takes the whole card (the least
latency); many share it (the most pictures a second). raster.CudaRasterizer is a batch of one.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from gscodec.errors import ConfigError
from gscodec.splat.cuda import fit as cuda_fit
from gscodec.splat.cuda.driver import Device, Workspace, device
from gscodec.splat.cuda.params import (
    MAX_SIDE,
    THREADS,
    TILE_W,
    DrawParams,
    GatherParams,
    TargetParams,
    channels_of,
    tile_height,
)
from gscodec.splat.cuda.scene import (
    Active,
    CudaGaussians,
    CudaPictures,
    CudaTarget,
    Params,
    Rooms,
    columns_of,
    expect_shape,
    place,
    room_for,
)
from gscodec.splat.gaussians import COLOR, OPPONENT_FROM_RGB, RGB_FROM_OPPONENT
from gscodec.splat.raster import FitResult, FitSchedule, Noise

LUMA_WEIGHTS = {"bt601": (0.299, 0.114), "bt709": (0.2126, 0.0722)}  # (Kr, Kb) of H.273's matrices


class CudaBatch:
    """Draws and fits batches of pictures of one size. Not for concurrent calls; one per thread is fine."""

    def __init__(
        self, width: int, height: int, ordinal: int = 0, sharers: int = 1, blend: str = "sum"
    ) -> None:
        """`ordinal`: number of the GPU. `sharers`: batches that work on it at the same time.

        Args:
            blend: of gaussians.BLENDS.

        Raises:
            ConfigError: a size that cannot be drawn. BackendError: no GPU, or none that can be used.
        """
        if not (0 < width <= MAX_SIDE and 0 < height <= MAX_SIDE):
            raise ConfigError(
                f"a picture of {width}x{height} pixels cannot be drawn; permitted: 1..{MAX_SIDE}"
            )
        self.width, self.height, self.sharers, self.blend = width, height, sharers, blend
        self.channels = channels_of(blend)
        self.device: Device = device(ordinal)
        self.work = Workspace(self.device)

    def target(
        self,
        pictures: np.ndarray,
        weights: np.ndarray,
        mattes: np.ndarray | None = None,
        matte_weight: float = 0.0,
    ) -> CudaTarget:
        """Prepare pictures for fitting.

        Args:
            pictures: uint8 R'G'B' or float32 opponent colours [B, H, W, 3].
            weights: float32, or uint8 in 255ths, [B, H, W].
            mattes: float32 [B, H, W]: the person's share of each pixel, and what a squared difference from
                it weighs; only under the normalised blend.
        """
        count = len(pictures)
        size = (count, self.height, self.width)
        expect_shape("pictures", pictures, (*size, 3))
        expect_shape("weights", weights, size)
        work, n_pixels = self.work, self.width * self.height
        made = CudaTarget(
            self.width, self.height, count, work.take(count * n_pixels * 16), work.take(count * 4)
        )
        if mattes is not None:
            if self.blend == "sum":
                raise ValueError("only the normalised blend can fit a matte")
            expect_shape("mattes", mattes, size)
            made.mattes, made.matte_weight = work.take(count * n_pixels * 4), matte_weight
            work.send(made.mattes.address, [np.ascontiguousarray(mattes, np.float32)])
        p = TargetParams(
            target=made.pixels.address, roi_pixels=made.roi_pixels.address, pictures=count, pixels=n_pixels
        )
        if pictures.dtype == np.uint8:
            p.rgb = work.upload("pictures", pictures)
        else:
            p.picture = work.upload("pictures", pictures.astype(np.float32, copy=False))
        if weights.dtype == np.uint8:
            p.weight_codes = work.upload("weights", weights)
        else:
            p.weight = work.upload("weights", weights.astype(np.float32, copy=False))
        p.matrix[:] = (OPPONENT_FROM_RGB / np.float32(255)).reshape(-1).tolist()
        work.zero(p.roi_pixels, count * 4)
        work.launch(
            self.kernel("load_target", self.rows(count)), (min(256, -(-n_pixels // THREADS)), count), p
        )
        work.wait()
        return made

    def render(self, params: Params) -> np.ndarray:
        """The pictures, float32 [B, H, W, 3]; means are counted from the ground."""
        work = self.work
        shape = (len(params), self.height, self.width, 3)
        p = DrawParams(picture=work.buffer("drawn", 4 * int(np.prod(shape))))
        self.draw(self.place(params), p)
        found = work.download(p.picture, np.empty(shape, np.float32))
        work.wait()
        return found.copy()

    def render_rgb8(
        self,
        params: Params,
        background: np.ndarray | None = None,
        *,
        grounds: np.ndarray | None = None,
        is_room: Rooms | None = None,
    ) -> tuple[np.ndarray, np.ndarray | None]:
        """8-bit R'G'B' [B, H, W, 3]; over `background` (R'G'B' in [0, 1]) with its alpha, uint8 [B, H, W].

        Args:
            grounds: opponent colours [B, 3] that the Gaussians' are counted from; None: black.
            is_room: under the normalised blend, whose Gaussians only take their share of the alpha.
        """
        work = self.work
        shape = (len(params), self.height, self.width, 3)
        p = DrawParams(rgb=work.buffer("drawn", int(np.prod(shape))))
        if background is not None:
            p.alpha = work.buffer("alpha", int(np.prod(shape[:3])))
            p.background[:] = [255.0 * float(x) for x in background]
        self.set_grounds(p, grounds)
        if background is None or self.blend == "sum":
            placed = self.place(params)
        else:
            rooms = [np.zeros(len(x), bool) for x in params] if is_room is None else is_room
            colors = [_without_colors(x, room) for x, room in zip(params, rooms, strict=True)]
            placed = self.place_as("drawn", colors, is_room=rooms)
        self.draw(placed, p)
        rgb = work.download(p.rgb, np.empty(shape, np.uint8))
        alpha = None if background is None else work.download(p.alpha, np.empty(shape[:3], np.uint8))
        work.wait()
        return rgb.copy(), None if alpha is None else alpha.copy()

    def draw_rgb8(
        self,
        params: Params | CudaGaussians,
        out: CudaPictures | None = None,
        grounds: np.ndarray | None = None,
    ) -> CudaPictures:
        """8-bit R'G'B' [B, H, W, 3], left on the card; does not wait. `out` is used again if it fits."""
        placed = self.place(params)
        out = self._room(out, (len(placed.counts), self.height, self.width, 3))
        p = DrawParams(rgb=out.buffer.address)
        self.set_grounds(p, grounds)
        self.draw(placed, p)
        self.work.flush()
        return out

    def draw_nv12(
        self,
        params: Params | CudaGaussians,
        matrix: str = "bt709",
        out: CudaPictures | None = None,
        grounds: np.ndarray | None = None,
    ) -> CudaPictures:
        """NV12 of limited range, left on the card; does not wait.

        Args:
            matrix: bt601 or bt709. grounds: as for render_rgb8.
        Returns:
            uint8 [B, H + ceil(H / 2), W rounded up to even].
        """
        placed = self.place(params)
        pitch = self.width + self.width % 2
        out = self._room(out, (len(placed.counts), self.height + (self.height + 1) // 2, pitch))
        p = DrawParams(nv12=out.buffer.address, pitch=pitch)
        self.set_grounds(p, grounds)
        p.luma[:], p.chroma_b[:], p.chroma_r[:] = limited_range(matrix)
        self.draw(placed, p)
        self.work.flush()
        return out

    def gradients(self, params: Params, residuals: np.ndarray) -> list[np.ndarray]:
        """The sums of gaussian.h per Gaussian of each picture, for ∂loss/∂picture = residuals."""
        expect_shape("residuals", residuals, (len(params), self.height, self.width, 3))
        work = self.work
        placed = self.place(params)
        self._prepare(placed)
        return self.gather(
            placed, GatherParams(by_picture=work.upload("pictures", residuals.astype(np.float32)))
        )

    def gather(self, placed: CudaGaussians, p: GatherParams) -> list[np.ndarray]:
        """The sums per Gaussian of what was prepared or drawn, for what `p` names."""
        work, n_params = self.work, columns_of(placed.channels)
        n_bytes = placed.total * n_params * 4
        p.scene, p.gradient = placed.scene, work.buffer("gradient", n_bytes)
        work.zero(p.gradient, n_bytes)
        self._launch("gather", placed, (placed.tiles, placed.scene.pictures), p)
        self._launch("finish_gradients", placed, (-(-placed.total // THREADS), 1), p)
        found = work.download(p.gradient, np.empty((placed.total, n_params), np.float32))
        work.wait()
        return np.split(found.copy(), np.cumsum(placed.counts)[:-1])

    def fit(
        self,
        target: CudaTarget,
        params: Params,
        active: Active | None,
        schedule: FitSchedule,
        *,
        sweeps: int = 0,
        ridge: float = 0.0,
        is_room: Rooms | None = None,
        noise: Sequence[Noise] | None = None,
    ) -> list[FitResult]:
        """Move the active Gaussians of each picture towards its target, in place (raster.Rasterizer.fit).

        Args:
            sweeps, ridge: solve_colors first; both in one go, which spares a way to the host and back.
            is_room: where the target has mattes. noise: of each picture's active Gaussians.
        """
        return cuda_fit.fit(
            self, target, params, active, schedule, sweeps=sweeps, ridge=ridge, is_room=is_room, noise=noise
        )

    def solve_colors(
        self, target: CudaTarget, params: Params, active: Active | None, sweeps: int, ridge: float
    ) -> list[float]:
        """Set the active colours of each picture to weighted least squares, in place; Σ weight·d² before."""
        return cuda_fit.solve_colors(self, target, params, active, sweeps, ridge)

    def wait(self) -> None:
        """Until all that was asked for is done."""
        self.work.wait()

    def place(self, params: Params | CudaGaussians) -> CudaGaussians:
        """Send Gaussians to the card, to be drawn once or often; valid until the next are drawn or placed."""
        return params if isinstance(params, CudaGaussians) else self.place_as("drawn", params)

    def place_as(
        self, name: str, params: Params, *, rows: int = 0, is_room: Rooms | None = None
    ) -> CudaGaussians:
        """The same in buffers of another name (scene.place).

        Args:
            is_room: has the kernels tell the person from the room; only under the normalised blend.
        """
        rows = rows or self.rows(len(params))
        channels = channels_of(self.blend, is_room is not None)
        return place(
            self.work, self.width, self.height, params, name, rows=rows, channels=channels, is_room=is_room
        )

    def room_for(self, name: str, counts: list[int], has_person: bool = False) -> CudaGaussians:
        """Buffers of that name for Gaussians that the card makes (scene.room_for)."""
        rows, channels = self.rows(len(counts)), channels_of(self.blend, has_person)
        return room_for(self.work, self.width, self.height, counts, name, rows=rows, channels=channels)

    def draw(self, placed: CudaGaussians, p: DrawParams) -> None:
        """Draw what was placed into whatever `p` names; does not wait."""
        p.scene = placed.scene
        p.matrix[:] = (RGB_FROM_OPPONENT * np.float32(255)).reshape(-1).tolist()
        self._prepare(placed)
        self._launch("draw", placed, (placed.tiles, placed.scene.pictures), p)

    def kernel(self, name: str, rows: int, channels: int = 0) -> int:
        """A kernel of csrc/raster.cu; 0 channels: those of this batch's blend."""
        return self.device.kernel("splat/cuda/raster", name, rows=rows, channels=channels or self.channels)

    def set_grounds(self, p: DrawParams, grounds: np.ndarray | None) -> None:
        """Have `p` count colours from grounds, opponent colours [B, 3]; None: from black."""
        if grounds is None or self.blend == "sum":
            return
        codes = np.asarray(grounds, np.float32) @ (RGB_FROM_OPPONENT.T * np.float32(255))
        if len(codes) == 1:  # travels with the launch
            p.ground[:] = codes[0].tolist()
        else:
            p.grounds = self.work.upload("grounds", codes)

    def _room(self, out: CudaPictures | None, shape: tuple[int, ...]) -> CudaPictures:
        if out is not None and out.shape == shape:
            return out
        return CudaPictures(self.work.take(int(np.prod(shape))), shape)

    def rows(self, pictures: int) -> int:
        """Pixels of a thread: few where the card would not be filled."""
        tiles = -(-self.width // TILE_W) * -(-self.height // tile_height(4)) * pictures
        return 4 if tiles >= 6 * self.device.n_multiprocessors else 2

    def _prepare(self, placed: CudaGaussians) -> None:
        scene = placed.scene
        self._launch("prepare", placed, (-(-placed.total // THREADS), 1), scene)
        if scene.cells_x:
            self._launch("list_cells", placed, (scene.cells_x * scene.cells_y, scene.pictures), scene)

    def _launch(self, name: str, placed: CudaGaussians, grid: tuple[int, int], p: Any) -> None:
        self.work.launch(self.kernel(name, placed.rows, placed.channels), grid, p)


def _without_colors(params: np.ndarray, is_room: np.ndarray) -> np.ndarray:  # [N, 9], [N] -> [N, 9]
    """The same with no colours in the room: its weights count, its colours do not."""
    found = params.copy()
    found[is_room, COLOR] = 0
    return found


def limited_range(matrix: str) -> tuple[list[float], list[float], list[float]]:
    """Factors of R'G'B' in [0, 255] and offset, of Y', Cb and Cr codes in limited range."""
    kr, kb = LUMA_WEIGHTS[matrix]
    luma = np.array([kr, 1 - kr - kb, kb])
    blue = (np.array([0.0, 0.0, 1.0]) - luma) / (2 * (1 - kb)) * (224 / 255)
    red = (np.array([1.0, 0.0, 0.0]) - luma) / (2 * (1 - kr)) * (224 / 255)
    return [*(luma * (219 / 255)), 16.0], [*blue, 128.0], [*red, 128.0]
