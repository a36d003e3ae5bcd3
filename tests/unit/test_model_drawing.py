"""What a training draws: whole parts, a fifth of the images, and each image's draw by itself."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from model import drawing, forming, memory
from model.drawing import candidates, held_back, prototypes, seed_of
from model.features import Features
from model.forming import Measured, Version, measure
from model.images import InputSpec
from model.normalising import Advance
from model.stores import Room
from model.training import TrainingError, TrainingSettings, train
from tests.teachers import random_resnet18, toy_teacher

hashes = st.lists(st.text("0123456789abcdef", min_size=8, max_size=8), min_size=5, max_size=80, unique=True)
seeds = st.integers(0, 2**31)


@given(hashes, seeds)
def test_a_fifth_is_held_back_and_an_image_more_moves_one_at_most(given: list[str], seed: int) -> None:
    held = {given[at] for at in held_back(given, None, seed)}
    assert len(held) == len(given) // 5
    fewer = {given[at] for at in held_back(given[:-1], None, seed)}
    assert len(held - fewer) <= 1 and len(fewer - held) <= 1
    assert held == {given[::-1][at] for at in held_back(given[::-1], None, seed)}, "whatever their order"


@given(hashes, st.integers(0, 100), seeds)
def test_more_than_a_fifth_where_more_are_asked_for(given: list[str], wanted: int, seed: int) -> None:
    held = held_back(given, None, seed, wanted)
    assert len(held) == max(len(given) // 5, min(wanted, len(given)))
    assert set(held) >= set(held_back(given, None, seed))


@given(st.lists(st.integers(0, 12), min_size=5, max_size=60), seeds)
def test_no_part_is_on_both_sides(owners: list[int], seed: int) -> None:
    parts = [f"serial {owner}" for owner in owners]
    held = held_back([str(at) for at in range(len(parts))], parts, seed)
    assert 1 <= len(held) <= max(1, len(parts) // 5) and held == sorted(held)
    if len(set(parts)) >= 5:
        assert not {parts[at] for at in held} & {parts[at] for at in range(len(parts)) if at not in held}


def test_of_a_few_images_that_are_there_twice_some_are_held_back_all_the_same() -> None:
    assert len(held_back(["a", "a", "b", "b", "c", "c"], None, 0)) == 1


def test_another_seed_holds_back_others() -> None:
    given = [str(at) for at in range(50)]
    assert held_back(given, None, 0) != held_back(given, None, 1)
    assert seed_of("a", 0, "memory") != seed_of("a", 0, "pseudo") != seed_of("b", 0, "pseudo")


def features(count: int) -> Features:
    rng = np.random.default_rng(0)
    made = Features(toy_teacher(), InputSpec(64, 64), torch.device("cpu"), Room(1 << 40, 0))
    with torch.inference_mode():
        made.compute([rng.integers(0, 256, (64, 64, 3), np.uint8) for _ in range(count)], lambda done: None)
    return made


def test_a_frame_gives_the_same_candidates_beside_more_of_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "CANDIDATES", 60)
    few, more = features(6), features(7)
    for frame in range(6):
        ten, eight = candidates(few, frame, 6, 0), candidates(more, frame, 7, 0)
        assert (len(ten), len(eight)) == (10, 8)
        assert torch.equal(ten[:8], eight)
    assert not torch.equal(candidates(few, 0, 6, 0), candidates(few, 0, 6, 1))


def test_prototypes_do_not_depend_on_the_order_of_the_frames(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "PROTOTYPES", 5)
    made, heard = features(6), list[int]()
    found, frames = prototypes(made, [0, 1, 3, 5], 0, heard.append)
    assert found.shape == (5, candidates(made, 0, 4, 0).shape[1])
    again, again_frames = prototypes(made, [5, 3, 1, 0], 0, heard.append)
    assert torch.equal(found, again) and frames == again_frames
    for row, frame in zip(found, frames, strict=True):
        assert (candidates(made, frame, 4, 0) == row).all(1).any(), "of its frame"
    assert sum(heard) == 8


def test_a_normal_of_which_the_memory_holds_patches_is_held_against_the_other_parts() -> None:
    made, parts = features(5), ["a", "a", "b", "c", "d"]
    found, frames = prototypes(made, range(5), 0, lambda done: None)
    version = Version(None, found, [parts[frame] for frame in frames], parts)
    with torch.inference_mode():
        apart = measure(made, range(5), version, lambda done: None).normals
        whole = measure(made, range(5), Version(None, found), lambda done: None).normals
        rest = found[torch.tensor([frame > 1 for frame in frames])]
        others = measure(made, [0, 1], Version(None, rest), lambda done: None).normals
    assert torch.allclose(apart[:2], others, atol=1e-6)
    assert (apart >= whole - 1e-6).all() and apart.mean() > 1.1 * whole.mean()


@pytest.mark.parametrize(
    ("parts", "alike"),
    [
        (["a", "a", "b", "b", "b", "b"], {0: 2, 1: 2, 2: 4}),
        (["a"] * 6, {0: 1, 5: 1}),  # of one part only each frame is held against the others
        (None, {0: 1, 3: 1}),
    ],
)
def test_a_memory_alone_learns_from_all_and_leaves_out_each_part_to_judge_it(
    parts: list[str] | None, alike: dict[int, int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[list[int], Version]] = []

    def spied(features: Features, validation: Sequence[int], version: Version, advance: Advance) -> Measured:
        seen.append((list(validation), version))
        return measure(features, validation, version, advance)

    monkeypatch.setattr(forming, "measure", spied)
    rng = np.random.default_rng(0)
    frames = [rng.integers(0, 256, (64, 64, 3), np.uint8) for _ in range(6)]
    settings = TrainingSettings("resnet18", random_resnet18(tmp_path), InputSpec(64, 64), precision="fp32", share=1.0)
    train(frames, settings, parts=parts)
    [(validation, version)] = seen
    assert validation == list(range(6)) and version.owners is not None
    assert len(version.prototypes) == len(version.owners) == 6 * 64
    for frame, siblings in alike.items():
        assert len(version.without(frame)) == (6 - siblings) * 64


def test_of_large_pictures_fewer_are_judged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    frames = [rng.integers(0, 256, (64, 64, 3), np.uint8) for _ in range(10)]
    settings = TrainingSettings("resnet18", random_resnet18(tmp_path), InputSpec(64, 64), precision="fp32", share=1.0)
    monkeypatch.setattr(drawing, "JUDGED", 3 * 64 * 64)
    assert train(frames, settings).manifest.settings["validation"] == 3
    monkeypatch.setattr(drawing, "JUDGED", 0)
    assert train(frames, settings).manifest.settings["validation"] == 2


def test_a_part_without_others_is_held_against_all() -> None:
    found = torch.arange(4.0)[:, None]
    assert torch.equal(Version(None, found, ["a"] * 4, ["a", "a"]).without(1), found)
    assert Version(None, found, ["a", "b", "b", "c"], ["b", "a"]).without(0).flatten().tolist() == [0, 3]


def test_parts_for_some_images_only_are_refused() -> None:
    frames = [np.zeros((64, 64, 3), np.uint8)] * 6
    with pytest.raises(TrainingError, match="6 good images and the parts of 5"):
        train(frames, TrainingSettings(), parts=["a"] * 5)
