"""The work of one run, from its frozen snapshot to the transaction that records the verdict."""

from __future__ import annotations

import math
from time import monotonic

import structlog

from agent.failpoints import passing
from agent.phrases import Phrase, kept
from agent.retrain import champion, checkpoints, comparison, freezing, learning, normals, roles, showing
from agent.retrain.bench import Bench
from agent.retrain.comparison import Lists, Scores
from agent.retrain.errors import RetrainError
from agent.retrain.holding import Holding
from agent.retrain.learning import Start
from agent.retrain.progress import OnProgress, Stage
from agent.retrain.record import Candidate, Outcome, record
from agent.retrain.result import RunResult
from agent.retrain.scoring import open_scorer, training_settings
from agent.store import blobs as blob_store
from agent.store import certificates, epochs, products, runs, snapshots, stations
from agent.store.engine import reading, writing
from agent.store.products import Product
from agent.store.runs import TrainingRun
from agent.store.snapshots import Snapshot
from model import artifact as artifacts
from model import metrics
from model.certificate import certify
from model.checkpoint import Keep
from model.engines import Scorer
from model.training import TrainingSettings

ARTIFACT_TYPE = "application/vnd.safetensors"

log = structlog.get_logger()


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
    with reading(bench.engine) as conn:
        lists = Lists.of(snapshot, {one.id: one.name for one in stations.all(conn, retired=True)})
    candidate, scorer = _candidate(bench, run, product, snapshot, lists, on_progress)
    judged = champion.judge(bench, product.id, lists, candidate, scorer, on_progress)
    passing("train.verdict")
    with writing(bench.engine) as conn:
        found = record(
            conn, run, holding, Outcome(product, snapshot, candidate, judged),
            settings=bench.settings, now=bench.clock(),
        )  # fmt: skip
    passing("train.recorded")
    number = found.version.number
    normals.look(bench, scorer, lists.train, holding)
    log.info("training_ended", product=product.name, run=run.id, version=number, state=found.state, reason=found.reason)
    return RunResult(
        run.id, product.name, found.state, found.reason, found.version.id, number,
        candidate.certificate, judged.report, found.deployment_id, monotonic() - began, found.rests_on,
    )  # fmt: skip


def _freeze(bench: Bench, run: TrainingRun) -> tuple[Product, Snapshot, TrainingRun]:
    """What the run trains on, and from which weights: as its first attempt froze them."""
    rates, now = bench.settings.certificate, bench.clock()
    with writing(bench.engine) as conn:
        product = products.get(conn, run.product_id)
        epoch = epochs.calibrating(conn, product.id, epochs.asked(product, rates))
        if run.snapshot_id is None:
            snapshot, held = freezing.freeze(conn, bench.settings, product, now)
            parent = freezing.choose_parent(conn, bench.settings, run)
            held_back = {"samples": len(held.ids), "words": held.words, **kept(held.words)}
            runs.note(conn, run.id, parent=parent, held_back=held_back)
        else:
            snapshot = snapshots.get(conn, run.snapshot_id)
        look = 1 + certificates.looks(conn, epoch_id=snapshot.epoch_id)
        runs.start(conn, run.id, snapshot.id, now)
        run = runs.get(conn, run.id)
    lists = Lists.of(snapshot, {})
    advice = epoch.grows_by if epoch else Phrase("import good images")
    wanted = roles.needs(product.review_rate or rates.review_rate, rates.confidence, look)
    warning = roles.check_enough(len(lists.train), lists.units, wanted, advice=advice)
    log.info("training_started", product=product.name, run=run.id, train=len(lists.train),
             calibration=lists.units, attempt=run.attempts, warning=warning, held_back=run.held_back)  # fmt: skip
    return product, snapshot, run


def _candidate(
    bench: Bench, run: TrainingRun, product: Product, snapshot: Snapshot, lists: Lists, on_progress: OnProgress
) -> tuple[Candidate, Scorer]:
    wanted = training_settings(bench.settings, teacher=product.teacher, own=product.input, threads=bench.threads)
    frames = [(lambda one=sample: bench.load(one)) for sample in lists.train]
    start = _start(bench, run, snapshot, wanted)
    parts = [one.serial or one.pixels_sha256 for one in lists.train]
    trained = learning.learn(frames, parts, wanted, start, on_progress)
    data = artifacts.to_bytes(trained)
    sha256 = blob_store.keep(bench.engine, bench.blobs, data, ARTIFACT_TYPE, bench.clock())
    scorer = open_scorer(bench.settings, artifacts.from_bytes(data), threads=bench.threads)
    stage = Stage("calibrating", len(lists.calibration) + len(lists.holdout) + len(lists.defects), on_progress)
    by_image = comparison.score_images(scorer, lists.calibration, bench.load, stage)
    units = comparison.units(lists, lists.calibration, by_image)
    with reading(bench.engine) as conn:
        look = 1 + certificates.looks(conn, epoch_id=snapshot.epoch_id)
    rates = bench.settings.certificate
    certificate = certify(
        units,
        artifact_sha256=sha256,
        calibration_sha256=snapshot.role_sha256("calibration"),
        fingerprint=scorer.fingerprint,
        review_rate=product.review_rate or rates.review_rate,
        reject_rate=rates.reject_rate,
        confidence=rates.confidence,
        look=look,
        unit=lists.unit,
    )
    scores = Scores(comparison.numbers(units), *comparison.score_rest(scorer, lists, bench.load, stage))
    part, k = lists.unit == "part", certificate.review_k
    made = Candidate(
        trained, sha256, certificate, scores, _metrics(scores.calibration, scores.defects),
        images=dict(zip((one.id for one in lists.calibration), by_image, strict=True)),
        parent_id=run.settings["parent"] if start.parent else None,
        pictures=showing.show(bench, scorer, lists.calibration, by_image, k, part),
    )  # fmt: skip
    return made, scorer


def _start(bench: Bench, run: TrainingRun, snapshot: Snapshot, wanted: TrainingSettings) -> Start:
    kept = bench.settings.retrain
    try:
        path = checkpoints.path_of(kept.directory, run.id, snapshot)
    except OSError as error:
        raise RetrainError(
            "retrain.directory {folder}: cannot be made ({problem})",
            folder=str(kept.directory), problem=error.strerror,
        ) from None  # fmt: skip
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
