"""One optimiser run from inside: masks in its loss, its looks, its batches, its checkpoints, its norms."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from model.checkpoint import Checkpoint, Keep
from model.distillation import Learner
from model.distributed import Group
from model.errors import CheckpointUnusable, Diverged
from model.features import Features
from model.fitting import Batches, Fit, FitSettings
from model.images import Frame, InputSpec
from model.progress import Report
from model.stores import Room
from model.teacher import Teacher, load_teacher
from model.training import TrainingError, TrainingSettings, train
from tests.teachers import toy_teacher

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def frames() -> list[Frame]:
    rng = np.random.default_rng(0)
    base = rng.integers(60, 200, (80, 80, 3))
    return [np.clip(base + rng.normal(0, 8, base.shape), 0, 255).astype(np.uint8) for _ in range(12)]


def fit(
    frames: list[Frame],
    spec: InputSpec,
    teacher: Teacher | None = None,
    checkpoint: Checkpoint | None = None,
    **settings: Any,
) -> tuple[Fit, Features, Learner]:
    features = Features(teacher or load_teacher("efficientnet_lite2"), spec, CPU, Room(1 << 40, 0))
    features.compute(frames, lambda done: None)
    learner = Learner("efficientnet_lite2")
    chosen = FitSettings(**{
        "batch_size": 4, "learning_rate": 0.005, "seed": 0, "mixed": False, **settings
    })  # fmt: skip
    validation, fitted = [0], list(range(1, len(frames)))
    made = Fit(learner, learner, features, fitted, validation, settings=chosen, group=Group(), checkpoint=checkpoint)
    return made, features, learner


@pytest.mark.parametrize("columns", [1, 2])
def test_what_is_not_inspected_leaves_the_loss(
    frames: list[Frame], monkeypatch: pytest.MonkeyPatch, columns: int
) -> None:
    made, features, _ = fit([frame[:24] for frame in frames], InputSpec(64, 64, "letterbox", columns=columns))
    tiles = features.tiles_of([1, 2, 3])
    masks, levels = features.level_masks(tiles), features.batch(tiles)
    assert masks is not None and all(0 < float(mask.mean()) < 1 for mask in masks)
    generator = torch.Generator().manual_seed(0)
    said = tuple(torch.rand(level.shape, generator=generator) for level in levels)
    monkeypatch.setattr(Fit, "forward", lambda self, learner, levels: said)  # so that only the teacher's side changes

    def loss_with(changed: Iterator[Tensor]) -> float:
        given = tuple(changed)
        monkeypatch.setattr(Features, "batch", lambda self, tiles: given)
        return float(made.loss(tiles))

    before = loss_with(iter(levels))
    outside = (torch.where(mask > 0, level, level + 3) for level, mask in zip(levels, masks, strict=True))
    inside = (torch.where(mask > 0, level + 3, level) for level, mask in zip(levels, masks, strict=True))
    assert loss_with(outside) == before
    assert loss_with(inside) != before


def test_no_gradient_comes_from_what_is_not_inspected(frames: list[Frame], monkeypatch: pytest.MonkeyPatch) -> None:
    made, features, _ = fit([frame[:40] for frame in frames], InputSpec(64, 64, "letterbox"))
    masks, levels = features.level_masks([1, 2]), features.batch([1, 2])
    assert masks is not None
    said = tuple(torch.rand(level.shape, requires_grad=True) for level in levels)
    monkeypatch.setattr(Fit, "forward", lambda self, learner, levels: said)
    made.loss([1, 2]).backward()  # type: ignore[no-untyped-call]
    for level, mask in zip(said, masks, strict=True):
        assert level.grad is not None
        reached = (level.grad != 0).any(1, keepdim=True)
        assert torch.equal(reached, mask > 0)


def test_a_look_leaves_no_trace_in_the_learner(frames: list[Frame]) -> None:
    made, _, learner = fit(frames, InputSpec(64, 64))
    before = {name: tensor.clone() for name, tensor in learner.state_dict().items()}
    learner.train()
    distance = float(made.distance(learner))
    assert 0 < distance < 2
    assert all(torch.equal(tensor, before[name]) for name, tensor in learner.state_dict().items())
    assert learner.training and not any(parameter.grad is not None for parameter in learner.parameters())


def test_a_look_at_masked_images_counts_inspected_places_alone(
    frames: list[Frame], monkeypatch: pytest.MonkeyPatch
) -> None:
    made, features, learner = fit([frame[:40] for frame in frames], InputSpec(64, 64, "letterbox"))
    masks, levels = features.level_masks([0]), features.batch([0])
    assert masks is not None
    opposite = tuple(
        torch.where(mask > 0, level, -level) for level, mask in zip(levels, masks, strict=True)
    )  # right where it is inspected, as wrong as can be elsewhere
    monkeypatch.setattr(Fit, "forward", lambda self, learner, levels: opposite)
    assert float(made.distance(learner)) == pytest.approx(0, abs=1e-5)


def looked(frames: list[Frame], monkeypatch: pytest.MonkeyPatch, path: Path, *distances: float) -> Fit:
    """A fit whose steps do nothing, and whose looks find these distances; the first is an untrained student's."""
    found = iter(distances)
    monkeypatch.setattr("model.fitting.LOOK_EVERY", 1)
    monkeypatch.setattr(Fit, "distance", lambda self, learner: torch.tensor(next(found)))
    monkeypatch.setattr(Fit, "step", lambda self, tiles: torch.tensor(0.5))
    checkpoint = Checkpoint(Keep(path), {}, clock=lambda: 0.0)
    return fit(frames, InputSpec(64, 64), toy_teacher(), checkpoint)[0]


@pytest.mark.parametrize(
    ("distances", "stopped"),
    [
        ((0.9, 0.7, 0.3, 0.2, 0.25, 0.21), 0),  # noise
        ((0.9, 0.4, 0.2, 0.3, 0.4, 0.5), 0),  # half way back is 0.55
        ((0.9, 0.3, 0.1, 0.49, 0.72), 4),  # still better than an untrained one
        ((0.9, 0.95), 1),
        ((0.9, 0.3, float("nan")), 2),
    ],
)
def test_a_run_that_forgets_half_of_what_it_learnt_is_stopped(
    distances: tuple[float, ...], stopped: int, frames: list[Frame], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    made = looked(frames, monkeypatch, tmp_path / "run.pt", *distances)
    report = Report("training", len(distances) - 1, None)
    if not stopped:
        made.run(len(distances) - 1, report)
        return
    with pytest.raises(Diverged, match=rf"at step {stopped}: .*keeps (step {stopped - 1}|nothing)"):
        made.run(len(distances) - 1, report)


def test_a_resumed_run_knows_how_good_it_was(
    frames: list[Frame], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    looked(frames, monkeypatch, tmp_path / "run.pt", 0.9, 0.4, 0.1, 0.45).run(3, Report("training", 3, None))
    resumed = looked(frames, monkeypatch, tmp_path / "run.pt", 0.9, 0.6)  # from 0.45 alone that would be near enough
    with pytest.raises(Diverged, match=r"at step 4: .*were 0\.100 at best"):
        resumed.run(4, Report("training", 4, None))


def test_batches_visit_each_tile_once_an_epoch_and_can_be_gone_on_with() -> None:
    batches = Batches(range(10, 22), 4, seed=0)
    epoch = [tile for _ in range(3) for tile in next(batches)]
    assert sorted(epoch) == list(range(10, 22))
    second = [tile for _ in range(3) for tile in next(batches)]
    assert sorted(second) == list(range(10, 22)) and second != epoch
    again = Batches(range(10, 22), 4, seed=0)
    for _ in range(5):
        next(again)
    assert next(again) == second[8:]
    assert len(next(Batches(range(3), 16, seed=0))) == 3


def test_a_batch_that_processes_cannot_share_is_refused() -> None:
    with pytest.raises(TrainingError, match="a multiple of 3 is needed"):
        Batches(range(20), 16, 0, parts=3)
    with pytest.raises(TrainingError, match="use fewer processes"):
        Batches(range(2), 16, 0, parts=4)
    assert [Group(rank, 2).share([5, 6, 7, 8]) for rank in (0, 1)] == [[5, 6], [7, 8]]


def test_a_checkpoint_is_what_was_kept_or_is_refused(tmp_path: Path) -> None:
    path, identity = tmp_path / "run.pt", {"seed": 0}
    weights = torch.arange(200.0)
    Checkpoint(Keep(path), identity).offer(7, lambda: {"weights": weights})
    kept = path.read_bytes()
    loaded = Checkpoint(Keep(path), identity).load(CPU)
    assert loaded is not None and torch.equal(loaded["weights"], weights)
    older = io.BytesIO()
    torch.save({"weights": weights, "step": 7, "identity": identity}, older)  # as the first checkpoints were
    flips = [bytes([*kept[:at], kept[at] ^ 4, *kept[at + 1 :]]) for at in range(0, len(kept), 97)]
    for damaged in (*flips, kept[:-1], kept + b"\0", b"", b"import os", b"PK\x03\x04", older.getvalue()):
        path.write_bytes(damaged)
        with pytest.raises(CheckpointUnusable, match="remove it to start anew"):
            Checkpoint(Keep(path), identity).load(CPU)


@pytest.mark.parametrize(("name", "words"), [("gone/run.pt", "create .*gone first"), ("", "is a folder")])
def test_where_no_checkpoint_can_be_kept_no_training_begins(tmp_path: Path, name: str, words: str) -> None:
    def load() -> Frame:
        raise AssertionError("it began")

    with pytest.raises(CheckpointUnusable, match=words):
        train([load] * 8, TrainingSettings(), checkpoint=tmp_path / name)


@pytest.mark.parametrize(("every_s", "steps"), [(0.0, [1, 41, 81]), (50.0, [1, 51])])
def test_checkpoints_cost_a_twentieth_of_the_time(tmp_path: Path, every_s: float, steps: list[int]) -> None:
    now = [0.0]

    def state() -> dict[str, Any]:
        now[0] += 2.0  # seconds that keeping takes
        return {}

    checkpoint = Checkpoint(Keep(tmp_path / "run.pt", every_s), {"seed": 0}, clock=lambda: now[0])
    kept = []
    for step in range(1, 101):
        now[0] += 1.0
        before = now[0]
        checkpoint.offer(step, state)
        if now[0] > before:
            kept.append(step)
    assert kept == steps
    loaded = checkpoint.load(CPU)
    assert loaded is not None and loaded["step"] == steps[-1]
