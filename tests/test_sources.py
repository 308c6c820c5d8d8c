"""Sources besides files: raw and numbered pictures, pipes, URLs; and the parts of them that are taken."""

from __future__ import annotations

import http.server
import json
import os
import signal
import subprocess
import threading
from fractions import Fraction

import av
import numpy as np
import pytest
from video_clips import moving_square, split, write_clip

from cli_tools import QUICK, fail, make_clip, start, succeed
from gscodec import GsvReader
from gscodec.video.frame import Frame
from gscodec.video.frame_rate import at_rate
from gscodec.video.reader import open_video
from gscodec.video.source import SourceFormat

RAW = ("-f", "rawvideo", "--pix-fmt", "rgb24", "--input-size", "48x32", "--rate", "30")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """clip.mp4 with sound; the same five pictures as .rgb, .y4m, PNG, JPEG and WebP."""
    folder = tmp_path_factory.mktemp("sources")
    make_clip(folder / "clip.mp4", 5, audio="aac", n_audio=60)
    pictures = np.stack(list(moving_square(5, 48, 32)))
    pictures.tofile(folder / "a.rgb")
    write_clip(folder / "a.y4m", pictures, codec="rawvideo", container="yuv4mpegpipe")
    for i, picture in enumerate(pictures, 1):
        for extension, codec, pix_fmt in (("png", "png", "rgb24"), ("jpg", "mjpeg", "yuvj444p")):
            frame = av.VideoFrame.from_ndarray(picture, "rgb24")
            frame = frame.reformat(format=pix_fmt, dst_color_range=2)
            write_clip(
                folder / f"{i:03d}.{extension}", [frame], codec=codec, pix_fmt=pix_fmt, container="image2"
            )
    return folder


def facts_of(path):
    return json.loads(succeed("info", path, "--json").stdout)


def pictures_of(path, **source):
    with open_video(path, source=SourceFormat(**source)) as reader:
        frames, _ = split(reader)
        return reader, np.stack([f.pixels for f in frames])


def test_raw_pictures(folder, tmp_path):
    reader, got = pictures_of(
        folder / "a.rgb", container="rawvideo", pix_fmt="rgb24", size=(48, 32), rate=Fraction(30)
    )
    np.testing.assert_array_equal(got, list(moving_square(5, 48, 32)))
    assert (reader.format.frame_rate, reader.format.full_range) == (30, True)
    process = start("encode", *RAW, "-", "-", *QUICK, stdin=subprocess.PIPE, text=False)
    stdout, stderr = process.communicate((folder / "a.rgb").read_bytes(), timeout=60)
    assert process.returncode == 0, stderr
    (tmp_path / "a.gsv").write_bytes(stdout)
    facts = facts_of(tmp_path / "a.gsv")
    assert (facts["width"], facts["height"], facts["frames"], facts["frame_rate"]) == (48, 32, 5, "30")
    # --size is what it is scaled to; the extension says rawvideo too.
    succeed("encode", folder / "a.rgb", tmp_path / "b.gsv", *RAW[2:], "--size", "24x16", *QUICK)
    assert facts_of(tmp_path / "b.gsv")["width"] == 24


def test_y4m_through_a_pipe_and_back(folder):
    encode = start("encode", "-", "-", *QUICK, stdin=subprocess.PIPE, text=False)
    decode = start("decode", "-", "-", stdin=encode.stdout, text=False)
    encode.stdin.write((folder / "a.y4m").read_bytes())
    encode.stdin.close()
    y4m, said = decode.communicate(timeout=60)
    assert (encode.wait(), decode.returncode) == (0, 0)
    encode.stdout.close()
    encode.stderr.close()
    assert y4m.startswith(b"YUV4MPEG2 W48 H32 F25:1")
    assert said.startswith(b"-: Y4M, since no -f names another container\n")


@pytest.mark.parametrize("extension", ["png", "jpg"])
def test_numbered_pictures(folder, tmp_path, extension):
    reader, got = pictures_of(folder / f"%03d.{extension}", rate=Fraction(10))
    assert np.abs(got.astype(int) - np.stack(list(moving_square(5, 48, 32)))).mean() <= 2
    assert reader.format.frame_rate == 10
    succeed("encode", folder / f"%03d.{extension}", tmp_path / "a.gsv", "--rate", "10", *QUICK)
    facts = facts_of(tmp_path / "a.gsv")
    assert (facts["frames"], facts["duration_s"]) == (5, 0.5)


def test_numbered_pictures_in_a_folder_with_a_percent_sign(folder, tmp_path):
    (tmp_path / "100% %d").mkdir()
    for i in (4, 5):
        (tmp_path / "100% %d" / f"{i}.png").write_bytes((folder / f"00{i}.png").read_bytes())
    assert len(pictures_of(tmp_path / "100% %d" / "%d.png")[1]) == 2


@pytest.mark.parametrize("name", ["001.png", "001.jpg"])
def test_one_picture_is_a_gsv_of_one_frame(folder, tmp_path, name):
    succeed("encode", folder / name, tmp_path / "a.gsv", *QUICK)
    assert facts_of(tmp_path / "a.gsv")["frames"] == 1
    succeed("decode", tmp_path / "a.gsv", tmp_path / "a.png")
    with av.open(str(tmp_path / "a.png")) as container:
        assert (container.streams.video[0].width, container.streams.video[0].height) == (48, 32)


@pytest.mark.parametrize(
    ("args", "words", "code"),
    [
        (("a.rgb",), "raw pictures do not say what they are; give --pix-fmt", 1),
        (("a.rgb", "--pix-fmt", "rgb24"), "raw pictures do not say what they are", 1),
        (("a.rgb", "--pix-fmt", "nonsense", "--input-size", "48x32"), "'nonsense' is unknown to FFmpeg", 1),
        (("a.rgb", "--input-size", "48"), "--input-size '48' is unknown; permitted: WxH", 2),
        (("a.rgb", "--rate", "0"), "'0' is no frame rate; permitted: more than 0", 2),
        (("a.rgb", "--rate", "1/0"), "'1/0' is no frame rate", 2),
        (("clip.mp4", "--input-size", "48x32"), "says itself what size its pictures have", 1),
        (("clip.mp4", "--rate", "30"), "says itself what rate its pictures have", 1),
        (("clip.mp4", "-f", "nonsense"), "FFmpeg cannot read it as nonsense", 1),
        (("x%d.png",), "no picture", 1),
        (("http://127.0.0.1:9/a.mp4",), "FFmpeg cannot read it as media (Connection refused)", 1),
        (("clip.mp4", "--fps", "fast"), "'fast' is no frame rate", 2),
        (("clip.mp4", "--start", "1:2:3:4"), "'1:2:3:4' is no time; expected 12.5 or hh:mm:ss.f", 2),
        (("clip.mp4", "--start", "1:75"), "'1:75' is no time", 2),
        (("clip.mp4", "--start", "-1"), "--start -1 is out of range", 2),
        (("clip.mp4", "--bitrate", "lots"), "'lots' is no bitrate; permitted: kb/s such as 200, 200k", 2),
        (("clip.mp4", "--audio-bitrate", "1"), "permitted: 6 to 510 kb/s", 2),
        (("clip.mp4", "--audio-bitrate", "24k", "--no-audio"), "contradict each other", 2),
    ],
)
def test_bad_sources_are_one_clear_line(folder, tmp_path, args, words, code):
    name = args[0] if "://" in args[0] else folder / args[0]
    assert words in fail("encode", name, tmp_path / "a.gsv", *args[1:], *QUICK, code=code, folder=tmp_path)


@pytest.mark.parametrize(("text", "frames"), [("0.08", 3), ("0:0.08", 3), ("00:00:00.12", 2), ("0", 5)])
def test_times(folder, tmp_path, text, frames):
    succeed("encode", folder / "clip.mp4", tmp_path / "a.gsv", "--start", text, *QUICK)
    assert facts_of(tmp_path / "a.gsv")["frames"] == frames


def test_a_url(folder, tmp_path):
    class Quiet(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *args, **settings):
            super().__init__(*args, directory=str(folder), **settings)

        def log_message(self, *_args):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Quiet) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}/clip.mp4"
        succeed("encode", url, tmp_path / "a.gsv", *QUICK)
        succeed("encode", folder / "clip.mp4", tmp_path / "b.gsv", *QUICK)
        server.shutdown()
    assert (tmp_path / "a.gsv").read_bytes() == (tmp_path / "b.gsv").read_bytes()


def test_a_live_source_is_interrupted_cleanly(folder, tmp_path):
    """A FIFO that sends some frames and then nothing: Ctrl-C ends it at once and leaves nothing."""
    fifo = tmp_path / "camera"
    os.mkfifo(fifo)
    process = start("encode", *RAW, fifo, tmp_path / "a.gsv", *QUICK, "--progress", "json")
    with open(fifo, "wb") as camera:
        camera.write((folder / "a.rgb").read_bytes() * 20)
        camera.flush()
        process.stderr.readline()  # it has begun to encode
        process.send_signal(signal.SIGINT)
        _, stderr = process.communicate(timeout=30)
    assert process.returncode == 130
    assert stderr.endswith("gscodec: error: interrupted\n")
    assert [path.name for path in tmp_path.iterdir()] == ["camera"]


def test_another_rate(folder, tmp_path):
    for fps, frames in (("50", 10), ("12.5", 3), ("25", 5)):
        succeed("encode", folder / "clip.mp4", tmp_path / "a.gsv", "-y", "--fps", fps, "--no-audio", *QUICK)
        facts = facts_of(tmp_path / "a.gsv")
        assert (facts["frames"], facts["frame_rate"]) == (frames, str(Fraction(fps)))


@pytest.mark.parametrize("fps", [Fraction(10), Fraction(30_000, 1001), Fraction(60), Fraction(7, 2)])
def test_rates_against_looking_up_every_time(fps):
    """What is shown in a slot is the last picture whose own slot is not later."""
    rng = np.random.default_rng(5)
    pts = np.cumsum(rng.integers(1, 5000, 40)).tolist()
    items = [
        (i, t, after - t) for i, (t, after) in enumerate(zip(pts, [*pts[1:], pts[-1] + 900], strict=True))
    ]
    got = list(at_rate(iter(items), Fraction(1, 30_000), fps))
    slots = [int(Fraction(t, 30_000) * fps + Fraction(1, 2)) for t in pts]
    end = int(Fraction(pts[-1] + 900, 30_000) * fps + Fraction(1, 2))
    times = range(slots[0], max(end, slots[-1] + 1))
    assert [(t, d) for _, t, d in got] == [(t, 1) for t in times]
    assert [i for i, _, _ in got] == [max(i for i, s in enumerate(slots) if s <= t) for t in times]


def test_sound_left_out_and_coded_anew(folder, tmp_path):
    succeed("encode", folder / "clip.mp4", tmp_path / "none.gsv", "--no-audio", *QUICK)
    assert facts_of(tmp_path / "none.gsv")["side_streams"] == []
    done = succeed("encode", folder / "clip.mp4", tmp_path / "aac.gsv", *QUICK)
    assert "% sound)" in done.stderr
    for kbit in (8, 64):
        succeed(
            "encode", folder / "clip.mp4", tmp_path / f"{kbit}.gsv", "--audio-bitrate", f"{kbit}k", *QUICK
        )
    low, high = (facts_of(tmp_path / f"{kbit}.gsv")["side_streams"] for kbit in (8, 64))
    assert [s["codec"] for s in low] == ["opus"]
    assert 2 * low[0]["bytes"] < high[0]["bytes"]
    succeed("decode", tmp_path / "64.gsv", tmp_path / "a.mkv")
    with av.open(str(tmp_path / "a.mkv")) as got, av.open(str(folder / "clip.mp4")) as given:
        sound, before = (
            np.concatenate([f.to_ndarray() for f in c.decode(audio=0)], axis=1).std() for c in (got, given)
        )
        assert 0.5 * before < sound < 1.5 * before


def test_sound_coded_anew_keeps_its_time(tmp_path):
    """Silence, then noise from 0.6 s on: so it is in the part from 0.4 s on too, 0.2 s in."""
    path = tmp_path / "a.mkv"
    with av.open(str(path), "w") as out:
        video = out.add_stream("libx264", rate=25, options={"g": "1"})
        video.width, video.height, video.pix_fmt = 32, 24, "yuv420p"
        sound = out.add_stream("flac", rate=44_100)
        samples = np.zeros((1, 2 * 44_100), np.int16)
        samples[0, 2 * 26_460 :] = np.random.default_rng(0).integers(-9000, 9000, 2 * 17_640)
        block = av.AudioFrame.from_ndarray(samples, format="s16", layout="stereo")
        block.sample_rate, block.pts = 44_100, 0
        for i, pixels in enumerate(moving_square(25)):
            frame = av.VideoFrame.from_ndarray(pixels, "rgb24")
            frame.pts, frame.time_base = i, Fraction(1, 25)
            out.mux(video.encode(frame))
        resampler = av.AudioResampler(format="s16", layout="stereo", rate=44_100, frame_size=1024)
        for part in [*resampler.resample(block), *resampler.resample(None)]:
            out.mux(sound.encode(part))
        out.mux([*sound.encode(None), *video.encode(None)])
    for begin, expected in ((0, 0.6), (0.4, 0.2)):
        succeed("encode", path, tmp_path / "a.gsv", "-y", "--audio-bitrate", "96k", "--start", begin, *QUICK)
        succeed("decode", tmp_path / "a.gsv", tmp_path / "b.mkv", "-y")
        with av.open(str(tmp_path / "b.mkv")) as container:
            onset = next(
                f.time + np.argmax(np.abs(f.to_ndarray()[0]) > 0.1) / f.sample_rate
                for f in container.decode(audio=0)
                if np.abs(f.to_ndarray()).max() > 0.1
            )
        assert abs(onset - expected) < 0.012


def shown(path, *args, folder):
    succeed("decode", path, folder / "part.mkv", "-y", "--vcodec", "ffv1", *args)
    with open_video(folder / "part.mkv") as reader:
        frames, packets = split(reader)
        return frames, packets, reader.format.time_base


@pytest.fixture(scope="module")
def long_gsv(tmp_path_factory):
    """Twenty frames in GOPs of four, with sound."""
    folder = tmp_path_factory.mktemp("long")
    make_clip(folder / "a.mkv", 20, audio="flac", n_audio=40)
    succeed("encode", folder / "a.mkv", folder / "a.gsv", "--gop", "4", "--no-open-gop", *QUICK)
    return folder / "a.gsv"


@pytest.mark.parametrize(
    ("args", "part"),
    [
        (("--start", "0.4"), slice(10, None)),
        (("--start", "0:0.4", "--duration", "0.2"), slice(10, 15)),
        (("--duration", "0.12"), slice(0, 3)),
        (("--start", "0.32", "--frames", "2"), slice(8, 10)),
    ],
)
@pytest.mark.parametrize("cut", [False, True])
def test_a_part_is_decoded(long_gsv, tmp_path, args, part, cut):
    """The same pixels as those of the whole file, times from the start on; with the index and without."""
    whole, _, _ = shown(long_gsv, folder=tmp_path)
    source = long_gsv
    if cut:
        source = tmp_path / "cut.gsv"
        source.write_bytes(long_gsv.read_bytes()[:-3])
        args = (*args, "--allow-partial")
    frames, packets, _ = shown(source, *args, folder=tmp_path)
    expected = whole[part]
    assert [f.pts - frames[0].pts for f in frames] == [f.pts - expected[0].pts for f in expected]
    assert frames[0].pts == whole[0].pts
    for got, wanted in zip(frames, expected, strict=True):
        np.testing.assert_array_equal(got.pixels, wanted.pixels)
    assert packets[0].pts < 100  # FLAC has packets of 96 ms
    if "--frames" not in args:  # of which the last one's time is known only when sound past it is written
        assert all(0 <= p.pts * 1e-3 < len(expected) / 25 for p in packets)


def test_a_part_begins_at_the_keyframe_before_it(tmp_path):
    """Two seconds in GOPs of four frames, no sound: not more than one GOP is read before the part."""
    make_clip(tmp_path / "a.mkv", 50)
    succeed("encode", tmp_path / "a.mkv", tmp_path / "a.gsv", "--gop", "4", "--no-open-gop", *QUICK)
    from gscodec.decode.span import Span

    with GsvReader(tmp_path / "a.gsv") as reader:
        index = reader.index()
        Span(reader, 1.0, None)
        first = next(iter(reader))
        after = [k.pts for k in index.keyframes if k.pts > first.pts]
        assert first.pts * reader.streams[0].time_base <= 1 < after[0] * reader.streams[0].time_base
        # Frames may be counted on another clock than the file's: here in sixtieths of a second.
        span = Span(reader, 1.0, 0.5, Fraction(1, 60))
        pixels = np.zeros((1, 1, 3), np.uint8)
        parts = [span.frame(Frame(pixels, pts, 1)) for pts in (59, 60, 89, 90)]
        assert [part and part.pts for part in parts] == [None, 0, 29, None]
        assert span.is_past


@pytest.mark.parametrize(
    ("args", "words", "code"),
    [
        (("--start", "9"), "holds no frames in the range asked for; give an earlier --start", 1),
        (("--start", "inf"), "--start inf is out of range", 2),
        (("--duration", "0"), "--duration 0 is out of range", 2),
        (("--start", "soon"), "'soon' is no time", 2),
    ],
)
def test_parts_that_are_not_there(long_gsv, tmp_path, args, words, code):
    assert words in fail("decode", long_gsv, tmp_path / "a.mp4", *args, code=code, folder=tmp_path)
