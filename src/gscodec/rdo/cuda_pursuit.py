"""Greedy integer updates on the card: what csrc/pursuit.cu needs set up, one launch each."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from gscodec.errors import LimitError
from gscodec.rdo import _native
from gscodec.rdo.pursuit import Effort, SymbolArrays
from gscodec.splat.cuda.params import LOCK, THREADS, DrawParams, PursuitParams
from gscodec.splat.cuda.scene import expect_shape
from gscodec.splat.gaussians import N_PARAMS

if TYPE_CHECKING:
    from gscodec.splat.cuda.batch import CudaBatch

ROUNDS_PER_PASS = 48  # a round changes Gaussians all over the picture, but neighbours take turns
GAUSSIANS_PER_BLOCK = 3
MAX_VAST, SLICES, N_SUMS = 1024, 64, 10  # rdo/csrc/pursuit.cuh
MAX_ROUNDS = 4000  # the kernel's keys have twelve bits for them
MAX_GAUSSIANS = 1 << 20
OUTCOME = np.dtype(
    [("loss_before", "f8"), ("loss", "f8"), ("tried", "i4"), ("kept", "i4"), ("rounds", "i4"), ("", "i4")]
)


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
    target: int,
    arrays: SymbolArrays,
    rates: np.ndarray,
    groups: np.ndarray,
    change_costs: np.ndarray | None,
    effort: Effort,
    lambda_: float,
) -> PursuitResult:
    """Change symbols in place where it pays, on a picture of the batch's size.

    Args:
        target: address of Y, U, V, weight, float32 [H, W, 4].
        rates, groups: what a change costs (rdo/pursuit.py).
        change_costs: bits of saying that a Gaussian changes, float32 [N]; None: all are coded anyway.
    """
    work, n = batch.work, len(arrays.symbols)
    if n > MAX_GAUSSIANS:
        raise LimitError(f"{n} Gaussians, at most {MAX_GAUSSIANS} can be updated on a GPU")
    for name in ("symbols", "base", "step", "offset", "low", "high"):
        expect_shape(name, getattr(arrays, name), (n, N_PARAMS))
    placed = batch.room_for("pursued", [n])
    p = PursuitParams(lambda_=lambda_, stiffness=_native.PursuitOptions().stiffness)
    p.rest = work.buffer("pursued rest", batch.width * batch.height * 16)
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
    places = work.upload_all("pursued symbols", sent)
    placed.scene.first = places.pop("picture")
    placed.scene.params = work.buffer("pursued params", 32 * n)
    for name, address in places.items():
        setattr(p, name, address)
    p.scene = placed.scene
    blocks = -(-n // THREADS)
    work.launch(batch.device.kernel("rdo/pursuit", "place_symbols", rows=4), (blocks, 1), p)
    batch.draw(placed, DrawParams(target=target, rest=p.rest))
    p.locks_x = -(-batch.width // LOCK)
    n_locks = p.locks_x * -(-batch.height // LOCK)
    for name, n_bytes in {
        "state": 8 * n,
        "delta": 32 * n,
        "gain": 4 * n,
        "reach": 8 * n,
        "valued": 4 * n,
        "is_vast": n,
        "order": 4 * n,
        "vast": 4 * MAX_VAST,
        "slices": 4 * MAX_VAST * SLICES * N_SUMS,
    }.items():
        setattr(p, name, work.buffer(f"pursuit's {name}", n_bytes))
    zeroed = {
        "outcome": OUTCOME.itemsize,
        "locks": 8 * n_locks,
        "stamp": 4 * n_locks,
        "sliced": 4 * MAX_VAST,
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
    kernel = batch.device.kernel("rdo/pursuit", "pursue", rows=4)
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


@lru_cache(maxsize=256)
def _blocks(resident: int, n: int) -> int:
    """Blocks of a pursuit: one for every few Gaussians, because it takes the large ones in turn."""
    return max(1, min(resident, -(-n // GAUSSIANS_PER_BLOCK)))
