"""Add conformance vectors: small .gsv files and what decoding them must give.

A vector is proof that a file of its day can still be read, so one that exists is never changed, not even when
today's encoder would write other bytes. Describe a new one in VECTORS, then

    python tools/make_vectors.py

writes what is new: the file, its entry in vectors.json, and a line in hashes.txt that holds both still.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import json
import sys
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from gscodec.coding.adaptive import AdaptiveCoder, Motion, renewed
from gscodec.coding.quantize import (
    MAX_ENERGY_CLASS,
    MAX_SIZE_CLASS,
    State,
    affine_arrays,
    canonical_order,
    take,
)
from gscodec.config import QUALITY_ONE, EncoderConfig
from gscodec.container.container import GsvReader, GsvWriter, Packet, Stream
from gscodec.container.headers import (
    BACKGROUND_CODES,
    BLEND_CODES,
    ENTROPY_CODES,
    PROFILE_CODES,
    SEQUENCE_HEADER,
    FrameType,
    pack,
)
from gscodec.decode.decoder import Decoder
from gscodec.encoders import make_encoder
from gscodec.hybrid import RoomKeeper
from gscodec.splat.raster import make_rasterizer
from gscodec.video.frame import SidePacket, VideoFormat
from gscodec.video.room import RoomEncoder

FOLDER = Path(__file__).parents[1] / "tests" / "conformance"
WIDTH, HEIGHT, N_FRAMES, GOP = 80, 72, 6, 4
BFRAMES = (1, 4)  # of a clip that is one GOP
MAX_BYTES = 6000

# Name -> settings of an encoder; "extremes" and "births" are made of states no encoder would choose.
VECTORS: dict[str, dict[str, Any]] = {
    "adaptive-coarse": {"entropy": "adaptive", "background": "coarse"},
    "hold-coarse": {"entropy": "adaptive", "background": "coarse", "hold": 9},
    "adaptive-none": {"entropy": "adaptive", "background": "none", "update": "refit"},
    "ans-coarse": {"entropy": "ans", "background": "coarse"},
    "zstd-none": {"entropy": "zstd", "background": "none"},
    "bits-back-coarse": {"entropy": "bits-back", "background": "coarse"},
    "paper-coarse": {
        "profile": "paper",
        "entropy": "bits-back",
        "background": "coarse",
        "quantization": "qat",
    },
    "paper-zstd": {"profile": "paper", "entropy": "zstd", "background": "none"},
    "gaussianimage-none": {"profile": "gaussianimage", "entropy": "ans", "background": "none"},
    "normalised-coarse": {"blend": "normalised", "hold": 2},
    "normalised-none": {"blend": "normalised", "background": "none"},
    "recovery-coarse": {"blend": "normalised", "hold": 9, "open_gop": True},
    "bframes-coarse": {"blend": "normalised", "hold": 9, "b_frames": True},
    "hybrid-coarse": {"blend": "normalised", "hold": 2, "background": "hybrid"},
    "extremes": {"entropy": "adaptive"},
    "births": {"entropy": "adaptive"},
}


def clip() -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """A textured disc crosses a room that shakes a little: pixels and matte of each frame."""
    y, x = np.mgrid[:HEIGHT, :WIDTH] + 0.5
    for i in range(N_FRAMES):
        shake = (0, 2, 3, 1, -2, -4)[i]
        room = 90 + 60 * np.sin((x - shake) / 7) * np.cos(y / 9)
        center_x = 24 + 6 * i
        inside = np.hypot(x - center_x, y - 36) < 22
        face = 170 + 50 * np.sin((x - center_x) / 5) + 30 * np.cos(y / 4)
        picture = np.where(inside, face, room)[..., None] * [1.0, 0.85, 0.7]
        matte = np.clip(22.5 - np.hypot(x - center_x, y - 36), 0, 1)
        yield np.clip(picture, 0, 255).astype(np.uint8), matte.astype(np.float32)


def encoded(settings: dict[str, Any]) -> tuple[dict[str, Any], list[tuple[bytes, FrameType]]]:
    """Header fields and packets of an encoder's work."""
    config = EncoderConfig(
        gaussians=90, quality=0.8, iterations=60, p_iterations=10, **{"hold": 0, "blend": "sum", **settings}
    )
    raster = make_rasterizer("cpu", WIDTH, HEIGHT, 1, blend=config.blend_used)
    encoder = make_encoder(config, raster)
    packets = []
    for i, (pixels, matte) in enumerate(clip()):
        if config.b_frames and i in BFRAMES:  # whatever the encoder would think of it
            packets.append((b"", FrameType.B))
            continue
        due = FrameType.RECOVERY if i and config.open_gop else FrameType.I
        is_pframe = i % (N_FRAMES if config.b_frames else GOP)
        frame = encoder.encode(pixels, matte, FrameType.P if is_pframe else due)
        packets.append((frame.payload, frame.frame_type))
    assert encoder.state is not None
    quality = getattr(encoder.state, "quality", 1.0)  # the other profiles have none
    header = {"quality_q8": round(quality * QUALITY_ONE), "profile": PROFILE_CODES.index(config.profile)}
    header["blend"] = BLEND_CODES.index(config.blend_used)
    header["background"] = BACKGROUND_CODES.index("none" if config.background == "none" else "coarse")
    return header | {"entropy": ENTROPY_CODES.index(config.entropy), "hold": config.hold}, packets


def room_packets() -> list[SidePacket]:
    """The clip's room without the disc, as AV1."""
    encoder, keeper = RoomEncoder(VideoFormat(WIDTH, HEIGHT, Fraction(1, 25), Fraction(25))), RoomKeeper()
    if encoder.codec != "av1":
        sys.exit("this FFmpeg has no libsvtav1")
    packets = []
    for i, (pixels, matte) in enumerate(clip()):
        room = keeper.without_people(pixels, (255 * matte).astype(np.uint8))
        packets += encoder.encode(room, i, 0)
    return packets + encoder.encode(None, 0, 0)


def extremes(births: bool) -> tuple[dict[str, Any], list[tuple[bytes, FrameType]]]:
    """Symbols and classes from end to end, motion of person and room, empty frames.

    Args:
        births: three P-frames renew the state: some Gaussians go dark and leave, 0 to 15 are born. Without
            them the file is as of version 0.1.0.
    """
    rng, size = np.random.default_rng(2 if births else 1), (WIDTH, HEIGHT)
    state = extreme_state(rng, size, 20 if births else 40)
    coder = AdaptiveCoder(size, is_older=not births)
    packets = [(coder.pack_iframe(state), FrameType.I)]
    for i in range(N_FRAMES - 1):
        motion = Motion(rng.integers(-120, 121, (3, 3, 2), np.int32), i == 3) if i in (1, 3) else None
        base = coder.moved(motion, state.quality) if motion else state
        n = len(base)
        after = base.copy()
        *_, low, high = affine_arrays(base, size)
        delta = np.rint(rng.laplace(0, 40, (n, 8))) * (rng.random((n, 8)) < (0, 0.3, 0.05, 0.9, 0.1)[i])
        after.symbols = np.clip(base.symbols + delta, low, high).astype(np.int32)
        born = None
        if births and i in (0, 2, 3):
            after.symbols[rng.random(n) < 0.2, 5:] = 0
            born = extreme_state(rng, size, (15, 0, 0, 6)[i])
        packets.append((coder.pack_pframe(state, after, motion, born), FrameType.P))
        state = after if born is None else renewed(after, born)
    coder_name = "adaptive" if births else "adaptive-0.1.0"
    header = {"quality_q8": QUALITY_ONE // 2, "entropy": ENTROPY_CODES.index(coder_name)}
    return header, packets


def extreme_state(rng: np.random.Generator, size: tuple[int, int], n: int) -> State:
    """Symbols and classes from end to end, in canonical order."""
    k = rng.integers(0, MAX_SIZE_CLASS + 1, n, np.int32)
    e = rng.integers(0, MAX_ENERGY_CLASS + 1, n, np.int32)
    symbols = np.zeros((n, 8), np.int32)
    state = State(symbols, k, e, rng.random(n) < 0.4, 0.5)
    _, _, low, high = affine_arrays(state, size)
    wide = low + (rng.random((n, 8)) * (high.astype(np.int64) - low + 1)).astype(np.int64)
    near = np.clip(np.rint(rng.normal(0, 20, (n, 8))), low, high)
    near[:, :2] = wide[:, :2]
    state.symbols = np.where(rng.random((n, 8)) < 0.1, wide, near).astype(np.int32)
    return take(state, canonical_order(state))


def make_file(name: str) -> bytes:
    """The bytes of a vector."""
    fields, packets = extremes(name == "births") if name in ("extremes", "births") else encoded(VECTORS[name])
    header = {field.name: field.low for field in SEQUENCE_HEADER} | fields
    header |= {"width": WIDTH, "height": HEIGHT, "frame_rate_num": 25}
    video = Stream("video", "gsv", Fraction(1, 25), pack(SEQUENCE_HEADER, header), 1)
    file = io.BytesIO()
    kinds = [kind for _, kind in packets]
    streams, room = [video], room_packets() if VECTORS[name].get("background") == "hybrid" else []
    if room:
        streams.append(Stream("data", "av1", Fraction(1, 25), b"", 1))
    with GsvWriter(file, streams, {"title": name}, b_frames=FrameType.B in kinds, room=bool(room)) as writer:
        for i, (payload, kind) in enumerate(packets):
            if room:
                writer.write(Packet(1, i, room[i].is_keyframe, room[i].payload, 1))
            is_recovery, is_bframe = kind == FrameType.RECOVERY, kind == FrameType.B
            is_key = kind == FrameType.I
            writer.write(Packet(0, i, is_key, payload, 1, is_recovery=is_recovery, is_bframe=is_bframe))
    return file.getvalue()


def hashes(data: bytes) -> dict[str, Any]:
    """What vectors.json holds of a file: check sums of it and, per frame, of its parameters and flags."""
    frames = []
    with GsvReader(io.BytesIO(data)) as reader:
        decoder = Decoder(reader.sequence, backend="cpu", threads=1)
        for packet in decoder.frames(reader):
            if packet.frame_type is None:
                continue
            gaussians = decoder.gaussians
            state = gaussians.params.astype("<f4").tobytes() + gaussians.is_room.astype("u1").tobytes()
            frames.append(
                {
                    "type": packet.frame_type.name,
                    "n_gaussians": len(gaussians),
                    "sha256": hashlib.sha256(state).hexdigest(),
                }
            )
    return {"sha256": hashlib.sha256(data).hexdigest(), "frames": frames}


def entry_hash(entry: dict[str, Any]) -> str:
    """Of an entry of vectors.json, however it is laid out there."""
    return hashlib.sha256(json.dumps(entry, sort_keys=True).encode()).hexdigest()


def read_hashes() -> dict[str, list[str]]:
    """Name -> hashes of its file and of its entry."""
    rows = [line.split() for line in (FOLDER / "hashes.txt").read_text(encoding="utf-8").splitlines()]
    return {name: both for name, *both in rows}


def check_kept() -> None:
    """Exit unless every vector with a line in hashes.txt is there as it was.

    What is missing or changed comes back from the repository; it must not be made anew.
    """
    known = json.loads((FOLDER / "vectors.json").read_text(encoding="utf-8"))
    for name, wanted in read_hashes().items():
        path = FOLDER / f"{name}.gsv"
        file_hash = hashlib.sha256(path.read_bytes()).hexdigest() if path.exists() else "missing"
        if [file_hash, entry_hash(known.get(name, {}))] != wanted:
            sys.exit(f"{path.name} or its entry in vectors.json is not as it was: git checkout {FOLDER}")


def add(name: str) -> None:
    """Write a new vector. Raises FileExistsError where there is such a file already."""
    data = make_file(name)
    if len(data) > MAX_BYTES:
        sys.exit(f"{name}.gsv would have {len(data)} bytes, at most {MAX_BYTES} are wanted")
    entry = hashes(data)
    listing = FOLDER / "vectors.json"
    known = json.loads(listing.read_text(encoding="utf-8"))
    with open(FOLDER / f"{name}.gsv", "xb") as file:
        file.write(data)
    listing.write_text(json.dumps(known | {name: entry}, indent=1) + "\n", encoding="utf-8")
    with open(FOLDER / "hashes.txt", "a", encoding="utf-8") as lines:
        print(name, entry["sha256"], entry_hash(entry), file=lines)
    print(f"{name}.gsv: {len(data)} bytes, {len(entry['frames'])} frames")


def main() -> None:
    """Add what is described and not there yet."""
    argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    ).parse_args()
    check_kept()
    kept = read_hashes()
    for name in VECTORS:
        if name in kept:
            print(f"{name}.gsv: kept")
        else:
            add(name)


if __name__ == "__main__":
    main()
