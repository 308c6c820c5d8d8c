"""The mesh of displacements: what a moving clip gives, and what is said and left unsaid."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from coding_states import random_state
from gscodec.analysis.motion import MotionEstimator
from gscodec.coding._native import MAX_MOTION
from gscodec.coding.adaptive import AdaptiveCoder, Motion
from gscodec.coding.quantize import dequantize, mean_log2_steps
from gscodec.config import encoder_config

WIDTH, HEIGHT = 160, 128
ROWS, COLUMNS = 3, 4


def textured(width: int, height: int, seed: int = 0) -> np.ndarray:
    """Smooth texture, uint8 [H, W, 3], larger than the picture."""
    noise = np.random.default_rng(seed).normal(0, 1, (height, width, 3)).astype(np.float32)
    smooth = cv2.GaussianBlur(noise, (0, 0), 3) + cv2.GaussianBlur(noise, (0, 0), 9) * 3
    return np.clip(128 + 60 * smooth / smooth.std(), 0, 255).astype(np.uint8)


WORLD = textured(WIDTH + 80, HEIGHT + 80)


def view(x: int, y: int) -> np.ndarray:
    """The picture when everything has moved by (x, y) pixels."""
    return np.ascontiguousarray(WORLD[40 - y : 40 - y + HEIGHT, 40 - x : 40 - x + WIDTH])


LAMBDA = 1e-4  # bits are all but free


def new_estimator(size: tuple[int, int] = (WIDTH, HEIGHT)) -> MotionEstimator:
    return MotionEstimator(size, AdaptiveCoder(size).mesh, encoder_config().motion_pixels)


def estimate(
    estimator: MotionEstimator,
    pixels: np.ndarray,
    points: np.ndarray,
    is_room: np.ndarray,
    lambda_: float = LAMBDA,
) -> np.ndarray:
    every = np.ones((estimator.rows, estimator.columns), np.uint8)
    weights = np.where(is_room, 0.05, 1.0).astype(np.float32)
    return estimator.estimate(pixels, points, is_room, weights, (every, every), lambda_)


def person_mesh(
    estimator: MotionEstimator, pixels: np.ndarray, points: np.ndarray, lambda_: float = LAMBDA
) -> np.ndarray:
    """The estimate where every Gaussian is the person's."""
    meshes = estimate(estimator, pixels, points, np.zeros(len(points), bool), lambda_)
    assert not meshes[1].any()
    return meshes[0]


@pytest.fixture
def points(rng: np.random.Generator) -> np.ndarray:
    return rng.uniform(8, [WIDTH - 8, HEIGHT - 8], (200, 2)).astype(np.float32)


def test_the_mesh_is_the_bitstreams() -> None:
    for size, apart in (((1, 1), 64), ((64, 64), 64), ((65, 200), 64), ((640, 360), 64), ((720, 1280), 128)):
        coder = AdaptiveCoder(size)
        rows, columns = ((length - 1) // apart + 2 for length in (size[1], size[0]))
        assert coder.mesh == (apart.bit_length() - 1, rows, columns)
        mesh = np.zeros((rows, columns, 2), np.int32)
        assert len(coder.moved(Motion(mesh, True), 1.0)) == 0  # the native coder takes a mesh of that size


def test_a_translation_gives_a_constant_mesh(points: np.ndarray) -> None:
    estimator = new_estimator()
    estimator.start(view(0, 0))
    mesh = person_mesh(estimator, view(3, -2), points)
    assert mesh.shape == (ROWS, COLUMNS, 2)
    assert mesh.dtype == np.int32
    assert np.abs(mesh - [6, -4]).max() <= 1  # half pixels
    assert np.abs(mesh.mean(axis=(0, 1)) - [6, -4]).max() < 0.5


def test_moved_gaussians_follow_the_picture(points: np.ndarray) -> None:
    size = WIDTH, HEIGHT
    state = random_state(np.random.default_rng(0), 100, size=size, classes=(4, 12))  # fine steps
    estimator = new_estimator(size)
    estimator.start(view(0, 0))
    mesh = person_mesh(estimator, view(3, -2), points)
    coder = AdaptiveCoder(size)
    coder.pack_iframe(state)
    moved = coder.moved(Motion(mesh, True), 1.0)
    step = np.ldexp(1.0, mean_log2_steps(state.size_class, state.energy_class))[:, None]
    distance = dequantize(moved)[:, :2] - dequantize(state)[:, :2]
    inside = np.abs(dequantize(state)[:, :2] - np.array(size) / 2).max(axis=1) < 40
    assert (np.abs(distance - [3, -2]) <= 0.5)[inside].all()
    assert (step[inside] > 0.5).any()  # steps of means do not matter: what is beneath them drifts
    assert (np.abs(moved.drift) <= 128 * step).all()


def test_a_still_clip_gives_no_motion(points: np.ndarray) -> None:
    estimator = new_estimator()
    estimator.start(view(0, 0))
    for _ in range(3):
        mesh = person_mesh(estimator, view(0, 0), points)
        assert not mesh.any()
        estimator.coded(None)


def test_what_was_said_is_not_said_again(points: np.ndarray) -> None:
    estimator = new_estimator()
    estimator.start(view(0, 0))
    total = np.zeros((ROWS, COLUMNS, 2))
    for i in range(1, 6):
        mesh = person_mesh(estimator, view(i, 0), points)
        estimator.coded(mesh)
        total += mesh
    assert np.abs(total - [10, 0]).max() <= 1  # errors of rounding do not add up
    assert np.abs(person_mesh(estimator, view(5, 0), points)).max() <= 1


def test_what_was_not_said_fades(points: np.ndarray) -> None:
    estimator = new_estimator()
    estimator.start(view(0, 0))
    person_mesh(estimator, view(4, 0), points)
    estimator.coded(None)
    half = person_mesh(estimator, view(4, 0), points)
    assert np.abs(half - [4, 0]).max() <= 1
    estimator.coded(None)
    assert np.abs(person_mesh(estimator, view(4, 0), points) - [2, 0]).max() <= 1


def test_an_iframe_starts_anew(points: np.ndarray) -> None:
    estimator = new_estimator()
    estimator.start(view(0, 0))
    person_mesh(estimator, view(6, 6), points)
    estimator.start(view(2, 0))
    assert np.abs(person_mesh(estimator, view(2, 0), points)).max() == 0


def test_parts_move_apart(points: np.ndarray) -> None:
    """The left half goes right, the right half stands still."""
    before, after = view(0, 0), view(0, 0).copy()
    after[:, : WIDTH // 2] = view(2, 0)[:, : WIDTH // 2]
    estimator = new_estimator()
    estimator.start(before)
    mesh = person_mesh(estimator, after, points)
    assert mesh[:, 0, 0].min() >= 3
    assert np.abs(mesh[:, -1]).max() <= 1


def test_displacements_end_at_64_pixels(points: np.ndarray) -> None:
    """A motion that is never said adds up, but what is asked for stays far within what the format can say."""
    world = textured(WIDTH + 100, HEIGHT)
    estimator = new_estimator()
    largest = []
    for x in range(0, 97, 8):  # 96 pixels in all
        picture = np.ascontiguousarray(world[:, 100 - x : 100 - x + WIDTH])
        if x == 0:
            estimator.start(picture)
            continue
        largest.append(int(np.abs(person_mesh(estimator, picture, points)).max()))
    assert np.abs(np.array(largest[:7]) - 16 * np.arange(1, 8)).max() <= 2  # half pixels
    assert largest[8:] == [128] * 4
    assert max(largest) <= MAX_MOTION


@pytest.mark.parametrize("size", [(8, 8), (200, 9), (15, 300)])
def test_tiny_pictures_and_no_points(size: tuple[int, int]) -> None:
    estimator = new_estimator(size)
    picture = textured(*size)
    estimator.start(picture)
    for points in (np.zeros((0, 2), np.float32), np.array([[-50.0, -50.0], [400.0, 400.0]], np.float32)):
        mesh = person_mesh(estimator, picture[::-1].copy(), points)
        assert mesh.shape == (estimator.rows, estimator.columns, 2)
        estimator.coded(mesh)


def test_a_still_room_does_not_hold_the_person_and_a_moving_one_is_noticed(rng: np.random.Generator) -> None:
    points = rng.uniform(8, [WIDTH - 8, HEIGHT - 8], (300, 2)).astype(np.float32)
    is_room = points[:, 0] > WIDTH / 2
    before, after = view(0, 0), view(0, 0)
    after[:, : WIDTH // 2] = view(6, 0)[:, : WIDTH // 2]  # the left half moves, the right one stands
    estimator = new_estimator()
    estimator.start(before)
    person, both = estimate(estimator, after, points, is_room)
    assert person[:, 0, 0].mean() > 8  # half pixels
    assert person[:, 2, 0].mean() > both[:, 2, 0].mean()
    estimator.start(before)
    person, both = estimate(estimator, view(5, 0), points, is_room)
    assert np.abs(both[:, :3] - [10, 0]).max() <= 2


def test_where_bits_are_dear_the_mesh_is_plain(points: np.ndarray) -> None:
    """A bend that cheap bits would follow is said as what costs less; slow motion is said in the end."""
    after = view(0, 0).copy()
    after[:, : WIDTH // 2] = view(2, 1)[:, : WIDTH // 2]
    said = []
    for lambda_ in (LAMBDA, 3.0):
        estimator = new_estimator()
        estimator.start(view(0, 0))
        mesh = person_mesh(estimator, after, points, lambda_)
        said.append(len(np.unique(mesh.reshape(-1, 2), axis=0)))
    assert said[0] > said[1]
