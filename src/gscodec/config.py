"""Settings of encoder and decoder: plain frozen data, one list of rules, presets as values.

Nothing is built before `EncoderConfig.validate` passed. docs/presets.md lists what each preset costs.
"""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import dataclass, fields, replace
from typing import Any

from gscodec.errors import ConfigError

ROI_MODES = ("auto", "human", "portrait", "full")  # or the path of a matte file
GAUSSIAN_ROOMS = ("coarse", "none")  # what Gaussians alone can say of a room
BACKGROUND_MODES = (*GAUSSIAN_ROOMS, "hybrid")
INIT_MODES = ("superpixels", "random", "fast-slic")
BACKENDS = ("auto", "cpu", "cuda", "torch", "gsplat")
PROFILES = ("default", "paper", "gaussianimage")
ENTROPY_CODERS = ("adaptive", "ans", "bits-back", "zstd")
QUANTIZATIONS = ("ptq", "qat")
UPDATE_MODES = ("greedy", "refit")
BLENDS = ("normalised", "sum")
PRESETS = ("realtime", "fast", "medium", "slow")

CRF_CENTER = 26.0  # where quality is 1 and 640x360 gets GAUSSIANS_AT_CENTER
GAUSSIANS_AT_CENTER = {"normalised": 750, "sum": 1000}  # by blend: a mean needs fewer for the same quality
QUALITY_ONE = 256  # quality is a whole number of 1/256: what the sequence header can say
MAX_PIXELS = 1 << 26
MAX_HOLD = 64  # code values
MAX_GAUSSIANS = 1 << 20


@dataclass(frozen=True, slots=True)
class EncoderConfig:
    """How a clip is encoded. Field comments give unit and meaning; `validate` gives the ranges."""

    # One number for all of quality: lower is better and larger; 6 more halve the Gaussians.
    # None: what `gaussians` amounts to, or CRF_CENTER.
    crf: float | None = None

    # What is coded
    roi: str = "auto"  # a name of ROI_MODES or the path of a matte file
    matte_model: str | None = None  # ONNX file for roi="human", or u2net_human_seg: rembg's
    matte_every: int = 1  # frames that one matte may serve while nothing moves
    blend: str | None = None  # "normalised" or "sum"; None: normalised where the other settings permit it
    background: str = "coarse"  # "coarse": the room is coded too; "none": only the person
    background_share: float = 0.2  # of the Gaussians, for the room
    background_weight: float = 0.2  # weight of a room pixel in the loss; a pixel of the ROI has 1
    separate_room: bool = True  # blend "sum": fit the room by itself, so that the person can be drawn alone
    gaussians: int | None = None  # of an I-frame before pruning, person and room together; None: from crf
    gop_length: int = 60  # frames from one I-frame to the next, the I-frame counted
    scene_cut: bool = True  # a cut starts a GOP early
    open_gop: bool = False  # a GOP goes on past its length, but not five times, while it holds its quality
    change_threshold: float = 6.0  # mean |difference| of a pixel, in code values, that marks it as changed

    # How it is fitted
    init: str = "superpixels"
    detail: float = 1.0  # 0: superpixels of equal area; 1: of equal gradient energy
    iterations: int = 150  # I-frame, upper bound
    noise_iterations: int = 0  # of an I-frame, after those: with the noise of rounding; blend normalised only
    p_iterations: int = 20  # P-frame, upper bound, where `refits`
    plateau: float = 0.0  # a fit ends when ten steps gain less than this share of its loss; 0: never
    target_psnr: float | None = None  # ROI-PSNR the decoded clip is to have, dB, instead of crf
    bitrate: float | None = None  # kb/s the file is to have, instead of crf
    deadline_ms: float | None = None  # time a frame may take: one at a time, all cores on it
    backend: str = "auto"
    threads: int = 0  # 0: one per core
    devices: str = ""  # numbers of the GPUs to use, "0,1"; "": all that are visible

    # How it is coded
    profile: str = "default"  # "paper" and "gaussianimage" are baselines: PROFILE_VALUES, docs/bits.md
    quantization: str = "ptq"  # the baselines' steps: "ptq" calibrated beforehand, "qat" learned in the fit
    quality: float | None = None  # on every quantiser step, larger is coarser; None: from crf
    update: str = "greedy"  # P-frames: "greedy" integer updates, or the paper's "refit" of what changed
    polish_passes: int = 4  # greedy updates of an I-frame's rounded symbols, upper bound
    update_passes: int = 3  # of a P-frame's symbols, upper bound
    hold: int = 2  # code values by which a decoder lets the last frame's green stand; 0: not at all
    stability: float = 0.0  # weight of standing still where the source does; the picture has 1
    motion: bool = True  # P-frames may move Gaussians by a mesh of displacements first
    motion_pixels: int = 24_000  # that a step of the search for motion looks at, where there are more
    births: bool = True  # P-frames may add Gaussians where something appears
    b_frames: bool = False  # a frame may be the mean of those around it, for nothing
    lambda_scale: float = 1.0  # on what a bit must buy; docs/bits.md
    entropy: str = "adaptive"
    seed: int = 0  # of init="random"

    def validate(self) -> None:
        """Raise ConfigError for the first setting outside its range."""
        _one_of("background", self.background, BACKGROUND_MODES)
        if self.background == "hybrid" and self.bitrate is not None:
            raise ConfigError("--bitrate does not count the room's video; permitted with hybrid: --crf")
        _one_of("init", self.init, INIT_MODES)
        _one_of("backend", self.backend, BACKENDS)
        _one_of("profile", self.profile, PROFILES)
        _one_of("quantization", self.quantization, QUANTIZATIONS)
        _one_of("entropy", self.entropy, ENTROPY_CODERS)
        if self.profile == "default":
            _one_of("quantization", self.quantization, ("ptq",), " under --profile default")
        else:
            _one_of("entropy", self.entropy, ENTROPY_CODERS[1:], f" under --profile {self.profile}")
        _one_of("update", self.update, UPDATE_MODES)
        if self.blend is not None:
            _one_of("blend", self.blend, BLENDS)
            if self.blend == "normalised" and (other := self._sums_only()):
                raise ConfigError(f"--blend normalised does not go with {other}; permitted: --blend sum")
        if self.crf is not None:
            _within("crf", self.crf, 0.0, 51.0)
        if self.gaussians is not None:
            _within("gaussians", self.gaussians, 1, MAX_GAUSSIANS)
        _within("matte-every", self.matte_every, 1, 1 << 16)
        _within("gop", self.gop_length, 1, 1 << 16)
        _within("iterations", self.iterations, 0, 100_000)
        _within("noise-iterations", self.noise_iterations, 0, 100_000)
        if self.noise_iterations and self.blend_used == "sum":
            raise ConfigError(
                f"--noise-iterations {self.noise_iterations} does not go with --blend sum; permitted: 0"
            )
        _within("p-iterations", self.p_iterations, 0, 100_000)
        _within("background-share", self.background_share, 0.0, 0.9)
        _within("background-weight", self.background_weight, 0.0, 1.0)
        _within("change-threshold", self.change_threshold, 0.0, 255.0)
        _within("plateau", self.plateau, 0.0, 1.0)
        _within("detail", self.detail, 0.0, 2.0)
        if self.open_gop and self.profile == "gaussianimage":
            raise ConfigError("--open-gop does not go with --profile gaussianimage, which has no P-frames")
        if self.quality is not None:
            _within("quality", self.quality, 0.05, 20.0)
        _within("polish-passes", self.polish_passes, 0, 10_000)
        _within("update-passes", self.update_passes, 0, 10_000)
        _within("motion-pixels", self.motion_pixels, 1, MAX_PIXELS)
        _within("hold", self.hold, 0, MAX_HOLD)
        if self.hold and self.profile != "default":
            raise ConfigError(f"--hold {self.hold} does not go under --profile {self.profile}; permitted: 0")
        _within("stability", self.stability, 0.0, 100.0)
        _within("lambda-scale", self.lambda_scale, 0.01, 100.0)
        _within("threads", self.threads, 0, 256)
        if self.devices and self.backend not in ("auto", "cuda"):
            raise ConfigError(f"--devices {self.devices!r} does not go with --backend {self.backend}")
        self.device_numbers()
        if self.target_psnr is not None:
            _within("target-psnr", self.target_psnr, 5.0, 80.0)
        if self.bitrate is not None:
            _within("bitrate", self.bitrate, 1.0, 1e6)
            if self.target_psnr is not None:
                raise ConfigError("--bitrate and --target-psnr exclude each other; give one of them")
        if self.deadline_ms is not None:
            _within("deadline", self.deadline_ms, 1.0, 60_000.0)

    @property
    def blend_used(self) -> str:
        """How colours are blended: what `blend` asks for, or what goes with the other settings."""
        return self.blend or ("normalised" if not self._sums_only() else "sum")

    def _sums_only(self) -> str:
        """The setting that only the sum goes with; "" where there is none."""
        if self.profile != "default":
            return f"--profile {self.profile}"
        if self.entropy != "adaptive":
            return f"--entropy {self.entropy}"
        return "" if self.update == "greedy" else f"--update {self.update}"

    @property
    def refits(self) -> bool:
        """Whether P-frames are fitted, the paper's way; else they are updated greedily, or there are none."""
        return self.profile == "paper" or (self.profile == "default" and self.update == "refit")

    @property
    def makes_pairs(self) -> bool:
        """Whether two frames are looked at together, so that the first may be a B-frame.

        Not where frames are encoded as they come, nor where one stands still after what was shown before it.
        """
        is_able = self.profile == "default" and self.entropy == "adaptive" and self.update == "greedy"
        return self.b_frames and is_able and self.deadline_ms is None and not self.stability

    def settings(self) -> dict[str, Any]:
        """Every setting that can matter, by name; a report that named the others would mislead."""
        idle = set() if self.refits else {"p_iterations", "change_threshold"}
        if self.refits or self.profile != "default":
            idle |= {"update_passes"}
        if self.profile != "default":
            idle |= {"polish_passes"}
        if self.blend_used == "sum":
            idle |= {"noise_iterations"}
        return {field.name: getattr(self, field.name) for field in fields(self) if field.name not in idle}

    def device_numbers(self) -> tuple[int, ...]:
        """GPUs of `devices`; none where all visible ones are meant.

        Raises:
            ConfigError: what it says is no list of different numbers.
        """
        parts = self.devices.split(",") if self.devices else []
        if any(not (p.isascii() and p.isdigit() and len(p) < 5) for p in parts) or len(
            {int(p) for p in parts}
        ) < len(parts):
            raise ConfigError(f"--devices {self.devices!r} is no list of GPUs; expected numbers such as 0,1")
        return tuple(int(p) for p in parts)

    def operating_point(self, n_pixels: int, offset: float = 0.0) -> tuple[int, float]:
        """Gaussians of an I-frame and quality factor: as given, else worked out from crf or from each other.

        Args:
            offset: on crf, of one GOP (encode.rate.RateControl).
            n_pixels: of the picture; the number of Gaussians grows with its square root, because a larger
                picture of the same scene is smoother per pixel.
        """
        n_at_center = GAUSSIANS_AT_CENTER[self.blend_used] * (n_pixels / (640 * 360)) ** 0.5
        if self.crf is None and self.gaussians is not None:
            octaves = math.log2(self.gaussians / n_at_center)
        else:
            octaves = (CRF_CENTER - (CRF_CENTER if self.crf is None else self.crf) - offset) / 6
        gaussians = self.gaussians or max(1, min(MAX_GAUSSIANS, round(n_at_center * 2.0**octaves)))
        quality = self.quality or min(20.0, max(0.05, 2.0 ** (-octaves * 0.6)))
        return gaussians, max(1, round(quality * QUALITY_ONE)) / QUALITY_ONE


# A preset is nothing but values for options that exist; docs/presets.md has what each costs and gives.
PRESET_VALUES: dict[str, dict[str, Any]] = {
    "realtime": {
        "iterations": 30,
        "noise_iterations": 0,
        "polish_passes": 1,
        "update_passes": 1,
        "matte_every": 4,
        "births": False,
        "motion_pixels": 6_000,
    },
    "fast": {
        "iterations": 30,
        "noise_iterations": 90,
        "polish_passes": 2,
        "update_passes": 2,
        "b_frames": True,
    },
    "medium": {
        "iterations": 60,
        "noise_iterations": 240,
        "polish_passes": 4,
        "update_passes": 6,
        "open_gop": True,
        "b_frames": True,
    },
    "slow": {
        "iterations": 60,
        "noise_iterations": 1200,
        "polish_passes": 10,
        "update_passes": 10,
        "open_gop": True,
        "b_frames": True,
    },
}
# What a preset adds for P-frames that are fitted and not updated greedily.
REFIT_VALUES: dict[str, dict[str, Any]] = {
    "realtime": {"p_iterations": 5},
    "fast": {"p_iterations": 10},
    "medium": {"p_iterations": 20},
    "slow": {"p_iterations": 60},
}


# What a profile changes; its iterations are the papers' "fast" and "slow" settings.
PROFILE_VALUES: dict[str, dict[str, Any]] = {
    "default": {},
    "paper": {
        "entropy": "bits-back",
        "update": "refit",
        "change_threshold": 14.0,
        "detail": 0.0,
        "motion": False,
        "hold": 0,
    },
    "gaussianimage": {
        "entropy": "ans",
        "init": "random",
        "gop_length": 1,
        "motion": False,
        "hold": 0,
        "quantization": "qat",
    },
}
# What a blend changes. Sums tremble more, so that more is held, and do not draw a room for so little.
BLEND_VALUES: dict[str, dict[str, Any]] = {
    "normalised": {},
    "sum": {
        "background_share": 0.15,
        "background_weight": 0.05,
        "hold": 5,
        "detail": 1.5,
        "noise_iterations": 0,
    },
}
BASELINE_PRESETS: dict[str, dict[str, Any]] = {
    "realtime": {"iterations": 100, "p_iterations": 15},
    "fast": {"iterations": 1000, "p_iterations": 30},
    "medium": {"iterations": 1000, "p_iterations": 30},
    "slow": {"iterations": 10_000, "p_iterations": 100, "quantization": "qat"},
}


def encoder_config(preset: str = "medium", **overrides: Any) -> EncoderConfig:
    """Make a validated EncoderConfig from a preset's values, the profile's and the caller's own on top.

    Raises:
        ConfigError: unknown preset or option, or a value outside its range.
    """
    _one_of("preset", preset, PRESETS)
    known = {f.name for f in fields(EncoderConfig)}
    for name in overrides:
        if name not in known:
            raise ConfigError(f"unknown option {name!r}; permitted: {', '.join(sorted(known))}")
    profile = overrides.get("profile", "default")
    _one_of("profile", profile, PROFILES)
    values = PRESET_VALUES[preset] if profile == "default" else BASELINE_PRESETS[preset]
    if profile == "default" and overrides.get("update") == "refit":
        values = values | REFIT_VALUES[preset]
    asked = replace(EncoderConfig(), **{**values, **PROFILE_VALUES[profile], **overrides})
    blend = BLEND_VALUES.get(asked.blend_used, {})  # an unknown one is named by validate
    config = replace(EncoderConfig(), **{**values, **blend, **PROFILE_VALUES[profile], **overrides})
    config.validate()
    return config


@dataclass(frozen=True, slots=True)
class DecoderLimits:
    """What a decoder is willing to hold; tested right after a header, before anything is allocated."""

    max_pixels: int = MAX_PIXELS
    max_gaussians: int = MAX_GAUSSIANS
    max_packet_bytes: int = 1 << 26
    max_streams: int = 32


def _one_of(name: str, value: str, permitted: Collection[str], where: str = "") -> None:
    if value not in permitted:
        fault = "does not go" if where else "is unknown"
        raise ConfigError(f"--{name} {value!r} {fault}{where}; permitted: {', '.join(permitted)}")


def _within(name: str, value: float, low: float, high: float) -> None:
    if not low <= value <= high:  # also catches NaN
        raise ConfigError(f"--{name} {value:.12g} is out of range; permitted: {low:.12g} to {high:.12g}")
