"""Scenario 2, poison: labelled defects approved as normal. What the quarantine catches, and what the gate lets pass.

One product a set, in a database of its own: good training images and labelled defects are imported, a first model is
trained. Then flagged parts are approved as normal, through agent.service, in batches:

- `defects`: labelled defects that stay out of the bank, one in three of all;
- `repeats`: the same defective parts that the bank holds, seen again (other noise), one in three of the bank;
- `cleared` and `cleared_repeats`: of these two what the quarantine finds clear, by mistake;
- `clean`: good training images that were not imported, so like those that calibrate;
- `unlike`: good test images, which may look different, one in three of them; against the old certificate;
- `epoch`: the same, once an engineer has opened an epoch and the other good test images were drawn for its audit.

The quarantine checks them, as the agent does. Then, without caps, each is trained from, each on a copy of the database
of its own, and goes to the gate, whose bank is all the labelled defects but `defects`: the two of defects without the
quarantine, the others with it. An engineer accepts what it held up of good parts, and nothing of the defects. The line
has inspected INSPECTED parts meanwhile, of which so few approvals are nothing that the gate could wonder at.

Harm is measured here and not read from the gate's records: every labelled defect among the set's test images, those
approved included, is scored by the champion and by the challenger, and flagged by the threshold that each was issued.
The gate cuts both at one place of one calibration set, so that an epoch, whose own good parts move the threshold, may
pass it and still flag fewer defects: harm is said of each batch. None of defects that loses more of these than the
gate's limits may be live without the quarantine; whether one is that learnt what the quarantine clears is only said,
since of defects that quarantine and bank both miss nothing is promised. `clean` must be live, or left to a person, and
`epoch` must be live where `unlike` is not: what passes on the old certificate asks for no epoch.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from agent.retrain import child
from agent.retrain.checking import check
from agent.settings import utc_now
from agent.store import epochs, samples
from agent.store.engine import reading
from model.images import GOOD, ImageFolder, LabelledImage
from tests.scenarios.product import ByHand, Wanted
from tests.scenarios.story import Broken, Story
from tests.scenarios.verdicts import Compared

ONE_IN = 3
MOST = 40  # images of a batch
NOISE = 2.0  # deviation in grey levels, of a part seen again
INSPECTED = 1000  # parts, while a batch was approved
FORM = 6  # of what is kept: what was kept in another is played again
BATCHES = {
    "defects": "other defects",
    "repeats": "the bank's defects seen again",
    "clean": "good parts like those that calibrate",
    "unlike": "good test images",
    "epoch": "good test images",
}
AFTER = {"unlike": ", on the old certificate", "epoch": ", in an epoch of their own"}
POISON = {"defects", "repeats"}
CLEARED = {"cleared": "defects", "cleared_repeats": "repeats"}  # of which poison each is what the quarantine clears
GOODS = BATCHES.keys() - POISON
ORDER = ("defects", "cleared", "repeats", "cleared_repeats", "clean", "unlike", "epoch")
GROUPS = ("in the bank", "approved", "others")  # of labelled defects
Batch = Sequence[LabelledImage]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one batch.

    `caught` are those that the quarantine holds up; `state` and `words` are the run's, and `live` is whether its
    version decides now. `told` is what the gate says of newly approved normals. `groups` are the labelled defects among
    the set's test images under champion and challenger: those whose part was learnt from (whether in the bank or not),
    the others in the bank, and the rest.
    """

    approved: int
    caught: int
    state: str
    words: str
    live: bool
    told: str
    groups: dict[str, Compared]

    @property
    def cleared(self) -> int:
        """Those that the quarantine lets through."""
        return self.approved - self.caught

    @property
    def defects(self) -> Compared:
        """All of them."""
        return sum(self.groups.values(), Compared())


@dataclass(frozen=True, slots=True)
class Played:
    """One set; `words` are what importing, training and auditing said."""

    outcomes: dict[str, Outcome]
    words: tuple[str, ...] = ()


def play(name: str, images: ImageFolder, place: Path, wanted: Wanted, story: Story) -> Played:
    """Plays one set; what is on record under `place` is not played again.

    Raises:
        Broken: the gate promoted a challenger that it must not, or did not promote one that it must.
    """
    kept, asked = place / f"{name}.json", {"form": FORM, **asdict(wanted)}
    how = "the patch memory alone" if wanted.memory_share == 1 else f"{wanted.steps} steps"
    story.step(f"{name}: {how} at {wanted.side} px, seed {wanted.seed}")
    played = _kept(kept, asked)
    if played:
        story.aside(f"as played before ({kept})")
    else:
        played = _Set(images, place / f"{name}.work", wanted, story).play()
        kept.write_text(json.dumps({"asked": asked, "played": asdict(played)}, indent=1))
    tell(played, story)
    return played


def _kept(path: Path, asked: dict[str, Any]) -> Played | None:
    found = json.loads(path.read_text()) if path.exists() else {}
    if found.get("asked") != asked:
        return None
    played = found["played"]
    return Played({batch: _outcome(one) for batch, one in played["outcomes"].items()}, tuple(played["words"]))


def _outcome(kept: dict[str, Any]) -> Outcome:
    return Outcome(**{**kept, "groups": {group: Compared(**one) for group, one in kept["groups"].items()}})


def tell(played: Played, story: Story) -> None:
    """Says what became of each batch, of all before it breaks.

    Raises:
        Broken: see `play`.
    """
    for words in played.words:
        story.note(words)
    broken = []
    for batch, one in played.outcomes.items():
        try:
            _tell(batch, one, story, helped=batch == "epoch" and _live(played, "unlike"))
        except Broken as error:
            broken.append(str(error))
    if broken:
        raise Broken("; ".join(broken))


def _tell(batch: str, one: Outcome, story: Story, *, helped: bool) -> None:
    """Of one batch; where it is `helped` already, it need not pass."""
    found = one.defects
    told = (f"{some.lost} and {some.won} of {some.total} {who}" for who, some in one.groups.items() if some.total)
    story.note(
        f"{_played(batch, one)}: {one.state}. Of all {found.total} labelled defects the champion flags {found.before}, "
        f"the challenger {found.after}; lost and won: {', '.join(told)}"
    )
    harm = "harmful: more than the limits" if found.harmful else "harmless: no more than the limits"
    harm = f"{harm}, {found.lost} lost and {found.won} won of {found.total}"
    went = "it is live" if one.live else f"it is not live ({one.words})"
    if batch in CLEARED:
        story.note(f"what is cleared by mistake is {harm}, and {went}")
        return
    if batch in POISON:
        story.note(one.told)
        story.check(not (found.harmful and one.live), f"this poison is {harm}, and {went}")
        return
    if one.live:
        story.note(f"under its own certificate it is {harm}")
    if batch == "unlike" or helped:
        story.note(f"the gate says: {one.words}")
    else:
        how = "passes the gate" if one.live else "is not rejected: the gate asks a person"
        waits = batch == "clean" and one.state == "needs_person"
        story.check(one.live or waits, f"this clean batch {how} ({one.words})")


def _played(batch: str, one: Outcome) -> str:
    """What was approved, and what of it was trained from."""
    if batch in CLEARED:
        return f"The {one.approved} {BATCHES[CLEARED[batch]]} that the quarantine clears, trained from alone"
    without = "Without it" if batch in POISON else "With these accepted by a second person"
    by_mistake = f" and clears {one.cleared} by mistake" if batch in POISON else ""
    return (
        f"{one.approved} x {BATCHES[batch]}, approved{AFTER.get(batch, '')}: the quarantine holds up {one.caught} "
        f"({one.caught / one.approved:.0%}){by_mistake}. {without}"
    )


def _live(played: Played, batch: str) -> bool:
    return batch in played.outcomes and played.outcomes[batch].live


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

    `approved` are images of the set, by batch; `shown` the pictures of the same parts that are approved; `audited` are
    drawn for the audit of the epoch.
    """

    good: Batch
    defects: Batch
    bank: Batch
    approved: Mapping[str, Batch]
    shown: Mapping[str, Batch]
    audited: Batch

    def cleared(self, name: str, poison: str, held: Sequence[bool]) -> _Drawn:
        """With one batch more: what is not held up of a poison."""

        def clear(images: Batch) -> Batch:
            return [one for one, caught in zip(images, held, strict=True) if not caught]

        return replace(
            self,
            approved={**self.approved, name: clear(self.approved[poison])},
            shown={**self.shown, name: clear(self.shown[poison])},
        )


@dataclass
class _Set:
    images: ImageFolder
    place: Path
    wanted: Wanted
    story: Story
    words: list[str] = field(default_factory=list)

    def play(self) -> Played:
        shutil.rmtree(self.place, ignore_errors=True)
        self.place.mkdir(parents=True)
        try:
            drawn = self._divided()
            with ByHand(self.place / "start", self.wanted) as one:
                self.words.append(one.teach(drawn.good, drawn.bank, self.story.progress))
                before = one.flags(1, drawn.defects)
            held = self._quarantined(drawn.shown)
            for cleared, poison in CLEARED.items():
                drawn = drawn.cleared(cleared, poison, held[poison])
            names = [name for name in ORDER if drawn.shown[name]]
            outcomes = {name: self._judged(name, drawn, sum(held.get(name, [])), before) for name in names}
            return Played(outcomes, tuple(self.words))
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
        clean, rest = drawn(self.images.train_good, len(poison))
        good, _ = drawn(rest, self.wanted.good)
        unlike, audited = drawn(others := [one for one in self.images.test if one.label == GOOD], len(others) // ONE_IN)
        approved = {"defects": poison, "repeats": again, "clean": clean, "unlike": unlike, "epoch": unlike}
        shown = {**approved, "repeats": [self._again(one, rng) for one in again]}
        return _Drawn(good, defects, bank, approved, shown, audited)

    def _again(self, image: LabelledImage, rng: np.random.Generator) -> LabelledImage:
        """The same part in another picture."""
        frame = image.frame().astype(np.float64)
        shot = np.clip(frame + rng.normal(0, NOISE, frame.shape), 0, 255).astype(np.uint8)
        path = self.place / f"again-{image.label}-{image.path.stem}.png"
        path.write_bytes(cv2.imencode(".png", cv2.cvtColor(shot, cv2.COLOR_RGB2BGR))[1].tobytes())
        return LabelledImage(path, image.label)

    def _quarantined(self, batches: Mapping[str, Batch]) -> dict[str, list[bool]]:
        """By batch: which are held up."""
        with self._copy("quarantine") as one:
            proposed = {name: one.approve(batch) for name, batch in batches.items() if name != "epoch"}
            check(one.engine, one.settings, utc_now, threads=child.threads())
            with reading(one.engine) as conn:
                held = {sample.id for sample in samples.all(conn, one.product.id, "train", state="quarantined")}
        found = {name: [one in held for one in ids] for name, ids in proposed.items()}
        return {**found, "epoch": found["unlike"]}

    def _judged(self, name: str, drawn: _Drawn, caught: int, before: Sequence[bool]) -> Outcome:
        shown = drawn.shown[name]
        with self._copy(name, quarantine=name not in POISON, new_share=1.0, reviewer_share=1.0) as one:
            if name == "epoch":
                one.open_epoch("parts of another kind")
            one.inspect(INSPECTED)
            one.approve(shown)
            if name not in POISON:
                check(one.engine, one.settings, one.now, threads=child.threads())
            if name in GOODS:
                one.accept_held()
            if name == "epoch":
                self.words.append(self._audited(one, drawn.audited))
            result = one.train(self.story.progress)
            self.story.aside(f"{name}: {result.state} after {result.seconds:.0f} s")
            live, after = one.live() == result.number, one.flags(result.number, drawn.defects)
        assert result.report
        told = "; ".join(one.words for one in result.report.findings if one.check in ("approved", "unchecked"))
        found = compared(drawn.defects, drawn.bank, drawn.approved[name], before, after)
        return Outcome(len(shown), caught, result.state, result.reason, live, told, found)

    def _audited(self, one: ByHand, batch: Batch) -> str:
        held, needed = one.audit(batch), epochs.asked(one.product, one.settings.certificate)
        return (
            f"epoch: of {len(batch)} audited good test images {held.calibration} calibrate and {held.holdout} are held "
            f"out; {self.wanted.review_rate:.0%} needs {needed}"
        )

    def _copy(self, name: str, **rules: Any) -> ByHand:
        shutil.copytree(self.place / "start", self.place / name)
        return ByHand(self.place / name, self.wanted, **rules)
