"""The verdict on record: one transaction for version, certificate, gate report, promotion and the end of the run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from sqlalchemy import Connection

from agent.phrases import Phrase
from agent.retrain.comparison import Scores
from agent.retrain.errors import Cancelled
from agent.retrain.gate import Report
from agent.retrain.holding import Holding
from agent.settings import Settings
from agent.store import audit, calibration, certificates, epochs, registry, runs, snapshots, teachings, trends, watches
from agent.store.calibration import Shown
from agent.store.errors import Conflict
from agent.store.products import Product
from agent.store.registry import Deployment, ModelVersion
from agent.store.runs import TrainingRun
from agent.store.snapshots import Snapshot
from model.artifact import Artifact
from model.certificate import Certificate

FIRST = Phrase("first model")


@dataclass(frozen=True, slots=True)
class Candidate:
    """A trained challenger with its certificate and its scores on the snapshot."""

    artifact: Artifact
    artifact_sha256: str
    certificate: Certificate
    scores: Scores
    metrics: dict[str, float]
    images: Mapping[int, float]  # score by calibration sample
    parent_id: int | None  # the version that it started from
    pictures: Mapping[int, Shown] = field(default_factory=dict)  # of the highest ones, by calibration sample


@dataclass(frozen=True, slots=True)
class Judged:
    """How the challenger stands against the deployment that was live when they were compared."""

    champion: Deployment | None
    report: Report | None  # None: no champion, or one of a format that is no longer read


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a run found out, before it is on record."""

    product: Product
    snapshot: Snapshot
    candidate: Candidate
    judged: Judged


@dataclass(frozen=True, slots=True)
class Recorded:
    """The verdict as it stands in the database; `deployment_id` is None where the version was not promoted.

    `rests_on` says in words which epoch the certificate rests on.
    """

    state: str
    reason: str
    version: ModelVersion
    deployment_id: int | None
    rests_on: str


def record(
    conn: Connection, run: TrainingRun, holding: Holding, outcome: Outcome, *, settings: Settings, now: datetime
) -> Recorded:
    """Writes all of a run's outcome under the lease's fencing token, or nothing.

    What passes the gate is promoted, and watched; where shadow.share is set it goes into a shadow first. A first model,
    which no gate can judge, waits for a person where it would decide before anybody has looked at what its thresholds
    rest on: where it was taught from the stream, or a line's frames come already.

    Raises:
        Cancelled: a person ended the run.
        Interrupted: the lease is lost, or this process must let go of the run.
    """
    holding.confirm(conn)
    audit.take_turn(conn)  # before any row, as everybody who changes what decides
    version, certificate_id = _add_version(conn, run, outcome, now)
    state, reason = _verdict(conn, run, outcome)
    live = registry.live(conn, outcome.product.id)
    if state == "promoted" and settings.shadow.share and live and live.certifies:
        state, reason = _shadow(conn, live, version, certificate_id, reason, settings.shadow.share, now)
    report = outcome.judged.report
    if report:
        runs.add_report(
            conn,
            run_id=run.id,
            version_id=version.id,
            verdict=report.verdict,
            words=report.words,
            numbers=report.numbers,
            now=now,
        )
    deployment_id = None
    if state == "promoted":
        deployment_id = registry.promote(
            conn,
            version_id=version.id,
            certificate_id=certificate_id,
            config_hash=settings.decision_hash,
            reason=reason,
            by=None,
            now=now,
            watch_share=settings.watch.share,
        ).id
    elif state == "rejected":
        registry.reject(conn, version.id, reason)
    try:
        runs.close(conn, run.id, state, reason, now)
    except Conflict:
        raise Cancelled("training run {run_id} was ended from outside", run_id=run.id) from None
    epoch_id = outcome.snapshot.epoch_id
    rests_on = "" if epoch_id is None else epochs.get(conn, epoch_id).rests_on
    return Recorded(state, reason, version, deployment_id, rests_on)


def _add_version(conn: Connection, run: TrainingRun, outcome: Outcome, now: datetime) -> tuple[ModelVersion, int]:
    candidate, manifest = outcome.candidate, outcome.candidate.artifact.manifest
    version = registry.add_version(
        conn,
        product_id=outcome.product.id,
        artifact_sha256=candidate.artifact_sha256,
        snapshot_id=outcome.snapshot.id,
        training_run_id=run.id,
        parent_id=candidate.parent_id,
        teacher=manifest.teacher,
        manifest=manifest.to_dict(),
        metrics=candidate.metrics,
        now=now,
    )
    certificate_id = certificates.add(
        conn,
        version_id=version.id,
        snapshot_id=outcome.snapshot.id,
        epoch_id=outcome.snapshot.epoch_id,
        record=candidate.certificate.to_dict(),
        now=now,
    )
    calibration.add_all(conn, version.id, candidate.images, candidate.pictures)
    return version, certificate_id


def _shadow(
    conn: Connection,
    live: Deployment,
    version: ModelVersion,
    certificate_id: int,
    reason: str,
    share: float,
    now: datetime,
) -> tuple[str, str]:
    if before := watches.active(conn, live.product_id):
        words = Phrase("{reason}; it cannot go into a shadow while there is {watch}", reason=reason, watch=before.title)
        return "needs_person", words
    watches.open(
        conn,
        product_id=live.product_id,
        kind="shadow",
        deployment_id=live.id,
        version_id=version.id,
        certificate_id=certificate_id,
        share=share,
        now=now,
    )
    words = Phrase(
        "{reason}; it scores {share:.1%} of the parts beside v{number} before it is promoted",
        reason=reason, share=share, number=live.number,
    )  # fmt: skip
    return "shadow", words


def _verdict(conn: Connection, run: TrainingRun, outcome: Outcome) -> tuple[str, str]:
    """The gate's, unless what the version learnt from or was measured on has changed since, or the stream itself."""
    state, reason = _gate_says(conn, run, outcome)
    frozen, problem = outcome.snapshot, None
    if state == "promoted":
        problem = snapshots.why_not(conn, frozen.id) or epochs.outdated(conn, outcome.product.id, frozen.epoch_id)
    return ("needs_person", problem) if problem else (state, reason)


def _gate_says(conn: Connection, run: TrainingRun, outcome: Outcome) -> tuple[str, str]:
    live, compared = registry.live(conn, outcome.product.id), outcome.judged.champion
    if (live and live.id) != (compared and compared.id):
        words = Phrase("another version became the champion while this one was compared with the one before")
        return "needs_person", words
    report = outcome.judged.report
    if report is None and compared:
        number = compared.number
        words = Phrase("the champion v{number} was made by an older goodpart and can score no more", number=number)
        return "needs_person", words
    if report is None and (_taught(conn, run, outcome.snapshot.epoch_id) or trends.counted(conn, outcome.product.id)):
        many = calibration.worth_a_look(outcome.candidate.certificate.review_k)
        words = Phrase("look at the {n} calibration images that scored highest before it goes live", n=many)
        return "needs_person", words
    if report is None:
        return "promoted", FIRST
    states = {"pass": "promoted", "fail": "rejected", "needs_person": "needs_person"}
    return states[report.verdict], report.reason


def _taught(conn: Connection, run: TrainingRun, epoch_id: int | None) -> bool:
    """Whether a first model rests on parts that nobody has judged yet, whatever started the run."""
    return run.trigger == teachings.TRIGGER or (epoch_id is not None and epochs.get(conn, epoch_id).cause == "teach")
