"""make_rasterizer: names, defaults, and what it says when a backend is missing."""

from __future__ import annotations

import os
import sys

import numpy as np
import pytest

from gscodec.errors import BackendError, ConfigError
from gscodec.splat import raster


def test_unknown_name_is_a_setting_error() -> None:
    with pytest.raises(ConfigError, match=r"'vulkan' is unknown; permitted: auto, torch, cpu, cuda, gsplat"):
        raster.make_rasterizer("vulkan", 8, 8)


@pytest.mark.parametrize(
    ("name", "todo"), [("torch", r"install '\.\[train\]' in"), ("cpu", "reinstall gscodec")]
)
def test_missing_backend_says_what_to_do(monkeypatch: pytest.MonkeyPatch, name: str, todo: str) -> None:
    monkeypatch.setitem(sys.modules, raster.MODULES[name], None)  # its import fails
    with pytest.raises(BackendError, match=todo):
        raster.make_rasterizer(name, 8, 8)


def test_auto_without_a_gpu_is_the_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    raster_cpu = pytest.importorskip("gscodec.splat.cpu.raster", exc_type=ImportError)
    monkeypatch.setattr(os.path, "exists", lambda path: False)
    assert isinstance(raster.make_rasterizer("auto", 8, 8), raster_cpu.CpuRasterizer)


def test_auto_with_an_unusable_gpu_warns_once_and_is_the_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    raster_cpu = pytest.importorskip("gscodec.splat.cpu.raster", exc_type=ImportError)
    monkeypatch.setattr(os.path, "exists", lambda path: True)
    monkeypatch.setitem(sys.modules, "gscodec.splat.cuda.raster", None)
    lines: list[str] = []
    rasterizer = raster.make_rasterizer("auto", 8, 8, warn=lines.append)
    assert isinstance(rasterizer, raster_cpu.CpuRasterizer)
    assert len(lines) == 1
    assert "taking the CPU" in lines[0]


def test_backends_share_one_contract(backend) -> None:
    rasterizer = backend(9, 5)
    assert (rasterizer.width, rasterizer.height) == (9, 5)
    params = np.array([[4, 2, 2, 0, 2, 1, 0, 0]], np.float32)
    assert rasterizer.render(params).dtype == np.float32
    assert rasterizer.gradients(params, np.ones((5, 9, 3), np.float32)).dtype == np.float32
