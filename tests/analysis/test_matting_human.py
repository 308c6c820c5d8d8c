"""Mattes from ONNX models, made here, and the one clear error where there is no model."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from gscodec.analysis.human import MODEL
from gscodec.analysis.matting import make_matter
from gscodec.errors import BackendError, ConfigError

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

FLOAT = 1  # onnx.TensorProto.FLOAT


def save_model(
    path: Path,
    weights: np.ndarray,
    *,
    size: tuple[int | str, int | str] = (24, 32),
    squash: str | None = "Sigmoid",
) -> Path:
    """Write a 1x1 convolution [channels, 3], then perhaps Sigmoid or Softmax over the channels."""
    helper = onnx.helper
    channels = len(weights)
    kernel = helper.make_tensor(
        "kernel", FLOAT, [channels, 3, 1, 1], weights.astype(np.float32).ravel().tolist()
    )
    nodes = [helper.make_node("Conv", ["image", "kernel"], ["mask" if squash is None else "odds"])]
    if squash is not None:
        attributes = {"axis": 1} if squash == "Softmax" else {}
        nodes.append(helper.make_node(squash, ["odds"], ["mask"], **attributes))
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info("image", FLOAT, [1, 3, *size])],
        [helper.make_tensor_value_info("mask", FLOAT, [1, channels, *size])],
        [kernel],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, str(path))
    return path


def red_and_blue(height: int = 48, width: int = 64) -> np.ndarray:
    """Return a picture whose left half is red, to be found by weights (+, 0, -), and the right blue."""
    pixels = np.zeros((height, width, 3), np.uint8)
    pixels[:, : width // 2, 0] = 255
    pixels[:, width // 2 :, 2] = 255
    return pixels


def assert_finds_red(matte: np.ndarray) -> None:
    assert matte.shape == (48, 64)
    assert matte.dtype == np.float32
    assert matte[:, :28].min() > 0.9
    assert matte[:, 36:].max() < 0.1
    assert 0 <= matte.min() <= matte.max() <= 1


RED = np.array([[3.0, 0.0, -3.0]])


@pytest.mark.parametrize("size", [(24, 32), ("h", "w")])
@pytest.mark.parametrize("squash", ["Sigmoid", None])
def test_one_channel(tmp_path: Path, size: tuple[int | str, int | str], squash: str | None) -> None:
    path = save_model(tmp_path / "m.onnx", RED, size=size, squash=squash)
    matter = make_matter("human", matte_model=str(path))
    assert matter.name == "human"
    assert_finds_red(matter.matte(red_and_blue()))


@pytest.mark.parametrize("squash", ["Softmax", None])
def test_two_channels_the_last_is_the_person(tmp_path: Path, squash: str | None) -> None:
    path = save_model(tmp_path / "m.onnx", np.concatenate([-RED, RED]), squash=squash)
    assert_finds_red(make_matter("auto", matte_model=str(path)).matte(red_and_blue()))


def test_empty_room_is_not_stretched_into_a_person(tmp_path: Path) -> None:
    path = save_model(tmp_path / "m.onnx", RED)
    blue = red_and_blue()[:, 32:]
    noisy = blue + np.random.default_rng(0).integers(0, 8, blue.shape, np.uint8) * (blue == 0)
    assert make_matter("human", matte_model=str(path)).matte(noisy.astype(np.uint8)).max() < 0.1


def test_black_frame(tmp_path: Path) -> None:
    path = save_model(tmp_path / "m.onnx", RED)
    matte = make_matter("human", matte_model=str(path)).matte(np.zeros((48, 64, 3), np.uint8))
    assert np.isfinite(matte).all()


def test_output_that_is_no_mask(tmp_path: Path) -> None:
    path = save_model(tmp_path / "m.onnx", np.ones((3, 3)))
    matter = make_matter("human", matte_model=str(path))
    with pytest.raises(ConfigError, match=r"\[1, 3, 24, 32\]; expected one mask"):
        matter.matte(red_and_blue())


def test_input_that_is_no_image(tmp_path: Path) -> None:
    helper = onnx.helper
    graph = helper.make_graph(
        [helper.make_node("Add", ["a", "b"], ["sum"])],
        "two",
        [helper.make_tensor_value_info(name, FLOAT, [1, 3, 8, 8]) for name in "ab"],
        [helper.make_tensor_value_info("sum", FLOAT, [1, 3, 8, 8])],
    )
    onnx.save(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8),
        str(tmp_path / "m.onnx"),
    )
    with pytest.raises(ConfigError, match="expected one image"):
        make_matter("human", matte_model=str(tmp_path / "m.onnx"))


def test_file_that_is_no_model(tmp_path: Path) -> None:
    (tmp_path / "m.onnx").write_bytes(b"not a model")
    for roi in ("human", "auto"):  # a model that was named is never silently left out
        with pytest.raises(ConfigError, match=r"m\.onnx is not a usable ONNX model"):
            make_matter(roi, matte_model=str(tmp_path / "m.onnx"))
    with pytest.raises(ConfigError, match="no such file"):
        make_matter("human", matte_model=str(tmp_path / "absent.onnx"))


@pytest.fixture
def empty_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("U2NET_HOME", "REMBG_HOME", "XDG_DATA_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    return tmp_path


def assert_says_what_to_do(message: str, home: Path) -> None:
    expected = home / ".rembg" / "models" / "u2net_human_seg" / "u2net_human_seg.onnx"
    for part in (str(expected), "--matte-model FILE", "leave --matte-model out", "pip install"):
        assert part in message
    assert "\n" not in message


def test_no_model_and_no_rembg(empty_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "rembg", None)
    with pytest.raises(BackendError) as caught:
        make_matter("human", matte_model=MODEL)
    assert_says_what_to_do(str(caught.value), empty_home)


def fake_rembg(folder: Path, monkeypatch: pytest.MonkeyPatch, source: str) -> None:
    (folder / "lib").mkdir()
    (folder / "lib" / "rembg.py").write_text(source)
    monkeypatch.syspath_prepend(str(folder / "lib"))
    monkeypatch.delitem(sys.modules, "rembg", raising=False)


def test_rembg_that_exits_on_import(empty_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_rembg(empty_home, monkeypatch, "import sys\nsys.exit(1)\n")
    with pytest.raises(BackendError) as caught:
        make_matter("human", matte_model=MODEL)
    assert_says_what_to_do(str(caught.value), empty_home)


def test_rembg_without_network(empty_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_rembg(
        empty_home,
        monkeypatch,
        "def new_session(name):\n"
        "    assert name == 'u2net_human_seg'\n"
        "    raise OSError('no route to host')\n",
    )
    with pytest.raises(BackendError, match="no route to host") as caught:
        make_matter("human", matte_model=MODEL)
    assert_says_what_to_do(str(caught.value), empty_home)


def test_rembg_s_session_is_used(empty_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = save_model(empty_home / "m.onnx", RED)
    fake_rembg(
        empty_home,
        monkeypatch,
        "import types\nimport onnxruntime\n"
        f"def new_session(name):\n    inner = onnxruntime.InferenceSession({str(path)!r})\n"
        "    return types.SimpleNamespace(inner_session=inner)\n",
    )
    assert_finds_red(make_matter("human", matte_model=MODEL).matte(red_and_blue()))


@pytest.mark.parametrize("place", ["default", "REMBG_HOME", "U2NET_HOME"])
def test_model_at_rembg_s_places_is_found(
    empty_home: Path, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    root = empty_home / ".rembg"
    if place != "default":
        root = empty_home / "elsewhere"
        monkeypatch.setenv(place, str(root))
    folder = root / "models" / MODEL
    folder.mkdir(parents=True)
    save_model(folder / f"{MODEL}.onnx", RED)
    matter = make_matter("auto", matte_model=MODEL)
    assert matter.name == "human"
    assert_finds_red(matter.matte(red_and_blue()))


def test_rembg_s_model_is_only_used_where_it_is_asked_for(empty_home: Path) -> None:
    folder = empty_home / ".rembg" / "models" / MODEL
    folder.mkdir(parents=True)
    (folder / f"{MODEL}.onnx").write_bytes(b"half a download")
    for roi in ("auto", "human"):
        assert make_matter(roi).warnings == []
        with pytest.raises(BackendError, match="is damaged"):
            make_matter(roi, matte_model=MODEL)


def test_a_place_that_cannot_be_looked_at_holds_no_model(
    empty_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REMBG_HOME", str(empty_home / ("x" * 300)))  # as a folder without permission
    monkeypatch.setitem(sys.modules, "rembg", None)
    with pytest.raises(BackendError, match="rembg, which would fetch it, is not installed"):
        make_matter("human", matte_model=MODEL)
