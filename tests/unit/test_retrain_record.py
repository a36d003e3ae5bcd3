"""What passes the gate is promoted and watched, or goes into a shadow first."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from sqlalchemy import Connection

from agent.retrain.comparison import Scores
from agent.retrain.gate import judge
from agent.retrain.holding import Holding
from agent.retrain.record import Candidate, Judged, Outcome, Recorded, record
from agent.settings import Settings
from agent.store import epochs, products, registry, runs, samples, snapshots, trends, watches
from agent.store.engine import writing
from agent.store.samples import NewSample
from model.artifact import Artifact
from tests.alarms import Noted
from tests.databases import NOW, Line, add_blob, line, sha
from tests.streams import certificate
from tests.unit.test_retrain_gate import GOOD
from tests.watches import Watched

pytestmark = pytest.mark.usefixtures("each_database")
Meanwhile = Callable[[Connection], None]


@pytest.fixture
def watched(tmp_path: Path) -> Iterator[Watched]:
    """v2 decides, and nothing is watched."""
    with line(tmp_path) as made:
        yield Watched.on(made, watch_share=0.0)


def _record(
    watched: Watched, number: int, *, first: bool = False, meanwhile: Meanwhile = lambda conn: None, **sections: Any
) -> Recorded:
    here: Line = watched.line
    manifest = SimpleNamespace(teacher="none", to_dict=dict)
    artifact = cast(Artifact, SimpleNamespace(manifest=manifest))
    with writing(here.engine) as conn:
        add_blob(conn, 2000 + number)
        samples.add(conn, NewSample(here.product_id, "train", "import", sha(0), sha(number)), NOW)
        made = certificate(sha(2000 + number))
        candidate = Candidate(artifact, sha(2000 + number), made, Scores((1.0,), (), ()), {}, {}, None)
        run = runs.open(conn, product_id=here.product_id, trigger="person", settings={}, now=NOW)
        judged = Judged(None, None) if first else Judged(registry.live(conn, here.product_id), judge(GOOD))
        epoch = epochs.calibrating(conn, here.product_id, 1)
        snapshot = snapshots.freeze(conn, here.product_id, NOW, epoch_id=epoch.id if epoch else None)
        found = Outcome(products.get(conn, here.product_id), snapshot, candidate, judged)
        meanwhile(conn)
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


@pytest.mark.parametrize("shadow", [{}, {"share": 0.25}])
@pytest.mark.parametrize("role", [None, "defect", "calibration"])
def test_what_learnt_from_a_sample_that_is_no_good_normal_any_more_waits_for_a_person(
    watched: Watched, role: str | None, shadow: dict[str, float]
) -> None:
    def meanwhile(conn: Connection) -> None:
        samples.revoke(conn, 1, NOW)
        if role:
            new = NewSample(watched.line.product_id, role, "flagged", sha(0), sha(3), reason="blot")
            assert samples.add(conn, new, NOW).id == 1

    done = _record(watched, 3, meanwhile=meanwhile, shadow=shadow)
    assert (done.state, done.version.state, watched.live.number) == ("needs_person", "candidate", 2)
    assert "revoked, or changed in role or part, since the run took them: 1 (1)" in done.reason


@pytest.mark.parametrize("shadow", [{}, {"share": 0.25}])
def test_what_was_certified_before_the_stream_changed_waits_for_a_person(
    watched: Watched, shadow: dict[str, float]
) -> None:
    product_id = watched.line.product_id
    with writing(watched.line.engine) as conn:
        old = epochs.open(conn, product_id, "import", "imported", now=NOW - timedelta(hours=2))
        epochs.open(conn, product_id, "stream", "audited", now=NOW - timedelta(hours=1))
        new = NewSample(product_id, "calibration", "import", sha(0), sha(11), epoch_id=old.id)
        samples.add(conn, new, NOW)

    def meanwhile(conn: Connection) -> None:
        epochs.open(conn, product_id, "camera", "new lamp", now=NOW)

    assert _record(watched, 3).state == "promoted"
    done = _record(watched, 4, meanwhile=meanwhile, shadow=shadow)
    assert (done.state, done.version.state, watched.live.number) == ("needs_person", "candidate", 3)
    assert "(camera: new lamp), and its certificate is from before" in done.reason


def test_a_taught_product_waits_for_a_look_whoever_asked_for_the_run(tmp_path: Path) -> None:
    with line(tmp_path) as made:
        watched = Watched(made, Noted(made.engine), [])
        with writing(made.engine) as conn:
            add_blob(conn, 0)
            epoch = epochs.open(conn, made.product_id, "teach", "taught", now=NOW)
            new = NewSample(made.product_id, "calibration", "import", sha(0), sha(11), epoch_id=epoch.id)
            samples.add(conn, new, NOW)
        done = _record(watched, 1, first=True)
        assert done.state == "needs_person" and "look at the" in done.reason
        with writing(made.engine) as conn:
            imported = epochs.open(conn, made.product_id, "import", "imported", now=NOW)
            samples.add(conn, replace(new, pixels_sha256=sha(12), epoch_id=imported.id), NOW)
        assert _record(watched, 2, first=True).reason == "first model"


def test_a_first_model_waits_for_a_look_where_a_line_is_running_already(tmp_path: Path) -> None:
    with line(tmp_path) as made:
        watched = Watched(made, Noted(made.engine), [])
        with writing(made.engine) as conn:
            add_blob(conn, 0)
            trends.add_inspections(conn, [made.inspection(0, "not_inspected", reason="no_model")])
            other = products.add(conn, "bracket", now=NOW).id
            assert not trends.counted(conn, other)
        done = _record(watched, 1, first=True)
        assert done.state == "needs_person" and "look at the" in done.reason
