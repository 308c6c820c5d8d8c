"""Seeded fuzzing of frame decoding and drawing: whatever the payloads, pictures or a BitstreamError.

GSCODEC_FUZZ_CASES sets how many files are tried (`make fuzz`).
"""

from __future__ import annotations

import os
import random

import numpy as np
import pytest

from gscodec.coding import headers
from gscodec.coding.headers import ENTROPY_CODES, FrameType
from gscodec.config import DecoderLimits, encoder_config
from gscodec.decoder import Decoder
from gscodec.encoder import Encoder
from gscodec.errors import BitstreamError
from gscodec.splat.raster import make_rasterizer

N_CASES = int(os.environ.get("GSCODEC_FUZZ_CASES", "150"))
WIDTH, HEIGHT, N_FRAMES = 40, 24, 4
LIMITS = DecoderLimits(max_gaussians=1000)
WRITABLE = ("adaptive", "ans", "zstd")


@pytest.fixture(scope="module")
def clips() -> dict[str, list[bytes]]:
    """Payloads of a short clip under every entropy coder."""
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    clips = {}
    for entropy in WRITABLE:
        config = encoder_config(
            "realtime", gaussians=25, iterations=5, p_iterations=2, entropy=entropy, threads=1
        )
        encoder = Encoder(config, make_rasterizer("cpu", WIDTH, HEIGHT, 1))
        matte = (x < 25).astype(np.float32)
        clips[entropy] = [
            encoder.encode(picture(x, y, n), matte, FrameType.I if n == 0 else FrameType.P).payload
            for n in range(N_FRAMES)
        ]
    return clips


def picture(x: np.ndarray, y: np.ndarray, n: int) -> np.ndarray:
    disc = np.hypot(x - 12 - 2 * n, y - 12) < 8
    return np.where(disc[..., None], [230, 170, 120], np.stack((4 * x, 9 * y, 90 + 0 * x), -1)).astype(
        np.uint8
    )


def damaged(rng: random.Random, payload: bytes) -> bytes:
    """A payload with bytes changed, removed, inserted or cut off, mostly near its start."""
    data = bytearray(payload)
    for _ in range(rng.randrange(1, 4)):
        start = rng.randrange(min(len(data), rng.choice((3, 12, 10_000))) + 1)
        end = min(len(data), start + rng.choice((0, 1, 2, 10)))
        data[start:end] = rng.choice(
            (b"", rng.randbytes(end - start), rng.randbytes(2), b"\xff" * (end - start))
        )
    return bytes(data)


@pytest.mark.parametrize("entropy", ENTROPY_CODES)
def test_decoder_draws_or_says_what_is_wrong(entropy, clips):
    header = {field.name: field.low for field in headers.SEQUENCE_HEADER}
    header |= {"width": WIDTH, "height": HEIGHT, "quality_q8": 256, "entropy": ENTROPY_CODES.index(entropy)}
    rng = random.Random(entropy)
    n_drawn = n_refused = 0
    for _ in range(N_CASES):
        payloads = clips[entropy] if entropy in clips else clips["ans"]
        at = rng.randrange(N_FRAMES)
        try:
            decoder = Decoder(header, limits=LIMITS, backend="cpu", threads=1)
            for n, payload in enumerate(payloads):
                kind = FrameType.I if n == 0 else FrameType.P
                decoder.decode(damaged(rng, payload) if n == at else payload, kind)
                assert decoder.render().shape == (HEIGHT, WIDTH, 3)
                person, alpha = decoder.render_person(np.zeros(3, np.float32))
                assert (person.shape, alpha.shape) == ((HEIGHT, WIDTH, 3), (HEIGHT, WIDTH))
                n_drawn += 1
        except BitstreamError:
            n_refused += 1
    assert n_refused
    assert n_drawn or entropy not in clips
