"""Suite `latency`: time per frame, start-up and peak memory of real commands (paper, Fig. 4)."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from gscodec.bench.baselines import measure_other
from gscodec.bench.cache import PACKAGE, Row
from gscodec.bench.clips import Clip, shortened, write_raw
from gscodec.bench.measure import OURS, Bench, Planes, measure_figures, measure_ours
from gscodec.bench.options import BASELINES, BenchOptions
from gscodec.bench.published import read_published
from gscodec.bench.rivals import USUAL_RIVALS
from gscodec.bench.section import Chart, Section, Series, Table
from gscodec.bench.suite_quick import MASKED
from gscodec.bench.table import formatted
from gscodec.config import BACKENDS, PRESETS, encoder_config
from gscodec.errors import BackendError
from gscodec.splat.raster import usable_backend

N_FRAMES, GOP, GAUSSIANS = 60, 60, 1000
COMMAND_FRAMES = 10
BACKEND_FRAMES = 10  # on the backends that are not the fastest
TWIN_NOTE = "the torch twin defines what is drawn and is not made for speed: suite kernels has its steps"
# The process itself says how much memory it had at most: rusage would count what it inherited from this one.
_WATCHED = """
import atexit, sys
from pathlib import Path
status = Path("/proc/self/status")
if status.exists():
    last = lambda: print(*[s for s in status.read_text().splitlines() if "VmHWM" in s], file=sys.stderr)
    atexit.register(last)
sys.argv[0] = "gscodec"
from gscodec.cli import main
main()
"""


def run_latency(bench: Bench, clips: Iterator[Clip], options: BenchOptions) -> Iterator[Row]:
    """Yield every preset, the rivals at the bytes of `medium`, and the commands as processes of their own."""
    for clip in clips:
        medium = None
        for preset in PRESETS:
            config = encoder_config(
                preset,
                **MASKED,
                gaussians=options.gaussians or GAUSSIANS,
                gop_length=bench.gop,
                backend=options.backend,
                threads=options.threads,
            )
            row = measure_ours(bench, clip, "masked", config, preset)
            medium = row if preset == "medium" else medium
            yield row
        if options.backend == "auto":
            yield from _other_backends(bench, clip, options)
        planes = Planes(clip, "masked")
        if medium is not None and medium.status == "ok":
            for name in options.rivals or (*USUAL_RIVALS, *BASELINES):
                n_bytes = medium.figures["n_bytes"]
                yield measure_other(bench, clip, "masked", name, planes, options, n_bytes)
        yield measure_figures(bench, clip, "commands", "", {}, partial(_commands, clip, bench.files_folder()))


def _other_backends(bench: Bench, clip: Clip, options: BenchOptions) -> Iterator[Row]:
    """The run's preset on every backend that `auto` did not take; where one cannot run its row says why."""
    taken, few = usable_backend("auto"), shortened(clip, BACKEND_FRAMES)
    for backend in BACKENDS[1:]:
        point = f"{options.preset}, {backend}, {len(few.frames)} frames"
        if backend == "torch":
            yield Row(bench.suite, clip.name, OURS, point, "masked", "skipped", TWIN_NOTE)
        elif backend != taken:
            config = encoder_config(
                options.preset,
                **MASKED,
                gaussians=options.gaussians or GAUSSIANS,
                gop_length=bench.gop,
                backend=backend,
                threads=options.threads,
            )
            yield measure_ours(replace(bench, backend=backend), few, "masked", config, point)


def latency_section(rows: list[Row]) -> Section:
    """Time per frame with the published ones; start-up and memory apart."""
    head = ["clip", "codec", "preset, rate", "enc ms", "±", "dec ms", "±", "ROI dB", "kb/s"]
    lines: list[list[str]] = []
    series: dict[str, list[tuple[float, float]]] = {}
    for row in rows:
        f = row.figures
        if row.status != "ok":
            point = ": ".join(filter(None, (row.point, row.status)))
            lines.append([row.clip, row.codec, point, *[""] * 6])
        elif "encode_fps" in f:
            encode_ms, decode_ms = 1e3 / f["encode_fps"], 1e3 / f["decode_fps"]
            spreads = [formatted(f[name], ".0%") for name in ("encode_spread", "decode_spread")]
            cells = [formatted(encode_ms, ".2f"), spreads[0], formatted(decode_ms, ".2f"), spreads[1]]
            rate = [formatted(f["roi_psnr_db"], ".2f"), formatted(f["kbit_per_s"], ".1f")]
            lines.append([row.clip, row.codec, row.point, *cells, *rate])
            name = f"{row.codec} {row.point}" if row.codec == OURS else row.codec
            series.setdefault(name, []).append((encode_ms, decode_ms))
    for p in read_published():
        if p["experiment"] == "latency":
            encode_ms = 1e3 * float(p["encode_s"]) if p["encode_s"] else 1e3 / float(p["encode_fps"])
            decode = formatted(1e3 / float(p["decode_fps"]), ".2f") if p["decode_fps"] else ""
            cells = [formatted(encode_ms, ".2f"), "", decode, "", "", ""]
            lines.append([p["clip"], f"{p['codec']}, published", "", *cells])
    curves = [Series(name, points, line=False) for name, points in series.items()]
    chart = Chart("latency", "Time per frame", "encode, ms", "decode, ms", curves, log_x=True, log_y=True)
    text = (
        "Masked pictures; this codec with all threads it was given, the others with one, at the bytes of our "
        "preset medium. All are medians of repeated runs. Ours includes "
        "reading the uncompressed source. The profiles paper and gaussianimage are measured as ours is, at "
        "the same number of Gaussians and a thousand iterations under preset medium."
    )
    notes = [f"{row.codec}{row.point and ' ' + row.point}: {row.note}" for row in rows if row.note]
    tables = [Table("", head, lines, 3, list(dict.fromkeys(notes))), _command_table(rows)]
    return Section("latency", "Encode and decode time (Fig. 4)", text, tables, [chart])


def _command_table(rows: list[Row]) -> Table:
    lines = []
    for row in rows:
        for name in ("help", "encode", "decode"):
            if row.codec == "commands" and row.status == "ok":
                f = row.figures
                memory = formatted(f.get(f"{name}_peak_mb"), ".0f")
                lines.append([row.clip, f"gscodec {name}", formatted(f[f"{name}_s"], ".2f"), memory])
    head = ["clip", f"command ({COMMAND_FRAMES} frames)", "s, start-up included", "peak memory, MB"]
    return Table("Whole commands", head, lines, 2)


def _commands(clip: Clip, folder: Path) -> dict[str, Any]:
    few = shortened(clip, COMMAND_FRAMES)
    folder.mkdir(parents=True, exist_ok=True)
    source, mattes = write_raw(few, "masked", folder)
    coded, decoded = folder / "command.gsv", folder / "command.mp4"
    try:
        runs = {
            "help": ["--help"],
            "encode": ["encode", "-y", "--roi", str(mattes), str(source), str(coded)],
            "decode": ["decode", "-y", str(coded), str(decoded)],
        }
        figures: dict[str, Any] = {}
        for name, arguments in runs.items():
            figures[f"{name}_s"], figures[f"{name}_peak_mb"] = _run(arguments)
        return figures
    finally:
        for path in (source, mattes, coded, decoded):
            path.unlink(missing_ok=True)


def _run(arguments: list[str]) -> tuple[float, float | None]:
    """Seconds and, on Linux, peak memory in MB of a gscodec command as a process of its own.

    Raises:
        BackendError: it failed.
    """
    places = [str(PACKAGE.parent), os.environ.get("PYTHONPATH", "")]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, places))}
    began = time.perf_counter()
    command = [sys.executable, "-c", _WATCHED, *arguments]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    seconds = time.perf_counter() - began
    said = done.stderr.strip().splitlines()
    if done.returncode:
        raise BackendError(f"gscodec {arguments[0]} failed: {said[0] if said else done.returncode}")
    peak = next((line.split()[1] for line in said if line.startswith("VmHWM:")), None)
    return seconds, None if peak is None else int(peak) * 1024 / 1e6
