#!/usr/bin/env python3
"""Write the parts of docs/ that repeat the sources: the list of files, the table of presets.

python tools/write_docs.py            `make docs`; tests/test_docs.py fails where it was forgotten
"""

from __future__ import annotations

import ast
import functools
import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
# In the order in which a frame passes through them.
FOLDERS = (
    "src/gscodec",
    "src/gscodec/csrc",
    "src/gscodec/video",
    "src/gscodec/analysis",
    "src/gscodec/analysis/csrc",
    "src/gscodec/splat",
    "src/gscodec/splat/csrc",
    "src/gscodec/splat/cpu",
    "src/gscodec/splat/cpu/csrc",
    "src/gscodec/splat/cuda",
    "src/gscodec/splat/cuda/csrc",
    "src/gscodec/container",
    "src/gscodec/coding",
    "src/gscodec/coding/csrc",
    "src/gscodec/rdo",
    "src/gscodec/rdo/csrc",
    "src/gscodec/encode",
    "src/gscodec/encode/csrc",
    "src/gscodec/decode",
    "src/gscodec/decode/csrc",
    "src/gscodec/paper",
    "src/gscodec/bench",
    "src/gscodec/visualize",
    "tools",
    "examples",
    "tests",
    "tests/analysis",
    "tests/splat",
    "tests/container",
    "tests/coding",
    "tests/rdo",
    "tests/encode",
    "tests/decode",
    "tests/paper",
    "tests/video",
    "tests/bench",
    "tests/visualize",
    "tests/fuzz",
    "tests/conformance",
)
SUFFIXES = {".py", ".cpp", ".h", ".cu", ".cuh", ".sh"}


def main() -> None:
    """Write what has changed and say so."""
    sys.path.insert(0, str(ROOT / "src"))
    for path, text in documents().items():
        if path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")
            print("wrote", path.relative_to(ROOT))


def documents() -> dict[Path, str]:
    """Every document with generated parts, as it should be."""
    parts = {"structure": {"files": file_lists()}, "presets": {"presets": preset_table()}}
    made = {}
    for name, sections in parts.items():
        path = ROOT / "docs" / f"{name}.md"
        text = path.read_text(encoding="utf-8")
        for marker, content in sections.items():
            pattern = rf"(<!-- {marker} -->\n).*?(<!-- /{marker} -->)"
            text, n = re.subn(pattern, lambda m, c=content: f"{m[1]}\n{c}\n{m[2]}", text, flags=re.DOTALL)
            if n != 1:
                raise ValueError(f"{path}: expected the markers {marker} once, found them {n} times")
        made[path] = text
    return made


def file_lists() -> str:
    """One table per folder: every source file and the first sentence of its own description."""
    unlisted = {str(p.parent.relative_to(ROOT)) for p in source_files()} - set(FOLDERS)
    if unlisted:
        raise ValueError(f"add to FOLDERS of tools/write_docs.py: {', '.join(sorted(unlisted))}")
    lists = []
    for folder in FOLDERS:
        files = [p for p in source_files() if p.parent == ROOT / folder]
        rows = [f"| `{name}` | {text} |" for name, text in described(files)]
        if rows:
            lists.append(f"## {folder}/\n\n| file | what it is for |\n|---|---|\n" + "\n".join(rows) + "\n")
    return "\n".join(lists)


@functools.cache
def source_files() -> list[Path]:
    """Every source file that has something in it, sorted; in a clone those that git knows."""
    tops = ("src", "tools", "examples", "tests")
    found = [path for top in tops for path in (ROOT / top).rglob("*")]
    if (ROOT / ".git").exists() and shutil.which("git"):
        listing = subprocess.run(["git", "ls-files", "-z", *tops], cwd=ROOT, capture_output=True, text=True)
        found = [ROOT / name for name in listing.stdout.split("\0")]
    return sorted(p for p in found if p.suffix in SUFFIXES and p.is_file() and p.stat().st_size)


def described(files: list[Path]) -> list[tuple[str, str]]:
    """(name, first sentence) of each; a .cpp that is only described in its header shares a row with it."""
    rows = []
    for path in files:
        text = first_sentence(path)
        partner = path.with_suffix(".h")
        if text is None and partner in files:
            continue
        if text is None:
            raise ValueError(f"{path.relative_to(ROOT)}: starts with no description")
        source = path.with_suffix(".cpp")
        shares = path.suffix == ".h" and source in files and first_sentence(source) is None
        name = f"{path.name}`, `{source.name}" if shares else path.name
        rows.append((name, text.replace("|", "\\|")))
    return rows


def first_sentence(path: Path) -> str | None:
    """The first line of a docstring, or of the comment a file starts with; None without one."""
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".py":
        return (ast.get_docstring(ast.parse(text)) or "").partition("\n")[0] or None
    lines = text.splitlines()
    line = lines[1] if lines[0].startswith("#!") else lines[0]
    match = re.match(r"(?://|#) (.*)", line)
    return match[1] if match else None


def preset_table() -> str:
    """Options down, presets across; an option no preset sets is not there."""
    from gscodec.config import PRESET_VALUES, PRESETS, REFIT_VALUES, EncoderConfig

    fields = [name for name in EncoderConfig.__slots__ if any(name in PRESET_VALUES[p] for p in PRESETS)]
    rows = ["| option | " + " | ".join(f"`{p}`" for p in PRESETS) + " |", "|---" * (len(PRESETS) + 1) + "|"]
    for name in fields:
        default = getattr(EncoderConfig(), name)
        values = [str(PRESET_VALUES[p].get(name, default)) for p in PRESETS]
        values = [{"True": "yes", "False": "no"}.get(value, value) for value in values]
        rows.append(f"| `--{name.replace('_', '-')}` | " + " | ".join(values) + " |")
    for name in REFIT_VALUES[PRESETS[0]]:
        values = [str(REFIT_VALUES[p][name]) for p in PRESETS]
        rows.append(f"| `--{name.replace('_', '-')}`, with `--update refit` | " + " | ".join(values) + " |")
    return "\n".join(rows) + "\n"


if __name__ == "__main__":
    main()
