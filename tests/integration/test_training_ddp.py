"""Two processes under torchrun against one process that normalises the same two shares of each batch apart."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from model import artifact
from model.distillation import Learner, loss
from model.drawing import held_back
from model.features import Features
from model.fitting import BETAS, Batches
from model.images import InputSpec, read_folder
from model.precision import channels_last
from model.stores import Room
from model.teacher import load_teacher
from model.training import TrainingSettings, train

TEACHER, SIZE, STEPS, BATCH, RATE = "efficientnet_lite2", 64, 20, 4, 0.005
IMAGES = 10


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("part")
    (path / "train" / "good").mkdir(parents=True)
    rng = np.random.default_rng(0)
    base = rng.integers(60, 200, (80, 80, 3))
    for number in range(IMAGES):
        picture = np.clip(base + rng.normal(0, 8, base.shape), 0, 255).astype(np.uint8)
        cv2.imwrite(str(path / "train" / "good" / f"{number}.png"), picture)
    return path


def torchrun(folder: Path, out: Path, *options: str) -> subprocess.CompletedProcess[str]:
    command = [
        sys.executable, "-m", "torch.distributed.run", "--nnodes", "1", "--nproc-per-node", "2",
        "--rdzv-backend", "c10d", "--rdzv-endpoint", "127.0.0.1:0", "--local-addr", "127.0.0.1",
        "-m", "model.distributed", "--images", str(folder), "--out", str(out), "--teacher", TEACHER,
        "--size", str(SIZE), "--steps", str(STEPS), "--batch-size", str(BATCH), "--device", "cpu",
        "--precision", "fp32", "--threads", "1", *options,
    ]  # fmt: skip
    root = Path(__file__).parents[2]
    environment = {**os.environ, "GLOO_SOCKET_IFNAME": "lo", "OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "default"}
    return subprocess.run(
        command, cwd=root, env=environment, capture_output=True, text=True, timeout=240, check=False
    )  # fmt: skip


def one_process(folder: Path, shares: int) -> tuple[Learner, list[dict[str, torch.Tensor]]]:
    """Written out plainly: a copy of the learner for each share, gradients averaged, one optimiser."""
    spec = InputSpec(SIZE, SIZE)
    features = Features(load_teacher(TEACHER), spec, torch.device("cpu"), Room(1 << 40, 0))
    features.compute([image.frame for image in read_folder(folder).train_good], lambda done: None)
    fitted = sorted(set(range(IMAGES)) - set(held_back(features.hashes, None, seed=0)))
    batches = Batches(fitted, BATCH, seed=0)
    copies = [Learner(TEACHER) for _ in range(shares)]
    for copy in copies:
        copy.reset(torch.Generator().manual_seed(0))
        channels_last(copy).train()  # another layout, or Adam unfused, rounds otherwise, which early steps enlarge
    adam = torch.optim.Adam(copies[0].parameters(), lr=RATE, betas=BETAS, fused=True)
    for _ in range(STEPS):
        batch = next(batches)
        part = len(batch) // shares
        for number, copy in enumerate(copies):
            levels = features.batch(batch[number * part : (number + 1) * part])
            copy.zero_grad()
            loss(levels, copy(levels)).backward()  # type: ignore[no-untyped-call]
        for parameters in zip(*(copy.parameters() for copy in copies), strict=True):
            gradients = [one.grad for one in parameters if one.grad is not None]
            gradients[0].copy_(torch.stack(gradients).mean(0))  # in its own layout, which fused Adam takes for granted
        adam.step()
        with torch.no_grad():
            for parameters in zip(*(copy.parameters() for copy in copies), strict=True):
                for other in parameters[1:]:
                    other.copy_(parameters[0])
    return copies[0], [dict(copy.named_buffers()) for copy in copies]


def difference(found: dict[str, torch.Tensor], wanted: Learner) -> float:
    """Relative to the weights' own size, the norm over all parameters."""
    pairs = [(found[name], value.detach()) for name, value in wanted.named_parameters()]
    gap = sum(float((one - other).double().square().sum()) for one, other in pairs)
    size = sum(float(other.double().square().sum()) for _, other in pairs)
    return float((gap / size) ** 0.5)


def test_two_processes_equal_one_that_normalises_their_shares_apart(folder: Path, tmp_path: Path) -> None:
    torch.set_num_threads(1)
    out = tmp_path / "two.safetensors"
    ran = torchrun(folder, out, "--checkpoint", str(tmp_path / "run.pt"))
    assert ran.returncode == 0, ran.stderr
    assert "Warning" not in ran.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["two.safetensors"]  # the first process wrote, and once
    two = artifact.load(out)
    assert two.manifest.settings["processes"] == 2

    learner, buffers = one_process(folder, shares=2)
    assert difference(two.learner, learner) < 1e-4
    for name in (name for name in buffers[0] if "running" in name):
        wanted = torch.stack([one[name] for one in buffers]).mean(0)
        torch.testing.assert_close(two.learner[name], wanted, rtol=1e-4, atol=1e-4)

    alone, _ = one_process(folder, shares=1)
    assert difference(two.learner, alone) > 1e-2  # the norms' groups matter, so the agreement above says something


def test_a_batch_that_cannot_be_shared_stops_every_process(folder: Path, tmp_path: Path) -> None:
    ran = torchrun(folder, tmp_path / "two.safetensors", "--batch-size", "3")
    assert ran.returncode != 0
    assert "a multiple of 2 is needed" in ran.stderr
    assert not list(tmp_path.iterdir())


def test_alone_the_module_trains_as_the_library_does(folder: Path, tmp_path: Path) -> None:
    from model.distributed import main

    out = tmp_path / "one.safetensors"
    options = ["--steps", "2", "--batch-size", "4", "--size", "64", "--threads", "1", "--precision", "fp32"]
    main(["--images", str(folder), "--out", str(out), *options])
    settings = TrainingSettings(spec=InputSpec(64, 64), steps=2, batch_size=4, threads=1, precision="fp32")
    made = train([image.frame for image in read_folder(folder).train_good], settings)
    assert artifact.load(out).manifest == made.manifest
