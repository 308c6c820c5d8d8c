"""Writing: exact times, colours, sizes, all or nothing on disk, one clear line for what cannot be written."""

import os
from dataclasses import replace
from fractions import Fraction

import av
import numpy as np
import pytest
from video_clips import moving_square, split, write_clip

from gscodec.errors import MediaError
from gscodec.video.atomic import atomic_path
from gscodec.video.frame import Frame, SidePacket, VideoFormat
from gscodec.video.reader import open_video
from gscodec.video.writer import VideoWriter

VFR_PTS = [5000, 8003, 8900, 14000, 14001, 20000, 27777, 30000]
FORM = VideoFormat(32, 24, Fraction(1, 25), Fraction(25))


def write(path, form=FORM, *, pts=None, pictures=None, **settings):
    pictures = list(moving_square(6, form.width, form.height) if pictures is None else pictures)
    pts = list(range(len(pictures))) if pts is None else pts
    with VideoWriter(path, form, **settings) as writer:
        for i, pixels in enumerate(pictures):
            writer.write(Frame(pixels, pts[i], (pts[i + 1] if i + 1 < len(pts) else pts[i] + 5) - pts[i]))
    return writer


def write_all(writer, frames):
    with writer:
        for frame in frames:
            writer.write(frame)


def read(path, **settings):
    with open_video(path, **settings) as reader:
        return reader, split(reader)[0]


@pytest.mark.parametrize(
    ("name", "time_base", "rate"),
    [
        ("a.mp4", Fraction(1, 90000), 30),
        ("a.mp4", Fraction(1, 30), 30),
        ("a.mp4", Fraction(1001, 30000), Fraction(30000, 1001)),
        ("a.mp4", Fraction(1, 1_000_000), 30),
        ("a.mov", Fraction(1, 12800), 25),
        ("a.mkv", Fraction(1, 1000), 30),
        ("a.webm", Fraction(1, 1000), 30),
        ("a.ts", Fraction(1, 90000), 30),
    ],
)
def test_variable_times_are_kept_exactly(tmp_path, name, time_base, rate):
    form = replace(FORM, time_base=time_base, frame_rate=Fraction(rate))
    vcodec = "libvpx-vp9" if name.endswith("webm") else "libx264"
    pictures = list(moving_square(len(VFR_PTS)))
    writer = write(tmp_path / name, form, pts=VFR_PTS, pictures=pictures, vcodec=vcodec)
    assert writer.warnings == []
    reader, frames = read(tmp_path / name)
    assert [f.pts * reader.format.time_base for f in frames] == [p * time_base for p in VFR_PTS]
    if time_base.numerator == 1:
        assert reader.format.time_base == time_base
    assert reader.warnings == []


def test_length_of_the_last_frame_is_kept_in_mp4(tmp_path):
    form = replace(FORM, time_base=Fraction(1, 1000))
    pictures = list(moving_square(3))
    with VideoWriter(tmp_path / "a.mp4", form) as writer:
        for pixels, pts, duration in zip(pictures, (0, 40, 500), (40, 460, 2500), strict=True):
            writer.write(Frame(pixels, pts, duration))
    _, frames = read(tmp_path / "a.mp4")
    assert [(f.pts, f.duration) for f in frames] == [(0, 40), (40, 460), (500, 2500)]


def test_coarse_clocks_say_so(tmp_path):
    form = replace(FORM, time_base=Fraction(1, 90000), frame_rate=Fraction(30))
    pictures = list(moving_square(len(VFR_PTS)))
    for name in ("a.mkv", "a.avi", "a.y4m"):
        writer = write(tmp_path / name, form, pts=VFR_PTS, pictures=pictures)
        assert len(writer.warnings) == 1
        assert "rounded" in writer.warnings[0]
        assert len(read(tmp_path / name)[1]) == len(VFR_PTS)
    assert write(tmp_path / "b.y4m").warnings == []


@pytest.mark.parametrize("full", [False, True])
@pytest.mark.parametrize("matrix", [1, 2, 5, 6, 7, 9])
@pytest.mark.parametrize("name", ["a.mp4", "a.mkv", "a.y4m"])
def test_colours_come_back_and_tags_are_kept(tmp_path, name, matrix, full):
    form = replace(FORM, matrix=matrix, primaries=9, transfer=13, full_range=full)
    colours = [(255, 255, 255), (0, 0, 0), (200, 40, 30), (30, 180, 60), (20, 50, 210)]
    pictures = [np.full((24, 32, 3), c, np.uint8) for c in colours]
    write(tmp_path / name, form, pictures=pictures, crf=1, pix_fmt="yuv444p")
    reader, frames = read(tmp_path / name)
    again = reader.format
    if not name.endswith("y4m"):
        assert (again.matrix, again.primaries, again.transfer) == (matrix, 9, 13)
    assert again.full_range == full
    for colour, frame in zip(colours, frames, strict=True):
        assert np.abs(frame.pixels.astype(int) - colour).max() <= 3


def test_shape_tags_and_metadata_are_kept(tmp_path):
    for name in ("a.mp4", "a.mkv"):
        form = replace(FORM, sample_aspect_ratio=Fraction(4, 3))
        write(tmp_path / name, form, metadata={"title": "A title"})
        reader, _ = read(tmp_path / name)
        assert reader.format.sample_aspect_ratio == Fraction(4, 3)
        assert reader.metadata["title"] == "A title"


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv", "a.y4m"])
@pytest.mark.parametrize(("width", "height"), [(33, 24), (32, 23), (17, 19)])
def test_odd_sizes_become_444(tmp_path, name, width, height):
    write(tmp_path / name, replace(FORM, width=width, height=height))
    with av.open(str(tmp_path / name)) as container:
        assert container.streams.video[0].format.name == "yuv444p"
    _, frames = read(tmp_path / name)
    assert frames[0].pixels.shape == (height, width, 3)


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("a.mkv", {"vcodec": "ffv1", "pix_fmt": "bgr0"}),
        ("a.mkv", {"vcodec": "ffv1", "pix_fmt": "gbrp10le"}),
        ("a.avi", {"vcodec": "png"}),
        ("a.mov", {"vcodec": "png", "pix_fmt": "rgb24"}),
    ],
)
def test_lossless_rgb(tmp_path, name, settings):
    rng = np.random.default_rng(3)
    pictures = [rng.integers(0, 256, (24, 32, 3), dtype=np.uint8) for _ in range(3)]
    write(tmp_path / name, replace(FORM, matrix=1), pictures=[p.copy() for p in pictures], **settings)
    reader, frames = read(tmp_path / name)
    for picture, frame in zip(pictures, frames, strict=True):
        np.testing.assert_array_equal(picture, frame.pixels)
    # What came from RGB goes into YCbCr by the ordinary rule.
    write(tmp_path / "b.mp4", reader.format, crf=1)
    again, _ = read(tmp_path / "b.mp4")
    assert (again.format.matrix, again.format.full_range) == (2, False)


def test_encoder_settings(tmp_path):
    rng = np.random.default_rng(4)
    noise = [rng.integers(0, 256, (48, 64, 3), dtype=np.uint8) for _ in range(4)]
    form = replace(FORM, width=64, height=48)
    write(tmp_path / "fine.mp4", form, pictures=noise, crf=10, preset="ultrafast")
    write(tmp_path / "coarse.mp4", form, pictures=noise, crf=45, preset="ultrafast")
    assert (tmp_path / "fine.mp4").stat().st_size > 2 * (tmp_path / "coarse.mp4").stat().st_size
    write(tmp_path / "a.webm", form, pictures=noise, vcodec=None)
    with av.open(str(tmp_path / "a.webm")) as container:
        assert container.streams.video[0].codec.canonical_name == "vp9"
    write(tmp_path / "named.bin", form, pictures=noise, container="mkv")
    with av.open(str(tmp_path / "named.bin")) as container:
        assert "matroska" in container.format.name


@pytest.mark.parametrize("container", ["matroska", "mp4", "y4m"])
def test_standard_output(capfdbinary, tmp_path, container):
    form = replace(FORM, time_base=Fraction(1, 1000))
    write("-", form, pts=[40 * i for i in range(6)], container=container)
    (tmp_path / "got").write_bytes(capfdbinary.readouterr().out)
    reader, frames = read(tmp_path / "got")
    assert [f.pts * reader.format.time_base for f in frames] == [Fraction(i, 25) for i in range(6)]


@pytest.mark.parametrize("container", ["y4m", "rawvideo"])
def test_frames_leave_into_a_pipe_at_once(container):
    """The whole of a frame has arrived before the next one is given."""
    read_end, write_end = os.pipe()
    os.set_blocking(read_end, False)
    with VideoWriter(f"/dev/fd/{write_end}", FORM, container=container, pix_fmt="yuv444p") as writer:
        for i, pixels in enumerate(moving_square(3)):
            writer.write(Frame(pixels, i, 1))
            assert len(os.read(read_end, 1 << 16)) >= 3 * 24 * 32
    os.close(read_end)
    os.close(write_end)


@pytest.mark.parametrize(
    ("name", "settings", "words"),
    [
        ("a.xyz", {}, "'.xyz' is unknown; permitted among others: mp4"),
        ("a", {}, "permitted among others: mp4"),
        ("a.tiff", {}, "permitted among others: mp4"),
        ("a.yuv", {"vcodec": "libx264"}, "holds raw pictures, not libx264"),
        ("a.y4m", {"pix_fmt": "rgb24"}, "has no pix_fmt 'rgb24'; permitted: yuv420p, yuv422p"),
        ("a.yuv", {"pix_fmt": "nonsense"}, "'nonsense' is unknown to FFmpeg"),
        ("a.png", {"vcodec": "libx264"}, "makes no such picture; permitted: png"),
        ("a%s.png", {}, "expected one number such as %05d"),
        ("missing/%d.png", {}, "no folder .*missing; make it first"),
        ("a.bin", {"container": "image2"}, "pictures need a name that ends in .png"),
        ("-", {}, "needs a container"),
        ("a.mp4", {"container": "nonsense"}, "container 'nonsense' is unknown"),
        ("a.mp4", {"vcodec": "nonsense"}, "not a video encoder.*permitted: libx264"),
        ("a.mp4", {"vcodec": "aac"}, "not a video encoder"),
        ("a.webm", {"vcodec": "libx264"}, "cannot be put into webm; permitted: libvpx-vp9"),
        ("a.wav", {"vcodec": "libx264"}, "cannot be put into wav; permitted: none"),
        ("a.wav", {"vcodec": None}, "wav holds no video; permitted among others: mp4"),
        ("a.mp4", {"pix_fmt": "nonsense"}, "permitted: yuv420p"),
        ("a.mp4", {"preset": "nonsense"}, "preset nonsense"),
        ("a.mp4", {"vcodec": "mpeg4", "preset": "fast"}, "mpeg4 has no setting preset"),
        ("missing/a.mp4", {}, "cannot be created"),
        ("file/a.mp4", {}, "cannot be created"),
        ("folder", {"container": "mp4"}, "is a directory"),
    ],
)
def test_what_cannot_be_written_is_one_clear_line(tmp_path, name, settings, words):
    (tmp_path / "file").touch()
    (tmp_path / "folder").mkdir()
    path = name if name == "-" else tmp_path / name
    with pytest.raises(MediaError, match=words) as caught:
        VideoWriter(path, FORM, **settings)
    assert "\n" not in str(caught.value)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["file", "folder"]


def test_frames_are_checked(tmp_path):
    good = np.zeros((24, 32, 3), np.uint8)
    for bad in (
        Frame(good[:-1], 5),
        Frame(good.astype(np.float32), 5),
        Frame(good[..., 0], 5),
        Frame(good, 0),
        Frame(good, -1),
    ):
        with pytest.raises(MediaError, match="expected"):
            write_all(VideoWriter(tmp_path / "a.mp4", FORM), [Frame(good, 0), bad])
    with pytest.raises(MediaError, match="side stream 3"), VideoWriter(tmp_path / "a.mp4", FORM) as writer:
        writer.write_side(SidePacket(3, 0, 0, 1, True, b"x"))
    assert list(tmp_path.iterdir()) == []


def test_strided_and_read_only_pixels(tmp_path):
    pixels = next(moving_square(1))
    pixels.flags.writeable = False
    turned = np.ascontiguousarray(pixels[:, ::-1])[:, ::-1]
    write(tmp_path / "a.mp4", pictures=[pixels, turned])
    _, frames = read(tmp_path / "a.mp4")
    assert np.abs(frames[0].pixels.astype(int) - frames[1].pixels).mean() < 2


@pytest.mark.parametrize("kind", [RuntimeError, KeyboardInterrupt])
def test_nothing_is_left_after_an_exception(tmp_path, kind):
    final = tmp_path / "a.mp4"

    def frames():
        yield from (Frame(pixels, i) for i, pixels in enumerate(moving_square(3)))
        assert not final.exists()
        assert len(list(tmp_path.iterdir())) == 1
        raise kind

    with pytest.raises(kind):
        write_all(VideoWriter(final, FORM), frames())
    assert list(tmp_path.iterdir()) == []


def test_an_existing_file_stays_until_the_new_one_is_complete(tmp_path):
    final = tmp_path / "a.mp4"
    final.write_bytes(b"old")
    with VideoWriter(final, FORM) as writer:
        writer.write(Frame(next(moving_square(1)), 0))
        assert final.read_bytes() == b"old"
    assert len(read(final)[1]) == 1
    writer.close()
    assert [p.name for p in tmp_path.iterdir()] == ["a.mp4"]


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full on this system")
@pytest.mark.parametrize("container", ["mp4", "matroska", "y4m"])
def test_full_disk(container):
    with pytest.raises(MediaError, match="No space left"):
        write("/dev/full", container=container)
    assert os.path.exists("/dev/full")


def test_atomic_path(tmp_path):
    with atomic_path(tmp_path / "clip.gsv") as part:
        assert part.suffix == ".gsv"
        assert part.parent == tmp_path
        part.write_bytes(b"new")
        assert not (tmp_path / "clip.gsv").exists()
    assert (tmp_path / "clip.gsv").read_bytes() == b"new"
    (tmp_path / "link.gsv").symlink_to("clip.gsv")
    with atomic_path(tmp_path / "link.gsv") as part:
        part.write_bytes(b"newer")
    assert (tmp_path / "link.gsv").is_symlink()
    assert (tmp_path / "clip.gsv").read_bytes() == b"newer"
    with pytest.raises(FileNotFoundError), atomic_path(tmp_path / "clip.gsv") as part:
        (tmp_path / "missing").read_bytes()
    assert (tmp_path / "clip.gsv").read_bytes() == b"newer"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["clip.gsv", "link.gsv"]
    with pytest.raises(MediaError, match="replaced"), atomic_path(tmp_path / "x.gsv") as part:
        (tmp_path / "x.gsv").mkdir()
    assert not part.exists()


def test_copying_a_clip_keeps_everything(tmp_path):
    source = write_clip(tmp_path / "in.mp4", moving_square(20), audio="aac", n_audio=40)
    with open_video(source) as reader, VideoWriter(tmp_path / "out.mp4", reader.format, crf=1) as writer:
        for item in reader:
            if isinstance(item, Frame):
                writer.write(item)
    first, second = read(source), read(tmp_path / "out.mp4")
    assert first[0].format == second[0].format
    assert [(f.pts, f.duration) for f in first[1]] == [(f.pts, f.duration) for f in second[1]]
