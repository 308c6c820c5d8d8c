"""Which Gaussians matter: against what is lost without each, one by one, and over successive frames."""

from __future__ import annotations

import numpy as np
import pytest
from decode_clips import coded_clip
from scenes import random_gaussians

from conftest import MakeRasterizer, open_backend
from gscodec.container.headers import FrameType
from gscodec.decode.importance import Chooser, importance, most_important
from gscodec.errors import ConfigError
from gscodec.splat.gaussians import Gaussians
from gscodec.splat.raster import Rasterizer

SIZE = (40, 30)


def some(rng: np.random.Generator, blend: str, n: int = 40) -> np.ndarray:
    params = random_gaussians(rng, n, *SIZE)
    params[:, 5:8] *= 0.3
    if blend == "normalised":
        params = np.hstack([params, rng.uniform(-3, 3, (n, 1))]).astype(np.float32)
    return params


def losses(raster: Rasterizer, params: np.ndarray) -> np.ndarray:  # -> [N]
    """The slow twin: how far the picture is off without each Gaussian, summed over pixels."""
    whole = raster.render(params)
    without = (np.delete(params, i, axis=0) for i in range(len(params)))
    return np.array([np.linalg.norm(raster.render(p) - whole, axis=2).sum() for p in without])


def squared_error(raster: Rasterizer, params: np.ndarray, rows: np.ndarray) -> float:
    some = raster.render(np.ascontiguousarray(params[rows]))
    return float(np.square(some - raster.render(params)).sum())


@pytest.mark.parametrize("blend", ["normalised", "sum"])
def test_importance_ranks_like_what_is_lost(rng: np.random.Generator, blend: str) -> None:
    raster = open_backend("cpu-baseline", blend)(*SIZE)
    correlations = []
    for _ in range(5):
        params = some(rng, blend)
        ranks = [np.argsort(np.argsort(x)) for x in (importance(raster, params), losses(raster, params))]
        correlations.append(np.corrcoef(*ranks)[0, 1])
    assert np.mean(correlations) > 0.8


def test_it_keeps_more_of_the_picture_than_simpler_measures(rng: np.random.Generator) -> None:
    raster = open_backend("cpu-baseline", "normalised")(*SIZE)
    errors = np.zeros(3)
    for _ in range(6):
        params = some(rng, "normalised")
        weighted = params[:, 2] * params[:, 4] * 2 ** params[:, 8]
        by_weight = np.sort(np.argsort(-weighted)[:25])
        by_loss = np.sort(np.argsort(-losses(raster, params))[:25])
        rows = most_important(raster, params, 25)
        assert (np.diff(rows) > 0).all()
        errors += [squared_error(raster, params, r) for r in (rows, by_weight, by_loss)]
    assert errors[0] < 0.6 * errors[1]
    assert errors[0] < 2 * errors[2]


def test_every_backend_can_tell(rng: np.random.Generator, backend: MakeRasterizer) -> None:
    params = some(rng, "sum")
    rows = most_important(backend(*SIZE), params, 9)
    expected = np.sort(np.argsort(-params[:, 2] * params[:, 4] * np.linalg.norm(params[:, 5:8], axis=1))[:9])
    np.testing.assert_array_equal(rows, expected)


def test_torch_and_the_core_choose_alike(rng: np.random.Generator) -> None:
    params = some(rng, "normalised")
    one, other = (importance(open_backend(n, "normalised")(*SIZE), params) for n in ("torch", "cpu-baseline"))
    np.testing.assert_allclose(one, other, rtol=1e-3, atol=1e-4 * one.max())


def test_a_choice_lasts_until_gaussians_come_or_go(rng: np.random.Generator) -> None:
    chooser, params = Chooser(open_backend("cpu-baseline", "normalised"), SIZE, 15), some(rng, "normalised")
    ids, rooms = np.arange(40), rng.random(40) < 0.5
    first = chooser.choose(Gaussians(params, rooms, ids), True)
    assert len(first) == 15
    np.testing.assert_array_equal(first.params, params[first.ids])
    np.testing.assert_array_equal(first.is_room, rooms[first.ids])
    moved = params + rng.normal(0, 1, params.shape).astype(np.float32) * (np.arange(9) < 2)
    again = chooser.choose(Gaussians(moved, rooms, ids), False)
    np.testing.assert_array_equal(again.ids, first.ids)
    np.testing.assert_array_equal(again.params, moved[first.ids])
    left = np.arange(40) != first.ids[4]
    renewed = chooser.choose(Gaussians(moved[left], rooms[left], ids[left]), False)
    assert len(renewed) == 15
    assert len(np.intersect1d(renewed.ids, first.ids)) >= 11  # who was drawn is favoured
    few = Gaussians(params[:15], rooms[:15], ids[:15])
    assert chooser.choose(few, False) is few


@pytest.mark.parametrize("blend", ["normalised", "sum"])
def test_a_decoder_draws_no_more(blend: str) -> None:
    coded = coded_clip(blend, hold=5)
    few, all_, many = coded.decoder(max_gaussians=12), coded.decoder(), coded.decoder(max_gaussians=10**6)
    for payload, kind in coded.frames:
        decoded = few.decode(payload, kind)
        assert len(decoded) > 12
        for decoder in (all_, many):
            decoder.decode(payload, kind)
        assert len(few.gaussians) == 12
        assert np.isin(few.gaussians.ids, decoded.ids).all()
        np.testing.assert_array_equal(all_.render(), many.render())
        assert (few.render() != all_.render()).any()


def test_choices_do_not_depend_on_what_is_looked_at() -> None:
    """Nor, from a recovery point on, on what was decoded before it."""
    coded = coded_clip()
    every, last = coded.decoder(max_gaussians=12), coded.decoder(max_gaussians=12)
    for payload, kind in coded.frames:
        every.decode(payload, kind)
        last.decode(payload, kind)
        picture = every.render()
    assert coded.frames[3][1] == FrameType.RECOVERY
    np.testing.assert_array_equal(last.render(), picture)


def test_bframes_draw_of_what_the_frame_behind_them_draws() -> None:
    coded = coded_clip()
    decoder, plain = coded.decoder(max_gaussians=12), coded.decoder(max_gaussians=12)
    for payload, kind in coded.frames:
        decoder.decode(payload, kind)
        plain.decode(payload, kind)
        if kind == FrameType.P:
            decoder.go_between()
            between = decoder.gaussians
            assert 0 < len(between) <= 12
            assert np.isin(between.ids, plain.gaussians.ids).all()
            assert decoder.render().shape == (48, 64, 3)
        plain.render()
    np.testing.assert_array_equal(decoder._shown, plain._shown)


@pytest.mark.parametrize("number", [0, -1])
def test_none_is_too_few(number: int) -> None:
    with pytest.raises(ConfigError, match=f"--max-gaussians {number} is out of range; permitted: 1 or more"):
        coded_clip().decoder(max_gaussians=number)
