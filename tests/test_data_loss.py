"""Nothing on the disk is lost: standard streams are never replaced, part files harm nobody."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from cli_tools import QUICK, contents, fail, make_clip, run, start, succeed
from gscodec.container.container import GsvReader
from gscodec.errors import MediaError, printable
from gscodec.video.atomic import atomic_path

GSCODEC = f"{sys.executable} -m gscodec"
OPTIONS = " ".join(QUICK)


@pytest.fixture
def clip(tmp_path):
    return make_clip(tmp_path / "clip.mp4", 3)


@pytest.fixture
def gsv(clip):
    succeed("encode", clip, clip.with_suffix(".gsv"), *QUICK)
    return clip.with_suffix(".gsv")


def shell(line: str, folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["bash", "-c", line], cwd=folder, capture_output=True, text=True, timeout=60)


@pytest.mark.parametrize("name", ["-", "/dev/stdout", "/dev/fd/1"])
def test_appending_keeps_what_was_there(name, gsv):
    folder, whole = gsv.parent, gsv.read_bytes()
    (folder / "all.bin").write_bytes(b"before")
    done = shell(f"{GSCODEC} encode clip.mp4 {name} -y {OPTIONS} >> all.bin", folder)
    assert done.returncode == 0, done.stderr
    assert (folder / "all.bin").read_bytes() == b"before" + whole
    assert sorted(contents(folder)) == ["all.bin", "clip.gsv", "clip.mp4"]


def test_two_runs_may_share_an_output(gsv):
    folder, whole = gsv.parent, gsv.read_bytes()
    encode = f"{GSCODEC} encode clip.mp4 - {OPTIONS}"
    done = shell(f"{{ {encode}; echo between; {encode}; }} > two.bin", folder)
    assert done.returncode == 0, done.stderr
    assert (folder / "two.bin").read_bytes() == whole + b"between\n" + whole
    assert sorted(contents(folder)) == ["clip.gsv", "clip.mp4", "two.bin"]


def test_decode_appends_too(gsv):
    folder = gsv.parent
    (folder / "all.bin").write_bytes(b"before")
    done = shell(f"{GSCODEC} decode clip.gsv - -f mkv >> all.bin", folder)
    assert done.returncode == 0, done.stderr
    data = (folder / "all.bin").read_bytes()
    assert data.startswith(b"before\x1a\x45\xdf\xa3")
    assert sorted(contents(folder)) == ["all.bin", "clip.gsv", "clip.mp4"]


@pytest.mark.parametrize("closed", [">&-", ">&- <&-", ">&- 2>log <&-"])
@pytest.mark.parametrize(
    "words",
    [f"encode clip.mp4 - {OPTIONS}", "decode clip.gsv - -f mkv", "info clip.gsv", "info - < clip.gsv"],
)
def test_closed_output_is_refused_and_overwrites_nothing(words, closed, gsv):
    folder, before = gsv.parent, contents(gsv.parent)
    done = shell(f"{GSCODEC} {words} {closed}", folder)
    after = contents(folder)
    stderr = done.stderr + after.pop("log", b"").decode()
    assert done.returncode == 1
    assert stderr.count("\n") == 1
    assert "is closed" in stderr
    assert after == before


@pytest.mark.parametrize("words", [f"encode - a.gsv {OPTIONS}", "decode - a.mp4", "info -"])
def test_closed_input_is_refused(words, gsv):
    before = contents(gsv.parent)
    done = shell(f"{GSCODEC} {words} <&-", gsv.parent)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "gscodec: error: -: standard input is closed; give the name of a file to read\n"
    assert contents(gsv.parent) == before


def test_closed_streams_do_no_harm_where_they_are_not_wanted(gsv):
    """What is printed must not get into a file that was given the number of the closed stream."""
    folder, whole = gsv.parent, gsv.read_bytes()
    line = f"{GSCODEC} encode clip.mp4 a.gsv --progress json {OPTIONS} <&- >&- 2>&-"
    assert shell(line, folder).returncode == 0
    assert (folder / "a.gsv").read_bytes() == whole
    done = shell(f"{GSCODEC} encode clip.mp4 - --progress json {OPTIONS} 2>&- > b.gsv", folder)
    assert done.returncode == 0
    assert (folder / "b.gsv").read_bytes() == whole


def test_output_that_is_the_source(gsv):
    before = contents(gsv.parent)
    done = shell(f"{GSCODEC} encode clip.mp4 - {OPTIONS} >> clip.mp4", gsv.parent)
    assert done.returncode == 1
    assert "is where standard output goes too" in done.stderr
    assert contents(gsv.parent) == before


# Part files.


def test_part_files_have_names_nobody_can_guess(tmp_path):
    names = set()
    for _ in range(3):
        with atomic_path(tmp_path / "a.gsv") as part:
            names.add(part.name)
    assert len(names) == 3
    assert all(re.fullmatch(r"\.a\.[0-9a-f]{16}\.part\.gsv", name) for name in names)


def test_a_planted_link_is_not_followed(tmp_path, monkeypatch):
    monkeypatch.setattr("secrets.token_hex", lambda n: "0" * 2 * n)  # as if it had been guessed
    (tmp_path / "precious").write_text("mine")
    planted = tmp_path / f".a.{'0' * 16}.part.gsv"
    for make in (lambda: planted.symlink_to("precious"), lambda: planted.write_text("theirs")):
        make()
        with pytest.raises(MediaError, match="cannot be created"), atomic_path(tmp_path / "a.gsv"):
            pass
        assert (tmp_path / "precious").read_text() == "mine"
        planted.unlink()  # it was left where it was


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o444])
def test_the_old_files_permissions_stay(mode, clip):
    target = clip.with_suffix(".gsv")
    target.touch()
    target.chmod(mode)
    succeed("encode", clip, target, "-y", *QUICK)
    assert target.stat().st_mode & 0o7777 == mode
    with GsvReader(target) as reader:
        assert sum(1 for _ in reader) == 3


def test_a_new_file_has_the_permissions_of_the_umask(tmp_path):
    before = os.umask(0o027)
    try:
        with atomic_path(tmp_path / "a"):
            pass
    finally:
        os.umask(before)
    assert (tmp_path / "a").stat().st_mode & 0o777 == 0o640


def test_the_file_is_on_the_disk_before_it_has_its_name(tmp_path, monkeypatch):
    steps = []
    fsync, replace = os.fsync, Path.replace

    def seen_fsync(handle):
        steps.append("folder" if os.path.isdir(f"/proc/self/fd/{handle}") else "file")
        fsync(handle)

    def seen_replace(self, target):
        steps.append("name")
        return replace(self, target)

    monkeypatch.setattr(os, "fsync", seen_fsync)
    monkeypatch.setattr(Path, "replace", seen_replace)
    with atomic_path(tmp_path / "a") as part:
        part.write_bytes(b"all of it")
    assert steps == ["file", "name", "folder"]


def test_a_disk_that_fails_at_the_end_keeps_the_old_file(tmp_path, monkeypatch):
    (tmp_path / "a").write_text("old")

    def fails(_handle):
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "fsync", fails)
    with pytest.raises(OSError, match="Input/output"), atomic_path(tmp_path / "a") as part:
        part.write_text("new")
    assert contents(tmp_path) == {"a": b"old"}


def test_names_as_long_as_they_may_be(clip):
    target = clip.with_name("é" * 125 + ".gsv")
    succeed("encode", clip, target, *QUICK)
    assert target.exists()


# Names that would speak to the terminal.

NASTY = "a\x1b[31m\x07\x9b1m\u202eb\udcff"


def check_printable(text: str) -> None:
    assert all(c.isprintable() or c == "\n" for c in text), ascii(text)


def test_printable():
    assert printable("Grüße, 東京: 100 %\n") == "Grüße, 東京: 100 %\n"
    assert printable("\x1b[2J\x7f\u202e") == r"\x1b[2J\x7f\u202e"
    assert printable("\udcff\U000e0001\r") == r"\udcff\U000e0001\x0d"


def test_names_reach_the_terminal_as_escapes(clip):
    source = clip.with_name(f"{NASTY}.mp4")
    target = clip.with_name(f"{NASTY}.gsv")
    clip.rename(source)
    for args in (
        ("encode", source, target, "-v", "--progress", "json", *QUICK),
        ("encode", source, target, *QUICK),  # exists already
        ("encode", f"{source}x", target, "-y", "-v", "-v", *QUICK),
        ("encode", source, target, f"--{NASTY}"),
        ("encode", source, target, "--preset", NASTY),
        ("info", target),
        ("info", f"{target}x"),
        ("decode", target, clip.with_name("b.mkv"), "-v"),
        ("decode", target, clip.with_name(f"{NASTY}.{NASTY}")),
        ("bench", NASTY),
    ):
        process = start(*args)
        stdout, stderr = process.communicate(timeout=60)
        check_printable(stdout)
        check_printable(stderr)
        assert "Traceback" not in stderr or "-v" in args
    assert r"a\x1b[31m" in fail("info", f"{target}x")


def test_json_keeps_such_names_and_escapes_them(clip):
    source = clip.with_name(f"{NASTY}.mp4")
    clip.rename(source)
    done = run("encode", source, clip.with_name("é.gsv"), "--json", *QUICK)
    check_printable(done.stdout)
    facts = json.loads(done.stdout)
    assert facts["source"] == str(source)
    assert "é.gsv" in done.stdout
