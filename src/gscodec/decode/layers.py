"""What can be drawn of a frame: its picture, the person with an alpha, the room without the person.

Layers are drawn side by side as the channels of one array, so that whatever is done to pictures (hold,
B-frames) is done to them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np

from gscodec.decode.scale import Drawer

Layer = Literal["picture", "person", "room"]
CHANNELS: dict[Layer, str] = {"picture": "rgb", "person": "rgba", "room": "rgb"}
_BLACK = np.zeros(3, np.float32)


def channels_of(layers: Sequence[Layer]) -> str:
    """A letter for each channel of an array of layers."""
    return "".join(CHANNELS[layer] for layer in layers)


def split(pixels: np.ndarray, layers: Sequence[Layer]) -> dict[Layer, np.ndarray]:
    """Take an array of layers apart; views of it.

    Args:
        pixels: uint8 [H, W, channels].
    Returns:
        Of each layer uint8 [H, W, 3 or 4].
    """
    parts, first = {}, 0
    for layer in layers:
        end = first + len(CHANNELS[layer])
        parts[layer] = pixels[:, :, first:end]
        first = end
    return parts


def draw_person(
    raster: Drawer, params: np.ndarray, is_room: np.ndarray, ground: np.ndarray | None
) -> np.ndarray:
    """The person's colour and alpha, straight (not premultiplied), R'G'B'A uint8 [H, W, 4].

    What lies under an alpha of 0 means nothing: the ground colour, or black.
    """
    premultiplied, alpha = raster.render_person(params, is_room, _BLACK, ground)
    if ground is not None:
        # The mean of the person's own Gaussians is exact where alpha is small; a quotient would not be.
        return np.dstack([raster.render_rgb8(params[~is_room], ground), alpha])
    opaque = np.maximum(alpha, 1)[..., None]
    straight = np.minimum((premultiplied.astype(np.uint32) * 255 + opaque // 2) // opaque, 255)
    return np.dstack([straight.astype(np.uint8), alpha])


def draw_room(
    raster: Drawer, params: np.ndarray, is_room: np.ndarray, ground: np.ndarray | None
) -> np.ndarray:
    """What the room's Gaussians show by themselves, R'G'B' uint8 [H, W, 3]; a guess behind people."""
    return raster.render_rgb8(params[is_room], ground)
