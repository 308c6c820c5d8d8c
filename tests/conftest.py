"""What every test may use: fixed seeds, small clips made in memory, and the rasteriser's backends by name."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from hypothesis import settings

from gscodec.errors import BackendError
from gscodec.splat.raster import Rasterizer, make_rasterizer

# Before torch is loaded: on pictures this small its threads only get in each other's way.
os.environ.setdefault("OMP_NUM_THREADS", "1")

settings.register_profile("gscodec", deadline=None, derandomize=True)
settings.load_profile("gscodec")

MakeRasterizer = Callable[..., Rasterizer]  # (width, height, threads=1)

CPU_BACKENDS = ("cpu-baseline", "cpu-x86_64_v3", "cpu-x86_64_v4")
FAST_BACKENDS = (
    *(pytest.param(name, id=name) for name in CPU_BACKENDS),
    pytest.param("cuda", id="cuda", marks=pytest.mark.cuda),
    pytest.param("gsplat", id="gsplat", marks=pytest.mark.cuda),
)
TOOLS = Path(__file__).parents[1] / "tools"
CLIP_KINDS = ("disc", "gradient", "noise")


def open_backend(name: str, blend: str = "sum") -> MakeRasterizer:
    """A function (width, height, threads=1) -> Rasterizer, or a skipped test that says why there is none.

    Args:
        name: torch, cuda, gsplat, or cpu-ISA for one build of the native kernels.
    """
    if not name.startswith("cpu-"):
        make: MakeRasterizer = partial(_make_named, name, blend)
    else:
        raster_cpu = pytest.importorskip(
            "gscodec.splat.cpu.raster", reason="no native core", exc_type=ImportError
        )
        make = partial(_make_cpu, raster_cpu.CpuRasterizer, name.removeprefix("cpu-"), blend)
    try:
        make(8, 8)
    except (BackendError, ValueError) as error:
        pytest.skip(f"{name}: {error}")
    return make


@pytest.fixture
def load_tool(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], ModuleType]]:
    """A function that imports tools/NAME.py, afresh for each test: tests change what such a module holds."""
    monkeypatch.syspath_prepend(str(TOOLS))
    loaded = []

    def load(name: str) -> ModuleType:
        loaded.append(name)
        return importlib.import_module(name)

    yield load
    for name in loaded:
        sys.modules.pop(name)


def _make_named(name: str, blend: str, width: int, height: int, threads: int = 1) -> Rasterizer:
    return make_rasterizer(name, width, height, threads, blend=blend)


def _make_cpu(kind: type, isa: str, blend: str, width: int, height: int, threads: int = 1) -> Rasterizer:
    return kind(width, height, threads, isa, blend)


@pytest.fixture(params=[pytest.param("torch", id="torch"), *FAST_BACKENDS])
def backend(request: pytest.FixtureRequest) -> MakeRasterizer:
    """Makes rasterisers of one backend; the test runs once for each that works here."""
    return open_backend(request.param)


@pytest.fixture(params=FAST_BACKENDS)
def fast_backend(request: pytest.FixtureRequest) -> MakeRasterizer:
    """The same without the twin, for tests that compare with it."""
    return open_backend(request.param)


@pytest.fixture(params=CPU_BACKENDS)
def cpu_backend(request: pytest.FixtureRequest) -> MakeRasterizer:
    """The same, native core only, once for each instruction set."""
    return open_backend(request.param)


@pytest.fixture
def rng() -> np.random.Generator:
    """Random numbers that are the same in every run and do not depend on other tests."""
    return np.random.default_rng(0)


def synthetic_clip(kind: str, width: int, height: int, n_frames: int) -> list[np.ndarray]:
    """Frames made in memory, each uint8 R'G'B' [H, W, 3].

    Args:
        kind: "disc", a disc that moves over a flat ground; "gradient", a ramp that shifts;
            "noise", new random pixels in every frame.
    """
    y, x = np.mgrid[:height, :width] + 0.5
    noise = np.random.default_rng(width * height)
    frames = []
    for n in range(n_frames):
        if kind == "disc":
            center_x, center_y = width * (0.3 + 0.4 * n / max(1, n_frames - 1)), 0.5 * height
            inside = np.hypot(x - center_x, y - center_y) < 0.25 * min(width, height)
            picture = np.where(inside[..., None], [220, 150, 110], [40, 60, 90])
        elif kind == "gradient":
            picture = np.stack((255 * x / width, 255 * y / height, (8 * n + x + y) % 256), -1)
        elif kind == "noise":
            picture = noise.integers(0, 256, (height, width, 3))
        else:
            raise ValueError(f"unknown kind of clip {kind!r}")
        frames.append(picture.astype(np.uint8))
    return frames


@pytest.fixture
def make_clip() -> Callable[..., list[np.ndarray]]:
    """(kind, width, height, n_frames) -> frames: `synthetic_clip`."""
    return synthetic_clip


@pytest.fixture(params=CLIP_KINDS)
def clip(request: pytest.FixtureRequest) -> list[np.ndarray]:
    """Four frames of 33x27 pixels, once of each kind."""
    return synthetic_clip(request.param, 33, 27, 4)
