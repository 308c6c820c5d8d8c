"""gsplat's backend without a GPU; where there is one, the `backend` fixtures hold it against the twin."""

from __future__ import annotations

import numpy as np
import pytest
from scenes import RADIUS_SQ, needles, random_gaussians, special_gaussians, squared_radii

from gscodec.errors import BackendError
from gscodec.splat.raster import make_rasterizer

torch = pytest.importorskip("torch")
raster_gsplat = pytest.importorskip("gscodec.splat.raster_gsplat")
WIDTH, HEIGHT = 45, 37


@pytest.mark.parametrize("kind", [random_gaussians, needles, special_gaussians])
def test_gsplat_is_asked_for_every_pixel(kind, rng: np.random.Generator) -> None:
    """gsplat's weight, from the conics it is given, reaches its threshold wherever ours is not cut off."""
    params = kind(WIDTH, HEIGHT) if kind is special_gaussians else kind(rng, 60, WIDTH, HEIGHT)
    conics, radii = raster_gsplat.bounding_conics(torch.tensor(params))
    y, x = np.mgrid[:HEIGHT, :WIDTH].astype(np.float32) + np.float32(0.5)
    dx, dy = (m[:, None, None] - c for m, c in zip(params[:, :2].T, (x, y), strict=True))
    a, b, c = (conics.numpy()[:, i, None, None] for i in range(3))
    with np.errstate(over="ignore", invalid="ignore"):
        sigma = np.float32(0.5) * (a * dx * dx + c * dy * dy) + b * dx * dy
        found = (sigma >= 0) & (raster_gsplat.OPACITY * np.exp(-sigma) >= 1 / 255)
        found &= (np.abs(dx) <= radii.numpy()[:, 0, None, None]) & (
            np.abs(dy) <= radii.numpy()[:, 1, None, None]
        )
    wanted = squared_radii(params, WIDTH, HEIGHT) <= RADIUS_SQ
    assert wanted.any()
    assert not (wanted & ~found).any()


def test_without_a_gpu_it_says_what_to_do() -> None:
    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    with pytest.raises(BackendError, match="NVIDIA GPU"):
        make_rasterizer("gsplat", 8, 8)


@pytest.mark.cuda
def test_gsplat_that_breaks_is_a_backend_error(monkeypatch: pytest.MonkeyPatch) -> None:
    if not torch.cuda.is_available():
        pytest.skip("torch sees no GPU")

    def broken(*_: object) -> None:
        raise AttributeError("'NoneType' object has no attribute 'intersect_tile'")

    monkeypatch.setattr(raster_gsplat, "covered_pixels", broken)
    with pytest.raises(BackendError, match=r"gsplat cannot be used .*intersect_tile.*nvcc"):
        make_rasterizer("gsplat", 8, 8)
