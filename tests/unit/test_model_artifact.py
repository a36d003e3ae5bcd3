"""One model version as one file: what is written is read, and every damage is noticed."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save as save_tensors

from model import artifact as artifacts
from model.artifact import Artifact, ArtifactDamaged, ArtifactNewer, ArtifactOlder, Manifest, WrongTeacher
from model.distillation import Learner
from model.engines import EngineError, Scorer
from model.engines.scorer import scoring_network
from model.folding import fold
from model.images import Frame, InputSpec
from model.selection import SHARES
from model.teacher import load_teacher
from model.training import TrainingSettings, train

RNG = np.random.default_rng(0)
QUICK = TrainingSettings(spec=InputSpec(64, 64), steps=4, batch_size=4, precision="fp32", threads=1)


@pytest.fixture(scope="module")
def frames() -> list[Frame]:
    base = RNG.integers(60, 200, (80, 80, 3))
    return [np.clip(base + RNG.normal(0, 8, base.shape), 0, 255).astype(np.uint8) for _ in range(12)]


@pytest.fixture(scope="module")
def trained(frames: list[Frame]) -> Artifact:
    return train(frames, QUICK)


def scorer(artifact: Artifact, form: str = "default") -> Scorer:
    return Scorer(artifact, device="cpu", precision="fp32", threads=1, form=form)


def changed(artifact: Artifact, **values: object) -> bytes:
    """The file of an artifact whose manifest says something else."""
    return artifacts.to_bytes(Artifact(replace(artifact.manifest, **values), artifact.tensors))  # type: ignore[arg-type]


def test_a_file_is_read_back_and_every_damage_is_noticed(trained: Artifact, tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    sha256 = artifacts.save(trained, path)
    loaded = artifacts.load(path)
    assert loaded.manifest == trained.manifest
    assert scorer(loaded).artifact_sha256 == sha256
    data = path.read_bytes()
    text = data.index(b'\\"seed\\"')  # inside the manifest's JSON, where a flip leaves valid JSON
    for position in (3, 20, text + 2, data.index(b"0", text), len(data) // 2, len(data) - 1):
        flipped = bytearray(data)
        flipped[position] ^= 1
        with pytest.raises(ArtifactDamaged):
            artifacts.from_bytes(bytes(flipped))
    with pytest.raises(ArtifactDamaged):
        artifacts.from_bytes(data[: len(data) // 2])


def test_other_formats_and_another_teacher_are_named(trained: Artifact) -> None:
    with pytest.raises(ArtifactNewer, match="update"):
        artifacts.from_bytes(changed(trained, format=artifacts.FORMAT + 1))
    with pytest.raises(ArtifactOlder, match="train again"):
        artifacts.from_bytes(changed(trained, format=1))
    with pytest.raises(WrongTeacher, match="other weights"):
        scorer(artifacts.from_bytes(changed(trained, teacher_sha256="0" * 64)))


@pytest.mark.parametrize(("number", "exact"), [(2, True), (3, False)])
def test_a_file_keeps_the_teacher_that_it_was_trained_with(number: int, exact: bool, trained: Artifact) -> None:
    read = artifacts.from_bytes(changed(trained, format=number))
    found = scoring_network(read).comparison.teacher.encoder.state_dict()
    wanted = load_teacher(QUICK.teacher, exact=exact).encoder.state_dict()
    assert found.keys() == wanted.keys() and all(torch.equal(found[name], wanted[name]) for name in wanted)


def test_what_this_program_did_not_write_is_damaged(trained: Artifact) -> None:
    manifest = trained.manifest.to_dict()

    def record(changed: object) -> str:
        digest = hashlib.sha256(json.dumps(changed, sort_keys=True, separators=(",", ":")).encode()).hexdigest()
        return json.dumps({"manifest": changed, "sha256": digest})

    whole = record(manifest)
    spec = {**manifest["spec"], "height": 100}
    crafted = ["[]", "1", "null", "[" * 100_000 + "]" * 100_000, record([]), record({**manifest, "more": 1})]
    crafted += [record({**manifest, name: None}) for name in ("settings", "teacher", "spec")]
    crafted += [record({**manifest, "format": float(artifacts.FORMAT)}), record({**manifest, "spec": spec})]
    metadata = [{artifacts.KEY: text} for text in crafted] + [{artifacts.KEY: whole, "more": ""}]
    assert (
        artifacts.from_bytes(save_tensors(dict(trained.tensors), {artifacts.KEY: whole})).manifest == trained.manifest
    )
    for given in metadata:
        with pytest.raises(ArtifactDamaged):
            artifacts.from_bytes(save_tensors(dict(trained.tensors), given))
    for share in (torch.tensor(float("nan")), torch.tensor(2.0), torch.tensor([0.1, 0.2])):
        tensors = {**trained.tensors, "score.share": share}
        given = {artifacts.KEY: record({**manifest, "weights_sha256": artifacts.weights_sha256(tensors)})}
        with pytest.raises(ArtifactDamaged):
            artifacts.from_bytes(save_tensors(tensors, given))


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize("part", ["learner.", "score.prototypes"])
def test_numbers_that_are_not_finite_are_refused(trained: Artifact, part: str, value: float) -> None:
    name = next(name for name, tensor in trained.tensors.items() if name.startswith(part) and tensor.dim())
    tensors = {**trained.tensors, name: trained.tensors[name].clone()}
    tensors[name].view(-1)[-1] = value
    manifest = replace(trained.manifest, weights_sha256=artifacts.weights_sha256(tensors))
    with pytest.raises(ArtifactDamaged, match=re.escape(f"not finite ({name}); train again")):
        artifacts.from_bytes(artifacts.to_bytes(Artifact(manifest, tensors)))


def test_a_student_of_which_a_part_is_missing_is_damaged(trained: Artifact) -> None:
    tensors = {name: tensor for name, tensor in trained.tensors.items() if "student" not in name}
    with pytest.raises(ArtifactDamaged, match="the model's student is not one of efficientnet_lite2"):
        scorer(Artifact(trained.manifest, tensors))


def test_the_manifest_is_plain_json_and_holds_the_whole_input(frames: list[Frame]) -> None:
    spec = InputSpec(64, 96, fit="letterbox", region=(0.1, 0.0, 1.0, 0.9), columns=2, overlap=0.25)
    made = train(frames, replace(QUICK, spec=spec, share=1.0))
    read = artifacts.from_bytes(artifacts.to_bytes(made)).manifest
    assert isinstance(read, Manifest) and read.spec == spec
    assert json.loads(json.dumps(read.to_dict())) == json.loads(json.dumps(made.manifest.to_dict()))


def test_features_of_two_inputs_or_teachers_are_of_two_spaces(trained: Artifact) -> None:
    one = trained.manifest
    assert scorer(trained).space == one.space == replace(one, weights_sha256="0" * 64, parent_sha256="1" * 64).space
    others = [replace(one, teacher_sha256="0" * 64), replace(one, spec=InputSpec(64, 64, fit="letterbox"))]
    assert len({one.space, *(other.space for other in others)}) == 3


def test_a_memory_alone_is_an_artifact_without_a_learner(frames: list[Frame]) -> None:
    made = train(frames, replace(QUICK, share=1.0))
    assert not made.learner and made.score.prototypes is not None
    normal = max(scored.score for scored in scorer(made).score(frames))
    scratched = frames[0].copy()
    scratched[30:50, 30:50] = 255
    assert scorer(made).score([scratched])[0].score > normal
    with pytest.raises(EngineError, match="paper"):
        scorer(made, "paper")


def test_the_paper_form_is_there_too(frames: list[Frame], trained: Artifact) -> None:
    paper, default = scorer(trained, "paper"), scorer(trained)
    assert 0 < paper.score(frames[:1])[0].score < 6
    assert paper.fingerprint != default.fingerprint
    assert paper.artifact_sha256 == default.artifact_sha256
    with pytest.raises(EngineError, match="default or paper"):
        scorer(trained, "best")


def test_the_form_that_was_chosen_is_on_record(trained: Artifact) -> None:
    settings = trained.manifest.settings
    ranking = settings["pseudo_auroc"]
    assert [settings["share"], settings["positional"]] in [row[:2] for row in ranking]
    assert len(ranking) == len(SHARES)  # two validation normals are too few to normalise maps place by place
    assert [row[2] for row in ranking] == sorted((row[2] for row in ranking), reverse=True)
    assert trained.score.share == pytest.approx(settings["share"])


def test_folding_changes_nothing() -> None:
    learner = Learner("resnet18")
    given = tuple(torch.randn(4, channels, side, side) for channels, side in ((64, 16), (128, 8), (256, 4)))
    learner.train()(given)
    learner.eval()
    with torch.no_grad():
        before = learner(given)
        fold(learner)
        after = learner(given)
    assert not any(isinstance(module, torch.nn.BatchNorm2d) for module in learner.modules())
    for one, other in zip(before, after, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-3)
