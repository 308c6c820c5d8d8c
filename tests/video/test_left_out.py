"""What a .gsv does not keep of a source is said in a line each, and what is only unused is not."""

from __future__ import annotations

from fractions import Fraction

import av
import numpy as np
import pytest
from video_clips import moving_square, write_clip

from gscodec.video.reader import open_video


def warnings(path):
    with open_video(path) as reader:
        return reader.warnings


def test_chapters_attachments_and_second_videos(tmp_path):
    plain = write_clip(tmp_path / "plain.mp4", moving_square(3))
    with av.open(str(plain)) as source, av.open(str(tmp_path / "rich.mkv"), "w") as out:
        stream = source.streams.video[0]
        twins = [out.add_stream_from_template(stream) for _ in range(2)]
        out.add_attachment("font.ttf", "application/x-truetype-font", b"some bytes")
        out.set_chapters(
            [
                {"id": i, "start": i, "end": i + 1, "time_base": Fraction(1, 25), "metadata": {}}
                for i in range(3)
            ]
        )
        for packet in source.demux(stream):
            if packet.dts is None:
                continue
            payload, pts, dts = bytes(packet), packet.pts, packet.dts
            for twin in twins:
                copy = av.Packet(payload)
                copy.pts, copy.dts, copy.time_base = pts, dts, packet.time_base
                copy.is_keyframe, copy.stream = packet.is_keyframe, twin
                out.mux(copy)
    assert warnings(tmp_path / "rich.mkv") == [
        "a second video stream (h264) is left out",
        "an attachment stream (font.ttf) is left out",
        "3 chapter marks are left out",
    ]
    assert warnings(plain) == []


@pytest.mark.parametrize("alpha", [255, 200])
def test_transparency(tmp_path, alpha):
    picture = np.full((16, 16, 4), (200, 30, 30, 255), np.uint8)
    picture[4:8, 4:8, 3] = alpha
    frame = av.VideoFrame.from_ndarray(picture, "rgba")
    path = write_clip(tmp_path / "a.mkv", [frame], codec="ffv1", pix_fmt="bgra")
    expected = "transparency is left out: pixels show the colour that lies beneath it"
    assert warnings(path) == ([] if alpha == 255 else [expected])


def test_interlaced_pictures(tmp_path):
    options = {"crf": "4", "x264-params": "tff=1"}
    path = write_clip(tmp_path / "a.mp4", moving_square(3, 32, 32), pix_fmt="yuv420p", options=options)
    (line,) = warnings(path)
    assert "deinterlace them first" in line
