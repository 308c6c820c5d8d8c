"""Signals: the documented exit code soon, one line, nothing left; also in the middle of anything."""

from __future__ import annotations

import importlib.util
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from cli_tools import make_clip, succeed
from gscodec.prefetch import prefetch

ROOT = Path(__file__).parents[1]


def load_storm():
    spec = importlib.util.spec_from_file_location("storm_signals", ROOT / "tools" / "storm_signals.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules["storm_signals"] = module
    spec.loader.exec_module(module)
    return module


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the storm reads /proc")
def test_signals_at_random_moments(tmp_path):
    """A short storm; the long one is tools/storm_signals.py."""
    storm = load_storm()
    clip = make_clip(tmp_path / "clip.mp4", 12)
    succeed("encode", clip, tmp_path / "clip.gsv", *storm.SLOW)
    failed, ends, _ = storm.storm(clip, single=8, double=4, seed=3)
    assert not failed
    assert sum(ends.values()) == 12


def test_the_storm_sees_what_goes_wrong(tmp_path):
    storm = load_storm()
    said = "gscodec: error: terminated\n"
    numbers = [signal.SIGTERM]
    assert storm.judge(143, said, numbers, tmp_path) == ""
    assert "exit code 1" in storm.judge(1, said, numbers, tmp_path)
    assert "exit code -6" in storm.judge(-6, said, numbers, tmp_path)
    assert "it said" in storm.judge(143, "", numbers, tmp_path)
    assert "without a file" in storm.judge(0, "", numbers, tmp_path)
    (tmp_path / "a.gsv").write_bytes(b"half")
    assert "not whole" in storm.judge(143, said, numbers, tmp_path)
    (tmp_path / ".a.1.part.gsv").touch()
    assert "left behind" in storm.judge(143, said, numbers, tmp_path)


def test_the_storm_interrupts_what_nohup_started_too(tmp_path, monkeypatch):
    storm = load_storm()
    monkeypatch.setattr(storm, "COMMAND", (sys.executable, "-c"))
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        process = storm.begin(("import signal; print(signal.getsignal(signal.SIGHUP).name)",), str(tmp_path))
        assert process.communicate()[0] == "SIG_DFL\n"
        assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


def test_a_storm_that_interrupts_nothing_fails(monkeypatch):
    storm = load_storm()
    monkeypatch.setattr(storm, "storm", lambda *_: ([], {0: 8}, 0.1))
    monkeypatch.setattr(storm, "make_clip", lambda _: None)
    monkeypatch.setattr(sys, "argv", ["storm_signals", "--load", "0"])
    assert storm.main() == 1


STUCK = """
import sys, threading
from gscodec import interrupts
interrupts.install()
from gscodec.video.atomic import atomic_path
with atomic_path(sys.argv[1]):
    print("ready", flush=True)
    {stuck}
"""


@pytest.mark.parametrize(
    "stuck",
    [
        "import queue; queue.Queue().get()",
        # One call without the interpreter's lock, after which alone Python would look at signals.
        "import hashlib; hashlib.pbkdf2_hmac('sha256', b'', b'', 2 * 10**9)",
        "interrupts.lock.acquire(); interrupts.lock.acquire()",
        "sys.stderr.write('x' * (1 << 20))",  # and nobody reads
    ],
    ids=["queue", "one long call", "lock", "full pipe"],
)
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_whatever_the_main_thread_does(number, stuck, tmp_path):
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's `&` has it ignored
    try:
        process = subprocess.Popen(
            [sys.executable, "-c", STUCK.format(stuck=stuck), tmp_path / "a.gsv"],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
    finally:
        signal.signal(signal.SIGINT, before)
    assert process.stdout.readline() == b"ready\n"
    time.sleep(0.1)
    process.send_signal(number)
    process.send_signal(number)
    assert process.wait(timeout=30) == 128 + number  # all of these would last for minutes, or for ever
    process.stdout.close()
    process.stderr.close()
    assert list(tmp_path.iterdir()) == []


def test_an_ignored_signal_stays_ignored():
    code = """
import os, signal
signal.signal(signal.SIGHUP, signal.SIG_IGN)  # nohup
from gscodec import interrupts
interrupts.install()
os.kill(os.getpid(), signal.SIGHUP)
"""
    done = subprocess.run([sys.executable, "-c", code], timeout=30, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


def test_an_exception_of_a_handler_does_not_tear_the_queue():
    """A program with handlers of its own, which raise: the thread ends all the same."""
    n_before = threading.active_count()
    code = """
import signal, threading, time
from contextlib import closing
from gscodec.prefetch import prefetch

class Alarm(Exception): ...
def ring(*_): raise Alarm
signal.signal(signal.SIGALRM, ring)

def slow():
    while True:
        time.sleep(0.0001)
        yield 1

for n in range(300):
    try:
        with closing(prefetch(slow())) as items:
            next(items)  # the thread runs: Python's own start of it cannot bear an exception
            signal.setitimer(signal.ITIMER_REAL, 0.0005 + n % 17 * 0.0001)
            for _ in items:
                pass
    except Alarm:
        pass
for _ in range(100):
    time.sleep(0.05 * (threading.active_count() > 1))  # those whose end was not waited for
print(threading.active_count())
"""
    done = subprocess.run([sys.executable, "-c", code], timeout=60, capture_output=True, text=True)
    assert done.stdout == "1\n", done.stderr
    assert next(iter(prefetch([1]))) == 1
    assert threading.active_count() <= n_before + 1
