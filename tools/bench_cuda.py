"""Times the CUDA backend on one GPU: kernels against the card's ceilings, fits, live frames, decoding.

    python tools/bench_cuda.py prepare clip.mp4 starts.npz --gaussians 1000 --every 5
    python tools/bench_cuda.py run starts.npz [more.npz ...]

`prepare` needs no GPU: it finds mattes and starts. `run` needs one, and takes in turns what is drawn and
fitted: sums, means, and means whose alpha is fitted to the matte (`--kinds sum normalised matted`). The path
of the clip is kept relative to the .npz. docs/performance.md, section "CUDA", has figures.
"""

from __future__ import annotations

import argparse
import sys
import threading
import time
from collections.abc import Callable
from itertools import product
from pathlib import Path
from typing import Any

import cv2
import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1] / "src"))

from bench_cuda_clip import KINDS, Case, prepare
from gscodec.splat.raster import FitSchedule

TARGET_MSE = 1e-3  # 30 dB
SWEEPS, RIDGE = 10, 1e-3
# Per Gaussian and pixel within its reach; an exponential counts as one.
FORWARD_FLOPS, BACKWARD_FLOPS = 17, 38
FMA_SOURCE = """
extern "C" __global__ void multiply_add(float* out) {
  float x[8];
  for (int i = 0; i < 8; ++i) x[i] = float(threadIdx.x + i);
  for (int n = 0; n < 4096; ++n)
    for (int i = 0; i < 8; ++i) x[i] = x[i] * 1.0001f + 0.5f;
  float sum = 0.0f;
  for (int i = 0; i < 8; ++i) sum += x[i];
  out[blockIdx.x * blockDim.x + threadIdx.x] = sum;
}
"""


def best_of(repeats: int, call: Callable[[], Any]) -> tuple[float, Any]:
    """Median seconds of a call after one to warm up, and its last result."""
    call()
    times = []
    for _ in range(repeats):
        begin = time.perf_counter()
        result = call()
        times.append(time.perf_counter() - begin)
    return float(np.median(times)), result


def ceilings(batch: Any) -> tuple[float, float]:
    """Bytes and floating-point operations a second that this card reaches."""
    from cuda.bindings import driver

    from gscodec.splat.cuda.compile import compile_source
    from gscodec.splat.cuda.driver import Buffer, check
    from gscodec.splat.cuda.params import Scene

    work, device = batch.work, batch.device
    n_bytes = 1 << 30
    source, sink = Buffer(device, n_bytes), Buffer(device, n_bytes)
    module = check(driver.cuModuleLoadData(compile_source(FMA_SOURCE, "ceiling", f"sm_{device.capability}")))
    kernel = int(check(driver.cuModuleGetFunction(module, b"multiply_add")))
    grid = 16 * device.n_multiprocessors
    pointer = Scene(first=sink.address)  # a struct that begins with the pointer
    rates = [0.0, 0.0]
    for _ in range(5):
        begin = work.record()
        check(driver.cuMemcpyDtoDAsync(sink.address, source.address, n_bytes, work._stream))
        middle = work.record()
        work.launch(kernel, (grid, 1), pointer)
        end = work.record()
        rates[0] = max(rates[0], 2 * n_bytes / work.seconds_between(begin, middle))
        rates[1] = max(rates[1], grid * 256 * 4096 * 8 * 2 / work.seconds_between(middle, end))
    source.free()
    sink.free()
    return rates[0], rates[1]


def reached_pairs(params: np.ndarray, width: int, height: int) -> float:
    """Gaussian-pixel pairs within reach, of Gaussians wholly inside the picture."""
    return float(np.minimum(9 * np.pi * params[:, 2] * params[:, 4], width * height).sum())


def per_round(batch: Any, case: Case, count: int, what: str, **settings: int) -> float:
    """Seconds of one iteration of a fit, or of one sweep of a solve, of `count` pictures at once.

    Args:
        what: sweep, iteration, or standing: an iteration in which nothing moves, of the sum's start whatever
            the blend, so that blends are compared by what they do and not by how large Gaussians become.
    """
    from gscodec.splat.cuda import fit as cuda_fit

    def call(rounds: int) -> None:
        copies = [p.copy() for p in params]
        if what != "sweep":
            rooms = [np.zeros(len(p), bool) for p in copies]
            schedule = (
                case.schedule(rounds) if what == "iteration" else FitSchedule(rounds, 0, 0, 0, rate_weight=0)
            )
            cuda_fit.fit(batch, target, copies, None, schedule, is_room=rooms, **settings)
        else:
            cuda_fit.solve_colors(batch, target, copies, None, rounds, RIDGE, **settings)

    picks = case.picks(count)
    target = case.target(batch, picks)
    params = [(case.of_the_sum if what == "standing" else case.starts)[i].copy() for i in picks]
    batch.solve_colors(target, params, None, SWEEPS, RIDGE)
    times = []
    for rounds in (10, 50):
        found = []
        for _ in range(4):
            begin = time.perf_counter()
            call(rounds)
            found.append(time.perf_counter() - begin)
        times.append(min(found))
    return (times[1] - times[0]) / 40


def run_kernels(case: Case, batch: Any, byte_rate: float, flop_rate: float) -> None:
    pairs = reached_pairs(case.starts[0], case.width, case.height)
    n_pixels = case.width * case.height
    print(f"\n{case.name}: {pairs / 1e3:.0f} k pairs")
    floor_flops = pairs * (FORWARD_FLOPS + BACKWARD_FLOPS) / flop_rate
    floor_bytes = n_pixels * 16 / byte_rate
    print(f"  floor: {1e6 * floor_flops:.2f} us of arithmetic, {1e6 * floor_bytes:.2f} us of bytes")
    many = max(1, min(64, int(2e9 // (n_pixels * 60))))
    for count in (1, many) if many > 1 else (1,):
        for team in (1, 4):
            sweep = per_round(batch, case, count, "sweep", team=team) / count
            seconds = per_round(batch, case, count, "iteration", team=team) / count
            standing = per_round(batch, case, count, "standing", team=team) / count
            print(
                f"  {count} picture(s), {team} warp(s) a strip: sweep {1e6 * sweep:.2f} us, iteration "
                f"{1e6 * seconds:.2f} us a picture ({100 * floor_flops / seconds:.0f} % arithmetic, "
                f"{100 * floor_bytes / seconds:.0f} % bytes), of the sum's start {1e6 * standing:.2f} us"
            )


def run_iframe(case: Case, batch: Any) -> None:
    """Latency of one I-frame to 30 dB, from the picture in host memory to fitted parameters there."""
    state: dict[str, Any] = {}
    rooms = [np.zeros(len(case.starts[0]), bool)]

    def upload() -> None:
        state["target"] = case.target(batch, [0])

    def solve() -> None:
        state["params"] = [case.starts[0].copy()]
        batch.solve_colors(state["target"], state["params"], None, SWEEPS, RIDGE)

    def fit() -> Any:
        params = [state["params"][0].copy()]
        schedule = case.schedule(400, target_mse=TARGET_MSE)
        return batch.fit(state["target"], params, None, schedule, is_room=rooms)[0]

    parts = [best_of(9, part) for part in (upload, solve, fit)]

    def all_of_it() -> Any:
        upload()
        params = [case.starts[0].copy()]
        schedule = case.schedule(400, target_mse=TARGET_MSE)
        return batch.fit(state["target"], params, None, schedule, sweeps=SWEEPS, ridge=RIDGE, is_room=rooms)[
            0
        ]

    total, result = best_of(9, all_of_it)
    names = ("upload", "solve", "fit")
    text = ", ".join(f"{name} {1e3 * seconds:.2f}" for name, (seconds, _) in zip(names, parts, strict=True))
    psnr = -10 * np.log10(result.roi_mse)
    print(f"  I-frame to 30 dB: {1e3 * total:.2f} ms ({text}); {result.iterations} iterations, {psnr:.2f} dB")


def run_batches(case: Case, batch: Any) -> None:
    """Frames a second when every frame is fitted from its start."""
    from gscodec.splat.cuda.driver import pinned_array

    for count in (16, 64, 132, 264):
        if count * case.width * case.height > 8e7:
            break
        picks = case.picks(count)
        pixels = np.stack([case.frames[case.index[i]] for i in picks])
        weights = np.stack([case.weights[i] for i in picks])
        target = case.target(batch, picks)

        def fit(target: Any = target, picks: list[int] = picks) -> Any:
            params = [case.starts[i].copy() for i in picks]
            rooms = [np.zeros(len(p), bool) for p in params]
            schedule = case.schedule(400, target_mse=TARGET_MSE)
            return batch.fit(target, params, None, schedule, sweeps=SWEEPS, ridge=RIDGE, is_room=rooms)

        locked = [pinned_array(a.shape, a.dtype) for a in (pixels, weights)]
        locked[0][:], locked[1][:] = pixels, weights
        upload_s, _ = best_of(3, lambda locked=locked: batch.target(*locked))
        seconds, results = best_of(3, fit)
        mean = np.mean([r.iterations for r in results])
        print(
            f"  all I-frames, {count} at once: solve and fit to 30 dB {count / seconds:.0f} FPS "
            f"({mean:.0f} iterations), upload from page-locked memory {count / upload_s:.0f} FPS"
        )


def run_devices(case: Case, count: int = 132, rounds: int = 6) -> None:
    """The same over every GPU, a thread each."""
    from gscodec.splat.cuda.batch import CudaBatch
    from gscodec.splat.cuda.driver import n_devices

    picks = case.picks(count)

    def fit_often(ordinal: int, ready: threading.Barrier) -> None:
        batch = CudaBatch(case.width, case.height, ordinal, blend=case.blend)
        target = case.target(batch, picks)
        rooms = [np.zeros(len(case.starts[i]), bool) for i in picks]
        for i in range(-1, rounds):
            if i == 0:
                ready.wait()
            params = [case.starts[i].copy() for i in picks]
            schedule = case.schedule(400, target_mse=TARGET_MSE)
            batch.fit(target, params, None, schedule, sweeps=SWEEPS, ridge=RIDGE, is_room=rooms)
        ready.wait()

    for devices in range(1, n_devices() + 1):
        ready = threading.Barrier(devices + 1)
        threads = [threading.Thread(target=fit_often, args=(i, ready)) for i in range(devices)]
        for thread in threads:
            thread.start()
        ready.wait()
        begin = time.perf_counter()
        ready.wait()
        seconds = time.perf_counter() - begin
        for thread in threads:
            thread.join()
        fps = devices * rounds * count / seconds
        print(f"  all I-frames, {count} at once on each of {devices} GPU(s): solve and fit {fps:.0f} FPS")


def run_gops(case: Case, batch: Any, n_frames: int = 300, gop: int = 5) -> None:
    """Frames a second of a clip in GOPs of five, all GOPs in lock-step; P-frames refit what changed."""
    clip = [case.frames[min(i, 2 * len(case.frames) - 2 - i)] for i in range(2 * len(case.frames) - 1)]
    clip = (clip * (1 + n_frames // len(clip)))[:n_frames]
    starts = list(range(0, n_frames, gop))
    picks = [
        int(np.abs(case.index - (i if i < len(case.frames) else 2 * len(case.frames) - 2 - i)).argmin())
        for i in starts
    ]
    weights = np.stack([case.weights[i] for i in picks])
    params = [case.starts[i].copy() for i in picks]
    fit_s, n_active, quality = 0.0, [], []
    for step in range(gop):
        pixels = np.stack([clip[i + step] for i in starts])
        target = batch.target(pixels, weights)
        active = None
        if step:
            active = [
                changed(clip[i + step - 1], clip[i + step], p) for i, p in zip(starts, params, strict=True)
            ]
            n_active += [len(a) for a in active]
        begin = time.perf_counter()
        schedule = case.schedule(20 if step else 400, target_mse=TARGET_MSE)
        sweeps = 3 if step else SWEEPS
        results = batch.fit(target, params, active, schedule, sweeps=sweeps, ridge=RIDGE)
        fit_s += time.perf_counter() - begin
        quality += [r.roi_mse for r in results]
    psnr = -10 * np.log10(np.mean(quality))
    print(
        f"  {n_frames} frames in GOPs of {gop}: {n_frames / fit_s:.0f} FPS fitted, "
        f"{np.mean(n_active):.0f} active a P-frame, {psnr:.2f} dB"
    )


def changed(before: np.ndarray, now: np.ndarray, params: np.ndarray) -> np.ndarray:
    """Gaussians whose mean lies where the picture changed."""
    difference = cv2.blur(cv2.absdiff(before, now).astype(np.float32).mean(axis=2), (7, 7))
    x = np.clip(params[:, 0].astype(int), 0, now.shape[1] - 1)
    y = np.clip(params[:, 1].astype(int), 0, now.shape[0] - 1)
    return np.flatnonzero(difference[y, x] > 2.0).astype(np.uint32)


def run_live(case: Case, batch: Any) -> None:
    """One frame after another: upload, solve, fit what changed, draw the result to host memory."""
    params = [case.starts[0].copy()]
    weight = case.weights[0][None]
    target = batch.target(case.frames[0][None], weight)
    batch.solve_colors(target, params, None, SWEEPS, RIDGE)
    batch.fit(target, params, None, case.schedule(60))
    times = []
    for before, now in zip(case.frames, case.frames[1:], strict=False):
        active = [changed(before, now, params[0])]
        begin = time.perf_counter()
        target = batch.target(now[None], weight)
        batch.fit(target, params, active, case.schedule(20), sweeps=3, ridge=RIDGE)
        batch.render_rgb8(params)
        times.append(time.perf_counter() - begin)
    print(
        f"  live, 20 iterations a P-frame: {1e3 * np.median(times):.2f} ms median, "
        f"{1e3 * np.quantile(times, 0.95):.2f} ms 95 %, {1 / np.mean(times):.0f} FPS"
    )


def run_decode(case: Case, batch: Any) -> None:
    """Frames a second from parameters in host memory to pictures on the card, and to host memory."""
    for count in (1, 16, 128, 512):
        if count * case.width * case.height > 4e8:
            break
        params = [case.starts[i] for i in case.picks(count)]
        for name, draw in (("R'G'B'", batch.draw_rgb8), ("NV12", batch.draw_nv12)):
            out = draw(params)

            def call(draw: Any = draw, params: Any = params, out: Any = out) -> None:
                draw(params, out=out)
                batch.wait()

            seconds, _ = best_of(5, call)
            placed = batch.place(params)
            begin = batch.work.record()
            for _ in range(4):
                draw(placed, out=out)
            device = batch.work.seconds_between(begin, batch.work.record()) / 4
            print(
                f"  decode to {name}, {count} at once: {count / seconds:.0f} FPS with their upload, "
                f"{count / device:.0f} FPS on the card ({1e6 * device / count:.2f} us a picture)"
            )
    if case.width * case.height < 1e6:
        seconds, _ = best_of(5, lambda: batch.render_rgb8([case.starts[0]]))
        print(f"  one picture to host memory: {1e3 * seconds:.2f} ms")


def run(options: argparse.Namespace) -> None:
    begin = time.perf_counter()
    from gscodec.splat.cuda.batch import CudaBatch

    imported = time.perf_counter()
    batch = CudaBatch(64, 64)
    opened = time.perf_counter()
    one = [np.ones((1, 8), np.float32)]
    batch.render_rgb8(one)
    drawn = time.perf_counter()
    target = batch.target(np.zeros((1, 64, 64, 3), np.uint8), np.ones((1, 64, 64), np.float32))
    batch.fit(target, one, None, FitSchedule(2), sweeps=2)
    fitted = time.perf_counter()
    print(
        f"{batch.device.name}: import {imported - begin:.3f} s, context {opened - imported:.3f} s, "
        f"first picture {drawn - opened:.3f} s, first fit {fitted - drawn:.3f} s"
    )
    byte_rate, flop_rate = ceilings(batch)
    print(f"ceilings: {byte_rate / 1e12:.2f} TB/s, {flop_rate / 1e12:.1f} TFLOP/s of multiply-adds")
    for path, kind in product(options.starts, options.kinds):
        case = Case(path, kind)
        batch = CudaBatch(case.width, case.height, blend=case.blend)
        run_kernels(case, batch, byte_rate, flop_rate)
        run_iframe(case, batch)
        run_batches(case, batch)
        if len(case.frames) > 50:
            run_devices(case)
        if kind == "matted":  # what follows is drawn, and fitted without a matte: as above
            continue
        if len(case.frames) > 50:
            run_gops(case, batch)
            run_live(case, batch)
        run_decode(case, batch)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(required=True)
    one = commands.add_parser("prepare")
    one.add_argument("clip", type=Path)
    one.add_argument("out", type=Path)
    one.add_argument("--gaussians", type=int, default=1000)
    one.add_argument("--every", type=int, default=5)
    one.add_argument("--frames", type=int, default=150)
    one.add_argument("--scale", type=float, default=1.0)
    one.add_argument("--roi", default="portrait")
    one.set_defaults(call=prepare)
    two = commands.add_parser("run")
    two.add_argument("starts", type=Path, nargs="+")
    two.add_argument("--kinds", nargs="+", choices=KINDS, default=list(KINDS))
    two.set_defaults(call=run)
    options = parser.parse_args()
    options.call(options)


if __name__ == "__main__":
    main()
