"""What a new version's scorer sees of its train samples, for people who look for what is like a part."""

from __future__ import annotations

from collections.abc import Sequence

from agent.pipeline import pictures, vectors
from agent.retrain.bench import Bench
from agent.retrain.progress import Stage
from agent.store import blobs, normals
from agent.store.engine import reading
from agent.store.normals import SampleVector
from agent.store.rows import chunks
from agent.store.samples import Sample
from model.engines import Scorer

MOST = 300  # of a run: it costs a scoring of each
BATCH = 16


def unknown(bench: Bench, scorer: Scorer, train: Sequence[Sample]) -> list[Sample]:
    """Those that have no vector in the scorer's feature space; of many the first, which are so at random."""
    with reading(bench.engine) as conn:
        there = normals.known(conn, [one.id for one in train], scorer.space)
    return [one for one in train if one.id not in there][:MOST]


def look(bench: Bench, scorer: Scorer, train: Sequence[Sample], stage: Stage) -> dict[int, SampleVector]:
    """Scores them and keeps a thumbnail of each; by sample."""
    found: dict[int, SampleVector] = {}
    for batch in chunks(train, BATCH):
        frames = [bench.load(one) for one in batch]
        units = [vectors.unit(scored.features) for scored in scorer.score(frames)]
        small = [(pictures.thumbnail(frame), "image/webp") for frame in frames]
        kept = blobs.keep_all(bench.engine, bench.blobs, small, bench.clock())
        for one, unit, sha256 in zip(batch, units, kept, strict=True):
            if unit is not None:
                found[one.id] = SampleVector(scorer.space, unit, sha256)
        stage.advance(len(batch))
    return found
