"""The rendered product: masks are where the defect is, seeds repeat, parts differ."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from agent.demo.defects import KINDS
from agent.demo.part import SIZE, Lamp
from agent.demo.render import picture, render
from model.images import decode, read_folder


@pytest.mark.parametrize("kind", KINDS)
def test_a_mask_covers_what_the_defect_changed(kind: str) -> None:
    for strength in (0.25, 1.0):
        seed = (5, len(kind), int(strength * 100))
        good, _ = picture(None, 0.0, seed)
        bad, mask = picture(kind, strength, seed)
        inside = mask > 0
        change = np.abs(bad.astype(int) - good).max(axis=2)
        assert 0.0001 < inside.mean() < 0.05
        assert change[inside].mean() > 4 * change[~inside].mean() + 3, "the defect must show where its mask says"


def test_defects_grow_with_their_strength() -> None:
    for kind in KINDS:
        sizes = [np.mean([picture(kind, s, (1, n))[1].mean() for n in range(4)]) for s in (0.25, 1.0)]
        assert sizes[1] > sizes[0], kind


def test_a_seed_repeats_and_another_differs() -> None:
    first, again, other = (picture(None, 0.0, (seed,))[0] for seed in (1, 1, 2))
    assert np.array_equal(first, again)
    assert np.abs(first.astype(int) - other).mean() > 1.5


def test_another_lamp_shows_the_same_part() -> None:
    usual, mask = picture("scratch", 0.7, (1,))
    other, same = picture("scratch", 0.7, (1,), Lamp(turn=1.0, gain=1.2))
    assert np.array_equal(mask, same)
    assert other.mean() > 1.1 * usual.mean()


def test_a_folder_in_mvtec_layout_appears_whole(tmp_path: Path) -> None:
    heard: list[int] = []
    render(
        tmp_path / "flange", good=3, test_good=2, defects_per_kind=1, seed=1, on_progress=lambda p: heard.append(p.step)
    )
    folder = read_folder(tmp_path / "flange")
    assert len(folder.train_good) == 3
    assert {image.label for image in folder.test} == {"good", *KINDS}
    assert all(image.mask_path for image in folder.test if image.label != "good")
    assert decode(folder.test[0].path.read_bytes()).shape == (SIZE, SIZE, 3)
    assert heard == list(range(1, 5 + len(KINDS) + 1))
    with pytest.raises(FileExistsError):
        render(tmp_path / "flange", good=1, test_good=1, defects_per_kind=1)


def test_nothing_half_rendered_stays(tmp_path: Path) -> None:
    def stop(_: object) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        render(tmp_path / "flange", good=2, test_good=0, defects_per_kind=0, on_progress=stop)
    assert list(tmp_path.iterdir()) == []
