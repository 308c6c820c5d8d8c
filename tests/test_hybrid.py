"""--background hybrid: the room as video beside the Gaussians."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from video_clips import write_clip

from cli_tools import fail, make_clip
from gscodec import Encoder, GsvReader, decode_file, encode_file, encoder_config, inspect_file
from gscodec.config import EncoderConfig
from gscodec.container.container import GsvWriter
from gscodec.errors import BackendError, ConfigError, CorruptError, UnsupportedError
from gscodec.hybrid import RoomKeeper
from gscodec.video import room
from gscodec.video.frame import Frame, VideoFormat
from gscodec.video.reader import open_video

WIDTH, HEIGHT, N = 96, 72, 6


def quick(folder: Path, **settings: object) -> EncoderConfig:
    few = {"gaussians": 60, "iterations": 15, "threads": 1, "roi": str(folder / "matte.mkv")}
    return encoder_config("fast", **{**few, "background": "hybrid", **settings})


def scene() -> tuple[list[np.ndarray], list[np.ndarray]]:
    """A plain person walks before fine stripes: pictures, and mattes uint8 [H, W]."""
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    stripes = np.where((x // 3 + y // 3) % 2, 200, 60)[..., None] * np.array([1.0, 0.9, 0.6])
    pictures, mattes = [], []
    for i in range(N):
        inside = np.hypot(x - 30 - 4 * i, y - 40) < 18
        pictures.append(np.where(inside[..., None], (190, 120, 90), stripes).astype(np.uint8))
        mattes.append(inside.astype(np.uint8) * 255)
    return pictures, mattes


def make(folder: Path, **settings: object) -> Path:
    pictures, mattes = scene()
    write_clip(folder / "matte.mkv", [np.dstack([m] * 3) for m in mattes], codec="ffv1", pix_fmt="bgr0")
    clip = write_clip(folder / "a.mp4", pictures, audio="aac")
    encode_file(clip, folder / "a.gsv", quick(folder, **settings))
    return folder / "a.gsv"


@pytest.fixture(scope="module")
def gsv(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make(tmp_path_factory.mktemp("hybrid"))


def shown(path: Path, target: Path, **settings: object) -> list[np.ndarray]:
    decode_file(path, target, crf=2, **settings)  # type: ignore[arg-type]
    with open_video(target) as reader:
        return [item.pixels.astype(int) for item in reader if isinstance(item, Frame)]


def rewritten(path: Path, target: Path, **header: str) -> Path:
    """The file with another kind or codec of the room, whose packets are noise."""
    with GsvReader(path) as reader:
        streams = [*reader.streams[:-1], replace(reader.streams[-1], **header)]
        with GsvWriter(target, streams, b_frames=True, room=True) as writer:
            for packet in reader:
                is_room = packet.stream == len(streams) - 1
                writer.write(replace(packet, payload=b"\x12\x00noise" * 5) if is_room else packet)
    return target


def test_the_room_is_seen_as_it_was_and_the_person_too(gsv: Path, tmp_path: Path) -> None:
    pictures, mattes = scene()
    coarse = make(tmp_path, background="coarse")
    errors = []
    for file, target in ((gsv, tmp_path / "h.mp4"), (coarse, tmp_path / "c.mp4")):
        frames = zip(shown(file, target), pictures, mattes, strict=True)
        errors.append(np.mean([((a - b) ** 2)[m == 0].mean() for a, b, m in frames]))
    assert errors[0] < 0.7 * errors[1]
    facts = inspect_file(gsv)
    assert facts["background"] == "hybrid"
    assert [s["kind"] for s in facts["side_streams"]] == ["audio", "data"]
    assert facts["side_streams"][-1]["packets"] == N
    with open_video(tmp_path / "h.mp4") as reader:
        assert [stream.kind for stream in reader.side_streams] == ["audio"]


def test_other_backgrounds_work_as_ever(gsv: Path, tmp_path: Path) -> None:
    _, mattes = scene()
    green = shown(gsv, tmp_path / "g.mp4", background="green")[2]
    assert np.abs(green[mattes[2] == 0] - (0, 255, 0)).mean() < 25
    coarse = make(tmp_path, background="coarse")
    same = shown(coarse, tmp_path / "c.mp4", background="green")[2]
    np.testing.assert_array_equal(green, same)
    for settings in ({"background": "blur:4"}, {"person_removed": True}):
        assert len(shown(gsv, tmp_path / "t.mp4", **settings)) == N
    assert decode_file(gsv, tmp_path / "t.mkv", background="transparent").n_frames == N


def test_noise_in_place_of_the_room_leaves_the_coarse_one(gsv: Path, tmp_path: Path) -> None:
    noise = shown(rewritten(gsv, tmp_path / "n.gsv"), tmp_path / "n.mp4")
    coarse = shown(make(tmp_path, background="coarse"), tmp_path / "c.mp4")
    assert len(noise) == N
    np.testing.assert_array_equal(noise[-1], coarse[-1])


def test_headers_that_name_no_room(gsv: Path, tmp_path: Path) -> None:
    path = rewritten(gsv, tmp_path / "a.gsv", kind="audio")
    with pytest.raises(CorruptError, match="is to be the room's video, but is audio"):
        decode_file(path, tmp_path / "a.mp4")
    path = rewritten(gsv, tmp_path / "a.gsv", codec="theora")
    with pytest.raises(UnsupportedError, match="'theora', which is unknown"):
        decode_file(path, tmp_path / "a.mp4")
    assert not (tmp_path / "a.mp4").exists()


def test_h264_where_av1_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "_ENCODERS", room._ENCODERS[1:])
    gsv = make(tmp_path)
    assert inspect_file(gsv)["side_streams"][-1]["codec"] == "h264"
    assert len(shown(gsv, tmp_path / "a.mp4")) == N


def test_an_ffmpeg_without_encoders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "_ENCODERS", (("nothing", "av1", {}),))
    with pytest.raises(BackendError, match="needs one of nothing"):
        make(tmp_path)
    assert not (tmp_path / "a.gsv").exists()


def test_what_does_not_go_with_it(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="with encode_file"):
        Encoder(EncoderConfig(background="hybrid"), 64, 48)
    clip = make_clip(tmp_path / "a.mp4")
    arguments = ("encode", clip, tmp_path / "a.gsv", "--background", "hybrid", "--bitrate", 50)
    assert "--bitrate does not count" in fail(*arguments, code=2, folder=tmp_path)


def test_what_was_seen_of_the_room_stays() -> None:
    pictures, mattes = scene()
    keeper = RoomKeeper()
    rooms = [keeper.without_people(p, m).astype(int) for p, m in zip(pictures, mattes, strict=True)]
    for picture, matte, kept in zip(pictures, mattes, rooms, strict=True):
        assert np.abs(kept - picture)[matte == 0].max() <= 1
    uncovered = (mattes[0] > 0) & (mattes[-1] == 0)
    assert np.abs(rooms[-1] - pictures[-1])[uncovered].max() <= 1
    covered = (mattes[-1] > 0) & (mattes[0] == 0)
    covered &= np.hypot(*(np.mgrid[:HEIGHT, :WIDTH] - np.array([40, 50])[:, None, None])) < 12
    assert covered.any()
    assert np.abs(rooms[-1] - pictures[0])[covered].mean() < 12  # still the stripes


def test_a_room_larger_than_the_frame_is_not_made() -> None:
    form = VideoFormat(WIDTH, HEIGHT, Fraction(1, 25), Fraction(25))
    packets = []
    encoder = room.RoomEncoder(form)
    for picture in scene()[0]:
        packets += encoder.encode(picture, len(packets), 0)
    packets += encoder.encode(None, 0, 0)
    assert len(packets) == N
    for width, height, is_made in ((WIDTH, HEIGHT, True), (16, 16, False)):
        decoder = room.RoomDecoder(encoder.codec, width, height)
        pictures = [decoder.decode(packet.payload) for packet in packets]
        assert [picture is not None for picture in pictures] == [is_made] * N
    assert room.RoomDecoder(encoder.codec, WIDTH, HEIGHT).decode(b"") is None
