"""Bottleneck, student and loss against the published counts and a slow float64 reference."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
import torchvision
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from model.bottleneck import Block
from model.distillation import Learner, ReverseDistillation, loss
from model.encoders import ResNetLevels
from model.teacher import KINDS, Teacher, TeacherError, kind_of, load_teacher


def count(*modules: nn.Module) -> int:
    return sum(parameter.numel() for module in modules for parameter in module.parameters())


def shapes_of(name: str, side: int) -> list[tuple[int, ...]]:
    channels = kind_of(name).channels
    return [(2, width, side // stride, side // stride) for width, stride in zip(channels, (4, 8, 16), strict=True)]


def levels_of(name: str, side: int = 64) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    first, second, third = (torch.randn(shape, generator=generator) for shape in shapes_of(name, side))
    return first, second, third


@pytest.mark.parametrize(
    ("name", "exact", "published"),
    [
        ("resnet18", 3_703_168, 3.70),
        ("resnet34", 5_770_624, 5.77),
        ("resnet50", 15_821_824, 15.82),
        ("wide_resnet50_2", 24_917_504, 24.92),
    ],
)
def test_the_students_have_the_published_number_of_parameters(name: str, exact: int, published: float) -> None:
    with torch.device("meta"):
        student = Learner(name).student
    assert count(student) == exact
    assert round(exact / 1e6, 2) == published


def test_the_live_network_at_wide_resnet50_2_has_108_7_million_parameters() -> None:
    with torch.device("meta"):
        learner = Learner("wide_resnet50_2")
        teacher: Any = torchvision.models.wide_resnet50_2(weights=None)
    layers = (teacher.conv1, teacher.bn1, teacher.layer1, teacher.layer2, teacher.layer3)
    assert round(count(learner, *layers) / 1e6, 1) == 108.7


@pytest.mark.parametrize(("name", "gigaflops"), [("wide_resnet50_2", 60.9), ("resnet18", 8.65)])
def test_a_frame_costs_the_published_number_of_multiply_adds(name: str, gigaflops: float) -> None:
    with torch.device("meta"):
        learner, encoder = Learner(name).eval(), ResNetLevels(KINDS[name].stages)
        image = torch.zeros(1, 3, 256, 256)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        learner(encoder(image))
    assert counter.get_total_flops() / 1e9 == pytest.approx(gigaflops, abs=0.05 if gigaflops > 10 else 0.005)


@pytest.mark.parametrize("name", [*KINDS, "timm:test_resnet"])
def test_the_student_mirrors_the_teachers_levels(name: str) -> None:
    with torch.device("meta"):
        learner, levels = Learner(name), tuple(torch.empty(shape) for shape in shapes_of(name, 64))
        code = learner.bottleneck(levels)
        found = learner(levels)
    assert tuple(code.shape) == (2, 512 * KINDS.get(name, KINDS["resnet18"]).stages.expansion, 2, 2)
    assert [tuple(level.shape) for level in found] == shapes_of(name, 64)


@pytest.mark.parametrize("name", ["resnet34", "wide_resnet50_2"])
def test_each_stage_enlarges_once_in_its_strided_conv_and_shortcut(name: str) -> None:
    with torch.device("meta"):
        learner: Any = Learner(name)
    blocks: Any = [[module for module in stage if isinstance(module, Block)] for stage in learner.student.stages]
    assert [len(stage) for stage in blocks] == [3, 4, 6]
    place = 0 if name == "resnet34" else 3  # the first conv of a basic block, the middle one of a bottleneck block
    for stage in blocks:
        convs = [module for block in stage for module in block.modules() if isinstance(module, nn.ConvTranspose2d)]
        assert convs == [stage[0].inner[place], stage[0].shortcut[0]]
        assert {(conv.kernel_size, conv.stride) for conv in convs} == {((2, 2), (2, 2))}
    embedding = learner.bottleneck.embed
    assert len(embedding) == 3
    assert embedding[0].inner[place].stride == (2, 2)


def test_the_wide_embedding_has_base_width_128() -> None:
    with torch.device("meta"):
        narrow: Any = Learner("resnet50")
        wide: Any = Learner("wide_resnet50_2")
    assert [learner.bottleneck.embed[0].inner[3].out_channels for learner in (narrow, wide)] == [512, 1024]


def test_a_thin_teacher_is_fused_at_width_256_and_mirrored_through_heads() -> None:
    with torch.device("meta"):
        learner: Any = Learner("efficientnet_lite2")
        first, second, third = (torch.empty(shape) for shape in shapes_of("efficientnet_lite2", 64))
    fusion = learner.bottleneck
    assert fusion.first[0].out_channels == 128
    assert [tuple(part.shape[1:]) for part in (fusion.first(first), fusion.second(second), fusion.third(third))] == [
        (256, 4, 4)
    ] * 3
    assert [(head.in_channels, head.out_channels, head.kernel_size) for head in learner.student.heads] == [
        (256, 120, (1, 1)), (128, 48, (1, 1)), (64, 24, (1, 1)),
    ]  # fmt: skip


def test_reset_is_the_released_codes() -> None:
    learner, again = Learner("efficientnet_lite2"), Learner("efficientnet_lite2")
    learner.train()(levels_of("efficientnet_lite2"))  # leaves running statistics behind
    learner.reset(torch.Generator().manual_seed(3))
    again.reset(torch.Generator().manual_seed(3))
    for one, other in zip(learner.state_dict().values(), again.state_dict().values(), strict=True):
        assert torch.equal(one, other)
    for module in learner.modules():
        if isinstance(module, nn.ConvTranspose2d):
            bound = 1 / math.sqrt(module.out_channels * 4)  # torch counts a transposed conv's fan-in so
            assert 0.95 * bound < float(module.weight.detach().abs().max()) <= bound
        elif isinstance(module, nn.Conv2d):
            wanted = math.sqrt(2 / (module.out_channels * module.kernel_size[0] * module.kernel_size[1]))
            assert float(module.weight.detach().std()) == pytest.approx(wanted, rel=0.06)
            assert module.bias is None or not module.bias.any()
        elif isinstance(module, nn.BatchNorm2d):
            assert module.running_mean is not None
            assert not module.running_mean.any()
            assert bool((module.weight == 1).all())


def test_the_loss_is_the_flattened_cosine() -> None:
    generator = torch.Generator().manual_seed(1)
    a, b = ([torch.randn(3, 8 << at, 16 >> at, 16 >> at, generator=generator) for at in range(3)] for _ in range(2))
    wanted = 0.0
    for t, s in zip(a, b, strict=True):
        flat_t, flat_s = (x.numpy().astype(np.float64).reshape(len(x), -1) for x in (t, s))
        cosine = (flat_t * flat_s).sum(1) / np.linalg.norm(flat_t, axis=1) / np.linalg.norm(flat_s, axis=1)
        wanted += (1 - cosine).mean()
    assert float(loss(a, b)) == pytest.approx(wanted, rel=1e-5)
    assert float(loss(a, [3 * level for level in a])) == pytest.approx(0, abs=1e-5)
    assert float(loss(a, [-level for level in a])) == pytest.approx(6, abs=1e-5)
    weighted = torch.linspace(0, 1, 16)  # the per-pixel form would not see that one pixel is fainter
    assert float(loss(a[:1], [a[0] * weighted])) > 0.05


@pytest.mark.parametrize("name", ["resnet18", "efficientnet_lite2"])
def test_gradients_never_reach_the_teacher(name: str) -> None:
    teacher = Teacher(name, ResNetLevels(KINDS[name].stages), "") if name == "resnet18" else load_teacher(name)
    network = ReverseDistillation(teacher, Learner(name)).train()
    images = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0)).mul_(255).requires_grad_()
    wanted, found = network(images)
    assert not any(level.requires_grad for level in wanted)
    loss(wanted, found).backward()  # type: ignore[no-untyped-call]
    assert images.grad is None
    assert all(parameter.grad is None for parameter in network.teacher.parameters())
    assert all(parameter.grad is not None for parameter in network.learner.parameters())
    assert not any(module.training for module in network.teacher.modules())


def test_a_learner_of_no_teacher_is_refused() -> None:
    with pytest.raises(TeacherError, match="there is no teacher 'resnet19'"):
        Learner("resnet19")


def test_a_map_of_which_nothing_counts_leaves_its_scales_mean() -> None:
    generator = torch.Generator().manual_seed(1)
    a, b = ([torch.randn(3, 8, 16 >> at, 16 >> at, generator=generator) for at in range(3)] for _ in range(2))
    masks = [torch.ones(3, 1, 16 >> at, 16 >> at) for at in range(3)]
    assert torch.equal(loss(a, b, masks), loss(a, b))
    masks[0][1], masks[2][:] = 0, 0
    wanted = float(loss([a[0][::2], a[1]], [b[0][::2], b[1]]))
    student = [level.requires_grad_() for level in b]
    value = loss(a, student, masks)
    assert float(value.detach()) == pytest.approx(wanted, rel=1e-6)
    value.backward()  # type: ignore[no-untyped-call]
    reached = [level.grad.flatten(1).any(1).tolist() for level in student if level.grad is not None]
    assert all(bool(level.grad.isfinite().all()) for level in student if level.grad is not None)
    assert reached == [[True, False, True], [True] * 3, [False] * 3]
