"""The scorer against its own frozen teacher, which it cannot do without, and bf16 beside fp32."""

from __future__ import annotations

from functools import partial

import numpy as np
import torch

from bench.row import Row, per_second
from model.engines import Scorer
from model.images import Frame
from model.precision import channels_last, choose_dtype, computes_bf16, name_of
from model.teacher import load_teacher
from model.training import TrainingSettings, train

BATCH = 16
TEACHER = "efficientnet_lite2"


def rows() -> list[Row]:
    """Frames per second at 256 px: pixels in, blurred map and score out."""
    rng = np.random.default_rng(0)
    frames = [rng.integers(0, 255, (256, 256, 3), np.uint8) for _ in range(BATCH)]
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    dtype = choose_dtype("auto", device)
    auto = name_of(dtype)
    artifact = train(frames, TrainingSettings(teacher=TEACHER, steps=1, batch_size=4))
    precisions = ["fp32", "bf16"] if computes_bf16(device) else ["fp32"]
    scorers = {precision: Scorer(artifact, precision=precision) for precision in precisions}
    speeds = {precision: per_second(partial(scorer.score, frames), BATCH) for precision, scorer in scorers.items()}
    single = per_second(lambda: [scorers[auto].score([frame]) for frame in frames], BATCH)
    ceiling = _teacher_alone(frames, device, dtype)
    name = f"score, {TEACHER}, {auto}, {device.type}"
    together, speed = f"{name}, batch {BATCH}", speeds[auto]
    return [
        Row(together, speed, "frames/s", f"its teacher alone: {ceiling:,.0f}", speed / ceiling),
        *(
            Row(together, speed, "frames/s", f"{other}: {speeds[other]:,.0f}", speed / speeds[other])
            for other in precisions
            if other != auto
        ),
        Row(f"{name}, batch 1", single, "frames/s", f"batch {BATCH}: {speed:,.0f}", single / speed),
    ]


@torch.inference_mode()
def _teacher_alone(frames: list[Frame], device: torch.device, dtype: torch.dtype) -> float:
    teacher = load_teacher(TEACHER)
    teacher.encoder.to(dtype)
    channels_last(teacher.to(device))
    images = torch.from_numpy(np.stack(frames)).to(device).permute(0, 3, 1, 2)
    return per_second(lambda: [level.float().sum().item() for level in teacher(images)], BATCH)
