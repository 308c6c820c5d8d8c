"""The suites by name: how each is measured, how its rows are shown."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from gscodec.bench import (
    suite_init,
    suite_kernels,
    suite_latency,
    suite_more,
    suite_quantization,
    suite_quick,
    suite_rd,
)
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


_MORE = (suite_more.N_FRAMES, suite_more.GOP)
SUITE_TABLE: dict[str, Suite] = {
    "quick": Suite(suite_quick.run_quick, suite_quick.quick_section, suite_quick.N_FRAMES, suite_quick.GOP),
    "init": Suite(suite_init.run_init, suite_init.init_section, suite_init.N_FRAMES, suite_init.GOP),
    "latency": Suite(
        suite_latency.run_latency, suite_latency.latency_section, suite_latency.N_FRAMES, suite_latency.GOP
    ),
    "bits": Suite(suite_more.run_bits, suite_more.bits_section, *_MORE),
    "visual": Suite(suite_more.run_visual, suite_more.visual_section, *_MORE),
    "rd": Suite(suite_rd.run_rd, suite_rd.rd_section, suite_rd.N_FRAMES, suite_rd.GOP),
    "quantization": Suite(
        suite_quantization.run_quantization, suite_quantization.quantization_section, *_MORE
    ),
    "kernels": Suite(
        suite_kernels.run_kernels, suite_kernels.kernels_section, suite_kernels.N_FRAMES, suite_kernels.GOP
    ),
    "scale": Suite(suite_more.run_scale, suite_more.scale_section, *_MORE),
}
