"""What `--background` may say, and pictures and videos that cover a frame."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from video_clips import write_clip

from gscodec.decode.backgrounds import (
    Background,
    CoveringVideo,
    centred,
    chosen_background,
    covering_size,
    parse_background,
)
from gscodec.errors import ConfigError, MediaError
from gscodec.video.frame import VideoFormat

ONE = Fraction(1)


def form(width: int, height: int, aspect: Fraction = ONE) -> VideoFormat:
    return VideoFormat(width, height, Fraction(1, 25), Fraction(25), aspect)


def plain(level: int, width: int = 32, height: int = 24) -> np.ndarray:
    return np.full((height, width, 3), level, np.uint8)


def test_words_colours_and_files(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"")
    assert parse_background("Transparent") == Background("transparent")
    assert parse_background("#10aF00") == Background("color", (16, 175, 0))
    assert parse_background("GREEN") == Background("color", (0, 255, 0))
    assert parse_background("blur") == Background("blur")
    assert parse_background("blur:2.5") == Background("blur", radius=2.5)
    assert parse_background(f"{tmp_path}/a.png") == Background("file", path=f"{tmp_path}/a.png")
    assert chosen_background((1, 2, 3), False) == Background("color", (1, 2, 3))
    assert chosen_background("original", True) == Background("removed")


@pytest.mark.parametrize(
    "text", ["blur:0", "blur:-1", "blur:x", "blur:", "blur:nan", "blur:inf", "blur:1001"]
)
def test_radius_out_of_range(text: str) -> None:
    with pytest.raises(ConfigError, match=f"{text}.*more than 0, at most 1000"):
        parse_background(text)


@pytest.mark.parametrize("text", ["greenish", "#12345", "#gg0000", "", "nowhere.png"])
def test_what_is_nothing(text: str) -> None:
    with pytest.raises(ConfigError, match="neither known nor a file; permitted: #rrggbb or black"):
        parse_background(text)


@pytest.mark.parametrize(
    ("background", "frame", "size"),
    [
        (form(1280, 720), form(640, 360), (640, 360)),
        (form(1000, 500), form(640, 360), (720, 360)),
        (form(500, 1000), form(640, 360), (640, 1280)),
        (form(10, 10), form(7, 5), (7, 7)),
        (form(720, 576, Fraction(16, 15)), form(640, 360), (640, 480)),
        (form(640, 360), form(320, 360, Fraction(2)), (320, 360)),
    ],
)
def test_a_background_covers_without_changing_its_shape(
    background: VideoFormat, frame: VideoFormat, size: tuple[int, int]
) -> None:
    assert covering_size(background, frame) == size


def test_the_middle_is_kept() -> None:
    ramp = np.broadcast_to(np.arange(9, dtype=np.uint8)[None, :, None], (4, 9, 3))
    assert centred(ramp, 3, 2)[0, :, 0].tolist() == [3, 4, 5]
    assert centred(ramp, 3, 2).shape == (2, 3, 3)


def test_a_picture_stays(tmp_path: Path) -> None:
    write_clip(tmp_path / "a.png", [plain(90)], codec="png", pix_fmt="rgb24", container="image2")
    video = CoveringVideo(str(tmp_path / "a.png"), form(16, 16))
    for time in (0, 1, Fraction(10**12)):
        picture = video.at(Fraction(time))
        assert picture.shape == (16, 16, 3)
        assert np.all(picture == 90)


def test_a_video_loops_at_its_own_rate(tmp_path: Path) -> None:
    levels = [40, 90, 140, 190]
    path = tmp_path / "a.mkv"
    write_clip(path, map(plain, levels), codec="ffv1", pix_fmt="bgr0", rate=10, time_base=Fraction(1, 10))
    video = CoveringVideo(str(path), form(32, 24))

    def shown(time: Fraction) -> int:
        return int(video.at(time)[0, 0, 0])

    assert [shown(Fraction(n, 20)) for n in range(10)] == [40, 40, 90, 90, 140, 140, 190, 190, 40, 40]
    assert shown(Fraction(400_000_001, 10)) == 90  # without playing what lies between
    assert [shown(Fraction(400_000_001 + n, 10)) for n in range(1, 5)] == [140, 190, 40, 90]


def test_a_late_first_look_plays_the_loop_once(tmp_path: Path) -> None:
    path = tmp_path / "a.mkv"
    write_clip(path, map(plain, (40, 90)), codec="ffv1", pix_fmt="bgr0", rate=10, time_base=Fraction(1, 10))
    assert CoveringVideo(str(path), form(32, 24)).at(Fraction(7, 10))[0, 0, 0] == 90


def test_a_shape_too_far_off(tmp_path: Path) -> None:
    write_clip(tmp_path / "a.png", [plain(9, 4096, 1)], codec="png", pix_fmt="rgb24", container="image2")
    with pytest.raises(MediaError, match="cut it to a similar shape"):
        CoveringVideo(str(tmp_path / "a.png"), form(640, 360))


def test_what_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"no picture")
    with pytest.raises(MediaError, match=r"background .*a.png"):
        CoveringVideo(str(tmp_path / "a.png"), form(16, 16))
    with pytest.raises(MediaError, match="is a directory; expected a picture or a video"):
        CoveringVideo(str(tmp_path), form(16, 16))
