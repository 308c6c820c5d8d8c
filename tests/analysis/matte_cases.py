"""What tests of mattes share: the demo clip with its exact mattes, other pictures of it, and comparisons."""

from __future__ import annotations

import numpy as np

from gscodec.analysis.matting import make_matter

MattedFrame = tuple[np.ndarray, np.ndarray]  # R'G'B' uint8 [H, W, 3], exact matte float32 [H, W]
Clip = list[MattedFrame]
CASES = ("upright phone", "at the edge", "mirrored", "dark", "half size")


def demo_clip() -> Clip:
    """One second of the demo clip at its own size, 10 frames per second."""
    from gscodec.bench.democlip import demo_frames  # needs matplotlib

    return list(demo_frames(10, 640, 360, fps=10.0))


def iou(found: np.ndarray, exact: np.ndarray) -> float:
    """What two mattes share of the person, of what either has."""
    found, exact = found > 0.5, exact > 0.5
    return float((found & exact).sum() / (found | exact).sum())


def ious(roi: str, frames: Clip) -> list[float]:
    """Each frame's `iou` by a source of mattes that must have nothing to warn of."""
    matter = make_matter(roi)
    found = [iou(matter.matte(pixels), exact) for pixels, exact in frames]
    assert matter.warnings == []
    return found


def changed(case: str, pixels: np.ndarray, exact: np.ndarray) -> MattedFrame:
    """A frame in another framing or light: one of CASES, or "warm light"."""
    if case == "upright phone":
        return np.ascontiguousarray(pixels[:, 200:403]), exact[:, 200:403]
    if case == "at the edge":
        return np.ascontiguousarray(pixels[:, 240:]), exact[:, 240:]
    if case == "mirrored":
        return np.ascontiguousarray(pixels[:, ::-1]), exact[:, ::-1]
    if case == "half size":
        return np.ascontiguousarray(pixels[::2, ::2]), exact[::2, ::2]
    if case == "warm light":
        return (pixels * np.array([1.0, 0.8, 0.55])).astype(np.uint8), exact
    assert case == "dark"
    noise = np.random.default_rng(3).normal(0, 2, pixels.shape)
    return np.clip(255 * (pixels / 255) ** 1.3 * 0.3 + noise, 0, 255).astype(np.uint8), exact


def beside(left: MattedFrame, right: MattedFrame) -> MattedFrame:
    """Two frames in one, a person at each side."""
    pixels, exact = (
        np.ascontiguousarray(np.hstack([a[:, 60:460], b[:, 140:460]]))
        for a, b in zip(left, right, strict=True)
    )
    return pixels, exact
