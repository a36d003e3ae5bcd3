"""Teachers: the same levels as the libraries' own networks, weights from the right place, and errors that help."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
import torchvision
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from agent.cli.common import Common
from agent.cli.teachers import teachers
from model.catalogue import catalogue
from model.sources import source_of
from model.teacher import KINDS, TeacherError, kind_of, load_teacher
from model.timm_encoders import fold_norms
from model.weights import FOLDED
from tests.teachers import random_resnet18

IMAGE = torch.randint(0, 256, (2, 3, 64, 64), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
RESNETS = ("resnet18", "resnet34", "resnet50", "wide_resnet50_2")


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """torchvision's cache, empty."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    return tmp_path / "torch" / "hub" / "checkpoints"


def seasoned(network: nn.Module) -> nn.Module:
    """With BatchNorm as training would leave it: fresh ones would hide wrong folding."""
    generator = torch.Generator().manual_seed(1)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            for tensor, low, high in (
                (module.running_mean, -0.2, 0.2), (module.running_var, 0.5, 1.5), (module.weight, 0.5, 1.5),
                (module.bias, -0.2, 0.2),
            ):  # fmt: skip
                assert tensor is not None
                tensor.data.uniform_(low, high, generator=generator)
    return network.eval()


def standardised(mean: float | list[float], deviation: float | list[float]) -> Tensor:
    shape = (1, -1, 1, 1)
    return (IMAGE / 255 - torch.tensor(mean).view(shape)) / torch.tensor(deviation).view(shape)


def assert_same(found: tuple[Tensor, ...], wanted: tuple[Tensor, ...] | list[Tensor]) -> None:
    for one, other in zip(found, wanted, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-4 * float(other.abs().max()))


def never(url: str) -> bytes:
    raise AssertionError(f"{url} was fetched")


@pytest.fixture(scope="module")
def resnet18_state() -> dict[str, Tensor]:
    torch.manual_seed(0)
    return dict(seasoned(torchvision.models.resnet18(weights=None)).state_dict())


@pytest.mark.parametrize("name", RESNETS)
def test_a_resnet_gives_torchvisions_levels_in_both_layouts(name: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    network: Any = seasoned(torchvision.models.get_model(name, weights=None))
    state = {key: value for key, value in network.state_dict().items() if not key.startswith(("layer4", "fc"))}
    torch.save(state, tmp_path / "torchvision.pth")  # without layer4: it is never used
    teacher = load_teacher(name, str(tmp_path / "torchvision.pth"), exact=True, fetch=never)
    wanted: list[Tensor] = []
    with torch.no_grad():
        x = network.maxpool(network.relu(network.bn1(network.conv1(
            standardised([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])
        ))))  # fmt: skip
        for layer in (network.layer1, network.layer2, network.layer3):
            x = layer(x)
            wanted.append(x)
    assert_same(teacher(IMAGE), wanted)
    assert tuple(level.shape[1] for level in wanted) == KINDS[name].channels
    assert not any(isinstance(module, nn.BatchNorm2d) for module in teacher.modules())

    save_file(teacher.encoder.state_dict(), tmp_path / "folded.safetensors")
    folded = load_teacher(name, str(tmp_path / "folded.safetensors"), exact=True, fetch=never)
    for one, other in zip(folded(IMAGE), teacher(IMAGE), strict=True):
        assert torch.equal(one, other)


def test_all_precisions_have_the_same_teacher() -> None:
    exact, teacher = load_teacher("efficientnet_lite2", exact=True), load_teacher("efficientnet_lite2")
    for name, weights in teacher.encoder.named_parameters():
        given = exact.encoder.get_parameter(name)
        assert weights.dtype == torch.float32 and not torch.equal(weights, given)
        assert torch.equal(weights.bfloat16(), given.bfloat16()) and torch.equal(weights, weights.bfloat16().float())


@pytest.mark.parametrize("size", [0, 1, 2])
def test_an_efficientnet_lite_gives_timms_levels(size: int, tmp_path: Path) -> None:
    network: Any = seasoned(timm.create_model(f"tf_efficientnet_lite{size}", pretrained=False))
    state = {f"layer{at}": tensor for at, tensor in enumerate(network.state_dict().values()) if tensor.ndim}
    torch.save(state, tmp_path / "lite.pth")  # names do not count, as in the packages; the order does
    teacher = load_teacher(f"efficientnet_lite{size}", str(tmp_path / "lite.pth"), exact=True, fetch=never)
    with torch.no_grad():
        wanted = network.forward_intermediates((IMAGE.float() - 127) / 128, indices=(1, 2, 3), intermediates_only=True)
    assert_same(teacher(IMAGE), wanted)
    assert tuple(level.shape[1] for level in wanted) == KINDS[teacher.name].channels
    assert not any(isinstance(module, nn.BatchNorm2d) for module in teacher.modules())


def test_lite2_comes_with_its_package() -> None:
    source = source_of("efficientnet_lite2")
    assert source is not None
    assert source.place is not None
    teacher = load_teacher("efficientnet_lite2", fetch=never)
    assert teacher.sha256 == sha256(source.place.read_bytes()).hexdigest() == source.sha256
    assert [tuple(level.shape[1:]) for level in teacher(IMAGE)] == [(24, 16, 16), (48, 8, 8), (120, 4, 4)]


@pytest.mark.parametrize(
    ("name", "channels"), [("test_resnet", (32, 48, 192)), ("test_efficientnet", (24, 32, 48))]
)  # fmt: skip
def test_any_encoder_of_timms_can_teach(name: str, channels: tuple[int, int, int], tmp_path: Path) -> None:
    network: Any = seasoned(timm.create_model(name, pretrained=False))
    save_file(network.state_dict(), tmp_path / "timm.safetensors")
    teacher = load_teacher(f"timm:{name}", str(tmp_path / "timm.safetensors"), exact=True, fetch=never)
    mean, deviation = list(network.pretrained_cfg["mean"]), list(network.pretrained_cfg["std"])
    with torch.no_grad():
        wanted = network.forward_intermediates(
            standardised(mean, deviation), indices=(1, 2, 3), intermediates_only=True
        )  # fmt: skip
    assert_same(teacher(IMAGE), wanted)
    assert teacher.kind.channels == channels
    assert teacher.kind.thin
    assert not any(isinstance(module, nn.BatchNorm2d) for module in teacher.modules())


def test_levels_that_timm_numbers_otherwise_are_found_by_their_strides() -> None:
    assert kind_of("timm:dla34").channels == (64, 128, 256)  # its first level has stride 1
    assert kind_of("timm:test_convnext").mean == (0.5, 0.5, 0.5)


class Forked(nn.Module):
    """A conv whose output is used both behind and beside its BatchNorm; and another one that can be folded."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4)

    def forward(self, x: Tensor) -> list[Tensor]:
        y = self.conv(x)
        return [y, self.norm(y)]


def test_a_batchnorm_that_cannot_be_folded_stays() -> None:
    forked = seasoned(Forked())
    folded = fold_norms(forked)
    assert isinstance(folded.norm, nn.BatchNorm2d)
    plain = seasoned(nn.Sequential(nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4))))
    assert not any(isinstance(module, nn.BatchNorm2d) for module in fold_norms(plain).modules())


def test_a_teacher_stays_frozen(resnet18_state: dict[str, Tensor], tmp_path: Path) -> None:
    torch.save(resnet18_state, tmp_path / "weights.pth")
    teacher = load_teacher("resnet18", str(tmp_path / "weights.pth")).train()
    assert not any(module.training for module in teacher.modules())
    assert not any(parameter.requires_grad for parameter in teacher.parameters())
    assert not any(level.requires_grad for level in teacher(IMAGE.float().requires_grad_()))
    for one, other in zip(teacher(IMAGE), teacher(IMAGE.float()), strict=True):
        assert torch.equal(one, other)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("vgg", "there is no teacher 'vgg'.* wide_resnet50_2 and timm:NAME"),
        ("timm:nope", "no network of this name"),
        ("timm:hf_hub:some/one", "no network of this name"),
        ("timm:resnet18.nope", "Invalid pretrained tag"),
        ("timm:test_vit", r"strides \[16.*4, 8 and 16 are needed"),
        ("timm:test_maxvit", "takes no images of 64 x 64"),
        ("timm:inception_v4", "not N x C x H x W at strides 4, 8, 16"),
    ],
)
def test_what_cannot_teach_is_refused(name: str, message: str) -> None:
    with pytest.raises(TeacherError, match=message):
        load_teacher(name, fetch=never)


def test_a_timm_network_without_known_input_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("timm.models.get_pretrained_cfg", lambda name: None)
    with pytest.raises(TeacherError, match="mean and deviation"):
        kind_of("timm:test_byobnet")


class Trap:
    """Makes a file when it is unpickled."""

    def __init__(self, path: Path):
        self.path = path

    def __reduce__(self) -> tuple[Callable[[Path], None], tuple[Path]]:
        return Path.touch, (self.path,)


def test_files_that_do_not_hold_the_weights_say_so(resnet18_state: dict[str, Tensor], tmp_path: Path) -> None:
    def refused(name: str, file: str, message: str) -> None:
        with pytest.raises(TeacherError, match=message):
            load_teacher(name, str(tmp_path / file), fetch=never)

    refused("resnet18", "gone.pth", r"gone\.pth.*is not there.*--weights")
    (tmp_path / "folder.pth").mkdir()
    refused("resnet18", "folder.pth", "cannot be read")
    for name in ("junk.safetensors", "junk.pth"):
        (tmp_path / name).write_bytes(b"junk")
    refused("resnet18", "junk.safetensors", "cannot be read as .safetensors")
    refused("resnet18", "junk.pth", r"junk\.pth: is not a plain state dict")
    torch.save({"state_dict": resnet18_state}, tmp_path / "nested.pth")
    refused("resnet18", "nested.pth", r"save model\.state_dict\(\) alone")
    torch.save({"trap": Trap(tmp_path / "sprung")}, tmp_path / "trap.pth")
    refused("resnet18", "trap.pth", "is not a plain state dict")
    assert not (tmp_path / "sprung").exists()
    save_file({"x": torch.zeros(1)}, tmp_path / "other.safetensors")
    for name in ("resnet18", "efficientnet_lite2", "timm:test_resnet"):
        refused(name, "other.safetensors", f"does not hold the weights of {name}")
    torch.save(resnet18_state, tmp_path / "resnet18.pth")
    refused("resnet34", "resnet18.pth", "does not hold the weights of resnet34")
    deeper = {key: value for key, value in resnet18_state.items() if not key.startswith("layer4")}
    torch.save(deeper | {key.replace("r1.1", "r1.2"): value for key, value in deeper.items()}, tmp_path / "deeper.pth")
    refused("resnet18", "deeper.pth", r"layer1\.2\.conv1\.weight is of a deeper network")
    refused("timm:test_resnet", "resnet18.pth", "does not hold the weights of timm:test_resnet")
    save_file({"x": torch.zeros(1)}, tmp_path / next(iter(FOLDED)))
    refused("resnet18", next(iter(FOLDED)), "is damaged: its SHA-256 is")


def test_published_weights_are_known_by_their_content(tmp_path: Path) -> None:
    source = source_of("efficientnet_lite2")
    assert source is not None and source.place is not None
    renamed = tmp_path / "mine.pth"
    renamed.write_bytes(source.place.read_bytes())
    assert load_teacher("efficientnet_lite2", str(renamed)).published
    assert not load_teacher("resnet18", random_resnet18(tmp_path)).published


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_not_finite_are_refused(tmp_path: Path, value: float) -> None:
    path = Path(random_resnet18(tmp_path))
    state = load_file(path)
    name = next(iter(state))
    state[name].view(-1)[-1] = value
    save_file(state, path)
    with pytest.raises(TeacherError, match=r"not finite \(.*\); get it again"):
        load_teacher("resnet18", str(path))


SHARED = Path(__file__).parents[3] / "shared/weights" / next(iter(FOLDED))


@pytest.mark.skipif(not SHARED.is_file(), reason="no shared ResNet-18 weights beside this checkout: they stay unread")
def test_the_shared_weights_are_the_published_ones_and_load() -> None:
    teacher = load_teacher("resnet18", str(SHARED), fetch=never)
    assert teacher.published and teacher.sha256 == FOLDED[SHARED.name]
    levels = teacher(IMAGE)
    assert [tuple(level.shape[1:]) for level in levels] == [(64, 16, 16), (128, 8, 8), (256, 4, 4)]
    assert all(bool(level.isfinite().all()) and 0.1 < float(level.mean()) < 10 for level in levels)


def test_the_catalogue_lists_every_teacher_and_where_its_weights_are(tmp_path: Path, cache: Path) -> None:
    cut = cache / "resnet34-b627a593.pth"
    cut.parent.mkdir(parents=True)
    cut.write_bytes(b"not weights")
    own = Path(random_resnet18(tmp_path))
    listed = {one.name: one for one in catalogue({"resnet18": str(own), "resnet50": str(tmp_path / "gone.pth")})}
    assert list(listed) == list(KINDS)
    lite2 = listed["efficientnet_lite2"]
    assert lite2.path is not None
    assert (lite2.licence, lite2.channels, lite2.megabytes) == ("Apache-2.0", (24, 48, 120), 24.7)
    assert (listed["resnet18"].path, listed["resnet18"].megabytes) == (own, round(own.stat().st_size / 1e6, 1))
    assert (listed["resnet34"].path, listed["resnet34"].damaged) == (None, True)
    assert "remove it and get it again" in listed["resnet34"].advice
    assert [name for name, one in listed.items() if one.damaged] == ["resnet34"]
    assert listed["resnet50"].path is None
    assert "gone.pth" in listed["resnet50"].advice
    wide = listed["wide_resnet50_2"]
    assert (wide.path, wide.licence) == (None, "BSD-3-Clause")
    assert wide.megabytes == pytest.approx(132, abs=1)


def test_the_command_lists_them(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    own = tmp_path / "resnet18.safetensors"
    own.write_bytes(b"not weights")
    (tmp_path / "config.toml").write_text(f'[training]\nteacher = "resnet18"\nweights = "{own}"\n')
    teachers(json=True, common=Common(config=tmp_path / "config.toml"))
    listed = {one["name"]: one for one in json.loads(capsys.readouterr().out)}
    assert (listed["resnet18"]["present"], listed["resnet18"]["damaged"]) == (False, True)
    random_resnet18(tmp_path)
    teachers(json=True, common=Common(config=tmp_path / "config.toml"))
    listed = {one["name"]: one for one in json.loads(capsys.readouterr().out)}
    assert (listed["resnet18"]["present"], listed["resnet18"]["path"]) == (True, str(own))
    assert (listed["resnet34"]["present"], listed["resnet34"]["steps"]) == (False, KINDS["resnet34"].steps)
    teachers(common=Common(config=tmp_path / "config.toml"))
    shown = capsys.readouterr().out
    assert "timm:NAME" in shown
    assert all(name in shown for name in KINDS)
