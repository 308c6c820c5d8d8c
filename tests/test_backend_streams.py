"""One stream, any backend: what one encodes decodes on the others to the same integers and like pictures."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest

from coding_states import assert_same
from conftest import open_backend
from gscodec.bench.democlip import demo_frames
from gscodec.config import ConfigError, encoder_config
from gscodec.container.headers import BLEND_CODES, ENTROPY_CODES, SEQUENCE_HEADER, FrameType
from gscodec.decode.decoder import Decoder
from gscodec.encoders import make_encoder
from gscodec.metrics import psnr_db
from gscodec.parallel import Job, encode_jobs
from gscodec.video.frame import Frame, VideoFormat

pytest.importorskip("gscodec.splat.cpu.raster", reason="no native core", exc_type=ImportError)

SIZE = (96, 64)
N_FRAMES = 5
TYPES = (FrameType.I, FrameType.P, FrameType.P, FrameType.I, FrameType.P)
CLIP = list(demo_frames(N_FRAMES, *SIZE))
GPU_BACKENDS = (
    pytest.param("cuda", marks=pytest.mark.cuda),
    pytest.param("gsplat", marks=pytest.mark.cuda),
)
MODES: tuple[dict[str, Any], ...] = (
    {"preset": "fast"},
    {"preset": "fast", "background": "none", "stability": 0.0},
    {"preset": "fast", "blend": "sum"},
    {"preset": "fast", "update": "refit", "entropy": "ans"},
    {"preset": "realtime", "profile": "paper", "iterations": 30, "quantization": "qat"},
)


def encoded(backend: str, mode: dict[str, Any]) -> tuple[list[Any], list[Any], dict[str, Any], float]:
    """Coded frames, the encoder's states, the sequence header, and ROI-PSNR by the encoder's count."""
    config = encoder_config(gaussians=80, gop_length=3, backend=backend, **mode)
    raster = open_backend("cpu-baseline" if backend == "cpu" else backend, config.blend_used)(*SIZE)
    encoder = make_encoder(config, raster)
    frames, states = [], []
    for (pixels, matte), kind in zip(CLIP, TYPES, strict=True):
        frames.append(encoder.encode(pixels, matte.astype(np.float32), kind))
        states.append(encoder.state.copy())
    header = {field.name: field.low for field in SEQUENCE_HEADER}
    header |= {"width": SIZE[0], "height": SIZE[1]}
    header["quality_q8"] = round(getattr(states[0], "quality", 1.0) * 256)
    header["profile"] = ("default", "paper").index(config.profile)
    header["entropy"] = ENTROPY_CODES.index(config.entropy)
    header["blend"] = BLEND_CODES.index(config.blend_used)
    db = psnr_db(sum(f.roi_error for f in frames), sum(f.roi_samples for f in frames))
    return frames, states, header, db


@pytest.mark.parametrize("mode", MODES, ids=["default", "person", "sum", "refit", "paper"])
@pytest.mark.parametrize("backend", GPU_BACKENDS)
def test_streams_of_a_gpu_decode_on_the_cpu_and_the_other_way_round(
    backend: str, mode: dict[str, Any]
) -> None:
    quality = {}
    for coding, decoding in itertools.product((backend, "cpu"), repeat=2):
        frames, states, header, quality[coding] = encoded(coding, mode)
        decoders = [Decoder(header, backend=name, threads=1) for name in (decoding, "cpu")]
        for frame, state in zip(frames, states, strict=True):
            for decoder in decoders:
                decoder.decode(frame.payload, frame.frame_type)
                assert_same(decoder.state, state) if mode.get("profile") is None else None
            pictures = [decoder.render().astype(int) for decoder in decoders]
            assert np.abs(pictures[0] - pictures[1]).max() <= 1
    assert quality[backend] == pytest.approx(quality["cpu"], abs=0.6)


@pytest.mark.parametrize("backend", ["cpu", *GPU_BACKENDS[:1]])
def test_gops_side_by_side_give_what_gops_in_turn_give(backend: str) -> None:
    open_backend("cpu-baseline" if backend == "cpu" else backend)
    video = VideoFormat(*SIZE, time_base=1, frame_rate=25)
    config = encoder_config("realtime", backend=backend, gaussians=60, gop_length=2, polish_passes=0)

    def jobs() -> Any:
        for i, (pixels, matte) in enumerate(CLIP):
            kind = FrameType.P if i % 2 else FrameType.I
            yield Job(Frame(pixels, i), (255 * matte).astype(np.uint8), kind)

    runs = [[coded for _, coded in encode_jobs(jobs(), config, video, threads)] for threads in (1, 3)]
    sizes = [[len(coded.payload) for coded in run] for run in runs]
    if backend == "cpu":
        assert [c.payload for c in runs[0]] == [c.payload for c in runs[1]]
    np.testing.assert_allclose(sizes[0], sizes[1], rtol=0.25, atol=20)  # sums on a card run in any order


@pytest.mark.parametrize("devices", ["0,", "a", "0,0", "-1", "0 1", "99999"])
def test_devices_that_are_no_list(devices: str) -> None:
    with pytest.raises(ConfigError, match="--devices"):
        encoder_config("fast", devices=devices)


def test_devices_of_the_cpu() -> None:
    with pytest.raises(ConfigError, match="--devices '0' does not go with --backend cpu"):
        encoder_config("fast", devices="0", backend="cpu")
    assert encoder_config("fast", devices="1,0", backend="cuda").device_numbers() == (1, 0)
    assert encoder_config("fast").device_numbers() == ()
