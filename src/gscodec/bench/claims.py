"""The paper's statements with ours beside them: holds, does not, cannot be checked here; with the number."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from statistics import fmean

from gscodec.bench.cache import Row
from gscodec.bench.measure import OURS
from gscodec.bench.section import Section, Table
from gscodec.bench.suite_more import ALONE
from gscodec.bench.suite_rd import bd_tables

HOLDS, FAILS, UNKNOWN = "holds", "does not", "cannot be checked here"
Answer = tuple[str, str]  # (verdict, ours)


def claims_section(rows: Sequence[Row]) -> Section:
    """One line per statement."""
    lines = [[text, paper, *reversed(check(rows))] for text, paper, check in CLAIMS]
    text = (
        "Checked with the rows of this run. The paper's hardware is an RTX 3090 Ti and its clips are VCD's; "
        "ours are named above, so a verdict is about this codec here, not about the paper's program."
    )
    head = ["statement", "the paper", "here", "verdict"]
    return Section("claims", "The paper's statements", text, [Table("", head, lines, 4)])


def _superpixels_against_random(rows: Sequence[Row]) -> Answer:
    started = [r for r in rows if r.suite == "init" and r.status == "ok"]
    ours = [r.figures["iterations_to_target"] for r in started if r.codec.startswith("superpixels, ")]
    random = [r.figures["iterations_to_target"] for r in started if r.codec == "random"]
    if not ours:
        return _needs("init")
    if any(n is None for n in ours):
        reached = sum(n is not None for n in ours)
        return (
            UNKNOWN,
            f"30 dB is out of reach of 1000 Gaussians on {len(ours) - reached} of {len(ours)} clips",
        )
    never = sum(n is None for n in random)
    against = f"never on {never} of {len(random)} clips" if never else f"{fmean(random):.0f}"
    return _verdict(never > 0 or fmean(ours) < fmean(random)), f"{fmean(ours):.0f} against {against}"


def _psnr_at_1000(rows: Sequence[Row]) -> Answer:
    values = [
        r.figures["psnr_db_at_1000"]
        for r in rows
        if r.suite == "init" and r.status == "ok" and r.codec.startswith("superpixels, ")
    ]
    if not values:
        return _needs("init")
    return _verdict(fmean(values) >= 30.6), f"{fmean(values):.2f} dB, mean over clips: {len(values)}"


def _bits_saved(rows: Sequence[Row]) -> Answer:
    found = {(r.clip, r.codec): r.figures["bpp"] for r in rows if r.suite == "bits" and r.point == "N 1000"}
    clips = {clip for clip, codec in found if (clip, OURS) in found and (clip, ALONE) in found}
    if not clips:
        return _needs("bits")
    saved = 100 * fmean(1 - found[clip, OURS] / found[clip, ALONE] for clip in clips)
    return UNKNOWN, f"−{saved:.1f} % against our own I-frames; profile gaussianimage is not built"


def _changed_share(rows: Sequence[Row]) -> Answer:
    shares = [
        r.figures["p_changed"] / r.figures["n_gaussians"]
        for r in rows
        if r.codec == OURS
        and r.status == "ok"
        and r.figures.get("p_changed")
        and r.figures.get("n_gaussians")
    ]
    if not shares:
        return _needs("quick")
    share = fmean(shares)
    return _verdict(share <= 1 / 20), f"N/{1 / share:.1f} on the mean of {len(shares)} rows"


def _above_x264(rows: Sequence[Row]) -> Answer:
    mine = [r for r in rows if r.suite == "rd"]
    if not mine:
        return _needs("rd")
    table = bd_tables(mine)[0]
    name = "x264-veryfast-zerolatency"
    if name not in table.head or not table.lines:
        return _needs("rd")
    value = table.lines[-1][table.head.index(name)].split()[0]
    if value == "–":
        return UNKNOWN, "the curves share too little"
    return _verdict(float(value) < 0), f"BD-rate {value} % against x264 veryfast zerolatency"


def _encode_rate(rows: Sequence[Row]) -> Answer:
    return _rate(rows, "encode_fps", 0.67)


def _decode_rate(rows: Sequence[Row]) -> Answer:
    return _rate(rows, "decode_fps", 30.0)


def _rate(rows: Sequence[Row], name: str, least: float) -> Answer:
    values = [r.figures[name] for r in rows if r.codec == OURS and r.status == "ok" and r.suite == "quick"]
    if not values:
        return _needs("quick")
    return _verdict(min(values) >= least), f"{min(values):.1f} to {max(values):.1f} FPS"


def _ptq_time(rows: Sequence[Row]) -> Answer:
    values = [r.figures["quantize_ms"] for r in rows if r.codec == "PTQ" and r.status == "ok"]
    if not values:
        return _needs("quantization")
    return UNKNOWN, f"PTQ {fmean(values):.2f} ms; QAT is not built"


def _not_built(what: str) -> Callable[[Sequence[Row]], Answer]:
    return lambda rows: (UNKNOWN, what)


def _verdict(holds: bool) -> str:
    return HOLDS if holds else FAILS


def _needs(suite: str) -> Answer:
    return UNKNOWN, f"run the suite {suite}"


CLAIMS: tuple[tuple[str, str, Callable[[Sequence[Row]], Answer]], ...] = (
    (
        "encoding takes 88 % less time than GaussianImage's",
        "1.5 s against 13.1 s",
        _not_built("profile not built"),
    ),
    ("encoding is 8 times faster", "0.67 against 0.07 FPS", _not_built("profile not built")),
    ("iterations to 30 dB, superpixels against random", "750 against 8733", _superpixels_against_random),
    ("30.6 dB after 1000 iterations", "30.6 dB", _psnr_at_1000),
    (
        "superpixels need fewer iterations than a regressor",
        "750 against 4000 iterations",
        _not_built("regressor not trained"),
    ),
    ("a P-frame codes N/20 Gaussians", "N/20", _changed_share),
    ("P-frames save 78 % of GaussianImage's bytes", "−78 %", _bits_saved),
    ("PSNR above x264's at low rate", "shown in Fig. 7", _above_x264),
    ("PTQ is a thousand times quicker than QAT", "3.5 ms against 3.5 s", _ptq_time),
    ("encode rate", "0.67 FPS on a GPU", _encode_rate),
    ("decoding in real time", "real time, no figure", _decode_rate),
    ("slow setting level with NeRV", "shown in Fig. 7", _not_built("no NeRV rival in this version")),
)
