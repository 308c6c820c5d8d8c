"""The matting network: native core, twin and original agree; damaged files and unfit layers are refused."""

from __future__ import annotations

import re
from pathlib import Path

import cv2
import network_twin
import numpy as np
import pytest

from gscodec.analysis import network
from gscodec.errors import GscodecError

native = pytest.importorskip("gscodec.analysis._native")

DATA = Path(__file__).parent / "data"
ISAS = ("baseline", "x86_64_v3", "x86_64_v4")
TWIN = 1e-4  # of a matte: float32 against float64
ORIGINAL = 1e-3


@pytest.fixture(scope="module")
def picture() -> np.ndarray:
    """A frame of the demo clip at the network's size."""
    return np.ascontiguousarray(cv2.imread(str(DATA / "network_in.png"))[..., ::-1])


def run_native(picture: np.ndarray, isa: str) -> np.ndarray:
    try:
        return network.make_runner(isa).run(picture)
    except ValueError as error:
        pytest.skip(str(error))


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("kind", ["person", "mirrored", "noise", "white"])
def test_native_core_and_twin_agree(picture: np.ndarray, isa: str, kind: str) -> None:
    pictures = {
        "person": picture,
        "mirrored": np.ascontiguousarray(picture[:, ::-1]),
        "noise": np.random.default_rng(1).integers(0, 256, picture.shape, np.uint8),
        "white": np.full_like(picture, 255),
    }
    found = run_native(pictures[kind], isa)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, network_twin.run(network.load_network(), pictures[kind]), atol=TWIN)


def test_the_original_said_the_same(picture: np.ndarray) -> None:
    """network_out.png is what TensorFlow Lite made of network_in.png with MediaPipe's own file."""
    original = cv2.imread(str(DATA / "network_out.png"), cv2.IMREAD_UNCHANGED) / 65535
    assert 0.1 < (original > 0.5).mean() < 0.5
    np.testing.assert_allclose(network.make_runner().run(picture), original, atol=ORIGINAL)


def test_one_picture_leaves_nothing_behind_for_the_next(picture: np.ndarray) -> None:
    runner = network.make_runner()
    first = runner.run(picture)
    runner.run(255 - picture)
    np.testing.assert_array_equal(runner.run(picture), first)


# Every operation once, with odd sizes, which the real network has not: (operation, activation, kernel,
# stride, source, gate, addend, channels), numbers as in network.OPERATIONS and network.ACTIVATIONS.
SMALL = np.array(
    [
        (0, 2, 3, 1, 0, 0, 0, 5),  # 1: 3 x 3
        (1, 1, 5, 1, 1, 0, 1, 5),  # 2: depthwise 5 x 5, with an addend
        (1, 0, 3, 2, 2, 0, 0, 5),  # 3: half as large
        (2, 0, 1, 1, 3, 0, 3, 5),  # 4: mean
        (3, 0, 1, 1, 3, 4, 3, 5),  # 5: mix
        (0, 3, 1, 1, 5, 4, 5, 5),  # 6: 1 x 1, with a gate and an addend
        (0, 0, 5, 2, 6, 0, 0, 4),  # 7: a quarter as large
        (5, 0, 1, 1, 7, 0, 0, 1),  # 8: spread
        (4, 0, 1, 1, 8, 0, 0, 1),  # 9: upscaled
    ],
    np.int32,
)
N_SMALL = (9 * 3 * 5 + 5) + (25 * 5 + 5) + (9 * 5 + 5) + (25 + 5) + (25 * 5 * 4 + 4)


def small_network(height: int, width: int) -> network.Network:
    layers = tuple(
        network.Layer(network.OPERATIONS[row[0]], network.ACTIVATIONS[row[1]], *row[2:])
        for row in SMALL.tolist()
    )
    weights = np.random.default_rng(2).normal(0, 0.3, N_SMALL).astype(np.float32)
    return network.Network(height, width, SMALL, layers, weights)


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("size", [(4, 4), (12, 20), (36, 52)])
def test_other_layers_and_sizes_than_the_real_one_has(isa: str, size: tuple[int, int]) -> None:
    small = small_network(*size)
    picture = np.random.default_rng(3).integers(0, 256, (*size, 3), np.uint8)
    try:
        runner = native.MattingNetwork(*size, small.rows, small.weights, isa)
    except ValueError as error:
        if "processor" not in str(error):
            raise
        pytest.skip(str(error))
    np.testing.assert_allclose(runner.run(picture), network_twin.run(small, picture), atol=TWIN)


@pytest.mark.parametrize(
    ("row", "column", "value", "message"),
    [
        (0, 0, 6, "unknown operation"),
        (0, 1, -1, "unknown operation or activation"),
        (0, 2, 4, "kernel, stride"),
        (2, 3, 3, "kernel, stride"),
        (1, 4, 2, "not made before"),
        (4, 5, 0, "a mix needs a gate"),
        (5, 5, 3, "gate does not fit"),
        (5, 6, 1, "addend has another shape"),
        (0, 7, 0, "number of channels"),
        (3, 7, 4, "number of channels does not fit"),
        (0, 7, 6, "number of channels does not fit"),
        (8, 4, 7, "number of channels does not fit"),
    ],
)
def test_layers_that_do_not_fit_are_refused(row: int, column: int, value: int, message: str) -> None:
    rows = SMALL.copy()
    rows[row, column] = value
    with pytest.raises(ValueError, match=message):
        native.MattingNetwork(12, 20, rows, np.zeros(N_SMALL, np.float32))


def test_weights_and_pictures_of_a_wrong_size_are_refused() -> None:
    with pytest.raises(ValueError, match="too few weights"):
        native.MattingNetwork(12, 20, SMALL, np.zeros(N_SMALL - 1, np.float32))
    with pytest.raises(ValueError, match="more weights"):
        native.MattingNetwork(12, 20, SMALL, np.zeros(N_SMALL + 1, np.float32))
    with pytest.raises(ValueError, match="no matte of the picture's size"):
        native.MattingNetwork(12, 20, SMALL[:8], np.zeros(N_SMALL, np.float32))
    with pytest.raises(ValueError, match="picture is 256x143, expected 256x144"):
        network.make_runner().run(np.zeros((143, 256, 3), np.uint8))


def test_a_damaged_file_is_never_used(monkeypatch: pytest.MonkeyPatch) -> None:
    network.load_network.cache_clear()
    monkeypatch.setattr(network, "SHA256", "0" * 64)
    with pytest.raises(GscodecError, match=r"selfie\.bin is damaged"):
        network.load_network()


def test_notice_names_the_file_that_is_there() -> None:
    notice = (Path(network.__file__).parent / "weights" / "NOTICE").read_text(encoding="utf-8")
    assert network.SHA256 in notice
    assert "Apache License" in notice
    assert re.search(r"@mediapipe/selfie_segmentation \d", notice)
