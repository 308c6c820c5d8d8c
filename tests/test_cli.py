"""The commands: what they take, print and leave behind."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import re
import signal
import struct
import subprocess
import sys
import termios
import time
from dataclasses import fields
from pathlib import Path

import pytest

from cli_tools import QUICK, contents, fail, make_clip, run, start, succeed
from gscodec import __version__, config
from gscodec.cli import cli

ROOT = Path(__file__).parents[1]
HEAVY = ("numpy", "av", "cv2", "torch", "constriction", "zstandard", "tqdm", "gscodec.transcode")


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    return make_clip(tmp_path_factory.mktemp("clip") / "clip.mp4", 12, audio="aac")


@pytest.fixture(scope="module")
def gsv(clip):
    path = clip.with_name("clip.gsv")
    succeed("encode", clip, path, "--gop", 6, *QUICK)
    return path


@pytest.fixture
def long_clip(tmp_path):
    return make_clip(tmp_path / "long.mp4", 200)


def test_encode_decode_and_info(clip, tmp_path):
    done = succeed("encode", clip, tmp_path / "a.gsv", *QUICK)
    assert done.stdout == ""
    rate = r"\d+ B \(9\d % sound\), [\d.]+ FPS, [\d.]+ kb/s"
    figures = rf"12 frames, 0\.48 s, {rate}, ROI-PSNR [\d.]+ dB, PSNR [\d.]+ dB, ROI full"
    assert re.fullmatch(rf".*/a\.gsv: {figures}\n", done.stderr)
    done = succeed("decode", tmp_path / "a.gsv", tmp_path / "a.mp4")
    assert re.fullmatch(r".*/a\.mp4: 12 frames, .*FPS\n", done.stderr)
    done = succeed("info", tmp_path / "a.gsv")
    assert done.stderr == ""
    assert "48x32, 25 FPS, 12 frames in 1 GOP" in done.stdout
    assert "aac, " in done.stdout


def test_source_may_be_given_as_ffmpeg_takes_it(clip, tmp_path):
    succeed("encode", "-i", clip, tmp_path / "a.gsv", "-q", *QUICK)
    succeed("decode", "-y", "-i", tmp_path / "a.gsv", tmp_path / "a.mkv", "-q")
    assert (tmp_path / "a.mkv").exists()


@pytest.mark.parametrize("names", [(), ("a",), ("a", "b", "c"), ("-i", "a"), ("-i", "a", "b", "c")])
def test_two_names_are_needed(names):
    assert "expected SOURCE and TARGET" in fail("encode", *names, code=2)


def test_every_encoder_setting_has_an_option_that_reaches_it(clip, tmp_path):
    changed = {
        "roi": "full",
        "matte_model": None,
        "background": "none",
        "blend": "sum",
        "quality": 1.5,
        "crf": 30.0,
        "plateau": 0.01,
        "gaussians": 17,
        "init": "random",
        "iterations": 4,
        "noise_iterations": 0,  # any other goes with the other blend alone
        "target_psnr": 20.0,
        "bitrate": None,
        "deadline_ms": None,
        "backend": "cpu",
        "devices": "",
        "update": "refit",
        "profile": "paper",
        "hold": 0,
        "quantization": "qat",
        "entropy": "zstd",
    }
    args: list[str] = []
    options = {param.name: param for param in cli.commands["encode"].params}
    for field in fields(config.EncoderConfig):
        option = options[field.name]
        if field.type == "bool":
            changed[field.name] = not field.default
            args += option.secondary_opts if field.default else option.opts
            continue
        if field.name not in changed:
            changed[field.name] = field.default + 1 if field.type == "int" else field.default / 2
        if changed[field.name] not in (None, ""):
            args += [option.opts[0], str(changed[field.name])]
    done = succeed("encode", clip, tmp_path / "a.gsv", "--json", *args)
    assert json.loads(done.stdout)["options"] == {"preset": "medium", **changed}
    found = []
    for n in ("0", "3"):
        options = ("-y", "--iterations", "2", "--frames", "1", "--noise-iterations", n, "--json")
        found.append(json.loads(succeed("encode", clip, tmp_path / "a.gsv", *options).stdout)["iterations"])
    assert found == [2, 5]


def test_every_option_has_help():
    for command in ("encode", "decode"):
        for param in cli.commands[command].params:
            if param.param_type_name == "option":
                text = param.help.split("[")[0]
                assert len(text) > 5, param.name


def test_presets_are_values_and_options_win(clip, tmp_path):
    for preset in config.PRESETS:
        done = succeed("encode", clip, tmp_path / "a.gsv", "-y", "--json", "--preset", preset, *QUICK)
        options = json.loads(done.stdout)["options"]
        assert options["preset"] == preset
        assert (options["iterations"], options["gaussians"]) == (3, 20)


def test_json_summary_goes_to_stdout_alone(clip, tmp_path):
    done = succeed("encode", clip, tmp_path / "a.gsv", "--json", "-q", *QUICK)
    facts = json.loads(done.stdout)
    assert done.stderr == ""
    assert facts["n_frames"] == 12
    assert facts["n_bytes"] == (tmp_path / "a.gsv").stat().st_size
    assert facts["source"] == str(clip)
    assert facts["roi_psnr_db"] > 10
    facts = json.loads(succeed("decode", tmp_path / "a.gsv", tmp_path / "a.mp4", "--json", "-q").stdout)
    assert facts["n_frames"] == 12
    facts = json.loads(succeed("info", "--json", tmp_path / "a.gsv").stdout)
    assert facts["frames"] == 12
    assert facts["file_bytes"] == (tmp_path / "a.gsv").stat().st_size


def test_quiet_says_nothing(clip, tmp_path):
    done = succeed("encode", clip, tmp_path / "a.gsv", "-q", "--progress", "lines", *QUICK)
    assert done.output == ""


def test_verbose_names_source_and_options(clip, tmp_path):
    done = succeed("encode", clip, tmp_path / "a.gsv", "-v", *QUICK)
    assert "48x32, 25 FPS, time base 1/12800 s, audio aac" in done.stderr
    assert "gaussians=20" in done.stderr
    assert "48x32" in succeed("decode", tmp_path / "a.gsv", tmp_path / "a.mp4", "-v").stderr


def test_very_verbose_shows_tracebacks(tmp_path):
    done = run("encode", tmp_path / "none.mp4", tmp_path / "a.gsv", "-vv")
    assert done.exit_code == 1
    assert "Traceback" in done.stderr
    assert done.stderr.splitlines()[-1].startswith("gscodec: error: ")


def test_progress_as_json_has_a_line_per_frame(clip, tmp_path):
    done = succeed("encode", clip, tmp_path / "a.gsv", "--progress", "json", *QUICK)
    lines = [json.loads(line) for line in done.stderr.splitlines()[:-1]]
    assert [line["n_frames"] for line in lines] == list(range(1, 13))
    assert {line["total"] for line in lines} == {12}


def test_progress_as_lines(clip, tmp_path, monkeypatch):
    monkeypatch.setattr("gscodec.progress.LINE_EVERY_S", 0)
    done = succeed("encode", clip, tmp_path / "a.gsv", "--progress", "lines", *QUICK)
    assert re.match(r"1/12 frames, [\d.]+ FPS, [\d.]+ kb/s, ROI-PSNR [\d.]+ dB, ETA \d+ s\n", done.stderr)


def test_bar_shows_on_a_terminal_and_is_gone_at_the_end(long_clip, tmp_path):
    terminal, theirs = pty.openpty()
    command = [sys.executable, "-m", "gscodec", "encode", str(long_clip), str(tmp_path / "a.gsv"), *QUICK]
    command += ["--gop", "2", "--iterations", "50"]
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 120, 0, 0))
    with subprocess.Popen(command, stderr=theirs, stdout=subprocess.PIPE) as process:
        os.close(theirs)
        shown = b""
        while True:
            try:
                shown += (chunk := os.read(terminal, 4096))
            except OSError:  # how Linux says that nobody writes any more
                break
            if not chunk:
                break
    os.close(terminal)
    assert process.returncode == 0
    text = shown.decode()
    assert re.search(r"/200 frames, [\d.]+ FPS, [\d.]+ kb/s, ROI-PSNR [\d.]+ dB, ETA", text)
    assert text.rstrip().splitlines()[-1].split("\r")[-1].startswith(str(tmp_path / "a.gsv: 200 frames"))


def test_overwriting_needs_y(clip, gsv, tmp_path):
    target = tmp_path / "a.gsv"
    target.write_bytes(b"precious")
    assert "exists already; -y overwrites it" in fail("encode", clip, target, *QUICK, folder=tmp_path)
    assert "exists already" in fail("decode", gsv, target, folder=tmp_path)
    succeed("encode", clip, target, "-y", *QUICK)
    assert target.read_bytes() != b"precious"
    assert set(contents(tmp_path)) == {"a.gsv"}


@pytest.mark.parametrize("command", ["encode", "decode"])
def test_source_is_never_the_target(command, clip, tmp_path):
    copy = tmp_path / "a.mp4"
    copy.write_bytes(clip.read_bytes())
    (tmp_path / "link.mp4").symlink_to(copy)
    for target in (copy, tmp_path / "link.mp4"):
        assert "the same file" in fail(command, copy, target, "-y", folder=tmp_path)


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)]
)
def test_signals_leave_nothing_behind(number, code, long_clip, tmp_path):
    before = contents(tmp_path)
    slow = ("--iterations", 300, "--gaussians", 500, "--roi", "full", "--gop", 2)
    process = start("encode", long_clip, tmp_path / "a.gsv", *slow)
    wait_for(lambda: any(".part" in name for name in os.listdir(tmp_path)), process)
    time.sleep(0.3)
    process.send_signal(number)
    began = time.perf_counter()
    _, stderr = process.communicate(timeout=60)
    assert time.perf_counter() - began < 10
    assert process.returncode == code, stderr
    assert "Traceback" not in stderr
    assert stderr.strip().splitlines()[-1] in ("gscodec: error: interrupted", "gscodec: error: terminated")
    assert contents(tmp_path) == before


def wait_for(condition, process, timeout_s=60):
    began = time.perf_counter()
    while not condition():
        assert process.poll() is None, process.communicate()
        assert time.perf_counter() - began < timeout_s
        time.sleep(0.02)


def test_reader_of_our_output_may_leave(gsv):
    process = start("info", gsv)
    process.stdout.close()
    assert process.wait(timeout=60) in (0, 1)
    assert process.stderr.read() == ""
    process.stderr.close()


def test_colors_by_name_and_number(gsv, tmp_path):
    for color in ("green", "WHITE", "#10aF00"):
        succeed("decode", gsv, tmp_path / "a.mp4", "-y", "--background", color)
    for color in ("greenish", "#12345", "#gg0000", "123456", "#+12345", ""):
        message = fail("decode", gsv, tmp_path / "b.mp4", "--background", color, code=2)
        assert "permitted: #rrggbb or black, white" in message


def test_settings_of_decode(gsv, tmp_path):
    succeed(
        "decode", gsv, tmp_path / "a", "-f", "matroska", "--vcodec", "ffv1", "--threads", 1, "--frames", 3
    )
    done = succeed("decode", gsv, tmp_path / "b.mp4", "--crf", 30, "--backend", "cpu", "--json", "-q")
    assert json.loads(done.stdout)["options"]["crf"] == 30


def test_help_loads_nothing_heavy():
    code = (
        "import sys\nfrom gscodec.cli import cli\n"
        "try:\n cli(['encode', '--help'])\nexcept SystemExit as end:\n assert end.code == 0\n"
        f"loaded = set({HEAVY!r}) & set(sys.modules)\nassert not loaded, loaded"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert "--gaussians" in done.stdout


def test_encoding_and_decoding_need_no_torch(clip, tmp_path):
    code = (
        "import sys\nfrom gscodec.cli import cli\n"
        "try:\n cli(sys.argv[1:])\nexcept SystemExit as end:\n assert end.code == 0\n"
        "assert not {'torch', 'matplotlib', 'onnxruntime', 'tqdm'} & set(sys.modules)"
    )
    quick = [option for option in QUICK if option not in ("--roi", "full")]  # the default ROI
    for args in (
        ["encode", clip, tmp_path / "a.gsv", *quick],
        ["decode", tmp_path / "a.gsv", tmp_path / "a.mp4"],
    ):
        done = subprocess.run([sys.executable, "-c", code, *map(str, args)], capture_output=True, timeout=60)
        assert done.returncode == 0, done.stderr


def test_version_and_help():
    assert succeed("--version").stdout == f"gscodec {__version__}\n"
    assert succeed().stdout == succeed("--help").stdout == succeed("-h").stdout
    for command in cli.commands:
        if command not in ("bench", "visualize"):  # argparse prints theirs
            assert succeed(command, "--help").stdout.startswith(f"Usage: cli {command}")
    assert "No such command 'play'" in fail("play", code=2)


def test_launcher_of_a_checkout(tmp_path):
    link = tmp_path / "gscodec"
    link.symlink_to(ROOT / "bin" / "gscodec")
    environment = {**os.environ, "PYTHON": sys.executable}
    for path in (ROOT / "bin" / "gscodec", link):
        done = subprocess.run(
            [path, "--version"], env=environment, capture_output=True, text=True, timeout=60
        )
        assert done.stdout == f"gscodec {__version__}\n", done.stderr


def test_bench_that_is_missing_is_one_line(monkeypatch):
    monkeypatch.setitem(sys.modules, "gscodec.bench.command", None)
    assert "bench cannot be loaded" in fail("bench", "quick", "--json")
