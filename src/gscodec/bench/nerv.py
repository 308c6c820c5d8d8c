"""NeRV as a rival: a small network per clip that draws frame number t (Chen et al., arXiv 2110.13903).

What counts is a file: weights rounded to 8 bits, tensor by tensor, and compressed; pictures are drawn from
what was read back. Training takes minutes to hours, so it runs only where it is asked for.
"""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import zstandard

from gscodec.errors import BackendError, CorruptError, install_extra

NERV = "nerv"
WIDTHS = (4, 12, 32)  # channels of the first stage: points of a rate-distortion curve
MAGIC = b"NERV1\n"
_STRIDES = (4, 4, 2, 2)
_FREQUENCIES, _BASE = 40, 1.25
_RATE = 2e-3
_MAX_BYTES = 1 << 28


@dataclass(frozen=True, slots=True)
class NervShape:
    """What a file says besides its weights: the clip's size and the network's width."""

    n_frames: int
    height: int
    width: int
    channels: int


def train(
    shape: NervShape,
    picture: Callable[[int], np.ndarray],
    epochs: int,
    say: Callable[[str], None] | None = None,
) -> Any:
    """Train a network on a clip's pictures.

    Args:
        picture: gives frame i, R'G'B' uint8 [H, W, 3].
    Returns:
        The trained torch.nn.Module.
    Raises:
        BackendError: torch is not installed.
    """
    torch = _torch()
    torch.manual_seed(0)
    device = _device(torch)
    net = _network(shape).to(device)
    steps = max(1, epochs * shape.n_frames)
    optimizer = torch.optim.Adam(net.parameters(), lr=_RATE)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    order = np.random.default_rng(0)
    for epoch in range(epochs):
        total = 0.0
        for i in order.permutation(shape.n_frames):
            wanted = torch.from_numpy(np.array(picture(int(i)))).to(device).permute(2, 0, 1).float() / 255
            loss = torch.nn.functional.mse_loss(net(_time(torch, shape, int(i), device))[0], wanted)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            total += float(loss.detach())
        if say and (epoch + 1) % 10 == 0:
            mse = total / shape.n_frames
            say(f"nerv: epoch {epoch + 1} of {epochs}, {-10 * math.log10(max(mse, 1e-12)):.2f} dB")
    return net


def write(path: Path, shape: NervShape, net: Any) -> int:
    """Write a network's weights, 8 bits each, as a file; its bytes."""
    levels, ranges = [], []
    for weights in net.state_dict().values():
        w = weights.detach().cpu().numpy().astype(np.float32).ravel()
        low, high = float(w.min()), float(w.max())
        step = (high - low) / 255 or 1.0
        levels.append(np.rint((w - low) / step).astype(np.uint8).tobytes())
        ranges.append((low, step))
    body = zstandard.ZstdCompressor(19).compress(np.array(ranges, "<f4").tobytes() + b"".join(levels))
    header = json.dumps(asdict(shape)).encode()
    data = MAGIC + struct.pack("<I", len(header)) + header + body
    path.write_bytes(data)
    return len(data)


def read(path: Path) -> tuple[NervShape, Any]:
    """The network of a file.

    Raises:
        CorruptError: it is none, or damaged. BackendError: torch is not installed.
    """
    torch, data = _torch(), path.read_bytes()
    start = len(MAGIC) + 4
    try:
        if not data.startswith(MAGIC):
            raise ValueError("it does not begin like one")
        n_header = struct.unpack("<I", data[len(MAGIC) : start])[0]
        shape = NervShape(**json.loads(data[start : start + n_header]))
        net = _network(shape)
        state = net.state_dict()
        n_bytes = 8 * len(state) + sum(w.numel() for w in state.values())
        if n_bytes > _MAX_BYTES:
            raise ValueError(f"its weights would take {n_bytes} bytes")
        body = zstandard.ZstdDecompressor().decompress(data[start + n_header :], max_output_size=n_bytes)
        if len(body) != n_bytes:
            raise ValueError(f"it holds {len(body)} bytes of weights, expected {n_bytes}")
    except (ValueError, TypeError, KeyError, struct.error, zstandard.ZstdError) as error:
        raise CorruptError(f"{path}: not a NeRV file: {error}") from error
    ranges = np.frombuffer(body, "<f4", 2 * len(state)).reshape(-1, 2)
    at = ranges.nbytes
    for (name, weights), (low, step) in zip(state.items(), ranges, strict=True):
        n = weights.numel()
        values = np.frombuffer(body, np.uint8, n, at).astype(np.float32) * step + low
        state[name] = torch.from_numpy(values.reshape(tuple(weights.shape)))
        at += n
    net.load_state_dict(state)
    return shape, net


def pictures(shape: NervShape, net: Any) -> Iterator[np.ndarray]:
    """Draw every frame, R'G'B' uint8 [H, W, 3]."""
    torch = _torch()
    device = _device(torch)
    net = net.to(device).eval()
    with torch.no_grad():
        for i in range(shape.n_frames):
            drawn = net(_time(torch, shape, i, device))[0]
            yield (
                (drawn * 255 + 0.5).clamp(0, 255).to(torch.uint8).permute(1, 2, 0).contiguous().cpu().numpy()
            )


def _network(shape: NervShape) -> Any:
    """Frame time, encoded by sines -> MLP -> stages of convolution and pixel shuffle -> picture."""
    torch = _torch()
    nn, scale = torch.nn, math.prod(_STRIDES)
    if min(shape.n_frames, shape.height, shape.width, shape.channels) < 1 or shape.channels > 4096:
        raise ValueError(f"a shape of {shape} cannot be")
    rows, columns = -(-shape.height // scale), -(-shape.width // scale)

    class Nerv(nn.Module):  # type: ignore[name-defined, misc]
        def __init__(self) -> None:
            super().__init__()
            channels = shape.channels
            hidden = 32 + 4 * channels
            self.stem = nn.Sequential(
                nn.Linear(2 * _FREQUENCIES, hidden), nn.SiLU(), nn.Linear(hidden, channels * rows * columns)
            )
            stages: list[Any] = []
            for stride in _STRIDES:
                after = max(8, channels * 3 // 4)
                stages += [
                    nn.Conv2d(channels, after * stride * stride, 3, padding=1),
                    nn.PixelShuffle(stride),
                    nn.SiLU(),
                ]
                channels = after
            self.stages = nn.Sequential(*stages)
            self.last = nn.Conv2d(channels, 3, 3, padding=1)

        def forward(self, t: Any) -> Any:
            x = self.stem(t).view(1, -1, rows, columns)
            drawn = torch.sigmoid(self.last(self.stages(x)))
            return drawn[:, :, : shape.height, : shape.width]

    return Nerv()


def _time(torch: Any, shape: NervShape, i: int, device: Any) -> Any:
    angles = math.pi * (i + 1) / (shape.n_frames + 1) * _BASE ** np.arange(_FREQUENCIES)
    return torch.from_numpy(np.concatenate([np.sin(angles), np.cos(angles)]).astype(np.float32)).to(device)


def _device(torch: Any) -> Any:
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def _torch() -> Any:
    try:
        import torch
    except ImportError as error:
        raise BackendError(f"nerv needs torch; {install_extra('train')}") from error
    return torch
