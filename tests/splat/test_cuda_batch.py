"""CUDA: batches, large and small cases, and what test_raster_backends and test_fit_backends do not reach.

Those hold backend `cuda` against the twin: pictures, every gradient column, the magnitude of its rows, fits.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scenes import clear_pixels, grid_gaussians, random_gaussians, smooth_picture

from gscodec.errors import BackendError, ConfigError
from gscodec.splat.gaussians import BLENDS, LOG_WEIGHT
from gscodec.splat.raster import FitSchedule

pytestmark = pytest.mark.cuda
WIDTH, HEIGHT = 75, 42
SCHEDULE = FitSchedule(iterations=6)


@pytest.fixture
def cuda() -> Any:
    """The module splat.cuda.batch, or a skipped test that says why it cannot be used."""
    try:
        from gscodec.splat.cuda import batch as cuda_batch

        cuda_batch.CudaBatch(8, 8)
    except (BackendError, ImportError) as error:
        pytest.skip(f"cuda: {error}")
    return cuda_batch


@pytest.fixture(params=BLENDS)
def blend(request: pytest.FixtureRequest) -> str:
    return request.param


def weighted(rng: np.random.Generator, params: np.ndarray, blend: str) -> np.ndarray:
    """The same Gaussians under a blend: with log-weights, or as they are."""
    if blend == "sum":
        return params
    return np.hstack((params, rng.uniform(-3, 3, (len(params), 1)))).astype(np.float32)


def torch_on_gpu(width: int, height: int, blend: str = "sum") -> Any:
    """The twin on the GPU, in float64: large cases would take it minutes on the CPU."""
    torch = pytest.importorskip("torch")
    if not torch.cuda.is_available():
        pytest.skip("torch sees no GPU")
    from gscodec.splat.raster_torch import TorchRasterizer

    return TorchRasterizer(width, height, torch.float64, "cuda", blend=blend)


def three_pictures(
    rng: np.random.Generator, blend: str = "sum"
) -> tuple[list[np.ndarray], np.ndarray, np.ndarray]:
    """Gaussians of three pictures, one of them without any; the pictures; their weights."""
    params = [grid_gaussians(rng, 9, 5, WIDTH, HEIGHT), np.zeros((0, 8), np.float32)]
    params.append(grid_gaussians(rng, 4, 3, WIDTH, HEIGHT))
    params = [weighted(rng, p, blend) for p in params]
    picture = smooth_picture(WIDTH, HEIGHT)
    pictures = np.stack([picture, picture[::-1], picture[:, ::-1]])
    weights = rng.uniform(0.05, 1, (3, HEIGHT, WIDTH)).astype(np.float32)
    return params, np.ascontiguousarray(pictures), weights


@pytest.mark.parametrize("subset", [False, True])
def test_batch_does_what_one_at_a_time_does(
    cuda: Any, rng: np.random.Generator, subset: bool, blend: str
) -> None:
    params, pictures, weights = three_pictures(rng, blend)
    active = [np.arange(0, len(p), 3, dtype=np.uint32) if subset else None for p in params]
    batch = cuda.CudaBatch(WIDTH, HEIGHT, blend=blend)
    together = [p.copy() for p in params]
    target = batch.target(pictures, weights)
    losses = batch.solve_colors(target, together, active, 4, 1e-3)
    results = batch.fit(target, together, active, SCHEDULE)
    for i, start in enumerate(params):
        alone = [start.copy()]
        target = batch.target(pictures[i : i + 1], weights[i : i + 1])
        (loss,) = batch.solve_colors(target, alone, active[i : i + 1], 4, 1e-3)
        (result,) = batch.fit(target, alone, active[i : i + 1], SCHEDULE)
        assert loss == pytest.approx(losses[i], rel=1e-5)
        assert result.loss == pytest.approx(results[i].loss, rel=1e-4)
        np.testing.assert_allclose(together[i], alone[0], rtol=0, atol=2e-3)
    at_once = [p.copy() for p in params]
    batch.fit(batch.target(pictures, weights), at_once, active, SCHEDULE, sweeps=4, ridge=1e-3)
    for i in range(3):
        np.testing.assert_allclose(at_once[i], together[i], rtol=0, atol=2e-3)
    drawn = batch.render(params)
    for i, start in enumerate(params):
        np.testing.assert_array_equal(drawn[i], batch.render([start])[0])


@pytest.mark.parametrize("subset", [False, True])
def test_a_batch_fits_each_picture_to_its_own_matte(
    cuda: Any, rng: np.random.Generator, subset: bool
) -> None:
    params, pictures, weights = three_pictures(rng, "normalised")
    rooms = [rng.random(len(p)) < 0.5 for p in params]
    active = [np.arange(0, len(p), 3, dtype=np.uint32) if subset else None for p in params]
    mattes = rng.uniform(0, 1, (3, HEIGHT, WIDTH)).astype(np.float32)
    batch, twin = cuda.CudaBatch(WIDTH, HEIGHT, blend="normalised"), torch_on_gpu(WIDTH, HEIGHT, "normalised")
    together = [p.copy() for p in params]
    target = batch.target(pictures, weights, mattes, 0.7)
    results = batch.fit(target, together, active, FitSchedule(3), is_room=rooms)
    for i, start in enumerate(params):
        expected = start.copy()
        alone = twin.target(pictures[i], weights[i], mattes[i], 0.7)
        result = twin.fit(alone, expected, active[i], FitSchedule(3), is_room=rooms[i])
        assert results[i].loss == pytest.approx(result.loss, rel=1e-4)
        assert results[i].roi_mse == pytest.approx(result.roi_mse, rel=1e-4)
        np.testing.assert_allclose(together[i], expected, rtol=0, atol=2e-3)


@pytest.mark.parametrize("team", [1, 4])
@pytest.mark.parametrize("capacity", [3, 1024])
@pytest.mark.parametrize("subset", [False, True])
def test_all_ways_to_fit_agree(
    cuda: Any,
    rng: np.random.Generator,
    monkeypatch: pytest.MonkeyPatch,
    team: int,
    capacity: int,
    subset: bool,
    blend: str,
) -> None:
    """One warp or four a strip, with lists that hold all or overflow; more blocks than one, and one."""
    from gscodec.splat.cuda import fit as cuda_fit

    twin = torch_on_gpu(WIDTH, HEIGHT, blend)
    monkeypatch.setattr(cuda_fit, "LIST_CAPACITY", capacity)
    start = random_gaussians(rng, 400, WIDTH, HEIGHT)
    start[:, 5:] *= 0.1
    start = weighted(rng, start, blend)
    active = np.arange(0, 400, 2, dtype=np.uint32) if subset else None
    picture, weight = smooth_picture(WIDTH, HEIGHT), np.ones((HEIGHT, WIDTH), np.float32)
    expected = start.copy()
    twin_target = twin.target(picture, weight)
    loss = twin.solve_colors(twin_target, expected, active, 3, 1e-2)
    twin.fit(twin_target, expected, active, FitSchedule(iterations=2))
    batch = cuda.CudaBatch(WIDTH, HEIGHT, blend=blend)
    target = batch.target(picture[None], weight[None])
    for group_size in (0, 1, 3):
        params = [start.copy()]
        ways = {"team": team, "group_size": group_size}
        assert cuda_fit.solve_colors(batch, target, params, [active], 3, 1e-2, **ways) == [
            pytest.approx(loss, rel=1e-4)
        ]
        cuda_fit.fit(batch, target, params, [active], FitSchedule(iterations=2), **ways)
        np.testing.assert_allclose(params[0], expected, rtol=0, atol=2e-3)


@pytest.mark.parametrize(
    ("n", "width", "height", "high"),
    [
        (100_000, 640, 360, 2.0),
        (3, 3840, 2160, 800.0),
        (20_000, 3840, 2160, 9.0),
        (2, 1, 1, 2.0),
        (5, 1, 700, 9.0),
    ],
)
def test_extremes_agree_with_the_twin(
    cuda: Any, rng: np.random.Generator, n: int, width: int, height: int, high: float, blend: str
) -> None:
    params = weighted(rng, random_gaussians(rng, n, width, height, 0.5, high), blend)
    batch, twin = cuda.CudaBatch(width, height, blend=blend), torch_on_gpu(width, height, blend)
    residual = rng.normal(0, 1, (height, width, 3)).astype(np.float32)
    drawn, expected = batch.render([params])[0], twin.render(params)
    # Where hardly any weight is, a mean divides its rounding by hardly anything: a code value at most.
    np.testing.assert_allclose(drawn, expected, rtol=0, atol=1e-4 if blend == "sum" else 5e-3)
    assert np.quantile(np.abs(drawn - expected), 0.999) < 1e-4
    found, gradients = batch.gradients([params], residual[None])[0], twin.gradients(params, residual)
    large = np.abs(gradients).max(1) > 1e-2
    share = np.linalg.norm(found - gradients, axis=1)[large] / np.linalg.norm(gradients, axis=1)[large]
    # What a mean does to a place that is a Gaussian's alone nearly cancels.
    assert np.quantile(share, 0.99) < (1e-2 if blend == "sum" else 5e-2)
    np.testing.assert_array_equal(found[np.abs(gradients).max(1) == 0], 0)


def test_large_fit_follows_the_twin(cuda: Any, rng: np.random.Generator, blend: str) -> None:
    """Lists are made again when Gaussians stray: with bold steps that happens all the time."""
    width, height = 700, 300
    start = weighted(rng, grid_gaussians(rng, 50, 40, width, height), blend)
    picture, weight = smooth_picture(width, height), np.ones((height, width), np.float32)
    schedule = FitSchedule(iterations=12, rate_mean=0.8, rate_shape=0.3)
    losses = []
    for rasterizer in (torch_on_gpu(width, height, blend), cuda.CudaBatch(width, height, blend=blend)):
        params = start.copy()
        if isinstance(rasterizer, cuda.CudaBatch):
            target = rasterizer.target(picture[None], weight[None])
            losses.append(rasterizer.fit(target, [params], None, schedule)[0].loss)
        else:
            losses.append(rasterizer.fit(rasterizer.target(picture, weight), params, None, schedule).loss)
    assert losses[1] == pytest.approx(losses[0], rel=1e-2)


def test_bytes_and_floats_make_one_target(cuda: Any, rng: np.random.Generator) -> None:
    from gscodec.splat.gaussians import opponent_from_rgb

    params, _, _ = three_pictures(rng)
    pixels = rng.integers(0, 256, (3, HEIGHT, WIDTH, 3)).astype(np.uint8)
    weights = rng.integers(0, 256, (3, HEIGHT, WIDTH)).astype(np.uint8)
    batch = cuda.CudaBatch(WIDTH, HEIGHT)
    floats = np.stack([opponent_from_rgb(p) for p in pixels])
    losses = [
        [r.loss for r in batch.fit(batch.target(*arrays), params, None, FitSchedule(iterations=0))]
        for arrays in ((pixels, weights), (floats, weights.astype(np.float32) / 255))
    ]
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)


@pytest.mark.parametrize(("width", "height"), [(64, 48), (37, 23), (1, 1)])
def test_nv12_is_the_picture_in_limited_range(
    cuda: Any, rng: np.random.Generator, width: int, height: int, blend: str
) -> None:
    torch = pytest.importorskip("torch")
    from gscodec.splat.gaussians import RGB_FROM_OPPONENT

    params = [weighted(rng, random_gaussians(rng, n, width, height), blend) for n in (40, 10)]
    grounds = rng.uniform(0, 0.5, (2, 3)).astype(np.float32) * (blend == "normalised")
    batch = cuda.CudaBatch(width, height, blend=blend)
    left = batch.draw_nv12(params, grounds=grounds)
    batch.wait()
    found = torch.as_tensor(left, device="cuda").cpu().numpy()
    pictures = batch.render(params) + grounds[:, None, None]
    rgb = np.clip(pictures @ (RGB_FROM_OPPONENT.T * np.float32(255)), 0, 255)
    luma, blue, red = (np.array(f) for f in cuda.limited_range("bt709"))
    y = np.clip(rgb @ luma[:3] + luma[3], 0, 255) + 0.5
    assert np.abs(found[:, :height, :width] - np.floor(y)).max() <= 1
    even = np.pad(rgb, ((0, 0), (0, height % 2), (0, width % 2), (0, 0)), mode="edge")
    mean = even.reshape(2, -(-height // 2), 2, -(-width // 2), 2, 3).mean((2, 4))
    for plane, factors in enumerate((blue, red)):
        code = np.floor(mean @ factors[:3] + factors[3] + 0.5)
        assert np.abs(found[:, height:, plane::2] - code).max() <= 1


def test_pictures_stay_on_the_card(cuda: Any, rng: np.random.Generator, blend: str) -> None:
    torch = pytest.importorskip("torch")
    params = [weighted(rng, random_gaussians(rng, 40, WIDTH, HEIGHT), blend) for _ in range(3)]
    grounds = rng.uniform(0, 0.5, (3, 3)).astype(np.float32)
    batch = cuda.CudaBatch(WIDTH, HEIGHT, blend=blend)
    placed = batch.place(params)
    out = batch.draw_rgb8(placed, grounds=grounds)
    assert batch.draw_rgb8(placed, out, grounds) is out
    batch.wait()
    expected = batch.render_rgb8(params, grounds=grounds)[0]
    np.testing.assert_array_equal(torch.as_tensor(out, device="cuda").cpu().numpy(), expected)
    alone = batch.render_rgb8(params[2:], grounds=grounds[2:])[0]
    np.testing.assert_array_equal(expected[2], alone[0])


def test_learned_steps_are_fitted_to_pictures_only(cuda: Any, rng: np.random.Generator) -> None:
    """Under the normalised blend; the twin does the same, and what goes beyond is refused."""
    from gscodec.splat.cuda.raster import CudaRasterizer

    params, pictures, weights = three_pictures(rng, "normalised")

    def rounded(now: np.ndarray, gradient: np.ndarray) -> np.ndarray:
        return np.round(now * 8) / 8 + np.float32([0] * 2 + [0.3, 0, 0.3] + [0] * 4)

    found = []
    for raster in (
        CudaRasterizer(WIDTH, HEIGHT, blend="normalised"),
        torch_on_gpu(WIDTH, HEIGHT, "normalised"),
    ):
        moved = params[0].copy()
        target = raster.target(pictures[0], weights[0])
        found.append((raster.fit(target, moved, None, FitSchedule(2), rounded), moved))
    assert found[0][0].loss == pytest.approx(found[1][0].loss, rel=1e-3)
    assert np.median(np.abs(found[0][1] - found[1][1])) < 1e-3
    raster, active = CudaRasterizer(WIDTH, HEIGHT, blend="normalised"), np.arange(3, dtype=np.uint32)
    with pytest.raises(BackendError, match="--blend sum"):
        raster.fit(raster.target(pictures[0], weights[0]), params[0], active, FitSchedule(2), rounded)


def test_lone_weights_do_not_move_the_gradient_of_others(cuda: Any) -> None:
    """A Gaussian that is as good as absent, by its log-weight, changes nothing and is told nothing."""
    here = np.array([[30, 20, 6, 1, 5, 0.5, 0.1, -0.2, 0.5]], np.float32)
    absent = here + np.float32([3, 0, 0, 0, 0, 1, 1, 1, 0])
    absent[:, LOG_WEIGHT] = -126
    batch = cuda.CudaBatch(WIDTH, HEIGHT, blend="normalised")
    alone, both = batch.render([here])[0], batch.render([np.concatenate([here, absent])])[0]
    np.testing.assert_array_equal(alone, both)
    residual = np.ones((1, HEIGHT, WIDTH, 3), np.float32)
    gradients = batch.gradients([np.concatenate([here, absent])], residual)[0]
    assert np.isfinite(gradients).all()
    assert np.abs(gradients[1]).max() < 1e-20


def test_clear_pixels_agree_with_the_cpu_to_one_code(cuda: Any, rng: np.random.Generator) -> None:
    raster_cpu = pytest.importorskip("gscodec.splat.cpu.raster", exc_type=ImportError)
    params = random_gaussians(rng, 300, WIDTH, HEIGHT)
    params[:, 5:] *= 0.2
    clear = clear_pixels(params, WIDTH, HEIGHT)
    for background in (None, np.array([0.2, 0.5, 1], np.float32)):
        cpu, nobody = raster_cpu.CpuRasterizer(WIDTH, HEIGHT), np.zeros(len(params), bool)
        if background is None:
            here = cpu.render_rgb8(params)
        else:
            here, _ = cpu.render_person(params, nobody, background)
        there, _ = cuda.CudaBatch(WIDTH, HEIGHT).render_rgb8([params], background)
        assert np.abs(here.astype(int) - there[0])[clear].max() <= 1


def test_sizes_that_cannot_be_drawn(cuda: Any) -> None:
    for width, height in ((0, 5), (5, 0), (40_000, 5)):
        with pytest.raises(ConfigError, match="permitted"):
            cuda.CudaBatch(width, height)


def test_gpu_that_is_not_there(cuda: Any) -> None:
    with pytest.raises(BackendError, match="nvidia-smi"):
        cuda.CudaBatch(8, 8, ordinal=999)


def test_what_the_driver_refuses_is_told_once_and_work_goes_on(cuda: Any) -> None:
    from gscodec.splat.cuda.params import Scene

    batch = cuda.CudaBatch(16, 16)
    batch.work.launch(0, (1, 1), Scene())
    with pytest.raises(BackendError, match="CUDA: "):
        batch.wait()
    assert (batch.render([np.zeros((0, 8), np.float32)])[0] == 0).all()
    for _ in range(700):  # more than are kept back
        batch.work.launch(0, (1, 1), Scene())
    with pytest.raises(BackendError, match="CUDA: "):
        batch.wait()
    batch.wait()
