"""A P-frame: the reference, moved; symbols changed where that pays; Gaussians added where they pay.

The reference of a P-frame is the state that a decoder has, integers, and only integers are changed: no float
of a fit survives from frame to frame, so encoder and decoder cannot drift apart. Each of the three steps is
a choice by D + λR between what the next frame shows as it is and what bits would make of it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from gscodec.coding.adaptive import Motion
from gscodec.coding.frames import FrameCoder, MotionCoder
from gscodec.coding.quantize import State, affine_arrays, dequantize
from gscodec.encode.task import FrameTask
from gscodec.rdo import rates
from gscodec.rdo.births import Births
from gscodec.rdo.pursuit import SymbolArrays
from gscodec.splat.gaussians import MEAN

BIRTH_PASSES = 4
BIRTHS_S = 0.004  # a search for births takes about that long


@dataclass(frozen=True, slots=True)
class PFrameSettings:
    """How P-frames are made.

    Attributes:
        update_passes: of the pursuit, upper bound.
        stability: weight of standing still where the source does; the picture has 1.
        room_weight: of a room pixel in the loss; a pixel of the person has 1.
        is_room_coded: whether births may be the room's.
    """

    update_passes: int
    stability: float
    room_weight: float
    is_room_coded: bool


@dataclass(frozen=True, slots=True)
class MovedReference:
    """What a P-frame's symbols are counted from: the reference after a motion; without one, as it was."""

    state: State
    motion: Motion | None = None


@dataclass(frozen=True, slots=True)
class UpdatedState:
    """A state after its symbols were changed, and the passes or steps that took."""

    state: State
    iterations: int


# (pixels, means [N, 2], is_room [N], weights [N], control points that each hypothesis codes, λ) -> a mesh per
# hypothesis: analysis.motion.MotionEstimator.estimate.
MeshSearch = Callable[
    [np.ndarray, np.ndarray, np.ndarray, np.ndarray, tuple[np.ndarray, np.ndarray], float], np.ndarray
]


def move_reference(
    task: FrameTask, reference: State, coder: MotionCoder, search: MeshSearch, room_weight: float
) -> MovedReference:
    """The reference after the motion that pays best, or as it is where none does.

    Tried are the person's motion alone and, where the camera moves, the room's with it.
    """
    params, lambda_ = dequantize(reference), task.lagrangian.pframe
    weights = np.where(reference.is_room, room_weight, 1.0).astype(np.float32)
    used = coder.coded_points(False), coder.coded_points(True)
    meshes = search(task.source.pixels, params[:, MEAN], reference.is_room, weights, used, lambda_)
    candidates = [MovedReference(reference)]
    for hypothesis, mesh in enumerate(meshes):
        if mesh.any():
            motion = Motion(mesh, bool(hypothesis))
            candidates.append(MovedReference(coder.moved(motion, reference.quality), motion))
    if len(candidates) == 1:
        return candidates[0]
    costs = task.source.losses([params, *(dequantize(c.state) for c in candidates[1:])])
    for i, candidate in enumerate(candidates):
        if candidate.motion:
            costs[i] += rates.motion_bits(candidate.motion.mesh) * lambda_
    return candidates[min(range(len(candidates)), key=costs.__getitem__)]


def update_symbols(task: FrameTask, base: State, coder: FrameCoder, passes: int) -> UpdatedState:
    """Change the symbols of a moved reference where D + λR falls; the argument stays as it is."""
    state = base.copy()
    costs = coder.change_costs()
    if costs is None:
        costs = rates.change_costs(len(base))
    arrays = SymbolArrays(state.symbols, base.symbols, *affine_arrays(state, task.size), state.is_room)
    taken = task.source.update(arrays, costs, task.effort(passes), task.lagrangian.pframe)
    return UpdatedState(state, taken)


def find_births(task: FrameTask, state: State, births: Births, is_room_coded: bool) -> State | None:
    """Gaussians that pay for being added to `state`, in canonical order; None where there are none."""
    most = births.n_due(state)
    if most <= 0 or not task.budget.allows(BIRTHS_S):
        return None
    params = dequantize(state)
    residual = task.source.residual(params)
    matte = task.source.matte if is_room_coded else None
    effort = task.effort(BIRTH_PASSES)
    lambda_ = task.lagrangian.birth
    if state.is_normalised:
        born = births.find_among(residual, matte, state, params, task.source, effort, lambda_, most)
    else:
        born = births.find(residual, matte, state.quality, effort, lambda_, most)
    return born if len(born) else None
