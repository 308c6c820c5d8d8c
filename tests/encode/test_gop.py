"""Where GOPs begin."""

from __future__ import annotations

import pytest

from gscodec.container.headers import FrameType
from gscodec.encode.encoded import EncodedFrame
from gscodec.encode.gop import (
    DECAY_DB,
    MAX_OPEN_GOPS,
    GopCounter,
    OpenGop,
)


def coded(frame_type: FrameType, roi_db: float) -> EncodedFrame:
    error = 255**2 * 10 ** (-roi_db / 10)
    return EncodedFrame(
        frame_type=frame_type,
        payload=b"",
        n_coded=0,
        n_gaussians=0,
        iterations=0,
        seconds=0.0,
        roi_error=error,
        roi_samples=1,
        error=error,
        samples=1,
    )


def types(gop_length: int, n_frames: int, cuts: tuple[int, ...] = (), is_open: bool = False) -> str:
    """The types of a clip that never loses quality, by their first letters."""
    counter, open_gop, out = GopCounter(gop_length), OpenGop(is_open), ""
    for i in range(n_frames):
        kind, must = counter.due(i in cuts)
        counter.took(kind, must)
        found = open_gop.type_of(kind, must)
        open_gop.coded(coded(found, 30.0))
        out += found.name[0]
    return out


@pytest.mark.parametrize(
    ("gop_length", "cuts", "expected"),
    [
        (1, (), "IIIIIIII"),
        (2, (), "IPIPIPIP"),
        (3, (), "IPPIPPIP"),
        (100, (), "IPPPPPPP"),
        (4, (2,), "IPIPPPIP"),  # a cut starts a GOP of full length
        (4, (0,), "IPPPIPPP"),
        (4, (4, 5), "IPPPIIPP"),
    ],
)
def test_gops_have_their_length(gop_length: int, cuts: tuple[int, ...], expected: str) -> None:
    assert types(gop_length, 8, cuts) == expected


@pytest.mark.parametrize(
    ("gop_length", "cuts", "expected"),
    [
        (1, (), "IRRRRIRRRRIR"),
        (2, (), "IPRPRPRPRPIP"),
        (2, (3,), "IPRIPRPRPRPR"),  # a cut begins five lengths anew
        (100, (), "IPPPPPPPPPPP"),
    ],
)
def test_open_gops_go_on_for_five_lengths(gop_length: int, cuts: tuple[int, ...], expected: str) -> None:
    assert MAX_OPEN_GOPS == 5
    assert types(gop_length, 12, cuts, is_open=True) == expected


@pytest.mark.parametrize(
    ("last_db", "must", "is_open", "expected"),
    [
        (30.0 - DECAY_DB - 0.1, False, True, FrameType.I),
        (30.0 - DECAY_DB + 0.1, False, True, FrameType.RECOVERY),
        (31.0, False, True, FrameType.RECOVERY),
        (31.0, True, True, FrameType.I),
        (31.0, False, False, FrameType.I),
    ],
)
def test_an_open_gop_ends_where_it_lost_much(
    last_db: float, must: bool, is_open: bool, expected: FrameType
) -> None:
    gop = OpenGop(is_open)
    gop.coded(coded(FrameType.I, 30.0))
    gop.coded(coded(FrameType.P, last_db))
    assert gop.type_of(FrameType.P, False) == FrameType.P
    assert gop.type_of(FrameType.I, must) == expected


def test_quality_is_lost_against_the_last_iframe() -> None:
    gop = OpenGop(True)
    gop.coded(coded(FrameType.I, 40.0))
    gop.coded(coded(FrameType.I, 30.0))
    gop.coded(coded(FrameType.RECOVERY, 28.0))
    assert gop.type_of(FrameType.I, False) == FrameType.RECOVERY


def test_a_frame_that_is_overdue_stays_so() -> None:
    counter = GopCounter(3)
    for kind in (FrameType.I, FrameType.P, FrameType.P, FrameType.P, FrameType.P):
        counter.took(kind, kind == FrameType.I)
    assert counter.due(False) == (FrameType.I, False)
