"""The matting network in NumPy, layer by layer as analysis/network.py describes it: slow and obvious."""

from __future__ import annotations

import numpy as np

from gscodec.analysis.network import Layer, Network


def run(network: Network, picture: np.ndarray) -> np.ndarray:
    """What the network makes of a picture.

    Args:
        picture: uint8 [height, width, 3], R'G'B'.
    Returns:
        float64 [height, width] in [0, 1].
    """
    made = [picture / 255.0]
    left = network.weights.astype(np.float64)
    for layer in network.layers:
        x = made[layer.source]
        n = 0
        if layer.operation in ("conv", "depthwise"):
            n = layer.kernel**2 * layer.channels * (x.shape[2] if layer.operation == "conv" else 1)
        weights, bias, left = (
            left[:n],
            left[n : n + layer.channels * (n > 0)],
            left[n + layer.channels * (n > 0) :],
        )
        gate = made[layer.gate] if layer.gate else 1.0
        addend = made[layer.addend] if layer.addend else 0.0
        if layer.operation in ("conv", "depthwise"):
            made.append(activated(convolved(x * gate, weights, layer) + bias, layer.activation) + addend)
        elif layer.operation == "mean":
            made.append((x + addend).mean(axis=(0, 1), keepdims=True))
        elif layer.operation == "mix":
            made.append(x * gate + addend)
        elif layer.operation == "upscale":
            made.append(upscaled(upscaled(x).swapaxes(0, 1)).swapaxes(0, 1))
        else:
            h, w, _ = x.shape
            made.append(x.reshape(h, w, 2, 2).transpose(0, 2, 1, 3).reshape(2 * h, 2 * w, 1))
    assert left.size == 0
    return made[-1][:, :, 0]


def convolved(x: np.ndarray, weights: np.ndarray, layer: Layer) -> np.ndarray:
    """The convolution of a layer, without its bias."""
    kernel, stride = layer.kernel, layer.stride
    h, w = (-(-side // stride) for side in x.shape[:2])
    zeros = [(max(0, (n - 1) * stride + kernel - side)) for n, side in zip((h, w), x.shape[:2], strict=True)]
    x = np.pad(x, [(zeros[0] // 2, -(-zeros[0] // 2)), (zeros[1] // 2, -(-zeros[1] // 2)), (0, 0)])
    taps = weights.reshape(kernel, kernel, -1, layer.channels)
    total = np.zeros((h, w, layer.channels))
    for dy in range(kernel):
        for dx in range(kernel):
            part = x[dy : dy + (h - 1) * stride + 1 : stride, dx : dx + (w - 1) * stride + 1 : stride]
            total += part @ taps[dy, dx] if layer.operation == "conv" else part * taps[dy, dx, 0]
    return total


def upscaled(x: np.ndarray) -> np.ndarray:
    """Twice as many rows: each is three quarters of the nearest and a quarter of the next."""
    above, below = x[np.r_[0, : len(x) - 1]], x[np.r_[1 : len(x), len(x) - 1]]
    return np.stack([0.75 * x + 0.25 * above, 0.75 * x + 0.25 * below], 1).reshape(-1, *x.shape[1:])


def activated(x: np.ndarray, name: str) -> np.ndarray:
    """An activation by its name."""
    if name == "relu":
        return np.maximum(x, 0)
    if name == "hard_swish":
        return x * np.clip(x + 3, 0, 6) / 6
    return 1 / (1 + np.exp(-x)) if name == "logistic" else x
