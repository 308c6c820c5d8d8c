"""Who may import whom: an ast walk over the sources, and what importing them loads in a fresh process."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "src" / "gscodec"

# Module or package of ours -> what of ours it may import; the longest name that fits counts, and what is
# not listed is forbidden. Everyone may import errors and config. Rooms stand in order: each imports from
# those above it and from itself (test_rooms_import_only_what_stands_above_them).
MAY_IMPORT = {
    "errors": (),
    "config": (),
    "interrupts": (),
    "prefetch": (),
    "metrics": (),
    "filenames": (),
    "thumbnails": (),
    # Bytes; pixels; what draws.
    "container": ("container",),
    "video": ("filenames", "interrupts", "prefetch", "video"),
    "splat": (
        "splat._native",
        "splat.drawing_torch",
        "splat.gaussians",
        "splat.raster",
        "splat.raster_torch",
    ),
    "splat.cpu": ("splat._native", "splat.gaussians", "splat.raster"),
    "splat.cuda": ("interrupts", "splat._native", "splat.cuda", "splat.gaussians", "splat.raster"),
    # Symbols and bits; what a decision costs.
    "coding": ("coding", "container.headers", "splat.gaussians"),
    "rdo": ("coding", "rdo", "splat"),
    # What is looked for in the source.
    "analysis": ("analysis", "splat", "video.frame"),
    "analysis.mattefile": ("analysis", "video"),  # a matte may be a video
    # The two ends. decode.show is both ends': an encoder scores what is shown.
    "decode": (
        "coding",
        "container",
        "decode",
        "paper.frames",
        "paper.quantize",
        "splat.gaussians",
        "splat.raster",
        "thumbnails",
        "video.frame",
    ),
    "decode.backgrounds": ("decode", "video"),  # a background may be a video
    "decode.compose": ("container", "decode", "video.frame", "video.room"),
    "encode": (
        "analysis",
        "coding",
        "container",
        "decode.show",
        "encode",
        "metrics",
        "rdo",
        "splat",
        "video.frame",
    ),
    "paper": ("analysis", "coding", "container", "encode", "paper", "splat"),
    "paper.frames": ("coding", "container", "paper", "splat.gaussians"),
    "paper.quantize": ("coding", "splat.gaussians"),
    # Whole streams and files.
    "encoders": ("encode", "paper", "splat.raster"),
    "parallel": (
        "coding",
        "container",
        "encode",
        "encoders",
        "metrics",
        "prefetch",
        "rdo.rates",
        "splat.raster",
        "video.frame",
    ),
    "probe": ("container.headers", "encode", "metrics", "parallel", "rdo.rates", "video.frame"),
    "hybrid": ("decode.fill", "parallel", "thumbnails", "video.room"),
    "live": (
        "analysis.matting",
        "container",
        "encode",
        "encoders",
        "splat.raster",
        "thumbnails",
        "video.frame",
    ),
    "inspection": ("coding.adaptive", "container", "decode"),
    "tally": ("metrics",),
    "transcode": (
        "hybrid",
        "analysis.matting",
        "container",
        "decode",
        "encode",
        "live",
        "metrics",
        "parallel",
        "prefetch",
        "probe",
        "splat.raster",
        "tally",
        "thumbnails",
        "video",
    ),
    "progress": ("tally",),
    # What a person calls.
    "__init__": ("container", "decode", "inspection", "live", "transcode"),
    "bench": (
        "__init__",
        "bench",
        *(
            LIBRARY := (
                "analysis",
                "coding",
                "container",
                "decode",
                "encode",
                "encoders",
                "hybrid",
                "inspection",
                "interrupts",
                "live",
                "metrics",
                "paper",
                "parallel",
                "prefetch",
                "rdo",
                "splat",
                "tally",
                "thumbnails",
                "transcode",
                "video",
            )
        ),
    ),
    "terminal": (),
    "options": ("filenames", "progress", "terminal"),
    "visualize": ("filenames", "progress", "visualize", *LIBRARY),
    "cli": ("__init__", "bench", "filenames", "options", "progress", "terminal", "visualize", *LIBRARY),
    "__main__": ("cli", "interrupts"),
}
# Others' packages -> the modules of ours that are their home.
HOMES = {
    "av": ("video", "bench.rivals", "bench.vmaf"),
    "click": ("cli", "options", "terminal"),
    "constriction": ("coding.entropy",),
    "cuda": ("splat.cuda",),
    "cv2": (
        "analysis",
        "bench",
        "decode.fill",
        "decode.matte",
        "hybrid",
        "rdo.birth_candidates",
        "visualize",
    ),
    "fast_slic": ("analysis",),
    "gsplat": ("splat.raster_gsplat",),
    "matplotlib": ("bench",),
    "numpy": ("bench", "visualize", *LIBRARY),
    "onnxruntime": ("analysis", "bench"),
    "rembg": ("analysis", "bench"),
    "torch": ("bench.nerv", "splat.drawing_torch", "splat.raster_torch", "splat.raster_gsplat"),
    "tqdm": ("bench", "progress"),
    "zstandard": ("bench", "coding", "container", "video"),
}
# A file can be taken apart with the standard library and zstandard alone.
BYTES_ONLY = ("container",)
# Rooms that still import each other, and why. This list may only get shorter.
CIRCLES = {
    # The baselines are one room: decode.profile needs their quantiser, their encoder what the encoder has.
    ("decode", "encode"),
    ("decode", "paper"),
    ("encode", "paper"),
}


def source_modules() -> dict[str, Path]:
    """Every module by its name below gscodec; a package by its folder, gscodec itself as __init__."""
    modules = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE).with_suffix("").parts
        modules[".".join(parts[:-1] if parts[-1] == "__init__" and len(parts) > 1 else parts)] = path
    return modules


MODULES = source_modules()
NATIVE_MODULES = tuple(
    f"{package}._native" for package in ("analysis", "coding", "decode", "encode", "rdo", "splat")
)


def imports_of(path: Path) -> Iterator[str]:
    """Absolute names of all modules that a file imports, anywhere in it."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: imports are absolute"
            for alias in node.names:
                full = f"{node.module}.{alias.name}"
                is_module = full.removeprefix("gscodec.") in (*MODULES, *NATIVE_MODULES)
                yield full if full.startswith("gscodec.") and is_module else str(node.module)


def within(name: str, places: tuple[str, ...]) -> bool:
    """True where `name` is one of the places or below one."""
    return any(name == place or name.startswith(place + ".") for place in places)


@pytest.mark.parametrize("module", MODULES)
def test_imports_respect_the_layers(module: str) -> None:
    rules = [rule for rule in MAY_IMPORT if within(module, (rule,))]
    assert rules, f"gscodec.{module} has no rule in MAY_IMPORT"
    own = MAY_IMPORT[max(rules, key=len)]
    for name in imports_of(MODULES[module]):
        top, _, rest = name.partition(".")
        if top == "gscodec":
            common = () if module == "errors" else ("errors", "config")
            assert within(rest or "__init__", (*own, *common)), f"gscodec.{module} may not import {name}"
        elif top not in sys.stdlib_module_names:
            assert top in HOMES, f"gscodec.{module}: {top} has no home in HOMES"
            assert within(module, HOMES[top]), f"{top} belongs in {HOMES[top]}, not in gscodec.{module}"
            assert top == "zstandard" or module not in BYTES_ONLY, f"gscodec.{module} may not import {top}"


@pytest.mark.parametrize("name", sorted({*MAY_IMPORT, *(n for names in MAY_IMPORT.values() for n in names)}))
def test_every_name_of_the_table_exists(name: str) -> None:
    assert name in (*MODULES, *NATIVE_MODULES)


def room_of(module: str) -> str:
    """The package a module is in, where it is in one; splat's rooms count apart."""
    parts = module.split(".")
    return ".".join(parts[:2]) if parts[0] == "splat" and module in MODULES and len(parts) == 3 else parts[0]


def test_rooms_import_only_what_stands_above_them() -> None:
    """No room reaches itself again through others: follow the rooms that rooms import."""
    edges: dict[str, set[str]] = {}
    for module, path in MODULES.items():
        for name in imports_of(path):
            if name.startswith("gscodec."):
                ours = name.removeprefix("gscodec.")
                edges.setdefault(room_of(module), set()).add(room_of(ours))

    def reached(start: str) -> set[str]:
        seen, queue = set(), [start]
        while queue:
            for room in edges.get(queue.pop(), set()) - seen:
                seen.add(room)
                queue.append(room)
        return seen

    both = {(a, b) for a in edges for b in edges if a < b and b in reached(a) and a in reached(b)}
    assert both <= CIRCLES, f"rooms import each other: {sorted(both - CIRCLES)}"


# C++ of a package -> folders whose headers it may name besides its own; CUDA is built apart.
NATIVE_MAY_INCLUDE = {
    "analysis": ("splat/csrc",),
    "coding": (),
    "decode": (),
    "encode": ("splat/csrc",),
    "rdo": ("splat",),
    "splat": (),
}


@pytest.mark.parametrize("package", NATIVE_MAY_INCLUDE)
def test_native_code_respects_the_layers(package: str) -> None:
    """A package's module is compiled from its own folder, and includes headers from above only."""
    assert f"{package}._native" in NATIVE_MODULES
    cmake = (PACKAGE.parents[1] / "CMakeLists.txt").read_text(encoding="utf-8")
    built = re.findall(rf"^add_native\({package}\b([^)]*)\)", cmake, re.MULTILINE)
    assert len(built) == 1
    folders = set(re.findall(r"\$\{src\}/(\w+)/", built[0]))
    assert folders == {package}
    for path in sorted((PACKAGE / package).rglob("csrc/*")):
        if path.suffix not in (".h", ".cpp"):
            continue
        for name in re.findall(r'^#include "([^"]+/[^"]+)"', path.read_text(encoding="utf-8"), re.MULTILINE):
            allowed = (package, "csrc", *NATIVE_MAY_INCLUDE[package])
            assert any(name.startswith(f"{place}/") for place in allowed), f"{path} may not include {name}"


def test_decoder_knows_neither_analysis_nor_fit() -> None:
    """Also not through others: the closure of what it imports, followed over our own modules."""
    seen, queue = set(), ["decode.decoder"]
    while queue:
        module = queue.pop()
        if module in MODULES and module not in seen:
            seen.add(module)
            ours = (name for name in imports_of(MODULES[module]) if name.startswith("gscodec."))
            queue += [name.removeprefix("gscodec.") for name in ours]
    assert "coding.adaptive" in seen
    assert not [name for name in seen if within(name, ("analysis", "encode", "rdo"))]


HELP = """
import runpy, sys
sys.argv = ["gscodec", "--help"]
try:
    runpy.run_module("gscodec", run_name="__main__")
except SystemExit as end:
    assert not end.code, end.code
"""


@pytest.mark.parametrize(
    "code",
    [
        "import gscodec",
        HELP,
        "import gscodec.encode.encoder",
        "import gscodec.decode.decoder",
        "import gscodec.splat.cpu.raster",
    ],
    ids=["gscodec", "help", "encoder", "decoder", "raster"],
)
def test_start_up_does_not_load_torch(code: str) -> None:
    code += (
        "\nimport sys; heavy = {'torch', 'onnxruntime', 'rembg'} & set(sys.modules); assert not heavy, heavy"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
