"""Scenario 1, drift: a new lamp, the alarm, an epoch, approvals, the trigger, the gate, the swap, and what holds then.

A real broker, database, agent and training child; people act through agent.service; the parts are the demo's flanges.
Only the plant's clock is put forward (`tests.scenarios.clock`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from agent.retrain import child
from agent.retrain.importer import import_folder
from agent.retrain.run import train_product
from agent.settings import Settings
from agent.store import alerts, audit, drift, epochs, registry, runs, samples
from agent.store.engine import reading
from agent.store.epochs import Epoch
from agent.store.registry import Deployment
from agent.store.runs import TrainingRun
from model.certificate import Certificate
from model.images import decode
from model.statistics import binomial_tail
from tests.scenarios import people, verdicts
from tests.scenarios.parts import NEW_LAMP, Flanges
from tests.scenarios.people import Reviewed
from tests.scenarios.plant import CHUNK, Plant, Seen, plant, sections
from tests.scenarios.story import Broken, Story
from tests.scenarios.verdicts import Compared

PAUSE_S = 2.0  # between two parts while a model is trained
SWAP_PARTS = 30  # after the promotion, a minute
FOLLOWING = 10_000  # number of the first part under the new certificate
UNLIKELY = 0.001  # of so many flags, were the certificate to hold: then it is refuted


@dataclass(frozen=True, slots=True)
class Size:
    """How much of everything; parts unless said otherwise."""

    side: int = 128  # pixels of the model's input
    steps: int = 50  # of training
    memory_share: float | str = "auto"  # 1: the patch memory alone, in seconds
    review_rate: float = 0.05
    taught: int = 210  # good images, of which 40 % calibrate
    bank: int = 28  # labelled defects
    usual: int = 100  # good ones under the usual lamp
    following: int = 200  # good ones under the new certificate
    defects: int = 28  # of these, and after the alarm; under the usual lamp a quarter
    new_samples: int = 30
    burst: float = 0.5  # audit rate while the certificate has lapsed
    longest: int = 600  # good ones under the new lamp until it is enough


SMALL = Size(side=128, memory_share=1.0, review_rate=0.15, taught=65, bank=14, usual=16, following=40, defects=14,
             new_samples=8, longest=160)  # fmt: skip


def play(folder: Path, bootstrap: str, url: str, *, seed: int, size: Size, story: Story) -> None:
    """Plays it.

    Args:
        folder: empty; for pictures, blobs and checkpoints.
        bootstrap: of a broker without the topics.
        url: of a database without rows.
        seed: of the parts.
        size: how much of everything.
        story: hears of each step.

    Raises:
        Broken: a step did not come.
    """
    given = sections(folder, bootstrap, url)
    given["training"] = {
        "height": size.side,
        "width": size.side,
        "steps": size.steps,
        "memory_share": size.memory_share,
    }
    given["certificate"] = {"review_rate": size.review_rate}
    given["audit"] = {"burst_rate": size.burst}
    given["drift"] = {"opens_epoch": True}
    given["retrain"] |= {"new_samples": size.new_samples, "cooldown_s": 0.0, "settle_s": 0.0}
    with plant(Settings.model_validate(given), Flanges(seed), story) as line:
        Drift(line, size, story, folder).play()


@dataclass
class Drift:
    """The steps, in their order."""

    line: Plant
    size: Size
    story: Story
    folder: Path

    def play(self) -> None:
        first = self._teach()
        with self.line.running():
            usual = self._usual_lamp(first)
            before = self._new_lamp(usual)
            self._reviews()
            self._quarantine()
            epoch = self._admission()
            second = self._training(first)
            self._following(first, second, epoch, before)
            self._books()

    def _teach(self) -> Deployment:
        line, size = self.line, self.size
        self.story.step(f"an engineer teaches the product with {size.taught} good images and {size.bank} defects")
        images = line.flanges.folder(self.folder / "flange", size.taught, size.bank)
        brought = import_folder(
            line.engine, line.blobs, line.settings, line.people.engineer, line.product, images,
            defects=True, now=line.clock(), on_progress=self.story.progress,
        )  # fmt: skip
        self.story.note(brought.describe())
        result = train_product(
            line.engine, line.blobs, line.settings, line.product.id,
            trigger="import", requested_by=line.people.engineer.id, clock=line.clock, threads=child.threads(),
            on_progress=self.story.progress,
        )  # fmt: skip
        self.story.note(result.describe())
        self.story.check(result.promoted, "v1 is live")
        return self._live()

    def _usual_lamp(self, first: Deployment) -> float:
        self.story.step("the usual lamp")
        seen = self.line.inspect(self.line.flanges.mixed(self.size.usual, self.size.defects // 4))
        self._holds(seen, first)
        defects = _defects(seen)
        caught = sum(one.flagged for one in defects)
        self.story.check(2 * caught >= len(defects), f"{caught} of {len(defects)} defects are caught{_missed(seen)}")
        self._drift_has_read()
        self.story.note(f"drift: {self._evidence()}")
        self.story.check(self._cut() is None, "no drift alarm, no new epoch")
        return _share(seen)

    def _new_lamp(self, usual: float) -> float:
        self.story.step("a new lamp: turned by a radian, a fifth brighter")
        seen: list[Seen] = []
        while self._cut() is None:
            if len(seen) >= self.size.longest:
                raise Broken(f"no drift alarm within {len(seen)} parts under the new lamp")
            seen += self.line.inspect(self.line.flanges.good(CHUNK), NEW_LAMP)
            self._drift_has_read()
        cut, share = self._cut(), _share(seen)
        assert cut
        self.story.check(cut.cause == "drift", f"epoch {cut.id} is open within {len(seen)} parts: {cut.words}")
        self.story.check(
            share > self.size.review_rate and share > usual,
            f"the flag rate of good parts rises from {usual:.1%} to {share:.1%}, {self.size.review_rate:.0%} certified",
        )
        self.story.until(lambda: {"drift", "certificate_lapsed"} <= self._alerts(), "alerts of drift and lapse")
        self.story.note("\n".join(f"alert {one.kind}: {one.words}" for one in self._standing()))
        return share

    def _reviews(self) -> None:
        line, size, needed = self.line, self.size, self._needed()
        self.story.step(
            f"operators review until {needed} audited parts can calibrate and {size.new_samples} normals are proposed "
            f"(audit rate {line.settings.audit.rate:.0%} -> {size.burst:.0%})"
        )
        defects, total, seen = size.defects, Reviewed(), 0
        # What was flagged before the alarm is of the epoch before, but may train.
        while total.audit_normal < 1.2 * needed or total.flagged_normal < 2 * size.new_samples or defects:
            if seen >= size.longest:
                raise Broken(f"not enough within {seen} parts: {total}")
            some = min(defects, 4)
            found = line.inspect(line.flanges.mixed(CHUNK, some), NEW_LAMP)
            defects, seen, total = defects - some, seen + len(found), total + people.review(line)
        self.story.note(
            f"of {seen} parts since the alarm and the flagged ones before: {total.audit_normal} audited normals, "
            f"{total.audit_defect} audited defects, {total.flagged_normal} false alarms approved, "
            f"{total.flagged_defect} flagged defects confirmed"
        )

    def _quarantine(self) -> None:
        line = self.line
        self.story.step("the quarantine compares the approved normals with the defect bank")
        self.story.until(lambda: people.waiting(line) == 0, "the quarantine check")
        clear, held = self._approved("accepted"), self._approved("quarantined")
        first = people.second_look(line, all=False)
        self.story.note(f"{clear} clear, {held} held up; an engineer looks at {first} of these and accepts them")
        self.story.until(lambda: not people.to_compare_again(line), "the second quarantine check")
        rest = people.second_look(line, all=True)
        self.story.check(
            rest <= (held - first) / 2,
            f"of the other {held - first}, compared with these, {rest} are still held up; he accepts them too",
        )

    def _approved(self, state: str) -> int:
        with reading(self.line.engine) as conn:
            found = samples.all(conn, self.line.product.id, "train", state=state)
        return sum(one.origin == "flagged" for one in found)

    def _admission(self) -> Epoch:
        line, needed = self.line, self._needed()
        self.story.step("the day ends: every drawn part is decided, so the window's good ones calibrate")
        line.clock.put_to(8)
        cut = self._cut()
        assert cut
        self.story.until(lambda: self._calibrating(cut) > 0, "the admission of the audit window")
        with reading(line.engine) as conn:
            held = epochs.held(conn, line.product.id)[cut.id]
        self.story.check(
            held.calibration >= needed,
            f"epoch {cut.id} has {held.calibration} calibration and {held.holdout} hold-out parts, {needed} needed",
        )
        return cut

    def _training(self, first: Deployment) -> Deployment:
        line = self.line
        self.story.step("the trigger fires; the line runs on during the training")
        seen: list[Seen] = []
        self.story.until(lambda: len(self._runs()) > 1, "a training run")
        run = self._runs()[0]
        self.story.check(run.trigger == "samples", f"run {run.id} was started by new samples, in a child process")
        while self._runs()[0].state in runs.UNFINISHED:
            seen += line.inspect(line.flanges.good(1), NEW_LAMP)
            self.story.rest(PAUSE_S)
        run = self._runs()[0]
        self.story.note(run.held_back or "no sample is held back by the caps")
        with reading(line.engine) as conn:
            report = runs.report_of(conn, run.id)
        self.story.note(f"gate: {report.words if report else 'no report'}")
        self.story.check(run.state == "promoted", f"the challenger passes the gate and is promoted ({run.reason})")
        second = self._live()
        at_most = len(seen) + SWAP_PARTS
        while not any(one.deployment_id == second.id for one in seen):
            if len(seen) >= at_most:
                raise Broken(f"the agent has not taken v{second.number} within {SWAP_PARTS} parts")
            seen += line.inspect(line.flanges.good(1), NEW_LAMP)
            self.story.rest(PAUSE_S)
        old = sum(one.deployment_id == first.id for one in seen)
        self.story.check(
            old + sum(one.deployment_id == second.id for one in seen) == len(seen),
            f"the agent swaps live: of {len(seen)} parts meanwhile v1 decided {old}, then v{second.number}",
        )
        return second

    def _following(self, first: Deployment, second: Deployment, epoch: Epoch, before: float) -> None:
        line, size = self.line, self.size
        self.story.step("the following parts, under the new certificate")
        assert second.certificate
        certificate = Certificate.from_dict(second.certificate)
        self.story.note(certificate.describe(epoch.rests_on))
        line.flanges.made = FOLLOWING  # the same parts, however many came by meanwhile
        seen = line.inspect(line.flanges.mixed(size.following, size.defects), NEW_LAMP)
        self.story.check(all(one.deployment_id == second.id for one in seen), f"v{second.number} decides them all")
        self._holds(seen, second)
        self.story.check(
            _share(seen) < before, f"the flag rate of good parts falls from {before:.1%} to {_share(seen):.1%}"
        )
        self._still_caught(first, seen)
        self.story.until(lambda: "certificate_lapsed" not in self._alerts(), "the end of the alert of the lapse")

    def _books(self) -> None:
        self.story.step("the books")
        problems = self.line.problems()
        self.story.check(not problems, "; ".join(problems) or f"{len(self.line.frames)} frames, one decision each")
        with reading(self.line.engine) as conn:
            broken = audit.verify(conn)
        self.story.check(broken is None, "the audit trail is whole")

    def _holds(self, seen: Sequence[Seen], live: Deployment) -> None:
        assert live.certificate
        rate, n = float(live.certificate["certified_review_rate"]), int(live.certificate["n"])
        good = [one for one in seen if one.part.kind is None]
        flagged = sum(one.flagged for one in good)
        self.story.check(
            binomial_tail(flagged, len(good), rate) > UNLIKELY,
            f"the certificate of v{live.number} (n = {n}, at most {rate:.1%}) holds: "
            f"{flagged} of {len(good)} good parts are flagged",
        )

    def _still_caught(self, first: Deployment, seen: Sequence[Seen]) -> None:
        """Compared with what the first model says of the same defects under the lamp that it knew."""
        line, defects = self.line, _defects(seen)
        assert first.certificate
        shots = line.flanges.shots([one.part for one in defects])
        before = verdicts.flags(
            line.settings, line.blobs, first.artifact_sha256, first.certificate, (decode(shot) for _, shot in shots)
        )
        found = Compared.of(zip(before, (one.flagged for one in defects), strict=True))
        self.story.check(
            found.still_caught,
            f"{found.after} of {found.total} defects are caught{_missed(seen)}; under the usual lamp v{first.number} "
            f"catches {found.before} of the same: {found.lost} are lost and {found.won} won (by chance so many "
            f"lost or more: {found.chance:.1%})",
        )

    def _live(self) -> Deployment:
        with reading(self.line.engine) as conn:
            found = registry.live(conn, self.line.product.id)
        assert found
        return found

    def _cut(self) -> Epoch | None:
        with reading(self.line.engine) as conn:
            return next((one for one in epochs.of_product(conn, self.line.product.id) if one.cuts), None)

    def _needed(self) -> int:
        return epochs.asked(self.line.product, self.line.settings.certificate)

    def _calibrating(self, epoch: Epoch) -> int:
        with reading(self.line.engine) as conn:
            held = epochs.held(conn, self.line.product.id).get(epoch.id)
        return held.calibration if held else 0

    def _runs(self) -> list[TrainingRun]:
        self.line.check()
        with reading(self.line.engine) as conn:
            return runs.all(conn, self.line.product.id)

    def _standing(self) -> list[alerts.Alert]:
        with reading(self.line.engine) as conn:
            return alerts.standing(conn)

    def _alerts(self) -> set[str]:
        return {one.kind for one in self._standing()}

    def _evidence(self) -> str:
        with reading(self.line.engine) as conn:
            (one,) = drift.all(conn, self.line.product.id)
        return f"evidence of change {one.evidence} after {one.n} parts"

    def _drift_has_read(self) -> None:
        """All that was inspected until now, or has cut."""

        def read() -> bool:
            self.line.check()
            with reading(self.line.engine) as conn:
                last = max((one.event_at for one in drift.positions(conn).values()), default=None)
            return self._cut() is not None or last == self.line.last_at

        self.story.until(read, "the drift watch's turn", 30)


def _share(seen: Sequence[Seen]) -> float:
    """Of good parts that are flagged."""
    good = [one for one in seen if one.part.kind is None]
    return sum(one.flagged for one in good) / len(good)


def _defects(seen: Sequence[Seen]) -> list[Seen]:
    return [one for one in seen if one.part.kind is not None]


def _missed(seen: Sequence[Seen]) -> str:
    missed = ", ".join(f"{one.part.kind} {one.part.strength:.2f}" for one in _defects(seen) if not one.flagged)
    return f" (missed, with strength: {missed})" if missed else ""
