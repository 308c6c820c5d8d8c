"""The paper's statements with ours beside them: holds, does not, cannot be checked here; with the number."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from math import log2
from statistics import fmean

from gscodec.bench import suite_init
from gscodec.bench.baselines import GAUSSIANIMAGE, PAPER
from gscodec.bench.cache import Row
from gscodec.bench.measure import OURS
from gscodec.bench.nerv import NERV
from gscodec.bench.rd_tables import PAPERS_RANGE, mean_rate
from gscodec.bench.section import Section, Table
from gscodec.bench.suite_quantization import COUNTS, ITERATION_COUNTS, ITERATIONS, point

HOLDS, FAILS, UNKNOWN = "holds", "does not", "cannot be checked here"
Answer = tuple[str, str]  # (verdict, ours)


def claims_section(rows: Sequence[Row]) -> Section:
    """One line per statement."""
    lines = []
    for statement, paper, check in CLAIMS:
        verdict, here = check(rows)
        lines.append([statement, verdict, re.sub(r"(?<!\w)-(?=\d)", "−", here), paper])
    text = (
        "Checked with the rows of this run. The paper's hardware is an RTX 3090 Ti and its clips are VCD's; "
        "ours are named above, so a verdict is about this codec here, not about the paper's program."
    )
    head = ["statement", "verdict", "here", "the paper"]
    return Section("claims", "The paper's statements", text, [Table("", head, lines, 4)])


def _time_saved(rows: Sequence[Row]) -> Answer:
    found = {codec: _time_ratios(rows, codec) for codec in (suite_init.OURS, suite_init.PAPER)}
    ours, bounded = found[suite_init.OURS]
    if not ours:
        return _needs_start(rows)
    words = [f"{_least(b)}{100 * (1 - fmean(r)):.1f} %{_of(c)}" for c, (r, b) in found.items() if r]
    return _verdict(fmean(ours) <= 0.12), ", ".join(words) + _to_30_db(bounded)


def _times_faster(rows: Sequence[Row]) -> Answer:
    found = {codec: _time_ratios(rows, codec) for codec in (suite_init.OURS, suite_init.PAPER)}
    ours, bounded = found[suite_init.OURS]
    if not ours:
        return _needs_start(rows)
    words = [f"{_least(b)}{1 / fmean(r):.3g} times{_of(c)}" for c, (r, b) in found.items() if r]
    return _verdict(fmean(ours) <= 1 / 8), ", ".join(words) + _to_30_db(bounded)


def _iterations(rows: Sequence[Row]) -> Answer:
    return _fewer(rows, suite_init.GAUSSIANIMAGE)


def _superpixels_against_random(rows: Sequence[Row]) -> Answer:
    return _fewer(rows, suite_init.RANDOM, (suite_init.PLACED,))


def _psnr_at_1000(rows: Sequence[Row]) -> Answer:
    found = {
        codec: [r.figures["psnr_db_at_1000"] for r in started.values()]
        for codec in (suite_init.OURS, suite_init.PAPER)
        if (started := _started(rows, codec))
    }
    if suite_init.OURS not in found:
        return _needs("init")
    words = [f"{fmean(values):.2f} dB{_of(codec)}" for codec, values in found.items()]
    n_clips = len(found[suite_init.OURS])
    over = f", mean of {n_clips} clips" if n_clips > 1 else ""
    verdict = _verdict(fmean(found[suite_init.OURS]) >= 30.6)
    return verdict, ", ".join(words) + f"; before rounding{over}"


def _bits_saved(rows: Sequence[Row]) -> Answer:
    found = {codec: _bits_ratios(rows, codec, "bpp") for codec in (OURS, PAPER)}
    if not found[OURS]:
        return _needs("bits")
    saved = {codec: 100 * (1 - fmean(a / b for a, b in pairs)) for codec, pairs in found.items() if pairs}
    words = [f"−{value:.1f} %{_of(codec)}" for codec, value in saved.items()]
    return _verdict(saved[OURS] >= 78), ", ".join(words) + "; files, mean over N"


def _better_picture(rows: Sequence[Row]) -> Answer:
    at_1000 = [r for r in rows if r.point == "N 1000"]
    found = {codec: _bits_ratios(at_1000, codec, "roi_psnr_db") for codec in (OURS, PAPER)}
    if not found[OURS]:
        return _needs("bits")
    gains = {codec: fmean(a - b for a, b in pairs) for codec, pairs in found.items() if pairs}
    words = [f"{value:+.2f} dB{_of(codec)}" for codec, value in gains.items()]
    return _verdict(gains[OURS] > 0), ", ".join(words) + "; ROI-PSNR of files, N = 1000"


def _changed_share(rows: Sequence[Row]) -> Answer:
    """At the paper's number of Gaussians: finer files change more of more."""
    found = {}
    for codec in (OURS, PAPER):
        shares = [
            r.figures["p_changed"] / r.figures["n_gaussians"]
            for r in rows
            if r.codec == codec
            and (r.suite == "quick" or r.point == "N 1000")
            and r.status == "ok"
            and r.figures.get("p_changed")
            and r.figures.get("n_gaussians")
        ]
        if shares:
            found[codec] = fmean(shares)
    if OURS not in found:
        return _needs("quick")
    words = [f"N/{1 / share:.1f}{_of(codec)}" for codec, share in found.items()]
    return _verdict(found[OURS] <= 1 / 20), ", ".join(words) + "; about 1000 Gaussians"


def _above_x264(rows: Sequence[Row]) -> Answer:
    return _below_zero(rows, "x264-veryfast-zerolatency")


def _above_gaussianimage(rows: Sequence[Row]) -> Answer:
    return _below_zero(rows, GAUSSIANIMAGE)


def _above_nerv(rows: Sequence[Row]) -> Answer:
    if not any(r.suite == "rd" and r.codec == NERV and r.status == "ok" for r in rows):
        return UNKNOWN, "run the suite rd with --rivals nerv"
    return _below_zero(rows, NERV)


def _below_zero(rows: Sequence[Row], rival: str) -> Answer:
    """By BD-rate: the mean over the clips where both curves overlap."""
    mine = [r for r in rows if r.suite == "rd"]
    if not any(r.codec == rival and r.protocol == "masked" for r in mine):
        return _needs("rd")
    found = mean_rate(mine, rival)
    if found is None:
        return UNKNOWN, "no BD-rate: the notes of Fig. 7 say why"
    value, n, n_clips = found
    over = f", mean of {n} of {n_clips} clips" if n_clips > 1 else ""
    return _verdict(value < 0), f"BD-rate {value:+.1f} % against {rival}{over}; {PAPERS_RANGE.name}"


def _encode_rate(rows: Sequence[Row]) -> Answer:
    return _rate(rows, "encode_fps", 0.67)


def _decode_rate(rows: Sequence[Row]) -> Answer:
    return _rate(rows, "decode_fps", 30.0)


def _rate(rows: Sequence[Row], name: str, least: float) -> Answer:
    values = [r.figures[name] for r in rows if r.codec == OURS and r.status == "ok" and r.suite == "quick"]
    if not values:
        return _needs("quick")
    span = "" if len(values) == 1 else f" to {max(values):.1f}"
    return _verdict(min(values) >= least), f"{min(values):.1f}{span} FPS"


def _ptq_time(rows: Sequence[Row]) -> Answer:
    timed = [r.figures for r in rows if r.codec == "times" and r.status == "ok"]
    if not timed:
        return _needs("quantization")
    ptq, qat = (fmean(f[name] for f in timed) for name in ("ptq_ms", "qat_ms"))
    return _verdict(qat >= 1000 * ptq), f"{ptq:.2f} ms against {qat:.0f} ms: {qat / ptq:.0f} times"


def _qat_quality(rows: Sequence[Row]) -> Answer:
    ptq, qat = (_rounded(rows, kind) for kind in ("ptq", "qat"))
    common = ptq.keys() & qat.keys()
    if not common:
        return _needs("quantization")
    gains = [qat[key] - ptq[key] for key in common]
    text = f"{min(gains):+.2f} to {max(gains):+.2f} dB, profile paper, {len(gains)} I-frames"
    return _verdict(min(gains) > 0), text


def _count_over_iterations(rows: Sequence[Row]) -> Answer:
    """Under QAT; PTQ loses by many iterations."""
    found = _rounded(rows, "qat")
    by_count = [point(n, ITERATIONS) for n in (COUNTS[0], COUNTS[-1])]
    by_iterations = [point(1000, n) for n in (ITERATION_COUNTS[0], ITERATION_COUNTS[-1])]
    gains: tuple[list[float], list[float]] = ([], [])
    for clip in {clip for clip, _ in found}:
        for kept, (low, high), ends in (
            (gains[0], by_count, (COUNTS[0], COUNTS[-1])),
            (gains[1], by_iterations, (ITERATION_COUNTS[0], ITERATION_COUNTS[-1])),
        ):
            if (clip, low) in found and (clip, high) in found:
                kept.append((found[clip, high] - found[clip, low]) / log2(ends[1] / ends[0]))
    if not all(gains):
        return _needs("quantization")
    count, iterations = map(fmean, gains)
    text = f"{count:.2f} dB per doubling of N, {iterations:.2f} of iterations"
    return _verdict(count > iterations), text


def _not_built(what: str) -> Callable[[Sequence[Row]], Answer]:
    return lambda rows: (UNKNOWN, what)


def _started(rows: Sequence[Row], codec: str) -> dict[str, Row]:
    """Rows of a start, by clip."""
    return {r.clip: r for r in rows if r.suite == "init" and r.status == "ok" and r.codec == codec}


def _time_ratios(rows: Sequence[Row], codec: str) -> tuple[list[float], bool]:
    """Time of a start to 30 dB over GaussianImage's, for every clip where it gets there.

    Returns:
        (ratios, whether GaussianImage did not get there somewhere, so that they are upper bounds).
    """
    mine, theirs = _started(rows, codec), _started(rows, suite_init.GAUSSIANIMAGE)
    ratios, bounded = [], False
    for clip in mine.keys() & theirs.keys():
        seconds, other = mine[clip].figures["seconds_to_target"], theirs[clip].figures
        if seconds is not None:
            ratios.append(seconds / (other["seconds_to_target"] or other["seconds_spent"]))
            bounded |= other["seconds_to_target"] is None
    return ratios, bounded


def _fewer(
    rows: Sequence[Row], rival: str, names: tuple[str, ...] = (suite_init.OURS, suite_init.PAPER)
) -> Answer:
    """Iterations to 30 dB of starts, and of a rival, over the clips where the first gets there."""
    mine, theirs = _started(rows, names[0]), _started(rows, rival)
    clips = [c for c in mine if c in theirs and mine[c].figures["iterations_to_target"] is not None]
    if not clips:
        return _needs_start(rows)
    words = []
    for name in (*names, rival):
        started = _started(rows, name)
        found = [started[c].figures["iterations_to_target"] for c in clips if c in started]
        reached = [n for n in found if n is not None]
        never = f", never on {len(found) - len(reached)} of {len(found)}" if len(reached) < len(found) else ""
        words.append((f"{fmean(reached):.0f}" if reached else "–") + never + _of(name))
    against = [theirs[c].figures["iterations_to_target"] for c in clips]
    ours = [mine[c].figures["iterations_to_target"] for c in clips]
    holds = any(n is None for n in against) or fmean(ours) < fmean(against)
    return _verdict(holds), ", ".join(words[:-1]) + f" against {words[-1]}"


def _needs_start(rows: Sequence[Row]) -> Answer:
    ours = [r.figures["iterations_to_target"] for r in _started(rows, suite_init.OURS).values()]
    if not ours or any(n is not None for n in ours):  # then a row to compare with is missing
        return _needs("init")
    return UNKNOWN, f"30 dB is out of reach on every clip ({len(ours)})"


def _bits_ratios(rows: Sequence[Row], codec: str, figure: str) -> list[tuple[float, float]]:
    """A figure of a codec and of GaussianImage, for every clip and N of the suite `bits`."""
    measured = [r for r in rows if r.suite == "bits" and r.status == "ok"]
    theirs = {(r.clip, r.point): r.figures[figure] for r in measured if r.codec == GAUSSIANIMAGE}
    return [
        (r.figures[figure], theirs[r.clip, r.point])
        for r in measured
        if r.codec == codec and (r.clip, r.point) in theirs
    ]


def _rounded(rows: Sequence[Row], kind: str) -> dict[tuple[str, str], float]:
    """ROI-PSNR of profile paper's I-frame under PTQ or QAT, by clip and point."""
    return {
        (r.clip, r.point): r.figures["roi_psnr_db"]
        for r in rows
        if r.suite == "quantization" and r.status == "ok" and r.codec == f"paper {kind}"
    }


def _of(codec: str) -> str:
    """Names a baseline's figure; ours needs no name."""
    baseline = codec in (PAPER, suite_init.PAPER, suite_init.GAUSSIANIMAGE)
    return f" (profile {codec.removeprefix('profile ')})" if baseline else ""


def _least(bounded: bool) -> str:
    return "at least " if bounded else ""


def _to_30_db(bounded: bool) -> str:
    return "; to 30 dB" + (", which GaussianImage does not reach everywhere" if bounded else "")


def _verdict(holds: bool) -> str:
    return HOLDS if holds else FAILS


def _needs(suite: str) -> Answer:
    return UNKNOWN, f"run the suite {suite}"


CLAIMS: tuple[tuple[str, str, Callable[[Sequence[Row]], Answer]], ...] = (
    ("encoding takes 88 % less time than GaussianImage's", "1.5 s against 13.1 s", _time_saved),
    ("encoding is 8 times faster than GaussianImage's", "0.67 against 0.07 FPS", _times_faster),
    ("fewer iterations to 30 dB than GaussianImage", "750 against 8733", _iterations),
    ("… because of superpixels: against random, one optimiser", "–", _superpixels_against_random),
    ("30.6 dB after 1000 iterations", "30.6 dB", _psnr_at_1000),
    (
        "superpixels need fewer iterations than a regressor",
        "750 against 4000 iterations",
        _not_built("regressor not trained"),
    ),
    ("a P-frame codes N/20 Gaussians", "N/20", _changed_share),
    ("78 % fewer bytes than GaussianImage", "−78 %", _bits_saved),
    ("a better picture than GaussianImage's, fast setting", "shown in Fig. 6", _better_picture),
    ("above GaussianImage's curve", "shown in Fig. 7", _above_gaussianimage),
    ("PSNR above x264's at low rate", "shown in Fig. 7", _above_x264),
    ("PTQ is a thousand times quicker than QAT", "3.5 ms against 3.5 s", _ptq_time),
    ("QAT gives more quality than PTQ", "shown in Fig. 8", _qat_quality),
    ("the number of Gaussians matters more than iterations", "shown in Fig. 8", _count_over_iterations),
    ("encode rate", "0.67 FPS on a GPU", _encode_rate),
    ("decoding in real time", "real time, no figure", _decode_rate),
    ("level with NeRV or above", "shown in Fig. 7", _above_nerv),
)
