"""Frames -> packets: the encoder of one GOP after another.

The reference of a P-frame is the dequantised state, made by the decoder's own function, never the floats of
a fit.
"""

from __future__ import annotations

import math
import time
from typing import Any

import numpy as np

from gscodec.analysis.superpixel import initial_gaussians
from gscodec.coding.adaptive import AdaptiveCoder, Motion, renewed
from gscodec.coding.frames import iframe_base, make_frame_coder
from gscodec.coding.headers import FrameType
from gscodec.coding.quantize import (
    COLOR_0,
    COLOR_STEP,
    State,
    affine_arrays,
    canonical_order,
    classify,
    dequantize,
    quantize_colors,
    quantize_geometry,
    take,
)
from gscodec.config import EncoderConfig
from gscodec.encode.encoded import EncodedFrame
from gscodec.errors import FitError
from gscodec.rdo.births import GROWTH, Births
from gscodec.splat.frame_store import make_frame_store
from gscodec.splat.gaussians import MEAN
from gscodec.splat.pursuit import Effort, SymbolArrays
from gscodec.splat.raster import FitResult, FitSchedule, Rasterizer

COLOR_SWEEPS = 8  # conjugate gradients at the start of an I-frame, and again after rounding its geometry
RIDGE = 1e-3
# Loss that a bit must buy, in units of COLOR_STEP²·quality²: docs/bits.md, "Lambda".
LAMBDA_I = 1.0
LAMBDA_P = 0.5
LAMBDA_BIRTH = 1.0  # of Gaussians born in P-frames
BIRTH_PASSES = 4
BIRTH_WAIT = 2  # after a search without births the next comes that many P-frames later
BIRTHS_S = 0.004  # a search for births takes about that long
MOTION_COST = 1.0  # bits of one displacement of a control point, roughly
FIT_MARGIN_DB = 2.5  # rounding and the P-frames of a GOP lose about that much of an I-frame's fit
# Of a frame's time, for everything up to the last update; drawing and coding take the rest.
DEADLINE_SHARE = 0.8
ROOM_TIME = 0.2  # of the time left to an I-frame, for the room
POLISH_S = 0.006  # a shorter polish would only draw the picture
CHANGE_COST = 7.0  # bits of naming a changed Gaussian under coders that cannot tell beforehand


class Encoder:
    """Encodes successive frames of one size; an I-frame may be asked for at any time."""

    def __init__(self, config: EncoderConfig, raster: Rasterizer) -> None:
        self._config = config
        self._quality = config.operating_point(raster.width * raster.height)[1]
        self.crf_offset = 0.0  # of the GOP that starts next: moves its Gaussians and lambda, not the steps
        self._raster = raster
        self._size = (raster.width, raster.height)
        self._frames = make_frame_store(config, raster)
        self._coder = make_frame_coder(config.entropy, self._size)
        self._began = 0.0  # when the frame in hand was begun
        self._state: State | None = None
        self._source = np.empty(0, np.uint8)  # per pixel: the source as it was when last fitted
        self._n_frames = 0
        # Of the P-frame being encoded: its motion, and the reference after it.
        self._motion: Motion | None = None
        self._moved: State | None = None
        self._births: Births | None = None
        if config.births and config.update == "greedy" and isinstance(self._coder, AdaptiveCoder):
            self._births = Births(self._size)
        self._n_wanted = 0  # Gaussians of an I-frame as the last one
        self._wait = 0  # P-frames until births are looked for
        self._estimator: Any = None
        if config.motion and isinstance(self._coder, AdaptiveCoder):
            from gscodec.analysis.motion import MotionEstimator  # cv2 loads slowly

            self._estimator = MotionEstimator(self._size, self._coder.mesh, config.motion_pixels)

    @property
    def state(self) -> State | None:
        """The reference: what a decoder holds after the last frame."""
        return self._state

    def encode(self, pixels: np.ndarray, matte: np.ndarray, frame_type: FrameType) -> EncodedFrame:
        """Encode one frame.

        Args:
            pixels: R'G'B' uint8 [H, W, 3]. matte: the ROI [H, W], float32 in [0, 1] or uint8 in 255ths.
            frame_type: I, or P to change only what differs from the frame before (I if there is none).
        Raises:
            FitError: the fit diverged.
        """
        self._began = time.perf_counter()
        self._frames.take(pixels, matte)
        if self._state is None or frame_type == FrameType.I:
            state, iterations = self._fit_iframe()
            frame_type, n_coded = FrameType.I, len(state)
            payload = self._coder.pack_iframe(state)
            self._source = pixels.copy()
            self._n_wanted, self._wait = max(len(state), self._n_asked() // 2), 0
            if self._estimator:
                self._estimator.start(pixels)
        else:
            update = self._refit_pframe if self._config.update == "refit" else self._update_pframe
            state, iterations = update(self._state)
            base = self._moved if self._moved is not None else self._state
            n_coded = int((state.symbols != base.symbols).any(axis=1).sum())
            born = self._find_births(state)
            payload = self._pack_pframe(self._state, state, born)
            if born is not None:
                n_coded += len(born)
                state = renewed(state, born)
        self._state = state
        self._n_frames += 1
        errors = self._frames.show(dequantize(state), frame_type == FrameType.I)
        return EncodedFrame(
            frame_type=frame_type,
            payload=payload,
            n_coded=n_coded,
            n_gaussians=len(state),
            iterations=iterations,
            seconds=time.perf_counter() - self._began,
            **errors,
        )

    def _fit_iframe(self) -> tuple[State, int]:
        config, raster, frames = self._config, self._raster, self._frames
        frames.aim()
        target = frames.target()
        start = initial_gaussians(
            frames.pixels,
            frames.person,
            self._n_asked(),
            frames.nearest_seeds,
            room_share=config.background_share if config.background == "coarse" else 0.0,
            init=config.init,
            seed=config.seed,
        )
        params = start.params
        separate = config.separate_room and bool(start.is_room.any())
        person = None if not separate else np.flatnonzero(~start.is_room).astype(np.uint32)
        if separate:
            self._fit_room(params, start.is_room)
        if config.init != "random":
            raster.solve_colors(target, params, person, COLOR_SWEEPS, RIDGE)
        result = raster.fit(target, params, person, self._schedule(config.iterations))
        self._check(result)
        if separate:
            room = np.flatnonzero(start.is_room).astype(np.uint32)
            everywhere = frames.even_target(room_only=False)
            self._check(
                raster.fit(everywhere, params, room, self._schedule(config.iterations // 4, ROOM_TIME))
            )
        size_class, energy_class = classify(params, self._quality)
        symbols = np.zeros(params.shape, np.int32)
        state = State(symbols, size_class, energy_class, start.is_room, self._quality)
        everything = slice(None)
        quantize_geometry(params, state, everything, self._size)
        quantize_colors(params, state, everything)
        rounded = dequantize(state)
        raster.solve_colors(target, rounded, person, COLOR_SWEEPS, RIDGE)
        quantize_colors(rounded, state, everything)
        if config.polish_passes and self._is_time_for(POLISH_S):
            arrays = self._symbol_arrays(state, iframe_base(state))
            effort = Effort(config.polish_passes, self._time_left())
            frames.update(arrays, None, effort, self._lambda(LAMBDA_I))
        state = take(state, np.flatnonzero(state.symbols[:, 5:].any(axis=1)))  # invisible ones cost bits
        return take(state, canonical_order(state)), result.iterations

    def _n_asked(self) -> int:
        """Gaussians that an I-frame starts from."""
        return self._config.operating_point(self._size[0] * self._size[1], self.crf_offset)[0]

    def _fit_room(self, params: np.ndarray, is_room: np.ndarray) -> None:
        """Fit the room's Gaussians by themselves, in place, to a picture that is black where the person is.

        Fitted together with the person's they would help to draw the person, and the person alone could not
        be drawn without them.
        """
        config, raster = self._config, self._raster
        room = np.ascontiguousarray(params[is_room])
        target = self._frames.even_target(room_only=True)
        if config.init != "random":
            raster.solve_colors(target, room, None, COLOR_SWEEPS, RIDGE)
        self._check(raster.fit(target, room, None, self._schedule(config.iterations // 2, ROOM_TIME)))
        params[is_room] = room

    def _symbol_arrays(self, state: State, base: np.ndarray) -> SymbolArrays:
        """The state spelt out for the pursuit; the geometry of the room stands still."""
        step, offset, low, high = affine_arrays(state, self._size)
        room = np.flatnonzero(state.is_room & self._config.separate_room)
        low[room, :COLOR_0] = high[room, :COLOR_0] = state.symbols[room, :COLOR_0]
        return SymbolArrays(state.symbols, base, step, offset, low, high)

    def _pack_pframe(self, reference: State, state: State, born: State | None) -> bytes:
        if isinstance(self._coder, AdaptiveCoder):
            return self._coder.pack_pframe(reference, state, self._motion, born)
        return self._coder.pack_pframe(reference, state)

    def _update_pframe(self, reference: State) -> tuple[State, int]:
        self._frames.aim(self._config.stability)
        base = self._move(reference)
        state = base.copy()
        if isinstance(self._coder, AdaptiveCoder):
            change_costs = self._coder.change_costs()
        else:
            change_costs = np.full(len(state), CHANGE_COST, np.float32)
        arrays = SymbolArrays(state.symbols, base.symbols, *affine_arrays(state, self._size))
        effort = Effort(self._config.update_passes, self._time_left())
        return state, self._frames.update(arrays, change_costs, effort, self._lambda(LAMBDA_P))

    def _find_births(self, state: State) -> State | None:
        """Gaussians that a P-frame adds to `state`; None where it leaves their number as it is."""
        self._wait -= 1
        if self._births is None or self._wait > 0 or not self._is_time_for(BIRTHS_S):
            return None
        most = round(GROWTH * self._n_wanted) - int(state.symbols[:, COLOR_0:].any(axis=1).sum())
        if most <= 0:
            return None
        rest = self._frames.rest(dequantize(state))
        effort = Effort(BIRTH_PASSES, self._time_left())
        lambda_ = self._lambda(LAMBDA_BIRTH)
        matte = self._frames.matte if self._config.background == "coarse" else None
        born = self._births.find(rest, matte, state.quality, effort, lambda_, most)
        self._wait = 1 if len(born) else BIRTH_WAIT
        return born if len(born) else None

    def _move(self, reference: State) -> State:
        """The reference after the motion that pays best (kept for the payload), or as it is."""
        self._motion = self._moved = None
        coder = self._coder
        if self._estimator is None or not isinstance(coder, AdaptiveCoder):
            return reference
        params = dequantize(reference)
        room = reference.is_room
        weights = np.where(room, self._config.background_weight, 1.0).astype(np.float32)
        used = coder.points_said(False), coder.points_said(True)
        lambda_ = self._lambda(LAMBDA_P)
        meshes = self._estimator.estimate(self._frames.pixels, params[:, MEAN], room, weights, used, lambda_)
        if not meshes.any():
            self._estimator.said(None)
            return reference
        motions = [Motion(mesh, bool(i)) for i, mesh in enumerate(meshes) if mesh.any()]
        states = [reference, *(coder.moved(motion, reference.quality) for motion in motions)]
        losses = self._frames.losses([params, *map(dequantize, states[1:])])
        for i, motion in enumerate(motions, 1):
            losses[i] += MOTION_COST * np.count_nonzero(motion.mesh) * lambda_
        best = min(range(len(states)), key=losses.__getitem__)
        if best:
            self._motion, self._moved = motions[best - 1], states[best]
        if self._motion:
            self._estimator.said(self._motion.mesh, self._motion.room_moves)
        else:
            self._estimator.said(None)
        return states[best]

    def _lambda(self, factor: float) -> float:
        step = COLOR_STEP * self._quality
        return factor * self._config.lambda_scale * step * step * 2.0 ** (self.crf_offset / 5)

    def _refit_pframe(self, reference: State) -> tuple[State, int]:
        from gscodec.analysis.change import changed_pixels, influencing_gaussians  # cv2 loads slowly

        config, raster, pixels = self._config, self._raster, self._frames.pixels
        state = reference.copy()
        changed = changed_pixels(pixels, self._source, config.change_threshold)
        if not changed.any():
            return state, 0
        params = dequantize(reference)
        active = influencing_gaussians(raster, params, changed)
        if len(active) == 0:
            return state, 0
        self._frames.aim()
        target = self._frames.target()
        raster.solve_colors(target, params, active, 3, RIDGE)
        result = raster.fit(target, params, active, self._schedule(config.p_iterations))
        self._check(result)
        quantize_geometry(params, state, active, self._size)
        quantize_colors(params, state, active)
        self._source[changed] = pixels[changed]
        return state, result.iterations

    def _schedule(self, iterations: int, share: float = 1.0) -> FitSchedule:
        """Up to `iterations` steps; with --deadline at most `share` of the time that is left."""
        target_db = self._config.target_psnr
        return FitSchedule(
            iterations,
            target_mse=10 ** (-(target_db + FIT_MARGIN_DB) / 10) if target_db else 0.0,
            deadline_s=share * self._time_left(),
            plateau=self._config.plateau,
        )

    def _is_time_for(self, seconds: float) -> bool:
        return self._config.deadline_ms is None or self._time_left() > seconds

    def _time_left(self) -> float:
        """Seconds that a fit or pursuit may take of what --deadline leaves; 0: no limit."""
        if self._config.deadline_ms is None:
            return 0.0
        spent = time.perf_counter() - self._began
        return max(1e-4, DEADLINE_SHARE * self._config.deadline_ms / 1e3 - spent)

    def _check(self, result: FitResult) -> None:
        if not result.finite or not math.isfinite(result.loss):
            raise FitError(
                f"the fit of frame {self._n_frames} diverged at iteration {result.iterations}; "
                "please report the clip, and try another --preset meanwhile"
            )
