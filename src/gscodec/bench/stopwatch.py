"""Time by the clock, and of all cores together, which other programs on the machine disturb less."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Lap:
    """Seconds by the clock, and seconds that this process's threads computed."""

    wall_s: float
    cpu_s: float


def clocked(function: Callable[[], T]) -> tuple[T, Lap]:
    """Call a function; its result and the time it took."""
    wall, cpu = time.perf_counter(), time.process_time()
    result = function()
    return result, Lap(time.perf_counter() - wall, time.process_time() - cpu)


def machine_load() -> tuple[float, ...]:
    """Load averages over 1, 5 and 15 minutes; empty where the system keeps none."""
    try:
        return tuple(round(value, 2) for value in os.getloadavg())
    except (AttributeError, OSError):  # Windows has no such function
        return ()
