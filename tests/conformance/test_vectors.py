"""Files kept for ever: their parameters bit for bit, their pictures within one code value of exact ones.

hashes.txt holds the files and their entries in vectors.json still. A failure here is mended in the decoder,
never in these files: `tools/make_vectors.py` adds vectors and changes none.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gscodec.container.container import GsvReader
from gscodec.container.headers import FrameType
from gscodec.decode.decoder import Decoder
from gscodec.transcode import decode_file
from gscodec.video.frame import Frame
from gscodec.video.reader import open_video

FOLDER = Path(__file__).parent
VECTORS: dict[str, dict[str, Any]] = json.loads((FOLDER / "vectors.json").read_text(encoding="utf-8"))
NAMES = (
    "adaptive-coarse",
    "adaptive-none",
    "ans-coarse",
    "bframes-coarse",
    "births",
    "bits-back-coarse",
    "extremes",
    "gaussianimage-none",
    "hold-coarse",
    "hybrid-coarse",
    "normalised-coarse",
    "normalised-none",
    "paper-coarse",
    "paper-zstd",
    "recovery-coarse",
    "zstd-none",
)
MAX_BYTES = 6000
HOLD = {  # R, G, B
    "bframes-coarse": (5, 9, 3),
    "hold-coarse": (5, 9, 3),
    "hybrid-coarse": (1, 2, 1),
    "normalised-coarse": (1, 2, 1),
    "recovery-coarse": (5, 9, 3),
}

# docs/bitstream.md, "Rendering", in numbers a little more exact than it asks for.
RGB = np.array([[3**-0.5, 2**-0.5, 6**-0.5], [3**-0.5, 0, -2 * 6**-0.5], [3**-0.5, -(2**-0.5), 6**-0.5]])


def exact_picture(params: np.ndarray, ground: np.ndarray, height: int, width: int) -> np.ndarray:
    """Code values before rounding, float64 [H, W, 3]; `ground`: R'G'B' that means are counted from."""
    y, x = np.mgrid[:height, :width] + 0.5
    picture, weights = np.zeros((height, width, 3)), np.full((height, width, 1), 1e-4)
    for mx, my, l1, l2, l3, *color in params.astype(np.float64):
        u = (x - mx) / l1
        v = ((y - my) - l2 * u) / l3
        weight = np.maximum(np.exp(-(u * u + v * v) / 2) - np.exp(-4.5), 0)[..., None]
        weight = weight * 2.0 ** (color[3] if len(color) > 3 else 0)
        picture += weight * color[:3]
        weights += weight
    if params.shape[1] > 8:
        return np.clip(ground + 255 * (picture / weights @ RGB.T), 0, 255)
    return np.clip(255 * (picture @ RGB.T), 0, 255)


def held(before: np.ndarray, picture: np.ndarray, name: str, frame_type: FrameType) -> np.ndarray:
    """docs/bitstream.md, "Hold", for the vectors that have it."""
    if name not in HOLD or frame_type != FrameType.P:
        return picture
    tolerance = np.array(HOLD[name])
    return np.clip(before, picture - tolerance, picture + tolerance)


def test_all_vectors_are_there_and_small() -> None:
    assert tuple(sorted(VECTORS)) == NAMES
    assert sorted(path.stem for path in FOLDER.glob("*.gsv")) == list(NAMES)
    assert all(path.stat().st_size <= MAX_BYTES for path in FOLDER.glob("*.gsv"))


@pytest.mark.parametrize("name", NAMES)
def test_files_and_entries_are_untouched(name: str) -> None:
    lines = (FOLDER / "hashes.txt").read_text(encoding="utf-8").splitlines()
    assert sorted(line.split()[0] for line in lines) == list(NAMES)
    file_hash = hashlib.sha256((FOLDER / f"{name}.gsv").read_bytes()).hexdigest()
    entry_hash = hashlib.sha256(json.dumps(VECTORS[name], sort_keys=True).encode()).hexdigest()
    assert f"{name} {file_hash} {entry_hash}" in lines
    assert file_hash == VECTORS[name]["sha256"]


@pytest.mark.parametrize("name", NAMES)
def test_parameters_are_exact_and_pixels_within_one(name: str) -> None:
    with GsvReader(FOLDER / f"{name}.gsv") as reader:
        decoder = Decoder(reader.sequence, backend="cpu", threads=1)
        height, width = reader.sequence["height"], reader.sequence["width"]
        n_frames, shown = 0, np.empty(0)
        waiting: tuple[np.ndarray, np.ndarray] | None = None  # a B-frame as it is drawn, and its picture
        frames = (packet for packet in decoder.frames(reader) if packet.frame_type is not None)
        for packet, expected in zip(frames, VECTORS[name]["frames"], strict=True):
            assert packet.frame_type is not None
            gaussians = decoder.gaussians
            assert packet.frame_type.name == expected["type"]
            assert len(gaussians) == expected["n_gaussians"]
            state = gaussians.params.astype("<f4").tobytes() + gaussians.is_room.astype("u1").tobytes()
            assert hashlib.sha256(state).hexdigest() == expected["sha256"], f"frame {n_frames}"
            if name not in ("extremes", "births"):  # colours of thousands are past any bound on float sums
                ground = getattr(decoder.state, "ground", np.zeros(3))
                drawn = exact_picture(gaussians.params, ground, height, width)
                if packet.frame_type == FrameType.B:
                    waiting = drawn, decoder.render()
                else:
                    before, shown = shown, held(shown, drawn, name, packet.frame_type)
                    assert np.abs(decoder.render() - shown).max() <= 1
                    if waiting:
                        between = np.clip(waiting[0], np.minimum(before, shown), np.maximum(before, shown))
                        assert np.abs(waiting[1] - between).max() <= 1
                        waiting = None
            n_frames += 1
    assert n_frames == 6


def test_vectors_cover_what_they_should() -> None:
    """Motion is used, Gaussians come and go, a room there is, and none where there should be none."""
    rooms = {}
    numbers = [frame["n_gaussians"] for frame in VECTORS["births"]["frames"]]
    changes = np.diff(numbers)
    assert (changes > 5).any()
    assert (changes < 0).any()
    assert 0 in changes
    for name in NAMES:
        with GsvReader(FOLDER / f"{name}.gsv") as reader:
            decoder = Decoder(reader.sequence, backend="cpu", threads=1)
            moved = []
            for packet in reader:
                if packet.frame_type is None or packet.is_bframe:
                    continue
                before = decoder.state.symbols if packet.frame_type.name == "P" else None
                decoder.decode(packet.payload, packet.frame_type)
                if before is not None and len(before) == len(decoder.state):
                    moved.append((decoder.state.symbols[:, :2] != before[:, :2]).any(axis=1).mean())
            rooms[name] = bool(decoder.state.is_room.any())
            if name in ("adaptive-coarse", "births", "extremes"):
                assert max(moved) > 0.5
    assert rooms == {
        name: name.endswith("-coarse") or name in ("births", "extremes", "normalised-none") for name in NAMES
    }


def test_the_room_of_a_vector_is_shown(tmp_path: Path) -> None:
    """Its fine waves are there, and without its packets what the Gaussians hold of it."""
    decode_file(FOLDER / "hybrid-coarse.gsv", tmp_path / "a.mp4", crf=2)
    with open_video(tmp_path / "a.mp4") as reader:
        shown = [item.pixels.astype(float) for item in reader if isinstance(item, Frame)]
    y, x = np.mgrid[:72, :80] + 0.5
    room = (90 + 60 * np.sin(x / 7) * np.cos(y / 9))[..., None] * [1.0, 0.85, 0.7]
    far = np.hypot(x - 24, y - 36) > 28
    assert len(shown) == 6
    assert np.abs(shown[0] - room)[far].mean() < 6
