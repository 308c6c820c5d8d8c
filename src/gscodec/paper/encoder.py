"""The encoders of the profiles `paper` and `gaussianimage`: the baselines, run through our kernels.

paper           superpixel start; plain Adam on mean, Cholesky factor and colour; GaussianImage's quantisers,
                calibrated beforehand (PTQ) or learned in the second half of the fit (QAT); P-frames refit the
                Gaussians that influence changed pixels and send those again (paper §3.2, §3.3)
gaussianimage   random start, every frame coded alone

What of it differs from the papers, in their favour, is in docs/bits.md. Sibling: `encode.encoder`.
"""

from __future__ import annotations

import math
import time

import numpy as np

from gscodec.analysis.seeds import KMEANS_ITERATIONS, nearest_seeds
from gscodec.analysis.superpixel import WIDEN, initial_gaussians
from gscodec.config import EncoderConfig
from gscodec.container.headers import FrameType
from gscodec.encode.encoded import EncodedFrame
from gscodec.encode.frame_store import look_at, score
from gscodec.encode.refit import FittedSource
from gscodec.encode.settings import frame_settings, room_share
from gscodec.errors import FitError
from gscodec.paper.frames import PaperCoder
from gscodec.paper.qat import LearnedQuantizer
from gscodec.paper.quantize import PaperState, calibrated_tables, dequantize, quantize
from gscodec.splat.raster import FitSchedule, Project, Rasterizer

PAPER_RATES = (0.3, 0.15, 0.015)  # mean and factor in pixels, colour; along a cosine to a tenth
# GaussianImage steps 1e-3 in every parameter, the mean in shares of half the picture. Ten times that for
# factor and colour brings it to 30 dB in a fifth of the iterations, so that is what it gets.
GAUSSIANIMAGE_MEAN_RATE = 1e-3
GAUSSIANIMAGE_RATE = 1e-2
BETA1, BETA2 = 0.9, 0.999


def plain_schedule(profile: str, size: tuple[int, int], iterations: int) -> FitSchedule:
    """A baseline's plain Adam on pictures of `size`, width and height."""
    rates, final_rate = PAPER_RATES, 0.1
    if profile == "gaussianimage":
        mean_rate = GAUSSIANIMAGE_MEAN_RATE * sum(size) / 4
        rates, final_rate = (mean_rate, GAUSSIANIMAGE_RATE, GAUSSIANIMAGE_RATE), 1.0
    return FitSchedule(iterations, *rates, final_rate, BETA1, BETA2, natural=False)


class PaperEncoder:
    """Encodes successive frames of one size, as `encode.encoder.Encoder` does."""

    def __init__(self, config: EncoderConfig, raster: Rasterizer) -> None:
        self._config = config
        self._raster = raster
        self._size = (raster.width, raster.height)
        self._alone = config.profile == "gaussianimage"
        self._coder = PaperCoder(config.entropy, self._size, p_frames=not self._alone)
        self._state: PaperState | None = None
        self._fitted = FittedSource(config.change_threshold)
        self._frame_settings = frame_settings(config)
        self._n_frames = 0
        self.crf_offset = 0.0  # of the GOP that starts next: moves its number of Gaussians

    @property
    def state(self) -> PaperState | None:
        """The reference: what a decoder holds after the last frame."""
        return self._state

    def encode(self, pixels: np.ndarray, matte: np.ndarray, frame_type: FrameType) -> EncodedFrame:
        """Encode one frame; arguments and errors are those of `encode.encoder.Encoder.encode`."""
        began = time.perf_counter()
        picture, matte, weight = look_at(pixels, matte, self._frame_settings)
        target = self._raster.target(picture, weight)
        if self._state is None or self._alone or frame_type == FrameType.I:
            frame_type = FrameType.I
            state, iterations = self._fit_iframe(pixels, picture, matte, target)
            payload, n_coded = self._coder.pack_iframe(state), len(state)
        else:
            state, iterations = self._refit_pframe(self._state, pixels, target)
            payload = self._coder.pack_pframe(self._state, state)
            n_coded = int((state.symbols != self._state.symbols).any(axis=1).sum())
        self._state = state
        self._n_frames += 1
        decoded = self._raster.render_rgb8(dequantize(state))
        return EncodedFrame(
            frame_type=frame_type,
            payload=payload,
            n_coded=n_coded,
            n_gaussians=len(state),
            iterations=iterations,
            seconds=time.perf_counter() - began,
            **score(decoded, pixels, matte),
        )

    def _fit_iframe(
        self, pixels: np.ndarray, picture: np.ndarray, matte: np.ndarray, target: object
    ) -> tuple[PaperState, int]:
        config = self._config
        start = initial_gaussians(
            pixels,
            matte >= 0.5,
            config.operating_point(matte.size, self.crf_offset)[0],
            nearest_seeds(picture, config.detail, KMEANS_ITERATIONS),
            room_share=room_share(config),
            init=config.init,
            seed=config.seed,
        )
        params = start.params
        if config.init != "random":
            params[:, 2:5] /= WIDEN  # the paper takes a segment's own covariance
        iterations = config.iterations
        if config.quantization == "qat":
            steps = self._fit(target, params, None, iterations - iterations // 2)
            learned = LearnedQuantizer(params, self._size, iterations // 2)
            steps += self._fit(target, params, None, iterations // 2, learned)
            tables, codes = learned.tables, learned.codes(params)
        else:
            steps = self._fit(target, params, None, iterations)
            tables = calibrated_tables(params)
            codes = quantize(params, tables, self._size)
        self._fitted.restart(pixels)
        return PaperState(codes, start.is_room, tables, self._size), steps

    def _refit_pframe(
        self, reference: PaperState, pixels: np.ndarray, target: object
    ) -> tuple[PaperState, int]:
        state, params = reference.copy(), dequantize(reference)
        changed = self._fitted.changes(self._raster, params, pixels)
        if changed is None:
            return state, 0
        active = changed.gaussians
        iterations, tables = self._config.p_iterations, reference.tables
        if self._config.quantization == "qat":
            steps = self._fit(target, params, active, iterations - iterations // 2)
            rounded = LearnedQuantizer(params[active], self._size, iterations // 2, tables)
            steps += self._fit(target, params, active, iterations // 2, rounded)
            state.symbols[active] = rounded.codes(params[active])
        else:
            steps = self._fit(target, params, active, iterations)
            state.symbols[active] = quantize(params[active], tables, self._size)
        self._fitted.fitted(changed, pixels)
        return state, steps

    def _fit(
        self,
        target: object,
        params: np.ndarray,
        active: np.ndarray | None,
        iterations: int,
        project: Project | None = None,
    ) -> int:
        schedule = plain_schedule(self._config.profile, self._size, iterations)
        result = self._raster.fit(target, params, active, schedule, project)
        if not result.finite or not math.isfinite(result.loss):
            raise FitError(
                f"the fit of frame {self._n_frames} diverged at iteration {result.iterations}; "
                "please report the clip"
            )
        return result.iterations
