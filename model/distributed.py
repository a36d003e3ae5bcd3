"""Data-parallel training: each process fits its share of every batch, and gradients are averaged.

    torchrun --nproc-per-node 2 -m model.distributed --images DIR --out MODEL.safetensors --teacher resnet18 --seed 0

BatchNorm sees each process's share alone, so the same batch over more processes is another run: it equals one process
that normalises the same shares apart.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields
from pathlib import Path

import torch
from torch import Tensor, distributed


@dataclass(frozen=True, slots=True)
class Group:
    """The processes of one run; alone by default.

    Attributes:
        rank: this process's number.
        size: their count.
        local: their count on this machine.
    """

    rank: int = 0
    size: int = 1
    local: int = 1

    def share(self, batch: Sequence[int]) -> Sequence[int]:
        """This process's part of a batch whose length the group divides."""
        part = len(batch) // self.size
        return batch[self.rank * part : (self.rank + 1) * part]

    @torch.no_grad()
    def average(self, tensors: Sequence[Tensor]) -> None:
        """Sets floating-point tensors to their mean over the group, in one exchange."""
        if self.size == 1:
            return
        flat = torch.cat([tensor.flatten() for tensor in tensors])
        distributed.all_reduce(flat)
        means = torch.split(flat / self.size, [tensor.numel() for tensor in tensors])
        for tensor, mean in zip(tensors, means, strict=True):
            tensor.copy_(mean.view_as(tensor))


@contextmanager
def joined(device: torch.device) -> Iterator[Group]:
    """The group that torchrun started this process in, or that the caller has joined already; else a group of one."""
    local = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    if distributed.is_initialized():
        yield Group(distributed.get_rank(), distributed.get_world_size(), local)
    elif not distributed.is_torchelastic_launched():
        yield Group()
    else:
        if device.type == "cuda":
            torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
        distributed.init_process_group("nccl" if device.type == "cuda" else "gloo")
        try:
            yield Group(distributed.get_rank(), distributed.get_world_size(), local)
        finally:
            distributed.destroy_process_group()


def is_first() -> bool:
    """Whether this process writes what the group has made."""
    return int(os.environ.get("RANK", "0")) == 0


def main(arguments: Sequence[str] | None = None) -> None:
    """Trains on a folder's good images and writes the model file: one process of a torchrun group, or alone."""
    from model import artifact  # training imports this module
    from model.images import InputSpec, read_folder
    from model.training import TrainingSettings, train

    parser = argparse.ArgumentParser(prog="torchrun -m model.distributed", description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=Path, required=True, help="folder in MVTec layout, or with good/")
    parser.add_argument("--out", type=Path, required=True, help="the model file")
    parser.add_argument("--checkpoint", type=Path, help="file to go on from after a crash; one for all processes")
    parser.add_argument("--size", type=int, default=256, help="of the square input, in pixels")
    for field in fields(TrainingSettings):
        name = f"--{field.name.replace('_', '-')}"
        if isinstance(field.default, bool):
            parser.add_argument(name, action=argparse.BooleanOptionalAction, default=field.default)
        elif isinstance(field.default, (str, int, float)):
            parser.add_argument(name, type=type(field.default), default=field.default)
    given = vars(parser.parse_args(arguments))
    folder, out, checkpoint, size = (given.pop(name) for name in ("images", "out", "checkpoint", "size"))
    frames = [image.frame for image in read_folder(folder).train_good]
    made = train(frames, TrainingSettings(spec=InputSpec(size, size), **given), checkpoint=checkpoint)
    if is_first():
        artifact.save(made, out)


if __name__ == "__main__":
    main()
