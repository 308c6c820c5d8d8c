"""The person by the real rembg and models made here: `make test-extras` installs it and runs these."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest

from cli_tools import QUICK, make_clip, succeed
from gscodec.analysis import human
from gscodec.analysis.matting import make_matter
from gscodec.errors import BackendError

rembg = pytest.importorskip("rembg", reason="rembg is not installed; `make test-extras` does that")
pytest.importorskip("onnx")

from test_matting_human import RED, assert_finds_red, assert_says_what_to_do, red_and_blue, save_model  # noqa: E402

PLACES = ("REMBG_HOME", "U2NET_HOME", "XDG_DATA_HOME")


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home folder without models, on a machine without network."""
    for name in PLACES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")  # the port of "discard": nobody answers
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


def rembg_session() -> type:
    """rembg's class of the model that we name."""
    from rembg.sessions import sessions_class

    return next(kind for kind in sessions_class if kind.name() == human.MODEL)


@pytest.mark.parametrize(
    "names", [(), *((name,) for name in PLACES), PLACES], ids=lambda names: "+".join(names)
)
def test_we_look_where_rembg_looks(
    home: Path, monkeypatch: pytest.MonkeyPatch, names: tuple[str, ...]
) -> None:
    for name in names:
        monkeypatch.setenv(name, str(home / name.lower()))
    kind, file = rembg_session(), f"{human.MODEL}.onnx"
    places = human.model_places()
    assert places[0] == Path(kind.model_dir(), file)
    assert Path(kind.legacy_home(), file) in places


@pytest.mark.parametrize("place", [0, -1], ids=["newest", "oldest"])
def test_rembg_opens_the_model_and_it_finds_people(
    home: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], place: int
) -> None:
    path = human.model_places()[place]
    path.parent.mkdir(parents=True)
    save_model(path, RED)
    # As if the file came into being only when rembg was asked for it.
    monkeypatch.setattr(human, "find_model", lambda: None)
    assert_finds_red(make_matter("human", matte_model=human.MODEL).matte(red_and_blue()))
    assert capfd.readouterr().out == ""  # standard output may be a video


def test_an_empty_room_is_stretched_by_rembg_and_not_by_us(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Why we take rembg's session and not its mask: the day this fails, human.py may become simpler."""
    from PIL import Image

    path = human.model_places()[0]
    path.parent.mkdir(parents=True)
    save_model(path, RED, size=(320, 320))
    blue = red_and_blue()[:, 32:]
    noisy = blue + np.random.default_rng(0).integers(0, 8, blue.shape, np.uint8) * (blue == 0)
    session = rembg.new_session(human.MODEL)
    assert np.asarray(session.predict(Image.fromarray(noisy.astype(np.uint8)))[0]).max() > 128
    monkeypatch.setattr(human, "find_model", lambda: None)
    assert make_matter("human", matte_model=human.MODEL).matte(noisy.astype(np.uint8)).max() < 0.1


def test_without_network_it_says_what_to_do(home: Path) -> None:
    with pytest.raises(BackendError, match="rembg could not fetch it") as caught:
        make_matter("human", matte_model=human.MODEL)
    assert_says_what_to_do(str(caught.value), home)
    assert not os.path.exists(human.model_places()[0])


@pytest.mark.parametrize("given", [True, False], ids=["--matte-model", "in rembg's folder"])
def test_encode_with_roi_human(home: Path, given: bool) -> None:
    clip = make_clip(home / "clip.mp4", 6)
    path = home / "own.onnx" if given else human.model_places()[0]
    path.parent.mkdir(parents=True, exist_ok=True)
    # The disc of the clip is redder than blue, the ramp behind it not so: person and room are both there.
    save_model(path, np.array([[12.0, 0.0, -12.0]]))
    options = ("--roi", "human", "--matte-model", path if given else human.MODEL)
    quick = [option for option in QUICK if option not in ("--roi", "full")]
    facts = json.loads(succeed("encode", clip, home / "a.gsv", "--json", *options, *quick).stdout)
    assert facts["n_frames"] == 6
    assert facts["roi"] == "human"
    assert facts["roi_psnr_db"] != facts["psnr_db"]  # the person is part of the picture, not all of it
    succeed("decode", home / "a.gsv", home / "a.mp4", "-q")
