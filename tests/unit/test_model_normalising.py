"""What validation normals say of the score: against slow references, and only where it is inspected."""

from __future__ import annotations

import base64
from collections.abc import Sequence

import cv2
import numpy as np
import pytest
import torch

from model.anomaly_map import distances
from model.distillation import Levels
from model.features import Features
from model.forming import Version, measure
from model.images import Frame, InputSpec
from model.normalising import Reconstruct, measure_scales, smoothed_maps
from model.score import Normalisation, ScoreParameters
from model.selection import Form
from model.stores import Room
from tests.teachers import toy_teacher

VALIDATION = [1, 3, 4]
PROTOTYPES = torch.randn(9, 48 + 120, generator=torch.Generator().manual_seed(1))


def computed(frames: Sequence[Frame], spec: InputSpec) -> Features:
    features = Features(toy_teacher(), spec, torch.device("cpu"), Room(1 << 40, 0))
    features.compute(frames, lambda done: None)
    return features


def pictures(count: int = 6) -> list[Frame]:
    return list(np.random.default_rng(0).integers(0, 256, (count, 64, 128, 3), np.uint8))


def shifted(levels: Levels) -> Levels:
    """A stand-in for a student: some other function of each place's features alone."""
    first, second, third = (level + level.roll(1, 1) for level in levels)
    return first, second, third


def nothing(frames: int) -> None:
    pass


def ignoring(rows: slice, columns: slice) -> str:
    picture = np.zeros((64, 128), np.uint8)
    picture[rows, columns] = 255
    return base64.b64encode(cv2.imencode(".png", picture)[1].tobytes()).decode()


def test_scales_are_measured_over_all_places_of_validation_normals() -> None:
    spec = InputSpec(64, 64, columns=2)
    features = computed(pictures(), spec)
    found = measure_scales(features, VALIDATION, shifted, nothing)
    levels = features.batch(features.tiles_of(VALIDATION))
    for at, scale in enumerate(distances(levels, shifted(levels))):
        assert float(found.mean[at]) == pytest.approx(float(scale.double().mean()), rel=1e-5)
        assert float(found.deviation[at]) == pytest.approx(float(scale.double().std()), rel=1e-4)


def normalised(
    features: Features, reconstruct: Reconstruct, form: Form, prototypes: torch.Tensor = PROTOTYPES
) -> ScoreParameters:
    return measure(features, VALIDATION, Version(reconstruct, prototypes), nothing).parameters(form, prototypes)


def test_what_is_ignored_moves_neither_scales_nor_positions() -> None:
    spec = InputSpec(64, 128, ignore=ignoring(slice(0, 64), slice(0, 64)))
    frames = pictures()
    spoiled = [frame.copy() for frame in frames]
    for frame in spoiled:
        frame[:, :32] = 255 - frame[:, :32] // 3  # so far inside that no upsampled feature reaches out
    found = [normalised(computed(one, spec), shifted, Form(0.0, positional=True)) for one in (frames, spoiled)]
    assert torch.equal(found[0].scales.mean, found[1].scales.mean)
    assert torch.equal(found[0].scales.deviation, found[1].scales.deviation)
    inside = np.s_[:, :, 64:]
    assert torch.equal(found[0].position.mean[inside], found[1].position.mean[inside])
    assert torch.equal(found[0].position.deviation[inside], found[1].position.deviation[inside])
    for frame in spoiled:
        frame[:, 64:] //= 2
        frame[::2, 64:] = 0
    other = normalised(computed(spoiled, spec), shifted, Form(0.0, positional=True))
    assert not torch.equal(other.scales.mean, found[0].scales.mean)


def test_a_scale_of_which_nothing_is_inspected_stays_as_it_is() -> None:
    spec = InputSpec(64, 128, ignore=ignoring(slice(4, 64), slice(0, 128)))  # leaves a strip one feature high
    found = measure_scales(computed(pictures(), spec), VALIDATION, shifted, nothing)
    assert found.mean[2] == 0 and found.deviation[2] == 1
    assert 0 < found.mean[0] < 2 and found.deviation[0] != 1


def test_a_memory_alone_leaves_the_scales_and_has_one_component() -> None:
    features = computed(pictures(), InputSpec(64, 64, columns=2))
    prototypes = PROTOTYPES
    heard: list[int] = []
    found = measure(features, VALIDATION, Version(None, prototypes), heard.append).parameters(
        Form(1.0, positional=False), prototypes
    )
    assert found.scales.mean.tolist() == [0, 0, 0] and found.scales.deviation.tolist() == [1, 1, 1]
    assert found.position.mean.shape == (1, 1, 1)
    assert sum(heard) == 2 * len(VALIDATION)
    assert found.remembers and not found.reconstructs


def test_normalised_maps_of_validation_normals_have_mean_0_and_deviation_1() -> None:
    features = computed(pictures(), InputSpec(64, 64, columns=2))
    prototypes = PROTOTYPES
    found = normalised(features, shifted, Form(0.5, positional=False), prototypes)
    maps = smoothed_maps(features, VALIDATION, shifted, prototypes, found.scales, nothing)
    normal = found.position(maps)
    assert maps.shape == (3, 2, 64, 128)
    assert normal.mean((0, 2, 3)).tolist() == pytest.approx([0, 0], abs=1e-3)
    assert normal.std((0, 2, 3), correction=0).tolist() == pytest.approx([1, 1], rel=1e-3)
    plain = smoothed_maps(features, [1], shifted, prototypes, Normalisation(torch.zeros(3), torch.ones(3)), nothing)
    assert not torch.allclose(plain[:, 0], maps[:1, 0])
    assert torch.allclose(plain[:, 1], maps[:1, 1], atol=1e-4)  # the memory's map knows no scales
