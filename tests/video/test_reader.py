"""Reading: times, sizes, orientation, ranges, damage, and one clear line for what cannot be read."""

import math
from fractions import Fraction

import av
import numpy as np
import pytest
from video_clips import flat_frame, moving_square, raw_packets, split, write_clip, write_sound

from gscodec.errors import MediaError
from gscodec.video.reader import open_video

VFR_PTS = [5000, 8003, 8900, 14000, 14001, 20000, 27777, 30000]


def read(path, **settings):
    with open_video(path, **settings) as reader:
        frames, _ = split(reader)
        return reader, frames


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    """Return an mp4 of 100 frames, 25 a second, key pictures every 10, with B pictures and sound."""
    path = tmp_path_factory.mktemp("clip") / "clip.mp4"
    options = {"crf": "4", "g": "10", "bf": "2"}
    return write_clip(
        path, moving_square(100), options=options, audio="aac", n_audio=190, metadata={"title": "T"}
    )


def test_frames_have_shape_time_and_duration(clip):
    reader, frames = read(clip)
    assert (reader.format.width, reader.format.height) == (32, 24)
    assert reader.format.frame_rate == 25
    assert reader.n_frames_hint == len(frames) == 100
    assert reader.metadata == {"title": "T"}
    assert reader.warnings == []
    ticks = reader.format.time_base
    assert [f.pts * ticks for f in frames] == [Fraction(i, 25) for i in range(100)]
    assert {f.duration * ticks for f in frames} == {Fraction(1, 25)}
    assert all(f.pixels.shape == (24, 32, 3) and f.pixels.flags.c_contiguous for f in frames)
    assert frames[0].pixels.dtype == np.uint8
    source = list(moving_square(100))
    assert max(np.abs(f.pixels.astype(int) - s).mean() for f, s in zip(frames, source, strict=True)) < 3


@pytest.mark.parametrize(("name", "time_base"), [("mp4", (1, 90000)), ("mkv", (1, 1000))])
def test_variable_frame_rate_survives(tmp_path, name, time_base):
    time_base = Fraction(*time_base)
    scale = str(time_base.denominator)
    options = {"video_track_timescale": scale, "movie_timescale": scale} if name == "mp4" else {}
    pictures = moving_square(len(VFR_PTS))
    path = write_clip(
        tmp_path / f"a.{name}", pictures, pts=VFR_PTS, time_base=time_base, container_options=options
    )
    reader, frames = read(path)
    assert reader.format.time_base == time_base
    assert [f.pts for f in frames] == VFR_PTS
    assert [f.duration for f in frames[:-1]] == list(np.diff(VFR_PTS))
    assert frames[-1].duration > 0


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        *(("16x12", (16, 12)), ((20, 10), (20, 10)), ("12p", (16, 12)), ("48p", (64, 48))),
        *(
            ("16x-2", (16, 12)),
            ("-2x12", (16, 12)),
            ("30x-1", (30, 22)),
            ("30x-4", (30, 24)),
            ("2x-8", (2, 8)),
        ),
    ],
)
def test_size(clip, size, expected):
    reader, frames = read(clip, size=size, max_frames=1)
    assert (reader.format.width, reader.format.height) == expected
    assert frames[0].pixels.shape == (expected[1], expected[0], 3)
    shape = Fraction(expected[0], expected[1]) * reader.format.sample_aspect_ratio
    assert abs(shape / Fraction(32, 24) - 1) < Fraction(1, 100)


def test_shapes_of_pixels_fit_into_a_file(tmp_path, clip):
    def numbers(path, **settings):
        aspect = read(path, max_frames=1, **settings)[0].format.sample_aspect_ratio
        assert max(aspect.numerator, aspect.denominator) <= 65535
        return float(aspect)

    assert numbers(clip, size=(60_000, 1)) == pytest.approx(32 / 24 / 60_000, rel=0.1)
    assert numbers(clip, size=(1, 60_000)) == 65535  # of 80 000
    assert numbers(clip, size=(7, 60_001)) == pytest.approx(32 / 24 / 7 * 60_001, rel=1e-3)


@pytest.mark.parametrize(
    "size",
    [
        "",
        "360",
        "640x",
        "x360",
        "huge",
        "0x10",
        "10x0",
        "0p",
        "-2x-2",
        "0x-2",
        "8x-0",
        (0, 4),
        (-4, 4),
        "999999x999999",
    ],
)
def test_wrong_size_is_an_error(clip, size):
    with pytest.raises(MediaError, match="size"):
        open_video(clip, size=size)


@pytest.mark.parametrize(
    ("start_s", "duration_s", "max_frames", "expected"),
    [
        (None, None, 7, range(7)),
        (0.1, None, None, range(3, 100)),
        (2.5, None, None, range(63, 100)),
        (3.2, 0.2, None, range(80, 85)),
        (0, 0.4, None, range(10)),
        (1.0, 1.0, 5, range(25, 30)),
        (3.9, 10, 99, range(98, 100)),
    ],
)
@pytest.mark.parametrize("ending", ["mp4", "ts"])
def test_ranges_are_exact(clip, tmp_path, ending, start_s, duration_s, max_frames, expected):
    path = clip
    if ending == "ts":  # no index: the same numbers without seeking, first picture not at zero
        path = write_clip(tmp_path / "a.ts", moving_square(100), options={"crf": "4", "g": "10"}, audio="aac")
    with open_video(path, start_s=start_s, duration_s=duration_s, max_frames=max_frames) as reader:
        frames, packets = split(reader)
    _, everything = read(path)
    shift = math.ceil(Fraction(str(start_s or 0)) / reader.format.time_base)  # what was at start_s is first
    assert [f.pts + shift for f in frames] == [everything[i].pts for i in expected]
    assert [f.duration for f in frames] == [everything[i].duration for i in expected]
    for frame, i in zip(frames, expected, strict=True):
        np.testing.assert_array_equal(frame.pixels, everything[i].pixels)
    if frames and ending == "mp4":
        times = [p.pts * reader.side_streams[0].time_base for p in packets]
        begin = frames[0].pts * reader.format.time_base
        end = (frames[-1].pts + frames[-1].duration) * reader.format.time_base
        step = Fraction(1024, 48000)
        if start_s is not None:
            assert begin - Fraction(1, 25) <= times[0] < begin + step
        if duration_s is not None or max_frames is not None:
            assert end - 2 * step <= times[-1] < end or duration_s == 10
        whole = raw_packets(path, "audio")  # sound keeps its distance from the pictures
        begins = next(t for t, _, payload in whole if payload == packets[0].payload)
        assert abs(begins * step / 1024 - times[0] - shift * reader.format.time_base) < Fraction(1, 48000)


def test_an_empty_range_is_an_error(clip):
    for settings in ({"start_s": 9}, {"start_s": 0.01, "duration_s": 0.001}):
        with pytest.raises(MediaError, match="no picture lies in the range"):
            read(clip, **settings)


def test_sound_keeps_up_with_pictures_under_max_frames(clip):
    """Packets held back because of max_frames come out as soon as the pictures reach their time."""
    with open_video(clip, max_frames=90) as reader:
        kinds = [type(item).__name__ for item in reader]
    assert "SidePacket" in kinds[:4]
    assert max(len(run) for run in " ".join(kinds).replace("Frame", "|").split("|")) < 5 * len(" SidePacket")


@pytest.mark.parametrize(
    "settings", [{"start_s": -1}, {"duration_s": float("nan")}, {"duration_s": 0}, {"max_frames": 0}]
)
def test_wrong_range_is_an_error(clip, settings):
    with pytest.raises(MediaError, match="out of range"):
        open_video(clip, **settings)


@pytest.mark.parametrize("degrees", [0, 90, 180, 270])
@pytest.mark.parametrize("flip", [False, True])
def test_rotation_is_applied(tmp_path, degrees, flip):
    def turn(stream):
        stream.set_display_rotation(degrees, hflip=flip)
        stream.codec_context.sample_aspect_ratio = Fraction(4, 3)

    upright = write_clip(tmp_path / "a.mp4", moving_square(2))
    turned = write_clip(tmp_path / "b.mp4", moving_square(2), setup=turn)
    with av.open(str(turned)) as container:
        angle = next(container.decode(video=0)).rotation
    pixels = read(upright)[1][0].pixels
    reader, frames = read(turned)
    expected = [np.rot90(pixels[:, ::-1] if flip else pixels, k) for k in range(4)]
    if not flip:
        np.testing.assert_array_equal(frames[0].pixels, expected[angle // 90 % 4])
    assert any(np.array_equal(frames[0].pixels, e) for e in expected)
    sideways = degrees in (90, 270)
    assert reader.format.sample_aspect_ratio == (Fraction(3, 4) if sideways else Fraction(4, 3))
    assert (reader.format.width, reader.format.height) == ((24, 32) if sideways else (32, 24))
    assert read(turned, size="16p")[0].format.width == (12 if sideways else 22)


@pytest.mark.parametrize(("width", "height"), [(17, 13), (1, 1), (33, 16)])
@pytest.mark.parametrize(
    "pix_fmt", ["yuv420p", "yuv422p", "yuv444p", "yuv420p10le", "gray", "bgr0", "gbrp10le"]
)
def test_sizes_and_sample_formats(tmp_path, width, height, pix_fmt):
    pixels = np.full((height, width, 3), 120, np.uint8)
    path = write_clip(tmp_path / "a.mkv", [pixels, pixels], codec="ffv1", pix_fmt=pix_fmt)
    _, frames = read(path)
    assert len(frames) == 2
    assert frames[0].pixels.shape == (height, width, 3)
    assert np.abs(frames[0].pixels.astype(int) - 120).max() <= 2


def ycbcr(rgb, kr, kb, full, bits):
    """Return Y, Cb, Cr of an 8-bit R'G'B' colour, straight from H.273."""
    r, g, b = (v / 255 for v in rgb)
    y = kr * r + (1 - kr - kb) * g + kb * b
    cb, cr = (b - y) / (2 - 2 * kb), (r - y) / (2 - 2 * kr)
    top, unit = (1 << bits) - 1, 1 << (bits - 8)
    if full:
        return [min(top, round(v)) for v in (y * top, cb * top + 128 * unit, cr * top + 128 * unit)]
    return [
        round((offset + gain * v) * unit)
        for v, offset, gain in ((y, 16, 219), (cb, 128, 224), (cr, 128, 224))
    ]


@pytest.mark.parametrize("pix_fmt", ["yuv444p", "yuv444p10le", "yuv420p"])
@pytest.mark.parametrize("full", [False, True])
@pytest.mark.parametrize(
    ("matrix", "kr", "kb"), [(1, 0.2126, 0.0722), (6, 0.299, 0.114), (9, 0.2627, 0.0593), (2, 0.299, 0.114)]
)
def test_colours_are_those_of_the_stream(tmp_path, pix_fmt, full, matrix, kr, kb):
    colours = [(0, 0, 0), (255, 255, 255), (200, 40, 30), (30, 180, 60), (20, 50, 210), (128, 128, 128)]
    bits = 10 if "10" in pix_fmt else 8
    pictures = [flat_frame(ycbcr(c, kr, kb, full, bits), pix_fmt) for c in colours]

    def tag(stream):
        context = stream.codec_context
        context.colorspace, context.color_range = matrix, 2 if full else 1
        context.color_primaries, context.color_trc = 9, 13

    path = write_clip(tmp_path / "a.mkv", pictures, codec="ffv1", pix_fmt=pix_fmt, setup=tag)
    reader, frames = read(path)
    form = reader.format
    assert (form.matrix, form.primaries, form.transfer, form.full_range) == (matrix, 9, 13, full)
    for colour, frame in zip(colours, frames, strict=True):
        assert np.abs(frame.pixels.astype(int) - colour).max() <= 2


def test_unspecified_matrix_is_bt709_from_720_lines_on(tmp_path):
    picture = flat_frame(ycbcr((200, 40, 30), 0.2126, 0.0722, False, 8), "yuv444p", 16, 720)
    _, frames = read(write_clip(tmp_path / "a.mkv", [picture], codec="ffv1"))
    assert np.abs(frames[0].pixels.astype(int) - (200, 40, 30)).max() <= 2


@pytest.mark.parametrize(("said", "white"), [(0, 235), (1, 255), (2, 235)])
def test_grey_is_full_range_unless_the_stream_says_otherwise(tmp_path, said, white):
    def tag(stream):
        stream.codec_context.color_range = said

    path = write_clip(
        tmp_path / "a.mkv", [flat_frame([235], "gray")], codec="ffv1", pix_fmt="gray", setup=tag
    )
    _, frames = read(path)
    assert (frames[0].pixels == white).all()


def test_unsupported_matrix_falls_back_with_a_warning(tmp_path):
    def tag(stream):
        stream.codec_context.colorspace = 8  # YCgCo

    path = write_clip(
        tmp_path / "a.mkv", [flat_frame((100, 128, 128), "yuv444p")] * 2, codec="ffv1", setup=tag
    )
    reader, frames = read(path)
    assert len(frames) == 2
    assert [w for w in reader.warnings if "matrix 8" in w] == reader.warnings != []


def test_no_times_and_a_change_of_size_midway(tmp_path):
    small = write_clip(tmp_path / "a.h264", moving_square(5), pix_fmt="yuv420p").read_bytes()
    large = write_clip(tmp_path / "b.h264", moving_square(5, 64, 48), pix_fmt="yuv420p").read_bytes()
    path = tmp_path / "both.h264"
    path.write_bytes(small + large)
    reader, frames = read(path)
    assert len(frames) == 10
    assert {f.pixels.shape for f in frames} == {(24, 32, 3)}
    step = frames[1].pts - frames[0].pts
    assert step > 0
    assert [f.pts for f in frames] == [frames[0].pts + i * step for i in range(10)]
    assert len([w for w in reader.warnings if "64x48" in w]) == 1


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv"])
def test_file_cut_in_half_gives_what_is_there(tmp_path, name):
    rng = np.random.default_rng(0)
    noise = [rng.integers(0, 255, (24, 32, 3), dtype=np.uint8) for _ in range(40)]
    options = {"movflags": "faststart"} if name.endswith("mp4") else {}
    path = write_clip(tmp_path / name, noise, container_options=options, audio="aac", n_audio=70)
    assert read(path)[0].warnings == []
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    reader, frames = read(path)
    assert 5 < len(frames) < 35
    assert len(reader.warnings) >= 1


def test_cut_before_the_index_is_one_clear_line(tmp_path, clip):
    path = tmp_path / "cut.mp4"
    path.write_bytes(clip.read_bytes()[:3000])
    with pytest.raises(MediaError, match=r"cannot read it as media \(its last \d+ bytes are missing\)"):
        open_video(path)


def test_damage_inside_is_a_warning(tmp_path, clip):
    data = bytearray(clip.read_bytes())
    rng = np.random.default_rng(1)
    with av.open(str(clip)) as container:
        packets = [(p.pos, p.size) for p in container.demux(video=0) if p.size]
    for pos, n_bytes in packets[20:40]:
        data[pos : pos + n_bytes] = rng.bytes(n_bytes)
    path = tmp_path / "bad.mp4"
    path.write_bytes(data)
    reader, frames = read(path)
    assert len(frames) >= 60
    assert any("could not be decoded" in w for w in reader.warnings)


def test_cover_picture_is_no_video(tmp_path):
    path = tmp_path / "song.m4a"
    with av.open(str(path), "w", format="mp4") as out:
        cover = out.add_stream("mjpeg", rate=1)
        cover.width, cover.height, cover.pix_fmt = 32, 24, "yuvj420p"
        cover.disposition = av.stream.Disposition.attached_pic
        sound = out.add_stream("aac", rate=48000)
        picture = av.VideoFrame(32, 24, "yuvj420p")
        picture.pts = 0
        out.mux(cover.encode(picture))
        out.mux(cover.encode(None))
        write_sound(out, sound, 5)
    with pytest.raises(MediaError, match=r"no video, only audio \(aac\)"):
        open_video(path)


def test_tags_in_another_encoding(tmp_path):
    path = write_clip(tmp_path / "a.mkv", moving_square(2), metadata={"title": "QWERTZ"})
    path.write_bytes(path.read_bytes().replace(b"QWERTZ", "Ä äöü".encode("latin-1") + b"!"))
    reader, _ = read(path)
    assert reader.metadata["title"] == "\ufffd \ufffd\ufffd\ufffd!"


def test_what_cannot_be_read_is_one_clear_line(tmp_path):
    text = tmp_path / "text.mp4"
    text.write_text("hello, I am a text file\n" * 50)
    art = tmp_path / "art.txt"
    art.write_text("hello, I am a text file\n" * 50)
    (tmp_path / "empty.mp4").touch()
    (tmp_path / "folder.mp4").mkdir()
    with av.open(str(tmp_path / "no_frames.mp4"), "w", container_options={"movflags": "empty_moov"}) as out:
        video = out.add_stream("libx264", rate=25)
        video.width = video.height = 16
        out.start_encoding()
    for name, words in (
        ("missing.mp4", "no such file"),
        ("empty.mp4", "empty"),
        ("folder.mp4", "directory"),
        ("text.mp4", "expected a video"),
        ("art.txt", "no video|expected a video"),
        ("no_frames.mp4", "no picture could be decoded|cannot read it"),
    ):
        with pytest.raises(MediaError, match=words) as caught:
            open_video(tmp_path / name)
        assert name in str(caught.value)
        assert "\n" not in str(caught.value)
