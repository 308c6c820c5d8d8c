#!/usr/bin/env python3
"""Interrupt `gscodec encode` and `decode` at random moments, while the machine is busy, and see how they end.

python tools/storm_signals.py --single 2000 --double 200      what a release is held to; some 40 minutes
python tools/storm_signals.py --single 200 --double 40        five minutes

A round starts a run in an empty folder, waits until the command has taken over the signals (before that
Python itself is starting, and there is nothing to leave behind), sends SIGINT, SIGTERM or SIGHUP at a random
moment, and in a double round a second one up to 0.3 s later. It fails unless the process ends within two
seconds, with 128 and the number of a signal that was sent, in one line on stderr, with nothing left but a
target that is whole; or with 0 where the run was done before. Linux only: it reads /proc.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

NUMBERS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
GRACE_S = 2.0  # from the first signal to the end of the process
SECOND_S = 0.3  # the second comes within that of the first
SLOW = ["--gaussians", "200", "--iterations", "60", "--p-iterations", "20", "--roi", "full", "--gop", "10"]
COMMAND = (sys.executable, "-m", "gscodec")


def main() -> int:
    """Run the storm; the exit code is 1 where a round failed, or none was interrupted."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--single", type=int, default=200, help="rounds of one signal")
    parser.add_argument("--double", type=int, default=40, help="rounds of two signals")
    parser.add_argument("--load", type=int, default=os.cpu_count() or 1, help="busy processes beside it")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, busy(options.load):
        clip = make_clip(Path(folder))
        failed, ends, slowest = storm(clip, options.single, options.double, options.seed)
    print(f"ends: {dict(sorted(ends.items()))}; slowest {slowest:.2f} s; {len(failed)} rounds failed")
    if set(ends) <= {0}:
        print("no run was interrupted, so nothing is shown")
    return bool(failed) or set(ends) <= {0}


def storm(clip: Path, single: int, double: int, seed: int) -> tuple[list[str], Counter[int], float]:
    """Run all rounds on a clip and its `.gsv`: (what failed, exit codes, seconds of the slowest end)."""
    chance = random.Random(seed)
    run_s = {args: time_of(args) for args in (encode_args(clip), decode_args(clip))}
    failed, ends, slowest = [], Counter[int](), 0.0
    for n in range(single + double):
        args = chance.choice(list(run_s))
        numbers = [chance.choice(NUMBERS) for _ in range(1 if n < single else 2)]
        moment = chance.uniform(0, 1.05 * run_s[args])
        gap = chance.uniform(0, SECOND_S)
        code, seconds, problem = strike(args, numbers, moment, gap)
        ends[code] += 1
        slowest = max(slowest, seconds)
        if problem:
            failed.append(f"round {n}: {args[0]}, {[s.name for s in numbers]} at {moment:.3f} s: {problem}")
            print(failed[-1], flush=True)
    return failed, ends, slowest


def strike(
    args: tuple[str, ...], numbers: list[signal.Signals], moment: float, gap: float
) -> tuple[int, float, str]:
    """One round: (exit code, seconds from the first signal to the end, what was wrong or nothing)."""
    with tempfile.TemporaryDirectory() as folder:
        process = begin(args, folder)
        while process.poll() is None and not has_handlers(process.pid):
            time.sleep(0.001)
        time.sleep(moment)
        began = time.perf_counter()
        for i, number in enumerate(numbers):
            if i:
                time.sleep(gap)
            process.send_signal(number)
        left_s = GRACE_S - (time.perf_counter() - began)
        try:
            _, stderr = process.communicate(timeout=max(left_s, 0.01))
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
            return 999, GRACE_S, f"still there after {GRACE_S} s"
        seconds = time.perf_counter() - began
        return process.returncode, seconds, judge(process.returncode, stderr, numbers, Path(folder))


def judge(code: int, stderr: str, numbers: list[signal.Signals], folder: Path) -> str:
    """What is wrong with the end of a run, or nothing."""
    left = sorted(path.name for path in folder.iterdir())
    if code not in (0, *(128 + number for number in numbers)):
        return f"exit code {code}: {stderr}"
    if any(".part" in name for name in left) or len(left) > 1:
        return f"left behind: {left}"
    if code == 0:
        return "" if left else "exit code 0 without a file"
    wanted = "interrupted" if code == 128 + signal.SIGINT else "terminated"
    # A run that was done just before has said so, and its file is whole.
    if not stderr.endswith(f"gscodec: error: {wanted}\n") or "Traceback" in stderr:
        return f"it said {stderr!r}"
    if left and not is_whole(folder / left[0]):
        return f"{left[0]} is not whole"
    return ""


def is_whole(path: Path) -> bool:
    """Whether a target can be read to its end: a .gsv by `info`, a video by encoding a frame less finely."""
    if path.suffix == ".gsv":
        return subprocess.run([*COMMAND, "info", path], capture_output=True, check=False).returncode == 0
    return path.stat().st_size > 0 and b"moov" in path.read_bytes()


def begin(args: tuple[str, ...], folder: str) -> subprocess.Popen[str]:
    """Start a run with the signals as a terminal has them; a shell's `&` and nohup ignore some."""
    pipe = subprocess.PIPE
    before = {number: signal.signal(number, signal.default_int_handler) for number in NUMBERS}
    try:
        return subprocess.Popen([*COMMAND, *args], cwd=folder, stdout=pipe, stderr=pipe, text=True)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def has_handlers(pid: int) -> bool:
    """Whether a process handles the last of the signals by now."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return False
    caught = next((line.split()[1] for line in status.splitlines() if line.startswith("SigCgt")), "0")
    return bool(int(caught, 16) >> (NUMBERS[-1] - 1) & 1)


def time_of(args: tuple[str, ...]) -> float:
    """Seconds that a run takes when nothing interrupts it."""
    with tempfile.TemporaryDirectory() as folder:
        began = time.perf_counter()
        subprocess.run([*COMMAND, *args], cwd=folder, check=True, capture_output=True)
        return time.perf_counter() - began


def encode_args(clip: Path) -> tuple[str, ...]:
    return ("encode", str(clip), "a.gsv", *SLOW)


def decode_args(clip: Path) -> tuple[str, ...]:
    return ("decode", str(clip.with_suffix(".gsv")), "a.mp4")


def make_clip(folder: Path, n_frames: int = 30) -> Path:
    """Write a clip of a moving disc with FFmpeg's library, and its .gsv beside it."""
    import av
    import numpy as np

    path = folder / "clip.mp4"
    y, x = np.mgrid[:96, :128]
    with av.open(str(path), "w") as out:
        stream = out.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 128, 96, "yuv420p"
        for n in range(n_frames):
            disc = (np.hypot(x - 30 - 2 * n, y - 48) < 20) * 120 + x / 2
            picture = np.repeat(disc.astype(np.uint8)[..., None], 3, -1)
            out.mux(stream.encode(av.VideoFrame.from_ndarray(picture, "rgb24")))
        out.mux(stream.encode(None))
    subprocess.run([*COMMAND, *encode_args(path), "-q"], cwd=folder, check=True, capture_output=True)
    (folder / "a.gsv").rename(path.with_suffix(".gsv"))
    return path


@contextmanager
def busy(n: int) -> Iterator[None]:
    """Keep `n` cores busy meanwhile."""
    processes = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(n)]
    try:
        yield
    finally:
        for process in processes:
            process.kill()
            process.wait()


if __name__ == "__main__":
    sys.exit(main())
