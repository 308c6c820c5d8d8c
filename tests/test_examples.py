"""The examples run, and stay short."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from cli_tools import QUICK, contents, make_clip, succeed

ROOT = Path(__file__).parents[1]
EXAMPLES = sorted((ROOT / "examples").iterdir())


def run_example(name: str, *args: object, folder: Path, code: int = 0) -> str:
    """Run an example with `gscodec` on the path; return what it prints, on stderr where it must fail."""
    (folder / "bin").mkdir(exist_ok=True)
    if not (folder / "bin" / "gscodec").exists():
        (folder / "bin" / "gscodec").symlink_to(ROOT / "bin" / "gscodec")
    environment = {
        **os.environ,
        "PYTHON": sys.executable,
        "PATH": f"{folder / 'bin'}:{os.environ['PATH']}",
    }
    program = ["sh"] if name.endswith(".sh") else [sys.executable]
    command = [*program, ROOT / "examples" / name, *map(str, args)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=100)
    assert done.returncode == code, done.stderr
    return done.stderr if code else done.stdout


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_examples_are_short(path):
    assert len(path.read_text().splitlines()) < 40


def test_every_example_is_run():
    mine = Path(__file__).read_text()
    assert not [path.name for path in EXAMPLES if f'run_example("{path.name}"' not in mine]


def test_encode_clip(tmp_path):
    make_clip(tmp_path / "a.mp4", 4)
    said = run_example("encode_clip.py", tmp_path / "a.mp4", tmp_path / "a.gsv", folder=tmp_path)
    assert re.search(r"4 frames at [\d.]+ per second, \d+ bytes,\n[\d.]+ dB where it matters", said)


def test_decode_frames(tmp_path):
    make_clip(tmp_path / "a.mp4", 4)
    succeed("encode", tmp_path / "a.mp4", tmp_path / "a.gsv", *QUICK)
    lines = run_example("decode_frames.py", tmp_path / "a.gsv", folder=tmp_path).splitlines()
    assert [float(line.split()[0]) for line in lines] == [0.0, 0.04, 0.08, 0.12]


def test_encode_frames(tmp_path):
    lines = run_example("encode_frames.py", tmp_path / "a.gsv", folder=tmp_path).splitlines()
    assert len(lines) == 25
    assert lines[0].startswith("I 0: ")
    assert len(run_example("decode_frames.py", tmp_path / "a.gsv", folder=tmp_path).splitlines()) == 25


def test_encode_folder(tmp_path):
    folder = tmp_path / "my clips"
    folder.mkdir()
    make_clip(folder / "a.mp4", 2)
    make_clip(folder / "b c.mkv", 2)
    (folder / "notes.txt").touch()
    (folder / "b c.gsv").write_bytes(b"already there")
    run_example("encode_folder.sh", folder, *QUICK, folder=tmp_path)
    assert set(contents(folder)) == {"a.mp4", "a.gsv", "b c.mkv", "b c.gsv", "notes.txt"}
    assert (folder / "b c.gsv").read_bytes() == b"already there"


def test_encode_folder_says_that_there_is_nothing_to_encode(tmp_path):
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "a.txt").touch()
    said = run_example("encode_folder.sh", tmp_path / "notes", folder=tmp_path, code=1)
    assert said == f"{tmp_path / 'notes'}: no videos there (looked for .mp4, .mkv, .webm, .mov)\n"
