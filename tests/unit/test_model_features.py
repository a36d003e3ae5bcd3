"""Cached features: the same batches wherever they are kept, and masks of the right places."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from model import stores
from model.features import Features
from model.images import Frame, InputSpec, ignore_mask, prepare
from model.stores import Kept, Layout, Recomputed, Room, available_memory, open_store
from model.teacher import KINDS
from tests.teachers import toy_teacher

CPU = torch.device("cpu")
MEMORY, DISK, NEITHER = Room(1 << 40, 1 << 40), Room(0, 1 << 40), Room(0, 0)
SPEC = InputSpec(64, 96, columns=2, overlap=0.25)


def pictures(count: int, seed: int = 0) -> list[Frame]:
    return list(np.random.default_rng(seed).integers(0, 256, (count, 70, 150, 3), np.uint8))


def computed(room: Room, frames: list[Frame], spec: InputSpec = SPEC) -> Features:
    features = Features(toy_teacher(), spec, CPU, room)
    features.compute(frames, lambda done: None)
    return features


def ignoring(path: Path, rows: slice, columns: slice) -> str:
    import cv2

    picture = np.zeros((70, 150), np.uint8)
    picture[rows, columns] = 255
    cv2.imwrite(str(path), picture)
    return ignore_mask(path)


@pytest.mark.parametrize("room", [MEMORY, DISK, NEITHER], ids=["memory", "map", "recomputed"])
def test_a_batch_is_what_the_teacher_says_of_those_tiles(room: Room) -> None:
    frames = pictures(9)
    features = computed(room, frames)
    numbers = [17, 0, 5, 5, 12]
    tiles = np.stack([prepare(frames[number // 2], SPEC).tiles[number % 2] for number in numbers])
    wanted = toy_teacher()(torch.from_numpy(tiles).permute(0, 3, 1, 2))
    for found, level in zip(features.batch(numbers), wanted, strict=True):
        torch.testing.assert_close(found, level, rtol=1e-5, atol=1e-5)


def test_batches_are_identical_whichever_store_holds_them() -> None:
    frames = pictures(9)
    held = [computed(room, frames) for room in (MEMORY, DISK, NEITHER)]
    rng = np.random.default_rng(1)
    for _ in range(4):
        numbers = rng.integers(0, 18, 6).tolist()
        first, *others = (features.batch(numbers) for features in held)
        for other in others:
            for one, two in zip(first, other, strict=True):
                assert torch.equal(one, two)
                assert one.stride() == two.stride()  # the layout chooses the conv's algorithm, and so the last bits


def test_what_is_kept_is_never_computed_again() -> None:
    for room, after in ((MEMORY, 18), (DISK, 18), (NEITHER, 12)):
        features = computed(room, pictures(9))
        for _ in range(3):
            features.batch([0, 1, 2, 3])
        assert features.computed == after


def test_the_map_leaves_no_file_even_while_it_is_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[Path] = []
    reserve = os.posix_fallocate

    def watched(file: int, start: int, size: int) -> None:
        made.append(Path(f"/proc/self/fd/{file}").readlink())
        reserve(file, start, size)

    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setattr(os, "posix_fallocate", watched)
    features = computed(DISK, pictures(4))
    assert [path.parent for path in made] == [tmp_path]
    assert not list(tmp_path.iterdir())
    assert features.batch([7])[0].isfinite().all()


def test_a_disk_that_filled_up_meanwhile_means_recomputing(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: int) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    features = computed(DISK, pictures(4))
    features.batch([0])
    assert features.computed == 1


@pytest.mark.parametrize(
    ("device", "room", "kind"),
    [
        ("cpu", lambda size: Room(size, 0), Kept),
        ("cpu", lambda size: Room(size - 1, size), Kept),
        ("cpu", lambda size: Room(size - 1, size - 1), Recomputed),
        ("cuda", lambda size: Room(size - 1, size), Recomputed),  # never from a map over the bus
    ],
)
def test_the_store_is_chosen_by_the_room(device: str, room: Callable[[int], Room], kind: type) -> None:
    layout = Layout(3, 64, 64, (4, 8, 16), torch.bfloat16)
    store = open_store(lambda tiles: (tiles, tiles, tiles), layout, torch.device(device), room(layout.size))
    assert isinstance(store, kind)


@pytest.mark.parametrize(
    ("name", "megabytes"), [("resnet18", 0.92), ("efficientnet_lite2", 0.36), ("wide_resnet50_2", 3.67)]
)
def test_bytes_of_a_frame(name: str, megabytes: float) -> None:
    layout = Layout(1, 256, 256, KINDS[name].channels, torch.bfloat16)
    assert layout.size / 1e6 == pytest.approx(megabytes, abs=0.005)


def test_a_control_groups_limit_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stores, "CONTROL_GROUP", tmp_path)
    machine = available_memory()
    assert machine > 10_000_000
    (tmp_path / "memory.max").write_text("3000000\n")
    (tmp_path / "memory.stat").write_text("anon 1000000\nfile 1900000\n")
    assert available_memory() == 2_000_000
    (tmp_path / "memory.max").write_text("max\n")
    assert available_memory() > 10_000_000


def test_the_data_hash_knows_no_order_and_the_normals_are_spread() -> None:
    frames = pictures(70)
    one, other = computed(MEMORY, frames), computed(MEMORY, frames[::-1])
    assert one.data_sha256 == other.data_sha256
    assert one.hashes == other.hashes[::-1] != other.hashes
    assert one.data_sha256 != computed(MEMORY, frames[1:]).data_sha256
    assert one.normals.shape == (32, 64, 96, 3)
    whole = one.normals.numpy().reshape(-1, SPEC.tiles, 64, 96, 3)
    assert np.array_equal(whole[0], prepare(frames[0], SPEC).tiles)
    assert np.array_equal(whole[-1], prepare(frames[-1], SPEC).tiles)


def test_level_masks_are_those_of_each_tile(tmp_path: Path) -> None:
    spec = InputSpec(64, 64, columns=2, ignore=ignoring(tmp_path / "mask.png", slice(10, 40), slice(60, 110)))
    features = computed(MEMORY, pictures(3), spec)
    canvas = prepare(pictures(1)[0], spec).mask
    assert canvas is not None
    numbers = [1, 4, 5]
    masks = features.level_masks(numbers)
    assert masks is not None
    for mask, stride in zip(masks, (4, 8, 16), strict=True):
        for at, number in enumerate(numbers):
            tile = canvas[:, 64:] if number % 2 else canvas[:, :64]
            share = tile.reshape(64 // stride, stride, 64 // stride, stride).mean((1, 3))
            assert np.array_equal(mask[at, 0].numpy() > 0, share >= 0.5)
    assert any(0 < float(mask.mean()) < 1 for mask in masks)
    assert computed(MEMORY, pictures(1)).level_masks([0]) is None
