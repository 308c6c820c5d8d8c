"""The suites by name: how each is measured, how its rows are shown."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from gscodec.bench import suite_quick, suite_rd
from gscodec.bench.cache import Row
from gscodec.bench.clips import Clip
from gscodec.bench.measure import Bench
from gscodec.bench.options import BenchOptions
from gscodec.bench.section import Section


@dataclass(frozen=True, slots=True)
class Suite:
    """How a suite is run and shown; frames of each clip and GOP length unless the command says otherwise."""

    run: Callable[[Bench, Iterator[Clip], BenchOptions], Iterator[Row]]
    section: Callable[[list[Row]], Section]
    n_frames: int
    gop: int


SUITE_TABLE: dict[str, Suite] = {
    "quick": Suite(suite_quick.run_quick, suite_quick.quick_section, suite_quick.N_FRAMES, suite_quick.GOP),
    "rd": Suite(suite_rd.run_rd, suite_rd.rd_section, suite_rd.N_FRAMES, suite_rd.GOP),
}
