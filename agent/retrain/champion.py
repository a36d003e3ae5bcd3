"""The challenger beside the champion: both score the same snapshot, and the gate judges what they said."""

from __future__ import annotations

from agent.retrain import comparison, gate, pace
from agent.retrain.bench import Bench
from agent.retrain.comparison import Lists, Scores
from agent.retrain.errors import RetrainError
from agent.retrain.progress import OnProgress, Stage
from agent.retrain.record import Candidate, Judged
from agent.retrain.scoring import open_scorer
from agent.store import approvals, registry
from agent.store.blobs import BlobCorrupt, BlobMissing
from agent.store.engine import reading
from model import artifact as artifacts
from model.artifact import ArtifactError, ArtifactOlder
from model.engines import Scorer


def judge(
    bench: Bench, product_id: int, lists: Lists, candidate: Candidate, challenger: Scorer, on_progress: OnProgress
) -> Judged:
    """What the gate says of a candidate; nothing where there is no champion, or one that can score no more.

    Args:
        bench: as of the run.
        product_id: whose.
        lists: the run's snapshot.
        candidate: with its scores on it.
        challenger: its scorer, which is timed beside the champion's.
        on_progress: hears of each step.

    Raises:
        RetrainError: the champion or an image cannot be read.
    """
    with reading(bench.engine) as conn:
        champion = registry.live(conn, product_id)
        if champion is None:
            return Judged(None, None)
        learnt = registry.version(conn, champion.model_version_id).snapshot_id
        new = approvals.unlearnt(conn, product_id, learnt, bench.clock())
    try:
        artifact = artifacts.from_bytes(bench.blobs.get(champion.artifact_sha256))
    except ArtifactOlder:
        return Judged(champion, None)
    except (ArtifactError, BlobMissing, BlobCorrupt) as error:
        raise RetrainError(
            "the champion v{number} cannot be read ({problem}); nothing can be held against it: roll back first",
            number=champion.number, problem=str(error),
        ) from error  # fmt: skip
    scorer = open_scorer(bench.settings, artifact, threads=bench.threads)
    approved = [one for one in lists.train if one.id in new.ids | new.unchecked]
    groups = (lists.calibration, lists.holdout, lists.defects, approved)
    stage = Stage("comparing", sum(map(len, groups)), on_progress)
    by_image = comparison.score_images(scorer, lists.calibration, bench.load, stage)
    calibration = comparison.numbers(comparison.units(lists, lists.calibration, by_image))
    scores = Scores(calibration, *comparison.score_rest(scorer, lists, bench.load, stage))
    of_approved = comparison.score_images(scorer, approved, bench.load, stage)
    batch = bench.settings.pipeline.batch_size
    timed = pace.measure(
        challenger, scorer, [bench.load(one) for one in lists.calibration[:batch]],
        batch=batch, allowed=bench.settings.gate.slowdown, on_progress=on_progress,
    )  # fmt: skip
    wanted = bench.settings.gate
    found = comparison.evidence(
        lists, candidate.scores, scores, candidate.certificate, wanted=wanted, pace=timed,
        approved=comparison.approved(lists, calibration, approved, of_approved, new),
    )  # fmt: skip
    return Judged(champion, gate.judge(found))
