"""The network that finds people: its file, what its layers do, and the native core that runs them.

It is MediaPipe's selfie segmentation (weights/NOTICE says where it is from), a small encoder and decoder for
pictures of 144x256 pixels, with 106 000 weights. tools/make_matting_weights.py writes the file:

    "GSCN"; height u16, width u16, layers u16                      little-endian; size of the picture it takes
    each layer: operation u8, activation u8, kernel u8, stride u8  numbers in OPERATIONS, ACTIVATIONS
                source u16, gate u16, addend u16, channels u16     layers by number; channels of its result
    the weights of each layer in turn, float16

Layer 0 is the picture, R'G'B' in [0, 1]; the file's first layer is number 1, so that as gate or addend 0
stands for none. With x the source, an array [height, width, channels]:

    conv       activation(x · gate * weights [kernel, kernel, in, out] + bias [out]) + addend
    depthwise  the same with weights [kernel, kernel, channels], each channel by itself
    mean       of x + addend over all pixels, [1, 1, channels]
    mix        x · gate + addend
    upscale    x twice as large, bilinear between pixel centres, edges repeated
    spread     [height, width, 4] -> [2·height, 2·width, 1]: the four are the pixels of a square, row by row

A gate is [1, 1, channels], and of convolutions only those of 1x1 have one. Convolutions keep the size or
halve it (stride 2): zeros surround the picture, where their number is odd one more on the right and below.

tests/analysis/network_twin.py says the same in NumPy; the native core is analysis/csrc/network.cpp.
"""

from __future__ import annotations

import hashlib
import struct
from functools import cache
from importlib import resources
from typing import Any, NamedTuple

import numpy as np

from gscodec.errors import GscodecError

SHA256 = "e64d8cac291725c9781bc20ae84822842f99876b6460284391ef91b6e1d7f50c"
MAGIC = b"GSCN"
HEADER = struct.Struct("<4sHHH")
ROW = struct.Struct("<4B4H")
OPERATIONS = ("conv", "depthwise", "mean", "mix", "upscale", "spread")
ACTIVATIONS = ("none", "relu", "hard_swish", "logistic")


class Layer(NamedTuple):
    """One row of the file."""

    operation: str
    activation: str
    kernel: int
    stride: int
    source: int
    gate: int
    addend: int
    channels: int


class Network(NamedTuple):
    """What the file holds.

    Attributes:
        height, width: of the picture it takes, pixels.
        rows: the layers' numbers as stored, int32 [n, 8].
        layers: the same with names.
        weights: of all layers one after another, float32.
    """

    height: int
    width: int
    rows: np.ndarray
    layers: tuple[Layer, ...]
    weights: np.ndarray


@cache
def load_network() -> Network:
    """The network that comes with the package.

    Raises:
        GscodecError: its file is missing or damaged.
    """
    file = resources.files("gscodec.analysis") / "weights" / "selfie.bin"
    try:
        found = file.read_bytes()
    except OSError as error:
        raise GscodecError(f"{file} cannot be read ({error}); reinstall gscodec") from error
    if hashlib.sha256(found).hexdigest() != SHA256:
        raise GscodecError(f"{file} is damaged: its SHA-256 is another; reinstall gscodec")
    return parsed(found)


def parsed(data: bytes) -> Network:
    """The network in a file's bytes, which are as the SHA-256 promises."""
    _, height, width, count = HEADER.unpack_from(data)
    rows = [ROW.unpack_from(data, HEADER.size + i * ROW.size) for i in range(count)]
    layers = tuple(Layer(OPERATIONS[row[0]], ACTIVATIONS[row[1]], *row[2:]) for row in rows)
    weights = np.frombuffer(data, "<f2", offset=HEADER.size + count * ROW.size).astype(np.float32)
    return Network(height, width, np.array(rows, np.int32), layers, weights)


def make_runner(isa: str = "") -> Any:
    """The native network; its `run` turns uint8 [height, width, 3] into float32 [height, width].

    Args:
        isa: which build of its loops, for tests; "" takes the fastest that this processor runs.
    """
    from gscodec.analysis import _native

    network = load_network()
    return _native.MattingNetwork(network.height, network.width, network.rows, network.weights, isa)
