"""One codec on one clip at one operating point -> one Row: encode, decode, time, score."""

from __future__ import annotations

import hashlib
import statistics
import time
from collections import deque
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from gscodec.bench import nerv
from gscodec.bench.cache import Cache, Row, code_digest, environment
from gscodec.bench.clips import Clip
from gscodec.bench.ondisk import is_full, on_disk
from gscodec.bench.ours import decode_ours, decode_ours_lap, encode_ours
from gscodec.bench.quality import Scorer
from gscodec.bench.rivals import (
    RIVALS,
    CodedVideo,
    check_rival,
    decode_rival,
    decode_rival_lap,
    encode_rival,
    match_bytes,
    to_yuv,
)
from gscodec.bench.stopwatch import Lap, clocked
from gscodec.config import EncoderConfig
from gscodec.errors import GscodecError
from gscodec.metrics import bits_per_pixel

OURS = "gscodec"
# Figures whose windows or pixels reach beyond the person.
NOT_OVER_BLACK = (
    *("psnr_db", "y_psnr_db", "ms_ssim", "ms_ssim_db"),
    *("roi_ssim", "roi_ms_ssim", "roi_ms_ssim_db"),
)


@dataclass(slots=True)
class Bench:
    """What the measurements of a run share: where files go, and how often timings are repeated."""

    out: Path
    cache: Cache
    suite: str
    gop: int
    repeats: int = 3
    encode_repeats: int = 1  # of this codec's own encoding, the longest part of a run
    backend: str = "auto"
    threads: int = 0
    say: Callable[[str], None] | None = None  # tells how long work gets on

    def files_folder(self) -> Path:
        return self.out / "files"


class Planes:
    """4:2:0 pictures of one clip and protocol, converted when first needed."""

    def __init__(self, clip: Clip, protocol: str) -> None:
        self._clip, self._protocol = clip, protocol
        self._planes: np.ndarray | None = None

    def __call__(self) -> np.ndarray:  # -> uint8 [n, 3/2·H, W]
        if self._planes is None:
            self._planes = on_disk(to_yuv(self._clip.pictures(self._protocol)), self._clip.folder)
        return self._planes


def measure_ours(
    bench: Bench, clip: Clip, protocol: str, config: EncoderConfig, point: str, *, codec: str = OURS
) -> Row:
    """Encode with this codec, decode, score; "failed" with the reason where it raises."""

    def measure(stem: str) -> Row:
        folder = bench.files_folder() / stem
        coded = encode_ours(clip, protocol, config, folder)
        laps = [coded.lap]
        if bench.encode_repeats > 1:  # then the first was the warm-up
            laps = [encode_ours(clip, protocol, config, folder).lap for _ in range(bench.encode_repeats)]
        alone = config.background == "none"
        over_black = alone and config.profile != "default"  # baselines.py says why
        fill = clip.fill if alone and not over_black else None
        kept = _Keeper(bench, clip, stem)
        scorer = Scorer(clip, protocol)
        for pixels in decode_ours(coded.path, bench.backend, bench.threads, fill):
            kept(pixels)
            scorer.add(pixels)
        times = [decode_ours_lap(coded.path, bench.backend, bench.threads) for _ in range(bench.repeats)]
        kinds = coded.facts["frame_types"]
        figures = {
            **_rates(clip, coded.n_bytes),
            **scorer.figures(),
            **_speeds(clip, laps, times),
            "i_bytes": _mean(kinds["I"]),
            "p_bytes": _mean(kinds["P"]),
            "overhead_bytes": coded.facts["overhead_bytes"],
            "n_gaussians": kinds["I"]["coded_gaussians"] / max(1, kinds["I"]["frames"]),
            "p_changed": coded.n_updates / max(1, kinds["P"]["frames"]),
        }
        if over_black:  # only figures of the person's own pixels mean something
            figures |= dict.fromkeys(NOT_OVER_BLACK)
        return _row(bench, clip, protocol, codec, point, config.settings(), figures, kept.name)

    key = _key(bench, clip, protocol, codec, asdict(config)) | {
        "encode_repeats": bench.encode_repeats,
        "code": code_digest(),
        "threads": bench.threads,
        "backend": bench.backend,
    }
    return _guarded(bench, clip, protocol, codec, point, lambda: bench.cache.row(key, measure))


def measure_rival(
    bench: Bench,
    clip: Clip,
    protocol: str,
    name: str,
    planes: Planes,
    *,
    crf: float | None = None,
    n_bytes: int | None = None,
) -> Row:
    """Encode with a rival at a CRF, or at the CRF whose bytes are nearest to `n_bytes`; decode, score."""
    rival = RIVALS[name]

    def measure(stem: str) -> Row:
        check_rival(name)
        note, at = "", crf
        if at is None:
            assert n_bytes is not None
            at, coded = match_bytes(rival, planes(), clip.fps, bench.gop, n_bytes)
            if coded.n_bytes > 1.1 * n_bytes:
                note = "cannot go lower: its coarsest setting"
        else:
            coded = encode_rival(rival, planes(), clip.fps, bench.gop, at)
        encode_times = [
            encode_rival(rival, planes(), clip.fps, bench.gop, at).lap for _ in range(bench.repeats)
        ]
        _write_stream(bench.files_folder() / stem / f"{clip.name}.{name}.bin", coded)
        kept = _Keeper(bench, clip, stem)
        scorer = Scorer(clip, protocol)
        for pixels in decode_rival(rival, coded):
            kept(pixels)
            scorer.add(pixels)
        times = [decode_rival_lap(rival, coded) for _ in range(bench.repeats)]
        figures = {
            **_rates(clip, coded.n_bytes),
            **scorer.figures(),
            **_speeds(clip, encode_times, times),
            "i_bytes": coded.mean_bytes(True),
            "p_bytes": coded.mean_bytes(False),
            "low_delay": rival.low_delay,
        }
        options = {**rival.options, "crf": at, "gop": bench.gop}
        row = _row(bench, clip, protocol, name, f"crf {at:g}", options, figures, kept.name)
        return _with_note(row, note)

    wanted = {"crf": crf} if crf is not None else {"n_bytes": n_bytes}
    options = {"encoder": rival.encoder, "dropped": rival.dropped, **rival.options, **wanted}
    key = _key(bench, clip, protocol, name, options) | {"av": dict(environment())["av"]}
    return _guarded(bench, clip, protocol, name, "", lambda: bench.cache.row(key, measure))


def measure_nerv(bench: Bench, clip: Clip, protocol: str, channels: int, epochs: int) -> Row:
    """Train a network of this width on the clip, write it, draw from the file, score."""
    options = {"channels": channels, "epochs": epochs}
    point = f"width {channels}"

    def measure(stem: str) -> Row:
        shape = nerv.NervShape(len(clip.frames), clip.height, clip.width, channels)
        path = bench.files_folder() / stem / f"{clip.name}.nerv"
        path.parent.mkdir(parents=True, exist_ok=True)
        net, lap = clocked(lambda: nerv.train(shape, lambda i: clip.picture(i, protocol), epochs, bench.say))
        n_bytes = nerv.write(path, shape, net)
        kept, scorer = _Keeper(bench, clip, stem), Scorer(clip, protocol)
        for pixels in nerv.pictures(*nerv.read(path)):
            kept(pixels)
            scorer.add(pixels)
        times = [
            clocked(lambda: deque(nerv.pictures(*nerv.read(path)), maxlen=0))[1] for _ in range(bench.repeats)
        ]
        figures = {**_rates(clip, n_bytes), **scorer.figures(), **_speeds(clip, [lap], times)}
        return _row(bench, clip, protocol, nerv.NERV, point, options, figures, kept.name)

    key = _key(bench, clip, protocol, nerv.NERV, options) | {"code": nerv_digest()}
    return _guarded(bench, clip, protocol, nerv.NERV, point, lambda: bench.cache.row(key, measure))


def nerv_digest() -> str:
    return hashlib.sha256(Path(nerv.__file__).read_bytes()).hexdigest()[:12]


def measure_figures(
    bench: Bench,
    clip: Clip,
    codec: str,
    point: str,
    options: dict[str, Any],
    compute: Callable[[], dict[str, Any]],
    *,
    protocol: str = "",
) -> Row:
    """A row of figures that are computed in memory, cached like the others."""
    key = _key(bench, clip, protocol, codec, options) | {"code": code_digest(), "point": point}

    def measure(stem: str) -> Row:
        return _row(bench, clip, protocol, codec, point, options, compute(), "")

    return _guarded(bench, clip, protocol, codec, point, lambda: bench.cache.row(key, measure))


def spread(values: list[float]) -> float | None:
    """Half the range of repeated timings over their median; None of a single one."""
    middle = statistics.median(values)
    return (max(values) - min(values)) / 2 / middle if len(values) > 1 and middle else None


def timed(function: Callable[[], Any], repeats: int, *, warm_up: int = 1) -> tuple[float, float | None]:
    """Median seconds of repeated calls after a warm-up, and their spread."""
    for _ in range(warm_up):
        function()
    times = []
    for _ in range(repeats):
        began = time.perf_counter()
        function()
        times.append(time.perf_counter() - began)
    return statistics.median(times), spread(times)


def shown_frame(clip: Clip) -> int:
    """Index of the frame that reports show: two thirds in, far from an I-frame in most clips."""
    return len(clip.frames) * 2 // 3


class _Keeper:
    """Writes one decoded frame as a PNG for the report."""

    def __init__(self, bench: Bench, clip: Clip, stem: str) -> None:
        self._wanted, self._n = shown_frame(clip), 0
        self._path = bench.cache.folder / f"{stem}.png"
        self.name = str(self._path.relative_to(bench.out))

    def __call__(self, pixels: np.ndarray) -> None:
        if self._n == self._wanted:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(self._path), pixels[:, :, ::-1])
        self._n += 1


def _keep_original(bench: Bench, clip: Clip, protocol: str) -> str:
    i = shown_frame(clip)
    number = clip.chosen[i] if clip.chosen else i
    path = (
        bench.cache.folder / f"original-{clip.sha256[:12]}-{clip.width}x{clip.height}-{number}-{protocol}.png"
    )
    if not path.is_file():
        path.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(path), clip.picture(i, protocol)[:, :, ::-1])
    return str(path.relative_to(bench.out))


def _key(bench: Bench, clip: Clip, protocol: str, codec: str, options: dict[str, Any]) -> dict[str, Any]:
    return {
        "suite": bench.suite,
        "clip": [clip.name, clip.sha256, clip.width, clip.height, len(clip.frames), clip.matte, *clip.chosen],
        "protocol": protocol,
        "codec": codec,
        "gop": bench.gop,
        "options": options,
        "machine": dict(environment())["cpu"],
    }


def _rates(clip: Clip, n_bytes: int) -> dict[str, Any]:
    return {
        "n_frames": len(clip.frames),
        "motion": clip.motion,
        "width": clip.width,
        "height": clip.height,
        "n_bytes": n_bytes,
        "kbit_per_s": n_bytes * 8e-3 / clip.duration_s,
        "bpp": bits_per_pixel(n_bytes, clip.width, clip.height, len(clip.frames)),
    }


def _speeds(clip: Clip, encode: list[Lap], decode: list[Lap]) -> dict[str, float | None]:
    n = len(clip.frames)
    figures: dict[str, float | None] = {}
    for name, laps in (("encode", encode), ("decode", decode)):
        wall = [lap.wall_s for lap in laps]
        figures[f"{name}_fps"] = n / statistics.median(wall)
        figures[f"{name}_spread"] = spread(wall)
        figures[f"{name}_cpu_ms"] = 1e3 * statistics.median(lap.cpu_s for lap in laps) / n
    return figures


def _row(
    bench: Bench,
    clip: Clip,
    protocol: str,
    codec: str,
    point: str,
    options: dict[str, Any],
    figures: dict[str, Any],
    picture: str,
) -> Row:
    return Row(
        suite=bench.suite,
        clip=clip.name,
        codec=codec,
        point=point,
        protocol=protocol,
        clip_sha256=clip.sha256,
        options=options,
        figures=figures,
        environment=dict(environment()) | {"date": time.strftime("%Y-%m-%dT%H:%M:%S")},
        picture=picture,
        original=_keep_original(bench, clip, protocol) if picture else "",
        matte=clip.matte,
    )


def _with_note(row: Row, note: str) -> Row:
    return replace(row, note=note) if note else row


def _guarded(
    bench: Bench, clip: Clip, protocol: str, codec: str, point: str, measure: Callable[[], Row]
) -> Row:
    """The row, or one that says why there is none; the run goes on."""
    try:
        return measure()
    except GscodecError as error:
        if is_full(error):
            raise
        return Row(bench.suite, clip.name, codec, point, protocol, "failed", str(error), clip.sha256)


def _write_stream(path: Path, coded: CodedVideo) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"".join(coded.payloads))


def _mean(kind: dict[str, int]) -> float | None:
    return kind["bytes"] / kind["frames"] if kind["frames"] else None
