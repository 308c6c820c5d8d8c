"""tools/train_prior.py: counts of decisions -> the tables of coding/priors."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("gscodec.splat.cpu.raster", reason="no native core", exc_type=ImportError)


@pytest.fixture
def tool(load_tool):
    return load_tool("train_prior")


def test_frequencies_become_counters(tool) -> None:
    seen = {
        (0, 0, 3, 0): np.array([1000.0, 3000.0]),
        (0, 0, 4, 0): np.array([0.0, 12.0]),
        (0, 0, 5, 0): np.array([0.0, tool.LEAST_SEEN - 1.0]),  # too few
        (0, 0, 3, tool.N_NODES): np.array([50.0, 50.0]),  # a node that is not in the table
        (2, 0, 1, 4): np.array([40.0, 0.0]),
    }
    rows = tool.table(seen)
    assert list(rows) == [(0, 0, 3), (0, 0, 4), (2, 0, 1)]
    assert rows[0, 0, 3][0] >> 8 == pytest.approx(0.75 * 255, abs=1)
    assert rows[0, 0, 3][0] & 255 == tool.MOST_SEEN
    assert 0.75 * 255 < rows[0, 0, 4][0] >> 8 < 253  # pulled to what the node usually is
    assert rows[0, 0, 4][0] & 255 == 5
    assert rows[2, 0, 1][4] >> 8 <= 4
    assert sum(map(bool, rows[2, 0, 1])) == 1


@pytest.mark.parametrize("blend", ["normalised", "sum"])
def test_the_file_is_what_the_native_core_takes(tool, blend: str) -> None:
    n = tool.N_STREAMS[blend]
    weights = np.arange(n * tool.N_NODES * tool.N_INPUTS).reshape(n, tool.N_NODES, tool.N_INPUTS) % 200
    made = tool.packed({(0, 1, 2): [5] * 8}, weights)
    native = pytest.importorskip("gscodec.coding._native")
    assert (
        native.FrameCoder(64, 48, False, blend == "normalised", made).weight(3, 2, 1)
        == 1024 * weights[3, 2, 1]
    )
    shipped = (tool.TABLES / f"{blend}.bin").read_bytes()
    assert shipped[:8] == made[:8]
