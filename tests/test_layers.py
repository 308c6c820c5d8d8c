"""Who may import whom: an ast walk over the sources, and what importing them loads in a fresh process."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "src" / "gscodec"

# Module or package of ours -> what of ours it may import; the longest name that fits counts, and what is
# not listed is forbidden. Everyone may import errors and config.
LAYERS = (
    "ahead",
    "analysis",
    "births",
    "coding",
    "decoder",
    "encoder",
    "encoder_paper",
    "gop",
    "inspection",
    "interrupts",
    "metrics",
    "parallel",
    "rate",
    "splat",
    "transcode",
    "video",
)
MAY_IMPORT = {
    "__init__": ("coding", "decoder", "encoder", "inspection", "transcode"),
    "__main__": ("cli", "interrupts"),
    "ahead": (),
    "analysis": (
        "analysis",
        "splat._native",
        "splat.gaussians",
        "splat.raster",
        "splat.seeds",
        "video.frame",
    ),
    "analysis.mattefile": ("analysis", "video"),  # a matte may be a video
    "births": ("analysis", "coding", "splat"),
    "bench": ("__init__", "bench", *LAYERS),
    "cli": ("__init__", "bench", "filenames", "progress", *LAYERS),
    "coding": ("coding",),
    "coding.entropy": ("coding.bits_back",),
    "coding.quantize": ("coding", "splat.gaussians"),
    "config": (),
    "decoder": ("coding", "splat.gaussians", "splat.hold", "splat.raster", "video.frame"),
    "encoder": ("analysis", "births", "coding", "gop", "metrics", "splat", "video.frame"),
    "encoder_paper": ("encoder", "analysis", "coding", "gop", "metrics", "splat", "video.frame"),
    "errors": (),
    "filenames": (),
    "gop": ("coding.headers",),
    "inspection": ("coding", "decoder"),
    "interrupts": (),
    "metrics": (),
    "parallel": (
        "ahead",
        "coding",
        "encoder",
        "encoder_paper",
        "gop",
        "metrics",
        "rate",
        "splat.raster",
        "video.frame",
    ),
    "progress": ("transcode",),
    "rate": (),
    "splat": ("splat",),
    "splat.cuda_compile": ("interrupts", "splat"),
    "transcode": LAYERS,
    "video": ("ahead", "interrupts", "video"),
}
# Others' packages -> the modules of ours that are their home.
HOMES = {
    "av": ("video", "bench.rivals", "bench.vmaf"),
    "click": ("cli",),
    "constriction": ("coding.entropy",),
    "cuda": ("splat.raster_cuda", "splat.cuda_compile", "splat.cuda_driver"),
    "cv2": ("analysis", "bench"),
    "fast_slic": ("analysis",),
    "gsplat": ("splat.raster_gsplat",),
    "matplotlib": ("bench",),
    "numpy": ("bench", *LAYERS),
    "onnxruntime": ("analysis", "bench"),
    "rembg": ("analysis", "bench"),
    "torch": ("bench.nerv", "splat.raster_torch", "splat.raster_gsplat", "training"),
    "tqdm": ("bench", "progress"),
    "zstandard": ("bench", "coding", "video"),
}
# A file can be taken apart with the standard library and zstandard alone.
BYTES_ONLY = ("coding.container", "coding.file_header", "coding.headers", "coding.index", "coding.packet")


def source_modules() -> dict[str, Path]:
    """Every module by its name below gscodec; a package by its folder, gscodec itself as __init__."""
    modules = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE).with_suffix("").parts
        modules[".".join(parts[:-1] if parts[-1] == "__init__" and len(parts) > 1 else parts)] = path
    return modules


MODULES = source_modules()
NATIVE_MODULES = ("coding._native", "splat._native")


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


def test_decoder_knows_neither_analysis_nor_fit() -> None:
    """Also not through others: the closure of what it imports, followed over our own modules."""
    if "decoder" not in MODULES:
        pytest.skip("gscodec.decode.decoder does not exist yet")
    seen, queue = set(), ["decoder"]
    while queue:
        module = queue.pop()
        if module in MODULES and module not in seen:
            seen.add(module)
            ours = (name for name in imports_of(MODULES[module]) if name.startswith("gscodec."))
            queue += [name.removeprefix("gscodec.") for name in ours]
    assert not [name for name in seen if within(name, ("analysis", "encoder", "splat.fit"))]


HELP = """
import runpy, sys
sys.argv = ["gscodec", "--help"]
try:
    runpy.run_module("gscodec", run_name="__main__")
except SystemExit as end:
    assert not end.code, end.code
"""


@pytest.mark.parametrize(
    ("needs", "code"),
    [
        ("__init__", "import gscodec"),
        ("cli", HELP),
        ("encoder", "import gscodec.encoder"),
        ("decoder", "import gscodec.decode.decoder"),
        ("splat.raster_cpu", "import gscodec.splat.cpu.raster"),
    ],
    ids=["gscodec", "help", "encoder", "decoder", "raster_cpu"],
)
def test_start_up_does_not_load_torch(needs: str, code: str) -> None:
    if needs not in MODULES:
        pytest.skip(f"gscodec.{needs} does not exist yet")
    if needs in ("encoder", "splat.raster_cpu"):
        pytest.importorskip("gscodec.splat._native")
    code += (
        "\nimport sys; heavy = {'torch', 'onnxruntime', 'rembg'} & set(sys.modules); assert not heavy, heavy"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
