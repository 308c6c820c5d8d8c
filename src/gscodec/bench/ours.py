"""This codec as the benchmark runs it: real files, through the functions of `gscodec encode` and `decode`."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from gscodec.bench.clips import EXACT, Clip, write_raw
from gscodec.bench.stopwatch import Lap, clocked
from gscodec.config import EncoderConfig
from gscodec.container.container import GsvReader
from gscodec.decode.decoder import Decoder
from gscodec.inspection import inspect_file
from gscodec.transcode import encode_file


@dataclass(frozen=True, slots=True)
class CodedFile:
    """A .gsv on disk and what making it took."""

    path: Path
    lap: Lap
    facts: dict[str, Any]  # of inspect_file
    n_updates: int  # Gaussians that P-frames code

    @property
    def n_bytes(self) -> int:
        """Of the whole file, less the payloads of sound and subtitles."""
        return int(self.facts["file_bytes"]) - sum(s["bytes"] for s in self.facts["side_streams"])


def encode_ours(clip: Clip, protocol: str, config: EncoderConfig, folder: Path) -> CodedFile:
    """Encode a clip to FOLDER/<clip>.gsv.

    "whole" reads the clip's own file and mattes it with `config.roi`, as a person's command does; the time
    includes both. "masked", and clips without a file, are read uncompressed. The clip's mattes, which it is
    scored over, are the region of interest of "masked" alone, and of the drawn clip, which knows its person.
    """
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / f"{clip.name}.gsv"
    if protocol == "whole" and clip.path is not None:
        n_frames = len(clip.frames)
        encode = partial(encode_file, clip.path, target, config, size=clip.size, max_frames=n_frames)
        tally, lap = clocked(encode)
    else:
        pictures, mattes = write_raw(clip, protocol, folder)
        try:
            if protocol == "masked" or clip.matte == EXACT:
                config = replace(config, roi=str(mattes))
            tally, lap = clocked(lambda: encode_file(pictures, target, config))
        finally:
            pictures.unlink()
            mattes.unlink()
    return CodedFile(target, lap, inspect_file(target), tally.n_updates)


def decode_ours(
    path: Path, backend: str, threads: int, fill: tuple[int, int, int] | None = None
) -> Iterator[np.ndarray]:
    """Decode a .gsv to its pictures.

    Args:
        fill: draw the person alone over this R'G'B' colour.
    """
    color = None if fill is None else np.array(fill, np.float32) / 255
    with GsvReader(path) as reader:
        decoder = Decoder(reader.sequence, backend=backend, threads=threads, background=color)
        for packet in decoder.frames(reader):
            if packet.frame_type is not None:
                yield decoder.render()


def decode_ours_lap(path: Path, backend: str, threads: int) -> Lap:
    """Time from the file to pixels in memory, opening it included."""
    return clocked(lambda: deque(decode_ours(path, backend, threads), maxlen=0))[1]
