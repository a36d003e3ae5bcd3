"""Speed of our engines beside anomalib's inferencers: `python -m bench.scoring`.

Decoded pixels in; score and map in frame coordinates out. Weights are random. Every subject runs in a process of its
own, so that its peak memory is its own, and next to it the device's matmul rate is measured, which is the ceiling.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import TypeVar

import numpy as np
import torch

from bench.peers.subjects import Subject, Work, open_subject, prepare_models, subjects
from model.images import Frame

GFLOP = {"resnet18": 8.65, "wide_resnet50_2": 60.9}  # of one 256 px frame, two a multiply-add
BATCHES = {"cpu": (1, 4, 16), "cuda": (1, 16, 64, 128)}
MATMUL = {"cpu": 2048, "cuda": 8192}  # side of the square matrices
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Speed:
    """What came out.

    Attributes:
        rates: frames/s of each repeat at the best batch size.
        batch: that size.
        singles: milliseconds of each repeat at batch 1.
        megabytes: most memory ever held, of the process on a CPU, of torch's allocator on a GPU.
        ceiling: GFLOP/s of a square matmul in this precision (in float32 for int8).
        failure: why there is nothing of all this; "" where there is.
    """

    rates: Sequence[float] = ()
    batch: int = 0
    singles: Sequence[float] = ()
    megabytes: float = 0
    ceiling: float = 0
    failure: str = ""


def main() -> None:
    """Prints one Markdown table."""
    parser = argparse.ArgumentParser(prog="python -m bench.scoring", description=__doc__.splitlines()[0])
    parser.add_argument("--teacher", choices=sorted(GFLOP), default="resnet18")
    parser.add_argument("--side", type=int, default=256, help="of the square frames, in pixels")
    parser.add_argument("--repeats", type=int, default=5, help="timed runs; the table shows median, least and most")
    parser.add_argument("--only", default="", help="only rows whose name contains this")
    options = parser.parse_args()
    os.environ.setdefault("PYTHONWARNINGS", "ignore")  # of the libraries that the subjects' processes import
    devices = ["cpu", "cuda"] if torch.cuda.is_available() else ["cpu"]
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else "no GPU"
    cpu = f"{torch.get_num_threads()} threads ({torch.backends.cpu.get_cpu_capability()}), {gpu}"
    print(f"{options.teacher}, {options.side} px frames, {options.repeats} repeats, {cpu}, torch {torch.__version__}\n")
    with tempfile.TemporaryDirectory() as name:
        _alone(prepare_models, Path(name), options.teacher)
        print(
            "| what | device, precision | frames/s | batch | ms at batch 1 | peak MB | matmul GFLOP/s | share of it |"
        )
        print("|---|---|---|---|---|---|---|---|")
        for subject in subjects(devices):
            if options.only in subject.name:
                speed = _alone(measure, subject, Path(name), options.side, options.repeats)
                print(row(subject, speed, GFLOP[options.teacher]), flush=True)


def _alone(work: Callable[..., T], *arguments: object) -> T:
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(work, *arguments).result()


def row(subject: Subject, speed: Speed, gflop: float) -> str:
    """One line of the table."""
    start = f"| {subject.name} | {subject.device}, {subject.precision} |"
    if speed.failure:
        return f"{start} not run: {speed.failure} | | | | | |"
    share = median(speed.rates) * gflop / speed.ceiling
    return (
        f"{start} {_spread(speed.rates)} | {speed.batch} | {_spread(speed.singles)} | {speed.megabytes:.0f} | "
        f"{speed.ceiling:,.0f} | {share:.0%} |"
    )


def _spread(values: Sequence[float]) -> str:
    return f"{median(values):.1f} ({min(values):.1f} .. {max(values):.1f})"


def measure(subject: Subject, folder: Path, side: int, repeats: int) -> Speed:
    """Opens a subject and times it; to be run in a process of its own."""
    os.chdir(folder)  # anomalib keeps a cache of compiled models where it runs
    if subject.unfit:
        return Speed(failure=subject.unfit)
    sizes = BATCHES[subject.device]
    rng = np.random.default_rng(1)
    frames = [rng.integers(0, 255, (side, side, 3), np.uint8) for _ in range(max(sizes))]
    try:
        work = open_subject(subject, folder)
        rates = {size: _rates(work, frames[:size], repeats) for size in sizes}
    except Exception as error:  # one row that cannot be had must not end the others
        return Speed(failure=f"{type(error).__name__}: {str(error).partition(chr(10))[0]}")
    batch = max(rates, key=lambda size: median(rates[size]))
    megabytes = _peak_megabytes(subject.device)
    singles = [1000 / rate for rate in rates[1]]
    return Speed(rates[batch], batch, singles, megabytes, matmul_rate(subject, repeats))


def _rates(work: Work, frames: Sequence[Frame], repeats: int) -> list[float]:
    """Frames per second of each repeat, after one that is not timed; every repeat sees at least 16 frames."""
    calls = max(1, 16 // len(frames))
    work(frames)
    found = []
    for _ in range(repeats):
        began = perf_counter()
        for _ in range(calls):
            work(frames)  # results are NumPy arrays, so a GPU is done when it returns
        found.append(calls * len(frames) / (perf_counter() - began))
    return found


def matmul_rate(subject: Subject, repeats: int) -> float:
    """GFLOP/s of a square matmul on the subject's device and in its precision, the best repeat."""
    dtype = torch.bfloat16 if subject.precision == "bf16" else torch.float32
    torch.backends.cuda.matmul.allow_tf32 = subject.precision == "tf32"
    torch.backends.cuda.matmul.allow_tf32 = subject.precision == "tf32"
    side = MATMUL[subject.device]
    left, right = (torch.randn(side, side, device=subject.device).to(dtype) for _ in range(2))
    (left @ right)[0, 0].item()
    seconds = []
    for _ in range(repeats):
        began = perf_counter()
        (left @ right)[0, 0].item()  # waits for a GPU
        seconds.append(perf_counter() - began)
    return float(2 * side**3 / min(seconds) / 1e9)


def _peak_megabytes(device: str) -> float:
    if device == "cuda":
        return torch.cuda.max_memory_allocated() / 1e6
    # VmHWM is of this program alone; getrusage's figure starts at the parent's.
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) * 1024 / 1e6


if __name__ == "__main__":
    main()
