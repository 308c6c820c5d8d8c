"""Layers of a frame, and what is written of them."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from video_clips import write_clip

from cli_tools import disc_frames
from gscodec import Decoder, GsvReader, encode_file, encoder_config
from gscodec.config import DecoderLimits
from gscodec.container.packet import Packet
from gscodec.decode.backgrounds import Background
from gscodec.decode.compose import Composer, over
from gscodec.decode.decoder import check_sequence, video_format
from gscodec.decode.layers import Layer, split
from gscodec.decode.show import Holder
from gscodec.errors import ConfigError

BLENDS = ("sum", "normalised")
ALL: tuple[Layer, ...] = ("picture", "person", "room")


@pytest.fixture(scope="module", params=BLENDS)
def gsv(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file whose person is its left half."""
    return make(tmp_path_factory.mktemp("gsv"), blend=request.param)


def make(folder: Path, roi: str | None = None, **settings: object) -> Path:
    matte = np.zeros((32, 48, 3), np.uint8)
    matte[:, :24] = 255
    write_clip(folder / "matte.mkv", [matte] * 5, codec="ffv1", pix_fmt="bgr0")
    clip = write_clip(folder / "a.mp4", disc_frames(5))
    few = {
        "gaussians": 60,
        "iterations": 20,
        "threads": 1,
        "hold": 6,
        "roi": roi or str(folder / "matte.mkv"),
    }
    encode_file(clip, folder / "a.gsv", encoder_config("fast", **{**few, **settings}))
    return folder / "a.gsv"


def rendered(path: Path, **settings: object) -> Iterator[tuple[Packet, np.ndarray, Decoder]]:
    with GsvReader(path) as reader:
        decoder = Decoder(reader.sequence, backend="cpu", threads=1, **settings)
        for packet in decoder.frames(reader):
            if packet.frame_type is not None:
                yield packet, decoder.render(), decoder


def shown(path: Path, background: Background, **settings: bool) -> list[tuple[np.ndarray, np.ndarray | None]]:
    """What a composer makes of a file's frames."""
    composer = composer_of(path, background, **settings)
    frames = rendered(path, layers=composer.layers)
    return [composer.compose(pixels, d.is_cut_out, Fraction(p.pts)) for p, pixels, d in frames]


def composer_of(path: Path, background: Background, **settings: bool) -> Composer:
    with GsvReader(path) as reader:
        sequence = check_sequence(reader.sequence, DecoderLimits())
        return Composer(background, sequence, video_format(reader), **settings)


def test_layers_are_what_is_drawn_one_by_one(gsv: Path) -> None:
    """All at once, held, as each alone: B-frames and recovery points too."""
    together = [pixels for _, pixels, _ in rendered(gsv, layers=ALL)]
    for layer in ALL:
        alone = [pixels for _, pixels, _ in rendered(gsv, layers=(layer,))]
        for all_layers, one in zip(together, alone, strict=True):
            np.testing.assert_array_equal(split(all_layers, ALL)[layer], one)
    for pixels, (_, plain, _) in zip(together, rendered(gsv), strict=True):
        np.testing.assert_array_equal(pixels[..., :3], plain)


def test_the_person_over_a_colour_is_what_the_bitstream_says(gsv: Path) -> None:
    """Straight colour and alpha over a colour, against the kernel that draws over it at once."""
    for _, pixels, decoder in rendered(gsv, layers=("person",)):
        for color in ((0, 0, 0), (0, 255, 0), (255, 255, 255)):
            exact, alpha = decoder.render_person(np.array(color, np.float32) / 255)
            mixed = over(pixels, np.broadcast_to(np.array(color, np.uint8), exact.shape))
            np.testing.assert_array_equal(pixels[..., 3], alpha)
            error = np.abs(mixed.astype(int) - exact)
            if decoder.sequence.blend == "normalised":
                assert error.max() <= 3
            else:  # a sum of small weights may be brighter than straight code values can say
                assert error.mean() < 1.5
        break  # the first is an I-frame, which is not held


def test_alpha_is_held(tmp_path: Path) -> None:
    gsv = make(tmp_path, b_frames=False)  # those are not held by themselves
    holder = Holder(6, "rgba")
    restarts = [p.frame_type == 0 or p.is_recovery for p, _, _ in rendered(gsv)]
    drawn = []
    for (_, pixels, decoder), restart in zip(rendered(gsv, layers=("person",)), restarts, strict=True):
        sums = np.dstack([pixels[..., :3], decoder.render_person(np.zeros(3, np.float32))[1]])
        holder.show(sums, restart)
        np.testing.assert_array_equal(sums[..., 3], pixels[..., 3])
        drawn.append(pixels)
    assert len(drawn) == 5


def test_what_each_background_shows(gsv: Path) -> None:
    original = shown(gsv, Background("original"))[0][0]
    right, left = np.s_[:, 34:], np.s_[:, 4:14]
    for frame, matte in shown(gsv, Background("color", (0, 255, 0)), matte=True):
        assert frame[right].mean((0, 1)) == pytest.approx([0, 255, 0], abs=12)
        assert matte is not None
        assert matte[left].mean() > 240 > 15 > matte[right].mean()
    clear = shown(gsv, Background("transparent"))[0][0]
    assert clear.shape == (32, 48, 4)
    np.testing.assert_array_equal(clear[..., 3], shown(gsv, Background("original"), matte=True)[0][1])
    assert np.abs(clear[left][..., :3].astype(int) - original[left]).mean() < 4
    alone = shown(gsv, Background("removed"))[0][0]
    assert np.abs(alone[right].astype(int) - original[right]).mean() < 3
    assert np.abs(alone[left].astype(int) - original[left]).mean() > 20  # the disc is gone
    soft = shown(gsv, Background("blur", radius=6.0))[0][0]
    assert np.abs(soft[left].astype(int) - original[left]).mean() < 6
    assert np.abs(soft[right].astype(int) - alone[right]).mean() < 12


def test_a_picture_behind_the_person(gsv: Path, tmp_path: Path) -> None:
    red = np.zeros((20, 20, 3), np.uint8)
    red[..., 0] = 200
    write_clip(tmp_path / "red.png", [red], codec="png", pix_fmt="rgb24", container="image2")
    frame, matte = shown(gsv, Background("file", path=str(tmp_path / "red.png")))[-1]
    assert matte is None
    assert frame[:, 36:].mean((0, 1)) == pytest.approx([200, 0, 0], abs=12)


@pytest.mark.parametrize("kind", ["color", "transparent", "blur", "removed"])
def test_nobody_is_said_and_the_picture_is_not_taken_for_a_person(kind: str, tmp_path: Path) -> None:
    gsv = make(tmp_path, roi="full")
    composer = composer_of(gsv, Background(kind, (0, 255, 0)), matte=True)  # type: ignore[arg-type]
    picture = shown(gsv, Background("original"))[0][0]
    for packet, pixels, decoder in rendered(gsv, layers=composer.layers):
        frame, matte = composer.compose(pixels, decoder.is_cut_out, Fraction(packet.pts))
        assert not matte.any()
        if kind == "color":
            assert np.all(frame == (0, 255, 0))
        elif kind == "transparent":
            assert not frame[..., 3].any()
        elif kind == "removed" and packet.frame_type == 0:
            assert np.abs(frame.astype(int) - picture).max() <= 2
    (line,) = composer.warnings
    assert line.startswith("no person is marked in this file")


def test_a_file_without_room_has_none_to_show(tmp_path: Path) -> None:
    gsv = make(tmp_path, background="none")
    for kind in ("blur", "removed"):
        with pytest.raises(ConfigError, match="holds no room"):
            composer_of(gsv, Background(kind))  # type: ignore[arg-type]
    frame, _ = shown(gsv, Background("color", (255, 0, 0)))[0]
    assert frame[:, 40:].mean((0, 1)) == pytest.approx([255, 0, 0], abs=12)
    assert composer_of(gsv, Background("original")).warnings == []


def test_over_rounds_to_the_nearest(rng: np.random.Generator) -> None:
    person = rng.integers(0, 256, (16, 16, 4)).astype(np.uint8)
    background = rng.integers(0, 256, (16, 16, 3)).astype(np.uint8)
    share = person[..., 3:] / 255
    exact = share * person[..., :3] + (1 - share) * background
    assert np.abs(over(person, background) - exact).max() <= 0.5 + 1e-9
