"""Which samples reviews make: a part that is drawn for the audit at any station calibrates, and never trains."""

from __future__ import annotations

from datetime import timedelta
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from agent.service import reviews
from agent.service import samples as service
from agent.service.reviews import Outcome
from agent.settings import Audit, Certificates, Samples
from agent.store import audit, closings, drawing, epochs, items, products, samples, snapshots, stations
from agent.store.drawing import Drawing
from agent.store.engine import reading, writing
from agent.store.errors import Conflict
from agent.store.install import install_of
from agent.store.samples import NewSample
from tests.audited import Plant
from tests.databases import NOW, Line, add_blob, sha

pytestmark = pytest.mark.usefixtures("each_database")
NONE = Drawing(Audit(rate=0.0, burst_rate=0.0), Certificates())  # no rate but a station's own
BURST = Drawing(Audit(rate=0.0, burst_rate=1.0), Certificates())
OFFSETS = count(1)


def say(here: Line, serial: str | None = "S1", *, drawn: Drawing | None = NONE, **changes: Any) -> Outcome:
    """An operator calls an item of that part normal."""
    with writing(here.engine) as conn:
        item_id = here.add_item(conn, next(OFFSETS), serial=serial, **changes).id
    return decide(here, item_id, drawn)


def decide(here: Line, item_id: int, drawn: Drawing | None = NONE) -> Outcome:
    return reviews.decide(here.engine, here.operator, item_id, "normal", drawn=drawn, key=f"k{item_id}", now=NOW)


def standing(here: Line) -> list[tuple[str, str, str]]:
    with reading(here.engine) as conn:
        return [(one.role, one.origin, one.state) for one in samples.all(conn, here.product_id, state=None)]


def station(here: Line, rate: float | None, product_id: int | None = None) -> int:
    with writing(here.engine) as conn:
        made = stations.add(conn, "press-2", product_id=product_id or here.product_id, audit_rate=rate, now=NOW)
    return made.id


# What is drawn


def test_a_part_that_another_station_draws_is_not_proposed_from_a_flagged_view_and_its_verdict_counts(
    here: Line,
) -> None:
    station(here, 1.0)
    outcome = say(here)
    assert (outcome.state, outcome.decision, outcome.sample_id) == ("closed", "normal", None)
    assert outcome.unused == "part S1 is drawn for the audit: it measures models, so it trains none"
    assert standing(here) == []
    with reading(here.engine) as conn:
        counted = closings.counts(conn, NOW - timedelta(days=1), NOW + timedelta(days=1))
        assert counted == {("flagged", "normal", ""): 1}
    assert say(here, None).role == "train", "a frame of no serial has no other view"
    assert say(here, "S2", drawn=None).role == "train", "where nothing is drawn"


def test_only_stations_that_may_see_the_part_draw_it(here: Line) -> None:
    with writing(here.engine) as conn:
        other = products.add(conn, "bracket", now=NOW).id
    elsewhere = station(here, 1.0, other)
    assert say(here, "S1").role == "train"
    assert say(here, "S2", station_id=elsewhere).unused, "it was seen there, whatever runs there now"
    with writing(here.engine) as conn:
        left = stations.add(conn, "press-3", audit_rate=1.0, now=NOW).id  # its frames name their product
    assert say(here, "S3").unused
    with writing(here.engine) as conn:
        stations.change(conn, left, retired_at=NOW)
    assert say(here, "S4").role == "train"


def test_the_rates_are_those_in_force_now(here: Line) -> None:
    assert say(here, "S1", drawn=BURST).role == "train"
    with writing(here.engine) as conn:
        epochs.open(conn, here.product_id, "import", "imported images", now=NOW)
        epochs.open(conn, here.product_id, "camera", "new lamp", now=NOW)
    assert say(here, "S2", drawn=BURST).unused, "the certificate has lapsed: more are drawn"


def test_the_draw_is_the_pipelines(here: Line) -> None:
    """The hash that says whether an agent draws the frame says whether its part may train."""
    station(here, 0.4)
    with reading(here.engine) as conn:
        secret = install_of(conn).secret
    serials = [f"part-{number}" for number in range(60)]
    taken = {one for one in serials if drawing.draws(secret, one, 0.4)}
    assert 0 < len(taken) < 60
    assert {one for one in serials if say(here, one).unused} == taken


def test_an_audited_view_that_waits_shows_that_its_part_was_drawn(here: Line) -> None:
    with writing(here.engine) as conn:
        waits = here.add_item(conn, next(OFFSETS), serial="S1", kind="audit").id
    assert "drawn for the audit" in (say(here).unused or ""), "at rates of before, or of a station that runs another"
    assert say(here, "S2").role == "train"
    assert decide(here, waits).role == "calibration"
    assert "calibration samples" in (say(here).unused or "")


# What gives way


@pytest.mark.parametrize(
    "rules", [Samples(), Samples(quarantine=False, second_person="always"), Samples(quarantine=False)]
)
def test_a_proposal_gives_way_to_an_audited_normal_of_its_part(here: Line, rules: Samples) -> None:
    with writing(here.engine) as conn:
        flagged = here.add_item(conn, next(OFFSETS), serial="S1").id
    made = reviews.decide(here.engine, here.operator, flagged, "normal", rules=rules, key="f", now=NOW)
    audited = say(here, kind="audit", verdict="pass")
    assert (audited.role, audited.unused) == ("calibration", None)
    assert standing(here) == [("calibration", "audit", "accepted")]
    with reading(here.engine) as conn:
        (gone,) = samples.all(conn, here.product_id, revoked=True)
        assert (gone.id, gone.item_id) == (made.sample_id, flagged)
        event = next(one for one in audit.recent(conn) if one.action == "sample.revoke")
        assert (event.subject, event.user_id) == (f"sample:{gone.id}", here.operator.id)
        assert event.detail == {
            "reason": f"its part is drawn for the audit: the audited normal of item {audited.item_id} takes its place",
            "from": made.sample_state, "item_id": audited.item_id,
        }  # fmt: skip
        assert audit.verify(conn) is None
        assert items.get(conn, flagged).decision == "normal", "what was said of it stays"
    reviews.undo(here.engine, here.operator, audited.item_id, key="u", now=NOW)
    assert standing(here) == [], "it is drawn for all that"


def test_a_proposal_of_a_part_that_is_drawn_by_now_is_not_accepted(here: Line) -> None:
    made = say(here, "S1", drawn=BURST)
    assert made.sample_id
    with writing(here.engine) as conn:
        epochs.open(conn, here.product_id, "import", "imported images", now=NOW)
        epochs.open(conn, here.product_id, "camera", "new lamp", now=NOW)
    with pytest.raises(Conflict, match="part S1 is drawn for the audit"):
        service.accept(here.engine, here.engineer, made.sample_id, drawn=BURST, key="a", now=NOW)
    service.accept(here.engine, here.engineer, made.sample_id, drawn=NONE, key="b", now=NOW)
    nameless = say(here, None, drawn=BURST)
    assert nameless.sample_id
    service.accept(here.engine, here.engineer, nameless.sample_id, drawn=BURST, key="c", now=NOW)


def test_what_has_trained_a_model_stays_and_so_does_what_was_imported(here: Line) -> None:
    made = say(here, "S1")
    assert made.sample_id
    service.accept(here.engine, here.engineer, made.sample_id, key="a", now=NOW)
    with writing(here.engine) as conn:
        snapshots.freeze(conn, here.product_id, NOW)
        samples.add(
            conn, NewSample(here.product_id, "train", "import", add_blob(conn, 900), sha(900), serial="S2"), NOW
        )
    say(here, "S2")
    before = standing(here)
    for serial in ("S1", "S2"):
        assert "are train samples" in (say(here, serial, kind="audit").unused or "")
    assert standing(here) == before and len(before) == 3


def test_a_flagged_view_that_is_approved_first_takes_no_part_out_of_the_calibration(here: Line, tmp_path: Path) -> None:
    """Else the parts that score high would be missing there: the threshold would be too low for the rate."""
    plant = Plant(here, tmp_path)
    drawn, other = plant.draw(3, "S1"), plant.draw(3, "S2")
    flagged = plant.draw(3.1, "S1", kind="flagged", verdict="review")
    for one in (flagged, drawn, other):
        plant.say(one)
    plant.look()
    assert plant.placed == {drawn: ("calibration", "stream"), other: ("calibration", "stream")}
