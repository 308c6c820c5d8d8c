"""seeds.nearest_seeds on the card, for a target that is there already: csrc/seeds.cu, one launch."""

from __future__ import annotations

import ctypes
from ctypes import c_float, c_int, c_void_p
from typing import TYPE_CHECKING

import numpy as np

from gscodec.splat.cuda.params import THREADS
from gscodec.splat.cuda.scene import expect_shape

if TYPE_CHECKING:
    from gscodec.splat.cuda.batch import CudaBatch

BLOCK = 4  # csrc/seeds.cu
SEED_BYTES, SUMS_BYTES = 32, 16


class SeedParams(ctypes.Structure):
    """Field for field as in csrc/seeds.cu."""

    _fields_ = [
        ("target", c_void_p),
        ("region", c_void_p),
        ("counts", c_void_p),
        ("density", c_void_p),
        ("gradients", c_void_p),
        ("before", c_void_p),
        ("chunks", c_void_p),
        ("sums", c_void_p),
        ("seeds", c_void_p),
        ("nearest", c_void_p),
        ("labels", c_void_p),
        ("arrived", c_void_p),
        ("regions", c_int),
        ("n_seeds", c_int),
        ("width", c_int),
        ("height", c_int),
        ("side", c_int),
        ("n_chunks", c_int),
        ("group_size", c_int),
        ("detail", c_float),
    ]


def nearest_seeds(
    batch: CudaBatch, target: int, region: np.ndarray, counts: np.ndarray, detail: float
) -> np.ndarray:
    """Labels of a picture of the batch's size, int32 [H, W] (seeds.Label).

    Args:
        target: address of Y, U, V, weight, float32 [H, W, 4].
    """
    work, n_pixels, n_regions = batch.work, batch.width * batch.height, len(counts)
    expect_shape("region", region, (batch.height, batch.width))
    side = 1
    while side * BLOCK < max(batch.width, batch.height):
        side *= 2
    p = SeedParams(target=target, regions=n_regions, n_seeds=int(counts.sum()), detail=detail)
    p.width, p.height, p.side, p.n_chunks = batch.width, batch.height, side, -(-side * side // THREADS)
    kernel = batch.device.kernel("analysis/seeds", "nearest_seeds", rows=4)
    resident = max(1, batch.device.resident_blocks(kernel) // batch.sharers)
    p.group_size = min(resident, p.n_chunks, batch.device.n_multiprocessors)
    sent = {"region": (region, np.uint8), "counts": (counts, np.int32)}
    for name, address in work.upload_all("seeds' regions", sent).items():
        setattr(p, name, address)
    for name, n_bytes in {
        "density": 4 * n_pixels,
        "gradients": 8 * p.group_size,
        "before": 8 * n_regions * side * side,
        "chunks": 8 * n_regions * p.n_chunks,
        "nearest": 8 * n_pixels,
        "labels": 4 * n_pixels,
    }.items():
        setattr(p, name, work.buffer(f"seeds' {name}", n_bytes))
    zeroed = {"seeds": SEED_BYTES * p.n_seeds, "sums": SUMS_BYTES * n_regions, "arrived": 4}
    n_bytes = sum(zeroed.values())
    address = work.buffer("seeds' sums", n_bytes)
    work.zero(address, n_bytes)
    for name, size in zeroed.items():
        setattr(p, name, address)
        address += size
    work.launch(kernel, (p.group_size, 1), p, cooperative=True)
    labels = work.download(p.labels, np.empty((batch.height, batch.width), np.int32))
    work.wait()
    return labels.copy()
