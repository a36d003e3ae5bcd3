"""The scorer against its own frozen teacher, which it cannot do without, and bf16 against fp32."""

from __future__ import annotations

import numpy as np
import torch

from bench.row import Row, per_second
from model.artifact import Artifact
from model.engines import Scorer
from model.engines.pytorch import to_batch
from model.precision import choose_dtype, name_of
from model.teacher import load_teacher
from model.training import TrainingSettings, train

BATCH = 16


def rows() -> list[Row]:
    """Frames per second at 256 px: pixels in, blurred map and score out."""
    rng = np.random.default_rng(0)
    frames = [rng.integers(0, 255, (256, 256, 3), np.uint8) for _ in range(BATCH)]
    artifact = train(frames, TrainingSettings(steps=1, batch_size=4))
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    auto = name_of(choose_dtype("auto", device))
    found = {precision: _speed(artifact, frames, precision) for precision in {"fp32", auto}}
    teacher = load_teacher("efficientnet_lite2").to(device)
    teacher.encoder.to(choose_dtype("auto", device))
    batch = to_batch(frames, device)
    ceiling = per_second(lambda: [level.float().sum().item() for level in teacher(batch)], BATCH)
    single = per_second(lambda: [_score(artifact, frames, auto, one) for one in range(BATCH)], BATCH)
    name = f"score, efficientnet_lite2, {auto}, {device.type}"
    return [
        Row(
            f"{name}, batch {BATCH}",
            found[auto],
            "frames/s",
            f"its teacher alone: {ceiling:,.0f}",
            found[auto] / ceiling,
        ),
        Row(
            f"{name}, batch {BATCH}",
            found[auto],
            "frames/s",
            f"fp32: {found['fp32']:,.0f}",
            found[auto] / found["fp32"],
        ),
        Row(f"{name}, batch 1", single, "frames/s", f"batch {BATCH}: {found[auto]:,.0f}", single / found[auto]),
    ]


_scorers: dict[str, Scorer] = {}


def _scorer(artifact: Artifact, precision: str) -> Scorer:
    if precision not in _scorers:
        _scorers[precision] = Scorer(artifact, precision=precision)
        _scorers[precision].warm_up()
    return _scorers[precision]


def _speed(artifact: Artifact, frames: list[np.ndarray], precision: str) -> float:
    scorer = _scorer(artifact, precision)
    return per_second(lambda: scorer.score(frames), len(frames))


def _score(artifact: Artifact, frames: list[np.ndarray], precision: str, one: int) -> float:
    return _scorer(artifact, precision).score([frames[one]])[0].score
