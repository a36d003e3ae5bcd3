"""anomalib's models with their own losses, optimisers and normalisation, on images and steps of our choice."""

from __future__ import annotations

import logging
import tempfile
import warnings
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from anomalib import models
from anomalib.data import ImageBatch
from lightning.pytorch import LightningModule, Trainer, seed_everything
from torch import Tensor
from torch.utils.data import DataLoader

from bench.peers.backbone import BACKBONE, pretrained
from bench.peers.predictor import FitSettings, Predict, Prediction
from model.images import Frame

BATCH = 16  # images in a step, and scored at once
BARE: Mapping[str, Any] = {"evaluator": False, "visualizer": False, "post_processor": False}


def _draem(**options: Any) -> LightningModule:
    # It would download a texture set. Without one anomalib draws its pseudo-anomalies from Perlin noise.
    with tempfile.TemporaryDirectory() as no_textures:
        return models.Draem(dtd_dir=no_textures, **options)


BUILDERS: Mapping[str, Callable[..., LightningModule]] = {
    "reverse_distillation": partial(models.ReverseDistillation, backbone=BACKBONE),
    "padim": partial(models.Padim, backbone=BACKBONE),
    "patchcore": partial(models.Patchcore, backbone=BACKBONE),  # keeps 10 % of the patches
    "patchcore_1": partial(models.Patchcore, backbone=BACKBONE, coreset_sampling_ratio=0.01),  # the paper's smallest
    "stfpm": partial(models.Stfpm, backbone=BACKBONE),
    "draem": _draem,
    "ganomaly": partial(models.Ganomaly, batch_size=BATCH),
}


def fit(name: str, images: Sequence[Frame], settings: FitSettings) -> Mapping[str, Predict]:
    """Fits one of `BUILDERS` with anomalib's defaults.

    Models with an optimiser see `settings.steps` batches, the others each image once.

    Args:
        name: of the model, and of its result.
        images: prepared, uint8 256 x 256 x 3 each: the only input size that all of anomalib's models default to.
        settings: see there.

    Raises:
        PeerError, TeacherError: the backbone cannot be had with these weights.
    """
    quieten()
    seed_everything(settings.seed, verbose=False)
    with pretrained(settings.weights):
        module = BUILDERS[name](**BARE)
    steps = 0 if module.configure_optimizers() is None else settings.steps
    train(module, images, batches(len(images), BATCH, steps, settings.seed))
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    return {name: partial(predict, module.to(device).eval(), device)}


def quieten() -> None:
    """Keeps what these libraries say about loggers, workers, deprecations and opsets out of the bench's lines."""
    for name in ("anomalib", "lightning.pytorch", "onnxscript", "torch.onnx"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    warnings.filterwarnings("ignore")


def batches(count: int, size: int, steps: int, seed: int) -> list[list[int]]:
    """`steps` shuffled batches, cut from one permutation of the images after another; 0 steps: each image once."""
    if not steps:
        return [list(range(start, min(start + size, count))) for start in range(0, count, size)]
    rng = np.random.default_rng((seed, 8))
    size = min(size, count)
    order = np.concatenate([rng.permutation(count) for _ in range(-(-steps * size // count))])
    return [order[at * size : (at + 1) * size].tolist() for at in range(steps)]


def train(module: LightningModule, images: Sequence[Frame], order: list[list[int]], **loaders: Any) -> None:
    """Runs Lightning's own loop, so that every hook of the module runs; `loaders` go to `Trainer.fit`."""
    tensors = [to_tensor(image) for image in images]
    loader: DataLoader[Any] = DataLoader(tensors, batch_sampler=order, collate_fn=collate)  # type: ignore[arg-type]
    own = {key: value for key, value in module.trainer_arguments.items() if key != "max_epochs"}
    with tempfile.TemporaryDirectory() as folder:
        trainer = Trainer(
            max_epochs=1, accelerator="auto", logger=False, enable_checkpointing=False, enable_progress_bar=False,
            enable_model_summary=False, default_root_dir=folder, **{"devices": 1, **own},
        )  # fmt: skip
        trainer.fit(module, loader, **loaders)


def collate(images: list[Tensor]) -> Any:
    return ImageBatch(image=torch.stack(images))


def to_tensor(image: Frame) -> Tensor:
    """Uint8 H x W x 3 -> float32 3 x H x W on 0 .. 1, what anomalib's own pre-processor starts from."""
    return torch.from_numpy(np.array(image)).permute(2, 0, 1).float() / 255


@torch.inference_mode()
def predict(module: LightningModule, device: torch.device, images: Sequence[Frame]) -> list[Prediction]:
    """The torch model's own outputs after the module's own pre-processor; its post-processor would clamp them."""
    found: list[Prediction] = []
    for start in range(0, len(images), BATCH):
        batch = torch.stack([to_tensor(image) for image in images[start : start + BATCH]]).to(device)
        output = module.model(module.pre_processor(batch))
        maps = output.anomaly_map
        scores = output.pred_score.reshape(-1).tolist()
        flat = [None] * len(scores) if maps is None else list(maps.reshape(-1, *maps.shape[-2:]).cpu().numpy())
        found += map(Prediction, scores, flat)
    return found
