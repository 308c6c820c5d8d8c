"""Other codecs on the same pictures: every frame comes back, bytes are found, old encoders are named."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import pytest

from gscodec.bench import rivals
from gscodec.bench.rivals import RIVALS, check_rival, decode_rival, encode_rival, match_bytes, to_yuv
from gscodec.errors import BackendError
from gscodec.metrics import psnr

SIZE = (96, 64)


@pytest.mark.parametrize("name", RIVALS)
def test_rivals_code_and_decode_every_frame(name, make_clip):
    try:
        check_rival(name)
    except BackendError as error:
        pytest.skip(str(error))
    frames = make_clip("gradient", *SIZE, 5)
    coded = encode_rival(RIVALS[name], list(to_yuv(iter(frames))), Fraction(25), 3, 20)
    decoded = list(decode_rival(RIVALS[name], coded))
    assert len(decoded) == 5
    assert psnr(decoded[2], frames[2]) > 25
    assert [i for i, p in enumerate(coded.packets) if p.is_keyframe] == [0, 3]
    assert 0 < coded.n_bytes <= sum(p.size for p in coded.packets)


def test_rival_at_the_same_bytes(make_clip):
    rival = RIVALS["x264-veryfast-zerolatency"]
    planes = list(to_yuv(iter(make_clip("noise", *SIZE, 3))))
    sizes = {crf: encode_rival(rival, planes, Fraction(25), 3, crf).n_bytes for crf in (30.0, 30.5, 31.0)}
    crf, coded = match_bytes(rival, planes, Fraction(25), 3, sizes[30.5])
    assert coded.n_bytes == sizes[30.5]
    assert 30 <= crf <= 31
    assert match_bytes(rival, planes, Fraction(25), 3, 1)[0] == 51


def test_svt_is_found_by_quarters_of_a_crf_beyond_63(make_clip):
    rival = RIVALS["svt-av1-8-lowdelay"]
    planes = list(to_yuv(iter(make_clip("noise", *SIZE, 3))))
    sizes = {crf: encode_rival(rival, planes, Fraction(25), 3, crf).n_bytes for crf in (66.75, 67.0, 67.25)}
    assert sizes[66.75] > sizes[67.0] > sizes[67.25]
    assert match_bytes(rival, planes, Fraction(25), 3, sizes[67.0])[0] == 67.0
    assert match_bytes(rival, planes, Fraction(25), 3, 1)[0] == 70


def test_an_svt_that_ignores_its_crf_is_too_old(monkeypatch):
    unknown = {"preset": "8", "svtav1-params": "lp=1:no-such-thing={crf}"}  # a warning of FFmpeg
    deaf = replace(RIVALS["svt-av1-8-lowdelay"], options=unknown)
    monkeypatch.setitem(rivals.USUAL_RIVALS, "svt-av1-8-lowdelay", deaf)
    monkeypatch.setattr(rivals, "_svt_takes_quarters", rivals._svt_takes_quarters.__wrapped__)
    with pytest.raises(BackendError, match=r"has no crf 69\.25; pip install -U av"):
        check_rival("svt-av1-8-lowdelay")


def test_tuned_rivals_are_other_streams_without_delay(make_clip):
    planes = list(to_yuv(iter(make_clip("noise", *SIZE, 6))))
    for name in ("x264-veryfast-zerolatency", "x265-medium-zerolatency"):
        plain, tuned = (encode_rival(RIVALS[n], planes, Fraction(25), 3, 36) for n in (name, f"{name}-psnr"))
        assert plain.payloads != tuned.payloads
        assert [p.dts for p in tuned.packets] == [p.pts for p in tuned.packets]


def test_unknown_encoder_says_what_to_install(monkeypatch):
    monkeypatch.setattr("gscodec.bench.rivals.av.codecs_available", set())
    with pytest.raises(BackendError, match="pip install -U av"):
        check_rival("svt-av1-8-lowdelay")
