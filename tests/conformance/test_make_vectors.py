"""tools/make_vectors.py adds a vector beside the others, and never touches one that exists."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pytest

pytest.importorskip("gscodec.splat.cpu.raster", reason="no native core", exc_type=ImportError)

FOLDER = Path(__file__).parent


@pytest.fixture
def tool(load_tool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    """The tool, at work on a copy, and with one vector more."""
    monkeypatch.setattr(sys, "argv", ["make_vectors.py"])
    make_vectors = load_tool("make_vectors")
    for path in (*FOLDER.glob("*.gsv"), FOLDER / "vectors.json", FOLDER / "hashes.txt"):
        shutil.copy(path, tmp_path)
    monkeypatch.setattr(make_vectors, "FOLDER", tmp_path)
    monkeypatch.setitem(make_vectors.VECTORS, "new", {"entropy": "zstd", "background": "none"})
    return make_vectors


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_a_vector_is_added_and_the_others_stay(tool, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    before = contents(tmp_path)
    tool.main()
    after = contents(tmp_path)
    assert set(after) - set(before) == {"new.gsv"}
    assert {name for name in before if after[name] != before[name]} == {"vectors.json", "hashes.txt"}
    for name in ("vectors.json", "hashes.txt"):
        assert after[name].startswith(before[name].rstrip(b"\n }"))
        assert after[name].count(b"new") == 1
    assert capsys.readouterr().out.count("kept") == len(before) - 2
    tool.main()  # from now on it is one of them
    assert contents(tmp_path) == after


@pytest.mark.parametrize("change", ["file", "entry", "missing"])
def test_nothing_is_written_where_a_vector_has_changed(tool, tmp_path: Path, change: str) -> None:
    path = tmp_path / "births.gsv"
    if change == "missing":
        path.unlink()
    elif change == "file":
        path.write_bytes(path.read_bytes()[:-1] + b"x")
    else:
        listing = tmp_path / "vectors.json"
        listing.write_text(listing.read_text().replace('"n_gaussians": 2', '"n_gaussians": 3', 1))
    before = contents(tmp_path)
    with pytest.raises(SystemExit, match=r"\.gsv or its entry .* is not as it was"):
        tool.main()
    assert contents(tmp_path) == before


def test_a_file_in_the_way_is_not_overwritten(tool, tmp_path: Path) -> None:
    (tmp_path / "new.gsv").write_bytes(b"mine")
    with pytest.raises(FileExistsError):
        tool.main()
    assert (tmp_path / "new.gsv").read_bytes() == b"mine"
