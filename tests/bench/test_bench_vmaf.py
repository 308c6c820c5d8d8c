"""VMAF: the pair of videos through a filter, the log, and what is said where FFmpeg has no libvmaf."""

from __future__ import annotations

import json

import av
import numpy as np
import pytest

from gscodec.bench import vmaf
from gscodec.errors import MediaError


def pictures(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    original = rng.integers(60, 190, (6, 64, 96, 3)).astype(np.uint8)
    return original, np.clip(original + rng.normal(0, 12, original.shape), 0, 255).astype(np.uint8)


def test_a_filter_sees_both_videos(rng, tmp_path) -> None:
    """FFmpeg's ssim takes two videos as libvmaf does, and every build has it."""
    original, damaged = pictures(rng)
    found = {}
    for name, decoded in (("same", original), ("damaged", damaged)):
        log = tmp_path / f"{name}.log"
        pair = vmaf.Pair(96, 64, "ssim", f"stats_file={log}")
        for a, b in zip(decoded, original, strict=True):
            pair.add(a, b)
        pair.close()
        lines = log.read_text().splitlines()
        assert len(lines) == 6
        found[name] = float(lines[3].split("All:")[1].split()[0])
    assert found["same"] == 1
    assert found["damaged"] < 0.99


def test_the_mean_is_read_from_the_log() -> None:
    log = {"frames": [], "pooled_metrics": {"vmaf": {"min": 1.0, "mean": 87.25}}}
    assert vmaf.score_of(json.dumps(log)) == 87.25


@pytest.mark.parametrize("log", ["", "{", "[]", '{"pooled_metrics": {}}', '{"pooled_metrics": {"vmaf": 3}}'])
def test_a_log_without_a_score_is_an_error(log: str) -> None:
    with pytest.raises(MediaError, match="no score"):
        vmaf.score_of(log)


def test_libvmaf_is_noticed(monkeypatch) -> None:
    monkeypatch.setattr(av.filter, "filters_available", {"ssim"})
    assert not vmaf.vmaf_is_there()
    monkeypatch.setattr(av.filter, "filters_available", {"libvmaf"})
    assert vmaf.vmaf_is_there()


@pytest.mark.skipif(not vmaf.vmaf_is_there(), reason=vmaf.NOTE)
def test_vmaf_falls_with_damage(rng) -> None:
    original, damaged = pictures(rng)
    scores = []
    for decoded in (original, damaged):
        meter = vmaf.VmafMeter(96, 64)
        for a, b in zip(decoded, original, strict=True):
            meter.add(a, b)
        scores.append(meter.score())
    assert scores[0] > 90 > scores[1]
