"""Writing with alpha: what each container and encoder gives back when decoded, and what has no room."""

from fractions import Fraction

import av
import numpy as np
import pytest

from gscodec.errors import MediaError
from gscodec.video.frame import Frame, VideoFormat
from gscodec.video.output_format import ALPHA_CARRIERS, choose_encoder, has_alpha
from gscodec.video.writer import VideoWriter

FORM = VideoFormat(32, 24, Fraction(1, 25), Fraction(25))
EXTENSIONS = {"mov": "mov", "webm": "webm", "matroska": "mkv", "image2": "png", "rawvideo": "rgb"}
PAIRS = [(muxer, encoder) for muxer, encoders in ALPHA_CARRIERS.items() for encoder in encoders]
LOSSLESS = {"ffv1", "qtrle", "png", "rawvideo"}


def pictures(n=3, width=32, height=24):
    """RGBA: a ramp of alpha from left to right over two colours, moving; alpha is no multiple of anything."""
    made = np.zeros((n, height, width, 4), np.uint8)
    made[..., :3] = (40, 90, 160)
    made[:, 8:16, 8:24, :3] = (220, 200, 30)
    for i in range(n):
        made[i, ..., 3] = np.roll(np.linspace(0, 255, width).astype(np.uint8), i)
    return made


def write(path, frames, form=FORM, **settings):
    with VideoWriter(path, form, alpha=True, **settings) as writer:
        for i, pixels in enumerate(frames):
            writer.write(Frame(pixels, i, 1))


def read(path, encoder, form=FORM):
    """Decode to uint8 [T, H, W, 4] with PyAV alone; FFmpeg's own VP9 decoder would leave the alpha out."""
    if path.suffix == ".rgb":
        return np.fromfile(path, np.uint8).reshape(-1, form.height, form.width, 4)
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        vp9 = encoder == "libvpx-vp9"
        decoder = av.CodecContext.create("libvpx-vp9", "r") if vp9 else stream.codec_context
        packets = [p for p in container.demux(stream) if p.size]
        frames = [f for p in [*packets, None] for f in decoder.decode(p)]
        assert all(has_alpha(f.format.name) for f in frames)
        return np.stack([_rgba(f) for f in frames])


def _rgba(frame):
    rgba = frame.to_ndarray(format="rgba")
    if frame.format.name == "yuva420p":  # swscale 9 reads the last columns of its alpha from elsewhere
        plane = frame.planes[3]
        rgba[..., 3] = np.frombuffer(plane, np.uint8).reshape(-1, plane.line_size)[:, : frame.width]
    return rgba


@pytest.mark.parametrize(("muxer", "encoder"), PAIRS)
@pytest.mark.parametrize("width", [32, 33])
def test_alpha_comes_back(tmp_path, muxer, encoder, width):
    form = VideoFormat(width, 24, Fraction(1, 25), Fraction(25))
    extension = "webp" if encoder == "libwebp" else EXTENSIONS[muxer]
    path = tmp_path / f"{'%d' if muxer == 'image2' else 'a'}.{extension}"
    given = pictures(width=width)
    write(path, given, form, vcodec=encoder)
    got = read(path, encoder, form)
    assert got.shape == given.shape
    error = np.abs(got.astype(int) - given)
    if encoder in LOSSLESS:
        assert error.max() == 0
    else:
        assert error[..., 3].mean() < 2
        assert error[..., 3].max() <= 12
        assert error[..., :3].mean() < 10


@pytest.mark.parametrize("full", [False, True])
def test_alpha_is_full_range_and_straight_whatever_the_colours_are(tmp_path, full):
    form = VideoFormat(32, 24, Fraction(1, 25), Fraction(25), matrix=1, full_range=full)
    given = np.full((2, 24, 32, 4), (200, 120, 60, 0), np.uint8)
    given[1, ..., 3] = 255
    write(tmp_path / "a.mov", given, form)
    got = read(tmp_path / "a.mov", "prores_ks", form)
    assert np.abs(got[..., 3].astype(int) - given[..., 3]).max() == 0
    np.testing.assert_allclose(got[0, ..., :3], got[1, ..., :3], atol=2)  # not multiplied by alpha
    with av.open(str(tmp_path / "a.mov")) as container:
        frame = next(container.decode(video=0))
        assert int(frame.colorspace) == 1
        if not full:  # PyAV's to_ndarray knows no matrix; BT.601 errs by some ten code values here
            assert np.abs(got[0, 0, 0, :3].astype(int) - (200, 120, 60)).max() <= 12


@pytest.mark.parametrize(
    ("name", "encoder"), [("a.mov", "prores"), ("a.webm", "vp9"), ("a.mkv", "ffv1"), ("a.rgb", "rawvideo")]
)
def test_what_a_container_takes_unasked(tmp_path, name, encoder):
    write(tmp_path / name, pictures())
    if name != "a.rgb":
        with av.open(str(tmp_path / name)) as container:
            assert container.streams.video[0].codec.canonical_name == encoder
    taken = {"prores": "prores_ks", "vp9": "libvpx-vp9"}.get(encoder, encoder)
    assert read(tmp_path / name, taken).shape == (3, 24, 32, 4)


@pytest.mark.parametrize(
    ("name", "settings", "words"),
    [
        ("a.mp4", {}, r"mp4 carries no alpha; these do: \.mov \(prores_ks, qtrle, png\); \.webm"),
        ("a.mp4", {"vcodec": "libx264"}, "mp4 with encoder libx264 carries no alpha; these do"),
        ("a.mov", {"vcodec": "libx264"}, "mov with encoder libx264 carries no alpha; these do"),
        ("a.avi", {}, "avi carries no alpha"),
        ("a.y4m", {}, "yuv4mpegpipe carries no alpha"),
        ("a.mov", {"vcodec": "nonsense"}, "'nonsense' is not a video encoder"),
        ("a.webm", {"vcodec": "ffv1"}, "cannot be put into webm"),
        ("a.mkv", {"pix_fmt": "yuv420p"}, "'yuv420p' has no alpha; ffv1 has it with: .*bgra"),
        ("a.mkv", {"vcodec": "rawvideo", "pix_fmt": "rgb24"}, "no alpha; rawvideo has it with: rgba"),
    ],
)
def test_what_has_no_room_for_alpha_is_one_clear_line(tmp_path, name, settings, words):
    with pytest.raises(MediaError, match=words) as caught:
        VideoWriter(tmp_path / name, FORM, alpha=True, **settings)
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_frames_must_be_of_the_kind_that_was_announced(tmp_path):
    for alpha, channels in ((True, 3), (False, 4)):
        with (
            pytest.raises(MediaError, match=rf"expected uint8 \(24, 32, {7 - channels}\)"),
            VideoWriter(tmp_path / "a.mkv", FORM, alpha=alpha) as writer,
        ):
            writer.write(Frame(np.zeros((24, 32, channels), np.uint8), 0))
    assert list(tmp_path.iterdir()) == []


def test_a_given_pixel_format_with_alpha_is_kept(tmp_path):
    write(tmp_path / "a.mkv", pictures(), pix_fmt="yuva444p")
    with av.open(str(tmp_path / "a.mkv")) as container:
        assert container.streams.video[0].format.name == "yuva444p"


def test_unknown_muxers_are_refused_too():
    with pytest.raises(MediaError, match="flv carries no alpha"):
        choose_encoder("a.flv", "flv", None, "flv1", True)
