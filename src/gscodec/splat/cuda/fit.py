"""Fits and colour solves of a batch: what csrc/fit.cu needs set up, one launch each."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from gscodec.splat._native import MIN_SCALE
from gscodec.splat.cuda.hosted_fit import fit_projected
from gscodec.splat.cuda.params import (
    SLOTS,
    THREADS,
    TILE_W,
    WARPS,
    DrawParams,
    FitParams,
    GatherParams,
    Lists,
    LossParams,
    SolveParams,
    tile_height,
)
from gscodec.splat.cuda.scene import Active, CudaGaussians, CudaTarget, Params
from gscodec.splat.gaussians import N_PARAMS
from gscodec.splat.raster import FitResult, FitSchedule, Project

if TYPE_CHECKING:
    from gscodec.splat.cuda.batch import CudaBatch

MARGIN = 4  # pixels a Gaussian may wander, besides an eighth of its size, before tiles are listed again
BLOCKS = {1: 4, 4: 3}  # wanted on a multiprocessor, by warps of a strip: more blocks leave fewer registers
LIST_CAPACITY = 1024  # Gaussians near a tile; where there are more, its strips look at all
OUTCOME = np.dtype([("loss", "f8"), ("roi_mse", "f8"), ("iterations", "i4"), ("finite", "i4")])


@dataclass(slots=True)
class _Job:
    """Gaussians to move, placed on the card, and how the card is shared among their pictures."""

    batch: CudaBatch
    placed: CudaGaussians
    pixels: int  # address of the targets minus what stands still
    gradient: int
    lists: Lists
    team: int  # warps of a strip
    group_size: int  # blocks of a picture; 0 chooses

    @property
    def n(self) -> int:
        return len(self.placed.counts)


def fit(
    batch: CudaBatch,
    target: CudaTarget,
    params: Params,
    active: Active | None,
    schedule: FitSchedule,
    *,
    sweeps: int = 0,
    ridge: float = 0.0,
    team: int = 0,
    group_size: int = 0,
) -> list[FitResult]:
    """CudaBatch.fit.

    Args:
        team, group_size: warps of a strip, 1 or 4; blocks of a picture; 0 chooses.
    """
    work = batch.work
    job = _set_up(batch, target, params, active, team, group_size)
    if sweeps:
        _solve(job, sweeps, ridge)
    outcome = _fit(job, schedule, target.roi_pixels.address)
    fitted = work.download(job.placed.scene.params, np.empty((job.placed.total, N_PARAMS), np.float32))
    outcomes = work.download(outcome, np.empty(job.n, OUTCOME))
    work.wait()
    results = [
        FitResult(int(o["iterations"]), float(o["loss"]), float(o["roi_mse"]), bool(o["finite"]))
        for o in outcomes
    ]
    _write_back(fitted, job.placed, params, active, [r.finite for r in results])
    return results


def solve_colors(
    batch: CudaBatch,
    target: CudaTarget,
    params: Params,
    active: Active | None,
    sweeps: int,
    ridge: float,
    *,
    team: int = 0,
    group_size: int = 0,
) -> list[float]:
    """CudaBatch.solve_colors; keywords as in `fit`."""
    work = batch.work
    job = _set_up(batch, target, params, active, team, group_size)
    loss = _solve(job, sweeps, ridge)
    solved = work.download(job.placed.scene.params, np.empty((job.placed.total, N_PARAMS), np.float32))
    losses = work.download(loss, np.empty(job.n, np.float64))
    work.wait()
    _write_back(solved, job.placed, params, active, [True] * job.n)
    return [float(loss) for loss in losses]


def fit_drawn(
    batch: CudaBatch,
    target: CudaTarget,
    params: np.ndarray,
    active: np.ndarray | None,
    schedule: FitSchedule,
    project: Project,
) -> FitResult:
    """raster.Rasterizer.fit with a projection: an iteration goes to the host and back."""
    work = batch.work
    moving, pixels = _split(batch, target, [params], [active])
    now = moving[0] if active is not None else moving[0].copy()
    rest = work.buffer("drawn rest", batch.width * batch.height * 16)
    roi_pixels = work.download(target.roi_pixels.address, np.empty(1, np.uint32))
    work.wait()
    roi_values = max(1.0, 3.0 * float(roi_pixels[0]))

    def evaluate(drawn: np.ndarray) -> tuple[float, float, np.ndarray]:
        placed = batch.place_as("drawn", [drawn])
        batch.draw(placed, DrawParams(target=pixels, rest=rest))
        losses = losses_of(batch, rest, 1)
        (gradient,) = batch.gather(placed, GatherParams(rest=rest))
        return float(losses[0, 0]), float(losses[0, 1]) / roi_values, gradient

    limits = (MIN_SCALE, float(max(batch.width, batch.height)))
    result = fit_projected(evaluate, now, schedule, project, limits)
    if result.finite:
        params[slice(None) if active is None else active] = now
    return result


def losses_of(batch: CudaBatch, rest: int, pictures: int) -> np.ndarray:
    """Σ weight·d² and Σ over the ROI of d², float64 [pictures, 2]; valid from the next `wait` on.

    Args:
        rest: address of target minus sum, weight, float32 [pictures, H, W, 4].
    """
    work, n_pixels = batch.work, batch.width * batch.height
    p = LossParams(rest=rest, pixels=n_pixels, pictures=pictures)
    p.losses = work.buffer("losses", pictures * 16)
    work.zero(p.losses, pictures * 16)
    kernel = batch.device.kernel("encode/frame_store", "loss")
    work.launch(kernel, (min(256, -(-n_pixels // THREADS)), pictures), p)
    return work.download(p.losses, np.empty((pictures, 2)))


def _fit(job: _Job, schedule: FitSchedule, roi_pixels: int) -> int:
    """Launch a fit; the address of its OUTCOMEs."""
    work, n = job.batch.work, job.n
    p = FitParams(roi_pixels=roi_pixels)
    kernel = _share(p, job, "fit", MARGIN)
    p.momentum = work.buffer("momentum", job.placed.total * 64)
    p.empty = work.buffer("empty", n * job.placed.tiles * 8 * 8)
    p.outcome = work.buffer("outcome", n * OUTCOME.itemsize)
    for field in ("iterations", "rate_mean", "rate_shape", "rate_color", "beta1", "beta2", "plateau"):
        setattr(p, field, getattr(schedule, field))
    p.target_mse, p.deadline_s = schedule.target_mse, schedule.deadline_s
    p.schedule = work.upload("schedule", _schedule(schedule))
    # Zeroed together: sums, flags, arrivals.
    n_sums, n_flags = n * 2 * SLOTS * 16, n * 16
    p.sums = work.buffer("sums of fits", n_sums + n_flags + 4 * p.groups)
    p.flags, p.arrived = p.sums + n_sums, p.sums + n_sums + n_flags
    work.zero(p.sums, n_sums + n_flags + 4 * p.groups)
    work.launch(kernel, (p.groups * p.group_size, 1), p, cooperative=True)
    return int(p.outcome)


def _solve(job: _Job, sweeps: int, ridge: float) -> int:
    """Launch a colour solve; the address of the losses before it, float64."""
    work, n = job.batch.work, job.n
    p = SolveParams(sweeps=sweeps, ridge=ridge)
    kernel = _share(p, job, "solve", 0)
    p.rest = work.buffer("normal rest", job.placed.total * 16)
    n_dots = n * (sweeps + 1) * 12 * 8
    p.loss = work.buffer("sums of solves", n * 8 + n_dots + 4 * p.groups)
    p.dots, p.arrived = p.loss + n * 8, p.loss + n * 8 + n_dots
    work.zero(p.loss, n * 8 + n_dots + 4 * p.groups)
    work.launch(kernel, (p.groups * p.group_size, 1), p, cooperative=True)
    return int(p.loss)


@lru_cache(maxsize=64)
def _schedule(schedule: FitSchedule) -> np.ndarray:  # [iterations + 1, 4]
    """Per iteration: share of the rates left, what undoes the bias of Adam's two memories, plain Adam."""
    step = np.arange(schedule.iterations + 1)
    table = np.zeros((len(step), 4), np.float32)
    falling = 0.5 * (1 + np.cos(np.pi * step / max(1, schedule.iterations)))
    table[:, 0] = schedule.final_rate + (1 - schedule.final_rate) * falling
    table[:, 1] = 1 / (1 - schedule.beta1 ** (step + 1))
    table[:, 2] = 1 / (1 - schedule.beta2 ** (step + 1))
    table[:, 3] = not schedule.natural
    return table


def _set_up(
    batch: CudaBatch, target: CudaTarget, params: Params, active: Active | None, team: int, group_size: int
) -> _Job:
    """Place the active Gaussians and make room for what fits and solves both need."""
    work = batch.work
    moving, pixels = _split(batch, target, params, active)
    placed = batch.place_as("fitted", moving, rows=4)
    n = len(params)
    team = team or _team(batch, n * placed.tiles)
    lists = Lists(capacity=max(1, min(LIST_CAPACITY, max(placed.counts, default=0))))
    lists.indices = work.buffer("tile lists", n * placed.tiles * team * lists.capacity * 4)
    lists.counts = work.buffer("tile counts", n * placed.tiles * team * 4)
    lists.anchors = work.buffer("anchors", placed.total * 8)
    gradient = work.buffer("gradient", placed.total * 32)
    return _Job(batch, placed, pixels, gradient, lists, team, group_size)


def _team(batch: CudaBatch, tiles: int) -> int:
    """Warps of a strip: four where the card would not be filled."""
    return 1 if 8 * tiles >= 64 * WARPS * batch.device.n_multiprocessors else 4


def macros(batch: CudaBatch) -> dict[str, int]:
    """Those with which csrc/fit.cu is compiled for a single picture."""
    team = _team(batch, -(-batch.width // TILE_W) * -(-batch.height // tile_height(4)))
    return {"team": team, "blocks": BLOCKS[team]}


def _share(p: Any, job: _Job, name: str, margin: int) -> Any:
    """Fill in what both kernels take, and how the card is shared; the kernel."""
    device = job.batch.device
    job.lists.margin = margin
    p.scene, p.lists, p.target, p.gradient = job.placed.scene, job.lists, job.pixels, job.gradient
    kernel = device.kernel("splat/cuda/fit", name, team=job.team, blocks=BLOCKS[job.team])
    # Launches that want the whole card would wait for each other, and for pursuits.
    resident = max(1, device.resident_blocks(kernel) // job.batch.sharers)
    strips = 8 * job.placed.tiles
    p.group_size, p.groups = _groups(resident, job.n, strips, WARPS // job.team, job.group_size)
    return kernel


@lru_cache(maxsize=1024)
def _groups(resident: int, pictures: int, strips: int, teams: int, wanted: int) -> tuple[int, int]:
    """Blocks per picture and pictures at a time, of `resident` blocks of `teams` teams."""
    pictures = max(1, pictures)
    if not wanted:
        # Strips of a team times rounds of pictures. Of equals the smallest, whose barriers are cheapest, but
        # for one picture the largest: it has the card to itself.
        cost = {
            g: (-(-strips // (g * teams)) * -(-pictures // (resident // g)), -g if pictures == 1 else g)
            for g in range(1, min(resident, max(1, strips // teams)) + 1)
        }
        wanted = min(cost, key=cost.__getitem__, default=1)
    wanted = max(1, min(wanted, resident))
    return wanted, min(pictures, resident // wanted)


def _split(
    batch: CudaBatch, target: CudaTarget, params: Params, active: Active | None
) -> tuple[list[np.ndarray], int]:
    """The active Gaussians, and the address of the targets minus what the others draw."""
    if (target.width, target.height) != (batch.width, batch.height):
        raise ValueError(
            f"the target is {target.width}x{target.height}, expected {batch.width}x{batch.height}"
        )
    if target.pictures != len(params):
        raise ValueError(f"the target has {target.pictures} pictures, expected {len(params)}")
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
    placed = batch.place_as("still", others)
    rest = batch.work.buffer("rest", len(params) * batch.width * batch.height * 16)
    batch.draw(placed, DrawParams(target=target.pixels.address, rest=rest))
    return moving, rest


def _write_back(
    found: np.ndarray, placed: CudaGaussians, params: Params, active: Active | None, good: list[bool]
) -> None:
    """Copy the results to the caller's arrays, of the pictures that went well."""
    begin = 0
    for i, count in enumerate(placed.counts):
        if good[i]:
            index = None if active is None else active[i]
            params[i][slice(None) if index is None else index] = found[begin : begin + count]
        begin += count
