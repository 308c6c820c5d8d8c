"""`make lint` leaves no file out: it looks at C++ and CUDA wherever the package keeps them."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SUFFIXES = {".c", ".cc", ".cpp", ".cu", ".cuh", ".h", ".hpp"}


@pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")
def test_lint_checks_the_formatting_of_every_native_file() -> None:
    # --assume-old: what lint needs first may be out of date, and installing it is not the question.
    commands = subprocess.run(
        ["make", "--dry-run", "--assume-old=.venv/.installed", "lint"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    words = next(line for line in commands.splitlines() if "clang-format" in line).split()
    sources = {path for path in (ROOT / "src").rglob("*") if path.suffix in SUFFIXES}
    assert any(path.suffix == ".cuh" for path in sources)
    assert sources == {ROOT / word for word in words if Path(word).suffix in SUFFIXES}
    assert {"--dry-run", "--Werror"} <= set(words)
