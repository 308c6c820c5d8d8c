"""Rate and quality of the demo clip against tests/golden.json: nothing may get larger or worse unnoticed.

`make golden` rewrites the file on purpose and prints before and after.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("gscodec.splat.cpu.raster", reason="no native core", exc_type=ImportError)

from golden_clip import RUNS, Figures, baseline_kernels, measure, stored, write_source
from gscodec import GsvReader
from gscodec.decode.decoder import Decoder
from gscodec.metrics import psnr_db
from gscodec.video.frame import Frame
from gscodec.video.reader import open_video

BYTES, DB = 0.02, 0.05  # how far figures may be off: other versions of OpenCV and of the compiler


@dataclass(frozen=True)
class Run:
    """A coded file and what was measured of it."""

    path: Path
    figures: Figures


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return write_source(tmp_path_factory.mktemp("golden"))


@pytest.fixture(scope="module")
def coded(source: tuple[Path, Path]) -> Callable[[str], Run]:
    """A run by its name, encoded once."""
    made: dict[str, Run] = {}

    def get(name: str) -> Run:
        if name not in made:
            path = source[0].parent / f"{name}.gsv"
            made[name] = Run(path, measure(name, *source, path))
        return made[name]

    return get


@pytest.mark.parametrize("name", RUNS)
def test_rate_and_quality_are_the_golden_ones(name: str, coded: Callable[[str], Run]) -> None:
    now, golden = coded(name).figures, stored()[name]
    print(f"{name}: golden {golden}, now {now}")
    assert (now["frames"], now["iframes"]) == (golden["frames"], golden["iframes"])
    assert now["bytes"] == pytest.approx(golden["bytes"], rel=BYTES)
    assert now["roi_db"] == pytest.approx(golden["roi_db"], abs=DB)
    assert now["db"] == pytest.approx(golden["db"], abs=DB)


def test_the_golden_file_holds_these_runs_and_makes_sense() -> None:
    golden = stored()
    assert list(golden) == list(RUNS)
    by_crf = [golden[name] for name in RUNS if name.startswith("crf")]
    for finer, coarser in pairwise(by_crf):
        assert finer["bytes"] > coarser["bytes"]
        assert finer["roi_db"] > coarser["roi_db"]


def test_the_same_bytes_again_and_on_two_cores(
    source: tuple[Path, Path], coded: Callable[[str], Run], tmp_path: Path
) -> None:
    """With a crf the number of threads changes nothing at all."""
    once = coded("crf 32").path.read_bytes()
    for threads in (1, 2):
        path = tmp_path / f"{threads}.gsv"
        measure("crf 32", *source, path, threads)
        assert path.read_bytes() == once


@pytest.mark.parametrize("name", ["crf 26", "bitrate 40"])
def test_what_is_decoded_is_exactly_what_was_measured(
    name: str, source: tuple[Path, Path], coded: Callable[[str], Run]
) -> None:
    run, error, n_samples = coded(name), 0.0, 0
    with baseline_kernels(), GsvReader(run.path) as reader, open_video(source[0]) as pictures:
        decoder = Decoder(reader.sequence, backend="cpu", threads=1)
        frames = (item for item in pictures if isinstance(item, Frame))
        for _ in decoder.frames(reader):
            difference = decoder.render().astype(np.float64) - next(frames).pixels
            error += float((difference**2).sum())
            n_samples += difference.size
        assert next(frames, None) is None
    assert round(psnr_db(error, n_samples), 3) == run.figures["db"]
