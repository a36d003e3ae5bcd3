"""How odd a part is among the others: a defect comes first, a part is never held against itself."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from model.features import Features
from model.images import Frame, InputSpec
from model.oddness import among
from model.stores import Room
from tests.teachers import toy_teacher

SPEC = InputSpec(64, 64)


def features(frames: list[Frame], spec: InputSpec = SPEC) -> Features:
    made = Features(toy_teacher(), spec, torch.device("cpu"), Room(1 << 40, 0))
    with torch.inference_mode():
        made.compute(frames, lambda done: None)
    return made


def parts(count: int, seed: int = 0) -> list[Frame]:
    rng = np.random.default_rng(seed)
    frame = np.full((64, 64, 3), 100, np.float32)
    frame[16:48, 16:48] = 160
    return [np.clip(frame + rng.normal(0, 3, frame.shape), 0, 255).astype(np.uint8) for _ in range(count)]


def blotted(frame: Frame, value: int = 20) -> Frame:
    made = frame.copy()
    made[24:36, 24:36] = value
    return made


@pytest.mark.parametrize("spec", [SPEC, InputSpec(64, 64, region=(0.1, 0.1, 0.9, 0.9)), InputSpec(64, 64, columns=2)])
def test_the_part_with_a_defect_comes_first(spec: InputSpec) -> None:
    frames = parts(20)
    frames[7] = blotted(frames[7])
    found = among(features(frames, spec), [str(n) for n in range(20)], seed=0)
    assert int(np.argmax(found)) == 7
    rest = [value for n, value in enumerate(found) if n != 7]
    assert found[7] > 2 * max(rest)
    assert found == among(features(frames, spec), [str(n) for n in range(20)], seed=0)


def test_two_frames_of_one_part_do_not_hide_each_other() -> None:
    frames = parts(12)
    frames[3], frames[4] = blotted(frames[3]), blotted(frames[4])
    names = [str(n) for n in range(12)]
    apart = among(features(frames), names, seed=0)
    names[4] = names[3]
    together = among(features(frames), names, seed=0)
    assert min(together[3:5]) > max(value for n, value in enumerate(together) if n not in (3, 4))
    assert together[3] > apart[3], "of two parts, each has the other's defect to be like"


def test_a_part_alone_is_not_odd() -> None:
    assert among(features(parts(2)), ["a", "a"], seed=0) == [0.0, 0.0]
