"""The native search for a mesh of displacements against its twin, and against motion that is known."""

from __future__ import annotations

import cv2
import mesh_motion_twin
import numpy as np
import pytest

from conftest import CPU_BACKENDS, open_backend
from gscodec.analysis import _native


def scene(width: int, height: int, seed: int) -> np.ndarray:
    noise = np.random.default_rng(seed).normal(0, 1, (height, width)).astype(np.float32)
    smooth = cv2.GaussianBlur(noise, (0, 0), 2) + 4 * cv2.GaussianBlur(noise, (0, 0), 8)
    return np.clip(128 + 50 * smooth / smooth.std(), 0, 255).astype(np.uint8)


def warped(picture: np.ndarray, dx: np.ndarray, dy: np.ndarray) -> np.ndarray:
    """`picture` after what was at x has gone to x + d, for small smooth d."""
    y, x = np.mgrid[: picture.shape[0], : picture.shape[1]].astype(np.float32)
    return cv2.remap(picture, x - dx, y - dy, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT)


def fit_mesh(
    before: np.ndarray,
    now: np.ndarray,
    points: np.ndarray,
    rows: int,
    columns: int,
    sx: float,
    sy: float,
    isa: str = "",
) -> np.ndarray:
    pixels = mesh_motion_twin.PIXELS_PER_STEP
    search = _native.MeshSearch(*before.shape[::-1], rows, columns, sx, sy, pixels, isa)
    search.look(before)
    assert not search.fit(points).any()  # nothing is known to move yet
    search.look(now)
    return search.fit(points)


@pytest.mark.parametrize("build", CPU_BACKENDS)
@pytest.mark.parametrize(
    ("width", "height", "spacing", "n"),
    [(96, 64, 32.0, 60), (101, 53, 24.0, 7), (160, 120, 32.0, 500), (24, 30, 64.0, 5), (40, 2, 16.0, 5)],
)
def test_native_equals_twin(width: int, height: int, spacing: float, n: int, build: str) -> None:
    rng = np.random.default_rng(width)
    before = scene(width, height, 1)
    y, x = np.mgrid[:height, :width].astype(np.float32)
    now = warped(before, 1.5 + np.sin(y / 20), np.cos(x / 25) - 0.5)
    points = rng.uniform(-5, [width + 5, height + 5], (n, 2)).astype(np.float32)
    rows, columns = int((height - 1) // spacing) + 2, int((width - 1) // spacing) + 2
    open_backend(build)  # or skips
    isa = build.removeprefix("cpu-")
    native = fit_mesh(before, now, points, rows, columns, spacing, spacing, isa)
    twin = mesh_motion_twin.fit_mesh(before, now, points, rows, columns, spacing, spacing)
    assert native.shape == (rows, columns, 2)
    np.testing.assert_allclose(native, twin, atol=0.01)
    assert np.abs(twin).max() > 0.1


def test_a_bend_is_found() -> None:
    width, height = 320, 180
    before = scene(width, height, 2)
    y, x = np.mgrid[:height, :width].astype(np.float32)
    dx, dy = 3 * np.sin(y / 60), 2 * np.cos(x / 80)
    now = warped(before, dx, dy)
    points = np.stack([x[::8, ::8].ravel(), y[::8, ::8].ravel()], axis=1)
    mesh = fit_mesh(before, now, points, 7, 11, 32.0, 32.0)
    inner = mesh[1:6, 1:10]
    for k, true in enumerate((dx, dy)):
        assert np.abs(inner[:, :, k] - true[32:180:32, 32:320:32]).max() < 0.4


def test_far_motion_is_found_from_coarse_to_fine() -> None:
    world = scene(400, 260, 3)
    before, now = (np.ascontiguousarray(world[40:220, x : x + 320]) for x in (40, 26))
    points = np.random.default_rng(0).uniform(30, [290, 150], (300, 2)).astype(np.float32)
    mesh = fit_mesh(before, now, points, 7, 11, 32.0, 32.0)
    assert np.abs(mesh[1:6, 1:10] - [14, 0]).max() < 0.5


def test_flat_pictures_and_no_points_move_nothing() -> None:
    flat, bright = np.zeros((48, 64), np.uint8), np.full((48, 64), 255, np.uint8)
    points = np.array([[10.0, 10.0]], np.float32)
    assert not fit_mesh(flat, bright, points, 3, 3, 32.0, 32.0).any()
    picture = scene(64, 48, 4)
    assert not fit_mesh(picture, picture[::-1].copy(), points[:0], 3, 3, 32.0, 32.0).any()


@pytest.mark.parametrize(("width", "height"), [(320, 180), (96, 64), (33, 40)])
def test_drift_equals_twin(width: int, height: int) -> None:
    before = scene(width, height, 5)
    y, x = np.mgrid[:height, :width].astype(np.float32)
    now = warped(before, np.where(x > width / 2, np.float32(0.5), np.float32(0.3)), 0 * y)
    points = np.random.default_rng(6).uniform(0, [width, height], (40, 2)).astype(np.float32)
    search = _native.MeshSearch(width, height, 2, 2, 64.0, 64.0, 6000)
    search.look(before)
    assert search.drift(points) == 0
    search.look(now)
    assert search.drift(points) == pytest.approx(mesh_motion_twin.drift(before, now, points), rel=1e-3)
    assert 0.2 < search.drift(points) < 1
    assert search.drift(points[:0]) == 0
    search.look(now)
    assert search.drift(points) == 0


def test_following_is_a_fit_and_where_the_room_drifts_another() -> None:
    before = scene(96, 64, 7)
    search = _native.MeshSearch(96, 64, 3, 4, 32.0, 32.0, 6000)
    search.look(before)
    y, x = np.mgrid[:64, :96].astype(np.float32)
    search.look(warped(before, 0 * y + np.float32(0.4), 0 * x))
    params = np.random.default_rng(8).uniform(0, 64, (50, 8)).astype(np.float32)
    is_room = np.arange(50) % 3 == 0
    points = np.ascontiguousarray(params[:, :2] / np.float32(1.5))
    found = search.follow(params[:, :2], is_room, 1.5, 0.1)
    np.testing.assert_array_equal(found[0], search.fit(points[~is_room]))
    np.testing.assert_allclose(found[1], search.fit(points), atol=1e-5)
    assert found[1].any()
    still = search.follow(params[:, :2], is_room, 1.5, 2.0)
    np.testing.assert_array_equal(still[0], found[0])
    assert not still[1].any()
    nobody = search.follow(params[:, :2], np.zeros(50, bool), 1.5, 0.0)
    np.testing.assert_array_equal(nobody[0], search.fit(points))
    assert not nobody[1].any()
    with pytest.raises(ValueError, match="another length"):
        search.follow(params[:, :2], is_room[1:], 1.5, 0.1)


def test_arguments_are_checked() -> None:
    with pytest.raises(ValueError, match="two rows"):
        _native.MeshSearch(8, 8, 1, 2, 8.0, 8.0, 6000)
    with pytest.raises(ValueError, match="two rows"):
        _native.MeshSearch(8, 8, 2, 2, float("nan"), 8.0, 6000)
    with pytest.raises(ValueError, match="positive"):
        _native.MeshSearch(0, 8, 2, 2, 8.0, 8.0, 6000)
    search = _native.MeshSearch(8, 8, 2, 2, 8.0, 8.0, 6000)
    with pytest.raises(ValueError, match="grey is 9x8, expected 8x8"):
        search.look(np.zeros((8, 9), np.uint8))
