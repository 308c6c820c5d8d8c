"""Put wrong decisions into a copy of the encoder, one by one, and say which tests notice each.

A test of what an encoder decides is worth something if it fails when the decision is wrong. Each mutation
below is such a decision, turned round by a change of a few characters; the guard tests are run against a copy
of the package with that change in it. A mutation that no test notices is a hole in the tests: the script then
ends with an error. The table goes into docs/testing.md, between its markers.

First the guard tests run against copies without any change, one for each way to make a copy: a test that
fails there would seem to notice everything.

    make mutate                          all of them, and the table
    python tools/mutate.py --only 3,15   some of them, no table
"""

from __future__ import annotations

import argparse
import importlib.metadata
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "src" / "gscodec"
PAGE = ROOT / "docs" / "testing.md"
BEGIN, END = "<!-- mutations -->\n", "<!-- end of mutations -->\n"
PYTHON, NATIVE = (".py",), (".cpp", ".h", ".cu", ".cuh")
N_NAMED = 3  # tests that the table names for a mutation; of more it gives the number
GUARDS = (
    "tests/test_transcode.py",
    "tests/encode",
    "tests/rdo",
    "tests/coding/test_quantize.py",
    "tests/analysis/test_mesh_choice.py",
    "tests/analysis/test_superpixel.py",
    "tests/test_golden.py",
)
# The editable install's finder would lead every import back to the sources, and no mutation would be seen.
# So it goes, and in the end all that was imported is looked at.
RUN = """
import sys
sys.meta_path[:] = [f for f in sys.meta_path if not type(f).__module__.startswith("_editable")]
sys.path.insert(0, {copy!r})
import pytest
code = pytest.main(["-q", "-p", "no:cacheprovider", "-n0", "--no-header", "--tb=no", *{tests!r}])
ours = {{n: m.__file__ for n, m in sys.modules.items() if n.split(".")[0] == "gscodec"}}
elsewhere = {{n: f for n, f in ours.items() if not (f and f.startswith({copy!r}))}}
if elsewhere or not any(n.endswith("._native") for n in ours):
    sys.exit(f"what was tested is not the copy: {{elsewhere or sorted(ours)}}")
sys.exit(code)
"""


@dataclass(frozen=True)
class Mutation:
    """A wrong decision: what it is, and the text that takes the place of another."""

    what: str
    old: str
    new: str


MUTATIONS = (
    Mutation(
        "colours are not solved again after rounding",
        "target(), rounded, person, COLOR_SWEEPS, RIDGE",
        "target(), rounded, person, 0, RIDGE",
    ),
    Mutation("rate control moves λ the wrong way", "(crf_offset / CRF", "(-crf_offset / CRF"),
    Mutation("the pursuit's rate tables are flat", "one + per_octave * np.log2", "zero + 0 * np.log2"),
    Mutation(
        "the mesh of motion pays 20 times as much for a bit", "CHOICE_LAMBDA = 2.0", "CHOICE_LAMBDA = 40.0"
    ),
    Mutation(
        "a newborn Gaussian is never the room's",
        "matte if is_room_coded else None",
        "matte if False else None",
    ),
    Mutation(
        "motion is taken even where it is worse",
        "min(range(len(candidates))",
        "min(range(1, len(candidates))",
    ),
    Mutation("fits ignore the deadline", "deadline_s=share * budget", "deadline_s=0 * budget"),
    Mutation(
        "too many bits lower crf", "offset + CRF_PER_OCTAVE * DAMPING", "offset - CRF_PER_OCTAVE * DAMPING"
    ),
    Mutation("too good a GOP lowers crf", "offset + CRF_PER_DB * DAMPING", "offset - CRF_PER_DB * DAMPING"),
    Mutation("an open GOP ends where nothing was lost", "iframe_mse * 10", "iframe_mse / 10"),
    Mutation("what an encoder shows looks back beyond recovery points", "!= FrameType.P)", "== FrameType.I)"),
    Mutation("I-frames are fitted without noise", "now + self.width * (", "now + 0 * self.width * ("),
    Mutation(
        "a cut starts a GOP only where scene cuts are off",
        "cut = config.scene_cut and",
        "cut = not config.scene_cut and",
    ),
    Mutation(
        "superpixels are no denser where there is detail",
        "_native.density(picture, detail)",
        "_native.density(picture, 0.0)",
    ),
    Mutation(
        "energy classes are whole octaves",
        "np.rint(2 * np.log2(np.maximum(norm",
        "np.rint(np.log2(np.maximum(norm",
    ),
    Mutation(
        "equal sets of Gaussians need not give equal files",
        "np.lexsort([state.is_room, *keys, ",
        "np.lexsort([state.is_room, ",
    ),
    Mutation(
        "the pursuit is paid for its bits",
        "- o_.lambda * (bits(i, next)",
        "+ o_.lambda * (bits(i, next)",
    ),
    Mutation(
        "the motion of everything is said as the person's alone",
        "Motion(mesh, bool(hypothesis))",
        "Motion(mesh, False)",
    ),
    Mutation("a B-frame is taken whatever it shows", "<= MOST_ERROR * error and", "<= 1e9 * error and"),
)


@dataclass(frozen=True)
class Row:
    """A line of the table: the mutation's number from 1, the tests that fail with it, the seconds it took."""

    number: int
    what: str
    caught: list[str]
    seconds: float


def main() -> None:
    """Run the controls, apply the mutations, print what noticed each, rewrite the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--only", default="", help="numbers of mutations, from 1, separated by commas")
    only = [int(n) for n in parser.parse_args().only.split(",") if n] or range(1, len(MUTATIONS) + 1)
    began = time.monotonic()
    chosen = {number: MUTATIONS[number - 1] for number in only}
    places = {number: place_of(mutation) for number, mutation in chosen.items()}
    for kind in sorted({place.suffix in PYTHON for place in places.values()}):
        if failed := failing_tests(None, compile_native=not kind):
            sys.exit(f"these fail without any mutation: {', '.join(failed)}")
        print(f"control, {'compiled modules copied' if kind else 'compiled anew'}: all pass", flush=True)
    rows = []
    for number, mutation in chosen.items():
        start = time.monotonic()
        caught = failing_tests(mutation, compile_native=places[number].suffix not in PYTHON)
        rows.append(Row(number, mutation.what, caught, time.monotonic() - start))
        print(f"{number:2} {mutation.what}: {', '.join(caught) or 'NOBODY NOTICES'}", flush=True)
    if len(rows) == len(MUTATIONS):
        compiled = {number for number, place in places.items() if place.suffix not in PYTHON}
        write_table(rows, compiled, time.monotonic() - began)
    if missed := [str(row.number) for row in rows if not row.caught]:
        sys.exit(f"no test notices mutation {', '.join(missed)}; add one to tests/test_decisions.py")


def place_of(mutation: Mutation) -> Path:
    """The one file of the package that holds the mutation's old text, once.

    Raises:
        LookupError: it is gone, or is there more than once: the mutation would not do what it says.
    """
    files = [p for p in PACKAGE.rglob("*") if p.suffix in PYTHON + NATIVE]
    found = [p for p in files for _ in range(p.read_text(encoding="utf-8").count(mutation.old))]
    if len(found) != 1:
        raise LookupError(f"{mutation.what}: {mutation.old!r} is there {len(found)} times, expected once")
    return found[0]


def failing_tests(mutation: Mutation | None, compile_native: bool) -> list[str]:
    """Guard tests, as "file.py::test", that fail against a copy of the package with the mutation in place.

    Args:
        mutation: None for a copy as it is.
        compile_native: build the copy's native modules from its sources; False takes the installed ones.
    """
    with tempfile.TemporaryDirectory(prefix="gscodec-mutant-") as name:
        folder = Path(name).resolve()
        copy = folder / "src" / "gscodec"
        shutil.copytree(PACKAGE, copy, ignore=shutil.ignore_patterns("__pycache__", "*.so"))
        if mutation:
            target = copy / place_of(mutation).relative_to(PACKAGE)
            text = target.read_text(encoding="utf-8")
            target.write_text(text.replace(mutation.old, mutation.new), encoding="utf-8")
        if compile_native:
            build_native(folder)
        else:
            copy_native(copy.parent)
        code = RUN.format(copy=str(copy.parent), tests=list(GUARDS))
        done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    failed = re.findall(r"^(?:FAILED|ERROR) (?:\S*/)?([^/\s]+\.py::[^\s\[]+)", done.stdout, re.MULTILINE)
    # 0: all passed, 1: some failed. Anything else, or a 1 without a name, says nothing about the mutation.
    if done.returncode not in (0, 1) or bool(failed) != bool(done.returncode):
        what = mutation.what if mutation else "control"
        raise RuntimeError(f"{what}: the tests did not run\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
    return list(dict.fromkeys(failed))


def copy_native(source_folder: Path) -> None:
    """Put what is compiled of the installed package, modules and libraries, into a copy of its sources."""
    installed = importlib.metadata.files("gscodec") or []
    compiled = [file for file in installed if ".so" in file.suffixes or file.suffix in (".dylib", ".pyd")]
    if not compiled:
        sys.exit("no native module is installed; run make install")
    for file in compiled:
        (source_folder / file).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(file.locate(), source_folder / file)


def build_native(folder: Path) -> None:
    """Compile the native modules of a copy, into it."""
    shutil.copy(ROOT / "CMakeLists.txt", folder)
    build = folder / "build"
    tools = Path(sys.executable).parent
    commands = (
        [
            tools / "cmake",
            "-G",
            "Ninja",
            f"-DCMAKE_MAKE_PROGRAM={tools / 'ninja'}",
            f"-DPython_EXECUTABLE={sys.executable}",
            "-S",
            folder,
            "-B",
            build,
        ],
        [tools / "cmake", "--build", build],
        [tools / "cmake", "--install", build, "--prefix", folder / "src"],
    )
    for command in commands:
        done = subprocess.run([str(part) for part in command], capture_output=True, text=True)
        if done.returncode:
            raise RuntimeError(f"the mutant cannot be built:\n{(done.stdout + done.stderr)[-2000:]}")


def write_table(rows: list[Row], compiled: set[int], seconds: float) -> None:
    """Rewrite docs/testing.md between its markers.

    Args:
        compiled: numbers of the mutations of C++, which take a build.
        seconds: that all of it took, controls included.
    """
    text = PAGE.read_text(encoding="utf-8")
    before, after = text.split(BEGIN)[0], text.split(END)[1]
    usual = [row.seconds for row in rows if row.number not in compiled]
    builds = [row.seconds for row in rows if row.number in compiled]
    n_caught = sum(bool(row.caught) for row in rows)
    lines = [
        f"{n_caught} of {len(rows)} are noticed. All of it took {seconds / 60:.1f} minutes on a machine of "
        f"{os.cpu_count()} cores:\n{min(usual):.0f} to {max(usual):.0f} s for each mutation, "
        f"{max(builds):.0f} s where C++ is compiled.\n",
        "| | wrong decision | noticed by |",
        "|---|---|---|",
        *(f"| {row.number} | {row.what} | {named(row.caught)} |" for row in rows),
    ]
    PAGE.write_text(before + BEGIN + "\n".join(lines) + "\n" + END + after, encoding="utf-8")


def named(caught: list[str]) -> str:
    """The tests for a cell of the table: by file, the first few of each by name."""
    by_file: dict[str, list[str]] = {}
    for test in caught:
        file, name = test.split("::")
        by_file.setdefault(file, []).append(name.removeprefix("test_").replace("_", " "))
    cells = []
    for file, names in by_file.items():
        more = f" and {len(names) - N_NAMED} more" if len(names) > N_NAMED else ""
        cells.append(f"`{file}`: {'; '.join(names[:N_NAMED])}{more}")
    return "<br>".join(cells) or "**nobody**"


if __name__ == "__main__":
    main()
