"""CUDA sources -> machine code for one card, by NVRTC through cuda.core, kept on disk.

No nvcc and no build step: the sources travel inside the package. Compiling takes a second or two and happens
once per card type, driver and version of gscodec.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import tempfile
from collections.abc import Iterator
from functools import cache
from importlib import metadata, resources
from pathlib import Path
from threading import Lock

from gscodec import interrupts
from gscodec.errors import BackendError, install_extra

# Ours, by its name where it lies beside, else by its path in the package; NVRTC finds neither.
_INCLUDE = re.compile(r'#include "([^"]+)"')
_compiling: dict[str, Lock] = {}
_importing = Lock()
_MAGIC = b"gscodec cubin 1\n"
_DIGEST_BYTES = 32


def machine_code(name: str, arch: str, driver: int, **defines: int) -> bytes:
    """The cubin of a CUDA source.

    Args:
        name: "splat/cuda/fit" is splat/cuda/csrc/fit.cu of this package.
        arch: sm_90, for example. driver: cuDriverGetVersion's number, part of the cache's key.
        defines: macros, without the prefix GSCODEC_.
    Raises:
        BackendError: the compiler is missing or does not know this card; says what to do.
    """
    source = source_text(name, **defines)
    key = "\0".join([source, arch, str(driver), _compiler_version()])
    path = (
        cache_folder()
        / f"{name.replace('/', '-')}-{arch}-{hashlib.sha256(key.encode()).hexdigest()[:24]}.cubin"
    )
    with _compiling.setdefault(path.name, Lock()):  # workers begin together and want the same kernels
        code = _load(path)
        if code is None:
            code = compile_source(source, name, arch)
            _store(path, code)
    return code


def source_text(name: str, **defines: int) -> str:
    """One self-contained text: macros, included headers, the source; line numbers as in the files."""
    parts = [f"#define GSCODEC_{key.upper()} {value}\n" for key, value in sorted(defines.items())]
    room, _, stem = name.rpartition("/")
    return "".join([*parts, *_included(f"{room}/csrc/{stem}.cu", set())])


def compile_source(source: str, name: str, arch: str) -> bytes:
    """The cubin of a source text."""
    try:
        with _importing:  # it fails where two threads begin it
            try:
                from cuda.core import Program, ProgramOptions
            except ImportError:  # before cuda-core 0.5
                from cuda.core.experimental import Program, ProgramOptions
        options = ProgramOptions(name=f"{name}.cu", arch=arch, std="c++17", use_fast_math=True)
        return bytes(Program(source, "c++", options=options).compile("cubin").code)
    except Exception as error:  # cuda.core raises whatever its layers raise
        reason = " ".join(str(error).split())[:400]  # the compiler's log has many lines
        raise BackendError(
            f"the CUDA kernels cannot be compiled for {arch}: {reason}; {install_extra('cuda')}, with -U "
            "for an NVRTC that knows this card, or take --backend cpu"
        ) from error


def cache_folder() -> Path:
    """$GSCODEC_CACHE, or gscodec's folder in the user's cache."""
    if folder := os.environ.get("GSCODEC_CACHE"):
        return Path(folder)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "gscodec"


def _included(file: str, seen: set[str]) -> Iterator[str]:
    """The texts of a file and of what it includes, each once, in the order of inclusion."""
    if file in seen:
        return
    seen.add(file)
    lines = _read(file).splitlines()
    for line in lines:
        if included := _INCLUDE.match(line):
            path = included[1] if "/" in included[1] else f"{file.rpartition('/')[0]}/{included[1]}"
            yield from _included(path, seen)
    kept = ["" if _INCLUDE.match(line) or line.startswith("#pragma once") else line for line in lines]
    yield "\n".join([f'#line 1 "{file}"', *kept, ""])


@cache
def _read(file: str) -> str:
    return (resources.files("gscodec") / file).read_text(encoding="utf-8")


@cache
def _compiler_version() -> str:
    """Versions of what compiles, from package metadata: loading NVRTC would cost more than a hit."""
    found = []
    for package in ("cuda-core", "nvidia-cuda-nvrtc", "nvidia-cuda-nvrtc-cu12"):
        with contextlib.suppress(metadata.PackageNotFoundError):
            found.append(f"{package} {metadata.version(package)}")
    return ", ".join(found)


def _load(path: Path) -> bytes | None:
    """The code in a cache file; None when there is none or it is damaged."""
    try:
        stored = path.read_bytes()
    except OSError:
        return None
    head = len(_MAGIC) + _DIGEST_BYTES
    code = stored[head:]
    if not stored.startswith(_MAGIC) or hashlib.sha256(code).digest() != stored[len(_MAGIC) : head]:
        return None
    return code


def _store(path: Path, code: bytes) -> None:
    """Write a cache file in one piece. A cache that cannot be written costs time, nothing else."""
    with contextlib.suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        with interrupts.lock:
            handle, temporary = tempfile.mkstemp(dir=path.parent, suffix=".part")
            interrupts.unfinished.add(temporary)
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(_MAGIC + hashlib.sha256(code).digest() + code)
            os.replace(temporary, path)
        except OSError:
            os.unlink(temporary)
            raise
        finally:
            interrupts.unfinished.discard(temporary)
