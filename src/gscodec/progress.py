"""What a person sees of a run: progress on stderr, the line at its end, and `gscodec info` as text.

Nothing here computes: the figures come from `tally.Tally` and `inspection.inspect_file`.
"""

from __future__ import annotations

import json
import os
import sys
import time
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from gscodec.tally import Tally

MODES = ("auto", "bar", "lines", "json", "none")  # auto: a bar where stderr is a terminal, else nothing
LINE_EVERY_S = 2.0


def make_progress(mode: str) -> Progress:
    """Make the display called `mode` (one of MODES)."""
    if mode == "auto":
        mode = "bar" if sys.stderr is not None and sys.stderr.isatty() else "none"
    if sys.stderr is None:  # closed; what is printed there would go to standard output
        mode = "none"
    return {"bar": Bar, "lines": Lines, "json": JsonLines, "none": Progress}[mode]()


class Progress:
    """Shows nothing; call it with the Tally after every frame. The other displays are of this shape."""

    def __init__(self) -> None:
        self.total: int | None = (
            None  # expected frames, None when the file does not say; set before frames come
        )

    def __call__(self, tally: Tally) -> None:
        """Show the state after one more frame."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Leave the terminal clean; a second call does nothing."""


class Bar(Progress):
    """A bar that is gone at the end."""

    _FORMAT = "{percentage:3.0f}% |{bar}| {n_fmt}/{total_fmt} frames, {desc}, ETA {remaining}"
    _FORMAT_WITHOUT_TOTAL = "{n_fmt} frames, {desc}, {elapsed}"

    def __init__(self) -> None:
        super().__init__()
        self._bar: Any = None

    def __call__(self, tally: Tally) -> None:
        if self._bar is None:
            from tqdm import tqdm  # loads slowly

            tqdm.monitor_interval = 0  # no thread of its own
            form = self._FORMAT if self.total else self._FORMAT_WITHOUT_TOTAL
            columns = min(_terminal_columns(), 110)
            self._bar = tqdm(
                total=self.total,
                bar_format=form,
                leave=False,
                delay=1e-9,
                smoothing=0,
                ncols=columns,
                file=sys.stderr,
            )
        self._bar.set_description_str(figures(tally), refresh=False)
        self._bar.update(tally.n_frames - self._bar.n)

    def close(self) -> None:
        """Remove the bar."""
        if self._bar is not None:
            self._bar.close()


class Lines(Progress):
    """A line every two seconds, for logs."""

    def __init__(self) -> None:
        super().__init__()
        self._last = time.perf_counter()

    def __call__(self, tally: Tally) -> None:
        now = time.perf_counter()
        if now - self._last < LINE_EVERY_S:
            return
        self._last = now
        frames, eta = f"{tally.n_frames} frames", ""
        if self.total:
            frames = f"{tally.n_frames}/{self.total} frames"
            if tally.fps:
                eta = f", ETA {max(0, self.total - tally.n_frames) / tally.fps:.0f} s"
        print(f"{frames}, {figures(tally)}{eta}", file=sys.stderr, flush=True)


class JsonLines(Progress):
    """One JSON object per frame, for programs that drive this one."""

    def __call__(self, tally: Tally) -> None:
        print(json.dumps({"total": self.total, **tally.as_dict()}), file=sys.stderr, flush=True)


def figures(tally: Tally) -> str:
    """Speed, rate and quality so far, as far as the run has them."""
    if tally.n_trials and not tally.n_frames:
        return f"looking for the crf, {_count(tally.n_trials, 'frame')} tried"
    parts = [f"{tally.fps:.1f} FPS"]
    if tally.samples:  # it encodes
        parts += [f"{tally.kbit_per_s:.1f} kb/s", f"ROI-PSNR {tally.roi_psnr_db:.2f} dB"]
    return ", ".join(parts)


def summary(target: str, tally: Tally) -> str:
    """The one line at the end of a run."""
    parts = [f"{target}: {_count(tally.n_frames, 'frame')}"]
    if tally.duration_s:
        parts.append(f"{tally.duration_s:.2f} s")
    if tally.samples:
        parts.append(format_bytes(tally.n_bytes) + _share_of_sound(tally))
    parts.append(figures(tally))
    if tally.samples:
        parts.append(f"PSNR {tally.psnr_db:.2f} dB")
    if tally.roi:
        parts.append(f"ROI {tally.roi}")
    if tally.latencies_s:
        p99, worst = tally.latency_ms(99), tally.latency_ms(100)
        parts.append(f"{tally.n_late} late, latency p99 {p99:.0f} ms, worst {worst:.0f} ms")
    return ", ".join(parts)


def _share_of_sound(tally: Tally) -> str:
    """What is worth a word only where most of a file is not video."""
    if 2 * tally.n_audio_bytes <= tally.n_bytes:
        return ""
    return f" ({100 * tally.n_audio_bytes / tally.n_bytes:.0f} % sound)"


def source_line(path: str, video: Any, side_streams: Any) -> str:
    """What is in a source that was just opened; `video` is a VideoFormat."""
    rate = f"{float(video.frame_rate):.5g} FPS" if video.frame_rate else "unknown FPS"
    others = ", ".join(f"{s.kind} {s.codec}" for s in side_streams) or "no other streams"
    return f"{path}: {video.width}x{video.height}, {rate}, time base {video.time_base} s, {others}"


def describe(path: str, facts: dict[str, Any]) -> str:
    """`inspect_file`'s facts for a person, one line per stream and frame type."""
    duration_s = facts["duration_s"]
    rate = f", {facts['file_bytes'] * 8e-3 / duration_s:.1f} kb/s" if duration_s else ""
    lines = [
        f"{path}: .gsv {facts['version']}, {format_bytes(facts['file_bytes'])}, {duration_s:.2f} s{rate}",
        f"  video      {facts['width']}x{facts['height']}{_shape(facts['sample_aspect_ratio'])}, "
        f"{_rate(facts['frame_rate'])}, {_count(facts['frames'], 'frame')} in "
        f"{_count(facts['gops'], 'GOP')}, "
        f"profile {facts['profile']}, blend {facts['blend']}, entropy {facts['entropy']}, "
        f"quality {facts['quality']:g}, background {facts['background']}",
    ]
    for kind, row in facts["frame_types"].items():
        if row["frames"]:
            mean_bytes, mean_coded = row["bytes"] / row["frames"], row["coded_gaussians"] / row["frames"]
            verb = "Gaussians" if kind == "I" else "Gaussians changed"
            lines.append(
                f"  {kind}-frames   {row['frames']}, {format_bytes(row['bytes'])}; "
                f"each {mean_bytes:.0f} B, {mean_coded:.0f} {verb}"
            )
    for stream in facts["side_streams"]:
        packets = _count(stream["packets"], "packet")
        lines.append(f"  {stream['kind']:<10} {stream['codec']}, {packets}, {format_bytes(stream['bytes'])}")
    lines.append(f"  overhead   {format_bytes(facts['overhead_bytes'])} of headers, check sums and index")
    lines += [f"  {key:<10} {_one_line(value)}" for key, value in facts["metadata"].items()]
    for kind, spent in facts.get("bits", {}).items():
        n = facts["frame_types"][kind]["coded_gaussians"]
        if n:
            lines.append(f"  {kind}-frames   {sum(spent.values()) / n:.2f} bits a coded Gaussian, of which")
            lines += [f"    {name:<12} {bits / n:6.2f}" for name, bits in spent.items()]
    return "\n".join(lines)


def format_bytes(n_bytes: int) -> str:
    """A size in bytes, kB or MB (powers of ten, like kb/s)."""
    if n_bytes < 10_000:
        return f"{n_bytes} B"
    return f"{n_bytes / 1e3:.1f} kB" if n_bytes < 1e7 else f"{n_bytes / 1e6:.1f} MB"


def _terminal_columns() -> int:
    try:
        return os.get_terminal_size(sys.stderr.fileno()).columns or 80  # some terminals say 0
    except (OSError, ValueError):
        return 80


def _count(n: int, noun: str) -> str:
    return f"{n} {noun}" if n == 1 else f"{n} {noun}s"


def _rate(fraction: str) -> str:
    numerator, _, denominator = fraction.partition("/")
    return f"{int(numerator) / int(denominator or 1):.5g} FPS" if int(numerator) else "unknown FPS"


def _shape(ratio: str) -> str:
    return "" if ratio == "1" else f" of {ratio.replace('/', ':')} pixels"


def _one_line(text: str) -> str:
    return "".join(c if c.isprintable() else " " for c in text)
