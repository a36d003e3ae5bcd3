"""What the speed bench measures: our engines and anomalib's inferencers, all as frames in, scores and maps out."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch

from model.images import Frame, InputSpec, to_frame
from model.precision import computes_bf16

SPEC = InputSpec(256, 256)
WEIGHTS, MODEL = "teacher.safetensors", "model.safetensors"
Work = Callable[[Sequence[Frame]], object]


@dataclass(frozen=True, slots=True)
class Subject:
    """One row.

    Attributes:
        name: of the row.
        kind: "ours", or "torch" or "openvino" for anomalib's inferencers.
        device: "cpu" or "cuda".
        precision: as our `Scorer` takes it; for anomalib's what it computes in, "tf32" too.
        options: `engine` and `form` of our `Scorer`, or OpenVINO's configuration.
    """

    name: str
    kind: str
    device: str
    precision: str
    options: Mapping[str, str] = field(default_factory=dict)

    @property
    def unfit(self) -> str:
        """Why this machine has no such row; "" where it has."""
        emulated = self.precision == "bf16" and not computes_bf16(torch.device(self.device))
        return "no bfloat16 in hardware" if emulated else ""


def subjects(devices: Sequence[str]) -> Iterator[Subject]:
    """All rows for these devices; OpenVINO's are always on the CPU."""
    for device in devices:
        for form in ("paper", "default"):
            for precision in ("fp32", "bf16"):
                yield Subject(f"ours, torch, {form}", "ours", device, precision, {"engine": "torch", "form": form})
        shipped = "tf32" if device == "cuda" else "fp32"  # cuDNN's default
        yield Subject("anomalib, TorchInferencer as it ships", "torch", device, shipped)
    for form in ("paper", "default"):
        for precision in ("fp32", "bf16", "int8"):
            yield Subject(f"ours, OpenVINO, {form}", "ours", "cpu", precision, {"engine": "openvino", "form": form})
    automatic = "bf16" if computes_bf16(torch.device("cpu")) else "fp32"  # so OpenVINO picks
    yield Subject("anomalib, OpenVINOInferencer as it ships", "openvino", "cpu", automatic)
    if automatic != "fp32":
        precise = {"INFERENCE_PRECISION_HINT": "f32"}
        yield Subject("anomalib, OpenVINOInferencer, f32", "openvino", "cpu", "fp32", precise)


def prepare_models(folder: Path, teacher: str) -> None:
    """Writes random weights, a model of ours, and anomalib's exports; only ours where anomalib is not installed."""
    import torchvision
    from safetensors.torch import save_file

    from model import TrainingSettings, train
    from model.artifact import save

    torch.manual_seed(0)
    save_file(getattr(torchvision.models, teacher)(weights=None).state_dict(), folder / WEIGHTS)
    rng = np.random.default_rng(0)
    frames = [rng.integers(0, 255, (*SPEC.canvas, 3), np.uint8) for _ in range(8)]
    settings = TrainingSettings(teacher=teacher, weights=str(folder / WEIGHTS), steps=1, batch_size=4, precision="fp32")
    save(train(frames, settings), folder / MODEL)
    try:
        from bench.peers import inferencers
    except ImportError:
        return  # their rows say so
    inferencers.export(folder, teacher)


def open_subject(subject: Subject, folder: Path) -> Work:
    """Opens what `prepare_models` wrote, ready to score frames of any size."""
    if subject.kind == "ours":
        return _ours(subject, folder)
    from bench.peers import inferencers

    if subject.kind == "torch":
        infer = inferencers.open_torch(folder, subject.device)
    else:
        infer = inferencers.open_openvino(folder, subject.options)
    return lambda frames: [
        (score, to_frame(found, frame.shape, SPEC)) for (score, found), frame in zip(infer(frames), frames, strict=True)
    ]


def _ours(subject: Subject, folder: Path) -> Work:
    from model import Scorer
    from model.artifact import load

    scorer = Scorer(
        load(folder / MODEL), weights=str(folder / WEIGHTS), device=subject.device, precision=subject.precision,
        engine=subject.options["engine"], form=subject.options["form"],
    )  # fmt: skip
    scorer.warm_up()
    return lambda frames: [
        (scored.score, to_frame(scored.map, frame.shape, SPEC))
        for scored, frame in zip(scorer.score(frames), frames, strict=True)
    ]
