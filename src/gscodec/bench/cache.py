"""Rows of results: one per codec, clip and operating point, kept on disk so that a broken run goes on."""

from __future__ import annotations

import functools
import hashlib
import json
import os
import platform
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import numpy as np

import gscodec
from gscodec.bench.stopwatch import machine_load

PROTOCOL_VERSION = 4  # raised whenever the way of measuring changes
PACKAGE = Path(gscodec.__file__).parent


@dataclass(frozen=True, slots=True)
class Row:
    """One line of results.csv; None where a figure does not apply.

    Attributes:
        status: "ok", "skipped", "not built" or "failed"; `note` says why.
        figures: everything measured, by name with its unit (docs/benchmarking.md lists them).
        environment: versions, machine, GPU, time of day, the load averages before it was measured.
        picture: file below the output folder with one decoded frame, for the report. original: the same
            frame as the codec got it.
        matte: what figures of the person ("roi_…") are counted over, the same for every codec of a clip.
    """

    suite: str
    clip: str
    codec: str
    point: str = ""
    protocol: str = ""
    status: str = "ok"
    note: str = ""
    clip_sha256: str = ""
    options: dict[str, Any] = field(default_factory=dict)
    figures: dict[str, Any] = field(default_factory=dict)
    environment: dict[str, Any] = field(default_factory=dict)
    picture: str = ""
    original: str = ""
    matte: str = ""


def row_from_dict(values: dict[str, Any]) -> Row:
    """Make a Row of what `asdict` gave; unknown names of other versions are left out."""
    known = {f.name for f in fields(Row)}
    return Row(**{k: v for k, v in values.items() if k in known})


class Cache:
    """Rows below OUT/cache, by what they depend on."""

    def __init__(self, out: Path, *, fresh: bool = False) -> None:
        self.folder = out / "cache"
        self._fresh = fresh
        self.n_reused = 0

    def row(self, key: dict[str, Any], measure: Callable[[str], Row]) -> Row:
        """The row of this key, measured where it is not kept yet.

        Args:
            key: everything the row depends on, as JSON types.
            measure: makes the row; gets a stem for files of its own below the folder.
        """
        stem = hashlib.sha256(json.dumps([PROTOCOL_VERSION, key], sort_keys=True).encode()).hexdigest()[:20]
        path = self.folder / f"{stem}.json"
        if not self._fresh and path.is_file():
            try:
                row = row_from_dict(json.loads(path.read_text(encoding="utf-8")))
                self.n_reused += 1
                return row
            except (ValueError, TypeError):
                pass  # cut off while it was written
        load = list(machine_load())  # before the row adds its own
        row = measure(stem)
        row = replace(row, environment={**row.environment, "load_before": load})
        if row.status == "ok":
            self.folder.mkdir(parents=True, exist_ok=True)
            temporary = path.with_suffix(".part")
            temporary.write_text(json.dumps(asdict(row), default=_plain), encoding="utf-8")
            temporary.replace(path)
        return row


@functools.cache
def code_digest(parts: tuple[str, ...] = ()) -> str:
    """Digest of this package's code, native modules included, that can change what the codec does.

    Args:
        parts: folders of the package; none takes all but the command line and the benchmark.
    """
    skipped = {"bench", "cli.py", "progress.py", "__main__.py", "errors.py"}
    digest = hashlib.sha256()
    for path in sorted(PACKAGE.rglob("*")):
        name = path.relative_to(PACKAGE)
        wanted = name.parts[0] in parts if parts else name.parts[0] not in skipped
        if wanted and path.suffix in (".py", ".so", ".pyd"):
            digest.update(str(name).encode() + path.read_bytes())
    return digest.hexdigest()[:12]


@functools.cache
def environment() -> tuple[tuple[str, Any], ...]:
    """Versions and machine, as pairs (a tuple, so that it can be kept)."""
    from importlib.metadata import PackageNotFoundError, version

    def installed(package: str) -> str:
        try:
            return version(package)
        except PackageNotFoundError:
            return ""

    packages = ("av", "numpy", "opencv-python-headless", "constriction", "torch")
    return (
        ("gscodec", gscodec.__version__),
        ("code", code_digest()),
        ("python", platform.python_version()),
        *((name, installed(name)) for name in packages),
        ("system", f"{platform.system()} {platform.machine()}"),
        ("cpu", _cpu_name()),
        ("cores", os.cpu_count()),
        ("gpu", gpu_name()),
    )


def gpu_name() -> str:
    """Name of the first NVIDIA GPU, "" where there is none."""
    path = Path("/proc/driver/nvidia/gpus")
    try:
        for information in sorted(path.glob("*/information")):
            for line in information.read_text().splitlines():
                if line.startswith("Model:"):
                    return line.partition(":")[2].strip()
    except OSError:
        pass
    return ""


def _cpu_name() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def _plain(value: Any) -> Any:
    if isinstance(value, np.generic):
        return value.item()
    raise TypeError(f"{type(value).__name__} cannot be kept in a results file")
