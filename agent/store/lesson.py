"""What people see of a product that is being taught: its parts, what agents did of late, and what comes next."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Connection

from agent.phrases import Phrase, word
from agent.store import calibration, certificates, commands, registry, runs, teachings
from agent.store.calibration import Calibrator
from agent.store.commands import Command
from agent.store.registry import ModelVersion
from agent.store.runs import TrainingRun
from agent.store.teachings import Left, Teaching, View

NO_REASON = Phrase("no reason given")


@dataclass(frozen=True, slots=True)
class Lesson:
    """A teaching as it stands.

    `views` are the frames of the set, the oddest first; `left` those taken out as defects. `look` and `run` are the
    last ones; `version` is the candidate that the run left. `problem` is what kept an agent from what it was asked for.
    """

    teaching: Teaching
    collected: int  # parts
    views: Sequence[View]
    left: Sequence[Left]
    look: Command | None
    run: TrainingRun | None
    version: ModelVersion | None
    problem: str | None

    @property
    def looked(self) -> bool:
        """Whether every frame of the set was looked through."""
        return bool(self.views) and all(view.oddness is not None for view in self.views)

    @property
    def may_train(self) -> bool:
        """Whether an agent may be asked to train now."""
        again = self.run is not None and self.run.state not in runs.UNFINISHED
        return (self.teaching.state == "looking" and self.looked) or (self.teaching.state == "training" and again)

    @property
    def words(self) -> str:
        """One line: how far it is, and who is to do what."""
        n = self.collected
        if self.problem:
            return self.problem
        match self.teaching.state:
            case "collecting":
                return Phrase("{n} of {wanted} parts are collected", n=n, wanted=self.teaching.parts)
            case "looking" if not self.looked:
                return Phrase("{n} parts are there; an agent looks through them", n=n)
            case "looking":
                return Phrase("{n} parts are sorted, the oddest first: take out what is a defect, then train", n=n)
            case "training" if self.version:
                return Phrase(
                    "v{number} is trained and certified: look at the calibration images that scored highest, then "
                    "promote it",
                    number=self.version.number,
                )
            case "training" if self.run and self.run.state == "running":
                phase, step, steps = word(self.run.phase or "starting"), self.run.step, self.run.steps
                return Phrase("run {id}: {phase} {step}/{steps}", id=self.run.id, phase=phase, step=step, steps=steps)
            case "training":
                return Phrase("an agent was asked to train")
            case "done":
                return Phrase("its model is live")
        return word("cancelled")


def find(conn: Connection, product_id: int) -> Lesson | None:
    """The product's teaching; None where it never was taught from the stream."""
    teaching = teachings.find(conn, product_id)
    if teaching is None:
        return None
    look = commands.of_product(conn, teachings.LOOK, product_id)
    asked = _asked(conn, product_id)
    run = next((one for one in runs.all(conn, product_id) if _of(teaching, one)), None)
    found = registry.versions(conn, product_id) if run else []
    version = next((one for one in found if run and one.training_run_id == run.id and one.state == "candidate"), None)
    return Lesson(
        teaching=teaching,
        collected=teachings.count(conn, product_id),
        views=teachings.views(conn, product_id),
        left=teachings.left(conn, teaching),
        look=look,
        run=run,
        version=version,
        problem=_problem(teaching, look, asked, run),
    )


def top_calibration(conn: Connection, version_id: int) -> list[Calibrator]:
    """The calibration parts that a version scored highest, as many as are to be looked at before it goes live."""
    issued = certificates.of_version(conn, version_id)
    k, unit = (issued[0].record["review_k"], issued[0].record["unit"]) if issued else (0, "frame")
    return calibration.top(conn, version_id, calibration.worth_a_look(k), unit)


def _of(teaching: Teaching, run: TrainingRun) -> bool:
    return run.trigger == teachings.TRIGGER and run.created_at >= teaching.started_at


def _asked(conn: Connection, product_id: int) -> Command | None:
    found = commands.of_product(conn, "retrain", product_id)
    return found if found and found.args.get("trigger") == teachings.TRIGGER else None


def _problem(teaching: Teaching, look: Command | None, asked: Command | None, run: TrainingRun | None) -> str | None:
    if not teaching.unfinished:
        return None
    if teaching.state == "looking" and look and look.state == "failed" and _since(look, asked):
        return Phrase("the parts could not be looked through: {problem}", problem=look.problem or NO_REASON)
    if teaching.state == "looking" and asked and asked.state == "failed" and asked.created_at >= teaching.started_at:
        return Phrase("the parts cannot be trained on: {problem}", problem=asked.problem or NO_REASON)
    if teaching.state == "training" and run and run.state in ("failed", "cancelled"):
        if run.state == "failed":
            return Phrase("run {id} failed: {why}", id=run.id, why=run.told)
        return Phrase("run {id} was cancelled: {why}", id=run.id, why=run.told)
    return None


def _since(look: Command, asked: Command | None) -> bool:
    return asked is None or look.id > asked.id
