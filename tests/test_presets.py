"""Presets and reports name settings that the encoder reads, and no others."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from gscodec.config import (
    BASELINE_PRESETS,
    PRESET_VALUES,
    PRESETS,
    PROFILES,
    REFIT_VALUES,
    UPDATE_MODES,
    EncoderConfig,
    encoder_config,
)
from gscodec.container.headers import FrameType
from gscodec.encoders import make_encoder
from gscodec.errors import ConfigError
from gscodec.splat.raster import make_rasterizer

pytest.importorskip("gscodec.splat.cpu.raster", reason="no native core", exc_type=ImportError)

WIDTH, HEIGHT = 32, 32
OF_THE_CLIP = {"matte_every", "open_gop", "b_frames"}  # read before a frame reaches the encoder
FRAME_SETTINGS = {"iterations", "p_iterations", "polish_passes", "update_passes", "change_threshold"}


class Watched:
    """A config that remembers which of its settings were read."""

    def __init__(self, config: EncoderConfig) -> None:
        self._config, self.read = config, set[str]()

    def __getattr__(self, name: str) -> Any:
        self.read.add(name)
        return getattr(self._config, name)


def settings_read(config: EncoderConfig) -> set[str]:
    """What encoding two frames that differ reads of a config."""
    watched = Watched(config)
    encoder = make_encoder(watched, make_rasterizer("cpu", WIDTH, HEIGHT, 1, blend=config.blend_used))
    frames = np.random.default_rng(0).integers(0, 256, (2, HEIGHT, WIDTH, 3), np.uint8)
    for pixels, frame_type in zip(frames, (FrameType.I, FrameType.P), strict=True):
        encoder.encode(pixels, np.ones((HEIGHT, WIDTH), np.float32), frame_type)
    return watched.read


FEW = {"gaussians": 20, "iterations": 3}
# What no report may name: a setting that the way frames are coded makes idle.
IDLE = {
    ("default", "greedy"): {"p_iterations", "change_threshold"},
    ("default", "refit"): {"update_passes"},
    ("paper", None): {"polish_passes", "update_passes"},
    ("gaussianimage", None): {"p_iterations", "change_threshold", "polish_passes", "update_passes"},
}
MIXES = [("default", update) for update in UPDATE_MODES] + [(name, None) for name in PROFILES[1:]]


@pytest.mark.parametrize(("profile", "update"), MIXES)
def test_reports_name_what_is_read_and_nothing_else(profile: str, update: str | None) -> None:
    overrides = {"update": update} if update else {"quantization": "ptq"}
    config = encoder_config("fast", profile=profile, **overrides, **FEW)
    named = set(config.settings()) & FRAME_SETTINGS
    assert named <= settings_read(config)
    assert FRAME_SETTINGS - named == IDLE[profile, update]


@pytest.mark.parametrize("preset", PRESETS)
def test_every_value_of_a_preset_is_read(preset: str) -> None:
    greedy = encoder_config(preset, **FEW)
    refit = encoder_config(preset, update="refit", **FEW)
    assert set(PRESET_VALUES[preset]) - OF_THE_CLIP <= settings_read(greedy)
    assert set(REFIT_VALUES[preset]) <= settings_read(refit)
    paper = encoder_config(preset, profile="paper", **FEW)
    assert set(BASELINE_PRESETS[preset]) <= settings_read(paper)


def test_refitting_still_goes_by_the_preset() -> None:
    steps = [encoder_config(preset, update="refit").p_iterations for preset in PRESETS]
    assert steps == [5, 10, 20, 60]
    assert encoder_config("slow", update="refit", p_iterations=7).p_iterations == 7
    with pytest.raises(ConfigError):
        encoder_config("slow", update="refit", p_iterations=-1)
