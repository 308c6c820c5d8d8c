"""Gaussians of a time between two frames: against the rules one Gaussian at a time, and in a decoder."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from decode_clips import Coded, coded_clip
from scenes import random_gaussians

from gscodec.container.container import GsvReader
from gscodec.container.headers import FrameType
from gscodec.decode.decoder import Decoder
from gscodec.decode.interpolate import ABSENT, between, faded
from gscodec.errors import CorruptError
from gscodec.splat.gaussians import Gaussians

VECTORS = Path(__file__).parents[1] / "conformance"


def some(rng: np.random.Generator, ids: list[int], normalised: bool) -> Gaussians:
    params = random_gaussians(rng, len(ids), 40, 30)
    if normalised:
        weight = rng.uniform(-6, 6, (len(ids), 1))
        weight[rng.random(len(ids)) < 0.3] = ABSENT
        params = np.hstack([params, weight]).astype(np.float32)
    return Gaussians(params, rng.random(len(ids)) < 0.5, np.array(ids, np.int64), np.ones(3, np.float32))


def slow_between(a: Gaussians, b: Gaussians, share: float) -> dict[int, list[float]]:
    """Parameters by id, as docs/decoding.md says."""
    one, other = (dict(zip(g.ids.tolist(), g.params.astype(float), strict=True)) for g in (a, b))
    out = {}
    for i in sorted({*one, *other}):
        p, q = one.get(i), other.get(i)
        normalised = a.params.shape[1] > 8
        gone = [x is None or (normalised and x[8] == ABSENT) for x in (p, q)]
        if gone[0] == gone[1]:
            assert p is not None
            assert q is not None
            out[i] = [x + (y - x) * share for x, y in zip(p, q, strict=True)]
            continue
        there, part = (q, share) if gone[0] else (p, 1 - share)
        assert there is not None
        made = list(there)
        if normalised:
            made[8] = float(np.log2(2 ** made[8] * part))
        else:
            made[5:8] = [c * part for c in made[5:8]]
        out[i] = made
    return out


@pytest.mark.parametrize("normalised", [True, False])
@pytest.mark.parametrize("share", [0.04, 0.5, 0.9])
def test_one_gaussian_at_a_time(rng: np.random.Generator, share: float, normalised: bool) -> None:
    a = some(rng, [2, 3, 5, 6, 7, 8, 9, 11], normalised)
    b = some(rng, [3, 5, 6, 8, 9, 11, 12, 13], normalised)
    if normalised:  # those that only one frame has are there in it
        a.params[[0, 4], 8] = 1.5
        b.params[[6, 7], 8] = -2.5
    mixed = between(a, b, share)
    wanted = slow_between(a, b, share)
    assert mixed.ids.tolist() == list(wanted)
    np.testing.assert_allclose(mixed.params, list(wanted.values()), rtol=2e-5, atol=2e-5)
    rooms = {**dict(zip(a.ids, a.is_room, strict=True)), **dict(zip(b.ids, b.is_room, strict=True))}
    only_a = [2, 7]
    for i, is_room in zip(mixed.ids, mixed.is_room, strict=True):
        assert is_room == (rooms[i] if i in only_a or i > 11 else a.is_room[a.ids == i][0])
    assert (mixed.params[:, [2, 4]] >= 0.3).all()


def test_what_is_nowhere_fades_to_nothing(rng: np.random.Generator) -> None:
    g = some(rng, list(range(9)), True)
    g.params[3, 8] = ABSENT
    out = faded(g.params, 0.25)
    assert out[3, 8] == ABSENT
    there = g.params[:, 8] > ABSENT
    np.testing.assert_allclose(out[there, 8], g.params[there, 8] - 2, atol=1e-5)
    none = Gaussians(np.zeros((0, 9), np.float32), np.zeros(0, bool))
    assert len(between(none, none, 0.5)) == 0


def test_ids_follow_the_gaussians() -> None:
    """Who stays keeps its number, whoever leaves; size class and room never change with a number."""
    seen: dict[int, list] = {}
    n_left = n_born = 0
    before = np.zeros(0, np.int64)
    with GsvReader(VECTORS / "births.gsv") as reader:
        decoder = Decoder(reader.sequence, backend="cpu", threads=1)
        for p in reader:
            assert p.frame_type is not None
            g, state = decoder.decode(p.payload, p.frame_type), decoder.state
            assert (np.diff(g.ids) > 0).all()
            classes = state.size_class, state.energy_class
            for i, *facts in zip(g.ids.tolist(), *classes, g.is_room, strict=True):
                assert seen.setdefault(i, facts) == facts
            n_left += len(np.setdiff1d(before, g.ids))
            n_born += len(np.setdiff1d(g.ids, before))
            before = g.ids
    assert (n_left, n_born) == (13, 41)


def test_nobody_survives_an_iframe() -> None:
    coded = coded_clip(types=(FrameType.I, FrameType.P, FrameType.I))
    decoder = coded.decoder()
    ids = [decoder.decode(*frame).ids for frame in coded.frames]
    assert np.intersect1d(ids[0], ids[1]).size
    assert not np.intersect1d(ids[1], ids[2]).size


@pytest.mark.parametrize("background", [None, np.array([0, 1, 0], np.float32)])
@pytest.mark.parametrize("size", [None, (96, 72)])
@pytest.mark.parametrize("hold", [0, 9])
def test_a_decoder_draws_what_lies_between(
    size: tuple[int, int] | None, background: np.ndarray | None, hold: int
) -> None:
    """It shows nothing that its neighbours do not span."""
    coded: Coded = coded_clip(hold=hold)
    settings = {"size": size, "background": background}
    decoder, plain = coded.decoder(**settings), coded.decoder(**settings)
    still = coded_clip(hold=0).decoder(**settings)  # only what it draws with is taken from it
    shown, before = None, None
    for payload, kind in coded.frames:
        decoder.decode(payload, kind)
        plain.decode(payload, kind)
        now = decoder.render()
        if before is not None:
            assert shown is not None
            picture = decoder.render_between(before, decoder.gaussians, 0.3, (shown, now))
            wanted = still._picture(between(before, decoder.gaussians, 0.3))
            np.testing.assert_array_equal(picture, np.sort([wanted, shown, now], axis=0)[1])
        shown, before = now, decoder.gaussians
        np.testing.assert_array_equal(shown, plain.render())  # which knows of nothing between


@pytest.mark.parametrize("blend", ["normalised", "sum"])
def test_halfway_is_where_a_bframe_is(blend: str) -> None:
    """B-frames are defined apart, to the last bit; what `between` makes of their neighbours is the same."""
    coded = coded_clip(blend)
    decoder = coded.decoder()
    before = None
    for payload, kind in coded.frames:
        after = decoder.decode(payload, kind)
        if kind == FrameType.P:
            assert before is not None
            decoder.go_between()
            found = decoder.gaussians
            order = np.argsort(found.ids)
            mean = between(before, after, 0.5)
            np.testing.assert_array_equal(found.ids[order], mean.ids)
            np.testing.assert_array_equal(found.is_room[order], mean.is_room)
            np.testing.assert_allclose(found.params[order], mean.params, rtol=1e-5, atol=1e-5)
            quarter = between(before, found, 0.5)
            np.testing.assert_allclose(quarter.params, between(before, after, 0.25).params, atol=1e-4)
        before = after


def test_nothing_is_drawn_before_an_iframe() -> None:
    with pytest.raises(CorruptError, match="no I-frame has been decoded yet"):
        _ = coded_clip().decoder().gaussians
