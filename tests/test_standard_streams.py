"""`-` on the command line: standard streams instead of files, pipes included."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import numpy as np
import pytest
from video_clips import write_clip

from cli_tools import QUICK, check_error, fail, make_clip, start, succeed


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    return make_clip(tmp_path_factory.mktemp("clip") / "clip.mp4", 6, audio="aac")


def test_everything_goes_through_pipes(clip, tmp_path):
    def piped(data, *args):
        done = start(*args, stdin=subprocess.PIPE, text=False)
        stdout, stderr = done.communicate(data, timeout=60)
        assert done.returncode == 0, stderr
        return stdout

    gsv = piped(clip.read_bytes(), "encode", "-", "-", *QUICK)
    succeed("encode", clip, tmp_path / "a.gsv", *QUICK)
    assert gsv == (tmp_path / "a.gsv").read_bytes()
    facts = json.loads(piped(gsv, "info", "-", "--json"))
    assert facts["file_bytes"] == len(gsv)
    assert facts["overhead_bytes"] > 0
    (tmp_path / "a.mkv").write_bytes(piped(gsv, "decode", "-", "-", "-f", "mkv"))
    succeed("encode", tmp_path / "a.mkv", tmp_path / "b.gsv", *QUICK)


def test_standard_output_is_no_place_for_two(clip):
    assert "both want standard output" in fail("encode", clip, "-", "--json", *QUICK, code=2)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="Linux has a device that is always full")
@pytest.mark.parametrize("args", [("info",), ("info", "--json")])
def test_what_is_printed_finds_no_room(clip, tmp_path, args):
    succeed("encode", clip, tmp_path / "a.gsv", *QUICK)
    with open("/dev/full", "w") as full:
        process = start(*args, tmp_path / "a.gsv", stdout=full)
        _, stderr = process.communicate(timeout=60)
    check_error(process.returncode, "", stderr, 1)
    assert "standard output: No space left on device" in stderr


def test_an_mp4_with_its_index_at_the_end_is_told_by_name(tmp_path):
    """So cameras write it; FFmpeg finds no picture in such a pipe once the file exceeds its buffer."""
    noise = np.random.default_rng(0)
    pictures = [noise.integers(0, 255, (96, 128, 3), dtype=np.uint8) for _ in range(6)]
    write_clip(tmp_path / "a.mp4", pictures)
    process = start("encode", "-", tmp_path / "a.gsv", *QUICK, stdin=subprocess.PIPE, text=False)
    stdout, stderr = process.communicate((tmp_path / "a.mp4").read_bytes(), timeout=60)
    check_error(process.returncode, stdout.decode(), stderr.decode(), 1)
    assert b"this MP4 has its index (moov) behind its pictures" in stderr
    assert b"-movflags +faststart" in stderr
    assert not (tmp_path / "a.gsv").exists()
    write_clip(tmp_path / "b.mp4", pictures, container_options={"movflags": "+faststart"})
    process = start("encode", "-", tmp_path / "b.gsv", *QUICK, stdin=subprocess.PIPE, text=False)
    process.communicate((tmp_path / "b.mp4").read_bytes(), timeout=60)
    assert process.returncode == 0
