"""Greedy integer updates on the card: what csrc/pursuit.cu needs set up, one launch each."""

from __future__ import annotations

import ctypes
from ctypes import c_double, c_float, c_int, c_void_p
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from gscodec.errors import LimitError
from gscodec.rdo import _native
from gscodec.rdo.pursuit import Effort, SymbolArrays
from gscodec.splat.cuda.params import THREADS, DrawParams, Scene
from gscodec.splat.cuda.scene import CudaGaussians, CudaTarget, columns_of, expect_shape
from gscodec.splat.gaussians import LOG_WEIGHT

if TYPE_CHECKING:
    from gscodec.splat.cuda.batch import CudaBatch

ROUNDS_PER_PASS = 48  # a round changes Gaussians all over the picture, but neighbours take turns
GAUSSIANS_PER_BLOCK = 3
LOCK, MAX_GRID_WIDE, SLICES, N_CURVATURES = 16, 1024, 64, 10  # rdo/csrc/pursuit.cuh
MAX_ROUNDS = 4000  # the kernel's keys have twelve bits for them
MAX_GAUSSIANS = 1 << 20
OUTCOME = np.dtype(
    [("loss_before", "f8"), ("loss", "f8"), ("tried", "i4"), ("kept", "i4"), ("rounds", "i4"), ("", "i4")]
)


class PursuitParams(ctypes.Structure):
    """Field for field as in csrc/pursuit.cuh."""

    _fields_ = [
        ("scene", Scene),
        ("symbols", c_void_p),
        ("base", c_void_p),
        ("step", c_void_p),
        ("offset", c_void_p),
        ("low", c_void_p),
        ("high", c_void_p),
        ("first", c_void_p),
        ("rates", c_void_p),
        ("residual", c_void_p),
        ("target", c_void_p),
        ("matte", c_void_p),
        ("sums", c_void_p),
        ("persons", c_void_p),
        ("slopes", c_void_p),
        ("person_slopes", c_void_p),
        ("curvatures", c_void_p),
        ("state", c_void_p),
        ("delta", c_void_p),
        ("gain", c_void_p),
        ("reach", c_void_p),
        ("valued", c_void_p),
        ("stamp", c_void_p),
        ("locks", c_void_p),
        ("outcome", c_void_p),
        ("is_grid_wide", c_void_p),
        ("order", c_void_p),
        ("grid_wide", c_void_p),
        ("slices", c_void_p),
        ("sliced", c_void_p),
        ("counts", c_void_p),
        ("flags", c_void_p),
        ("arrived", c_void_p),
        ("group_size", c_int),
        ("rounds", c_int),
        ("locks_x", c_int),
        ("lambda_", c_float),
        ("stiffness", c_float),
        ("matte_weight", c_float),
        ("deadline_s", c_double),
    ]


@dataclass(frozen=True, slots=True)
class PursuitResult:
    """What a pursuit did: Σ weight·d² before and after it, changes drawn and kept, rounds."""

    loss_before: float
    loss: float
    tried: int
    kept: int
    passes: int


def pursue(
    batch: CudaBatch,
    target: CudaTarget,
    arrays: SymbolArrays,
    rates: np.ndarray,
    groups: np.ndarray,
    change_costs: np.ndarray | None,
    effort: Effort,
    lambda_: float,
    *,
    others: np.ndarray | None = None,
    others_room: np.ndarray | None = None,
) -> PursuitResult:
    """Change symbols in place where it pays, on a picture of the batch's size.

    Args:
        target: of one picture; with a matte, `arrays` must say whose the Gaussians are.
        rates, groups: what a change costs (rdo/pursuit.py).
        change_costs: bits of saying that a Gaussian changes, float32 [N]; None: all are coded anyway.
        others, others_room: params of Gaussians that are drawn too and stay as they are, and whose they are.
    """
    work, n = batch.work, len(arrays.symbols)
    if n > MAX_GAUSSIANS:
        raise LimitError(f"{n} Gaussians, at most {MAX_GAUSSIANS} can be updated on a GPU")
    placed = batch.room_for("pursued", [n], has_person=target.mattes is not None)
    n_params = columns_of(placed.channels)
    for name in ("symbols", "base", "step", "offset", "low", "high"):
        expect_shape(name, getattr(arrays, name), (n, n_params))
    rates, groups = rates[:n_params], groups[:, : 5 if n_params > LOG_WEIGHT else 4]
    p = PursuitParams(lambda_=lambda_, stiffness=_native.PursuitOptions().stiffness)
    p.rounds, p.deadline_s = min(MAX_ROUNDS, ROUNDS_PER_PASS * effort.passes), effort.deadline_s
    sent = {
        "symbols": (arrays.symbols, np.int32),
        "base": (arrays.base, np.int32),
        "low": (arrays.low, np.int32),
        "high": (arrays.high, np.int32),
        "step": (arrays.step, np.float64),
        "offset": (arrays.offset, np.float64),
        "rates": (np.concatenate([rates.ravel(), groups.ravel()]), np.float32),
        "picture": (np.array([0, n]), np.int32),
    }
    if change_costs is not None:
        expect_shape("change_costs", change_costs, (n,))
        sent["first"] = (change_costs, np.float32)
    if target.mattes is not None:
        if arrays.is_room is None:
            raise ValueError("the target has a matte, so is_room must be given")
        expect_shape("is_room", arrays.is_room, (n,))
        sent["rooms"] = (arrays.is_room, np.uint8)
    places = work.upload_all("pursued symbols", sent)
    placed.scene.first, placed.scene.is_room = places.pop("picture"), places.pop("rooms", None)
    placed.scene.params = work.buffer("pursued params", 4 * n_params * n)
    for name, address in places.items():
        setattr(p, name, address)
    p.scene = placed.scene
    blocks = -(-n // THREADS)
    work.launch(_kernel(batch, "place_symbols", placed.channels), (blocks, 1), p)
    still = None
    if others is not None and len(others):
        rooms = None if target.mattes is None or others_room is None else [others_room]
        still = batch.place_as("still", [others], is_room=rooms)
    _draw(batch, placed, target, p, still)
    p.locks_x = -(-batch.width // LOCK)
    n_locks = p.locks_x * -(-batch.height // LOCK)
    for name, n_bytes in {
        "state": 8 * n,
        "delta": 4 * n_params * n,
        "curvatures": 4 * N_CURVATURES * n,
        "gain": 4 * n,
        "reach": 8 * n,
        "valued": 4 * n,
        "is_grid_wide": n,
        "order": 4 * n,
        "grid_wide": 4 * MAX_GRID_WIDE,
        "slices": 4 * MAX_GRID_WIDE * SLICES * (n_params + N_CURVATURES),
    }.items():
        setattr(p, name, work.buffer(f"pursuit's {name}", n_bytes))
    zeroed = {
        "outcome": OUTCOME.itemsize,
        "locks": 8 * n_locks,
        "stamp": 4 * n_locks,
        "sliced": 4 * MAX_GRID_WIDE,
        "counts": 16,
        "flags": 8,
        "arrived": 4,
    }
    n_bytes = sum(zeroed.values())
    address = work.buffer("pursuit's sums", n_bytes)
    work.zero(address, n_bytes)
    for name, size in zeroed.items():
        setattr(p, name, address)
        address += size
    kernel = _kernel(batch, "pursue", placed.channels)
    p.group_size = _blocks(batch.device.resident_blocks(kernel) // batch.sharers, n)
    work.launch(kernel, (p.group_size, 1), p, cooperative=True)
    symbols = work.download(p.symbols, arrays.symbols)
    outcome = work.download(p.outcome, np.empty(1, OUTCOME))
    work.wait()
    arrays.symbols[...] = symbols
    (o,) = outcome
    return PursuitResult(
        float(o["loss_before"]), float(o["loss"]), int(o["tried"]), int(o["kept"]), int(o["rounds"])
    )


def curvatures(batch: CudaBatch, target: CudaTarget, params: np.ndarray) -> np.ndarray:
    """What each Gaussian's second derivatives are made of, float32 [N, 10] (kernels.h, Curvature).

    Only under the normalised blend, and without the matte's share.
    """
    work = batch.work
    # Those of a pursuit that is to follow, which takes the matte along: else they were compiled twice.
    rooms = None if target.mattes is None else [np.zeros(len(params), bool)]
    placed = batch.place_as("measured", [params], is_room=rooms)
    p = PursuitParams(scene=placed.scene)
    _draw(batch, placed, target, p)
    p.curvatures = work.buffer("pursuit's curvatures", 4 * N_CURVATURES * placed.total)
    work.launch(_kernel(batch, "measure_curvatures", placed.channels), (placed.total, 1), p)
    found = work.download(p.curvatures, np.empty((placed.total, N_CURVATURES), np.float32))
    work.wait()
    return found.copy()


def _draw(
    batch: CudaBatch,
    placed: CudaGaussians,
    target: CudaTarget,
    p: PursuitParams,
    still: CudaGaussians | None = None,
) -> None:
    """Draw what a pursuit starts from, and say where it and the target are.

    Args:
        still: Gaussians that are drawn beneath.
    """
    work, n_pixels = batch.work, batch.width * batch.height
    drawn = work.buffer("pursued picture", n_pixels * 16)
    if batch.blend == "sum":
        p.residual, left = drawn, target.pixels.address
        if still:
            batch.draw(still, DrawParams(target=left, residual=drawn))
            left = drawn
        batch.draw(placed, DrawParams(target=left, residual=drawn))
        return
    p.target, p.sums = target.pixels.address, drawn
    p.slopes = work.buffer("pursued slopes", n_pixels * 16)
    if target.mattes is not None:
        p.matte, p.matte_weight = target.mattes.address, target.matte_weight
        p.persons = work.buffer("pursued persons", n_pixels * 4)
        p.person_slopes = work.buffer("pursued person slopes", n_pixels * 4)
    if still:
        batch.draw(still, DrawParams(sums=drawn, persons=p.persons))
    batch.draw(placed, DrawParams(sums=drawn, persons=p.persons, adds=int(still is not None)))


def _kernel(batch: CudaBatch, name: str, channels: int) -> int:
    return batch.device.kernel("rdo/pursuit", name, rows=4, channels=channels)


@lru_cache(maxsize=256)
def _blocks(resident: int, n: int) -> int:
    """Blocks of a pursuit: one for every few Gaussians, because it takes the large ones in turn."""
    return max(1, min(resident, -(-n // GAUSSIANS_PER_BLOCK)))
