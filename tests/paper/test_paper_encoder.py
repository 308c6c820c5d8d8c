"""The baselines' encoders: what they report is what a decoder gives, at every setting they have."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest

from cli_tools import make_clip
from gscodec import decode_file, encode_file, inspect_file
from gscodec.config import DecoderLimits, EncoderConfig, encoder_config
from gscodec.container.headers import ENTROPY_CODES, PROFILE_CODES, SEQUENCE_HEADER, FrameType
from gscodec.decode.decoder import Decoder
from gscodec.decode.profile import dequantize
from gscodec.encode.encoded import EncodedFrame
from gscodec.encode.encoder import Encoder
from gscodec.encoders import make_encoder
from gscodec.errors import ConfigError, CorruptError, UnsupportedError
from gscodec.metrics import psnr, squared_error
from gscodec.paper.encoder import PaperEncoder
from gscodec.paper.frames import pack_tables
from gscodec.paper.quantize import PaperState
from gscodec.splat.raster import make_rasterizer
from gscodec.video.frame import Frame
from gscodec.video.reader import open_video

WIDTH, HEIGHT, N_FRAMES = 64, 48, 4


def quick(profile: str, **values: object) -> EncoderConfig:
    """A configuration that takes milliseconds."""
    few = {"gaussians": 60, "iterations": 40, "p_iterations": 10, "background": "none"}
    return encoder_config("fast", profile=profile, **{**few, **values})


def pictures() -> list[np.ndarray]:
    """A disc that walks over a slope of colours."""
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    ground = np.stack((3 * x, 4 * y, 90 + 0 * x), -1)
    discs = (np.hypot(x - 26 - 3 * n, y - 24) < 10 for n in range(N_FRAMES))
    return [np.where(disc[..., None], [230, 170, 120], ground).astype(np.uint8) for disc in discs]


def matte() -> np.ndarray:
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    return (np.hypot(x - 32, y - 24) < 22).astype(np.float32)


def encode(config: EncoderConfig) -> list[tuple[EncodedFrame, PaperState]]:
    encoder = make_encoder(config, make_rasterizer("cpu", WIDTH, HEIGHT, 1))
    assert isinstance(encoder, PaperEncoder)
    coded = []
    for n, picture in enumerate(pictures()):
        frame = encoder.encode(picture, matte(), FrameType.I if n == 0 else FrameType.P)
        assert encoder.state is not None
        coded.append((frame, encoder.state))
    return coded


def decoder_for(config: EncoderConfig) -> Decoder:
    header = {field.name: field.low for field in SEQUENCE_HEADER}
    header |= {"width": WIDTH, "height": HEIGHT, "quality_q8": 256}
    header |= {
        "profile": PROFILE_CODES.index(config.profile),
        "entropy": ENTROPY_CODES.index(config.entropy),
    }
    return Decoder(header, limits=DecoderLimits(max_gaussians=1000), backend="cpu", threads=1)


@pytest.mark.parametrize("background", ["none", "coarse"])
@pytest.mark.parametrize("quantization", ["ptq", "qat"])
@pytest.mark.parametrize("entropy", ["ans", "bits-back", "zstd"])
@pytest.mark.parametrize("profile", ["paper", "gaussianimage"])
def test_decoder_holds_the_encoders_state(
    profile: str, entropy: str, quantization: str, background: str
) -> None:
    config = quick(profile, entropy=entropy, quantization=quantization, background=background)
    decoder = decoder_for(config)
    for n, (frame, state) in enumerate(encode(config)):
        assert frame.frame_type == (FrameType.I if n == 0 or profile == "gaussianimage" else FrameType.P)
        got = decoder.decode(frame.payload, frame.frame_type)
        assert got.params.tobytes() == dequantize(state).tobytes()
        np.testing.assert_array_equal(got.is_room, state.is_room)
        assert got.is_room.any() == (background == "coarse")
        assert frame.n_gaussians == len(state) == len(got)
        roi = matte() >= 0.5
        expected = squared_error(decoder.render(), pictures()[n], roi)
        assert (frame.roi_error, frame.roi_samples) == expected
        person, alpha = decoder.render_person(np.zeros(3, np.float32))
        assert (person.shape, alpha.shape) == ((HEIGHT, WIDTH, 3), (HEIGHT, WIDTH))


def test_pframes_send_the_selected_ones_only() -> None:
    coded = encode(quick("paper"))
    for (_, before), (frame, state) in itertools.pairwise(coded):
        changed = (state.symbols != before.symbols).any(axis=1)
        assert frame.n_coded == changed.sum()
        assert 0 < frame.n_coded < len(state)
        assert len(frame.payload) < len(coded[0][0].payload)
        assert pack_tables(state.tables) == pack_tables(before.tables)


def test_a_still_picture_costs_next_to_nothing() -> None:
    config = quick("paper")
    encoder = make_encoder(config, make_rasterizer("cpu", WIDTH, HEIGHT, 1))
    encoder.encode(pictures()[0], matte(), FrameType.I)
    frame = encoder.encode(pictures()[0], matte(), FrameType.P)
    assert frame.n_coded == frame.iterations == 0
    assert len(frame.payload) <= 4


def test_more_iterations_and_learning_help() -> None:
    """On one I-frame; QAT takes the same number of steps as PTQ."""
    roi = matte() >= 0.5

    def quality(**values: object) -> float:
        encoder = make_encoder(quick("paper", **values), make_rasterizer("cpu", WIDTH, HEIGHT, 1))
        frame = encoder.encode(pictures()[0], matte(), FrameType.I)
        assert frame.iterations == values["iterations"]
        return -10 * np.log10(frame.roi_error / roi.sum())

    assert quality(iterations=200) > quality(iterations=10) + 1
    assert quality(iterations=200, quantization="qat") > quality(iterations=200) + 0.1


def test_presets_and_profiles() -> None:
    assert encoder_config("slow", profile="paper").iterations == 10_000
    assert encoder_config("fast", profile="gaussianimage").gop_length == 1
    assert encoder_config("fast", profile="paper", entropy="ans").entropy == "ans"
    default = make_encoder(encoder_config("fast"), make_rasterizer("cpu", 16, 16, 1))
    assert isinstance(default, Encoder)
    with pytest.raises(ConfigError, match="--entropy 'adaptive' does not go under --profile paper"):
        encoder_config(profile="paper", entropy="adaptive")
    with pytest.raises(ConfigError, match="--quantization 'qat' does not go under --profile default"):
        encoder_config(quantization="qat")
    with pytest.raises(ConfigError, match="--profile 'mpeg' is unknown"):
        encoder_config(profile="mpeg")


def test_what_a_decoder_refuses() -> None:
    config = quick("gaussianimage")
    frame, _ = encode(config)[0]
    decoder = decoder_for(config)
    decoder.decode(frame.payload, FrameType.I)
    with pytest.raises(CorruptError, match="gaussianimage"):
        decoder.decode(bytes([0, 0]), FrameType.P)
    header = {field.name: field.low for field in SEQUENCE_HEADER}
    header |= {"width": 8, "height": 8, "profile": 1, "entropy": ENTROPY_CODES.index("adaptive")}
    with pytest.raises(UnsupportedError, match="adaptive"):
        Decoder(header)
    header |= {"profile": 0, "entropy": ENTROPY_CODES.index("adaptive-dev")}
    with pytest.raises(UnsupportedError, match="anew"):
        Decoder(header)


def test_pictures_are_near() -> None:
    config = quick("paper", iterations=300)
    decoder = decoder_for(config)
    frame, _ = encode(config)[0]
    decoder.decode(frame.payload, FrameType.I)
    inside = matte() >= 0.5
    assert psnr(decoder.render()[inside][None], pictures()[0][inside][None]) > 22


@pytest.mark.parametrize(
    ("profile", "quantization"), [("paper", "ptq"), ("paper", "qat"), ("gaussianimage", "ptq")]
)
def test_whole_files(profile: str, quantization: str, tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "a.mp4", 6)
    config = encoder_config(
        "fast",
        profile=profile,
        quantization=quantization,
        gaussians=80,
        iterations=100,
        roi="full",
        threads=1,
    )
    tally = encode_file(clip, tmp_path / "a.gsv", config)
    facts = inspect_file(tmp_path / "a.gsv")
    assert (facts["profile"], facts["entropy"]) == (profile, config.entropy)
    assert facts["gops"] == (6 if profile == "gaussianimage" else 1)
    decoded = decode_file(tmp_path / "a.gsv", tmp_path / "b.mp4", crf=4)
    assert decoded.n_frames == 6
    with open_video(clip) as before, open_video(tmp_path / "b.mp4") as after:
        pairs = zip(before, after, strict=True)
        quality = [
            psnr(a.pixels, b.pixels) for a, b in pairs if isinstance(a, Frame) and isinstance(b, Frame)
        ]
    assert np.mean(quality) == pytest.approx(tally.psnr_db, abs=1)
    assert tally.psnr_db > 18


@pytest.mark.parametrize("quantization", ["ptq", "qat"])
@pytest.mark.parametrize(("height", "width", "code"), [(9, 7, 0), (8, 8, 255), (30, 41, 128), (1, 1, 200)])
def test_flat_and_tiny_pictures(height: int, width: int, code: int, quantization: str) -> None:
    config = quick("paper", quantization=quantization, gaussians=20)
    encoder = make_encoder(config, make_rasterizer("cpu", width, height, 1))
    flat = np.full((height, width, 3), code, np.uint8)
    for n in range(3):
        pixels = np.roll(np.clip(flat + 100 * (n == 2), 0, 255).astype(np.uint8), n, 1)
        frame = encoder.encode(pixels, np.zeros((height, width), np.float32), FrameType(n > 0))
        assert np.isfinite(frame.roi_error)
    assert encoder.state is not None
    assert np.isfinite(dequantize(encoder.state)).all()
