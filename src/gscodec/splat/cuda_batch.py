"""Many pictures of one size on one GPU at a time: drawn, fitted and coloured in one launch each.

Each picture has its own Gaussians, target and active set. A single picture takes the whole card (the least
latency); many share it (the most pictures a second). raster_cuda.CudaRasterizer is a batch of one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from gscodec.errors import BackendError, ConfigError
from gscodec.splat.cuda_driver import Buffer, Device, Workspace, device
from gscodec.splat.cuda_params import (
    CELL,
    MAX_SIDE,
    SLOTS,
    THREADS,
    TILE_W,
    DrawParams,
    FitParams,
    GatherParams,
    Outcome,
    Scene,
    SolveParams,
    TargetParams,
    tile_height,
)
from gscodec.splat.gaussians import N_PARAMS, OPPONENT_FROM_RGB, RGB_FROM_OPPONENT
from gscodec.splat.raster import FitResult, FitSchedule

CELLS_FROM = 4096  # Gaussians of a picture from which on tiles look at their cell's list, not at all of them
NO_OUTCOME = np.dtype([("loss", "f8"), ("roi_mse", "f8"), ("iterations", "i4"), ("finite", "i4")])
# Y'CbCr codes of limited range from R'G'B' in [0, 255]: (Kr, Kb) of H.273's matrices
LUMA_WEIGHTS = {"bt601": (0.299, 0.114), "bt709": (0.2126, 0.0722)}

Params = Sequence[np.ndarray]  # one float32 [N, 8] per picture
Active = Sequence[np.ndarray | None]  # uint32 indices per picture, None for all


@dataclass(slots=True)
class CudaTarget:
    """Pictures and their pixel weights on the card, made by CudaBatch.target."""

    width: int
    height: int
    pictures: int
    pixels: Buffer  # float32 [pictures, H, W, 4]: Y, U, V, weight
    roi_pixels: Buffer  # uint32 [pictures]


@dataclass(slots=True)
class CudaPictures:
    """Pictures left on the card; `torch.as_tensor` and `cupy.asarray` take it without a copy.

    Written by the batch's stream: call CudaBatch.wait before another stream reads it.
    """

    buffer: Buffer
    shape: tuple[int, ...]
    typestr: str

    @property
    def __cuda_array_interface__(self) -> dict[str, object]:
        return {"shape": self.shape, "typestr": self.typestr, "data": (self.buffer.address, False), "version": 3}


@dataclass(slots=True)
class _Placed:
    """Gaussians on the card."""

    scene: Scene
    counts: list[int]
    rows: int

    @property
    def total(self) -> int:
        return sum(self.counts)

    @property
    def tiles(self) -> int:
        return self.scene.tiles_x * self.scene.tiles_y


class CudaBatch:
    """Draws and fits batches of pictures of one size. Not for concurrent calls; one per thread is fine."""

    def __init__(self, width: int, height: int, ordinal: int = 0) -> None:
        """`ordinal`: number of the GPU.

        Raises:
            ConfigError: a size that cannot be drawn. BackendError: no GPU, or none that can be used.
        """
        if not (0 < width <= MAX_SIDE and 0 < height <= MAX_SIDE):
            raise ConfigError(f"a picture of {width}x{height} pixels cannot be drawn; permitted: 1..{MAX_SIDE}")
        self.width, self.height = width, height
        self.device: Device = device(ordinal)
        self.work = Workspace(self.device)

    def target(self, pictures: np.ndarray, weights: np.ndarray) -> CudaTarget:
        """Prepare pictures for fitting.

        Args:
            pictures: uint8 R'G'B' or float32 opponent colours [B, H, W, 3].
            weights: float32 [B, H, W].
        """
        count = len(pictures)
        size = (count, self.height, self.width)
        _expect("pictures", pictures, (*size, 3))
        _expect("weights", weights, size)
        work, n_pixels = self._begin(), self.width * self.height
        made = CudaTarget(
            self.width,
            self.height,
            count,
            Buffer(self.device, count * n_pixels * 16),
            Buffer(self.device, count * 4),
        )
        p = TargetParams(target=made.pixels.address, roi_pixels=made.roi_pixels.address, pictures=count, pixels=n_pixels)
        if pictures.dtype == np.uint8:
            p.rgb = work.buffer("rgb in", count * n_pixels * 3)
            work.upload(p.rgb, pictures)
        else:
            p.picture = work.buffer("picture in", count * n_pixels * 12)
            work.upload(p.picture, pictures.astype(np.float32, copy=False))
        p.weight = work.buffer("weight in", count * n_pixels * 4)
        p.matrix[:] = (OPPONENT_FROM_RGB / np.float32(255)).reshape(-1).tolist()
        work.upload(p.weight, weights.astype(np.float32, copy=False))
        work.zero(p.roi_pixels, count * 4)
        kernel = self.device.kernel("raster_cuda", "load_target", 4)
        work.launch(kernel, (min(64, -(-n_pixels // THREADS)), count), p)
        work.wait()
        return made

    def render(self, params: Params) -> np.ndarray:
        """The sums, float32 [B, H, W, 3]."""
        work = self._begin()
        placed = self._place(params, "drawn")
        p = DrawParams(scene=placed.scene)
        shape = (len(params), self.height, self.width, 3)
        p.picture = work.buffer("picture out", int(np.prod(shape)) * 4)
        self._draw(placed, p)
        found = work.download(p.picture, np.empty(shape, np.float32))
        work.wait()
        return found.copy()

    def render_rgb8(
        self, params: Params, background: np.ndarray | None = None
    ) -> tuple[np.ndarray, np.ndarray | None]:
        """8-bit R'G'B' [B, H, W, 3]; over `background` (R'G'B' in [0, 1]) with its alpha, uint8 [B, H, W]."""
        work = self._begin()
        p = DrawParams()
        shape = (len(params), self.height, self.width, 3)
        p.rgb = work.buffer("rgb out", int(np.prod(shape)))
        if background is not None:
            p.alpha = work.buffer("alpha out", int(np.prod(shape[:3])))
            p.background[:] = [255.0 * float(x) for x in background]
        self._draw_params(params, p)
        rgb = work.download(p.rgb, np.empty(shape, np.uint8))
        alpha = None if background is None else work.download(p.alpha, np.empty(shape[:3], np.uint8))
        work.wait()
        return rgb.copy(), None if alpha is None else alpha.copy()

    def draw_rgb8(self, params: Params, out: CudaPictures | None = None) -> CudaPictures:
        """8-bit R'G'B' [B, H, W, 3], left on the card; does not wait. `out` is used again if it fits."""
        self._begin()
        out = self._room(out, (len(params), self.height, self.width, 3))
        p = DrawParams(rgb=out.buffer.address)
        self._draw_params(params, p)
        return out

    def draw_nv12(
        self, params: Params, matrix: str = "bt709", out: CudaPictures | None = None
    ) -> CudaPictures:
        """NV12 of limited range, uint8 [B, H + ceil(H / 2), W rounded up to even], left on the card; does not wait."""
        self._begin()
        pitch = self.width + self.width % 2
        out = self._room(out, (len(params), self.height + (self.height + 1) // 2, pitch))
        p = DrawParams(nv12=out.buffer.address, pitch=pitch)
        luma, blue, red = limited_range(matrix)
        p.luma[:], p.chroma_b[:], p.chroma_r[:] = luma, blue, red
        self._draw_params(params, p)
        return out

    def gradients(self, params: Params, residuals: np.ndarray) -> list[np.ndarray]:
        """The eight sums per Gaussian of each picture, for ∂loss/∂picture = residuals [B, H, W, 3]."""
        _expect("residuals", residuals, (len(params), self.height, self.width, 3))
        work = self._begin()
        placed = self._place(params, "drawn")
        p = GatherParams(scene=placed.scene)
        p.residual = work.buffer("picture in", residuals.size * 4)
        p.gradient = work.buffer("gradient", placed.total * 32)
        work.upload(p.residual, residuals.astype(np.float32, copy=False))
        work.zero(p.gradient, placed.total * 32)
        self._prepare(placed)
        self._launch("raster_cuda", "gather", placed, (placed.tiles, len(params)), p)
        self._launch("raster_cuda", "finish_gradients", placed, (-(-placed.total // THREADS), 1), p)
        found = work.download(p.gradient, np.empty((placed.total, N_PARAMS), np.float32))
        work.wait()
        return np.split(found.copy(), np.cumsum(placed.counts)[:-1])

    def fit(
        self,
        target: CudaTarget,
        params: Params,
        active: Active | None,
        schedule: FitSchedule,
        *,
        rows: int = 0,
        group_size: int = 0,
    ) -> list[FitResult]:
        """Move the active Gaussians of each picture towards its target, in place (raster.Rasterizer.fit).

        Args:
            rows, group_size: pixels of a thread and blocks of a picture; 0 chooses.
        """
        work = self._begin()
        moving, pixels = self._split(target, params, active)
        placed = self._place(moving, "fitted", rows=rows, following=True)
        n, total = len(params), placed.total
        p = FitParams(scene=placed.scene, target=pixels, roi_pixels=target.roi_pixels.address)
        p.gradient, p.momentum = work.buffer("gradient", total * 32), work.buffer("momentum", total * 64)
        p.empty = work.buffer("empty", n * placed.tiles * 8)
        p.outcome = work.buffer("outcome", n * NO_OUTCOME.itemsize)
        for field in ("iterations", "rate_mean", "rate_shape", "rate_color", "final_rate", "beta1", "beta2"):
            setattr(p, field, getattr(schedule, field))
        p.plateau, p.target_mse = schedule.plateau, schedule.target_mse
        kernel = self.device.kernel("fit_cuda", "fit", placed.rows)
        p.group_size, p.groups = self._groups(kernel, placed, group_size)
        # Zeroed together: sums, flags, arrivals.
        n_sums, n_flags = n * 2 * SLOTS * 16, n * 8
        p.sums = work.buffer("zeroed", n_sums + n_flags + 4 * p.groups)
        p.flags, p.arrived = p.sums + n_sums, p.sums + n_sums + n_flags
        work.zero(p.sums, n_sums + n_flags + 4 * p.groups)
        work.launch(kernel, (p.groups * p.group_size, 1), p, cooperative=True)
        fitted = work.download(p.scene.params, np.empty((total, N_PARAMS), np.float32))
        outcomes = work.download(p.outcome, np.empty(n, NO_OUTCOME))
        work.wait()
        finite = [bool(o["finite"]) for o in outcomes]
        self._write_back(fitted, placed, params, active, finite)
        return [
            FitResult(int(o["iterations"]), float(o["loss"]), float(o["roi_mse"]), bool(o["finite"]))
            for o in outcomes
        ]

    def solve_colors(
        self,
        target: CudaTarget,
        params: Params,
        active: Active | None,
        sweeps: int,
        ridge: float,
        *,
        rows: int = 0,
        group_size: int = 0,
    ) -> list[float]:
        """Set the active colours of each picture to weighted least squares, in place; Σ weight·d² before."""
        work = self._begin()
        moving, pixels = self._split(target, params, active)
        placed = self._place(moving, "fitted", rows=rows, following=True)
        n, total = len(params), placed.total
        p = SolveParams(scene=placed.scene, target=pixels, sweeps=sweeps, ridge=ridge)
        p.gradient, p.rest = work.buffer("gradient", total * 32), work.buffer("normal rest", total * 16)
        kernel = self.device.kernel("fit_cuda", "solve", placed.rows)
        p.group_size, p.groups = self._groups(kernel, placed, group_size)
        n_dots = n * (sweeps + 1) * 12 * 8
        p.loss = work.buffer("zeroed", n * 8 + n_dots + 4 * p.groups)
        p.dots, p.arrived = p.loss + n * 8, p.loss + n * 8 + n_dots
        work.zero(p.loss, n * 8 + n_dots + 4 * p.groups)
        work.launch(kernel, (p.groups * p.group_size, 1), p, cooperative=True)
        solved = work.download(p.scene.params, np.empty((total, N_PARAMS), np.float32))
        losses = work.download(p.loss, np.empty(n, np.float64))
        work.wait()
        self._write_back(solved, placed, params, active, [True] * n)
        return [float(loss) for loss in losses]

    def wait(self) -> None:
        """Until all that was asked for is done."""
        self.work.wait()

    def _begin(self) -> Workspace:
        self.device.make_current()
        return self.work

    def _room(self, out: CudaPictures | None, shape: tuple[int, ...]) -> CudaPictures:
        if out is not None and out.shape == shape:
            return out
        return CudaPictures(Buffer(self.device, int(np.prod(shape))), shape, "|u1")

    def _place(
        self, params: Params, name: str, *, rows: int = 0, following: bool = False
    ) -> _Placed:
        """Send Gaussians to the card. `following`: they will move, so cells keep a margin."""
        for p in params:
            _expect("params", p, (len(p), N_PARAMS))
        counts = [len(p) for p in params]
        total, largest = sum(counts), max(counts, default=0)
        work, n = self.work, len(params)
        rows = rows or self._rows(n)
        scene = Scene(pictures=n, width=self.width, height=self.height)
        scene.tiles_x, scene.tiles_y = -(-self.width // TILE_W), -(-self.height // tile_height(rows))
        # Indices and parameters go up in one copy.
        head = -(-(n + 1) * 4 // 32) * 32
        packed = np.zeros(head + total * 32, np.uint8)
        packed[: (n + 1) * 4].view(np.int32)[1:] = np.cumsum(counts)
        if total:
            np.concatenate(params, out=packed[head:].view(np.float32).reshape(total, N_PARAMS), casting="same_kind")
        scene.first = work.buffer(f"{name} params", packed.size)
        scene.params = scene.first + head
        work.upload(scene.first, packed)
        scene.prepared = work.buffer(f"{name} prepared", total * 32)
        scene.boxes = work.buffer(f"{name} boxes", total * 8)
        if largest >= CELLS_FROM:
            scene.cells_x, scene.cells_y = -(-self.width // CELL), -(-self.height // CELL)
            cells, scene.capacity = scene.cells_x * scene.cells_y, largest
            scene.cell_lists = work.buffer(f"{name} lists", n * cells * largest * 4)
            scene.cell_counts = work.buffer(f"{name} counts", n * cells * 4)
            if following:
                scene.anchors = work.buffer(f"{name} anchors", total * 8)
        return _Placed(scene, counts, rows)

    def _rows(self, pictures: int) -> int:
        """Pixels of a thread: few where the card would not be filled."""
        tiles = -(-self.width // TILE_W) * -(-self.height // tile_height(4)) * pictures
        return 4 if tiles >= 6 * self.device.n_multiprocessors else 2

    def _groups(self, kernel: object, placed: _Placed, wanted: int) -> tuple[int, int]:
        """Blocks per picture, and pictures at a time."""
        resident, n = self.device.resident_blocks(kernel), max(1, placed.scene.pictures)
        if resident == 0:
            raise BackendError(f"{self.device.name} cannot hold a block of the kernels; take --backend cpu")
        if wanted:
            return min(wanted, resident), min(n, resident // min(wanted, resident))
        limit = min(resident, placed.tiles)
        # Work of a block times how often: whole tiles, whole rounds of pictures. A small group waits less.
        cost = {size: -(-placed.tiles // size) * -(-n // (resident // size)) for size in range(1, limit + 1)}
        size = min(cost, key=lambda size: (cost[size], size))
        return size, min(n, resident // size)

    def _split(self, target: CudaTarget, params: Params, active: Active | None) -> tuple[list[np.ndarray], int]:
        """The active Gaussians, and the address of the targets minus what the others draw."""
        if (target.width, target.height, target.pictures) != (self.width, self.height, len(params)):
            raise ValueError(
                f"the target is {target.pictures} x {target.width}x{target.height}, "
                f"expected {len(params)} x {self.width}x{self.height}"
            )
        if active is None or all(a is None for a in active):
            return list(params), target.pixels.address
        moving, others = [], []
        for p, index in zip(params, active, strict=True):
            index = np.arange(len(p)) if index is None else index
            if len(index) and (index.min() < 0 or index.max() >= len(p)):
                raise IndexError("an active index is past the last Gaussian")
            still = np.ones(len(p), bool)
            still[index] = False
            moving.append(p[index])
            others.append(p[still])
        if not sum(map(len, others)):
            return moving, target.pixels.address
        placed = self._place(others, "still")
        rest = self.work.buffer("rest", len(params) * self.width * self.height * 16)
        self._draw(placed, DrawParams(scene=placed.scene, target=target.pixels.address, rest=rest))
        return moving, rest

    def _write_back(
        self, found: np.ndarray, placed: _Placed, params: Params, active: Active | None, good: list[bool]
    ) -> None:
        begin = 0
        for i, count in enumerate(placed.counts):
            if good[i]:
                index = None if active is None else active[i]
                params[i][slice(None) if index is None else index] = found[begin : begin + count]
            begin += count

    def _draw_params(self, params: Params, p: DrawParams) -> None:
        placed = self._place(params, "drawn")
        p.scene = placed.scene
        p.matrix[:] = (RGB_FROM_OPPONENT * np.float32(255)).reshape(-1).tolist()
        self._draw(placed, p)

    def _draw(self, placed: _Placed, p: DrawParams) -> None:
        self._prepare(placed)
        self._launch("raster_cuda", "draw", placed, (placed.tiles, placed.scene.pictures), p)

    def _prepare(self, placed: _Placed) -> None:
        scene = placed.scene
        self._launch("raster_cuda", "prepare", placed, (-(-placed.total // THREADS), 1), scene)
        if scene.cells_x:
            grid = (scene.cells_x * scene.cells_y, scene.pictures)
            self._launch("raster_cuda", "list_cells", placed, grid, scene)

    def _launch(self, source: str, name: str, placed: _Placed, grid: tuple[int, int], p: object) -> None:
        self.work.launch(self.device.kernel(source, name, placed.rows), grid, p)


def limited_range(matrix: str) -> tuple[list[float], list[float], list[float]]:
    """Factors of R'G'B' in [0, 255] and offset, of Y', Cb and Cr codes in limited range."""
    kr, kb = LUMA_WEIGHTS[matrix]
    luma = np.array([kr, 1 - kr - kb, kb])
    blue = (np.array([0.0, 0.0, 1.0]) - luma) / (2 * (1 - kb)) * (224 / 255)
    red = (np.array([1.0, 0.0, 0.0]) - luma) / (2 * (1 - kr)) * (224 / 255)
    return [*(luma * (219 / 255)), 16.0], [*blue, 128.0], [*red, 128.0]


def _expect(what: str, array: np.ndarray, shape: tuple[int, ...]) -> None:
    if array.shape != shape:
        raise ValueError(f"{what} have shape {list(array.shape)}, expected {list(shape)}")


assert NO_OUTCOME.itemsize == __import__("ctypes").sizeof(Outcome)
