"""Put wrong decisions into a copy of the encoder, one by one, and say which tests notice each.

A test of what an encoder decides is worth something if it fails when the decision is wrong. Each mutation
below is such a decision, turned round by a change of a few characters; the guard tests are run against a copy
of the package with that change in it. A mutation that no test notices is a hole in the tests: the script then
ends with an error. The table goes into docs/testing.md, between its markers.

    make mutate                          all of them, and the table
    python tools/mutate.py --only 3,15   some of them, no table
"""

from __future__ import annotations

import argparse
import importlib.util
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
GUARDS = (
    "tests/test_decisions.py",
    "tests/test_rates_matter.py",
    "tests/test_rate.py",
    "tests/test_gop.py",
    "tests/encode",
    "tests/rdo",
    "tests/coding/test_quantize.py",
    "tests/analysis/test_mesh_choice.py",
    "tests/analysis/test_superpixel.py",
    "tests/test_golden.py",
)
# The editable install's finder would lead every import back to the sources.
RUN = """
import sys
sys.meta_path[:] = [f for f in sys.meta_path if not type(f).__module__.startswith("_editable")]
sys.path.insert(0, {copy!r})
import gscodec
assert gscodec.__file__.startswith({copy!r}), gscodec.__file__
import pytest
sys.exit(pytest.main(["-q", "-p", "no:cacheprovider", "-n0", "--no-header", "--tb=no", *{tests!r}]))
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
        "matte if not is_room_coded else None",
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
    Mutation("an open GOP ends where nothing was lost", "iframe_db - DECAY_DB", "iframe_db + DECAY_DB"),
    Mutation(
        "a cut starts no GOP, everything else does",
        "cut = config.scene_cut and",
        "cut = not config.scene_cut and",
    ),
    Mutation(
        "detail draws no superpixels", "_native.density(picture, detail)", "_native.density(picture, 0.0)"
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
        "the mesh of motion is paid for its bits",
        "- o_.lambda * (bits(i, next)",
        "+ o_.lambda * (bits(i, next)",
    ),
    Mutation("the room never moves", "Motion(mesh, bool(hypothesis))", "Motion(mesh, False)"),
)


def main() -> None:
    """Apply the mutations, print what noticed each, rewrite the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--only", default="", help="numbers of mutations, from 1, separated by commas")
    only = [int(n) for n in parser.parse_args().only.split(",") if n] or range(1, len(MUTATIONS) + 1)
    rows, began = [], time.monotonic()
    for number in only:
        mutation = MUTATIONS[number - 1]
        caught = noticed_by(mutation)
        rows.append((number, mutation.what, caught))
        print(f"{number:2} {mutation.what}: {', '.join(caught) or 'NOBODY NOTICES'}", flush=True)
    if len(rows) == len(MUTATIONS):
        write_table(rows, time.monotonic() - began)
    missed = [str(number) for number, _, caught in rows if not caught]
    if missed:
        sys.exit(f"no test notices mutation {', '.join(missed)}; add one to tests/test_decisions.py")


def place_of(mutation: Mutation) -> Path:
    """The one file of the package that holds the mutation's old text, once.

    Raises:
        LookupError: it is gone, or is there more than once: the mutation would not do what it says.
    """
    files = [p for p in PACKAGE.rglob("*") if p.suffix in (".py", ".cpp", ".h")]
    found = [p for p in files for _ in range(p.read_text(encoding="utf-8").count(mutation.old))]
    if len(found) != 1:
        raise LookupError(f"{mutation.what}: {mutation.old!r} is there {len(found)} times, expected once")
    return found[0]


def noticed_by(mutation: Mutation) -> list[str]:
    """Files of tests that fail with the mutation in place."""
    source = place_of(mutation)
    with tempfile.TemporaryDirectory(prefix="gscodec-mutant-") as folder:
        copy = Path(folder) / "src" / "gscodec"
        shutil.copytree(PACKAGE, copy, ignore=shutil.ignore_patterns("__pycache__"))
        target = copy / source.relative_to(PACKAGE)
        target.write_text(
            source.read_text(encoding="utf-8").replace(mutation.old, mutation.new), encoding="utf-8"
        )
        if source.suffix == ".py":
            copy_native(copy)
        else:
            build_native(Path(folder))
        code = RUN.format(copy=str(copy.parent), tests=list(GUARDS))
        done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    if done.returncode not in (0, 1):
        raise RuntimeError(
            f"{mutation.what}: the tests did not run\n{done.stdout[-2000:]}{done.stderr[-2000:]}"
        )
    return sorted(
        {name.split("/")[-1] for name in re.findall(r"^(?:FAILED|ERROR) ([^:\s]+)", done.stdout, re.M)}
    )


def copy_native(copy: Path) -> None:
    """Put the compiled modules of the installed package into a copy of its sources."""
    for name in ("gscodec.coding._native", "gscodec.splat._native"):
        spec = importlib.util.find_spec(name)
        if not (spec and spec.origin):
            sys.exit(f"{name} is not installed; run make install")
        shutil.copy(spec.origin, copy.joinpath(*name.split(".")[1:-1]))


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


def write_table(rows: list[tuple[int, str, list[str]]], seconds: float) -> None:
    """Rewrite docs/testing.md between its markers."""
    text = PAGE.read_text(encoding="utf-8")
    before, after = text.split(BEGIN)[0], text.split(END)[1]
    n_caught = sum(bool(caught) for _, _, caught in rows)
    lines = [
        f"{n_caught} of {len(rows)} are noticed; all of it took {seconds / 60:.0f} minutes on two cores.\n",
        "| | wrong decision | noticed by |",
        "|---|---|---|",
        *(
            f"| {n} | {what} | {', '.join(f'`{c}`' for c in caught) or '**nobody**'} |"
            for n, what, caught in rows
        ),
    ]
    PAGE.write_text(before + BEGIN + "\n".join(lines) + "\n" + END + after, encoding="utf-8")


if __name__ == "__main__":
    main()
