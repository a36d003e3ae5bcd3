"""Training: what is reproducible, what survives a crash, what is refused, and what is learned from."""

from __future__ import annotations

import base64
import signal
import subprocess
import sys
from dataclasses import replace
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from torch import Tensor

from model import artifact as artifacts
from model import fitting
from model.artifact import Artifact, Manifest
from model.drawing import held_back
from model.features import Features
from model.images import Frame, InputSpec, pixels_sha256
from model.progress import Progress, Report
from model.stores import Room
from model.teacher import Teacher
from model.training import Diverged, TrainingError, TrainingSettings, train

QUICK = TrainingSettings(
    spec=InputSpec(64, 64), steps=4, batch_size=4, precision="fp32", threads=1, share=0.5, positional=True
)
CPU = torch.device("cpu")
KILLED = """
import os, pathlib, signal, sys
import numpy as np
from model import checkpoint, fitting
from model.images import InputSpec
from model.training import TrainingSettings, train
fitting.LOOK_EVERY, checkpoint.PAUSE = 2, 0
def strike(progress):
    if (progress.phase, progress.step) == ("training", 3):
        os.kill(os.getpid(), signal.SIGKILL)
train(list(np.load(sys.argv[1])), TrainingSettings(spec=InputSpec(64, 64), steps=4, batch_size=4, precision="fp32",
      threads=1, share=0.5, positional=True), checkpoint=pathlib.Path(sys.argv[2]), on_progress=strike)
"""


@pytest.fixture(scope="module")
def frames() -> list[Frame]:
    rng = np.random.default_rng(0)
    base = rng.integers(60, 200, (80, 80, 3))
    return [np.clip(base + rng.normal(0, 8, base.shape), 0, 255).astype(np.uint8) for _ in range(12)]


@pytest.fixture(scope="module")
def heard() -> list[Progress]:
    return []


@pytest.fixture(scope="module")
def trained(frames: list[Frame], heard: list[Progress]) -> Artifact:
    return train(frames, QUICK, on_progress=heard.append)


@pytest.fixture
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    """Looks and keeps at every second step."""
    monkeypatch.setattr("model.fitting.LOOK_EVERY", 2)
    monkeypatch.setattr("model.checkpoint.PAUSE", 0)


def png(mask: Frame) -> str:
    return base64.b64encode(cv2.imencode(".png", mask)[1].tobytes()).decode()


def strike(at: int, progress: Progress) -> None:
    if (progress.phase, progress.step) == ("training", at):
        raise KeyboardInterrupt


def interrupted(frames: list[Frame], settings: TrainingSettings, path: Path, **options: Any) -> Path:
    """The checkpoint of a run that was broken off in step 3."""
    with pytest.raises(KeyboardInterrupt):
        train(frames, settings, checkpoint=path, on_progress=partial(strike, 3), **options)
    assert path.exists()
    return path


def test_the_same_run_gives_the_same_file_and_another_seed_another(frames: list[Frame], trained: Artifact) -> None:
    again = train([partial(np.copy, frame) for frame in frames], QUICK)
    assert artifacts.to_bytes(again) == artifacts.to_bytes(trained)
    other = train(frames, replace(QUICK, seed=1))
    assert other.manifest.weights_sha256 != trained.manifest.weights_sha256


def test_the_manifest_says_what_made_the_weights(trained: Artifact) -> None:
    manifest = artifacts.from_bytes(artifacts.to_bytes(trained)).manifest
    assert manifest == trained.manifest
    assert manifest.versions["torch"] == version("torch")
    wanted = {
        "threads": 1, "device": "cpu", "precision": "fp32", "steps": 4, "batch_size": 4, "seed": 0, "images": 12,
        "validation": 2, "processes": 1, "published_weights": True, "learning_rates": [[1, 0.005]],
    }  # fmt: skip
    assert {name: manifest.settings[name] for name in wanted} == wanted


def test_progress_names_each_phase_and_ends_with_it(trained: Artifact, heard: list[Progress]) -> None:
    assert list(dict.fromkeys(one.phase for one in heard)) == ["features", "memory", "training", "normalising"]
    for phase in ("features", "memory", "training", "normalising"):
        steps = [one for one in heard if one.phase == phase]
        assert steps[-1].step == steps[-1].steps
        assert steps[-1].eta_s == 0
    losses = [one.loss for one in heard if one.phase == "training"]
    assert len(losses) == 4
    assert all(loss is not None and 0 < loss < 6 for loss in losses)


def test_the_time_left_counts_only_this_runs_steps() -> None:
    now, heard = [0.0], list[Progress]()
    report = Report("training", 100, heard.append, clock=lambda: now[0])
    now[0] = 7.0  # loading the checkpoint says nothing of the rate
    report.resume(60)
    now[0] = 27.0
    report(70, 0.5)
    report.advance(10)
    assert (heard[0].rate, heard[0].eta_s, heard[0].loss) == (0.5, 60.0, 0.5)
    assert (heard[1].step, heard[1].rate, heard[1].eta_s) == (80, 1.0, 20.0)


def test_a_second_epoch_costs_no_teacher_forward(frames: list[Frame], monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[Features] = []
    compute = Features.compute

    def watched(self: Features, *arguments: Any) -> None:
        made.append(self)
        compute(self, *arguments)

    monkeypatch.setattr(Features, "compute", watched)
    train(frames, replace(QUICK, steps=8))  # three epochs of ten images
    assert [features.computed for features in made] == [len(frames)]


def test_recomputed_features_give_the_same_weights(
    frames: list[Frame], trained: Artifact, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("model.training.half_of_what_is_free", lambda device, processes: Room(0, 0))
    assert train(frames, QUICK).manifest.weights_sha256 == trained.manifest.weights_sha256


@pytest.mark.usefixtures("often")
def test_an_interrupted_run_goes_on_to_the_same_weights(frames: list[Frame], trained: Artifact, tmp_path: Path) -> None:
    path, heard = interrupted(frames, QUICK, tmp_path / "run.pt"), list[Progress]()
    resumed = train(frames, QUICK, checkpoint=path, on_progress=heard.append)
    assert [one.step for one in heard if one.phase == "training"] == [3, 4]
    assert artifacts.to_bytes(resumed) == artifacts.to_bytes(trained)
    assert not list(tmp_path.iterdir())


def test_a_killed_process_leaves_what_another_goes_on_from(
    frames: list[Frame], trained: Artifact, tmp_path: Path
) -> None:
    np.save(tmp_path / "frames.npy", np.stack(frames))
    command = [sys.executable, "-c", KILLED, str(tmp_path / "frames.npy"), str(tmp_path / "run.pt")]
    assert subprocess.run(command, check=False).returncode == -signal.SIGKILL
    heard: list[Progress] = []
    resumed = train(frames, QUICK, checkpoint=tmp_path / "run.pt", on_progress=heard.append)
    assert [one.step for one in heard if one.phase == "training"] == [3, 4]
    assert resumed.manifest.weights_sha256 == trained.manifest.weights_sha256


@pytest.mark.usefixtures("often")
def test_no_step_is_gone_on_from_that_was_not_reported(frames: list[Frame], trained: Artifact, tmp_path: Path) -> None:
    """Else whoever draws the losses has a hole where a run was broken off between its checkpoint and its report."""

    with pytest.raises(KeyboardInterrupt):
        train(frames, QUICK, checkpoint=tmp_path / "run.pt", on_progress=partial(strike, 2))
    heard: list[Progress] = []
    resumed = train(frames, QUICK, checkpoint=tmp_path / "run.pt", on_progress=heard.append)
    assert [one.step for one in heard if one.phase == "training"] == [1, 2, 3, 4]
    assert artifacts.to_bytes(resumed) == artifacts.to_bytes(trained)


@pytest.mark.usefixtures("often")
def test_a_checkpoint_is_only_for_its_own_run(frames: list[Frame], tmp_path: Path) -> None:
    path = interrupted(frames, QUICK, tmp_path / "run.pt")
    with pytest.raises(TrainingError, match=r"run\.pt: is of a run with other seed, steps; remove"):
        train(frames, replace(QUICK, steps=5, seed=1), checkpoint=path)
    with pytest.raises(TrainingError, match="other images"):
        train(frames[::-1], QUICK, checkpoint=path)  # the batches would hold others
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(TrainingError, match="damaged; remove it to start anew"):
        train(frames, QUICK, checkpoint=path)


@pytest.mark.usefixtures("often")
def test_a_divergence_keeps_the_last_good_state_to_go_on_from(frames: list[Frame], tmp_path: Path) -> None:
    path = interrupted(frames, QUICK, tmp_path / "run.pt")
    good = path.read_bytes()
    with pytest.raises(Diverged, match=r"at step 4: the loss is nan; lower .* \(.*run\.pt keeps step 2"):
        train(frames, replace(QUICK, learning_rate=1e30), checkpoint=path)
    assert path.read_bytes() == good
    gone_on = train(frames, replace(QUICK, learning_rate=0.001), checkpoint=path)
    assert gone_on.manifest.settings["learning_rates"] == [[1, 0.005], [3, 0.001]]
    assert not path.exists()


def test_a_divergence_without_a_checkpoint_says_so(frames: list[Frame]) -> None:
    with pytest.raises(Diverged, match="no checkpoint was asked for"):
        train(frames, replace(QUICK, learning_rate=1e30))


def test_a_student_that_learned_nothing_is_a_divergence(frames: list[Frame]) -> None:
    with pytest.raises(Diverged, match=r"are (\S+) from the student, were \1 at best, and are \1 from an"):
        train(frames, replace(QUICK, learning_rate=1e-30))


@pytest.mark.parametrize(
    ("held", "error", "message"),
    [(False, Diverged, "the loss is nan"), (True, TrainingError, "the teacher's features are not finite")],
)
def test_features_that_are_no_numbers_stop_it(
    frames: list[Frame], monkeypatch: pytest.MonkeyPatch, held: bool, error: type[TrainingError], message: str
) -> None:
    spoiled = [frame.copy() for frame in frames]
    spoiled[0][:] = 255
    seed = 0  # under which the white frame is held back, or is fitted
    while (0 in held_back(list(map(pixels_sha256, spoiled)), None, seed)) != held:
        seed += 1
    forward = Teacher.forward

    def broken(self: Teacher, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        white = (images == 255).all((1, 2, 3)).nonzero()[:, 0]
        first, second, third = forward(self, images)
        return first, second.index_fill(0, white, float("nan")), third

    monkeypatch.setattr(Teacher, "forward", broken)
    with pytest.raises(error, match=message):
        train(spoiled, replace(QUICK, share=0.0, seed=seed))


@pytest.mark.parametrize(
    ("side", "ignored"),
    [(2, (slice(0, 64), slice(0, 64))), (1, (slice(0, 24), slice(None)))],
    ids=["a whole tile", "all features of stride 16"],
)
def test_what_has_nothing_to_inspect_leaves_the_training(
    frames: list[Frame], side: int, ignored: tuple[slice, slice]
) -> None:
    mask = np.zeros((64 * side, 64 * side), np.uint8)
    mask[ignored] = 255
    if side == 1:
        mask[31:] = 255  # what is left are rows 24 to 31: less than half of a stride
    spec = InputSpec(64, 64, rows=side, columns=side, ignore=png(mask))
    made = train(frames, replace(QUICK, spec=spec))
    assert all(bool(tensor.isfinite().all()) for tensor in made.tensors.values() if tensor.is_floating_point())


@pytest.mark.parametrize("share", [0.5, 1.0])
def test_an_area_too_thin_for_any_feature_is_refused(frames: list[Frame], share: float) -> None:
    mask = np.full((64, 64), 255, np.uint8)
    mask[:, 30] = 0
    with pytest.raises(TrainingError, match=r"no place of 8 x 8 pixels .* make the mask smaller"):
        train(frames, replace(QUICK, spec=InputSpec(64, 64, ignore=png(mask)), share=share))


def test_a_warm_start_begins_where_its_parent_was(
    frames: list[Frame], trained: Artifact, heard: list[Progress]
) -> None:
    warm: list[Progress] = []
    child = train(frames, QUICK, parent=trained, on_progress=warm.append)
    assert child.manifest.parent_sha256 == trained.manifest.weights_sha256
    first = {name: next(one.loss for one in run if one.phase == "training") for name, run in
             (("warm", warm), ("cold", heard))}  # fmt: skip
    assert first["warm"] is not None and first["cold"] is not None
    assert first["warm"] < 0.9 * first["cold"]


def test_a_parent_that_cannot_be_one_is_refused(frames: list[Frame], trained: Artifact) -> None:
    record = {field: getattr(trained.manifest, field) for field in Manifest.__slots__}
    stranger = Artifact(Manifest(**{**record, "teacher_sha256": "0" * 64}), trained.tensors)
    with pytest.raises(TrainingError, match="another teacher"):
        train(frames, QUICK, parent=stranger)
    memory = train(frames, replace(QUICK, share=1.0))
    assert not memory.learner and memory.manifest.settings["validation"] == len(frames), "each against the others"
    with pytest.raises(TrainingError, match="a memory alone"):
        train(frames, QUICK, parent=memory)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("steps", -1), ("batch_size", 0), ("seed", -1), ("seed", 2**63), ("threads", -1), ("device", "gpu"),
        ("precision", "fp16"),
        ("learning_rate", 0.0), ("learning_rate", float("nan")), ("learning_rate", float("inf")), ("share", 1.5),
    ],
)  # fmt: skip
def test_a_wrong_setting_is_named(name: str, value: object) -> None:
    with pytest.raises(TrainingError, match=f"^{name} "):
        TrainingSettings(**{name: value})  # type: ignore[arg-type]


def test_too_few_images_are_refused(frames: list[Frame]) -> None:
    with pytest.raises(TrainingError, match="training needs 5"):
        train(frames[:4], QUICK)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU here: training on CUDA stays unproven")
def test_cuda_learns_as_the_cpu_does(frames: list[Frame]) -> None:
    losses: dict[str, float | None] = {}
    for device, precision in (("cpu", "fp32"), ("cuda", "fp32"), ("cuda", "bf16")):
        heard: list[Progress] = []
        train(frames, replace(QUICK, device=device, precision=precision), on_progress=heard.append)
        losses[f"{device} {precision}"] = [one.loss for one in heard if one.phase == "training"][-1]
    assert losses["cuda fp32"] == pytest.approx(losses["cpu fp32"], rel=0.02)
    assert losses["cuda bf16"] == pytest.approx(losses["cpu fp32"], rel=0.1)
    assert fitting.READ_EVERY > 1
