"""tools/make_matting_weights.py: it reads flatbuffers, and refuses another file than the one it knows."""

from __future__ import annotations

import struct
import sys
from pathlib import Path

import pytest

pytest.importorskip("gscodec.splat.cpu.raster", reason="no native core", exc_type=ImportError)


@pytest.fixture
def tool(load_tool):
    return load_tool("make_matting_weights")


def test_fields_of_a_flatbuffer(tool) -> None:
    """A table of four fields: a number, one that is left out, three numbers, two tables."""
    fields = struct.pack("<6H", 12, 16, 4, 0, 8, 12)  # own size, the table's, where each field is
    table = struct.pack(
        "<iiII", 12, -7, 8, 20
    )  # back to the fields; the number; two offsets from where they stand
    numbers = struct.pack("<4i", 3, 5, 6, 7)
    # Two offsets to one small table, whose fields lie behind it.
    tables = struct.pack("<III", 2, 8, 4) + struct.pack("<ii", -8, 42) + struct.pack("<3H", 6, 8, 4)
    found = tool.Table(fields + table + numbers + tables, len(fields))
    assert found.number(0) == -7
    assert found.number(1) == 0
    assert found.number(9) == 0
    assert found.array(2).tolist() == [5, 6, 7]
    assert found.array(1).tolist() == []
    assert [inner.number(0) for inner in found.tables(3)] == [42, 42]


def test_another_file_is_refused_and_nothing_written(
    tool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "other.tflite").write_bytes(b"another network")
    monkeypatch.setattr(sys, "argv", ["tool", str(tmp_path / "other.tflite"), "--out", str(tmp_path)])
    with pytest.raises(SystemExit) as end:
        tool.main()
    assert end.value.code == 2
    assert "this is another file" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["other.tflite"]
