"""The optimiser's step: against the device's matmul rate, bf16 and fp32, kept features against recomputed ones."""

from __future__ import annotations

import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode

from bench.row import Row, per_second
from model.distillation import Learner
from model.distributed import Group
from model.features import Features
from model.fitting import Fit, FitSettings
from model.images import Frame, InputSpec
from model.precision import channels_last, choose_dtype, computes_bf16, name_of
from model.stores import Room
from model.teacher import load_teacher

TEACHER = "efficientnet_lite2"
SIZE, BATCH, FRAMES = 256, 16, 20
REPEATS = 3
MATMUL = {"cpu": 2048, "cuda": 8192}  # side of the square matrices
ALL, NONE = Room(1 << 50, 0), Room(0, 0)


def rows() -> list[Row]:
    """Tiles per minute at 256 px and batch 16: loss, gradients and Adam of one step."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    auto = choose_dtype("auto", device)
    rng = np.random.default_rng(0)
    frames = [rng.integers(0, 255, (SIZE, SIZE, 3), np.uint8) for _ in range(FRAMES)]
    formats = [torch.float32, torch.bfloat16] if computes_bf16(device) else [torch.float32]
    speeds = {one: _speed(frames, device, one, ALL) for one in formats}
    (best, _), (_, flops) = speeds[auto], speeds[torch.float32]
    recomputed, _ = _speed(frames, device, auto, NONE)
    ceiling = _matmul(device, auto)
    name = f"training step, {TEACHER}, {name_of(auto)}, {device.type}"
    reached = best * flops
    return [
        Row(name, best * 60, "tiles/min", f"matmul at {ceiling / 1e9:,.0f} GFLOP/s", reached / ceiling),
        *(
            Row(name, best * 60, "tiles/min", f"{name_of(other)}: {speed * 60:,.0f}", best / speed)
            for other, (speed, _) in speeds.items()
            if other is not auto
        ),
        Row(name, best * 60, "tiles/min", f"features recomputed: {recomputed * 60:,.0f}", best / recomputed),
    ]


def _speed(frames: list[Frame], device: torch.device, dtype: torch.dtype, room: Room) -> tuple[float, float]:
    """Tiles per second, and floating-point operations per tile."""
    teacher = load_teacher(TEACHER)
    teacher.encoder.to(dtype)
    features = Features(channels_last(teacher.to(device)), InputSpec(SIZE, SIZE), device, room)
    features.compute(frames, lambda done: None)
    learner = channels_last(Learner(TEACHER).to(device)).train()
    settings = FitSettings(batch_size=BATCH, learning_rate=0.005, seed=0, mixed=dtype is torch.bfloat16)
    fit = Fit(
        learner, learner, features, range(1, FRAMES), [0], settings=settings, group=Group(), checkpoint=None
    )  # fmt: skip
    tiles = list(range(BATCH))

    def step() -> float:
        return float(fit.step(tiles))  # read, so that a GPU is done

    with FlopCounterMode(display=False) as counter:
        fit.loss(tiles).backward()  # type: ignore[no-untyped-call]
    return per_second(step, BATCH, repeats=REPEATS), counter.get_total_flops() / BATCH


def _matmul(device: torch.device, dtype: torch.dtype) -> float:
    """Floating-point operations per second of a large square product."""
    side = MATMUL[device.type]
    a, b = (torch.randn(side, side, device=device, dtype=dtype) for _ in range(2))
    return per_second(lambda: float((a @ b)[0, 0]), 2 * side**3, repeats=REPEATS)
