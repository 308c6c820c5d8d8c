"""The native modules: an array of a wrong shape or type ends in an error and in no crash, at every entry.

What a call needs stands in CALLS once, right; the test then spoils one argument at a time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from coding_states import random_state
from gscodec.coding.quantize import State, affine_arrays, step_table

PACKAGES = ("splat", "rdo", "analysis", "encode", "decode", "coding")
splat, rdo, analysis, encode, decode, coding = MODULES = [
    pytest.importorskip(f"gscodec.{package}._native") for package in PACKAGES
]

W, H, N = 12, 9, 4
F32, I32, U8 = np.float32, np.int32, np.uint8
GRID = {"rows": 2, "columns": 3, "spacing_x": 8.0, "spacing_y": 16.0, "pixels_per_step": 6000}
STATE: State = random_state(np.random.default_rng(0), N, size=(W, H))
STEP, OFFSET, LOW, HIGH = affine_arrays(STATE, (W, H))
PARAMS = np.tile(np.array([6, 4, 3, 0, 2, 0.5, 0.1, 0.1], F32), (N, 1))
PICTURE, PLANE, MASK = np.ones((H, W, 3), F32), np.ones((H, W), F32), np.ones((H, W), U8)
PIXELS, LABELS, MATRIX = np.zeros((H, W, 3), U8), np.zeros((H, W), I32), np.eye(3, dtype=F32)
POINTS, MESH = np.ones((N, 2), F32), np.zeros((2, 3, 2), I32)
CODER_MESH = np.zeros((2, 2, 2), I32)
CODED = {
    "symbols": STATE.symbols,
    "size_class": STATE.size_class,
    "energy_class": STATE.energy_class,
    "is_room": STATE.is_room,
    "drift": STATE.drift,
}
CLASSES = {name: CODED[name] for name in ("drift", "size_class", "energy_class")}


def raster() -> Any:
    return splat.TiledRaster(W, H)


def normalised_raster() -> Any:
    return splat.TiledRaster(W, H, normalised=True)


def target() -> Any:
    return raster().target(PICTURE, PLANE)


def search() -> Any:
    made = analysis.MeshSearch(W, H, **GRID)
    made.look(MASK)
    made.look(MASK)
    return made


def network() -> Any:
    """One 1x1 convolution."""
    return analysis.MattingNetwork(H, W, np.array([[0, 0, 1, 1, 0, 0, 0, 1]], I32), np.ones(4, F32))


def coder() -> Any:
    made = coding.FrameCoder(W, H, False, False, b"")
    made.encode_iframe(**CODED)
    return made


ACTIVE = np.array([0, 2], np.uint32)
# Entry -> what it is a method of, right arguments (arrays are copied for each call), and those among its
# arrays whose length is the caller's to choose: nothing else is as long.
CALLS: dict[str, tuple[Callable[[], Any], dict[str, Any], set[str]]] = {
    "splat.TiledRaster.target": (
        normalised_raster,
        {"picture": PICTURE, "weight": PLANE, "matte": PLANE},
        set(),
    ),
    "splat.TiledRaster.render": (raster, {"params": PARAMS}, {"params"}),
    "splat.TiledRaster.render_rgb8": (
        raster,
        {"params": PARAMS, "matrix": MATRIX, "ground": np.zeros(3, F32)},
        {"params"},
    ),
    "splat.TiledRaster.render_person": (
        raster,
        {
            "params": PARAMS,
            "is_room": np.zeros(N, bool),
            "matrix": MATRIX,
            "ground": np.zeros(3, F32),
            "background": np.zeros(3, F32),
        },
        set(),
    ),
    "splat.TiledRaster.curvatures": (raster, {"target": target, "params": PARAMS}, {"params"}),
    "splat.TiledRaster.weights": (raster, {"params": PARAMS}, {"params"}),
    "splat.TiledRaster.gradients": (raster, {"params": PARAMS, "residual": PICTURE}, {"params"}),
    "splat.TiledRaster.fit": (
        raster,
        {"target": target, "params": PARAMS, "active": ACTIVE, "options": splat.FitOptions},
        {"params", "active"},
    ),
    "splat.TiledRaster.solve_colors": (
        raster,
        {"target": target, "params": PARAMS, "active": ACTIVE, "sweeps": 1, "ridge": 0.1},
        {"params", "active"},
    ),
    "splat.TiledRaster.loss": (raster, {"target": target, "params": PARAMS}, {"params"}),
    "splat.TiledRaster.residual": (raster, {"target": target, "params": PARAMS}, {"params"}),
    "rdo.pursue": (
        lambda: rdo,
        {
            "raster": raster,
            "target": target,
            "symbols": STATE.symbols,
            "base": STATE.symbols,
            "step": STEP,
            "offset": OFFSET,
            "low": LOW,
            "high": HIGH,
            "others": PARAMS,
            "rates": np.ones((8, rdo.RATE_ENTRIES), F32),
            "groups": np.ones((2, 4), F32),
            "first": np.ones(N, F32),
            "options": rdo.PursuitOptions,
            "is_room": np.zeros(N, bool),
        },
        {"others"},
    ),
    "analysis.guided_filter": (
        lambda: analysis,
        {"pixels": PIXELS, "guide": PIXELS, "matte": PLANE, "radius": 1, "epsilon": 1e-3, "sharpen": 1.0},
        {"pixels"},
    ),
    "analysis.MattingNetwork.run": (network, {"picture": PIXELS}, set()),
    "analysis.MeshSearch.look": (search, {"grey": MASK}, set()),
    "analysis.MeshSearch.fit": (search, {"points": POINTS}, {"points"}),
    "analysis.MeshSearch.drift": (search, {"points": POINTS}, {"points"}),
    "analysis.MeshSearch.choose": (
        search,
        {
            "points": POINTS,
            "weights": np.ones(N, F32),
            "wanted": MESH.astype(F32),
            "used": np.ones((2, 3), U8),
            "unit": 0.5,
            "lambda_": 1.0,
        },
        set(),
    ),
    "analysis.MeshSearch.follow": (
        search,
        {"points": POINTS, "is_room": np.ones(N, bool), "scale": 1.0, "still": 0.1},
        set(),
    ),
    "analysis.density": (lambda: analysis, {"picture": PICTURE, "detail": 1.5}, {"picture"}),
    "analysis.nearest_seeds": (
        lambda: analysis,
        {"picture": PICTURE, "region": MASK * 0, "density": PLANE, "counts": np.array([3], I32)},
        {"counts"},
    ),
    "analysis.connect": (
        lambda: analysis,
        {"labels": LABELS, "region": MASK * 0, "counts": np.array([3, 4], I32)},
        {"counts"},
    ),
    "encode.steady": (
        lambda: encode,
        {
            "picture": PICTURE,
            "weight": PLANE,
            "before": PICTURE,
            "decoded": PIXELS,
            "matrix": MATRIX,
            "stability": 1.0,
        },
        set(),
    ),
    "decode.hold": (
        lambda: decode,
        {"before": PIXELS, "picture": PIXELS, "tolerance": np.ones(3, U8)},
        set(),
    ),
    "encode.squared_errors": (lambda: encode, {"a": PIXELS, "b": PIXELS, "mask": MASK}, set()),
    "analysis.gaussians_of_segments": (
        lambda: analysis,
        {"pixels": PIXELS, "labels": LABELS, "count": 1, "widen": 1.0, "matrix": MATRIX},
        set(),
    ),
    "coding.dequantize": (
        lambda: coding,
        {"table": step_table(), "symbols": STATE.symbols, **CLASSES, "color": 1.0},
        set(),
    ),
    "coding.affine": (
        lambda: coding,
        {"table": step_table(), **CLASSES, "color": 1.0, "width": W, "height": H},
        set(),
    ),
    "coding.FrameCoder.encode_iframe": (coder, CODED, set()),
    "coding.FrameCoder.predictions": (coder, CODED, set()),
    "coding.FrameCoder.encode_pframe": (
        coder,
        {**CODED, "mesh": CODER_MESH, "room_moves": False, "n_born": -1},
        set(),
    ),
    "coding.FrameCoder.moved": (coder, {"mesh": CODER_MESH, "room_moves": False}, set()),
}
# Those without an array. Numbers: test_wrong_numbers_are_refused; addresses cannot be checked.
NO_ARRAYS = {
    "splat.TiledRaster.ceiling_ns",
    *(f"splat.CommandQueue.{name}" for name in ("copy", "send", "fetch", "zero", "launch", "run")),
    *(f"coding.FrameCoder.{name}" for name in ("used_points", "decode_iframe", "decode_pframe", "weight")),
    *(f"coding.FrameCoder.{name}" for name in ("change_costs", "decisions", "take_bits", "copy")),
    "analysis.MeshSearch.copy",
}


def call(entry: str, **changed: Any) -> Any:
    """Call an entry with its right arguments, but for those that are `changed`."""
    make, arguments, _ = CALLS[entry]
    made = {name: a.copy() if isinstance(a, np.ndarray) else a for name, a in arguments.items()}
    made = {name: a() if callable(a) else a for name, a in made.items()} | changed
    return getattr(make(), entry.rsplit(".", 1)[1])(**made)


def spoilt(array: np.ndarray, any_length: bool) -> Iterator[tuple[str, Any]]:
    """The same array in shapes and types that nobody may take it for."""
    yield "one axis more", array[None].copy()
    yield "one axis less", array[0].copy() if array.ndim > 1 else array.ravel()[0]
    yield "text", np.full(array.shape, "1")
    yield "complex", array.astype(np.complex64)
    yield "list", array.tolist()
    yield "objects", np.full(array.shape, None)
    if array.ndim > 1:
        yield "short last axis", array[..., :-1].copy()
    if array.dtype == np.int32:
        yield "fractions", array.astype(np.float64)  # would be cut off
    if not any_length:
        yield "empty", array[:0].copy()
        yield "too short", array[:-1].copy()
        yield "too long", np.concatenate([array, array[:1]])
        yield "far too long", np.concatenate([array] * 1000)


def entries(module: Any, name: str) -> Iterator[str]:
    for attribute, value in vars(module).items():
        if attribute.startswith("_"):
            continue
        if isinstance(value, type):
            methods = [m for m, f in vars(value).items() if callable(f) and not m.startswith("_")]
            yield from (f"{name}.{attribute}.{m}" for m in methods)
        elif callable(value):
            yield f"{name}.{attribute}"


def test_no_entry_is_forgotten() -> None:
    """And none is bound by another package's module than the one CALLS names it by."""
    found = {entry for module, name in zip(MODULES, PACKAGES, strict=True) for entry in entries(module, name)}
    assert found == {*CALLS, *NO_ARRAYS}


@pytest.mark.parametrize("entry", CALLS)
def test_right_arguments_are_taken(entry: str) -> None:
    """Else the errors of the tests below would say nothing."""
    call(entry)


@pytest.mark.parametrize("entry", CALLS)
def test_spoilt_arrays_are_refused(entry: str) -> None:
    _, arguments, any_length = CALLS[entry]
    for name, array in arguments.items():
        if not isinstance(array, np.ndarray):
            continue
        for how, wrong in spoilt(array, name in any_length):
            try:
                call(entry, **{name: wrong})
                complaint = "none"
            except (TypeError, ValueError) as error:
                complaint = str(error)
            assert "incompatible function arguments" in complaint or "expected" in complaint, (name, how)


@pytest.mark.parametrize("entry", [name for name, (_, given, _) in CALLS.items() if "target" in given])
@pytest.mark.parametrize("size", [(W - 1, H), (W, H + 1), (1, 1), (900, 700)])
def test_targets_of_another_size_are_refused(entry: str, size: tuple[int, int]) -> None:
    width, height = size
    other = splat.TiledRaster(width, height).target(
        np.ones((height, width, 3), F32), np.ones((height, width), F32)
    )
    with pytest.raises(ValueError, match=f"the target is {width}x{height}, expected {W}x{H}"):
        call(entry, target=other)


@pytest.mark.parametrize("name", ["symbols", "base", "low", "high"])
def test_symbols_whose_differences_overflow_are_refused(name: str) -> None:
    for value in (np.iinfo(I32).min, np.iinfo(I32).max):
        wrong = STATE.symbols.copy()
        wrong[1, 3] = value
        with pytest.raises(ValueError, match=f"{name} leaves its range"):
            call("rdo.pursue", **{name: wrong})


@pytest.mark.parametrize(
    "entry", [f"analysis.MeshSearch.{name}" for name in ("fit", "drift", "choose", "follow")]
)
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_points_that_are_nowhere_are_refused(entry: str, value: float) -> None:
    """They would be turned into an index."""
    points = POINTS.copy()
    points[2, 1] = value
    with pytest.raises(ValueError, match="points leaves its range"):
        call(entry, points=points)


def test_meshes_and_motions_out_of_range_are_refused() -> None:
    with pytest.raises(ValueError, match="wanted leaves its range"):
        call("analysis.MeshSearch.choose", wanted=np.full((2, 3, 2), np.nan, F32))
    for name in ("moved", "encode_pframe"):
        with pytest.raises(ValueError, match="a motion leaves its range"):
            call(f"coding.FrameCoder.{name}", mesh=CODER_MESH + coding.MAX_MOTION + 1)


def test_wrong_numbers_are_refused() -> None:
    wrong: dict[str, Callable[[], Any]] = {
        "width and height": lambda: splat.TiledRaster(1 << 20, 1 << 20),
        "threads is 100000": lambda: splat.TiledRaster(W, H, 100_000),
        "width and height must": lambda: analysis.MeshSearch(-1, H, **GRID),
        "too many points": lambda: analysis.MeshSearch(W, H, **{**GRID, "rows": 1 << 16, "columns": 1 << 16}),
        "scale must be positive": lambda: call("analysis.MeshSearch.follow", scale=0.0),
        "count is -5": lambda: call("analysis.gaussians_of_segments", count=-5, labels=LABELS - 9),
        "width and height must be": lambda: coding.FrameCoder(0, 5, False, False, b""),
        "not 5x-1": lambda: call("coding.affine", width=5, height=-1),
        "n_born is 5, expected -1 to 4": lambda: call("coding.FrameCoder.encode_pframe", n_born=N + 1),
        "n_born is -2": lambda: call("coding.FrameCoder.encode_pframe", n_born=-2),
        "n is -1": lambda: coder().decode_iframe(b"", -1),
        "max_gaussians is -1": lambda: coder().decode_pframe(b"", -1),
        "stream is 99": lambda: coder().weight(99, 0, 0),
        "node is -1": lambda: coder().weight(0, -1, 0),
        "input is 4": lambda: coder().weight(0, 0, 4),
    }
    for complaint, act in wrong.items():
        with pytest.raises(ValueError, match=complaint):
            act()


def test_a_projection_that_returns_something_else_is_refused() -> None:
    for made, error in ((PARAMS[:1], ValueError), (PARAMS[:, :7].copy(), ValueError), ("text", TypeError)):
        with pytest.raises(error, match="project"):
            call("splat.TiledRaster.fit", active=None, project=lambda *_, made=made: made)
