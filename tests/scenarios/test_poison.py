"""Scenario 2 on few parts: the gate stops what loses defects, and a clean batch passes; what was played is kept."""

from __future__ import annotations

from pathlib import Path

import pytest

from model.images import read_folder
from tests.scenarios import poison
from tests.scenarios.parts import Flanges
from tests.scenarios.product import Wanted
from tests.scenarios.story import Broken, Story

SMALL = Wanted(good=90)


@pytest.mark.timeout(900)  # half a minute on two idle cores
def test_poison_that_loses_defects_is_not_promoted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    images = read_folder(Flanges(3).folder(tmp_path / "flange", good=90, defects=42, test_good=14))
    played = poison.play("flange", images, tmp_path, SMALL, Story())
    repeats, clean = played.outcomes["repeats"], played.outcomes["clean"]
    assert played.champion > repeats.bank / 2, "a champion that sees nothing has nothing to lose"
    assert repeats.beyond and not repeats.promoted, "the gate has nothing to stop"
    assert repeats.caught == repeats.approved and clean.caught < clean.approved / 2
    monkeypatch.setattr(poison, "_Set", None)
    assert poison.play("flange", images, tmp_path, SMALL, Story()) == played


@pytest.mark.parametrize(
    ("batch", "state", "lost", "comes"),
    [
        ("repeats", "promoted", 2, False),
        ("repeats", "promoted", 1, True),
        ("repeats", "rejected", 9, True),
        ("clean", "rejected", 0, False),
        ("clean", "promoted", 0, True),
    ],
)
def test_what_breaks_the_scenario(batch: str, state: str, lost: int, comes: bool) -> None:
    outcome = poison.Outcome(9, 9, state, "words", bank=28, lost=lost, won=0, before=9, after=1)
    played = poison.Played(25, {batch: outcome})
    if comes:
        poison.tell(played, Story())
    else:
        with pytest.raises(Broken):
            poison.tell(played, Story())
