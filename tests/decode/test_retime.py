"""Frames at the times of another rate: which, when, for how long, and what they show."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from decode_clips import coded_clip

from gscodec.container.container import GsvReader
from gscodec.container.headers import FrameType
from gscodec.container.packet import Packet
from gscodec.decode.decoder import Decoder
from gscodec.decode.retime import decoded, frame_rate, retimed, retimed_format
from gscodec.errors import ConfigError, CorruptError, MediaError
from gscodec.video.frame import Frame, VideoFormat

VECTORS = Path(__file__).parents[1] / "conformance"
KEY, P, RECOVERY = FrameType.I, FrameType.P, FrameType.RECOVERY


@dataclass
class FakeDecoder:
    """Frame n is a picture of 10·n, a time between two of what lies between."""

    between: list[tuple[int, float]] = field(default_factory=list)
    number: int = -1
    cuts: tuple[int, ...] = ()

    state: tuple[int, ...] = (0,) * 7

    @property
    def is_cut_out(self) -> bool:
        return self.number % 2 == 0

    def frames(self, packets: Iterable[Packet]) -> Iterator[Packet]:
        for packet in packets:
            self.number += 1
            yield packet

    @property
    def value(self) -> int:
        return 10 * self.number + 100 * sum(n <= self.number for n in self.cuts)

    @property
    def gaussians(self) -> int:
        return self.number

    def render(self) -> np.ndarray:
        return np.full((16, 16, 3), self.value, np.uint8)

    def render_between(self, before: Any, after: Any, share: float, shown: Any) -> np.ndarray:
        assert before == after - 1 == self.number - 1
        assert 0 < share < 1
        low, high = (int(picture[0, 0, 0]) for picture in shown)
        assert high == self.value
        self.between.append((before, round(share, 4)))
        return np.full((16, 16, 3), round(low + (high - low) * share), np.uint8)


class FakeReader:
    offset = 0

    def __init__(
        self, times: list[int], durations: list[int], types: list[FrameType], base: Fraction
    ) -> None:
        self.streams = [SimpleNamespace(time_base=base)]
        self.packets = [
            Packet(0, t, k == KEY, b"", d, is_recovery=k == RECOVERY)
            for t, d, k in zip(times, durations, types, strict=True)
        ]

    def __iter__(self) -> Iterator[Packet]:
        return iter(self.packets)


def frames(
    fps: Any,
    times: list[int],
    durations: list[int],
    types: list[FrameType] | None = None,
    base: Fraction = Fraction(1, 1000),
    cuts: tuple[int, ...] = (),
) -> tuple[list[tuple[int, int, int]], FakeDecoder]:
    """(value, pts, duration) of each frame."""
    types = types or [KEY] + [P] * (len(times) - 1)
    decoder: Any = FakeDecoder(cuts=cuts)
    reader: Any = FakeReader(times, durations, types, base)
    steps = list(retimed(reader, decoder, frame_rate(fps)))
    assert sum(step.packet is not None for step in steps) == len(times)
    made = [step.frame for step in steps if step.frame is not None]
    return [(int(f.pixels[0, 0, 0]), f.pts, f.duration) for f in made], decoder


def values(made: tuple[list[tuple[int, int, int]], FakeDecoder]) -> list[int]:
    return [v for v, _, _ in made[0]]


def test_twice_the_rate_lies_between() -> None:
    made, decoder = frames(60, [0, 1, 2], [1, 1, 1], base=Fraction(1, 30))
    assert made == [(0, 0, 1), (5, 1, 1), (10, 2, 1), (15, 3, 1), (20, 4, 1), (20, 5, 1)]
    assert decoder.between == [(0, 0.5), (1, 0.5)]


def test_the_last_frame_stands_as_long_as_it_lasts() -> None:
    assert values(frames(10, [0, 200], [200, 500])) == [0, 5, 10, 10, 10, 10, 10]
    assert values(frames(10, [0, 200], [200, 0])) == [0, 5, 10, 10]  # unknown: as the one before
    assert values(frames(10, [0], [0])) == [0]


def test_rates_that_do_not_divide() -> None:
    made, decoder = frames("60000/1001", list(range(0, 400, 40)), [40] * 10)
    assert len(made) == 24  # 400 ms
    assert [pts for _, pts, _ in made] == [1001 * n for n in range(24)]
    assert {d for _, _, d in made} == {1001}
    exact = [min(90, 10 * (1000 * n * 1001 / 60000) / 40) for n in range(24)]
    np.testing.assert_allclose([v for v, _, _ in made], exact, atol=1)
    assert len(decoder.between) == 20


@pytest.mark.parametrize("fps", [15, 10, 7.5])
def test_lower_rates_drop_frames_by_time(fps: float) -> None:
    made, decoder = frames(fps, list(range(12)), [1] * 12, base=Fraction(1, 30))
    assert not decoder.between
    step = round(30 / fps)
    assert [v for v, _, _ in made] == [10 * n for n in range(0, 12, step)]


def test_the_same_rate_changes_nothing_though_times_are_rounded() -> None:
    times = [0, 33, 67, 100, 133, 167, 200]
    made, decoder = frames(30, times, [33] * 7)
    assert not decoder.between
    assert [v for v, _, _ in made] == [0, 10, 20, 30, 40, 50, 60]


def test_twice_a_rounded_rate_shows_coded_frames_as_they_are() -> None:
    _, decoder = frames(60, [0, 33, 67, 100, 133], [33] * 5)
    assert len(decoder.between) == 4
    assert all(0.4 < share < 0.6 for _, share in decoder.between)


def test_nothing_moves_across_an_iframe() -> None:
    assert values(frames(20, [0, 100, 200, 300], [100] * 4, [KEY, P, KEY, P])) == [
        0,
        5,
        10,
        10,
        20,
        25,
        30,
        30,
    ]


def test_recovery_points_keep_who_is_who() -> None:
    assert values(frames(20, [0, 100, 200], [100] * 3, [KEY, RECOVERY, P])) == [0, 5, 10, 15, 20, 20]


def test_nothing_moves_across_a_cut_in_a_pframe() -> None:
    assert values(frames(20, [0, 100, 200], [100] * 3, cuts=(1,))) == [0, 0, 110, 115, 120, 120]


def test_nothing_moves_over_a_long_pause() -> None:
    assert values(frames(5, [0, 400, 1400], [400, 1000, 400])) == [0, 5, 10, 10, 10, 10, 10, 20, 20]


def test_clips_that_begin_anywhere() -> None:
    for start in (0, 33, 40, 1000, 12345):
        made, _ = frames(25, [start, start + 100, start + 200], [100] * 3)
        assert abs(made[0][1] / 25 - start / 1000) <= 0.5 / 25
        assert abs(len(made) / 25 - 0.3) <= 1 / 25
        assert made[0][0] <= 2
        assert [pts for _, pts, _ in made] == list(range(made[0][1], made[0][1] + len(made)))


def test_a_rate_so_low_that_one_frame_is_left() -> None:
    for start in (0, 40, 7000):
        assert values(frames("0.01", [start, start + 40], [40, 40])) == [0]


def test_variable_rates() -> None:
    """Where frames are rare they are interpolated, where they are frequent dropped."""
    assert values(frames(10, [0, 400, 450, 500, 550, 600], [50] * 6)) == [0, 2, 5, 8, 10, 30, 50]


def test_pauses_are_not_filled_for_ever() -> None:
    for times, durations in (([0, 10**15], [1, 1]), ([0, 40], [40, 10**12])):
        with pytest.raises(MediaError, match=r"a frame lasts .* s; --fps fills at most 3600 s"):
            frames(60, times, durations)


@pytest.mark.parametrize("second", [0, -40])
def test_times_that_do_not_grow(second: int) -> None:
    with pytest.raises(MediaError, match="expected later"):
        frames(60, [0, second], [40, 40])


def test_damage_comes_behind_what_lies_before_it() -> None:
    def packets() -> Iterator[Packet]:
        yield from FakeReader([0, 40], [40, 40], [KEY, P], Fraction(1, 1000))
        raise CorruptError("broken")

    class Broken:
        streams = (SimpleNamespace(time_base=Fraction(1, 1000)),)
        offset = 0
        __iter__ = staticmethod(packets)

    reader: Any = Broken()
    decoder: Any = FakeDecoder()
    found: list[Frame] = []
    with pytest.raises(CorruptError, match="broken"):
        found.extend(s.frame for s in retimed(reader, decoder, frame_rate(50)) if s.frame is not None)
    assert [f.pixels[0, 0, 0] for f in found] == [0, 5, 10, 10]


def test_at_their_own_times() -> None:
    coded = coded_clip()
    reader: Any = FakeReader(
        [3, 7, 9, 12, 20], [4, 2, 3, 8, 1], [k for _, k in coded.frames], Fraction(1, 30)
    )
    for packet, (payload, _) in zip(reader.packets, coded.frames, strict=True):
        object.__setattr__(packet, "payload", payload)
    plain, both = coded.decoder(), list(decoded(reader, coded.decoder()))
    again = [s.frame for s in retimed(reader, coded.decoder(), Fraction(30)) if s.frame is not None]
    assert len(again) == 18
    for step, (payload, kind) in zip(both, coded.frames, strict=True):
        assert step.n_gaussians == len(plain.decode(payload, kind))
        assert step.frame is not None
        assert step.packet is not None
        assert (step.frame.pts, step.frame.duration) == (step.packet.pts, step.packet.duration)
        np.testing.assert_array_equal(step.frame.pixels, plain.render())
        same = next(f for f in again if f.pts == step.frame.pts)
        np.testing.assert_array_equal(same.pixels, step.frame.pixels)


@pytest.mark.parametrize("name", ["bframes-coarse", "births", "recovery-coarse"])
def test_coded_frames_stay_what_they_are(name: str) -> None:
    """Also B-frames, which are between two frames themselves; what is new lies within what both show."""
    path = VECTORS / f"{name}.gsv"
    with GsvReader(path) as reader:
        plain = [
            step.frame for step in decoded(reader, Decoder(reader.sequence, backend="cpu")) if step.frame
        ]
        base = reader.streams[0].time_base
    rate = 3 / ((plain[1].pts - plain[0].pts) * base)
    with GsvReader(path) as reader:
        decoder = Decoder(reader.sequence, backend="cpu")
        found = [step.frame.pixels for step in retimed(reader, decoder, rate) if step.frame]
    assert len(found) == 3 * len(plain)
    n_new = 0
    for i, (before, after) in enumerate(itertools.pairwise(plain)):
        low, high = np.minimum(before.pixels, after.pixels), np.maximum(before.pixels, after.pixels)
        np.testing.assert_array_equal(found[3 * i], before.pixels)
        for picture in found[3 * i + 1 : 3 * i + 3]:
            assert ((low <= picture) & (picture <= high)).all()
            n_new += bool((picture != before.pixels).any() and (picture != after.pixels).any())
    assert n_new


@pytest.mark.parametrize(
    ("value", "rate"),
    [
        (60, Fraction(60)),
        ("29.97", Fraction(2997, 100)),
        ("30000/1001", Fraction(30000, 1001)),
        (0.01, Fraction(1, 100)),
        ("1000", Fraction(1000)),
        (Fraction(24), Fraction(24)),
        ("29.970029970029970", Fraction(30000, 1001)),
    ],
)
def test_rates(value: Any, rate: Fraction) -> None:
    assert frame_rate(value) == rate
    video = retimed_format(VideoFormat(8, 8, Fraction(1, 90000), Fraction(25)), rate)
    assert video.frame_rate == rate
    assert 1 / (video.time_base * rate.denominator) == rate


NUMBERS = (
    0,
    -3,
    1e9,
    float("nan"),
    "0",
    "nan",
    "inf",
    "1e9",
    "1000.1",
    "0.009",
    "1e999999999",
    "1e-999999999",
)


@pytest.mark.parametrize("value", [*NUMBERS, "30/0", "fast", "", "1/2/3", "9" * 5000])
def test_rates_that_are_none(value: Any) -> None:
    wanted = r"^--fps .* is out of range; permitted: 0.01 to 1000, also as 30000/1001$"
    with pytest.raises(ConfigError, match=wanted):
        frame_rate(value)


def test_whether_a_frame_is_cut_out_is_what_its_own_gop_says() -> None:
    """Frames before an I-frame come when that has been decoded, and are none of its GOP."""
    reader: Any = FakeReader([0, 1, 2], [1, 1, 1], [KEY, KEY, KEY], Fraction(1, 30))
    decoder: Any = FakeDecoder()  # every other frame's GOP is
    steps = retimed(reader, decoder, frame_rate(60))
    assert [s.is_cut_out for s in steps if s.frame] == [True, True, False, False, True, True]
