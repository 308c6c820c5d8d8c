"""The native module's face: wrong arrays are named and rejected, hostile numbers do not crash it."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from gscodec.splat.raster import FitSchedule

_native = pytest.importorskip("gscodec.splat._native")
analysis = pytest.importorskip("gscodec.analysis._native")
raster_cpu = pytest.importorskip("gscodec.splat.cpu.raster")

W, H = 12, 9
PARAMS = np.tile(np.array([6, 4, 3, 0, 2, 0.5, 0.1, 0.1], np.float32), (4, 1))
PICTURE = np.ones((H, W, 3), np.float32)
PLANE = np.ones((H, W), np.float32)
MASK = np.ones((H, W), np.uint8)
LABELS = np.zeros((H, W), np.int32)
PIXELS = np.zeros((H, W, 3), np.uint8)
COUNTS = np.array([3], np.int32)
MATRIX = np.eye(3, dtype=np.float32)


@pytest.fixture
def cpu() -> raster_cpu.CpuRasterizer:
    return raster_cpu.CpuRasterizer(W, H)


@pytest.mark.parametrize(
    "params",
    [PARAMS[:, :7].copy(), PARAMS[0], PARAMS[None], PARAMS.astype(str), PARAMS.tolist(), None],
    ids=["seven columns", "one dimension", "three dimensions", "text", "list", "none"],
)
def test_wrong_params_are_rejected(cpu, params: object) -> None:
    calls: list[Callable[[], object]] = [
        lambda: cpu.render(params),
        lambda: cpu.render_rgb8(params),
        lambda: cpu.gradients(params, PICTURE),
        lambda: cpu.fit(cpu.target(PICTURE, PLANE), params, None, FitSchedule(1)),
        lambda: cpu.solve_colors(cpu.target(PICTURE, PLANE), params, None, 1, 0.0),
    ]
    for call in calls:
        with pytest.raises((TypeError, ValueError), match=r"incompatible function arguments|7 numbers per"):
            call()


@pytest.mark.parametrize(
    "params",
    [PARAMS.astype(np.float64), np.asfortranarray(PARAMS), PARAMS[::2]],
    ids=["float64", "fortran", "strided"],
)
def test_fit_refuses_arrays_it_could_only_fit_in_a_copy(cpu, params: np.ndarray) -> None:
    target = cpu.target(PICTURE, PLANE)
    with pytest.raises(TypeError, match="incompatible function arguments"):
        cpu.fit(target, params, None, FitSchedule(1))
    with pytest.raises(TypeError, match="incompatible function arguments"):
        cpu.solve_colors(target, params, None, 1, 0.0)


def test_fit_refuses_a_read_only_array(cpu) -> None:
    params = PARAMS.copy()
    params.setflags(write=False)
    with pytest.raises(TypeError, match="incompatible function arguments"):
        cpu.fit(cpu.target(PICTURE, PLANE), params, None, FitSchedule(1))


def test_wrong_sizes_are_named(cpu) -> None:
    for name, call in {
        "residual is 9x12, expected 12x9": lambda: cpu.gradients(PARAMS, PICTURE.transpose(1, 0, 2).copy()),
        "picture is 12x8, expected 12x9": lambda: cpu.target(PICTURE[:8], PLANE),
        "weight is 11x9, expected 12x9": lambda: cpu.target(PICTURE, PLANE[:, :11].copy()),
        "region is 11x9, expected 12x9": lambda: analysis.nearest_seeds(
            PICTURE, MASK[:, 1:].copy(), PLANE, COUNTS
        ),
        "density is 12x1, expected 12x9": lambda: analysis.nearest_seeds(PICTURE, MASK, PLANE[:1], COUNTS),
        "region is 12x8, expected 12x9": lambda: analysis.connect(LABELS.copy(), MASK[:8], COUNTS),
        "labels is 12x2, expected 12x9": lambda: analysis.gaussians_of_segments(
            PIXELS, LABELS[:2], 1, 1.0, MATRIX
        ),
    }.items():
        with pytest.raises(ValueError, match=name):
            call()


def test_wrong_numbers_are_rejected() -> None:
    for width, height, threads in ((0, 5, 1), (5, -1, 1), (5, 5, 0)):
        with pytest.raises(ValueError, match=r"must be positive|threads is 0"):
            raster_cpu.CpuRasterizer(width, height, threads)
    with pytest.raises(ValueError, match="cannot run kernels 'mmx'"):
        raster_cpu.CpuRasterizer(5, 5, 1, "mmx")
    with pytest.raises(ValueError, match="must be positive"):
        analysis.nearest_seeds(PICTURE, MASK, PLANE, COUNTS, 0)
    for counts, complaint in (([-1], "must not be negative"), ([109], "more segments"), ([0] * 256, "more")):
        with pytest.raises(ValueError, match=complaint):
            analysis.nearest_seeds(PICTURE, MASK, PLANE, np.array(counts, np.int32))
    for label in (3, -2):
        with pytest.raises(IndexError, match="label is past its count"):
            analysis.connect(np.full_like(LABELS, label), MASK, COUNTS)
    with pytest.raises(IndexError, match="label is past count"):
        analysis.gaussians_of_segments(PIXELS, LABELS + 3, 3, 1.0, MATRIX)


def test_negative_active_index_is_rejected(cpu) -> None:
    with pytest.raises((IndexError, TypeError)):
        cpu.fit(cpu.target(PICTURE, PLANE), PARAMS.copy(), np.array([-1]), FitSchedule(1))


def test_negative_iterations_do_nothing(cpu) -> None:
    params = PARAMS.copy()
    assert cpu.fit(cpu.target(PICTURE, PLANE), params, None, FitSchedule(-1)).iterations == 0
    np.testing.assert_array_equal(params, PARAMS)


def test_every_schedule_field_reaches_the_native_options() -> None:
    options = _native.FitOptions()
    for name in FitSchedule.__dataclass_fields__:
        assert hasattr(options, name), name


def test_targets_outlive_their_rasterizer() -> None:
    target = raster_cpu.CpuRasterizer(W, H).target(PICTURE, PLANE)
    assert target.roi_pixels == W * H
    assert raster_cpu.CpuRasterizer(W, H, 2).fit(target, PARAMS.copy(), None, FitSchedule(2)).iterations == 2


def test_hostile_numbers_do_not_crash(cpu_backend, rng: np.random.Generator) -> None:
    """A broken stream or a diverged fit may bring anything; the result may be NaN but must come back."""
    values = np.array(
        [0, -1, 0.3, 5, 1e-38, 1e10, 1e19, 1e30, -1e30, 3e38, np.inf, -np.inf, np.nan], np.float32
    )
    rasterizer = cpu_backend(W, H, threads=2)
    residual = rng.normal(0, 1, (H, W, 3)).astype(np.float32)
    for _ in range(40):
        params = rng.choice(values, (60, 8))
        params[:, :2] = rng.choice(np.append(values, [4.0, 6.5]).astype(np.float32), (60, 2))
        rasterizer.render(params)
        rasterizer.gradients(params, residual)
        rasterizer.fit(rasterizer.target(PICTURE, PLANE), params, None, FitSchedule(2))
        rasterizer.solve_colors(rasterizer.target(PICTURE, PLANE), params, None, 2, 0.1)


def test_widest_kernels_are_taken_unasked() -> None:
    """The empty name picks one of the builds that can also be asked for by name."""
    isa = raster_cpu.CpuRasterizer(W, H).isa
    assert raster_cpu.CpuRasterizer(W, H, 1, isa).isa == isa
