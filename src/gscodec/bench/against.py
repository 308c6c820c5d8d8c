"""What moved between two runs by more than the noise: `gscodec bench quick --against old.json`."""

from __future__ import annotations

from collections.abc import Sequence

from gscodec.bench.cache import Row

# Figure -> (relative, absolute) difference that may be noise. Bytes and dB repeat exactly on one machine
# as long as the code is the same; times are those of a machine that also does other things.
NOISE: dict[str, tuple[float, float]] = {
    "roi_psnr_db": (0.0, 0.02),
    "psnr_db": (0.0, 0.02),
    "n_bytes": (0.005, 0.0),
    "flicker": (0.03, 0.02),
    "encode_fps": (0.15, 0.0),
    "decode_fps": (0.15, 0.0),
}
LESS_IS_BETTER = ("n_bytes", "flicker")


def compare(before: Sequence[Row], after: Sequence[Row]) -> list[str]:
    """One line per figure that moved, and per row that came or went; "nothing moved" where none did."""
    old = {_identity(row): row for row in before}
    new = {_identity(row): row for row in after}
    lines = []
    for key in new.keys() & old.keys():
        lines += _moved(old[key], new[key])
    lines.sort()
    lines += [f"new: {_name(new[key])}" for key in new if key not in old]
    lines += [f"gone: {_name(old[key])}" for key in old if key not in new]
    lines += _other_mattes(before, after)
    if old and new:
        machines = [next(iter(rows.values())).environment.get("cpu", "?") for rows in (old, new)]
        if machines[0] != machines[1]:
            lines.append(f"the machines differ ({machines[0]}, {machines[1]}): times cannot be compared")
    return lines or ["nothing moved by more than the noise"]


def _other_mattes(before: Sequence[Row], after: Sequence[Row]) -> list[str]:
    """A line per clip whose person is another one now; rows of older versions do not say."""
    mattes = [{row.clip: row.matte for row in rows if row.matte} for rows in (before, after)]
    return [
        f"{clip}: the mattes differ ({mattes[0][clip]}; {matte}): ROI figures cannot be compared"
        for clip, matte in mattes[1].items()
        if mattes[0].get(clip, matte) != matte
    ]


def _moved(old: Row, new: Row) -> list[str]:
    if old.status != new.status:
        return [f"{_name(new)}: {old.status} -> {new.status} {new.note}".rstrip()]
    lines = []
    for name, (relative, absolute) in NOISE.items():
        a, b = old.figures.get(name), new.figures.get(name)
        if a is None or b is None:
            continue
        noise = new.figures.get(name.replace("_fps", "_spread")) if name.endswith("_fps") else None
        if abs(b - a) > max(absolute, relative * abs(a), abs(a) * (noise or 0)):
            better = (b < a) == (name in LESS_IS_BETTER)
            change = (
                f" ({(b / a - 1) * 100:+.1f} %)" if a and not name.endswith("_db") else f" ({b - a:+.2f})"
            )
            lines.append(
                f"{_name(new)}: {name} {a:.6g} -> {b:.6g}{change}, {'better' if better else 'worse'}"
            )
    return lines


def _identity(row: Row) -> tuple[str, ...]:
    # A rival's point follows ours where bytes are matched, so it is no part of what a row is there.
    point = "" if row.suite == "quick" else row.point
    return row.suite, row.clip, row.protocol, row.codec, point


def _name(row: Row) -> str:
    return " ".join(part for part in (row.clip, row.protocol, row.codec, row.point) if part)
