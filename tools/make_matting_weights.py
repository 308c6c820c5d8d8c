#!/usr/bin/env python3
"""Write analysis/weights/selfie.bin: MediaPipe's selfie segmentation network in the form that gscodec runs.

python tools/make_matting_weights.py                  fetches the npm package that the network is published in
python tools/make_matting_weights.py FILE.tflite      takes a copy of the network that is already here

src/gscodec/analysis/network.py describes what is written. The original has layers for what the layer before
or behind can do by the way: here activations, sums and gates join a convolution. And a 1x1 convolution behind
an upscaling comes before it: both are linear and an upscaling's weights sum to one, so the result is the same
for a quarter of the work.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import struct
import tarfile
import urllib.request
from collections import Counter
from pathlib import Path

import numpy as np

from gscodec.analysis.network import ACTIVATIONS, HEADER, MAGIC, OPERATIONS, ROW, Layer

VERSION = "0.1.1675465747"
URL = f"https://registry.npmjs.org/@mediapipe/selfie_segmentation/-/selfie_segmentation-{VERSION}.tgz"
MEMBER = "package/selfie_segmentation_landscape.tflite"
SHA256 = "4aafe6223bb8dac6fac8ca8ed56852870a33051ef3f6238822d282a109962894"  # of that member
FOLDER = Path(__file__).resolve().parents[1] / "src" / "gscodec" / "analysis" / "weights"
NOTICE = """selfie.bin: the weights of MediaPipe's selfie segmentation model, landscape variant (144x256).

Copyright the MediaPipe authors. Licensed under the Apache License, Version 2.0
(https://www.apache.org/licenses/LICENSE-2.0).

Source:   {url}
          {member}
Version:  @mediapipe/selfie_segmentation {version}
SHA-256:  {source}  (the .tflite file)
          {made}  (selfie.bin)
Changed:  layers are arranged anew by tools/make_matting_weights.py; weights have their original values.
"""

# TensorFlow Lite's numbers for its operators.
ADD, CONV, DEPTHWISE, DEQUANTIZE, LOGISTIC, MUL, RELU, RESIZE, CUSTOM, MEAN, HARD_SWISH = (
    *(0, 3, 4, 6, 14, 18, 19, 23, 32, 40),
    117,
)
CURVES = {RELU: "relu", HARD_SWISH: "hard_swish", LOGISTIC: "logistic"}
FLOAT16 = 1  # TensorFlow Lite's number for a tensor's type


def main() -> None:
    """Parse the command line and write the two files."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", nargs="?", type=Path, help="the .tflite file, instead of fetching it")
    parser.add_argument("--out", type=Path, default=FOLDER, help="folder (default: the package's)")
    args = parser.parse_args()
    model = args.model.read_bytes() if args.model else fetched()
    found = hashlib.sha256(model).hexdigest()
    if found != SHA256:
        parser.error(f"the network's SHA-256 is {found}, expected {SHA256}: this is another file")
    made = converted(model)
    digest = hashlib.sha256(made).hexdigest()
    (args.out / "selfie.bin").write_bytes(made)
    notice = NOTICE.format(url=URL, member=MEMBER, version=VERSION, source=SHA256, made=digest)
    (args.out / "NOTICE").write_text(notice, encoding="utf-8")
    print(f"{args.out / 'selfie.bin'}: {len(made)} bytes; network.py's SHA256 must be {digest}")


def fetched() -> bytes:
    """The network, out of the npm package."""
    with urllib.request.urlopen(URL) as answer:
        package = answer.read()
    with tarfile.open(fileobj=io.BytesIO(package)) as archive:
        member = archive.extractfile(MEMBER)
        if member is None:
            raise SystemExit(f"{URL} has no {MEMBER}")
        return member.read()


class Table:
    """A table of a flatbuffer: fields by number, as the schema counts them."""

    def __init__(self, data: bytes, position: int) -> None:
        """Open the table that begins at a byte."""
        self._data, self._position = data, position
        self._fields = position - struct.unpack_from("<i", data, position)[0]

    def _place(self, field: int) -> int:
        """Where a field's value is; 0: it is left out."""
        size = struct.unpack_from("<H", self._data, self._fields)[0]
        if 4 + 2 * field >= size:
            return 0
        offset = struct.unpack_from("<H", self._data, self._fields + 4 + 2 * field)[0]
        return self._position + offset if offset else 0

    def number(self, field: int, kind: str = "i") -> int:
        """A number; 0 where it is left out."""
        place = self._place(field)
        return struct.unpack_from("<" + kind, self._data, place)[0] if place else 0

    def table(self, field: int) -> Table:
        """A table that a field points at."""
        place = self._place(field)
        return Table(self._data, place + struct.unpack_from("<I", self._data, place)[0])

    def array(self, field: int, kind: str = "<i4") -> np.ndarray:
        """A vector of numbers; empty where it is left out."""
        place = self._place(field)
        if not place:
            return np.empty(0, kind)
        start = place + struct.unpack_from("<I", self._data, place)[0]
        count = struct.unpack_from("<I", self._data, start)[0]
        return np.frombuffer(self._data, kind, count, start + 4)

    def tables(self, field: int) -> list[Table]:
        """A vector of tables."""
        offsets = self.array(field, "<u4")
        place = self._place(field)
        start = place + struct.unpack_from("<I", self._data, place)[0] + 4
        return [Table(self._data, start + 4 * i + int(offset)) for i, offset in enumerate(offsets)]


def converted(model: bytes) -> bytes:
    """What selfie.bin holds, from the .tflite file."""
    root = Table(model, struct.unpack_from("<I", model)[0])
    graph = root.tables(2)[0]
    _, height, width, _ = graph.tables(0)[graph.array(1)[0]].array(0)
    layers, weights = Arranger(root, graph).run()
    rows = [
        ROW.pack(
            *(OPERATIONS.index(layer.operation), ACTIVATIONS.index(layer.activation), layer.kernel),
            *(layer.stride, layer.source, layer.gate, layer.addend, layer.channels),
        )
        for layer in layers
    ]
    return b"".join([HEADER.pack(MAGIC, height, width, len(rows)), *rows, *weights])


class Arranger:
    """Turns the original's operators into layers, one after another.

    A tensor of the original becomes a layer, or what a later operator takes up: ("gated", x, gate),
    ("scaled", x) or ("sum", x, y).
    """

    def __init__(self, root: Table, graph: Table) -> None:
        """Read the graph's lists."""
        self._codes = [max(code.number(0, "b"), code.number(3)) for code in root.tables(1)]
        self._buffers = root.tables(4)
        self._tensors = graph.tables(0)
        self._operators = graph.tables(3)
        self._consumers = [
            (int(t), self._codes[op.number(0, "I")]) for op in self._operators for t in op.array(1)
        ]
        self._uses = Counter(tensor for tensor, _ in self._consumers)
        self._constants: dict[int, np.ndarray] = {}
        self._places: dict[int, tuple] = {int(graph.array(1)[0]): ("layer", 0)}
        self._layers: list[Layer] = []
        self._weights: list[bytes] = []

    def run(self) -> tuple[list[Layer], list[bytes]]:
        """The layers, and each one's weights."""
        for operator in self._operators:
            code = self._codes[operator.number(0, "I")]
            inputs = [int(t) for t in operator.array(1)]
            output = int(operator.array(2)[0])
            if code == DEQUANTIZE:
                tensor = self._tensors[inputs[0]]
                if tensor.number(1, "b") != FLOAT16:
                    raise SystemExit("a constant is not stored as float16")
                values = self._buffers[tensor.number(2, "I")].array(0, "<u1").view("<f2")
                self._constants[output] = values.reshape(tensor.array(0))
            else:
                self._places[output] = self._taken(code, operator, inputs, output)
        return self._layers, self._weights

    def _taken(self, code: int, operator: Table, inputs: list[int], output: int) -> tuple:
        """Add what an operator does; return where its output is."""
        places = [self._places.get(tensor, ("constant",)) for tensor in inputs]
        first = places[0]
        if code in CURVES:
            self._change(first[1] if self._layers[-1].operation != "spread" else first[1] - 1, CURVES[code])
            return first
        if code in (CONV, DEPTHWISE):
            kernel = self._constants[inputs[1]]
            bias = self._constants[inputs[2]]
            stride = operator.table(4).number(1)
            return self._convolved(first, kernel, bias, stride, code == DEPTHWISE)
        if code == CUSTOM:  # a transposed convolution without overlap: a convolution to one channel per place
            kernel = self._constants[inputs[1]].transpose(1, 2, 0, 3).reshape(4, 1, 1, -1)
            bias = np.repeat(self._constants[inputs[2]], 4)
            self._convolved(first, kernel, bias, 1, False)
            return self._add("spread", len(self._layers), 1)
        if code == MEAN:
            addend = first[2][1] if first[0] == "sum" else 0
            source = first[1][1] if first[0] == "sum" else first[1]
            return self._add("mean", source, self._channels(source), addend=addend)
        if code == MUL:
            return ("gated", first[1], places[1][1])
        if code == RESIZE:
            return ("scaled", first)
        if code == ADD:
            return self._summed(places, inputs, output)
        raise SystemExit(f"operator {code} is not known")

    def _convolved(
        self, place: tuple, kernel: np.ndarray, bias: np.ndarray, stride: int, depth: bool
    ) -> tuple:
        """Add a convolution, and behind it the upscaling that the original has in front."""
        scaled = place[0] == "scaled"
        source = place[1] if scaled else place
        if scaled and kernel.shape[1:3] != (1, 1):
            raise SystemExit("only a 1x1 convolution can change places with an upscaling")
        gate = source[2] if source[0] == "gated" else 0
        # The original has [out, y, x, in], or [1, y, x, channel].
        ordered = kernel[0] if depth else kernel.transpose(1, 2, 3, 0)
        made = self._add(
            "depthwise" if depth else "conv", source[1], len(bias), kernel.shape[1], stride, gate=gate
        )
        self._weights.append(ordered.tobytes() + bias.tobytes())
        return self._add("upscale", made[1], len(bias)) if scaled else made

    def _summed(self, places: list[tuple], inputs: list[int], output: int) -> tuple:
        """Add a sum: as a layer, or to the mean behind it, or to the layer that makes one of its terms."""
        gated = [place for place in places if place[0] == "gated"]
        if gated:
            (other,) = (place for place in places if place[0] != "gated")
            _, source, gate = gated[0]
            return self._add("mix", source, self._channels(source), gate=gate, addend=other[1])
        if all(code == MEAN for tensor, code in self._consumers if tensor == output):
            return ("sum", places[0], places[1])
        for tensor, place, other in zip(inputs, places, reversed(places), strict=True):
            last = place[1] == len(self._layers)
            if last and self._uses[tensor] == 1 and self._layers[-1].operation in ("conv", "depthwise"):
                self._layers[-1] = self._layers[-1]._replace(addend=other[1])
                return place
        raise SystemExit("a sum has no place")

    def _add(
        self, operation: str, source: int, channels: int, kernel: int = 1, stride: int = 1, **more: int
    ) -> tuple:
        layer = Layer(
            operation, "none", kernel, stride, source, more.get("gate", 0), more.get("addend", 0), channels
        )
        self._layers.append(layer)
        return ("layer", len(self._layers))

    def _change(self, number: int, activation: str) -> None:
        layer = self._layers[number - 1]
        if layer.activation != "none" or layer.operation == "mix":
            raise SystemExit("an activation has no place")
        self._layers[number - 1] = layer._replace(activation=activation)

    def _channels(self, number: int) -> int:
        return self._layers[number - 1].channels


if __name__ == "__main__":
    main()
