"""How odd each part is among the others: a patch memory of all of them, each held against it without its own patches.

Nothing is trained and nothing is labelled. It sorts parts for people who look for defects among what they will teach;
two parts with the same defect hide each other a little, and many hide each other wholly.

Source: the memory is `model.memory`'s (after Roth et al., CVPR 2022), left out part by part.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch

from model import memory
from model.drawing import candidates
from model.features import Features, Load
from model.images import Frame
from model.precision import channels_last, choose_device, choose_dtype, cpu_threads
from model.stores import half_of_what_is_free
from model.teacher import load_teacher
from model.training import TrainingSettings

QUANTILE = 0.99  # of a frame's patches: a defect of a hundredth of the frame shows, a single patch does not


def oddness(
    images: Sequence[Frame | Load],
    parts: Sequence[str],
    settings: TrainingSettings,
    on_frames: Callable[[int], None] = lambda _: None,
) -> list[float]:
    """How odd each frame is, in the teacher's feature space; only its order within one call means something.

    Args:
        images: uint8 H x W x 3 RGB frames, or functions that load one.
        parts: whose frame each is; a part is never held against its own patches.
        settings: teacher, input, device, precision, threads and seed.
        on_frames: hears how many frames went through the teacher, in this thread.

    Raises:
        TeacherError, DeviceError, InputError: teacher, device or input cannot be had.
    """
    with cpu_threads(settings.threads), torch.inference_mode():
        device = choose_device(settings.device)
        teacher = load_teacher(settings.teacher, settings.weights)
        teacher.encoder.to(choose_dtype(settings.precision, device))
        channels_last(teacher.to(device))
        features = Features(teacher, settings.spec, device, half_of_what_is_free(device, 1))
        features.compute(images, on_frames)
        return among(features, parts, settings.seed)


def among(features: Features, parts: Sequence[str], seed: int) -> list[float]:
    """As `oddness`, of frames whose features are there; 0 where there is nothing else to hold a frame against."""
    numbers = {part: number for number, part in enumerate(dict.fromkeys(parts))}
    rows, owners = [], []
    for frame, part in enumerate(parts):
        rows.append(candidates(features, frame, features.frames, seed))
        owners.append(torch.full((len(rows[-1]),), numbers[part], device=rows[-1].device))
    drawn, owner = torch.cat(rows), torch.cat(owners)
    at = memory.chosen(drawn, memory.PROTOTYPES, seed)
    prototypes, whose = drawn[at], owner[at]
    return [_of(features, frame, prototypes[whose != numbers[part]]) for frame, part in enumerate(parts)]


def _of(features: Features, frame: int, others: torch.Tensor) -> float:
    tiles = features.tiles_of([frame])
    distances = memory.nearest(memory.patches(features.batch(tiles)), others) if len(others) else torch.zeros(0)
    masks = features.level_masks(tiles)
    inside = distances if masks is None or not len(others) else distances[masks[1][:, 0] > 0]
    return float(torch.quantile(inside.flatten(), QUANTILE)) if inside.numel() else 0.0
