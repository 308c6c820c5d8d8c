"""The public Encoder: built from what `import gscodec` exports, decoded by the public Decoder."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

import gscodec
from cli_tools import make_clip
from conftest import synthetic_clip
from gscodec import FrameType
from gscodec.video.frame import Frame
from gscodec.video.reader import open_video

pytest.importorskip("gscodec.splat.cpu.raster", reason="no native core", exc_type=ImportError)

WIDTH, HEIGHT = 64, 48
CLIP = synthetic_clip("disc", WIDTH, HEIGHT, 5)
FEW = {"gaussians": 30, "iterations": 10, "threads": 1, "backend": "cpu"}
MATTE = np.ones((HEIGHT, WIDTH), np.float32)


def make(**settings) -> gscodec.Encoder:
    return gscodec.Encoder(gscodec.encoder_config("fast", **FEW, **settings), WIDTH, HEIGHT)


@pytest.mark.parametrize("profile", ["default", "paper", "gaussianimage"])
def test_frames_reach_a_decoder_without_a_file(profile: str) -> None:
    encoder = make(profile=profile, **({} if profile == "default" else {"quantization": "ptq"}))
    decoder = gscodec.Decoder(encoder.sequence, backend="cpu", threads=1)
    for pixels in CLIP:
        coded = encoder.encode(pixels, MATTE)
        assert len(decoder.decode(coded.payload, coded.frame_type)) == coded.n_gaussians
        assert ((decoder.render().astype(np.int64) - pixels) ** 2).sum() == coded.error


def test_a_file_has_their_times(tmp_path) -> None:
    config = gscodec.encoder_config("fast", **FEW)
    encoder = gscodec.Encoder(config, WIDTH, HEIGHT, frame_rate=25, time_base=Fraction(1, 1000))
    with gscodec.GsvWriter(tmp_path / "a.gsv", encoder.streams) as writer:
        for i, pixels in enumerate(CLIP):
            writer.write(encoder.packet(encoder.encode(pixels, MATTE), pts=40 * i))
    with gscodec.GsvReader(tmp_path / "a.gsv") as reader:
        assert reader.sequence == encoder.sequence
        assert [(p.pts, p.duration) for p in reader] == [(40 * i, 40) for i in range(5)]
    gscodec.decode_file(tmp_path / "a.gsv", tmp_path / "a.mp4", backend="cpu")
    facts = gscodec.inspect_file(tmp_path / "a.gsv")
    assert facts["frames"] == 5


def test_packets_are_those_of_encode_file(tmp_path) -> None:
    make_clip(tmp_path / "a.mp4", 7)
    config = gscodec.encoder_config("fast", **FEW, roi="full", gop_length=3, b_frames=False)
    gscodec.encode_file(tmp_path / "a.mp4", tmp_path / "a.gsv", config)
    with gscodec.GsvReader(tmp_path / "a.gsv") as reader, open_video(tmp_path / "a.mp4") as video:
        encoder = gscodec.Encoder(config, reader.sequence["width"], reader.sequence["height"])
        coded = [encoder.encode(frame.pixels) for frame in video if isinstance(frame, Frame)]
        packets = [packet for packet in reader if packet.frame_type is not None]
    assert [(c.payload, c.frame_type) for c in coded] == [(p.payload, p.frame_type) for p in packets]
    assert len(coded) == 7


def test_gops_and_cuts_are_the_configs_unless_the_caller_says() -> None:
    clip = [*CLIP[:4], 255 - CLIP[4], 255 - CLIP[4]]
    encoder = make(gop_length=3)
    types = [encoder.encode(pixels, MATTE).frame_type.name for pixels in clip]
    assert "".join(types) == "IPPIIP"  # the fourth by length, the fifth by the cut
    encoder = make(gop_length=3, scene_cut=False)
    types = [encoder.encode(pixels, MATTE).frame_type.name for pixels in clip]
    assert "".join(types) == "IPPIPP"
    encoder = make(gop_length=3)
    asked = [FrameType.P, FrameType.I, FrameType.P, FrameType.P, FrameType.P, None]
    types = [encoder.encode(p, MATTE, kind).frame_type.name for p, kind in zip(clip, asked, strict=True)]
    assert "".join(types) == "IIPPPI"


def test_the_roi_is_the_callers_or_the_configs() -> None:
    half = MATTE.copy()
    half[:, : WIDTH // 2] = 0
    assert make().encode(CLIP[0], half).roi_samples == 3 * (half >= 0.5).sum()
    assert make().encode(CLIP[0], half > 0.5).roi_samples == 3 * (half >= 0.5).sum()
    assert make().encode(CLIP[0], (255 * half).astype(np.uint8)).roi_samples == 3 * (half >= 0.5).sum()
    assert make(roi="full").encode(CLIP[0]).roi_samples == CLIP[0].size
    with pytest.raises(gscodec.errors.ConfigError, match=r"nowhere.png"):
        make(roi="nowhere.png").encode(CLIP[0])


@pytest.mark.parametrize(
    ("settings", "option"),
    [
        ({"bitrate": 100.0}, "--bitrate"),
        ({"target_psnr": 30.0}, "--target-psnr"),
    ],
)
def test_what_only_whole_files_can_have_is_refused(settings: dict, option: str) -> None:
    with pytest.raises(gscodec.errors.ConfigError, match=rf"^{option} cannot be followed .* encode_file"):
        make(**settings)


def test_wrong_arguments_are_named() -> None:
    config = gscodec.encoder_config("fast", **FEW)
    for width, height in ((0, 5), (5, -1), (70_000, 5), (60_000, 60_000)):
        with pytest.raises(gscodec.errors.ConfigError):
            gscodec.Encoder(config, width, height)
    with pytest.raises(gscodec.errors.ConfigError, match="frame_rate 0"):
        gscodec.Encoder(config, WIDTH, HEIGHT, frame_rate=0)
    with pytest.raises(gscodec.errors.ConfigError, match="crf"):
        gscodec.Encoder(gscodec.EncoderConfig(crf=99), WIDTH, HEIGHT)
    encoder = make()
    for pixels in (CLIP[0][1:], CLIP[0][..., 0], CLIP[0] / 255, CLIP[0].astype(np.int64)):
        with pytest.raises(ValueError, match=r"pixels are .*, expected uint8 \[48, 64, 3\]"):
            encoder.encode(pixels, MATTE)
    for matte in (MATTE[1:], MATTE[..., None], MATTE.astype(np.int32)):
        with pytest.raises(ValueError, match=r"the matte is .*, expected float32 or uint8 \[48, 64\]"):
            encoder.encode(CLIP[0], matte)
    for value in (1.5, -0.1, np.nan):
        with pytest.raises(ValueError, match=r"leaves \[0, 1\]"):
            encoder.encode(CLIP[0], np.full_like(MATTE, value))
    assert encoder.encode(CLIP[0][:, ::-1], MATTE[::-1]).frame_type == FrameType.I  # strided ones are taken
