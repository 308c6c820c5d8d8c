"""What is in a .gsv: `gscodec info`."""

from __future__ import annotations

import os
from typing import Any

from gscodec.coding.adaptive import AdaptiveCoder
from gscodec.config import DecoderLimits
from gscodec.container.container import GsvReader
from gscodec.container.headers import FrameType
from gscodec.decode.decoder import check_sequence, video_format
from gscodec.decode.profile import AnyState, make_profile_coder


def inspect_file(
    source: str | os.PathLike[str], limits: DecoderLimits | None = None, *, bits: bool = False
) -> dict[str, Any]:
    """What a .gsv holds, decoded but not drawn: streams, size, GOPs, Gaussians, bytes per frame type.

    Args:
        bits: add, per frame type, the bits that each of the adaptive coder's streams took.

    Raises:
        BitstreamError: the file is damaged; `MediaError`: it cannot be opened.
    """
    limits = limits or DecoderLimits()
    with GsvReader(source, limits) as reader:
        sequence = check_sequence(reader.sequence, limits)
        coder = make_profile_coder(
            sequence.profile, sequence.entropy, (sequence.width, sequence.height), sequence.blend
        )
        meter = coder if bits and isinstance(coder, AdaptiveCoder) else None
        spent: dict[str, dict[str, float]] = {"I": {}, "P": {}, "B": {}}
        if meter:
            meter.take_bits()
        state: AnyState | None = None
        video = video_format(reader)
        frames = {kind: {"frames": 0, "bytes": 0, "coded_gaussians": 0} for kind in ("I", "P", "B")}
        side: list[dict[str, Any]] = [
            {"kind": s.kind, "codec": s.codec, "packets": 0, "bytes": 0} for s in reader.streams[1:]
        ]
        first_pts = last_pts = None
        n_recovery_points = 0
        for p in reader:
            if p.frame_type is None:
                side[p.stream - 1]["packets"] += 1
                side[p.stream - 1]["bytes"] += len(p.payload)
                continue
            kind = {FrameType.I: "I", FrameType.B: "B"}.get(p.frame_type, "P")
            row = frames[kind]
            n_recovery_points += p.is_recovery
            row["frames"] += 1
            row["bytes"] += len(p.payload)
            first_pts = p.pts if first_pts is None else first_pts
            last_pts = p.pts + (p.duration or 0)
            if p.is_bframe:
                continue
            if p.frame_type == FrameType.I or state is None:  # the reader lets no P-frame come first
                state = coder.unpack_iframe(p.payload, sequence.quality, limits.max_gaussians)
                row["coded_gaussians"] += len(state)
            else:
                reference, state = state, coder.unpack_pframe(p.payload, state)
                if isinstance(coder, AdaptiveCoder):  # its motion moves Gaussians without coding them
                    row["coded_gaussians"] += coder.n_changed
                else:
                    row["coded_gaussians"] += int((state.symbols != reference.symbols).any(axis=1).sum())
            if meter:
                total = spent[kind]
                for stream, n_bits in meter.take_bits().items():
                    if n_bits:
                        total[stream] = total.get(stream, 0.0) + n_bits
        n_frames = sum(row["frames"] for row in frames.values())
        n_bytes = max(reader.offset, os.stat(source).st_size)  # a pipe has no size
        duration_s = float(((last_pts or 0) - (first_pts or 0)) * video.time_base) if n_frames else 0.0
        payload = frames["I"]["bytes"] + frames["P"]["bytes"] + sum(s["bytes"] for s in side)
        return {
            "file_bytes": n_bytes,
            "overhead_bytes": n_bytes - payload,
            "version": "{}.{}".format(*reader.version),
            "width": video.width,
            "height": video.height,
            "frame_rate": str(video.frame_rate),
            "time_base": str(video.time_base),
            "sample_aspect_ratio": str(video.sample_aspect_ratio),
            "duration_s": round(duration_s, 6),
            "frames": n_frames,
            "gops": frames["I"]["frames"],
            "recovery_points": n_recovery_points,
            "profile": sequence.profile,
            "blend": sequence.blend,
            "entropy": sequence.entropy,
            "quality": sequence.quality,
            "hold": sequence.hold,
            "background": "hybrid" if reader.has_room else sequence.background,
            "frame_types": frames,
            "side_streams": side,
            "metadata": dict(reader.metadata),
        } | ({"bits": spent} if meter else {})
