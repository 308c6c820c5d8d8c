"""What a batch keeps on the card: Gaussians, targets, pictures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from gscodec.splat.cuda.driver import Buffer, Workspace
from gscodec.splat.cuda.params import CELL, TILE_W, Scene, tile_height
from gscodec.splat.gaussians import LOG_WEIGHT, N_PARAMS

CELLS_FROM = 4096  # Gaussians of a picture from which on a tile looks at its cell's list, not at all of them

Params = Sequence[np.ndarray]  # one float32 [N, 8], or [N, 9] under the normalised blend, per picture
Active = Sequence[np.ndarray | None]  # uint32 indices per picture, None for all
Rooms = Sequence[np.ndarray]  # bool [N] per picture: which Gaussians are the room's


@dataclass(slots=True)
class CudaTarget:
    """Pictures and their pixel weights, made by CudaBatch.target."""

    width: int
    height: int
    pictures: int
    pixels: Buffer  # float32 [pictures, H, W, 4]: Y, U, V, weight
    roi_pixels: Buffer  # uint32 [pictures]
    mattes: Buffer | None = None  # float32 [pictures, H, W]: the person's share of each pixel
    matte_weight: float = 0.0


@dataclass(slots=True)
class CudaPictures:
    """Pictures left on the card; `torch.as_tensor` and `cupy.asarray` take it without a copy.

    Written by the batch's stream: call CudaBatch.wait before another stream reads it.
    """

    buffer: Buffer
    shape: tuple[int, ...]

    @property
    def __cuda_array_interface__(self) -> dict[str, object]:
        return {"shape": self.shape, "typestr": "|u1", "data": (self.buffer.address, False), "version": 3}


@dataclass(slots=True)
class CudaGaussians:
    """Gaussians, made by CudaBatch.place; valid until the next of its name are placed."""

    scene: Scene
    counts: list[int]
    rows: int  # pixels of a thread that draws them
    channels: int  # what is summed of a pixel (params.channels_of)

    @property
    def total(self) -> int:
        return sum(self.counts)

    @property
    def tiles(self) -> int:
        return self.scene.tiles_x * self.scene.tiles_y


def place(
    work: Workspace,
    width: int,
    height: int,
    params: Params,
    name: str,
    *,
    rows: int,
    channels: int,
    is_room: Rooms | None = None,
) -> CudaGaussians:
    """Send Gaussians to the card, with room for cells' lists where they are many.

    Args:
        name: of the buffers; what was placed there before is overwritten.
        is_room: where the channels tell the person from the room.
    """
    n_params = columns_of(channels)
    for p in params:
        expect_shape("params", p, (len(p), n_params))
    placed = room_for(work, width, height, [len(p) for p in params], name, rows=rows, channels=channels)
    scene, n = placed.scene, len(params)
    # Indices and parameters go up in one copy.
    head = -(-(n + 1) * 4 // 32) * 8
    first = np.zeros(head, np.int32)
    first[1 : n + 1] = np.cumsum(placed.counts)
    first[n + 1 :] = placed.total
    tail: list[np.ndarray] = []
    if is_room is not None:
        tail = [np.concatenate(is_room).astype(np.uint8)]
        expect_shape("is_room", tail[0], (placed.total,))
    n_bytes = 4 * (head + placed.total * n_params)
    scene.first = work.buffer(f"{name} params", n_bytes + placed.total)
    scene.params, scene.is_room = scene.first + 4 * head, scene.first + n_bytes
    work.send(scene.first, [first, *(np.ascontiguousarray(p, np.float32) for p in params), *tail])
    return placed


def columns_of(channels: int) -> int:
    """Numbers of a Gaussian where so much is summed of a pixel."""
    return N_PARAMS if channels == 3 else LOG_WEIGHT + 1


def room_for(
    work: Workspace, width: int, height: int, counts: list[int], name: str, *, rows: int, channels: int
) -> CudaGaussians:
    """Buffers for so many Gaussians of each picture; the caller says where `first` and `params` are."""
    total, largest, n = sum(counts), max(counts, default=0), len(counts)
    scene = Scene(pictures=n, width=width, height=height)
    scene.tiles_x, scene.tiles_y = -(-width // TILE_W), -(-height // tile_height(rows))
    scene.prepared = work.buffer(f"{name} prepared", total * 32)
    scene.boxes = work.buffer(f"{name} boxes", total * 8)
    scene.amplitudes = work.buffer(f"{name} amplitudes", total * 4) if channels > 3 else None
    if largest >= CELLS_FROM:
        scene.cells_x, scene.cells_y = -(-width // CELL), -(-height // CELL)
        n_cells, scene.capacity = scene.cells_x * scene.cells_y, largest
        scene.cell_lists = work.buffer(f"{name} lists", n * n_cells * largest * 4)
        scene.cell_counts = work.buffer(f"{name} counts", n * n_cells * 4)
    return CudaGaussians(scene, counts, rows, channels)


def expect_shape(what: str, array: np.ndarray, shape: tuple[int, ...]) -> None:
    if array.shape != shape:
        raise ValueError(f"{what} have shape {list(array.shape)}, expected {list(shape)}")
