"""Scenario 2, poison: labelled defects approved as normal. What the quarantine catches, and what the gate lets pass.

One product a set, in a database of its own: its good training images and labelled defects are imported, a first model
is trained. Then flagged parts are approved as normal, through agent.service, in three batches:

- `defects`: labelled defects that stay out of the bank, one in three of all;
- `repeats`: the same defective parts that the bank holds, seen again (other noise), one in three of the bank;
- `clean`: good test images, which no model has seen.

The quarantine checks all three, as the agent does. Then, without quarantine and caps, each is trained from, each on a
copy of the database of its own, and goes to the gate, whose bank is all the other labelled defects. None that loses
more of these than the gate's limits may go live, and the clean one must.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from agent.retrain import child
from agent.retrain.checking import check
from agent.retrain.gate import LOST_SHARE
from agent.settings import utc_now
from agent.store import samples
from agent.store.engine import reading
from model.images import GOOD, ImageFolder, LabelledImage
from tests.scenarios.product import ByHand, Wanted
from tests.scenarios.story import Story

ONE_IN = 3
MOST = 40  # images of a batch
NOISE = 2.0  # deviation in grey levels, of a part seen again
BATCHES = {"defects": "other defects", "repeats": "the bank's defects seen again", "clean": "good parts"}
Batch = Sequence[LabelledImage]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one batch.

    `caught` are those that the quarantine holds up; `lost` and `won` are defects of the bank; `before` and `after` are
    images of the batch that the champion flags, and that the challenger does.
    """

    approved: int
    caught: int
    state: str
    words: str
    bank: int
    lost: int
    won: int
    before: int
    after: int

    @property
    def beyond(self) -> bool:
        """Whether it loses more of the bank than the gate's limits allow; told from the numbers alone."""
        return self.lost - self.won > max(1.0, LOST_SHARE * self.bank)

    @property
    def promoted(self) -> bool:
        return self.state == "promoted"


@dataclass(frozen=True, slots=True)
class Played:
    """One set; `champion` is how many defects of the bank the first model flags."""

    champion: int
    outcomes: dict[str, Outcome]


def play(name: str, images: ImageFolder, place: Path, wanted: Wanted, story: Story) -> Played:
    """Plays one set; what is on record under `place` is not played again.

    Raises:
        Broken: the gate promoted a challenger that it must not, or did not promote the clean one.
    """
    kept, asked = place / f"{name}.json", asdict(wanted)
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
    outcomes = {batch: Outcome(**one) for batch, one in found["played"]["outcomes"].items()}
    return Played(found["played"]["champion"], outcomes)


def tell(played: Played, story: Story) -> None:
    """Says what became of each batch.

    Raises:
        Broken: see `play`.
    """
    for batch, one in played.outcomes.items():
        story.note(
            f"{one.approved} x {BATCHES[batch]}, approved: the quarantine holds up {one.caught} "
            f"({one.caught / one.approved:.0%}). Without it: {one.state}; of {one.bank} defects in the bank, of which "
            f"the champion flags {played.champion}, {one.lost} are lost and {one.won} won; of those approved "
            f"{one.before} were flagged and {one.after} are then"
        )
        if batch == "clean":
            story.check(one.promoted, f"the clean batch passes the gate ({one.words})")
            continue
        harm = "harmful: it loses more than the gate's limits" if one.beyond else "harmless within the gate's limits"
        went = "it passes" if one.promoted else f"it is not promoted ({one.words})"
        story.check(not (one.beyond and one.promoted), f"this poison is {harm}, and {went}")


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
            good, bank, batches = self._divided()
            with ByHand(self.place / "start", self.wanted) as one:
                self.story.note(one.teach(good, bank, self.story.progress))
                champion = one.flagged(1, bank)
            caught = self._quarantined(batches)
            outcomes = {name: self._judged(name, batch, caught[name]) for name, batch in batches.items()}
            return Played(champion, outcomes)
        finally:
            shutil.rmtree(self.place, ignore_errors=True)

    def _divided(self) -> tuple[Batch, Batch, dict[str, Batch]]:
        """Good ones to learn from, the bank, and the batches; drawn by the seed."""
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
        return good, bank, {"defects": poison, "repeats": [self._again(one, rng) for one in again], "clean": clean}

    def _again(self, image: LabelledImage, rng: np.random.Generator) -> LabelledImage:
        """The same part in another picture."""
        frame = image.frame().astype(np.float64)
        shot = np.clip(frame + rng.normal(0, NOISE, frame.shape), 0, 255).astype(np.uint8)
        path = self.place / f"again-{image.label}-{image.path.stem}.png"
        path.write_bytes(cv2.imencode(".png", cv2.cvtColor(shot, cv2.COLOR_RGB2BGR))[1].tobytes())
        return LabelledImage(path, image.label)

    def _quarantined(self, batches: dict[str, Batch]) -> dict[str, int]:
        with self._copy("quarantine") as one:
            proposed = {name: one.approve(batch) for name, batch in batches.items()}
            check(one.engine, one.settings, utc_now, threads=child.threads())
            with reading(one.engine) as conn:
                held = {sample.id for sample in samples.all(conn, one.product.id, "train", state="quarantined")}
        return {name: len(held.intersection(ids)) for name, ids in proposed.items()}

    def _judged(self, name: str, batch: Batch, caught: int) -> Outcome:
        with self._copy(name, quarantine=False, new_share=1.0, reviewer_share=1.0) as one:
            one.approve(batch)
            result = one.train(self.story.progress)
            assert result.report
            self.story.note(f"{name}: {result.state} after {result.seconds:.0f} s")
            found, after = result.report.evidence.neutral, one.flagged(result.number, batch)
            return Outcome(
                len(batch), caught, result.state, result.reason, found.total, found.lost, found.won,
                one.flagged(1, batch), after,
            )  # fmt: skip

    def _copy(self, name: str, **rules: Any) -> ByHand:
        shutil.copytree(self.place / "start", self.place / name)
        return ByHand(self.place / name, self.wanted, **rules)
