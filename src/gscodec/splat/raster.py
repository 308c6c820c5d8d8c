"""The rasteriser's contract, and the choice of a backend by name.

Four backends fulfil it: `torch` (the twin: slow, obvious, the definition), `cpu` (native core), `cuda`
(kernels compiled at first use) and `gsplat` (gsplat's own kernels). tests/splat holds each against the twin.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from gscodec.errors import BackendError, ConfigError, install_extra


@dataclass(frozen=True, slots=True)
class FitSchedule:
    """How long and how boldly a fit steps.

    Attributes:
        iterations: upper bound of steps.
        rate_mean, rate_shape, rate_color: first step sizes, in units of each Gaussian's own frame
            (docs/fitting.md): no rate depends on size. rate_weight: of log-weights, octaves.
        final_rate: the rates fall along a cosine to this share of themselves.
        beta1, beta2: Adam's memories.
        target_mse: stop at this mean squared error of the ROI (colours in [0, 1]); 0: never.
        deadline_s: stop after that many seconds; 0: never. Only where time matters more than repeatability.
        plateau: stop when ten iterations gain less than this share of the loss; 0: never.
        natural: False for plain Adam on (μ, L, colour), the papers': rates in pixels and units of colour.
    """

    iterations: int
    rate_mean: float = 0.2
    rate_shape: float = 0.1
    rate_color: float = 0.03
    final_rate: float = 0.1
    beta1: float = 0.8
    beta2: float = 0.9
    target_mse: float = 0.0
    plateau: float = 0.0
    deadline_s: float = 0.0
    natural: bool = True
    rate_weight: float = 0.1


# What is drawn instead of the active Gaussians: (params [n, 8], gradient of the iteration before with respect
# to what was drawn, plain coordinates, zero at first [n, 8]) -> [n, 8], float32 all. Gradients pass through.
Project = Callable[[np.ndarray, np.ndarray], np.ndarray]


@dataclass(frozen=True, slots=True)
class Noise:
    """A Project: what is drawn is off by uniform noise, another in every iteration.

    Attributes:
        width: of the noise, float32 [n, 8 or 9]: at most half of it either way.
        random: where it comes from. The GPU makes its own, from a seed that this gives.
        least_scale: l1 and l3 are not drawn below it, pixels.
    """

    width: np.ndarray
    random: np.random.Generator
    least_scale: float

    def __call__(self, now: np.ndarray, _: np.ndarray) -> np.ndarray:
        drawn = now + self.width * (self.random.random(now.shape, np.float32) - np.float32(0.5))
        drawn[:, [2, 4]] = np.maximum(drawn[:, [2, 4]], np.float32(self.least_scale))
        return np.asarray(drawn, np.float32)


@dataclass(frozen=True, slots=True)
class FitResult:
    """What a fit did: steps taken, Σ weight·d² and ROI mean squared error at the last evaluation."""

    iterations: int
    loss: float
    roi_mse: float
    finite: bool


@dataclass(frozen=True, slots=True)
class Place:
    """Where a rasteriser works: number of the GPU, and how many rasterisers share it. CPUs have no places."""

    ordinal: int = 0
    sharers: int = 1


class Rasterizer(Protocol):
    """Draws and fits sets of Gaussians on pictures of one size. Not for concurrent calls.

    `params` are float32 [N, 8], or [N, 9] under the normalised blend (gaussians.py). `active` are uint32
    indices or None for all.
    """

    width: int
    height: int
    blend: str

    @property
    def backend(self) -> str:
        """Its name: what make_rasterizer was asked for, or what that came to."""

    def render(self, params: np.ndarray) -> np.ndarray:
        """The picture, float32 [H, W, 3], neither clamped nor rounded; means are counted from the ground."""

    def render_rgb8(self, params: np.ndarray, ground: np.ndarray | None = None) -> np.ndarray:
        """8-bit picture [H, W, 3]. `ground`: opponent colour that others are counted from, float32 [3]."""

    def render_person(
        self,
        params: np.ndarray,
        is_room: np.ndarray,
        background: np.ndarray,
        ground: np.ndarray | None = None,
    ) -> tuple[np.ndarray, np.ndarray]:
        """What is not the room's alone over `background` (float32 [3], in [0, 1]), and its alpha [H, W]."""

    def gradients(self, params: np.ndarray, residual: np.ndarray) -> np.ndarray:
        """The eight sums of docs/fitting.md per Gaussian, [N, 8], for ∂loss/∂picture = residual [H, W, 3]."""

    def target(
        self,
        picture: np.ndarray,
        weight: np.ndarray,
        matte: np.ndarray | None = None,
        matte_weight: float = 0.0,
    ) -> Any:
        """Prepare a picture float32 [H, W, 3] and its pixel weights float32 [H, W] for fitting.

        Args:
            matte: the person's share of each pixel, float32 [H, W]; the loss then has
                matte_weight·(share − matte)². Only under the normalised blend.
        """

    def fit(
        self,
        target: Any,
        params: np.ndarray,
        active: np.ndarray | None,
        schedule: FitSchedule,
        project: Project | None = None,
        is_room: np.ndarray | None = None,
    ) -> FitResult:
        """Move the active Gaussians towards the target, in place; draw what `project` makes of them.

        Args:
            is_room: bool [N], where the target has a matte.
        Raises:
            BackendError: `project` or plain Adam is wanted and this backend has none.
        """

    def solve_colors(
        self, target: Any, params: np.ndarray, active: np.ndarray | None, sweeps: int, ridge: float
    ) -> float:
        """Set the active colours to weighted least squares, in place; Σ weight·d² before."""


# What each backend is called, and its module.
MODULES = {
    "torch": "gscodec.splat.raster_torch",
    "cpu": "gscodec.splat.cpu.raster",
    "cuda": "gscodec.splat.cuda.raster",
    "gsplat": "gscodec.splat.raster_gsplat",
}


def make_rasterizer(
    name: str,
    width: int,
    height: int,
    threads: int = 0,
    warn: Callable[[str], None] | None = None,
    place: Place | None = None,
    blend: str = "sum",
) -> Rasterizer:
    """Make the rasteriser called `name` for pictures of one size.

    Args:
        name: torch, cpu, cuda, gsplat, or auto (cuda where it works, else cpu with one line to `warn`
            if a GPU is there but unusable).
        threads: CPU threads; 0 takes one per core.
        place: None is the first GPU, for this rasteriser alone.
        blend: of gaussians.BLENDS.
    Raises:
        ConfigError: unknown name. BackendError: that backend cannot run here; says what to do.
    """
    name = usable_backend(name, warn)
    if name == "cuda":
        return _load(name).make(width, height, place or Place(), blend)
    return _load(name).make(width, height, threads or os.cpu_count() or 1, blend)


def usable_backend(name: str, warn: Callable[[str], None] | None = None) -> str:
    """What `auto` comes to on this machine: cuda where its kernels load, else cpu; other names stay.

    Args:
        warn: gets one line if a GPU is there but unusable.
    Raises:
        ConfigError: unknown name.
    """
    if name != "auto":
        if name not in MODULES:
            raise ConfigError(f"--backend {name!r} is unknown; permitted: auto, {', '.join(MODULES)}")
        return name
    if os.path.exists("/dev/nvidiactl"):  # looked at first: importing CUDA's packages costs a second
        try:
            _load("cuda").check()
            return "cuda"
        except BackendError as error:
            if warn:
                warn(f"the GPU cannot be used, taking the CPU: {error}")
    return "cpu"


def n_devices(name: str) -> int:
    """Places of a backend: GPUs that are visible, 1 for all but cuda."""
    return max(1, _load(name).n_devices()) if name == "cuda" else 1


def _load(name: str) -> Any:
    try:
        return importlib.import_module(MODULES[name])
    except ImportError as error:
        extra = {"torch": "train", "cpu": None}.get(name, name)
        todo = install_extra(extra) if extra else "reinstall gscodec, its native core is missing"
        raise BackendError(f"backend {name!r} cannot be loaded ({error}); {todo}") from error
