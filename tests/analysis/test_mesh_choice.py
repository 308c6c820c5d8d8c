"""Which whole mesh is said for a wanted one: the native search against its twin, and where it must end."""

from __future__ import annotations

import numpy as np
import pytest
from mesh_choice_twin import Choice
from test_mesh_motion import scene

from gscodec.analysis import _native

SPACING = 24.0


def search(picture: np.ndarray) -> tuple[_native.MeshSearch, tuple[int, int]]:
    height, width = picture.shape
    rows, columns = int((height - 1) // SPACING) + 2, int((width - 1) // SPACING) + 2
    found = _native.MeshSearch(width, height, rows, columns, SPACING, SPACING, 6000)
    found.look(picture)
    return found, (rows, columns)


@pytest.mark.parametrize(("width", "height", "n"), [(96, 64, 60), (101, 53, 7), (40, 18, 5), (3, 2, 1)])
@pytest.mark.parametrize("lambda_", [0.0, 1e-3, 1e-1])
def test_native_equals_twin(width: int, height: int, n: int, lambda_: float) -> None:
    rng = np.random.default_rng(width)
    picture = scene(width, height, 1)
    native, shape = search(picture)
    points = rng.uniform(-5, [width + 5, height + 5], (n, 2)).astype(np.float32)
    weights = rng.choice(np.array([1.0, 0.05], np.float32), n)
    wanted = rng.normal(0, 2, (*shape, 2)).astype(np.float32)
    used = (rng.random(shape) < 0.8).astype(np.uint8)
    mesh = native.choose(points, weights, wanted, used, 0.5, lambda_)
    assert mesh.shape == (*shape, 2)
    assert mesh.dtype == np.int32
    assert not mesh[used == 0].any()
    twin = Choice(picture, points, weights, wanted, used, (SPACING, SPACING), 0.5, lambda_)
    expected = twin.find()
    assert np.mean(mesh != expected) <= 0.02  # a tie may go either way
    assert twin.cost(mesh) <= 1.001 * twin.cost(expected) + 1e-9


def test_the_mesh_costs_less_than_the_nearest_one() -> None:
    """Bits that are free are used to err to both sides in turn, dear ones are saved."""
    rng = np.random.default_rng(4)
    picture = scene(96, 64, 2)
    native, shape = search(picture)
    points, weights = rng.uniform(0, 60, (50, 2)).astype(np.float32), np.ones(50, np.float32)
    wanted, used = rng.normal(0, 3, (*shape, 2)).astype(np.float32), np.ones(shape, np.uint8)
    nearest, changed = np.rint(wanted).astype(int), []
    for lambda_ in (0.0, 0.01, 1.0, 1e6):
        mesh = native.choose(points, weights, wanted, used, 0.5, lambda_)
        twin = Choice(picture, points, weights, wanted, used, (SPACING, SPACING), 0.5, lambda_)
        assert twin.cost(mesh) < twin.cost(nearest)
        changed.append(np.abs(mesh - nearest).sum())
    assert changed == sorted(changed)
    assert (mesh == 0).mean() > 0.7


def test_flat_pictures_have_nothing_to_lose() -> None:
    native, shape = search(np.full((64, 96), 99, np.uint8))
    points, wanted = np.full((1, 2), 30, np.float32), np.full((*shape, 2), 5, np.float32)
    wanted[1, 2] = -3
    mesh = native.choose(points, np.ones(1, np.float32), wanted, np.ones(shape, np.uint8), 0.5, 1e-6)
    assert (mesh == mesh[0, 0]).all()


def test_wrong_sizes_are_named() -> None:
    native, shape = search(scene(96, 64, 2))
    points, wanted = np.zeros((2, 2), np.float32), np.zeros((*shape, 2), np.float32)
    used = np.ones(shape, np.uint8)
    with pytest.raises(ValueError, match="another length"):
        native.choose(points, np.zeros(3, np.float32), wanted, used, 0.5, 1.0)
    with pytest.raises(ValueError, match=r"wanted is .*, expected"):
        native.choose(points, np.zeros(2, np.float32), wanted[:, 1:], used, 0.5, 1.0)
