"""HDR sources: PQ and HLG become SDR; PQ against its definition (SMPTE ST 2084)."""

import re

import av
import numpy as np
from video_clips import flat_frame, split, write_clip

from gscodec.video import picture
from gscodec.video.reader import open_video

MASTERING = "master-display=G(13250,34500)B(7500,3000)R(34000,16000)WP(15635,16450)L(10000000,1)"


def pq_code(nits):
    """The 10-bit limited-range code of a luminance in cd/m²."""
    y = (nits / 10_000) ** 0.1593017578125
    signal = ((0.8359375 + 18.8515625 * y) / (1 + 18.6875 * y)) ** 78.84375
    return round(64 + 876 * signal)


def write(path, codes, transfer=16, mastering=""):
    def setup(stream):
        context = stream.codec_context
        context.colorspace, context.color_range = 9, 1
        context.color_primaries, context.color_trc = 9, transfer

    frames = [flat_frame((code, 512, 512), "yuv420p10le", 64, 32) for code in codes]
    params = "log-level=error" + mastering
    options = {"crf": "1", "preset": "ultrafast", "x265-params": params}
    return write_clip(path, frames, codec="libx265", pix_fmt="yuv420p10le", options=options, setup=setup)


def read(path):
    with open_video(path) as reader:
        frames, _ = split(reader)
        return reader, [int(f.pixels[16, 32].astype(int).mean()) for f in frames]


def test_pq_becomes_sdr(tmp_path):
    nits = (0, 10, 50, 203, 1000)
    reader, grays = read(write(tmp_path / "a.mp4", map(pq_code, nits), mastering=f":hdr10=1:{MASTERING}"))
    form = reader.format
    assert (form.matrix, form.primaries, form.transfer, form.full_range) == (1, 1, 1, False)
    assert reader.warnings == ["the pictures are HDR (PQ); they become SDR (BT.709), bright parts compressed"]
    # Paper white is 203 cd/m² in HDR (BT.2408); what is dark keeps its place, what is brighter fits in.
    assert grays[0] <= 2
    assert grays[-1] >= 250
    assert grays == sorted(grays)
    for gray, n in zip(grays[1:3], nits[1:3], strict=True):
        ideal = 255 * (n / 203) ** (1 / 2.4)  # with nothing compressed
        assert 0.7 * ideal <= gray <= 1.05 * ideal
    assert 160 <= grays[3] <= 200


def test_what_is_said_of_hdr(tmp_path, monkeypatch):
    monkeypatch.setattr(picture, "ToneMapper", lambda: lambda frame: frame.reformat(format="rgb24"))
    for transfer, words in (
        (16, r"\(PQ\).*10000 cd/m²: the file does not say"),
        (18, r"\(HLG\).* compressed$"),
    ):
        reader, _ = read(write(tmp_path / f"{transfer}.mkv", (64, 940, 500), transfer))
        assert len(reader.warnings) == 1
        assert re.search(words, reader.warnings[0])
        assert reader.format.transfer == 1


def test_an_ffmpeg_that_cannot_says_so_and_keeps_the_tags(tmp_path, monkeypatch):
    class Fails:
        def __call__(self, _frame):
            raise av.error.ArgumentError(22, "no")

    monkeypatch.setattr(picture, "ToneMapper", Fails)
    reader, grays = read(write(tmp_path / "a.mp4", (64, 502, 940)))
    assert reader.format.transfer == 16
    assert np.abs(np.array(grays) - (0, 128, 255)).max() <= 2
    assert reader.warnings == [
        "the pictures are HDR (PQ) and become 8 bit as they are: expect bands; convert them to SDR first"
    ]


def test_ten_bits_of_sdr_are_no_matter(tmp_path):
    reader, grays = read(write(tmp_path / "a.mp4", (64, 502, 940), transfer=1))
    assert reader.warnings == []
    assert np.abs(np.array(grays) - (0, 128, 255)).max() <= 2
