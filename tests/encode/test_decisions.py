"""What the encoder decides: each decision has a test that fails where it is taken the wrong way round.

Bytes, kernels and bad input have tests of their own; a wrong decision breaks none of them and only makes
files larger or worse. tools/mutate.py puts such decisions in and says which test notices.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import cv2
import numpy as np
import pytest

from gscodec.analysis.motion import MotionEstimator
from gscodec.bench.democlip import demo_frames
from gscodec.coding.adaptive import AdaptiveCoder
from gscodec.coding.quantize import dequantize, quantize_colors
from gscodec.config import EncoderConfig, encoder_config
from gscodec.container.headers import FrameType
from gscodec.encode.encoder import Encoder
from gscodec.encode.lagrangian import lagrangian
from gscodec.encode.rate import RateControl, starting_crf
from gscodec.splat.gaussians import opponent_from_rgb
from gscodec.splat.raster import FitResult, FitSchedule, make_rasterizer

SIZE = WIDTH, HEIGHT = 96, 80
FULL = np.ones((HEIGHT, WIDTH), np.float32)
LEFT = np.where(np.arange(WIDTH) < WIDTH // 2, FULL, 0).astype(np.float32)  # the person's half
PLAIN = EncoderConfig(gaussians=60, quality=1.0, iterations=40, detail=1.5, motion=False, births=False)


def texture(seed: int = 0, margin: int = 40) -> np.ndarray:
    """Smooth texture with `margin` pixels more than the picture on every side, uint8 R'G'B'."""
    noise = np.random.default_rng(seed).normal(0, 1, (HEIGHT + 2 * margin, WIDTH + 2 * margin, 3))
    smooth = cv2.GaussianBlur(noise, (0, 0), 3) + 3 * cv2.GaussianBlur(noise, (0, 0), 8)
    return np.clip(128 + 50 * smooth / smooth.std(), 0, 255).astype(np.uint8)


WORLD = texture()


def view(x: int) -> np.ndarray:
    """The picture when everything has moved to the right by x pixels."""
    return np.ascontiguousarray(WORLD[40 : 40 + HEIGHT, 40 - x : 40 - x + WIDTH])


def new_encoder(config: EncoderConfig) -> Encoder:
    return Encoder(config, make_rasterizer("cpu", WIDTH, HEIGHT, 1, blend=config.blend_used))


class Clock:
    """Stands for time.perf_counter: moves by `step` with every look, and when the test moves it."""

    def __init__(self) -> None:
        self.now, self.step = 1000.0, 0.0

    def __call__(self) -> float:
        self.now += self.step
        return self.now


class TimedRaster:
    """A rasteriser whose fits take a given time by the test's clock; remembers what each was allowed."""

    def __init__(self, clock: Clock, seconds: float) -> None:
        self._raster, self._clock, self._seconds = make_rasterizer("cpu", WIDTH, HEIGHT, 1), clock, seconds
        self.allowed: list[float] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._raster, name)

    def fit(
        self, target: Any, params: Any, active: Any, schedule: FitSchedule, *more: Any, **named: Any
    ) -> FitResult:
        self.allowed.append(schedule.deadline_s)
        self._clock.now += self._seconds
        return self._raster.fit(target, params, active, replace(schedule, deadline_s=0.0), *more, **named)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr("time.perf_counter", clock)
    return clock


# The deadline


def test_each_fit_gets_no_more_than_the_time_that_is_left(clock: Clock) -> None:
    """Three fits of an I-frame, 20 ms each, of a frame's 100 ms; the room's get a share."""
    raster = TimedRaster(clock, 0.02)
    config = replace(PLAIN, deadline_ms=100.0, iterations=8)
    frame = Encoder(config, raster).encode(view(0), LEFT, FrameType.I)
    assert frame.seconds == pytest.approx(0.06)
    room, person, everywhere = raster.allowed
    assert 0 < person <= 0.1 - 0.02
    assert person > 0.03  # what is left is used
    assert 0 < room <= 0.1 / 3
    assert 0 < everywhere <= (0.1 - 0.04) / 3


def test_a_fit_that_begins_too_late_ends_at_once(clock: Clock) -> None:
    """What came before it took longer than the frame may take."""
    config = replace(PLAIN, deadline_ms=50.0, iterations=5000, background="none")
    clock.step = 1.0
    frame = new_encoder(config).encode(view(0), FULL, FrameType.I)
    assert frame.iterations < 50  # of 5000: the native fit keeps the time that it was given


def test_without_a_deadline_nothing_is_cut_short(clock: Clock) -> None:
    raster = TimedRaster(clock, 60.0)
    frame = Encoder(replace(PLAIN, iterations=8), raster).encode(view(0), LEFT, FrameType.I)
    assert raster.allowed == [0.0] * 3  # 0: no limit
    assert frame.iterations == 8


def test_a_p_frame_that_is_late_changes_next_to_nothing(clock: Clock) -> None:
    """Its pursuit and its search for births get what is left, too."""
    changed = {}
    for deadline_ms in (None, 50.0):
        config = replace(PLAIN, update_passes=100, births=True, deadline_ms=deadline_ms)
        encoder = new_encoder(config)
        encoder.encode(view(0), FULL, FrameType.I)
        clock.step = 1.0
        frame = encoder.encode(view(20), FULL, FrameType.P)
        clock.step = 0.0
        changed[deadline_ms] = frame.n_coded
    assert changed[50.0] <= 3
    assert changed[None] > 20


# Rate control


@pytest.mark.parametrize("spent", [0.25, 0.5, 2.0, 4.0])
def test_a_gop_that_took_too_much_makes_the_next_one_smaller(spent: float) -> None:
    control = RateControl(encoder_config(bitrate=80.0))
    control.finished(0.0, spent * 160e3, 2.0, 30.0)
    assert np.sign(control.crf_offset) == np.sign(spent - 1)
    before = control.crf_offset
    control.finished(before, spent * 160e3, 2.0, 30.0)  # and again: further the same way
    assert abs(control.crf_offset) > abs(before)


@pytest.mark.parametrize("spent", [0.5, 2.0])
def test_what_was_spent_too_much_is_made_good(spent: float) -> None:
    """A GOP that is on target after one that was not: the debt still counts."""
    control = RateControl(encoder_config(bitrate=80.0))
    control.finished(0.0, spent * 160e3, 2.0, 30.0)
    control.finished(0.0, 160e3, 2.0, 30.0)
    assert np.sign(control.crf_offset) == np.sign(spent - 1)


@pytest.mark.parametrize("db", [-3.0, -0.5, 0.5, 3.0])
def test_a_gop_that_looks_too_good_makes_the_next_one_coarser(db: float) -> None:
    control = RateControl(encoder_config(target_psnr=33.0))
    control.finished(0.0, 1e5, 2.0, 33.0 + db)
    assert np.sign(control.crf_offset) == np.sign(db)


def test_the_first_gop_starts_on_the_right_side() -> None:
    few, many = (starting_crf(encoder_config(bitrate=kbit), 640 * 360, 25) for kbit in (30.0, 120.0))
    low, high = (starting_crf(encoder_config(target_psnr=db), 640 * 360, 25) for db in (27.0, 34.0))
    assert few > many
    assert low > high
    assert starting_crf(encoder_config(bitrate=60.0), 640 * 360, 50) > starting_crf(
        encoder_config(bitrate=60.0), 640 * 360, 25
    )  # twice the frames with the same bits


@pytest.mark.parametrize("gaussians", [60, None])
def test_a_higher_offset_is_a_smaller_gop(gaussians: int | None) -> None:
    """With the number of Gaussians given, only what a bit must buy can move."""
    sizes = []
    for offset in (-8.0, 0.0, 8.0):
        encoder = new_encoder(replace(PLAIN, gaussians=gaussians, crf=None if gaussians else 26.0))
        encoder.crf_offset = offset
        frames = [encoder.encode(view(i), FULL, FrameType.P if i else FrameType.I) for i in range(3)]
        sizes.append((len(frames[0].payload), sum(len(f.payload) for f in frames[1:])))
    for of_kind in zip(*sizes, strict=True):
        assert of_kind[0] > of_kind[1] > of_kind[2]
        assert of_kind[0] > 1.03 * of_kind[2]


# Noise


def test_noise_pays_where_more_steps_do_not() -> None:
    """D + λR of an I-frame after as many steps more, with the noise of rounding and without."""
    pixels, matte = next(iter(demo_frames(1, 640, 360)))
    matte = matte.astype(np.float32)

    def cost(iterations: int, noise_iterations: int) -> float:
        config = EncoderConfig(crf=30.0, iterations=iterations, noise_iterations=noise_iterations)
        raster = make_rasterizer("cpu", 640, 360, 1, blend=config.blend_used)
        frame = Encoder(config, raster).encode(pixels, matte, FrameType.I)
        room = config.background_weight * (frame.error - frame.roi_error)
        quality = config.operating_point(640 * 360)[1]
        lambda_ = lagrangian(quality, 1.0, 0.0, config.blend_used).iframe
        return (frame.roi_error + room) / 255**2 + lambda_ * 8 * len(frame.payload)

    few, many, noisy = cost(150, 0), cost(450, 0), cost(150, 300)
    assert noisy < 0.96 * min(few, many)


# Motion


def test_motion_that_makes_it_worse_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """The search is sure that everything has moved by ten pixels; nothing has."""
    told: list[Any] = []

    def wrong(self: MotionEstimator, *_: Any) -> np.ndarray:
        meshes = np.zeros((2, self.rows, self.columns, 2), np.int32)
        meshes[0] = 20  # half pixels
        return meshes

    monkeypatch.setattr(MotionEstimator, "estimate", wrong)
    monkeypatch.setattr(MotionEstimator, "coded", lambda self, mesh, *_: told.append(mesh))
    encoder = new_encoder(replace(PLAIN, motion=True, polish_passes=8))
    encoder.encode(view(0), FULL, FrameType.I)
    assert encoder.state is not None
    before = dequantize(encoder.state)
    frame = encoder.encode(view(0), FULL, FrameType.P)
    assert told == [None]
    moved = np.abs(dequantize(encoder.state)[:, :2] - before[:, :2]).max(axis=1)
    assert np.median(moved) == 0
    assert frame.n_coded < len(before) / 4


@pytest.mark.parametrize("right", [0, 1], ids=["person", "everything"])
def test_of_two_motions_the_better_is_taken(right: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Either the person moves or everything; the search is right about one and wrong about the other."""
    told: list[Any] = []

    def find_both(self: MotionEstimator, *_: Any) -> np.ndarray:
        meshes = np.zeros((2, self.rows, self.columns, 2), np.int32)
        meshes[..., 0] = -12
        meshes[right, ..., 0] = 8
        return meshes

    def remember(_: Any, mesh: Any, room_moves: bool = False) -> None:
        told.append((mesh, room_moves))

    monkeypatch.setattr(MotionEstimator, "estimate", find_both)
    monkeypatch.setattr(MotionEstimator, "coded", remember)
    config = replace(PLAIN, gaussians=120, motion=True, background_weight=1.0, background_share=0.5)
    before, after = (view(0), view(4)) if right else (with_patches(1, 14), with_patches(1, 18))
    encoder = new_encoder(config)
    encoder.encode(before, LEFT, FrameType.I)
    encoder.encode(after, LEFT, FrameType.P)
    [(mesh, room_moves)] = told
    assert mesh is not None
    assert (mesh[..., 0] == 8).all()
    assert room_moves == bool(right)


def test_the_room_moves_with_a_hand_held_camera() -> None:
    """Whole picture pans: the room's Gaussians go along with the person's."""
    encoder = new_encoder(replace(PLAIN, motion=True, background_weight=0.5, background_share=0.5))
    encoder.encode(view(0), LEFT, FrameType.I)
    assert encoder.state is not None
    before = dequantize(encoder.state)[encoder.state.is_room]
    for i in range(1, 5):
        encoder.encode(view(2 * i), LEFT, FrameType.P)
    after = dequantize(encoder.state)[encoder.state.is_room]
    assert len(after) == len(before) > 10
    inside = (before[:, 0] > WIDTH / 2) & (before[:, 0] < WIDTH - 12)
    assert np.median((after - before)[inside, 0]) == pytest.approx(8, abs=1.5)


def test_a_mesh_follows_as_far_as_its_bits_are_worth() -> None:
    """With a P-frame's usual lambda, 0.01 at crf 26, a bend is followed; where bits are dear it is not."""
    bends = []
    after = view(0).copy()
    after[:, : WIDTH // 2] = view(2)[:, : WIDTH // 2]
    points = np.random.default_rng(0).uniform(4, [WIDTH - 4, HEIGHT - 4], (200, 2)).astype(np.float32)
    for lambda_ in (0.01, 0.3):
        estimator = MotionEstimator(SIZE, AdaptiveCoder(SIZE).mesh, encoder_config().motion_pixels)
        every = np.ones((estimator.rows, estimator.columns), np.uint8)
        estimator.start(view(0))
        meshes = estimator.estimate(
            after, points, np.zeros(200, bool), np.ones(200, np.float32), (every, every), lambda_
        )
        bends.append(int(np.abs(np.diff(meshes[0], axis=1)).sum()))  # half pixels
    assert bends[0] >= 11
    assert bends[1] <= 5


# Births


def with_patches(n: int, x: int) -> np.ndarray:
    """A dim wall; from the second frame on there is a bright thing at column x."""
    picture = np.full((HEIGHT, WIDTH, 3), 60, np.uint8)
    if n:
        picture[24:56, x : x + 20] = (200, 120, 40)
        picture[32:40, x + 6 : x + 14] = (20, 40, 220)
    return picture


@pytest.mark.parametrize(("x", "in_room"), [(66, True), (10, False)])
def test_what_is_born_in_the_room_is_the_rooms(x: int, in_room: bool) -> None:
    config = replace(PLAIN, gaussians=24, births=True, background_weight=1.0, update_passes=0)
    encoder = new_encoder(config)
    encoder.encode(with_patches(0, x), LEFT, FrameType.I)
    assert encoder.state is not None
    old = dequantize(encoder.state)
    for n in range(1, 3):
        encoder.encode(with_patches(n, x), LEFT, FrameType.P)
    now = dequantize(encoder.state)
    is_new = ~(now[:, None] == old[None]).all(axis=2).any(axis=1)
    there = is_new & (np.abs(now[:, 0] - x - 10) < 14)
    assert there.sum() >= 3
    assert (encoder.state.is_room[there] == in_room).all()


def test_without_a_room_nothing_born_is_the_rooms() -> None:
    """With background "none" a decoder expects no Gaussian of the room; but means need some to be black."""
    encoder = new_encoder(replace(PLAIN, gaussians=24, births=True, background="none", blend="sum"))
    for n in range(3):
        encoder.encode(with_patches(n, 40), LEFT, FrameType.P if n else FrameType.I)
    assert encoder.state is not None
    assert not encoder.state.is_room.any()


# Rounding


def test_colours_are_solved_again_after_rounding() -> None:
    """Rounded geometry wants other colours: solving them once more must gain next to nothing."""
    config = replace(PLAIN, gaussians=120, quality=2.0, polish_passes=0)
    encoder = new_encoder(config)
    encoder.encode(view(0), FULL, FrameType.I)
    state = encoder.state
    assert state is not None
    raster = make_rasterizer("cpu", WIDTH, HEIGHT, 1, blend=config.blend_used)
    picture = opponent_from_rgb(view(0)) - opponent_from_rgb(state.ground)

    def loss(params: np.ndarray) -> float:
        return float(((raster.render(params).astype(np.float64) - picture) ** 2).sum())

    params = dequantize(state)
    before = loss(params)
    raster.solve_colors(raster.target(picture, FULL), params, None, 8, 1e-3)
    again = state.copy()
    quantize_colors(params, again, slice(None))
    assert before < 1.03 * loss(dequantize(again))
