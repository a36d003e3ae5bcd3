"""Scenario 2, poison: labelled defects approved as normal. What the quarantine catches, and what the gate lets pass.

One product a set, in a database of its own: its good training images and labelled defects are imported, a first model
is trained. Then flagged parts are approved as normal, through agent.service, in three batches:

- `defects`: labelled defects that stay out of the bank, one in three of all;
- `repeats`: the same defective parts that the bank holds, seen again (other noise), one in three of the bank;
- `clean`: good test images, which no model has seen.

The quarantine checks all three, as the agent does. Then, without quarantine and caps, each is trained from, each on a
copy of the database of its own, and goes to the gate, whose bank is all the labelled defects but `defects`.

Harm is measured here and not read from the gate's records: every labelled defect among the set's test images, those
approved included, is scored by the champion and by the challenger, and flagged by the threshold that each was issued.
None that loses more of these than the gate's limits may be live, and the clean one must be.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from agent.retrain import child
from agent.retrain.checking import check
from agent.settings import utc_now
from agent.store import samples
from agent.store.engine import reading
from model.images import GOOD, ImageFolder, LabelledImage
from tests.scenarios.product import ByHand, Wanted
from tests.scenarios.story import Story
from tests.scenarios.verdicts import Compared

ONE_IN = 3
MOST = 40  # images of a batch
NOISE = 2.0  # deviation in grey levels, of a part seen again
FORM = 2  # of what is kept: what was kept in another is played again
BATCHES = {"defects": "other defects", "repeats": "the bank's defects seen again", "clean": "good parts"}
GROUPS = ("in the bank", "approved", "others")  # of labelled defects
Batch = Sequence[LabelledImage]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one batch.

    `caught` are those that the quarantine holds up; `state` and `words` are the run's, and `live` is whether its
    version decides now. `groups` are the labelled defects among the set's test images under champion and challenger:
    those whose part was approved (whether in the bank or not), the others in the bank, and the rest.
    """

    approved: int
    caught: int
    state: str
    words: str
    live: bool
    groups: dict[str, Compared]

    @property
    def defects(self) -> Compared:
        """All of them."""
        return sum(self.groups.values(), Compared())


@dataclass(frozen=True, slots=True)
class Played:
    """One set."""

    outcomes: dict[str, Outcome]


def play(name: str, images: ImageFolder, place: Path, wanted: Wanted, story: Story) -> Played:
    """Plays one set; what is on record under `place` is not played again.

    Raises:
        Broken: the gate promoted a challenger that it must not, or did not promote the clean one.
    """
    kept, asked = place / f"{name}.json", {"form": FORM, **asdict(wanted)}
    played = _kept(kept, asked)
    if played:
        story.step(f"{name}: as played before ({kept})")
    else:
        how = "the patch memory alone" if wanted.memory_share == 1 else f"{wanted.steps} steps"
        story.step(f"{name}: {how} at {wanted.side} px, seed {wanted.seed}")
        played = _Set(images, place / f"{name}.work", wanted, story).play()
        kept.write_text(json.dumps({"asked": asked, "played": asdict(played)}, indent=1))
    tell(played, story)
    return played


def _kept(path: Path, asked: dict[str, Any]) -> Played | None:
    found = json.loads(path.read_text()) if path.exists() else {}
    if found.get("asked") != asked:
        return None
    return Played({batch: _outcome(one) for batch, one in found["played"]["outcomes"].items()})


def _outcome(kept: dict[str, Any]) -> Outcome:
    return Outcome(**{**kept, "groups": {group: Compared(**one) for group, one in kept["groups"].items()}})


def tell(played: Played, story: Story) -> None:
    """Says what became of each batch.

    Raises:
        Broken: see `play`.
    """
    for batch, one in played.outcomes.items():
        found = one.defects
        told = (f"{some.lost} and {some.won} of {some.total} {who}" for who, some in one.groups.items() if some.total)
        story.note(
            f"{one.approved} x {BATCHES[batch]}, approved: the quarantine holds up {one.caught} "
            f"({one.caught / one.approved:.0%}). Without it: {one.state}. Of all {found.total} labelled defects the "
            f"champion flags {found.before}, the challenger {found.after}; lost and won: {', '.join(told)}"
        )
        if batch == "clean":
            story.check(one.live, f"the clean batch passes the gate ({one.words})")
            continue
        harm = "harmful: more than the limits" if found.harmful else "harmless: no more than the limits"
        went = "it is live" if one.live else f"it is not live ({one.words})"
        story.check(
            not (found.harmful and one.live),
            f"this poison is {harm}, {found.lost} lost and {found.won} won of {found.total}, and {went}",
        )


def compared(
    defects: Batch, bank: Batch, approved: Batch, before: Sequence[bool], after: Sequence[bool]
) -> dict[str, Compared]:
    """By group: each defect is in one, and approved before it is in the bank."""
    places = {one.path: "in the bank" for one in bank} | {one.path: "approved" for one in approved}
    pairs: dict[str, list[tuple[bool, bool]]] = {group: [] for group in GROUPS}
    for one, old, new in zip(defects, before, after, strict=True):
        pairs[places.get(one.path, "others")].append((old, new))
    return {group: Compared.of(flags) for group, flags in pairs.items()}


@dataclass(frozen=True, slots=True)
class _Drawn:
    """What a set is divided into.

    `approved` are test images of the set, by batch; `shown` the pictures of the same parts that are approved.
    """

    good: Batch
    defects: Batch
    bank: Batch
    approved: Mapping[str, Batch]
    shown: Mapping[str, Batch]


@dataclass
class _Set:
    images: ImageFolder
    place: Path
    wanted: Wanted
    story: Story

    def play(self) -> Played:
        shutil.rmtree(self.place, ignore_errors=True)
        self.place.mkdir(parents=True)
        try:
            drawn = self._divided()
            with ByHand(self.place / "start", self.wanted) as one:
                self.story.note(one.teach(drawn.good, drawn.bank, self.story.progress))
                before = one.flags(1, drawn.defects)
            caught = self._quarantined(drawn.shown)
            return Played({name: self._judged(name, drawn, caught[name], before) for name in drawn.shown})
        finally:
            shutil.rmtree(self.place, ignore_errors=True)

    def _divided(self) -> _Drawn:
        """Drawn by the seed."""
        rng = np.random.default_rng((self.wanted.seed, 2))

        def drawn(given: Batch, count: int) -> tuple[list[LabelledImage], list[LabelledImage]]:
            taken = set(rng.permutation(len(given))[:count].tolist())
            return [one for at, one in enumerate(given) if at in taken], [
                one for at, one in enumerate(given) if at not in taken
            ]

        defects = [one for one in self.images.test if one.label != GOOD]
        poison, bank = drawn(defects, min(MOST, len(defects) // ONE_IN))
        again, _ = drawn(bank, min(MOST, len(bank) // ONE_IN))
        clean, _ = drawn([one for one in self.images.test if one.label == GOOD], len(poison))
        good, _ = drawn(self.images.train_good, self.wanted.good)
        approved = {"defects": poison, "repeats": again, "clean": clean}
        shown = {**approved, "repeats": [self._again(one, rng) for one in again]}
        return _Drawn(good, defects, bank, approved, shown)

    def _again(self, image: LabelledImage, rng: np.random.Generator) -> LabelledImage:
        """The same part in another picture."""
        frame = image.frame().astype(np.float64)
        shot = np.clip(frame + rng.normal(0, NOISE, frame.shape), 0, 255).astype(np.uint8)
        path = self.place / f"again-{image.label}-{image.path.stem}.png"
        path.write_bytes(cv2.imencode(".png", cv2.cvtColor(shot, cv2.COLOR_RGB2BGR))[1].tobytes())
        return LabelledImage(path, image.label)

    def _quarantined(self, batches: Mapping[str, Batch]) -> dict[str, int]:
        with self._copy("quarantine") as one:
            proposed = {name: one.approve(batch) for name, batch in batches.items()}
            check(one.engine, one.settings, utc_now, threads=child.threads())
            with reading(one.engine) as conn:
                held = {sample.id for sample in samples.all(conn, one.product.id, "train", state="quarantined")}
        return {name: len(held.intersection(ids)) for name, ids in proposed.items()}

    def _judged(self, name: str, drawn: _Drawn, caught: int, before: Sequence[bool]) -> Outcome:
        shown = drawn.shown[name]
        with self._copy(name, quarantine=False, new_share=1.0, reviewer_share=1.0) as one:
            one.approve(shown)
            result = one.train(self.story.progress)
            self.story.note(f"{name}: {result.state} after {result.seconds:.0f} s")
            live, after = one.live() == result.number, one.flags(result.number, drawn.defects)
        found = compared(drawn.defects, drawn.bank, drawn.approved[name], before, after)
        return Outcome(len(shown), caught, result.state, result.reason, live, found)

    def _copy(self, name: str, **rules: Any) -> ByHand:
        shutil.copytree(self.place / "start", self.place / name)
        return ByHand(self.place / name, self.wanted, **rules)
