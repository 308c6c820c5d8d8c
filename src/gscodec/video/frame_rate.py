"""Pictures at another frame rate: repeated and dropped by their times, none is made up."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from typing import TypeVar

from gscodec.video.frame import SidePacket

_Picture = TypeVar("_Picture")


def at_rate(
    items: Iterator[tuple[_Picture, int, int] | SidePacket], time_base: Fraction, fps: Fraction
) -> Iterator[tuple[_Picture, int, int] | SidePacket]:
    """Yield pictures in slots of 1/fps s: each source picture begins at the slot nearest to its time.

    A picture fills the slots up to the next one; of two that begin at one slot the later is shown.

    Args:
        items: (picture, pts, duration) in ticks of `time_base`, and side packets, which pass.
        time_base: seconds per tick.
        fps: frames per second.
    Returns:
        (picture, pts, duration) in ticks of 1/fps s, and the side packets.
    """
    waiting: tuple[_Picture, int] | None = None  # picture, first slot that is free for it
    end = 0
    for item in items:
        if isinstance(item, SidePacket):
            yield item
            continue
        picture, pts, duration = item
        slot = _slot(pts, time_base, fps)
        if waiting is not None:
            first = waiting[1]
            yield from ((waiting[0], i, 1) for i in range(first, slot))
            slot = max(slot, first)
        waiting = picture, slot
        end = _slot(pts + duration, time_base, fps)
    if waiting is not None:
        yield from ((waiting[0], i, 1) for i in range(waiting[1], max(end, waiting[1] + 1)))


def _slot(pts: int, time_base: Fraction, fps: Fraction) -> int:
    """The nearest slot, halves up, so that two neighbours never share one at equal rates."""
    value = pts * time_base * fps
    return (2 * value.numerator + value.denominator) // (2 * value.denominator)
