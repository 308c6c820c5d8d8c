"""Newborn of P-frames: what is kept pays for its bits, and decoders follow."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from gscodec.coding.quantize import canonical_order, dequantize
from gscodec.config import EncoderConfig
from gscodec.container.headers import FrameType

births = pytest.importorskip("gscodec.rdo.births", reason="no native core", exc_type=ImportError)
from gscodec.coding.adaptive import AdaptiveCoder  # noqa: E402
from gscodec.encode.encoder import Encoder  # noqa: E402
from gscodec.rdo.pursuit import Effort  # noqa: E402
from gscodec.splat.raster import make_rasterizer  # noqa: E402

SIZE = WIDTH, HEIGHT = 96, 80
LAMBDA = 0.01
FULL = np.ones((HEIGHT, WIDTH), np.float32)
FULL_OF_NOTHING = np.zeros((HEIGHT, WIDTH, 4), np.float32)


def rest_with_squares() -> np.ndarray:
    """A bright square on the left, a dark one on the right, float32 [H, W, 4]."""
    rest = np.zeros((HEIGHT, WIDTH, 4), np.float32)
    rest[20:36, 10:26, 0], rest[40:60, 60:75, :3], rest[..., 3] = 0.5, (-0.4, 0.2, 0.0), 1.0
    return rest


def loss(rest: np.ndarray, born) -> float:
    drawn = make_rasterizer("cpu", *SIZE, 1).render(dequantize(born))
    return float((rest[..., 3:] * (rest[..., :3] - drawn) ** 2).sum())


@pytest.mark.parametrize("most", [100, 1])
def test_newborn_pay_for_their_bits(most: int) -> None:
    rest = rest_with_squares()
    matte = FULL.copy()
    matte[:, WIDTH // 2 :] = 0
    born = births.Births(SIZE, "sum").find(rest, matte, 1.0, Effort(4), LAMBDA, most)
    assert 1 <= len(born) <= most
    assert born.symbols[:, 5:].any(axis=1).all()
    np.testing.assert_array_equal(canonical_order(born), np.arange(len(born)))
    means = dequantize(born)[:, :2]
    np.testing.assert_array_equal(born.is_room, means[:, 0] >= WIDTH // 2)
    saved = float((rest[..., 3:] * rest[..., :3] ** 2).sum()) - loss(rest, born)
    coder = AdaptiveCoder(SIZE)
    n_bits = 8 * len(coder.pack_iframe(born))
    assert saved > LAMBDA * n_bits
    everyone = births.Births(SIZE, "sum").find(rest, None, 1.0, Effort(4), LAMBDA, most)
    assert not everyone.is_room.any()
    if most > 1:
        assert born.is_room.any()
        assert not born.is_room.all()


@pytest.mark.parametrize("lambda_", [LAMBDA, 1e3])
def test_nothing_is_born_where_it_does_not_pay(lambda_: float) -> None:
    rest = rest_with_squares() * (1 if lambda_ > 1 else np.array([0, 0, 0, 1], np.float32))
    assert len(births.Births(SIZE, "sum").find(rest, FULL, 1.0, Effort(4), lambda_, 100)) == 0


def test_a_search_that_finds_nothing_is_not_repeated_at_once() -> None:
    search, state = (
        births.Births(SIZE, "sum"),
        births.Births(SIZE, "sum").find(FULL_OF_NOTHING, None, 1.0, Effort(1), 1, 9),
    )
    assert len(state) == 0
    search.restart(20)
    due = round(births.GROWTH["sum"] * 20)
    assert search.n_due(state) == due
    search.find(FULL_OF_NOTHING, None, 1.0, Effort(1), LAMBDA, due)
    assert [search.n_due(state) for _ in range(births.WAIT)] == [0] * (births.WAIT - 1) + [due]
    born = search.find(rest_with_squares(), None, 1.0, Effort(4), LAMBDA, due)
    assert len(born) > 0
    assert search.n_due(born) == due - len(
        born
    )  # a search that finds something is repeated in the next frame
    search.restart(len(born))
    assert 0 < search.n_due(born) < due


def textured(x: int | None) -> np.ndarray:
    """A dim wall, and from x on something that was not there before."""
    picture = np.full((HEIGHT, WIDTH, 3), 60, np.uint8)
    if x is not None:
        picture[24:56, x : x + 20] = (200, 120, 40)
        picture[32:40, x + 6 : x + 14] = (20, 40, 220)
    return picture


@pytest.mark.parametrize("blend", ["sum", "normalised"])
def test_what_appears_is_born_and_decoders_follow(blend: str) -> None:
    clip = [textured(None), *[textured(10 + i) for i in range(7)]]
    config = EncoderConfig(gaussians=24, quality=0.7, iterations=20, motion=False, blend=blend)
    sizes, db = {}, {}
    for on in (True, False):
        encoder = Encoder(
            replace(config, births=on), make_rasterizer("cpu", *SIZE, 1, blend=config.blend_used)
        )
        decoder, held, numbers = AdaptiveCoder(SIZE, blend=config.blend_used), None, []
        sizes[on] = error = 0
        for i, pixels in enumerate(clip):
            frame = encoder.encode(pixels, FULL, FrameType.P if i else FrameType.I)
            if held is None:
                held = decoder.unpack_iframe(frame.payload, encoder.state.quality, 1000)
            else:
                held = decoder.unpack_pframe(frame.payload, held)
                assert frame.n_coded == decoder.n_changed
            np.testing.assert_array_equal(held.symbols, encoder.state.symbols)
            np.testing.assert_array_equal(held.is_room, encoder.state.is_room)
            assert frame.n_gaussians == len(held)
            numbers.append(len(held))
            sizes[on] += len(frame.payload)
            error += frame.error
        db[on] = error
        assert len(set(numbers)) > 1 if on else len(set(numbers)) == 1
        assert max(numbers) <= 1.5 * 24
    assert db[True] < (0.7 if blend == "sum" else 0.8) * db[False]
    assert sizes[True] < (2 if blend == "sum" else 6) * sizes[False]


def test_a_still_clip_bears_nothing() -> None:
    encoder = Encoder(
        EncoderConfig(gaussians=40, iterations=100), make_rasterizer("cpu", *SIZE, 1, blend="normalised")
    )
    frames = [encoder.encode(textured(30), FULL, FrameType.P if i else FrameType.I) for i in range(6)]
    assert frames[-1].n_gaussians <= frames[0].n_gaussians + 2
    assert len(frames[-1].payload) < 0.15 * len(frames[0].payload)
