"""Frames -> packets: the encoder of one GOP after another.

An I-frame is made from its picture alone (iframe.py). A P-frame takes the state that a decoder has by then,
moves it, changes symbols where that pays and adds Gaussians where they pay (pframe.py), or is fitted as the
paper does it (refit.py). What is known from frame to frame is listed in Encoder.__init__; everything else is
an argument or a result. Of two frames together the first may be a B-frame (encode_pair): whether it may is
known only when the second has been coded, so what is known from frame to frame can be put back.
"""

from __future__ import annotations

from copy import copy
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from gscodec.coding.adaptive import AdaptiveCoder, renewed
from gscodec.coding.bframe import between
from gscodec.coding.frames import FrameCoder, make_frame_coder
from gscodec.coding.quantize import State, dequantize
from gscodec.config import EncoderConfig
from gscodec.container.headers import FrameType
from gscodec.encode.bframe import PairRule
from gscodec.encode.budget import begin_frame
from gscodec.encode.encoded import EncodedFrame
from gscodec.encode.frame_store import make_frame_store
from gscodec.encode.iframe import fit_iframe
from gscodec.encode.lagrangian import lagrangian
from gscodec.encode.pframe import (
    MovedReference,
    find_births,
    move_reference,
    update_symbols,
)
from gscodec.encode.refit import FittedSource, refit_pframe
from gscodec.encode.settings import file_stop_rule, frame_settings, iframe_settings, pframe_settings
from gscodec.encode.task import FrameTask
from gscodec.rdo.births import Births
from gscodec.splat.raster import Rasterizer

if TYPE_CHECKING:
    from gscodec.analysis.motion import MotionEstimator


@dataclass(frozen=True, slots=True)
class _Coded:
    """A coded frame and the state after it, which is the next one's reference; else as EncodedFrame."""

    frame_type: FrameType
    state: State
    payload: bytes
    n_coded: int
    iterations: int


Source = tuple[np.ndarray, np.ndarray]  # pixels and matte


@dataclass(frozen=True, slots=True)
class _Memory:
    """What an Encoder knows from frame to frame and a P-frame changes."""

    n_frames: int
    state: State | None
    last: EncodedFrame | None
    coder: AdaptiveCoder
    estimator: MotionEstimator | None
    births: Births | None


class Encoder:
    """Encodes successive frames of one size; an I-frame may be asked for at any time."""

    def __init__(self, config: EncoderConfig, raster: Rasterizer) -> None:
        self._config, self._raster = config, raster
        self._n_pixels = raster.width * raster.height
        self._quality = config.operating_point(self._n_pixels)[1]
        self._iframe, self._pframe = iframe_settings(config), pframe_settings(config)
        self._stop = file_stop_rule(config)
        self.crf_offset = 0.0  # of the GOP that starts next: moves its Gaussians and lambda, not the steps
        # Known from frame to frame: the reference, the pictures before this one, what the coder and the
        # searches for motion and births have learnt, and what --update refit has fitted.
        self._n_frames = 0
        self._state: State | None = None
        self._last: EncodedFrame | None = None  # no B-frame
        size = raster.width, raster.height
        self._source = make_frame_store(frame_settings(config), raster)
        self._coder: FrameCoder = make_frame_coder(config.entropy, size, raster.blend)
        is_greedy = config.update == "greedy"
        self._estimator: MotionEstimator | None = None
        if config.motion and is_greedy and self._coder.motion:
            from gscodec.analysis.motion import MotionEstimator  # cv2 loads slowly

            self._estimator = MotionEstimator(size, self._coder.motion.mesh, config.motion_pixels)
        self._births = (
            Births(size, raster.blend) if config.births and is_greedy and self._coder.has_births else None
        )
        self._refitted = None if is_greedy else FittedSource(config.change_threshold)
        # The room's error says nothing where no Gaussian is there to show it.
        self._pairs = PairRule(0.0 if config.background == "none" else config.background_weight)

    @property
    def state(self) -> State | None:
        """The reference: what a decoder holds after the last frame."""
        return self._state

    def encode(self, pixels: np.ndarray, matte: np.ndarray, frame_type: FrameType) -> EncodedFrame:
        """Encode one frame.

        Args:
            pixels: R'G'B' uint8 [H, W, 3]. matte: the ROI [H, W], float32 in [0, 1] or uint8 in 255ths.
            frame_type: I, or P to change only what differs from the frame before (I if there is none), or
                RECOVERY for a P-frame that holds nothing of the pictures before it.
        Raises:
            FitError: the fit diverged.
        """
        task = FrameTask(
            number=self._n_frames,
            source=self._source,
            raster=self._raster,
            lagrangian=lagrangian(
                self._quality, self._config.lambda_scale, self.crf_offset, self._raster.blend
            ),
            budget=begin_frame(self._config.deadline_ms),
            stop=self._stop,
        )
        starts_gop = self._state is None or frame_type == FrameType.I
        self._source.take(pixels, matte, starts_gop)
        if starts_gop:
            made = self._encode_iframe(task)
        else:
            assert self._state is not None
            made = self._encode_pframe(task, self._state, frame_type)
        self._state = made.state
        self._n_frames += 1
        errors = self._source.show(dequantize(made.state), made.frame_type != FrameType.P)
        self._last = EncodedFrame(
            frame_type=made.frame_type,
            payload=made.payload,
            n_coded=made.n_coded,
            n_gaussians=len(made.state),
            iterations=made.iterations,
            seconds=task.budget.seconds_spent(),
            **errors,
        )
        return self._last

    def encode_pair(self, first: Source, second: Source) -> list[EncodedFrame]:
        """Encode two frames that are both to be P-frames, the first as a B-frame where that is good enough.

        Args:
            first, second: pixels and matte, as for `encode`.
        Returns:
            Both, in the order in which they are shown.
        Raises:
            FitError: the fit diverged.
        """
        state, last = self._state, self._last
        if state is None or last is None or not self._pairs.tries():
            return [self.encode(*source, FrameType.P) for source in (first, second)]
        memory = self._remembered()
        coded = self.encode(*second, FrameType.P)
        middle = self._encode_bframe(state, first)
        if self._pairs.accepts(last, middle, coded):
            return [middle, coded]
        self._go_back(memory)
        return [self.encode(*source, FrameType.P) for source in (first, second)]

    def _encode_bframe(self, before: State, source: Source) -> EncodedFrame:
        """The B-frame between a state and the one that a P-frame has made of it."""
        assert self._state is not None
        assert isinstance(self._coder, AdaptiveCoder)
        budget = begin_frame(None)
        params, _ = between(before, self._state, self._coder.kept)
        errors = self._source.score_between(params, *source)
        self._n_frames += 1
        return EncodedFrame(FrameType.B, b"", 0, len(params), 0, budget.seconds_spent(), **errors)

    def _remembered(self) -> _Memory:
        """What a frame is about to change, for `_go_back`."""
        assert isinstance(self._coder, AdaptiveCoder)
        estimator = self._estimator.copy() if self._estimator else None
        births = copy(self._births)
        return _Memory(self._n_frames, self._state, self._last, self._coder.copy(), estimator, births)

    def _go_back(self, memory: _Memory) -> None:
        """Forget the P-frame encoded since."""
        self._n_frames, self._state, self._last = memory.n_frames, memory.state, memory.last
        self._coder, self._estimator, self._births = memory.coder, memory.estimator, memory.births
        self._source.take_back()

    def _encode_iframe(self, task: FrameTask) -> _Coded:
        n_asked = self._config.operating_point(self._n_pixels, self.crf_offset)[0]
        fitted = fit_iframe(task, self._iframe, self._coder, n_asked, self._quality)
        state = fitted.state
        payload = self._coder.pack_iframe(state)
        self._pairs.restart()
        if self._estimator:
            self._estimator.start(task.source.pixels)
        if self._births:
            self._births.restart(max(len(state), n_asked // 2))
        if self._refitted:
            self._refitted.restart(task.source.pixels)
        return _Coded(FrameType.I, state, payload, len(state), fitted.iterations)

    def _encode_pframe(self, task: FrameTask, reference: State, frame_type: FrameType) -> _Coded:
        if self._refitted:
            base = MovedReference(reference)
            updated = refit_pframe(task, reference, self._refitted, self._config.p_iterations)
        else:
            task.source.make_target(self._pframe.stability)
            base = self._move(task, reference)
            updated = update_symbols(task, base.state, self._coder, self._pframe.update_passes)
        n_coded = int((updated.state.symbols != base.state.symbols).any(axis=1).sum())
        born = None
        if self._births:
            born = find_births(task, updated.state, self._births, self._pframe.is_room_coded)
        payload = self._coder.pack_pframe(reference, updated.state, base.motion, born)
        state = updated.state
        if born is not None:
            n_coded, state = n_coded + len(born), renewed(state, born)
        return _Coded(frame_type, state, payload, n_coded, updated.iterations)

    def _move(self, task: FrameTask, reference: State) -> MovedReference:
        """The reference moved as it pays best, and the search told what is coded of what it had found."""
        if not (self._estimator and self._coder.motion):
            return MovedReference(reference)
        search, room_weight = self._estimator.estimate, self._pframe.room_weight
        moved = move_reference(task, reference, self._coder.motion, search, room_weight)
        if moved.motion:
            self._estimator.coded(moved.motion.mesh, moved.motion.room_moves)
        else:
            self._estimator.coded(None)
        return moved
