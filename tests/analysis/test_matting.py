"""Choice of the source of mattes, mattes from files, and what a bad choice says."""

from __future__ import annotations

import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import pytest

from gscodec.analysis.matting import NOBODY_AT_ALL, make_matter
from gscodec.errors import ConfigError, MediaError
from gscodec.video.frame import Frame, VideoFormat
from gscodec.video.writer import VideoWriter


def write_video(path: Path, pictures: list[np.ndarray]) -> None:
    height, width = pictures[0].shape[:2]
    form = VideoFormat(width, height, Fraction(1, 25), Fraction(25), full_range=True)
    with VideoWriter(path, form, vcodec="ffv1", pix_fmt="gray") as writer:
        for index, picture in enumerate(pictures):
            writer.write(Frame(np.ascontiguousarray(np.dstack([picture] * 3)), index, 1))


def test_full_is_all_ones_of_the_frame_s_size() -> None:
    matter = make_matter("full")
    matte = matter.matte(np.zeros((7, 11, 3), np.uint8))
    assert matte.shape == (7, 11)
    assert matte.dtype == np.float32
    assert (matte == 1).all()
    assert matter.name == "full"
    assert matter.warnings == []


def test_image_keeps_soft_levels_and_is_scaled(tmp_path: Path) -> None:
    ramp = np.tile(np.linspace(0, 255, 32).astype(np.uint8), (18, 1))
    cv2.imwrite(str(tmp_path / "matte.png"), ramp)
    matter = make_matter(str(tmp_path / "matte.png"))
    same = matter.matte(np.zeros((18, 32, 3), np.uint8))
    np.testing.assert_allclose(same, ramp / 255, atol=1e-6)
    for _ in range(3):  # an image lasts for the whole clip
        large = matter.matte(np.zeros((36, 64, 3), np.uint8))
    assert large.shape == (36, 64)
    assert np.abs(large[:, ::2] - same[0]).max() < 0.05
    assert matter.name == "file"
    assert matter.warnings == []


def test_image_of_16_bits_and_cut_out_with_transparency(tmp_path: Path) -> None:
    deep = np.full((4, 4), 32768, np.uint16)
    cv2.imwrite(str(tmp_path / "deep.png"), deep)
    cut_out = np.zeros((4, 4, 4), np.uint8)
    cut_out[:, 2:, 3] = 200
    cv2.imwrite(str(tmp_path / "cut.png"), cut_out)
    frame = np.zeros((4, 4, 3), np.uint8)
    assert make_matter(str(tmp_path / "deep.png")).matte(frame) == pytest.approx(0.5, abs=1e-3)
    np.testing.assert_allclose(
        make_matter(str(tmp_path / "cut.png")).matte(frame)[0], [0, 0, 200 / 255, 200 / 255]
    )


def test_image_of_another_shape_is_stretched_with_a_warning(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "square.png"), np.full((16, 16), 255, np.uint8))
    matter = make_matter(str(tmp_path / "square.png"))
    for _ in range(2):
        assert matter.matte(np.zeros((18, 32, 3), np.uint8)).shape == (18, 32)
    assert len(matter.warnings) == 1
    assert "16x16" in matter.warnings[0]


def test_video_gives_one_matte_per_frame_and_says_when_it_is_too_short(tmp_path: Path) -> None:
    pictures = [np.full((16, 32), level, np.uint8) for level in (0, 100, 255)]
    write_video(tmp_path / "matte.mkv", pictures)
    matter = make_matter(str(tmp_path / "matte.mkv"))
    frame = np.zeros((32, 64, 3), np.uint8)
    for picture in pictures:
        assert matter.matte(frame) == pytest.approx(picture[0, 0] / 255, abs=2 / 255)
        matter.reset()  # a scene cut does not rewind the file
    with pytest.raises(MediaError, match="ends after 3 pictures but the clip goes on"):
        matter.matte(frame)


def test_unknown_mode_lists_what_is_permitted() -> None:
    with pytest.raises(ConfigError, match="auto, human, portrait, full, or the path"):
        make_matter("nose")


def test_file_that_is_no_picture(tmp_path: Path) -> None:
    (tmp_path / "matte.txt").write_text("white on the person")
    with pytest.raises(MediaError):
        make_matter(str(tmp_path / "matte.txt"))


def test_damaged_image(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "matte.png"), np.zeros((64, 64), np.uint8))
    (tmp_path / "matte.png").write_bytes((tmp_path / "matte.png").read_bytes()[:20])
    with pytest.raises(MediaError):
        make_matter(str(tmp_path / "matte.png"))


def test_auto_is_the_network_and_the_whole_frame_without_a_person() -> None:
    matter = make_matter("auto")
    assert matter.name == "human"
    assert matter.warnings == []
    noise = np.random.default_rng(0).integers(0, 255, (90, 160, 3), np.uint8)
    for _ in range(3):
        assert (matter.matte(noise) == 1).all()
    assert matter.warnings == [NOBODY_AT_ALL]


def test_importing_the_module_loads_no_heavy_package() -> None:
    code = (
        "import sys, gscodec.analysis.matting as m; m.make_matter('full')\n"
        "print([p for p in ('cv2', 'onnxruntime', 'rembg', 'torch', 'av') if p in sys.modules])"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"
