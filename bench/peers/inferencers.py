"""anomalib's inferencers as they ship: a reverse distillation of random weights, exported by its own exporter."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from anomalib import models
from anomalib.data import ImageBatch
from anomalib.deploy import OpenVINOInferencer, TorchInferencer
from torch.utils.data import DataLoader

from bench.peers.anomalib_models import quieten, to_tensor, train
from bench.peers.backbone import pretrained
from model.images import Frame, Map

SIDE = 256
Infer = Callable[[Sequence[Frame]], list[tuple[float, Map]]]


def export(folder: Path, teacher: str) -> None:
    """Trains for one step, validates, so that the post-processor has its thresholds, and exports both ways."""
    quieten()
    with pretrained(None):
        module = models.ReverseDistillation(backbone=teacher, evaluator=False, visualizer=False)
    rng = np.random.default_rng(0)
    images = [rng.integers(0, 255, (SIDE, SIDE, 3), np.uint8) for _ in range(2)]
    labelled: Any = [_labelled(images)]
    train(module, images, [[0, 1]], val_dataloaders=DataLoader(labelled, batch_size=None))
    module.to_torch(folder)
    module.to_openvino(folder, input_size=(SIDE, SIDE), onnx_kwargs={"verbose": False})


def _labelled(images: Sequence[Frame]) -> Any:
    mask = torch.zeros(len(images), SIDE, SIDE, dtype=torch.bool)
    mask[1, :32, :32] = True
    return ImageBatch(
        image=torch.stack([to_tensor(image) for image in images]), gt_label=mask.flatten(1).any(1), gt_mask=mask
    )


def open_torch(folder: Path, device: str) -> Infer:
    """`TorchInferencer`, float32 as it ships."""
    quieten()
    os.environ["TRUST_REMOTE_CODE"] = "1"  # it unpickles; the file is our own
    inferencer = TorchInferencer(folder / "weights/torch/model.pt", device=device)

    @torch.inference_mode()
    def infer(frames: Sequence[Frame]) -> list[tuple[float, Map]]:
        found = inferencer.predict(torch.stack([to_tensor(frame) for frame in frames]))
        maps = found.anomaly_map.reshape(len(frames), *found.anomaly_map.shape[-2:]).cpu().numpy()
        return list(zip(found.pred_score.reshape(-1).tolist(), maps, strict=True))

    return infer


def open_openvino(folder: Path, config: Mapping[str, str]) -> Infer:
    """`OpenVINOInferencer` on the CPU; an empty config is how it ships."""
    quieten()
    inferencer = OpenVINOInferencer(folder / "weights/openvino/model.xml", device="CPU", config=dict(config))

    def infer(frames: Sequence[Frame]) -> list[tuple[float, Map]]:
        found = inferencer.predict(np.stack(frames))
        maps = np.asarray(found.anomaly_map, np.float32).reshape(len(frames), *found.anomaly_map.shape[-2:])
        return list(zip(np.ravel(found.pred_score).tolist(), maps, strict=True))

    return infer
