"""The yardstick of `bench kernels`: plausible on every build of the kernels."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

_native = pytest.importorskip("gscodec.splat._native", reason="no native core", exc_type=ImportError)


def test_ceilings_are_times(cpu_backend: Callable[..., Any]) -> None:
    forward, backward = cpu_backend(8, 8).tiled.ceiling_ns()
    assert 0 < forward < 1000
    assert 0 < backward < 1000
