"""What a new version's scorer sees of its train samples, for people who look for what is like a part."""

from __future__ import annotations

from collections.abc import Sequence

import structlog

from agent.pipeline import vectors
from agent.retrain.bench import Bench
from agent.retrain.errors import Interrupted
from agent.retrain.holding import Holding
from agent.store import normals
from agent.store.engine import reading, writing
from agent.store.normals import SampleVector
from agent.store.rows import chunks
from agent.store.samples import Sample
from model.engines import Scorer

MOST = 300  # of a run: it costs a scoring of each
BATCH = 16

log = structlog.get_logger()


def look(bench: Bench, scorer: Scorer, train: Sequence[Sample], holding: Holding) -> None:
    """Scores those that have no vector in the scorer's space; of many the first ones.

    The run is on record by then. Whatever goes wrong is logged: it takes nothing from the version.
    """
    try:
        with reading(bench.engine) as conn:
            there = normals.known(conn, [one.id for one in train], scorer.space)
        unknown = [one for one in train if one.id not in there][:MOST]  # in the order of their hashes, so at random
        for batch in chunks(unknown, BATCH):
            holding.check()
            _keep(bench, scorer, batch)
    except Interrupted as error:
        log.info("normals_left", problem=str(error))
    except Exception as error:
        log.warning("normals_left", problem=repr(error)[:300])


def _keep(bench: Bench, scorer: Scorer, batch: Sequence[Sample]) -> None:
    units = [vectors.unit(scored.features) for scored in scorer.score([bench.load(one) for one in batch])]
    found = {
        one.id: SampleVector(scorer.space, unit) for one, unit in zip(batch, units, strict=True) if unit is not None
    }
    with writing(bench.engine) as conn:
        normals.add_all(conn, found)
