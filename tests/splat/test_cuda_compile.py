"""The cache of compiled kernels; no GPU and no compiler needed."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from gscodec.errors import BackendError
from gscodec.splat.cuda import compile as cuda_compile


@pytest.fixture
def compiled(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[str]:
    """Names of what was compiled, in a fresh cache; the compiler is a fake."""
    names: list[str] = []

    def compile_source(source: str, name: str, arch: str) -> bytes:
        names.append(name)
        return f"{name} {arch} {len(source)}".encode()

    monkeypatch.setenv("GSCODEC_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(cuda_compile, "compile_source", compile_source)
    return names


def cache_files(tmp_path: Path) -> list[Path]:
    return sorted((tmp_path / "cache").iterdir())


def test_second_use_compiles_nothing(compiled: list[str], tmp_path: Path) -> None:
    first = cuda_compile.machine_code("splat/cuda/fit", "sm_90", 13000, team=1)
    assert cuda_compile.machine_code("splat/cuda/fit", "sm_90", 13000, team=1) == first
    assert compiled == ["splat/cuda/fit"]
    assert len(cache_files(tmp_path)) == 1


def test_threads_that_begin_together_compile_once(compiled: list[str], monkeypatch) -> None:
    compile_source = cuda_compile.compile_source

    def slowly(source: str, name: str, arch: str) -> bytes:
        time.sleep(0.05)
        return compile_source(source, name, arch)

    monkeypatch.setattr(cuda_compile, "compile_source", slowly)
    with ThreadPoolExecutor(4) as pool:
        found = list(
            pool.map(lambda _: cuda_compile.machine_code("splat/cuda/fit", "sm_90", 13000), range(4))
        )
    assert len(set(found)) == 1
    assert compiled == ["splat/cuda/fit"]


def test_different_sources_compile_side_by_side(compiled: list[str], monkeypatch) -> None:
    both = threading.Barrier(2, timeout=20)

    def compile_source(source: str, name: str, arch: str) -> bytes:
        both.wait()  # fails unless the other has begun
        return name.encode()

    monkeypatch.setattr(cuda_compile, "compile_source", compile_source)
    with ThreadPoolExecutor(2) as pool:
        names = ["splat/cuda/fit", "splat/cuda/raster"]
        found = list(pool.map(lambda name: cuda_compile.machine_code(name, "sm_90", 13000), names))
    assert found == [b"splat/cuda/fit", b"splat/cuda/raster"]


def test_every_part_of_the_key_counts(compiled: list[str], tmp_path: Path) -> None:
    for name, arch, driver, defines in (
        ("splat/cuda/fit", "sm_90", 13000, {"team": 1}),
        ("splat/cuda/raster", "sm_90", 13000, {"team": 1}),
        ("splat/cuda/fit", "sm_89", 13000, {"team": 1}),
        ("splat/cuda/fit", "sm_90", 13010, {"team": 1}),
        ("splat/cuda/fit", "sm_90", 13000, {"team": 4}),
        ("splat/cuda/fit", "sm_90", 13000, {}),
    ):
        cuda_compile.machine_code(name, arch, driver, **defines)
    assert len(compiled) == len(cache_files(tmp_path)) == 6


@pytest.mark.parametrize("damage", ["cut", "flipped", "empty", "foreign"])
def test_damaged_file_is_compiled_again(compiled: list[str], tmp_path: Path, damage: str) -> None:
    expected = cuda_compile.machine_code("splat/cuda/fit", "sm_90", 13000)
    (path,) = cache_files(tmp_path)
    stored = path.read_bytes()
    flipped = stored[:-1] + bytes([stored[-1] ^ 1])
    path.write_bytes({"cut": stored[:-3], "flipped": flipped, "empty": b"", "foreign": b"?" * 500}[damage])
    assert cuda_compile.machine_code("splat/cuda/fit", "sm_90", 13000) == expected
    assert compiled == ["splat/cuda/fit"] * 2
    assert path.read_bytes() == stored


def test_cache_that_cannot_be_written_is_no_error(
    compiled: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("not a folder")
    monkeypatch.setenv("GSCODEC_CACHE", str(blocked))
    for _ in range(2):
        assert cuda_compile.machine_code("splat/cuda/fit", "sm_90", 13000)
    assert compiled == ["splat/cuda/fit"] * 2


PACKAGE = Path(cuda_compile.__file__).parents[2]
SOURCES = sorted(PACKAGE.rglob("csrc/*.cu"))


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.stem)
def test_source_is_self_contained(path: Path) -> None:
    text = cuda_compile.source_text(f"{path.parents[1].relative_to(PACKAGE)}/{path.stem}", team=4)
    assert text.startswith("#define GSCODEC_TEAM 4\n")
    assert '#include "' not in text
    assert 'extern "C" __global__' in text
    assert "constexpr float RADIUS_SQ" in text


def test_failed_compilation_says_what_to_do() -> None:
    with pytest.raises(BackendError, match=r"cannot be compiled for sm_1.*pip install"):
        cuda_compile.compile_source("not C++", "splat/cuda/fit", "sm_1")
