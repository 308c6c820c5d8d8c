"""The real gsplat as far as it goes without a GPU: `make test-extras` installs the package and runs these."""

from __future__ import annotations

from unittest.mock import create_autospec

import numpy as np
import pytest
from scenes import RADIUS_SQ, random_gaussians, squared_radii

from cli_tools import QUICK, fail, make_clip, succeed

gsplat = pytest.importorskip("gsplat", reason="gsplat is not installed; `make test-extras` does that")
torch = pytest.importorskip("torch")

from gscodec.splat.raster_gsplat import covered_pixels  # noqa: E402

WIDTH, HEIGHT = 45, 37


def test_gsplat_takes_what_it_is_given(monkeypatch: pytest.MonkeyPatch, rng: np.random.Generator) -> None:
    """gsplat's functions by name and signature; its kernels, which need a GPU, replaced by "every pair"."""
    params = random_gaussians(rng, 30, WIDTH, HEIGHT)

    def every_pair(*args: object) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        n = args[3].shape[1]  # type: ignore[attr-defined]
        pairs = torch.cartesian_prod(torch.arange(n), torch.arange(HEIGHT * WIDTH))
        return pairs[:, 0], pairs[:, 1], torch.zeros(len(pairs), dtype=torch.int64)

    nothing = torch.zeros(0)
    made = {"isect_tiles": (nothing,) * 3, "isect_offset_encode": nothing}
    for name, value in made.items():
        stand_in = create_autospec(getattr(gsplat, name), return_value=value)
        monkeypatch.setattr(gsplat, name, stand_in)
    last = "rasterize_to_indices_in_range"
    monkeypatch.setattr(gsplat, last, create_autospec(getattr(gsplat, last), side_effect=every_pair))

    gaussian, x, y = (part.numpy() for part in covered_pixels(torch.tensor(params), HEIGHT, WIDTH))
    found = np.zeros((len(params), HEIGHT, WIDTH), bool)
    found[gaussian, y, x] = True
    radii = squared_radii(params, WIDTH, HEIGHT)
    doubtful = np.abs(radii - RADIUS_SQ) < 1e-3 * RADIUS_SQ  # single against double precision
    assert found.any()
    np.testing.assert_array_equal(found | doubtful, (radii <= RADIUS_SQ) | doubtful)


@pytest.mark.parametrize("command", ["encode", "decode"])
def test_without_a_gpu_a_command_says_what_to_do(tmp_path, command: str) -> None:
    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    clip, coded = make_clip(tmp_path / "clip.mp4", 2), tmp_path / "a.gsv"
    succeed("encode", clip, coded, *QUICK)
    names = (clip, tmp_path / "b.gsv") if command == "encode" else (coded, tmp_path / "b.mp4")
    message = fail(command, *names, "--backend", "gsplat", folder=tmp_path)
    assert "gsplat needs an NVIDIA GPU" in message
    assert "--backend cpu" in message
