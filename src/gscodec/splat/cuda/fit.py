"""Fits and colour solves of a batch: what csrc/fit.cu and csrc/solve.cu need set up, one launch each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from gscodec.errors import BackendError
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
    Targets,
    channels_of,
    tile_height,
)
from gscodec.splat.cuda.scene import (
    Active,
    CudaGaussians,
    CudaTarget,
    Params,
    Rooms,
    columns_of,
    expect_shape,
)
from gscodec.splat.raster import FitResult, FitSchedule, Noise, Project

if TYPE_CHECKING:
    from gscodec.splat.cuda.batch import CudaBatch

MARGIN = 4  # pixels a Gaussian may wander, besides an eighth of its size, before tiles are listed again
# Blocks wanted on a multiprocessor, by warps of a strip and by what is summed of a pixel: more leave fewer
# registers, and a mean has more to keep.
BLOCKS = {"fit": {1: {3: 4, 4: 4, 5: 3}, 4: {3: 3, 4: 2, 5: 2}}, "solve": {1: {3: 4, 4: 4}, 4: {3: 3, 4: 3}}}
LIST_CAPACITY = 1024  # Gaussians near a tile; where there are more, its strips look at all
OUTCOME = np.dtype([("loss", "f8"), ("roi_mse", "f8"), ("iterations", "i4"), ("finite", "i4")])


@dataclass(slots=True)
class _Job:
    """Gaussians to move, placed on the card, and how the card is shared among their pictures."""

    batch: CudaBatch
    placed: CudaGaussians
    targets: Targets
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
    is_room: Rooms | None = None,
    noise: Sequence[Noise] | None = None,
    team: int = 0,
    group_size: int = 0,
) -> list[FitResult]:
    """CudaBatch.fit.

    Args:
        team, group_size: warps of a strip, 1 or 4; blocks of a picture; 0 chooses.
    """
    work = batch.work
    if target.mattes is not None and is_room is None:
        raise ValueError("the target has a matte, so is_room must be given")
    job = _set_up(batch, target, params, active, team, group_size, is_room if target.mattes else None)
    if sweeps:
        _solve(job, sweeps, ridge)
    outcome = _fit(job, schedule, target.roi_pixels.address, noise)
    fitted = _download(job)
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
    job = _set_up(batch, target, params, active, team, group_size, None)
    loss = _solve(job, sweeps, ridge)
    solved = _download(job)
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
    """raster.Rasterizer.fit with a projection: an iteration goes to the host and back.

    Raises:
        BackendError: the target has a matte, or Gaussians stand still under the normalised blend.
    """
    work = batch.work
    if batch.blend != "sum" and (target.mattes is not None or active is not None):
        raise BackendError(
            "--backend cuda fits learned steps to a matte, or of some Gaussians, under --blend sum only; "
            "take --backend cpu"
        )
    moving, targets, _ = _split(batch, target, [params], [active], None)
    now = moving[0] if active is not None else moving[0].copy()
    residual = work.buffer("drawn residual", batch.width * batch.height * 16)
    roi_pixels = work.download(target.roi_pixels.address, np.empty(1, np.uint32))
    work.wait()
    roi_values = max(1.0, 3.0 * float(roi_pixels[0]))

    def evaluate(drawn: np.ndarray) -> tuple[float, float, np.ndarray]:
        placed = batch.place_as("drawn", [drawn])
        batch.draw(placed, DrawParams(target=targets.pixels, residual=residual))
        losses = losses_of(batch, residual, 1)
        (gradient,) = batch.gather(placed, GatherParams(residual=residual))
        return float(losses[0, 0]), float(losses[0, 1]) / roi_values, gradient

    limits = (MIN_SCALE, float(max(batch.width, batch.height)))
    result = fit_projected(evaluate, now, schedule, project, limits)
    if result.finite:
        params[slice(None) if active is None else active] = now
    return result


def losses_of(batch: CudaBatch, residual: int, pictures: int) -> np.ndarray:
    """Σ weight·d² and Σ over the ROI of d², float64 [pictures, 2]; valid from the next `wait` on.

    Args:
        residual: address of target minus picture, weight, float32 [pictures, H, W, 4].
    """
    work, n_pixels = batch.work, batch.width * batch.height
    p = LossParams(residual=residual, pixels=n_pixels, pictures=pictures)
    p.losses = work.buffer("losses", pictures * 16)
    work.zero(p.losses, pictures * 16)
    work.launch(batch.kernel("loss", batch.rows(pictures)), (min(256, -(-n_pixels // THREADS)), pictures), p)
    return work.download(p.losses, np.empty((pictures, 2)))


def _fit(job: _Job, schedule: FitSchedule, roi_pixels: int, noise: Sequence[Noise] | None = None) -> int:
    """Launch a fit; the address of its OUTCOMEs."""
    work, n = job.batch.work, job.n
    p = FitParams(roi_pixels=roi_pixels)
    if noise is not None:
        widths = np.concatenate([one.width for one in noise]).astype(np.float32, copy=False)
        expect_shape("noise", widths, (job.placed.total, columns_of(job.placed.channels)))
        p.noise = work.upload("noise", widths)
        p.seed = int(noise[0].random.integers(1 << 32))
    kernel = _share(p, job, "fit", job.placed.channels, MARGIN)
    p.momentum = work.buffer("momentum", 2 * _row_bytes(job))
    p.empty = work.buffer("empty", n * job.placed.tiles * 8 * 8)
    p.outcome = work.buffer("outcome", n * OUTCOME.itemsize)
    for field in ("iterations", "beta1", "beta2", "plateau"):
        setattr(p, field, getattr(schedule, field))
    for field in ("rate_mean", "rate_shape", "rate_color", "rate_weight"):
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
    kernel = _share(p, job, "solve", job.batch.channels, 0)  # colours know no matte
    p.normal = work.buffer("normal equations", job.placed.total * 32)
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
    batch: CudaBatch,
    target: CudaTarget,
    params: Params,
    active: Active | None,
    team: int,
    group_size: int,
    is_room: Rooms | None,
) -> _Job:
    """Place the active Gaussians and make room for what fits and solves both need.

    Args:
        is_room: where a matte is to be fitted.
    """
    work = batch.work
    moving, targets, rooms = _split(batch, target, params, active, is_room)
    placed = batch.place_as("fitted", moving, rows=4, is_room=rooms)
    n = len(params)
    team = team or _team(batch, n * placed.tiles)
    lists = Lists(capacity=max(1, min(LIST_CAPACITY, max(placed.counts, default=0))))
    lists.indices = work.buffer("tile lists", n * placed.tiles * team * lists.capacity * 4)
    lists.counts = work.buffer("tile counts", n * placed.tiles * team * 4)
    lists.anchors = work.buffer("anchors", placed.total * 8)
    gradient = work.buffer("gradient", 4 * placed.total * columns_of(placed.channels))
    return _Job(batch, placed, targets, gradient, lists, team, group_size)


def _row_bytes(job: _Job) -> int:
    """Bytes of all Gaussians' params."""
    return 4 * job.placed.total * columns_of(job.placed.channels)


def _download(job: _Job) -> np.ndarray:
    """The Gaussians as they are by then, float32 [total, 8 or 9]; valid from the next `wait` on."""
    shape = job.placed.total, columns_of(job.placed.channels)
    return job.batch.work.download(job.placed.scene.params, np.empty(shape, np.float32))


def _team(batch: CudaBatch, tiles: int) -> int:
    """Warps of a strip: four where the card would not be filled."""
    return 1 if 8 * tiles >= 64 * WARPS * batch.device.n_multiprocessors else 4


def sources(batch: CudaBatch) -> list[tuple[str, dict[str, int]]]:
    """What a single picture is solved and fitted with, with its macros: for Device.prepare."""
    team = _team(batch, -(-batch.width // TILE_W) * -(-batch.height // tile_height(4)))
    fitted = channels_of(batch.blend, has_person=batch.blend != "sum")
    return [_source("solve", team, batch.channels), _source("fit", team, fitted)]


def _source(name: str, team: int, channels: int) -> tuple[str, dict[str, int]]:
    macros = {"team": team, "blocks": BLOCKS[name][team][channels], "channels": channels}
    return f"splat/cuda/{name}", macros


def _share(p: Any, job: _Job, name: str, channels: int, margin: int) -> Any:
    """Fill in what both kernels take, and how the card is shared; the kernel."""
    device = job.batch.device
    job.lists.margin = margin
    p.scene, p.lists, p.targets, p.gradient = job.placed.scene, job.lists, job.targets, job.gradient
    source, macros = _source(name, job.team, channels)
    kernel = device.kernel(source, name, **macros)
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
    batch: CudaBatch, target: CudaTarget, params: Params, active: Active | None, is_room: Rooms | None
) -> tuple[list[np.ndarray], Targets, list[np.ndarray] | None]:
    """The active Gaussians, what they are to look like beside the others, which are the room's."""
    if (target.width, target.height) != (batch.width, batch.height):
        raise ValueError(
            f"the target is {target.width}x{target.height}, expected {batch.width}x{batch.height}"
        )
    if target.pictures != len(params):
        raise ValueError(f"the target has {target.pictures} pictures, expected {len(params)}")
    for p, room in zip(params, is_room or (), strict=is_room is not None):
        if len(room) != len(p):
            raise ValueError(f"is_room has another length: {len(room)}, expected {len(p)}")
    targets = Targets(pixels=target.pixels.address, matte_weight=target.matte_weight)
    if target.mattes is not None:
        targets.mattes = target.mattes.address
    if active is None or all(a is None for a in active):
        return list(params), targets, None if is_room is None else list(is_room)
    moving, others = [], []
    rooms, other_rooms = [], []
    for i, (p, index) in enumerate(zip(params, active, strict=True)):
        index = np.arange(len(p)) if index is None else index
        if len(index) and (index.min() < 0 or index.max() >= len(p)):
            raise IndexError("an active index is past the last Gaussian")
        still = np.ones(len(p), bool)
        still[index] = False
        moving.append(p[index])
        others.append(p[still])
        if is_room is not None:
            rooms.append(is_room[i][index])
            other_rooms.append(is_room[i][still])
    moving_rooms = None if is_room is None else rooms
    if not sum(map(len, others)):
        return moving, targets, moving_rooms
    placed = batch.place_as("still", others, is_room=None if is_room is None else other_rooms)
    n_pixels = len(params) * batch.width * batch.height
    drawn = batch.work.buffer("still pictures", n_pixels * 16)
    if batch.blend == "sum":  # what is left for the others to draw is a target like any other
        batch.draw(placed, DrawParams(target=target.pixels.address, residual=drawn))
        targets.pixels = drawn
        return moving, targets, moving_rooms
    sums = DrawParams(sums=drawn)
    targets.others = drawn
    if is_room is not None:
        sums.persons = targets.others_person = batch.work.buffer("still persons", n_pixels * 4)
    batch.draw(placed, sums)
    return moving, targets, moving_rooms


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
