"""Figures of a run: what the progress line, the summary and --json show."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from gscodec.metrics import psnr_db


@dataclass(slots=True)
class Tally:
    """Figures of a run so far; what the progress line and the summary show."""

    n_frames: int = 0
    n_iframes: int = 0
    n_bframes: int = 0
    n_bytes: int = 0  # of the whole .gsv
    n_video_bytes: int = 0
    n_audio_bytes: int = 0
    n_gaussians: int = 0  # live in the last frame
    n_trials: int = 0  # frames encoded only to find the crf of a --bitrate or --target-psnr
    n_updates: int = 0  # Gaussians that P-frames code; not those that only a mesh moves
    iterations: int = 0
    seconds: float = 0.0
    duration_s: float = 0.0  # of the clip
    roi_error: float = 0.0
    roi_samples: int = 0
    error: float = 0.0
    samples: int = 0
    latencies_s: list[float] = field(default_factory=list)  # of each frame, where there is a deadline
    n_late: int = 0  # frames that took longer than it
    roi: str = ""  # the mode that was used
    backend: str = ""  # that was used
    warnings: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)  # what somebody must know to read the target

    @property
    def roi_psnr_db(self) -> float:
        return psnr_db(self.roi_error, self.roi_samples)

    @property
    def psnr_db(self) -> float:
        return psnr_db(self.error, self.samples)

    @property
    def fps(self) -> float:
        return self.n_frames / self.seconds if self.seconds else 0.0

    @property
    def kbit_per_s(self) -> float:
        return self.n_bytes * 8e-3 / self.duration_s if self.duration_s else 0.0

    def latency_ms(self, percent: float) -> float:
        """Percentile of the frames' encoding times, ms."""
        return float(np.percentile(self.latencies_s, percent)) * 1e3

    def as_dict(self) -> dict[str, Any]:
        """For --json: the fields and the derived figures."""
        hidden = {"roi_error", "roi_samples", "error", "samples", "latencies_s"}
        plain = {k: v for k, v in asdict(self).items() if k not in hidden}
        derived = {"fps": self.fps, "kbit_per_s": self.kbit_per_s}
        if self.latencies_s:
            derived |= {"latency_p99_ms": self.latency_ms(99), "latency_worst_ms": self.latency_ms(100)}
        if self.samples:
            derived |= {"roi_psnr_db": self.roi_psnr_db, "psnr_db": self.psnr_db}
        return plain | {k: round(v, 4) for k, v in derived.items()}
