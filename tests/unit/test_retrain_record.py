"""What passes the gate is promoted and watched, or goes into a shadow first."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from agent.retrain.comparison import Scores
from agent.retrain.gate import judge
from agent.retrain.holding import Holding
from agent.retrain.record import Candidate, Judged, Outcome, Recorded, record
from agent.settings import Settings
from agent.store import products, registry, runs, samples, watches
from agent.store.engine import writing
from agent.store.samples import NewSample
from model.artifact import Artifact
from tests.databases import NOW, Line, add_blob, line, sha
from tests.streams import certificate
from tests.unit.test_retrain_gate import GOOD
from tests.watches import Watched


@pytest.fixture
def watched(tmp_path: Path) -> Iterator[Watched]:
    """v2 decides, and nothing is watched."""
    with line(tmp_path) as made:
        yield Watched.on(made, watch_share=0.0)


def _record(watched: Watched, number: int, **sections: Any) -> Recorded:
    here: Line = watched.line
    manifest = SimpleNamespace(teacher="none", to_dict=dict)
    artifact = cast(Artifact, SimpleNamespace(manifest=manifest))
    with writing(here.engine) as conn:
        add_blob(conn, 2000 + number)
        samples.add(conn, NewSample(here.product_id, "train", "import", sha(0), sha(number)), NOW)
        made = certificate(sha(2000 + number))
        candidate = Candidate(artifact, sha(2000 + number), made, Scores((1.0,), (), ()), {}, {}, None)
        run = runs.open(conn, product_id=here.product_id, trigger="person", settings={}, now=NOW)
        judged = Judged(registry.live(conn, here.product_id), judge(GOOD))
        found = Outcome(
            products.get(conn, here.product_id), samples.freeze(conn, here.product_id, NOW), candidate, judged
        )
        holding = cast(Holding, SimpleNamespace(confirm=lambda conn: None))
        return record(conn, run, holding, found, settings=Settings.model_validate(sections), now=NOW)


def test_what_passes_the_gate_is_promoted_and_watched(watched: Watched) -> None:
    done = _record(watched, 3)
    assert (done.state, watched.live.id, watched.watch.title) == (
        "promoted",
        done.deployment_id,
        "v3 watched against v2",
    )
    assert watched.watch.share == Settings().watch.share


def test_what_passes_the_gate_goes_into_a_shadow_first(watched: Watched) -> None:
    done = _record(watched, 3, shadow={"share": 0.25})
    assert (done.state, done.deployment_id, done.version.state, watched.live.number) == ("shadow", None, "candidate", 2)
    assert done.reason.endswith("it scores 25.0% of the parts beside v2 before it is promoted")
    assert (watched.watch.title, watched.watch.share) == ("v3 in the shadow of v2", 0.25)
    later = _record(watched, 4, shadow={"share": 0.25})
    assert later.state == "needs_person"
    assert later.reason.endswith("it cannot go into a shadow while there is v3 in the shadow of v2")


def test_a_champion_without_a_certificate_has_nothing_to_be_compared_with(watched: Watched) -> None:
    with writing(watched.line.engine) as conn:
        watched.promote(conn, watched.version(conn, 3, certified=False))
    done = _record(watched, 4, shadow={"share": 0.25})
    assert (done.state, watched.live.number) == ("promoted", 4)
    with writing(watched.line.engine) as conn:
        assert watches.all(conn, watched.line.product_id) == []
