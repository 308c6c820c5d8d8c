"""Where the ROI lies decides what is drawn well: by its weight in the loss and by its share of the Gaussians.

Left and right half of the picture are mirror images. On a picture whose room is plain the room would be the
better one whatever the encoder did, and the comparison would say nothing.
"""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest

from gscodec.config import EncoderConfig
from gscodec.container.headers import FrameType
from gscodec.encode.encoded import EncodedFrame
from gscodec.encoders import make_encoder
from gscodec.metrics import psnr_db
from gscodec.splat.raster import make_rasterizer

pytest.importorskip("gscodec.splat.cpu.raster", reason="no native core", exc_type=ImportError)

WIDTH, HEIGHT = 64, 48
CONFIG = EncoderConfig(gaussians=80, quality=1.2, iterations=60, polish_passes=1)
EVEN = {"background_weight": 1.0, "background_share": 0.5}


def mirrored_texture() -> np.ndarray:
    """Texture beside its mirror image, uint8 [H, W, 3]."""
    noise = np.random.default_rng(0).normal(0, 1, (HEIGHT, WIDTH // 2, 3)).astype(np.float32)
    smooth = cv2.GaussianBlur(noise, (0, 0), 2)
    half = np.clip(128 + 50 * smooth / smooth.std(), 0, 255).astype(np.uint8)
    return np.concatenate([half, half[:, ::-1]], axis=1)


def half_matte(person_is_left: bool) -> np.ndarray:
    return np.broadcast_to((np.arange(WIDTH) < WIDTH // 2) == person_is_left, (HEIGHT, WIDTH)).astype(
        np.float32
    )


def encode(config: EncoderConfig, matte: np.ndarray) -> EncodedFrame:
    encoder = make_encoder(config, make_rasterizer("cpu", WIDTH, HEIGHT, 1, blend=config.blend_used))
    return encoder.encode(mirrored_texture(), matte, FrameType.I)


def advantage_db(frame: EncodedFrame) -> float:
    """By how much the ROI is better than the room."""
    room_db = psnr_db(frame.error - frame.roi_error, frame.samples - frame.roi_samples)
    return psnr_db(frame.roi_error, frame.roi_samples) - room_db


@pytest.mark.parametrize("person_is_left", [True, False])
@pytest.mark.parametrize(
    "settings",
    [{}, EVEN | {"background_weight": 0.05}, EVEN | {"background_share": 0.15}],
    ids=["defaults", "weight alone", "share alone"],
)
def test_the_roi_is_better_than_the_room(settings: dict[str, float], person_is_left: bool) -> None:
    frame = encode(replace(CONFIG, **settings), half_matte(person_is_left))
    assert advantage_db(frame) > 7
    assert frame.roi_samples == frame.samples / 2


@pytest.mark.parametrize("person_is_left", [True, False])
def test_a_room_of_equal_weight_and_share_is_about_as_good(person_is_left: bool) -> None:
    assert abs(advantage_db(encode(replace(CONFIG, **EVEN), half_matte(person_is_left)))) < 2.5
