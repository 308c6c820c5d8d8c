"""Whole files: video to .gsv and back, with times, sound and figures."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction

import av
import cv2
import numpy as np
import pytest
from video_clips import raw_packets, write_clip

from cli_tools import disc_frames, make_clip
from gscodec import (
    Decoder,
    EncoderConfig,
    GsvReader,
    decode_file,
    encode_file,
    encoder_config,
    inspect_file,
    transcode,
)
from gscodec.config import ENTROPY_CODERS
from gscodec.container.headers import FrameType
from gscodec.errors import BitstreamError, ConfigError, CorruptError, MediaError
from gscodec.metrics import psnr
from gscodec.video.frame import Frame
from gscodec.video.reader import open_video

VFR_PTS = [5000, 8003, 8900, 14000, 14001, 20000, 27777, 30000]


def quick(**settings: object) -> EncoderConfig:
    """A configuration that takes milliseconds."""
    few = {"gaussians": 30, "iterations": 10, "p_iterations": 3, "roi": "full", "threads": 1}
    return encoder_config("realtime", **{**few, **settings})


def pictures(path, **settings):
    """Frames of a video file and its format."""
    with open_video(path, **settings) as reader:
        return [item for item in reader if isinstance(item, Frame)], reader.format


def video_packets(path):
    with GsvReader(path) as reader:
        return [packet for packet in reader if packet.frame_type is not None]


def hashes(packets):
    return [(pts, dts, hashlib.sha256(payload).hexdigest()) for pts, dts, payload in packets]


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    path = tmp_path_factory.mktemp("clip") / "clip.mkv"
    return make_clip(path, 12, audio="aac", n_audio=12, subtitle="subrip", metadata={"title": "Disc"})


@pytest.fixture(scope="module")
def gsv(clip):
    path = clip.with_suffix(".gsv")
    encode_file(clip, path, quick(gop_length=5))
    return path


@pytest.mark.parametrize("entropy", ENTROPY_CODERS)
@pytest.mark.parametrize("background", ["coarse", "none"])
def test_round_trip_keeps_the_picture(entropy, background, tmp_path):
    clip = make_clip(tmp_path / "a.mp4", 6)
    config = quick(entropy=entropy, background=background, gaussians=80, iterations=60)
    tally = encode_file(clip, tmp_path / "a.gsv", config)
    decode_file(tmp_path / "a.gsv", tmp_path / "b.mp4", crf=4)
    before, after = pictures(clip)[0], pictures(tmp_path / "b.mp4")[0]
    quality = [psnr(a.pixels, b.pixels) for a, b in zip(before, after, strict=True)]
    assert min(quality) > 22
    assert np.mean(quality) == pytest.approx(tally.psnr_db, abs=1)


def test_tally_counts_what_is_in_the_file(clip, tmp_path):
    seen = []
    tally = encode_file(
        clip, tmp_path / "a.gsv", quick(gop_length=5), progress=lambda t: seen.append((t.n_frames, t.n_bytes))
    )
    facts = inspect_file(tmp_path / "a.gsv")
    assert tally.n_bytes == facts["file_bytes"] == (tmp_path / "a.gsv").stat().st_size
    assert tally.n_frames == facts["frames"] == 12
    assert tally.n_iframes == facts["gops"] == 3
    assert [n for n, _ in seen] == list(range(1, 13))
    assert [n_bytes for _, n_bytes in seen] == sorted({n_bytes for _, n_bytes in seen})
    assert tally.duration_s == pytest.approx(12 / 25)
    payload = sum(row["bytes"] for row in facts["frame_types"].values())
    payload += sum(stream["bytes"] for stream in facts["side_streams"])
    assert facts["overhead_bytes"] == facts["file_bytes"] - payload
    assert tally.n_video_bytes > sum(row["bytes"] for row in facts["frame_types"].values())


def test_psnr_is_that_of_the_decoder(clip, gsv, tmp_path):
    """What encoding reports is measured on exactly the pictures that decoding gives."""
    tally = encode_file(clip, tmp_path / "a.gsv", quick(gop_length=5))
    frames, _ = pictures(clip)
    error = samples = 0
    with GsvReader(tmp_path / "a.gsv") as reader:
        decoder = Decoder(reader.sequence, threads=1)
        shown = (packet for packet in decoder.frames(reader) if packet.frame_type is not None)
        for frame, _ in zip(frames, shown, strict=True):
            difference = decoder.render().astype(int) - frame.pixels
            error, samples = error + int((difference**2).sum()), samples + difference.size
    assert 10 * np.log10(255**2 * samples / error) == pytest.approx(tally.psnr_db, abs=0.02)


def test_sound_and_subtitles_are_bit_identical(clip, gsv, tmp_path):
    decode_file(gsv, tmp_path / "b.mkv")
    for kind in ("audio", "subtitle"):
        packets = raw_packets(clip, kind)
        assert packets
        assert hashes(raw_packets(tmp_path / "b.mkv", kind)) == hashes(packets)
    facts = inspect_file(gsv)
    assert [stream["kind"] for stream in facts["side_streams"]] == ["audio", "subtitle"]
    assert facts["metadata"]["title"] == "Disc"


@pytest.mark.parametrize("name", ["mp4", "mov", "mkv"])
def test_sound_survives_in_other_containers(name, tmp_path):
    clip = make_clip(tmp_path / "a.mp4", 6, audio="aac", n_audio=10)
    encode_file(clip, tmp_path / "a.gsv", quick())
    decode_file(tmp_path / "a.gsv", tmp_path / f"b.{name}")
    payloads = [payload for _, _, payload in raw_packets(tmp_path / f"b.{name}", "audio")]
    assert payloads == [payload for _, _, payload in raw_packets(clip, "audio")]


@pytest.mark.parametrize(("name", "den"), [("mp4", 90_000), ("mkv", 1000)])
def test_variable_frame_rate_survives(name, den, tmp_path):
    scale = {"video_track_timescale": str(den), "movie_timescale": str(den)} if name == "mp4" else {}
    clip = write_clip(
        tmp_path / f"a.{name}",
        disc_frames(len(VFR_PTS)),
        pts=VFR_PTS,
        time_base=Fraction(1, den),
        container_options=scale,
    )
    encode_file(clip, tmp_path / "a.gsv", quick())
    assert [packet.pts for packet in video_packets(tmp_path / "a.gsv")] == VFR_PTS
    decode_file(tmp_path / "a.gsv", tmp_path / f"b.{name}")
    frames, video = pictures(tmp_path / f"b.{name}")
    assert [frame.pts for frame in frames] == VFR_PTS
    assert video.time_base == Fraction(1, den)


def test_format_is_carried(tmp_path):
    def setup(stream):
        context = stream.codec_context
        context.sample_aspect_ratio = Fraction(4, 3)
        context.colorspace, context.color_primaries, context.color_trc = 1, 1, 1
        context.color_range = 2

    clip = make_clip(tmp_path / "a.mp4", 2, setup=setup)
    encode_file(clip, tmp_path / "a.gsv", quick())
    decode_file(tmp_path / "a.gsv", tmp_path / "b.mp4")
    before, after = pictures(clip)[1], pictures(tmp_path / "b.mp4")[1]
    assert after == before
    assert after.sample_aspect_ratio == Fraction(4, 3)
    assert (after.matrix, after.full_range) == (1, True)


def test_size_and_range(tmp_path):
    clip = make_clip(tmp_path / "a.mp4", 25)
    tally = encode_file(clip, tmp_path / "a.gsv", quick(), size="16p", start_s=0.2, duration_s=0.4)
    facts = inspect_file(tmp_path / "a.gsv")
    assert (facts["width"], facts["height"]) == (24, 16)
    assert tally.n_frames == 10
    assert encode_file(clip, tmp_path / "b.gsv", quick(), max_frames=3).n_frames == 3
    assert decode_file(tmp_path / "a.gsv", tmp_path / "b.mp4", max_frames=4).n_frames == 4
    frames, video = pictures(tmp_path / "b.mp4")
    assert [frame.pts * video.time_base for frame in frames] == [Fraction(n, 25) for n in range(4)]


@pytest.mark.parametrize(
    ("size", "wanted", "aspect"),
    [("2x", (96, 64), 1), ("0.5x", (24, 16), 1), ("48p", (72, 48), 1), ("90x30", (90, 30), Fraction(1, 2))],
)
def test_decoding_at_another_size(gsv, tmp_path, size, wanted, aspect):
    """The Gaussians are drawn at that size; the picture keeps its shape, and sound its packets."""
    decode_file(gsv, tmp_path / "a.mkv", crf=8)
    decode_file(gsv, tmp_path / "b.mkv", size=size, crf=8)
    (before, _), (after, video) = pictures(tmp_path / "a.mkv"), pictures(tmp_path / "b.mkv")
    assert (video.width, video.height) == wanted
    assert video.sample_aspect_ratio == aspect
    assert [f.pts for f in after] == [f.pts for f in before]
    small = [cv2.resize(f.pixels, wanted, interpolation=cv2.INTER_AREA) for f in before]
    assert min(psnr(a, f.pixels) for a, f in zip(small, after, strict=True)) > 24
    for kind in ("audio", "subtitle"):
        assert hashes(raw_packets(tmp_path / "b.mkv", kind)) == hashes(raw_packets(tmp_path / "a.mkv", kind))


@pytest.mark.parametrize(("fps", "wanted"), [(50, 24), ("25", 12), (12.5, 6), ("30000/1001", 15), (None, 12)])
def test_decoding_at_another_rate(gsv, tmp_path, fps, wanted):
    """Frames have the times of the new rate and last as long together; sound keeps its packets."""
    settings = {"size": "0.5x", "background": (0, 255, 0), "max_gaussians": 20}
    tally = decode_file(gsv, tmp_path / "a.mp4", fps=fps, **settings)
    frames, video = pictures(tmp_path / "a.mp4")
    assert len(frames) == tally.n_frames == wanted
    assert tally.n_iframes == 3
    rate = Fraction(25 if fps is None else fps)
    assert [f.pts * video.time_base for f in frames] == [n / rate for n in range(wanted)]
    assert video.frame_rate == rate
    assert tally.duration_s == pytest.approx(wanted / rate, abs=1e-6)
    with av.open(str(tmp_path / "a.mp4")) as file:
        stream = file.streams.video[0]
        assert abs(stream.duration * stream.time_base - Fraction(12, 25)) < 1 / rate
    decode_file(gsv, tmp_path / "b.mp4")
    assert hashes(raw_packets(tmp_path / "a.mp4", "audio")) == hashes(
        raw_packets(tmp_path / "b.mp4", "audio")
    )
    assert decode_file(gsv, tmp_path / "c.mp4", fps=fps, max_frames=4).n_frames == 4


def test_a_part_of_a_damaged_file_at_another_rate(gsv, tmp_path):
    data = gsv.read_bytes()
    (tmp_path / "cut.gsv").write_bytes(data[: len(data) * 4 // 5])
    n_frames = decode_file(tmp_path / "cut.gsv", tmp_path / "a.mkv", allow_partial=True).n_frames
    tally = decode_file(tmp_path / "cut.gsv", tmp_path / "b.mkv", allow_partial=True, fps=50)
    assert tally.n_frames == 2 * n_frames
    assert any("stopped after" in line for line in tally.warnings)
    with pytest.raises(BitstreamError):
        decode_file(tmp_path / "cut.gsv", tmp_path / "c.mkv", fps=50)


def test_scene_cut_starts_a_gop(tmp_path):
    pictures = [*disc_frames(5), *(255 - frame for frame in disc_frames(5))]
    clip = write_clip(tmp_path / "a.mp4", pictures)
    encode_file(clip, tmp_path / "a.gsv", quick())
    types = [packet.frame_type for packet in video_packets(tmp_path / "a.gsv")]
    assert [n for n, kind in enumerate(types) if kind is FrameType.I] == [0, 5]
    encode_file(clip, tmp_path / "a.gsv", quick(scene_cut=False))
    types = [packet.frame_type for packet in video_packets(tmp_path / "a.gsv")]
    assert [n for n, kind in enumerate(types) if kind is FrameType.I] == [0]


def keyframes(path):
    return [n for n, packet in enumerate(video_packets(path)) if packet.is_keyframe]


def test_an_open_gop_goes_on_while_it_holds_its_quality(tmp_path):
    still = [disc_frames(5)[0] // 2 + 32] * 8
    noise = np.random.default_rng(0).integers(0, 256, (7, *still[0].shape), np.uint8)
    noise = noise // 4 + still[0] - 32  # as bright, so that it is no scene cut
    clip = write_clip(tmp_path / "a.mp4", [*still, *noise, *(255 - frame for frame in still[:6])])
    config = quick(gop_length=4, roi="full")
    encode_file(clip, tmp_path / "closed.gsv", config)
    encode_file(clip, tmp_path / "open.gsv", replace(config, open_gop=True))
    assert keyframes(tmp_path / "closed.gsv") == [0, 4, 8, 12, 15, 19]
    found = keyframes(tmp_path / "open.gsv")
    assert found == [0, 12, 15]  # 4 and 8 hold; the noise does not; 15 is a cut, 19 holds
    with GsvReader(tmp_path / "open.gsv") as reader:
        assert [keyframe.n_frames for keyframe in reader.index().keyframes] == [12, 3, 6]
        assert reader.index().n_frames == 21
    decode_file(tmp_path / "open.gsv", tmp_path / "b.mp4")
    assert len(pictures(tmp_path / "b.mp4")[0]) == 21


@pytest.mark.parametrize("gop_length", [1, 4, 100])
def test_cores_do_not_change_the_file(gop_length, tmp_path):
    clip = make_clip(tmp_path / "a.mp4", 9)
    for threads in (1, 2):
        encode_file(clip, tmp_path / f"{threads}.gsv", quick(gop_length=gop_length, threads=threads))
    assert (tmp_path / "1.gsv").read_bytes() == (tmp_path / "2.gsv").read_bytes()
    types = [packet.is_keyframe for packet in video_packets(tmp_path / "1.gsv")]
    assert types == [n % gop_length == 0 for n in range(9)]


def test_decoding_may_start_at_any_keyframe(gsv):
    packets = video_packets(gsv)
    with GsvReader(gsv) as reader:
        whole = Decoder(reader.sequence)
        states = []
        for packet in packets:
            whole.decode(packet.payload, packet.frame_type)
            states.append(whole.state)
        index = reader.index()
        assert index is not None
        for n, _ in enumerate(index.keyframes):
            reader.seek(n)
            late = Decoder(reader.sequence)
            packet = next(p for p in reader if p.frame_type is not None)
            late.decode(packet.payload, packet.frame_type)
            assert np.array_equal(late.state.symbols, states[5 * n].symbols)


def test_person_over_a_color(tmp_path):
    matte = np.zeros((32, 48, 3), np.uint8)
    matte[:, :24] = 255
    write_clip(tmp_path / "matte.mkv", [matte] * 3, codec="ffv1", pix_fmt="bgr0")
    clip = make_clip(tmp_path / "a.mp4", 3)
    config = quick(roi=str(tmp_path / "matte.mkv"), gaussians=60)
    assert encode_file(clip, tmp_path / "a.gsv", config).roi == "file"
    decode_file(tmp_path / "a.gsv", tmp_path / "b.mp4", background=(0, 255, 0), crf=4)
    frames, _ = pictures(tmp_path / "b.mp4")
    right, left = frames[0].pixels[:, 36:].mean((0, 1)), frames[0].pixels[:, 4:16].mean((0, 1))
    assert right == pytest.approx([0, 255, 0], abs=25)
    assert left[0] > 60


@pytest.mark.parametrize("name", ["m.mkv", "m.mov", "m.avi", "m.mp4", "m%02d.png"])
def test_mattes_keep_every_code_value(name, tmp_path):
    matte = np.zeros((32, 48, 3), np.uint8)
    matte[:, :24] = 255
    write_clip(tmp_path / "matte.mkv", [matte] * 3, codec="ffv1", pix_fmt="bgr0")
    clip = make_clip(tmp_path / "a.mp4", 3)
    encode_file(clip, tmp_path / "a.gsv", quick(roi=str(tmp_path / "matte.mkv"), gaussians=60))
    target = tmp_path / "b.mkv"
    decode_file(tmp_path / "a.gsv", target, background="transparent", matte_out=tmp_path / name)
    with av.open(str(target)) as opened:  # FFV1 with alpha
        alphas = [frame.to_ndarray(format="bgra")[..., 3] for frame in opened.decode(video=0)]
    if "%" in name:
        read = [pictures(tmp_path / (name % n))[0][0].pixels for n in (1, 2, 3)]
    else:
        read = [frame.pixels for frame in pictures(tmp_path / name)[0]]
    assert 0 < alphas[0].mean() < 255
    for mine, alpha in zip(read, alphas, strict=True):
        np.testing.assert_array_equal(mine, np.dstack([alpha] * 3))


def test_room_without_the_person(tmp_path):
    clip = make_clip(tmp_path / "a.mp4", 3)
    encode_file(clip, tmp_path / "a.gsv", quick(gaussians=60))
    tally = decode_file(tmp_path / "a.gsv", tmp_path / "b.mp4", person_removed=True)
    assert [line for line in tally.warnings if "no person is marked" in line]
    assert not decode_file(tmp_path / "a.gsv", tmp_path / "c.mp4").warnings


def test_partial_files_are_refused_unless_asked_for(gsv, tmp_path):
    with GsvReader(gsv) as reader:
        ends = [reader.offset for packet in reader if packet.frame_type is not None]
    (tmp_path / "cut.gsv").write_bytes(gsv.read_bytes()[: ends[6] - 1])
    with pytest.raises(BitstreamError):
        decode_file(tmp_path / "cut.gsv", tmp_path / "b.mp4")
    assert not (tmp_path / "b.mp4").exists()
    tally = decode_file(tmp_path / "cut.gsv", tmp_path / "b.mp4", allow_partial=True)
    assert tally.n_frames == 6
    assert "stopped after 6 frames" in tally.warnings[0]


def test_errors_are_those_of_the_tree(clip, gsv, tmp_path):
    with pytest.raises(MediaError):
        encode_file(tmp_path / "none.mp4", tmp_path / "a.gsv", quick())
    with pytest.raises(ConfigError):
        encode_file(clip, tmp_path / "a.gsv", EncoderConfig(gaussians=0))
    with pytest.raises(CorruptError):
        decode_file(clip, tmp_path / "a.mp4")
    with pytest.raises(FileNotFoundError):
        decode_file(tmp_path / "none.gsv", tmp_path / "a.mp4")
    with pytest.raises(MediaError):
        decode_file(gsv, tmp_path / "nowhere" / "a.mp4")
    assert not list(tmp_path.iterdir())


def test_an_exception_of_the_caller_leaves_no_file(clip, gsv, tmp_path):
    def stop(_):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        encode_file(clip, tmp_path / "a.gsv", quick(gop_length=2, threads=2), progress=stop)
    with pytest.raises(KeyboardInterrupt):
        decode_file(gsv, tmp_path / "a.mp4", progress=stop)
    assert not list(tmp_path.iterdir())


def test_decoded_video_is_readable_by_others(gsv, tmp_path):
    decode_file(gsv, tmp_path / "b.mp4")
    with av.open(str(tmp_path / "b.mp4")) as container:
        stream = container.streams.video[0]
        assert stream.codec_context.name == "h264"
        assert stream.codec_context.pix_fmt == "yuv420p"
        assert sum(1 for _ in container.decode(stream)) == 12


class CountingMatter:
    """Gives mattes that say how many came before, and counts."""

    def __init__(self, name: str) -> None:
        self.name, self.warnings, self.n_looks, self.n_resets = name, [], 0, 0
        self.may_pause = name != "file"

    def begin(self, pixels: np.ndarray) -> Callable[[], np.ndarray]:
        self.n_looks += 1
        mattes = [np.full(pixels.shape[:2], self.n_looks, np.uint8)]
        return mattes.pop  # fails if it is asked twice

    def reset(self) -> None:
        self.n_resets += 1


@pytest.mark.parametrize(
    ("name", "every", "levels"),
    [
        ("portrait", 1, range(1, 13)),
        ("portrait", 4, (1, 1, 1, 1, 2, 3, 3, 3, 4, 4, 4, 4)),  # anew, too, where it moves or is cut
        ("file", 4, range(1, 13)),
    ],
)
def test_a_matte_serves_while_nothing_moves(name, every, levels, monkeypatch, tmp_path):
    still = np.full((64, 64, 3), 100, np.uint8)
    moved, other = still.copy(), 255 - still
    moved[16:32, 16:32] = 120
    clip = [still] * 5 + [moved] * 3 + [other] * 4
    matter, seen = CountingMatter(name), []
    monkeypatch.setattr(transcode, "make_matter", lambda *_, **__: matter)
    write_clip(tmp_path / "a.mkv", clip, codec="ffv1", pix_fmt="bgr0")
    plain_jobs = transcode.encode_jobs

    def spy(jobs, *rest):
        return plain_jobs((seen.append(job) or job for job in jobs), *rest)

    monkeypatch.setattr(transcode, "encode_jobs", spy)
    encode_file(tmp_path / "a.mkv", tmp_path / "a.gsv", quick(matte_every=every))
    assert [int(job.matte[0, 0]) for job in seen] == list(levels)
    assert matter.n_looks == max(levels)
    assert matter.n_resets == 1
    assert seen[8].frame_type == FrameType.I
