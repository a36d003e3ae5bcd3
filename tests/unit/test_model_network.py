"""Network, loss, map, training and artifact against slow references."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from scipy import ndimage

from model import artifact as artifacts
from model.anomaly_map import PAPER, Normalisation, anomaly_map, distances, image_score
from model.artifact import Artifact, ArtifactDamaged, ArtifactNewer, WrongTeacher
from model.distillation import Learner, ReverseDistillation, loss
from model.engines import Scorer
from model.engines.pytorch import fold_norms
from model.images import Frame
from model.teacher import ResNet18Levels, TeacherError, load_teacher
from model.training import Features, Progress, TrainingError, TrainingSettings, train

RNG = np.random.default_rng(0)
QUICK = TrainingSettings(size=64, steps=4, batch_size=4, precision="fp32", threads=1)


@pytest.fixture(scope="module")
def frames() -> list[Frame]:
    base = RNG.integers(60, 200, (80, 80, 3))
    return [np.clip(base + RNG.normal(0, 8, base.shape), 0, 255).astype(np.uint8) for _ in range(12)]


@pytest.fixture(scope="module")
def trained(frames: list[Frame]) -> Artifact:
    return train(frames, QUICK)


def levels(seed: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    shapes = ((2, 8, 16, 16), (2, 12, 8, 8), (2, 20, 4, 4))
    first, second, third = (torch.randn(shape, generator=generator) for shape in shapes)
    return first, second, third


def torchvision_layout(folded: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The same network with BatchNorm unfolded: w = w' s / g, b' = beta - mean g / s."""
    state: dict[str, torch.Tensor] = {}
    for key in (key for key in folded if key.endswith(".weight")):
        conv = key.removesuffix(".weight")
        norm = conv[:-1] + "1" if conv.endswith("downsample.0") else conv.replace("conv", "bn")
        channels = folded[key].shape[0]
        gamma, variance, mean = (torch.rand(channels) + 0.5 for _ in range(3))
        scale = gamma / torch.sqrt(variance + 1e-5)
        state |= {
            key: folded[key] / scale.view(-1, 1, 1, 1), f"{norm}.weight": gamma, f"{norm}.running_mean": mean,
            f"{norm}.running_var": variance, f"{norm}.bias": folded[f"{conv}.bias"] + mean * scale,
            f"{norm}.num_batches_tracked": torch.tensor(1),
        }  # fmt: skip
    return state


def test_parameter_counts() -> None:
    count = sum(parameter.numel() for parameter in Learner("resnet18").student.parameters())
    assert count == 3_703_168


@pytest.mark.parametrize("name", ["efficientnet_lite2", "resnet18"])
def test_the_student_mirrors_the_teachers_levels(name: str) -> None:
    from model.teacher import KINDS

    shapes = [(1, channels, side, side) for channels, side in zip(KINDS[name].channels, (16, 8, 4), strict=True)]
    given = tuple(torch.randn(shape) for shape in shapes)
    assert [tuple(level.shape) for level in Learner(name)(given)] == shapes


def test_both_layouts_of_resnet18_give_the_same_teacher(tmp_path: Path) -> None:
    torch.manual_seed(0)
    folded = ResNet18Levels().state_dict()
    save_file(folded, tmp_path / "folded.safetensors")
    torch.save(torchvision_layout(folded), tmp_path / "torchvision.pth")
    image = torch.randint(0, 256, (2, 3, 64, 64), dtype=torch.uint8)
    a, b = (load_teacher("resnet18", str(tmp_path / name)) for name in ("folded.safetensors", "torchvision.pth"))
    for one, other in zip(a(image), b(image), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-4)
    assert [tuple(level.shape[1:]) for level in a(image)] == [(64, 16, 16), (128, 8, 8), (256, 4, 4)]


def test_the_folded_lite2_equals_the_unfolded_network() -> None:
    import timm

    from model.teacher import _packaged

    state = torch.load(_packaged("efficientnet_lite2"), weights_only=True)
    plain = timm.create_model("tf_efficientnet_lite2", features_only=True, out_indices=(1, 2, 3)).eval()
    keys = [key for key in plain.state_dict() if not key.endswith("num_batches_tracked")]
    tensors = [tensor for key, tensor in state.items() if not key.endswith("num_batches_tracked")]
    plain.load_state_dict(dict(zip(keys, tensors, strict=False)), strict=False)
    image = torch.randint(0, 256, (2, 3, 64, 64), dtype=torch.uint8)
    with torch.no_grad():
        wanted = plain((image.float() - 127) / 128)
    for one, other in zip(load_teacher("efficientnet_lite2")(image), wanted, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-3)


def test_teachers_that_cannot_be_had_say_how(tmp_path: Path) -> None:
    with pytest.raises(TeacherError, match="efficientnet_lite2, resnet18"):
        load_teacher("vgg")
    with pytest.raises(TeacherError, match="--weights"):
        load_teacher("resnet18")
    with pytest.raises(TeacherError, match=r"gone\.pth"):
        load_teacher("resnet18", str(tmp_path / "gone.pth"))
    (tmp_path / "junk.safetensors").write_bytes(b"junk")
    with pytest.raises(TeacherError, match="cannot be read"):
        load_teacher("resnet18", str(tmp_path / "junk.safetensors"))
    (tmp_path / "junk.pth").write_bytes(b"junk")
    with pytest.raises(TeacherError, match=r"junk\.pth"):
        load_teacher("resnet18", str(tmp_path / "junk.pth"))
    save_file({"x": torch.zeros(1)}, tmp_path / "other.safetensors")
    with pytest.raises(TeacherError, match="does not hold the weights"):
        load_teacher("resnet18", str(tmp_path / "other.safetensors"))


def test_the_loss_is_the_flattened_cosine() -> None:
    a, b = levels(1), levels(2)
    wanted = 0.0
    for t, s in zip(a, b, strict=True):
        flat_t, flat_s = (x.numpy().astype(np.float64).reshape(len(x), -1) for x in (t, s))
        cosine = (flat_t * flat_s).sum(1) / np.linalg.norm(flat_t, axis=1) / np.linalg.norm(flat_s, axis=1)
        wanted += (1 - cosine).mean()
    assert float(loss(a, b)) == pytest.approx(wanted, rel=1e-5)


def upsampled(scale: np.ndarray, size: int) -> np.ndarray:
    """Bilinear with aligned corners, pixel by pixel in float64."""
    side = scale.shape[0]
    at = np.arange(size) * (side - 1) / (size - 1)
    return np.asarray(ndimage.map_coordinates(scale.astype(np.float64), np.meshgrid(at, at, indexing="ij"), order=1))


@pytest.mark.parametrize("normalisation", [PAPER, Normalisation((0.9, 1.0, 1.1), (0.1, 0.2, 0.3))])
def test_the_map_is_the_smoothed_sum_of_pixel_cosines(normalisation: Normalisation) -> None:
    a, b = levels(1), levels(2)
    total = np.zeros((64, 64))
    for t, s, mean, deviation in zip(a, b, normalisation.mean, normalisation.deviation, strict=True):
        x, y = (level[0].numpy().astype(np.float64) for level in (t, s))
        cosine = (x * y).sum(0) / np.linalg.norm(x, axis=0) / np.linalg.norm(y, axis=0)
        total += upsampled((1 - cosine - mean) / deviation, 64)
    wanted = ndimage.gaussian_filter(total, 4.0, radius=16, mode="reflect")
    found = anomaly_map(distances(a, b), (64, 64), normalisation)
    np.testing.assert_allclose(found[0].numpy(), wanted, atol=1e-4)
    assert float(image_score(found)[0]) == pytest.approx(wanted.max(), abs=1e-4)


def test_gradients_never_reach_the_teacher() -> None:
    network = ReverseDistillation(load_teacher("efficientnet_lite2"), Learner("efficientnet_lite2"))
    network.train()
    teacher, student = network(torch.randint(0, 256, (2, 3, 64, 64), dtype=torch.uint8))
    loss(teacher, student).backward()  # type: ignore[no-untyped-call]
    assert all(parameter.grad is None for parameter in network.teacher.parameters())
    assert all(parameter.grad is not None for parameter in network.learner.parameters())
    assert not network.teacher.training


def test_folding_changes_nothing() -> None:
    learner = Learner("resnet18")
    given = tuple(torch.randn(4, channels, side, side) for channels, side in ((64, 16), (128, 8), (256, 4)))
    learner.train()(given)
    learner.eval()
    with torch.no_grad():
        before = learner(given)
        fold_norms(learner)
        after = learner(given)
    assert not any(isinstance(module, torch.nn.BatchNorm2d) for module in learner.modules())
    for one, other in zip(before, after, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-3)


def test_the_same_run_gives_the_same_file(frames: list[Frame], trained: Artifact) -> None:
    again = train([partial(np.copy, frame) for frame in frames], QUICK)
    assert artifacts.to_bytes(again) == artifacts.to_bytes(trained)
    other = train(frames, replace(QUICK, seed=1))
    assert other.manifest.weights_sha256 != trained.manifest.weights_sha256


def test_the_teacher_sees_each_image_once(frames: list[Frame], monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Features] = []
    compute = Features.compute

    def watched(self: Features, images: Sequence[Frame]) -> None:
        seen.append(self)
        compute(self, images)

    monkeypatch.setattr(Features, "compute", watched)
    train(frames, TrainingSettings(size=64, steps=12, batch_size=4, threads=1))
    assert [features.computed for features in seen] == [len(frames)]


def test_an_interrupted_run_goes_on_to_the_same_weights(
    frames: list[Frame], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("model.training.CHECKPOINT_EVERY", 2)
    whole = train(frames, QUICK)

    def pull_the_plug(progress: Progress) -> None:
        if (progress.phase, progress.step) == ("training", 3):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(frames, QUICK, checkpoint=tmp_path / "run.pt", on_progress=pull_the_plug)
    assert (tmp_path / "run.pt").exists()
    resumed = train(frames, QUICK, checkpoint=tmp_path / "run.pt")
    assert resumed.manifest.weights_sha256 == whole.manifest.weights_sha256
    assert not (tmp_path / "run.pt").exists()


def test_training_refuses_what_cannot_work(frames: list[Frame], trained: Artifact) -> None:
    with pytest.raises(TrainingError, match="training needs 5"):
        train(frames[:4], QUICK)
    with pytest.raises(TrainingError, match="multiple of 32"):
        train(frames, TrainingSettings(size=100))
    with pytest.raises(TrainingError, match="diverged"):
        train(frames, TrainingSettings(size=64, steps=30, batch_size=4, precision="fp32", learning_rate=1e30))


def test_scores_do_not_depend_on_the_batch_and_a_change_raises_them(frames: list[Frame], trained: Artifact) -> None:
    scorer = Scorer(trained, device="cpu", precision="fp32", threads=1)
    together = scorer.score(frames)
    for frame, scored in zip(frames, together, strict=True):
        alone = scorer.score([frame])[0]
        assert alone.score == pytest.approx(scored.score, rel=1e-4, abs=1e-4)
        assert scored.map.shape == (64, 64)
        assert scored.map.max() == pytest.approx(scored.score)
        assert scored.features.shape == (120,)
    scratched = frames[0].copy()
    scratched[30:50, 30:50] = 255
    assert scorer.score([scratched])[0].score > max(scored.score for scored in together)


def test_the_paper_form_is_there_too(frames: list[Frame], trained: Artifact) -> None:
    paper = Scorer(trained, device="cpu", precision="fp32", threads=1, form="paper")
    default = Scorer(trained, device="cpu", precision="fp32", threads=1)
    assert 0 < paper.score(frames[:1])[0].score < 6
    assert paper.fingerprint != default.fingerprint
    assert paper.artifact_sha256 == default.artifact_sha256


def test_a_file_is_read_back_and_every_damage_is_noticed(trained: Artifact, tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    sha256 = artifacts.save(trained, path)
    loaded = artifacts.load(path)
    assert loaded.manifest == trained.manifest
    assert Scorer(loaded, device="cpu").artifact_sha256 == sha256
    data = path.read_bytes()
    for position in (3, 20, len(data) // 2, len(data) - 1):
        flipped = bytearray(data)
        flipped[position] ^= 1
        with pytest.raises(ArtifactDamaged):
            artifacts.from_bytes(bytes(flipped))
    with pytest.raises(ArtifactDamaged):
        artifacts.from_bytes(data[: len(data) // 2])


def test_a_newer_format_and_another_teacher_are_named(trained: Artifact, monkeypatch: pytest.MonkeyPatch) -> None:
    manifest = json.loads(json.dumps(trained.manifest.to_dict()))
    newer = Artifact(artifacts.Manifest(**{**manifest, "format": 2}), trained.tensors)
    with pytest.raises(ArtifactNewer):
        artifacts.from_bytes(artifacts.to_bytes(newer))
    other = Artifact(artifacts.Manifest(**{**manifest, "teacher_sha256": "0" * 64}), trained.tensors)
    with pytest.raises(WrongTeacher, match="other weights"):
        Scorer(other)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU here: scoring and training on CUDA stay unproven")
def test_cuda_agrees_with_the_cpu(frames: list[Frame], trained: Artifact) -> None:
    gpu, cpu = (Scorer(trained, device=device, precision="fp32") for device in ("cuda", "cpu"))
    for one, other in zip(gpu.score(frames), cpu.score(frames), strict=True):
        assert one.score == pytest.approx(other.score, rel=1e-3, abs=1e-3)
    train(frames, TrainingSettings(size=64, steps=4, batch_size=4, device="cuda"))
