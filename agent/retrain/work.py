"""The work of one run, from its frozen snapshot to the transaction that records the verdict."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from time import monotonic

import structlog
from sqlalchemy import Engine

from agent.failpoints import passing
from agent.retrain import checkpoints, comparison, freezing, gate, learning, roles
from agent.retrain.comparison import Lists, Scores
from agent.retrain.errors import RetrainError
from agent.retrain.holding import Holding
from agent.retrain.learning import Start
from agent.retrain.progress import OnProgress, Stage
from agent.retrain.record import Candidate, Judged, Outcome, record
from agent.retrain.result import RunResult
from agent.retrain.scoring import open_scorer, training_settings
from agent.settings import Settings
from agent.store import blobs as blob_store
from agent.store import epochs, products, registry, runs, samples
from agent.store.blobs import BlobCorrupt, BlobMissing, BlobStore
from agent.store.engine import reading, writing
from agent.store.products import Product
from agent.store.runs import TrainingRun
from agent.store.samples import Sample, Snapshot
from model import artifact as artifacts
from model import images, metrics
from model.artifact import ArtifactError, ArtifactOlder
from model.certificate import certify
from model.checkpoint import Keep
from model.training import TrainingSettings

ARTIFACT_TYPE = "application/vnd.safetensors"

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Bench:
    """What a run works with. `threads` limits training and scoring; 0 = all cores."""

    engine: Engine
    blobs: BlobStore
    settings: Settings
    clock: Callable[[], datetime]
    threads: int = 0


def work(bench: Bench, run: TrainingRun, holding: Holding, on_progress: OnProgress) -> RunResult:
    """Does a run: snapshot, training, certificate, comparison, and one transaction that records all of it.

    Raises:
        Cancelled: a person ended it.
        Interrupted: this process must let go of it.
        RetrainError, model errors, StoreError: it failed; no version was recorded.
    """
    began = monotonic()
    product, snapshot, run = _freeze(bench, run)
    passing("train.frozen")
    candidate = _candidate(bench, run, product, snapshot, on_progress)
    judged = _judge(bench, product, Lists.of(snapshot), candidate, on_progress)
    passing("train.verdict")
    with writing(bench.engine) as conn:
        found = record(
            conn, run, holding, Outcome(product, snapshot, candidate, judged),
            settings=bench.settings, now=bench.clock(),
        )  # fmt: skip
    passing("train.recorded")
    number = found.version.number
    log.info("training_ended", product=product.name, run=run.id, version=number, state=found.state, reason=found.reason)
    return RunResult(
        run.id, product.name, found.state, found.reason, found.version.id, number,
        candidate.certificate, judged.report, found.deployment_id, monotonic() - began, found.rests_on,
    )  # fmt: skip


def _freeze(bench: Bench, run: TrainingRun) -> tuple[Product, Snapshot, TrainingRun]:
    """What the run trains on, and from which weights: as its first attempt froze them."""
    certificates, now = bench.settings.certificate, bench.clock()
    with writing(bench.engine) as conn:
        product = products.get(conn, run.product_id)
        epoch = epochs.calibrating(conn, product.id, epochs.asked(product, certificates))
        if run.snapshot_id is None:
            snapshot, held = freezing.freeze(conn, bench.settings, product, now)
            parent = freezing.choose_parent(conn, bench.settings, run)
            held_back = {"samples": len(held.ids), "words": held.words}
            runs.note(conn, run.id, parent=parent, held_back=held_back)
        else:
            snapshot = samples.snapshot(conn, run.snapshot_id)
        runs.start(conn, run.id, snapshot.id, now)
        run = runs.get(conn, run.id)
    lists = Lists.of(snapshot)
    wanted = roles.needs(product.review_rate or certificates.review_rate, certificates.confidence)
    advice = epoch.grows_by if epoch else "import good images"
    warning = roles.check_enough(len(lists.train), lists.units, wanted, advice=advice)
    log.info("training_started", product=product.name, run=run.id, train=len(lists.train),
             calibration=lists.units, attempt=run.attempts, warning=warning, held_back=run.held_back)  # fmt: skip
    return product, snapshot, run


def _candidate(
    bench: Bench, run: TrainingRun, product: Product, snapshot: Snapshot, on_progress: OnProgress
) -> Candidate:
    lists = Lists.of(snapshot)
    wanted = training_settings(bench.settings, teacher=product.teacher, own=product.input, threads=bench.threads)
    load = _loader(bench)
    frames = [(lambda one=sample: load(one)) for sample in lists.train]
    start = _start(bench, run, snapshot, wanted)
    trained = learning.learn(frames, wanted, start, on_progress)
    data = artifacts.to_bytes(trained)
    sha256 = blob_store.keep(bench.engine, bench.blobs, data, ARTIFACT_TYPE, bench.clock())
    scorer = open_scorer(bench.settings, artifacts.from_bytes(data), threads=bench.threads)
    units = len(lists.calibration) + len(lists.holdout) + len(lists.defects)
    stage = Stage("calibrating", units, on_progress)
    by_image = comparison.score_images(scorer, lists.calibration, load, stage)
    scores = comparison.units(lists.calibration, by_image, lists.unit)
    with reading(bench.engine) as conn:
        look = 1 + registry.looks(conn, epoch_id=snapshot.epoch_id)
    certificates = bench.settings.certificate
    certificate = certify(
        scores,
        artifact_sha256=sha256,
        calibration_sha256=snapshot.role_sha256("calibration"),
        fingerprint=scorer.fingerprint,
        review_rate=product.review_rate or certificates.review_rate,
        reject_rate=certificates.reject_rate,
        confidence=certificates.confidence,
        look=look,
        unit=lists.unit,
    )
    holdout, defects = comparison.score_rest(scorer, lists, load, stage)
    return Candidate(
        trained, sha256, certificate, Scores(scores, holdout, defects), _metrics(scores, defects),
        images=dict(zip((one.id for one in lists.calibration), by_image, strict=True)),
        parent_id=run.settings["parent"] if start.parent else None,
    )  # fmt: skip


def _start(bench: Bench, run: TrainingRun, snapshot: Snapshot, wanted: TrainingSettings) -> Start:
    kept = bench.settings.retrain
    try:
        path = checkpoints.path_of(kept.directory, run.id, snapshot)
    except OSError as error:
        raise RetrainError(f"retrain.directory {kept.directory}: cannot be made ({error.strerror})") from None
    with reading(bench.engine) as conn:
        unfinished = {one.id for one in runs.running(conn)}
    checkpoints.sweep(kept.directory, unfinished)
    parent = learning.load_parent(bench.engine, bench.blobs, run.settings.get("parent"), wanted)
    return Start(Keep(path, kept.checkpoint_s, after=True), parent)


def _metrics(normals: tuple[float, ...], defects: tuple[float, ...]) -> dict[str, float]:
    if not defects or not all(map(math.isfinite, defects)):
        return {}
    labels = [0] * len(normals) + [1] * len(defects)
    return {"bank_image_auroc": metrics.image_auroc(labels, [*normals, *defects]), "bank_defects": len(defects)}


def _loader(bench: Bench) -> Callable[[Sample], images.Frame]:
    limit = bench.settings.pipeline.max_megapixels

    def load(sample: Sample) -> images.Frame:
        try:
            return images.decode(bench.blobs.get(sample.blob_sha256), max_megapixels=limit)
        except (images.ImageError, BlobMissing, BlobCorrupt) as error:
            raise RetrainError(f"sample {sample.id} cannot be read: {error}; take it out: {_out(sample)}") from error

    return load


def _out(sample: Sample) -> str:
    if sample.role == "train":
        return f"goodpart samples revoke {sample.id}"
    group = "bank" if sample.role == "defect" else "samples"
    return f"goodpart {group} withdraw {sample.id} --reason unreadable, and a second person confirms"


def _judge(bench: Bench, product: Product, lists: Lists, candidate: Candidate, on_progress: OnProgress) -> Judged:
    with reading(bench.engine) as conn:
        champion = registry.live(conn, product.id)
    if champion is None:
        return Judged(None, None)
    try:
        artifact = artifacts.from_bytes(bench.blobs.get(champion.artifact_sha256))
    except ArtifactOlder:
        return Judged(champion, None)
    except (ArtifactError, BlobMissing, BlobCorrupt) as error:
        raise RetrainError(
            f"the champion v{champion.number} cannot be read ({error}); nothing can be held against it: roll back first"
        ) from error
    scorer = open_scorer(bench.settings, artifact, threads=bench.threads)
    load = _loader(bench)
    stage = Stage("comparing", len(lists.calibration) + len(lists.holdout) + len(lists.defects), on_progress)
    by_image = comparison.score_images(scorer, lists.calibration, load, stage)
    calibration = comparison.units(lists.calibration, by_image, lists.unit)
    scores = Scores(calibration, *comparison.score_rest(scorer, lists, load, stage))
    found = comparison.evidence(
        lists, candidate.scores, scores, candidate.certificate, min_defects=bench.settings.gate.min_defects
    )
    return Judged(champion, gate.judge(found))
