"""Encoder and decoder, frame by frame: they agree on every integer and every pixel, whatever the settings."""

from __future__ import annotations

import itertools
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest

from coding_states import assert_same
from conftest import synthetic_clip
from gscodec.bench.democlip import demo_frames
from gscodec.coding.quantize import dequantize, ground_color, take
from gscodec.config import (
    GAUSSIAN_ROOMS,
    QUALITY_ONE,
    UPDATE_MODES,
    DecoderLimits,
    EncoderConfig,
    encoder_config,
)
from gscodec.container.headers import BACKGROUND_CODES, BLEND_CODES, ENTROPY_CODES, SEQUENCE_HEADER, FrameType
from gscodec.decode.decoder import MAX_UNDRAWN, Decoder
from gscodec.decode.show import Holder
from gscodec.encode.encoded import EncodedFrame
from gscodec.encode.encoder import Encoder
from gscodec.encode.frame_store import loss_weight
from gscodec.errors import BitstreamError, CorruptError, FitError, LimitError, UnsupportedError
from gscodec.metrics import psnr, psnr_db
from gscodec.splat.gaussians import BLENDS
from gscodec.splat.raster import FitResult, make_rasterizer

pytest.importorskip("gscodec.splat.cpu.raster", reason="no native core", exc_type=ImportError)

WIDTH, HEIGHT = 64, 48
CLIP = synthetic_clip("disc", WIDTH, HEIGHT, 5)
FAST = EncoderConfig(
    gaussians=30,
    quality=1.2,
    detail=1.5,
    iterations=12,
    p_iterations=4,
    polish_passes=1,
    update_passes=1,
    background_share=0.3,
)
TYPES = (FrameType.I, FrameType.P, FrameType.P, FrameType.I, FrameType.P)


def mattes(clip: list[np.ndarray]) -> list[np.ndarray]:
    """1 on the disc, with a soft edge."""
    y, x = np.mgrid[:HEIGHT, :WIDTH] + 0.5
    centers = [WIDTH * (0.3 + 0.4 * n / (len(clip) - 1)) for n in range(len(clip))]
    return [np.clip(14 - np.hypot(x - c, y - HEIGHT / 2), 0, 1).astype(np.float32) for c in centers]


MATTES = mattes(CLIP)
FULL = [np.ones((HEIGHT, WIDTH), np.float32)] * len(CLIP)
EMPTY = [np.zeros((HEIGHT, WIDTH), np.float32)] * len(CLIP)


def make_encoder(config: EncoderConfig, threads: int = 1) -> Encoder:
    return Encoder(config, make_rasterizer("cpu", WIDTH, HEIGHT, threads, blend=config.blend_used))


def sequence_header(encoder: Encoder, config: EncoderConfig) -> dict[str, Any]:
    state = encoder.state
    assert state is not None
    quality = state.quality * QUALITY_ONE
    assert quality == int(quality)  # the header can say it
    header = {field.name: field.low for field in SEQUENCE_HEADER}
    header |= {"width": WIDTH, "height": HEIGHT, "quality_q8": int(quality)}
    header |= {"entropy": ENTROPY_CODES.index(config.entropy), "hold": config.hold}
    header |= {"blend": BLEND_CODES.index(config.blend_used)}
    return header | {"background": BACKGROUND_CODES.index(config.background)}


def encode(
    config: EncoderConfig,
    clip: list[np.ndarray] = CLIP,
    matte: list[np.ndarray] = MATTES,
    threads: int = 1,
    types: tuple[FrameType, ...] = TYPES,
) -> tuple[list[EncodedFrame], list, dict[str, Any]]:
    """Coded frames, the encoder's state after each, and the sequence header."""
    encoder = make_encoder(config, threads)
    frames, states = [], []
    for pixels, m, kind in zip(clip, matte, types, strict=False):
        frames.append(encoder.encode(pixels, m, kind))
        states.append(encoder.state.copy())
    return frames, states, sequence_header(encoder, config)


def check_decoding(
    frames: list[EncodedFrame], states: list, header: dict[str, Any], clip: list[np.ndarray] = CLIP
) -> list[np.ndarray]:
    """Decode; every state is the encoder's, every picture what the encoder scored."""
    decoder = Decoder(header, backend="cpu", threads=1)
    blend = BLEND_CODES[header["blend"]]
    raster, holder = make_rasterizer("cpu", WIDTH, HEIGHT, 1, blend=blend), Holder(header["hold"])
    pictures = []
    for frame, state, pixels in zip(frames, states, clip, strict=False):
        gaussians = decoder.decode(frame.payload, frame.frame_type)
        assert_same(decoder.state, state)
        assert len(gaussians) == frame.n_gaussians == len(state)
        np.testing.assert_array_equal(gaussians.params, dequantize(state))
        picture = decoder.render()
        wanted = raster.render_rgb8(dequantize(state), ground_color(state))
        holder.show(wanted, frame.frame_type == FrameType.I)
        np.testing.assert_array_equal(picture, wanted)
        error = ((picture.astype(np.float64) - pixels) ** 2).sum()
        assert frame.error == pytest.approx(error)
        assert frame.samples == picture.size
        pictures.append(picture)
    return pictures


MIXES = [
    mix
    for mix in itertools.product(
        ("adaptive", "ans", "zstd"),
        UPDATE_MODES,
        GAUSSIAN_ROOMS,
        (True, False),
        ("superpixels", "random"),
        BLENDS,
    )
    if mix[3] or mix[0] == "adaptive"  # without motion: there is none under ans and zstd anyway
    if mix[5] == "sum" or mix[:2] == ("adaptive", "greedy")
]


@pytest.mark.parametrize(("entropy", "update", "background", "motion", "init", "blend"), MIXES)
def test_decoder_and_encoder_agree(
    entropy: str, update: str, background: str, motion: bool, init: str, blend: str
) -> None:
    config = replace(FAST, entropy=entropy, update=update, background=background, motion=motion, init=init)
    if blend == "sum":
        config = replace(config, blend=blend)
    frames, states, header = encode(config)
    assert [f.frame_type for f in frames] == list(TYPES)
    check_decoding(frames, states, header)
    assert all(len(f.payload) for f in frames if f.frame_type == FrameType.I)
    if background == "none" and blend == "sum":
        assert not any(state.is_room.any() for state in states)
    elif init == "superpixels":  # at random places polishing prunes the whole room
        assert states[0].is_room.any()
        assert not states[0].is_room.all()


@pytest.mark.parametrize("update", UPDATE_MODES)
@pytest.mark.parametrize("entropy", ["adaptive", "ans"])
def test_two_runs_and_two_threads_give_the_same_bytes(entropy: str, update: str) -> None:
    config = replace(FAST, entropy=entropy, update=update)
    one, again, two = (encode(config, threads=n)[0] for n in (1, 1, 2))
    assert [f.payload for f in one] == [f.payload for f in again] == [f.payload for f in two]


@pytest.mark.parametrize("matte", [EMPTY, FULL], ids=["empty", "full"])
@pytest.mark.parametrize("background", GAUSSIAN_ROOMS)
def test_nobody_or_everybody(matte: list[np.ndarray], background: str) -> None:
    frames, states, header = encode(replace(FAST, background=background), matte=matte)
    pictures = check_decoding(frames, states, header)
    assert frames[0].roi_samples == frames[0].samples == 3 * WIDTH * HEIGHT
    assert frames[0].roi_error == frames[0].error
    assert not any(state.is_room.any() for state in states)
    assert np.abs(pictures[0].astype(int) - CLIP[0]).mean() < 12


def test_an_empty_matte_is_a_full_one() -> None:
    a, b = (encode(FAST, matte=m)[0] for m in (EMPTY, FULL))
    assert [f.payload for f in a] == [f.payload for f in b]


def test_p_frames_follow_the_clip() -> None:
    config = replace(FAST, gaussians=60, iterations=60, update_passes=3, gop_length=5)
    types = (FrameType.I, *[FrameType.P] * 4)
    frames, states, header = encode(config, types=types)
    check_decoding(frames, states, header)
    db = [psnr_db(f.roi_error, f.roi_samples) for f in frames]
    assert min(db) > db[0] - 3
    assert db[0] > 22
    raster = make_rasterizer("cpu", WIDTH, HEIGHT, 1, blend="normalised")
    still = raster.render_rgb8(dequantize(states[0]), ground_color(states[0]))
    roi = MATTES[4] >= 0.5
    assert ((still.astype(float) - CLIP[4]) ** 2)[roi].sum() > 4 * frames[4].roi_error
    assert sum(len(f.payload) for f in frames[1:]) < 4 * len(frames[0].payload)


def test_motion_pays_where_the_picture_moves() -> None:
    """A still object that moves as a whole: said once and not Gaussian by Gaussian."""
    clip = [np.roll(CLIP[0], 3 * i, axis=1) for i in range(4)]
    matte = [np.roll(MATTES[0], 3 * i, axis=1) for i in range(4)]
    types = (FrameType.I, *[FrameType.P] * 3)
    config = replace(FAST, gaussians=60, iterations=60, update_passes=3, polish_passes=4)
    moving, states, header = encode(config, clip, matte, types=types)
    check_decoding(moving, states, header, clip)
    assert moving[1].n_coded < len(states[0])
    still, _, _ = encode(replace(config, motion=False), clip, matte, types=types)
    assert sum(len(f.payload) for f in moving[1:]) < 0.8 * sum(len(f.payload) for f in still[1:])


@pytest.mark.parametrize("update", UPDATE_MODES)
def test_a_still_clip_costs_nothing_after_its_iframe(update: str) -> None:
    config = replace(FAST, iterations=60, update=update, polish_passes=8)
    frames, states, header = encode(
        config, clip=[CLIP[0]] * 4, matte=[MATTES[0]] * 4, types=(FrameType.I, *[FrameType.P] * 3)
    )
    check_decoding(frames, states, header, [CLIP[0]] * 4)
    assert len(frames[-1].payload) < 0.15 * len(frames[0].payload)
    if update == "refit":
        assert all(f.n_coded == f.iterations == 0 for f in frames[1:])
        assert_same(states[0], states[-1])


def test_a_black_picture_has_no_gaussians_and_still_decodes() -> None:
    clip = [np.zeros((HEIGHT, WIDTH, 3), np.uint8)] * 3
    for entropy in ("adaptive", "ans", "zstd"):
        frames, states, header = encode(replace(FAST, entropy=entropy, blend="sum"), clip=clip, matte=FULL)
        pictures = check_decoding(frames, states, header, clip)
        assert frames[0].n_gaussians == 0
        assert not any(p.any() for p in pictures)


def test_a_target_psnr_stops_the_fit() -> None:
    config = replace(FAST, iterations=300)
    long, _, _ = encode(config, types=TYPES[:1])
    short, states, header = encode(replace(config, target_psnr=14.0), types=TYPES[:1])
    check_decoding(short, states, header)
    assert short[0].iterations < long[0].iterations == 300


def test_a_first_frame_is_an_iframe_whatever_is_asked() -> None:
    frame = make_encoder(FAST).encode(CLIP[0], MATTES[0], FrameType.P)
    assert frame.frame_type == FrameType.I
    assert frame.n_coded == frame.n_gaussians


def test_decoding_may_start_at_the_second_iframe() -> None:
    frames, states, header = encode(FAST)
    check_decoding(frames[3:], states[3:], header, CLIP[3:])


def test_more_quality_costs_more_and_looks_better() -> None:
    coarse, fine = (
        encode(replace(FAST, quality=q, iterations=60, gaussians=60), types=TYPES[:1])[0][0]
        for q in (3.0, 0.5)
    )
    assert len(coarse.payload) < len(fine.payload)
    assert coarse.roi_error > fine.roi_error


def test_a_fit_that_diverges_is_an_error() -> None:
    class Broken:
        """A rasteriser whose fits end in NaN."""

        def __init__(self) -> None:
            self._raster = make_rasterizer("cpu", WIDTH, HEIGHT, 1)

        def __getattr__(self, name: str) -> Any:
            return getattr(self._raster, name)

        def fit(self, *_: Any, **__: Any) -> FitResult:
            return FitResult(7, float("nan"), float("nan"), False)

    with pytest.raises(FitError, match="frame 0 diverged at iteration 7"):
        Encoder(FAST, Broken()).encode(CLIP[0], MATTES[0], FrameType.I)


def test_nan_in_a_matte_is_an_error_and_no_garbage() -> None:
    matte = MATTES[0].copy()
    matte[20, 30] = np.nan
    with pytest.raises(FitError, match="diverged"):
        make_encoder(FAST).encode(CLIP[0], matte, FrameType.I)


def test_loss_weights() -> None:
    matte = np.array([[0.0, 0.25, 0.5, 0.75, 1.0]], np.float32)
    np.testing.assert_allclose(loss_weight(matte, 0.2), [[0.2, 0.2, 0.6, 1.0, 1.0]], rtol=1e-6)
    assert loss_weight(matte, 0.2).dtype == np.float32


# The decoder alone


def test_a_p_frame_needs_its_reference() -> None:
    frames, _, header = encode(FAST)
    decoder = Decoder(header, backend="cpu", threads=1)
    with pytest.raises(CorruptError, match="no I-frame"):
        decoder.render()
    with pytest.raises(CorruptError, match="reference"):
        decoder.decode(frames[1].payload, FrameType.P)
    decoder.decode(frames[0].payload, FrameType.I)
    with pytest.raises(BitstreamError):
        decoder.decode(frames[3].payload[:9], FrameType.I)
    with pytest.raises(CorruptError, match="reference"):  # what was there before is no reference any more
        decoder.decode(frames[1].payload, FrameType.P)
    decoder.decode(frames[3].payload, FrameType.I)
    decoder.decode(frames[4].payload, FrameType.P)


def test_pictures_are_the_same_whichever_are_looked_at() -> None:
    frames, _, header = encode(replace(FAST, hold=30))
    every, some, last = (Decoder(header, backend="cpu", threads=1) for _ in range(3))
    for i, frame in enumerate(frames):
        for decoder in (every, some, last):
            decoder.decode(frame.payload, frame.frame_type)
        picture = every.render()
        np.testing.assert_array_equal(every.render(), picture)
        if i == 2:
            assert (picture != make_picture(every)).any()  # held: not what its Gaussians alone would give
            np.testing.assert_array_equal(last.render(), picture)
        if i == 4:
            some.render()[:] = 0  # the caller's own
            np.testing.assert_array_equal(some.render(), picture)
    assert header["hold"] == 30


def test_pictures_from_a_recovery_point_on_need_none_before_it() -> None:
    """Who seeks decodes the packets from the I-frame on, and draws only from the recovery point on."""
    types = (FrameType.I, FrameType.P, FrameType.RECOVERY, FrameType.P, FrameType.P)
    frames, _, header = encode(replace(FAST, hold=30), types=types)
    every, seeking = (Decoder(header, backend="cpu", threads=1) for _ in range(2))
    n_drawn = 0

    def draw(*arguments: object) -> np.ndarray:
        nonlocal n_drawn
        n_drawn += 1
        return raster.render_rgb8(*arguments)

    raster = make_rasterizer("cpu", WIDTH, HEIGHT, 1, blend=seeking.sequence.blend)
    seeking._raster = SimpleNamespace(render_rgb8=draw)
    pictures = []
    for frame in frames:
        every.decode(frame.payload, frame.frame_type)
        pictures.append(every.render())
        seeking.decode(frame.payload, frame.frame_type)
    np.testing.assert_array_equal(seeking.render(), pictures[4])
    assert n_drawn == 3
    assert [frame.frame_type for frame in frames] == list(types)
    wanted = [((p.astype(int) - pixels) ** 2).sum() for p, pixels in zip(pictures, CLIP, strict=True)]
    assert [frame.error for frame in frames] == wanted
    fresh = Decoder(header, backend="cpu", threads=1)
    for frame in frames[:3]:
        fresh.decode(frame.payload, frame.frame_type)
    np.testing.assert_array_equal(pictures[2], make_picture(fresh))  # shown as it is


def test_a_decoder_keeps_few_states_that_nobody_looks_at() -> None:
    frames, _, header = encode(replace(FAST, hold=30), types=TYPES[:2])
    decoder = Decoder(header, backend="cpu", threads=1)
    decoder.decode(frames[0].payload, FrameType.I)
    state = decoder.state
    decoder._coder = SimpleNamespace(unpack_pframe=lambda payload, reference: state, kept=None)
    for _ in range(3 * MAX_UNDRAWN):
        decoder.decode(b"", FrameType.P)
        assert len(decoder._undrawn) <= MAX_UNDRAWN


def test_a_clip_of_the_person_alone_is_held_too() -> None:
    frames, states, header = encode(replace(FAST, hold=20, gaussians=60))
    color = np.array([0.2, 0.9, 0.4], np.float32)
    decoder, plain = (Decoder(header, backend="cpu", threads=1, background=b) for b in (color, None))
    holder = Holder(20)
    for i, frame in enumerate(frames):
        decoder.decode(frame.payload, frame.frame_type)
        plain.decode(frame.payload, frame.frame_type)
        wanted, _ = plain.render_person(color)
        holder.show(wanted, frame.frame_type == FrameType.I)
        if i != 1:  # one that is not looked at counts all the same
            np.testing.assert_array_equal(decoder.render(), wanted)
    assert any(state.is_room.any() for state in states)


def make_picture(decoder: Decoder) -> np.ndarray:
    return make_rasterizer("cpu", WIDTH, HEIGHT, 1, blend=decoder.sequence.blend).render_rgb8(
        dequantize(decoder.state), ground_color(decoder.state)
    )


def test_limits_and_unknown_values_of_the_sequence_header() -> None:
    frames, _, header = encode(FAST, types=TYPES[:1])
    with pytest.raises(LimitError, match="64x48"):
        Decoder(header, limits=DecoderLimits(max_pixels=64 * 48 - 1))
    for name in ("profile", "blend"):
        with pytest.raises(UnsupportedError, match=name):
            Decoder(header | {name: 255})
    decoder = Decoder(header, limits=DecoderLimits(max_gaussians=5), backend="cpu")
    with pytest.raises(LimitError, match="Gaussians"):
        decoder.decode(frames[0].payload, FrameType.I)


def test_the_person_alone() -> None:
    """Over black and over white: alpha says how much of the background shows."""
    config = replace(FAST, gaussians=80, iterations=60)
    frames, states, header = encode(config, types=TYPES[:1])
    decoder = Decoder(header, backend="cpu", threads=1)
    decoder.decode(frames[0].payload, FrameType.I)
    (black, alpha), (white, _) = (decoder.render_person(np.full(3, c, np.float32)) for c in (0.0, 1.0))
    assert black.shape == white.shape == (HEIGHT, WIDTH, 3)
    assert alpha.shape == (HEIGHT, WIDTH)
    open_ = (black.min(axis=2) > 0) & (white.max(axis=2) < 255)  # nothing clamped
    shown = white.astype(int) - black
    assert np.abs(shown - (255 - alpha.astype(int))[..., None])[open_].max() <= 2
    core, far = MATTES[0] == 1, MATTES[0] == 0
    assert alpha[core].mean() > 150  # 80 Gaussians on a picture of noise
    assert alpha[far].mean() < 60
    person = states[0]
    assert person.is_room.any()


def test_the_person_can_be_drawn_without_the_room() -> None:
    """Room Gaussians must not help to draw the person: the person's alone, inside the ROI, are the person."""
    pixels, matte = next(iter(demo_frames(1, 160, 96)))
    config = encoder_config("fast", gaussians=250)
    encoder = Encoder(config, make_rasterizer("cpu", 160, 96, 1))
    encoder.encode(pixels, matte, FrameType.I)
    assert encoder.state is not None
    person = take(encoder.state, np.flatnonzero(~encoder.state.is_room))
    alone = make_rasterizer("cpu", 160, 96, 1).render_rgb8(dequantize(person))
    inside = cv2.erode((matte >= 0.5).astype(np.uint8), np.ones((5, 5), np.uint8)).astype(bool)
    assert psnr(alone, pixels, inside) > 20


def test_a_plateau_ends_a_fit() -> None:
    config = replace(FAST, iterations=200)
    long, short = (
        Encoder(replace(config, plateau=share), make_rasterizer("cpu", WIDTH, HEIGHT, 1))
        for share in (0.0, 0.9)
    )
    steps = [e.encode(CLIP[0], mattes(CLIP)[0], FrameType.I).iterations for e in (long, short)]
    assert steps[0] == 200
    assert steps[1] < 60
