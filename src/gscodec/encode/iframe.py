"""An I-frame: superpixels -> fitted Gaussians -> integers that pay for their bits.

Colours are solved for exactly (the picture is linear in them) before the fit and again after the geometry has
been rounded, so that they make good what rounding did. A pursuit then changes single symbols where D + λR
falls (rdo/rates.py, docs/bits.md).

Under the sum the room's Gaussians are fitted before the person's and once more after them: fitted together
they would help to draw the person, and the person alone could not be drawn without them.

Under the normalised blend a fit that goes on finds ever sharper balances between neighbours, which rounding
and motion destroy: 600 plain steps make larger files than 150 (docs/bits.md, "Noise"). So most steps draw
every parameter with uniform noise as wide as its step, as learned codecs do it (Ballé, Laparra, Simoncelli,
"End-to-end optimized image compression", 2017), and end where being off by half a step costs little.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from gscodec.analysis.superpixel import WIDEN, initial_gaussians
from gscodec.coding.frames import FrameCoder
from gscodec.coding.quantize import (
    COLOR_0,
    L1,
    L3,
    MIN_SCALE,
    State,
    affine_arrays,
    canonical_order,
    classify,
    dequantize,
    quantize_colors,
    quantize_geometry,
    quantize_weights,
    take,
)
from gscodec.encode.task import FrameTask
from gscodec.rdo.pursuit import SymbolArrays
from gscodec.splat.gaussians import CHOLESKY, COLOR, Gaussians, opponent_from_rgb
from gscodec.splat.raster import Noise

COLOR_SWEEPS = 8  # conjugate gradients before the fit, and again after rounding its geometry
RIDGE = 1e-3
NORMALISED_WIDEN = 1.25  # of segments, where superpixel.WIDEN is for the sum: means do not ripple
ROOM_TIME = 0.2  # of the time left to an I-frame, for each of the room's two fits
FINER = 1.4  # steps of normalised geometry, where those of colour are the sum's: docs/bits.md, "Steps"
NOISE_CHUNK = 25  # steps between looks at the classes
NOISE_RATES = 0.5, 0.05  # of the usual rates, at the begin and at the end of the steps with noise
NOISE_S = 0.01  # a shorter while would not be worth beginning
POLISH_S = 0.006  # a shorter polish would only draw the picture


@dataclass(frozen=True, slots=True)
class IFrameSettings:
    """How I-frames are made.

    Attributes:
        init, seed: where the fit starts (analysis.superpixel).
        room_share: of the Gaussians, for the room; 0: it is not coded.
        separate_room: fit the room by itself.
        iterations: of the person's fit, upper bound. noise_iterations: of the fit with noise.
        polish_passes: of the pursuit, upper bound.
    """

    init: str
    seed: int
    room_share: float
    separate_room: bool
    iterations: int
    noise_iterations: int
    polish_passes: int


@dataclass(frozen=True, slots=True)
class FittedIFrame:
    """An I-frame before it is coded: its state in canonical order, and the steps of the person's fit."""

    state: State
    iterations: int


def fit_iframe(
    task: FrameTask, settings: IFrameSettings, coder: FrameCoder, n_gaussians: int, quality: float
) -> FittedIFrame:
    """Make a frame's Gaussians from its picture alone.

    Args:
        coder: what will code it: asked what it predicts each symbol to be.
        n_gaussians: to start from; those that end up invisible are dropped.
        quality: of the file, on every quantiser step.
    Raises:
        FitError: a fit diverged.
    """
    task.source.make_target()
    start = initial_gaussians(
        task.source.pixels,
        task.source.person,
        n_gaussians,
        task.source.nearest_seeds,
        room_share=settings.room_share,
        init=settings.init,
        seed=settings.seed,
    )
    room_indices = np.flatnonzero(start.is_room).astype(np.uint32)
    # Under the normalised blend a person's share of a pixel is its weight's: nothing has to be kept apart.
    is_room_fixed = settings.separate_room and task.raster.blend == "sum"
    is_separate = is_room_fixed and len(room_indices) > 0
    person = np.flatnonzero(~start.is_room).astype(np.uint32) if is_separate else None
    iterations = _fit(task, settings, start, person, room_indices if is_separate else None)
    iterations += _fit_with_noise(task, start, settings.noise_iterations, quality)
    state = _rounded(task, start, person, quality)
    if settings.polish_passes and task.budget.allows(POLISH_S):
        arrays = _symbol_arrays(state, task.size, is_room_fixed, coder.iframe_base)
        task.source.update(arrays, None, task.effort(settings.polish_passes), task.lagrangian.iframe)
    state = take(state, np.flatnonzero(state.is_visible))
    return FittedIFrame(take(state, canonical_order(state)), iterations)


def _fit(
    task: FrameTask,
    settings: IFrameSettings,
    start: Gaussians,
    person: np.ndarray | None,
    room: np.ndarray | None,
) -> int:
    """Fit start's params in place; steps of the main fit.

    Args:
        person, room: uint32 indices where the two are fitted separately; None: all at once.
    """
    if task.raster.blend == "normalised":
        start.params = _normalised_start(start.params, opponent_from_rgb(task.source.ground))
    params, target = start.params, task.source.target()
    if room is not None:
        params[room] = _room_alone(task, settings, params[room])
    if settings.init != "random":
        task.raster.solve_colors(target, params, person, COLOR_SWEEPS, RIDGE)
    result = task.fit(target, params, person, settings.iterations, is_room=start.is_room)
    if room is not None:
        everywhere = task.source.even_target(room_only=False)
        task.fit(everywhere, params, room, settings.iterations // 4, ROOM_TIME)
    return result.iterations


def _fit_with_noise(task: FrameTask, start: Gaussians, n_steps: int, quality: float) -> int:
    """Go on with a fit of normalised Gaussians, in place, under the noise of their rounding; steps taken.

    How wide a step is depends on the Gaussian's classes, which its parameters decide: they are taken anew for
    every NOISE_CHUNK steps.
    """
    random = np.random.default_rng(0)
    taken = 0
    while taken < n_steps and task.budget.allows(NOISE_S):
        width = _unrounded(task, start, quality)[1]
        noise = Noise(width, random, MIN_SCALE)
        n = min(NOISE_CHUNK, n_steps - taken)
        rates = _falling(taken / n_steps), _falling((taken + n) / n_steps)
        task.fit(task.source.target(), start.params, None, n, 1.0, start.is_room, noise, rates)
        taken += n
    return taken


def _falling(phase: float) -> float:
    """Share of the usual rates after a share `phase` of the steps with noise: a cosine."""
    low, high = NOISE_RATES[1], NOISE_RATES[0]
    return low + (high - low) * 0.5 * (1 + math.cos(math.pi * phase))


def _room_alone(task: FrameTask, settings: IFrameSettings, params: np.ndarray) -> np.ndarray:
    """The room's Gaussians, float32 [n, 8], fitted to a picture that is black where the person is."""
    room = np.ascontiguousarray(params)
    target = task.source.even_target(room_only=True)
    if settings.init != "random":
        task.raster.solve_colors(target, room, None, COLOR_SWEEPS, RIDGE)
    task.fit(target, room, None, settings.iterations // 2, ROOM_TIME)
    return room


def _rounded(task: FrameTask, fitted: Gaussians, person: np.ndarray | None, quality: float) -> State:
    """The fitted Gaussians as integers, colours solved for again with the geometry as it was rounded."""
    params, everything = fitted.params, slice(None)
    state, _ = _unrounded(task, fitted, quality)
    quantize_geometry(params, state, everything, task.size)
    quantize_colors(params, state, everything)
    if state.is_normalised:
        quantize_weights(params, state, everything)
    rounded = dequantize(state)
    task.raster.solve_colors(task.source.target(), rounded, person, COLOR_SWEEPS, RIDGE)
    quantize_colors(rounded, state, everything)
    return take(state, canonical_order(state))


def _unrounded(task: FrameTask, fitted: Gaussians, quality: float) -> tuple[State, np.ndarray]:
    """The state with the fitted Gaussians' classes and no symbols yet; its steps, float32 as params."""
    is_normalised = task.raster.blend == "normalised"
    contrasts = FINER * task.source.contrasts(fitted.params) if is_normalised else None
    size_class, energy_class = classify(fitted.params, quality, contrasts)
    state = State(np.zeros(fitted.params.shape, np.int32), size_class, energy_class, fitted.is_room, quality)
    state.ground = task.source.ground
    return state, affine_arrays(state, task.size)[0].astype(np.float32)


def _normalised_start(params: np.ndarray, ground: np.ndarray) -> np.ndarray:  # [N, 8] -> [N, 9]
    """The same Gaussians under the normalised blend: narrower, all of one log-weight."""
    made = np.concatenate([params, np.zeros((len(params), 1), np.float32)], axis=1)
    made[:, CHOLESKY] *= NORMALISED_WIDEN / WIDEN
    made[:, [L1, L3]] = np.maximum(made[:, [L1, L3]], MIN_SCALE)
    made[:, COLOR] -= ground
    return made


def _symbol_arrays(
    state: State, size: tuple[int, int], is_room_fixed: bool, predicted: Callable[[State], np.ndarray]
) -> SymbolArrays:
    """The state spelt out for the pursuit; a room that was fitted separately keeps its geometry."""
    step, offset, low, high = affine_arrays(state, size)
    if is_room_fixed:
        low[state.is_room, :COLOR_0] = high[state.is_room, :COLOR_0] = state.symbols[state.is_room, :COLOR_0]
    return SymbolArrays(state.symbols, predicted(state), step, offset, low, high, state.is_room)
