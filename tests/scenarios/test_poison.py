"""Scenario 2 on few parts: the gate stops what loses defects, and a clean batch passes; what was played is kept."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import pytest

from agent.retrain import gate
from model.images import LabelledImage, read_folder
from tests.scenarios import poison
from tests.scenarios.parts import Flanges
from tests.scenarios.product import Wanted
from tests.scenarios.story import Broken, Story
from tests.scenarios.verdicts import Compared
from tests.unit.test_retrain_gate import GOOD

SMALL = Wanted(good=90)
DEFECTS = [LabelledImage(Path(f"{at}.png"), "scratch") for at in range(42)]
APPROVED, BANK = DEFECTS[:14], DEFECTS[14:]


def outcome(state: str, lost: Iterable[int] = (), won: Iterable[int] = ()) -> poison.Outcome:
    """Of approving APPROVED: the champion flags all but those won."""
    lost, won = set(lost), set(won)
    before = [at not in won for at in range(len(DEFECTS))]
    after = [at not in lost for at in range(len(DEFECTS))]
    found = poison.compared(DEFECTS, BANK, APPROVED, before, after)
    return poison.Outcome(14, 9, state, "words", state == "promoted", "told", found)


@pytest.mark.timeout(900)  # half a minute on two idle cores
def test_poison_that_loses_defects_is_not_promoted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    images = read_folder(Flanges(4).folder(tmp_path / "flange", good=110, defects=60, test_good=42))
    played = poison.play("flange", images, tmp_path, SMALL, Story())
    repeats, clean = played.outcomes["repeats"], played.outcomes["clean"]
    assert repeats.defects.total == 60
    assert repeats.defects.before > 60 / 2, "a champion that sees nothing has nothing to lose"
    assert repeats.defects.harmful and repeats.state == "rejected", "the gate has nothing to stop"
    assert clean.live
    for one in (repeats, played.outcomes["defects"]):
        assert f"{one.approved} newly approved normals were looked at by one person alone" in one.told, one.told
        assert "of 1000 good parts" in one.told
    assert repeats.caught == repeats.approved and clean.caught < clean.approved / 2
    assert "cleared_repeats" not in played.outcomes, "nothing is learnt where nothing is cleared"
    cleared, defects = played.outcomes["cleared"], played.outcomes["defects"]
    assert cleared.approved == cleared.groups["approved"].total == defects.approved - defects.caught > 0
    assert "by one person alone" not in cleared.told
    monkeypatch.setattr(poison, "_Set", None)
    assert poison.play("flange", images, tmp_path, SMALL, Story()) == played


@pytest.mark.parametrize(
    ("batch", "state", "lost", "won", "comes"),
    [
        ("repeats", "promoted", [20, 21], [], False),
        ("repeats", "promoted", [20], [], True),
        ("repeats", "promoted", [20, 21], [22], True),
        ("repeats", "rejected", range(14, 23), [], True),
        ("repeats", "needs_person", range(14, 23), [], True),
        ("defects", "promoted", range(9), [], False),
        ("cleared", "promoted", range(9), [], True),
        ("clean", "rejected", [], [], False),
        ("clean", "promoted", [], [], True),
        ("clean", "needs_person", [], [], True),
        ("epoch", "needs_person", [], [], False),
        ("unlike", "rejected", [], [], True),
    ],
)
def test_what_breaks_the_scenario(batch: str, state: str, lost: list[int], won: list[int], comes: bool) -> None:
    played = poison.Played({batch: outcome(state, lost, won)})
    if comes:
        poison.tell(played, Story())
    else:
        with pytest.raises(Broken):
            poison.tell(played, Story())


@pytest.mark.parametrize(("before", "comes"), [("promoted", True), ("rejected", False)])
def test_an_epoch_must_help_where_the_old_certificate_does_not(before: str, comes: bool) -> None:
    played = poison.Played({"unlike": outcome(before), "epoch": outcome("rejected")})
    with nullcontext() if comes else pytest.raises(Broken):
        poison.tell(played, Story())


def test_lost_approved_defects_are_harm_that_the_gate_does_not_see() -> None:
    found = outcome("promoted", lost=range(9))
    bank = found.groups["in the bank"]
    neutral = gate.Caught(bank.total, bank.lost, bank.won)
    assert gate.judge(replace(GOOD, neutral=neutral)).verdict == "pass"
    assert bank.lost == 0 and found.groups["approved"] == Compared(14, before=14, lost=9, won=0)
    assert found.defects.harmful


def test_harm_is_said_of_every_batch_that_is_live() -> None:
    said: list[str] = []
    batches = {batch: outcome("promoted", lost=[20, 21]) for batch in ("clean", "unlike", "epoch")}
    poison.tell(poison.Played(batches), Story(said.append))
    told = " ".join(" ".join(said).split())
    assert told.count("harmful: more than the limits, 2 lost and 0 won of 42") == len(batches)
