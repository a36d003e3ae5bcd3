"""Teaching a product, as people ask for it: states, the set and what leaves it, on both databases."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa

from agent.retrain.looks import take
from agent.service import Invalid, PermissionDenied, models, reviews, teach
from agent.store import (
    certificates,
    changeovers,
    commands,
    evidence,
    items,
    lesson,
    offsets,
    products,
    registry,
    runs,
    samples,
    stations,
    teachings,
)
from agent.store.engine import Conflict, NotFound, reading, writing
from agent.store.item_search import Wanted, search
from agent.store.tables import calibration_score, epoch, sample
from tests.databases import NOW, Line, add_blob, line
from tests.teaching import LATER, Class

pytestmark = pytest.mark.usefixtures("each_database")


@pytest.fixture
def here(tmp_path: Path) -> Iterator[Class]:
    with line(tmp_path) as made:
        fields = {name: getattr(made, name) for name in Line.__dataclass_fields__}
        yield Class(**fields)


def test_a_new_product_is_registered_and_its_station_runs_it(here: Class) -> None:
    with writing(here.engine) as conn:
        offsets.take_turn(conn)
        offsets.claim(conn, here.stream_id, 0, holder="agent", start=7, now=NOW)
    found = here.start()
    assert (found.state, found.parts, found.station_id, found.by) == (
        "collecting",
        20,
        here.station_id,
        here.engineer.id,
    )
    with reading(here.engine) as conn:
        assert stations.get(conn, here.station_id).product_id == here.disc
        assert changeovers.span(conn, here.station_id, here.stream_id, 0, 7).product_id == here.disc
        assert changeovers.span(conn, here.station_id, here.stream_id, 0, 6).product_id == here.product_id
    assert here.lesson().words == "0 of 20 parts are collected"
    assert here.start() == found  # the same key


@pytest.mark.parametrize("parts", [0, 5001])
def test_a_number_of_parts_that_cannot_be(here: Class, parts: int) -> None:
    with pytest.raises(Invalid, match="cannot be taught from"):
        here.start(parts)


def test_what_cannot_be_taught(here: Class) -> None:
    with pytest.raises(PermissionDenied):
        here.start(actor=here.operator)
    with pytest.raises(NotFound, match="no station"):
        here.start(station="nowhere", key="b")
    with writing(here.engine) as conn:
        here.deploy(conn, 900)
    with pytest.raises(Conflict, match="has a model already"):
        here.start(name="flange", key="c")
    with writing(here.engine) as conn:
        products.retire(conn, products.add(conn, "old", now=NOW).id, NOW)
    with pytest.raises(Conflict, match="retired"):
        here.start(name="old", key="d")
    with reading(here.engine) as conn:
        assert products.find(conn, "disc") is None, "a refused act registers nothing"


def test_parts_wait_outside_the_queue_and_cannot_be_let_go(here: Class) -> None:
    here.start()
    ids = here.collect(20)
    with reading(here.engine) as conn:
        assert items.queue(conn, escalated=True) == []
        assert items.counts(conn) == items.ItemCounts(0, 0, 0, 0)
        assert teachings.count(conn, here.disc) == 20
    reviews.decide(here.engine, here.engineer, ids[0], "defect", "dent", key="x", now=NOW)
    with writing(here.engine) as conn:
        conn.execute(sa.delete(sample))  # what else keeps its evidence
        assert evidence.releasable(conn, limit=50) == []
        assert search(conn, Wanted(state="closed"), 50) == []
    teach.cancel(here.engine, here.engineer, here.disc, key="cancel", now=NOW)
    with reading(here.engine) as conn:
        assert [one.id for one in evidence.releasable(conn, limit=50)] == ids


def test_two_frames_of_one_serial_are_one_part_and_leave_together(here: Class) -> None:
    here.start()
    with writing(here.engine) as conn:
        same = [
            here.add_item(conn, n, kind="teach", product_id=here.disc, serial="S", score=None).id for n in (100, 101)
        ]
    here.collect(3)
    here.look()
    assert here.lesson().collected == 4
    reviews.decide(here.engine, here.engineer, same[1], "defect", "scratch", key="d", now=NOW)
    assert here.lesson().collected == 3
    assert [(one.part, one.reason) for one in here.lesson().left] == [("S", "scratch")]
    found = here.lesson().teaching
    with reading(here.engine) as conn:
        assert teachings.defective(conn, found) == {"S"}
        made = samples.all(conn, here.disc)
    told = [(one.role, one.origin, one.reason, one.item_id) for one in made]
    assert told == [("defect", "import", "scratch", same[1])]
    reviews.undo(here.engine, here.engineer, same[1], key="u", now=NOW)
    assert (here.lesson().collected, here.lesson().left) == (4, [])
    with reading(here.engine) as conn:
        assert (samples.all(conn, here.disc), teachings.defective(conn, found)) == ([], set())


def test_a_part_leaves_only_as_a_defect_by_an_engineer(here: Class) -> None:
    here.start()
    item = here.collect(3)[0]
    with pytest.raises(PermissionDenied, match="an engineer's to judge"):
        reviews.decide(here.engine, here.operator, item, "defect", "dent", key="a", now=NOW)
    for decision in ("normal", "unsure"):
        with pytest.raises(Invalid, match="only as a defect"):
            reviews.decide(here.engine, here.engineer, item, decision, key=decision, now=NOW)


def test_the_oddest_come_first_and_those_not_looked_through_last(here: Class) -> None:
    here.start()
    ids = here.collect(4)
    with writing(here.engine) as conn:
        teachings.record(conn, {ids[0]: 1.0, ids[2]: 3.0})
        teachings.record(conn, {ids[0]: 2.0})
    assert [view.item_id for view in here.lesson().views] == [ids[2], ids[0], ids[1], ids[3]]
    assert not here.lesson().looked


def test_more_parts_may_be_collected_before_it_is_trained(here: Class) -> None:
    here.start()
    here.collect(20)
    with pytest.raises(Conflict, match="20 parts are there already"):
        here.start(20, key="again")
    assert here.start(30, key="more").state == "collecting"
    assert here.lesson().collected == 20
    with writing(here.engine) as conn:
        stations.add(conn, "press-2", now=NOW)
    with pytest.raises(Conflict, match="another station"):
        here.start(40, station="press-2", key="else")


def test_training_waits_until_all_were_looked_through(here: Class) -> None:
    here.start()
    with pytest.raises(Conflict, match="collecting"):
        here.train("early")
    here.collect(20)
    with pytest.raises(Conflict, match="not looked through yet"):
        here.train("soon")
    here.look()
    here.train()
    with pytest.raises(Conflict, match="asked to do this already"):
        here.train("twice")


def test_the_parts_become_samples_of_an_epoch_by_part(here: Class) -> None:
    here.start(60)
    ids = here.collect(60)
    with writing(here.engine) as conn:
        conn.execute(
            sa.insert(epoch).values(
                product_id=here.disc, cause="import", words="", cuts=False, opened_at=NOW - timedelta(days=1)
            )
        )
        second = here.add_item(conn, 200, kind="teach", product_id=here.disc, serial="part-0", score=None)
    here.look()
    reviews.decide(here.engine, here.engineer, ids[-1], "defect", "dent", key="d", now=NOW)
    here.train()
    run_id = here.agent()
    with reading(here.engine) as conn:
        assert run_id is not None and runs.get(conn, run_id).trigger == "teach"
        rows = conn.execute(sa.select(sample).where(sample.c.product_id == here.disc)).all()
        opened = conn.execute(sa.select(epoch).where(epoch.c.cause == "teach")).one()
        before = conn.execute(sa.select(epoch.c.closed_at).where(epoch.c.cause == "import")).scalar_one()
    good = [row for row in rows if row.role != "defect"]
    roles = {row.serial: row.role for row in good}
    assert len(good) == 60 and len(roles) == 59
    assert sorted(roles.values()) == ["calibration"] * 24 + ["train"] * 35
    assert {row.role for row in good if row.serial == "part-0"} == {roles["part-0"]}
    assert second.id in {row.item_id for row in good}
    assert {row.epoch_id for row in good if row.role == "calibration"} == {opened.id}
    assert {row.epoch_id for row in rows if row.role in ("train", "defect")} == {None}
    assert {row.state for row in rows} == {"accepted"}
    assert (opened.cuts, opened.by, opened.closed_at, before) == (False, here.engineer.id, None, LATER)
    assert (here.lesson().collected, here.item(ids[0]).decision) == (0, "normal")
    with pytest.raises(Conflict, match="training"):
        reviews.undo(here.engine, here.engineer, ids[-1], key="late", now=NOW)


def test_pictures_that_are_samples_already_keep_their_role(here: Class) -> None:
    here.start(60)
    ids = here.collect(60)
    with writing(here.engine) as conn:
        frames = {view.item_id: view.frame_sha256 for view in teachings.views(conn, here.disc)}
        for item_id, role in ((ids[0], "train"), (ids[1], "defect")):
            new = samples.NewSample(here.disc, role, "import", frames[item_id], f"{item_id:064}")
            samples.add(conn, new, NOW)
        for n, serial in ((200, "part-0"), (201, "part-1")):
            here.add_item(conn, n, kind="teach", product_id=here.disc, serial=serial, score=None)
    here.look()
    here.train()
    assert here.agent() is not None
    with reading(here.engine) as conn:
        made = samples.all(conn, here.disc)
    assert [one.role for one in made if one.serial == "part-0"] == ["train"], "its other picture trains too"
    assert [one for one in made if one.serial == "part-1"] == [], "its other picture is a defect"
    assert sorted(one.item_id for one in made if one.serial and one.serial != "part-0" and one.item_id) == ids[2:]
    pictures = [one.blob_sha256 for one in made]
    assert len(pictures) == len(set(pictures)) == 58 + 1 + 2


def test_too_few_parts_are_said_and_more_can_be_collected(here: Class) -> None:
    here.start(5)
    here.collect(5)
    here.look()
    here.train()
    assert here.agent() is None
    found = here.lesson()
    assert (found.teaching.state, found.collected) == ("looking", 5)
    assert found.problem and "are too few" in found.problem and "cannot be trained on" in found.words
    assert here.start(60, key="more").state == "collecting"


def test_a_failed_run_may_be_tried_again_on_the_same_samples(here: Class) -> None:
    here.start(60)
    here.collect(60)
    here.look()
    here.train()
    run_id = here.agent()
    assert run_id is not None
    with writing(here.engine) as conn:
        runs.close(conn, run_id, "failed", "out of memory", LATER)
    assert here.lesson().problem == f"run {run_id} failed: out of memory"
    assert here.lesson().may_train
    here.train("again")
    assert here.agent() not in (None, run_id)
    with reading(here.engine) as conn:
        assert len(conn.execute(sa.select(epoch.c.id).where(epoch.c.cause == "teach")).all()) == 1


def test_cancelling_frees_the_items_and_revokes_the_samples(here: Class) -> None:
    here.start(60)
    ids = here.collect(60)
    here.look()
    assert teach.cancel(here.engine, here.engineer, here.disc, key="c", now=NOW) == 60
    with reading(here.engine) as conn:
        assert [one.id for one in evidence.releasable(conn, limit=100)] == ids
    with pytest.raises(Conflict):
        teach.cancel(here.engine, here.engineer, here.disc, key="c2", now=NOW)
    assert here.start(60, key="anew").state == "collecting"
    assert here.lesson().collected == 0
    here.collect(60, first=100)
    here.look()
    here.train()
    run_id = here.agent()
    assert teach.cancel(here.engine, here.engineer, here.disc, key="c3", now=LATER) == 0
    with reading(here.engine) as conn:
        assert run_id is not None and runs.get(conn, run_id).state == "cancelled"
        assert samples.all(conn, here.disc) == []
        assert len(samples.all(conn, here.disc, revoked=True)) == 60


def test_a_request_that_was_cancelled_meanwhile_trains_nothing(here: Class) -> None:
    here.start(60)
    here.collect(60)
    here.look()
    here.train()
    teach.cancel(here.engine, here.engineer, here.disc, key="c", now=NOW)
    assert here.agent() is None
    with reading(here.engine) as conn:
        request = commands.of_product(conn, "retrain", here.disc)
        assert request is not None and request.state == "failed"


def test_any_promotion_ends_the_teaching_and_frees_what_is_left(here: Class) -> None:
    here.start()
    here.collect(3)
    with writing(here.engine) as conn:
        version = registry.add_version(
            conn, product_id=here.disc, artifact_sha256=add_blob(conn, 900), teacher="none", manifest={}, now=NOW
        )
    models.promote(here.engine, here.engineer, version.id, "looked", "0" * 64, key="p", now=LATER)
    found = here.lesson()
    assert (found.teaching.state, found.teaching.ended_at, found.collected) == ("done", LATER, 0)
    with pytest.raises(Conflict, match="has a model already"):
        here.start(key="again")


def test_what_a_dead_agent_was_at_is_taken_up_by_the_next(here: Class) -> None:
    here.start()
    here.collect(3)
    with writing(here.engine) as conn:
        first = take(conn, NOW)
        assert first is not None and take(conn, NOW) is None, "one at a time"
        again = take(conn, NOW + timedelta(minutes=5))
        assert again is not None and again[0].id == first[0].id
        commands.finish(conn, again[0].id, failed=True, result={"problem": "no weights"}, now=NOW)
    assert here.lesson().problem == "the parts could not be looked through: no weights"
    teach.look(here.engine, here.engineer, here.disc, key="l", now=NOW)
    with pytest.raises(Conflict, match="asked to do this already"):
        teach.look(here.engine, here.engineer, here.disc, key="l2", now=NOW)


def test_the_calibration_images_that_scored_highest(here: Class) -> None:
    here.start(60)
    here.collect(60)
    here.look()
    here.train()
    here.agent()
    with writing(here.engine) as conn:
        version = registry.add_version(
            conn, product_id=here.disc, artifact_sha256=add_blob(conn, 900), teacher="none", manifest={}, now=NOW
        )
        assert lesson.top_calibration(conn, version.id) == []
        kept = samples.all(conn, here.disc, "calibration")
        rows = [{"model_version_id": version.id, "sample_id": one.id, "score": float(one.id)} for one in kept]
        conn.execute(sa.insert(calibration_score), rows)
        assert [one.sample_id for one in lesson.top_calibration(conn, version.id)] == sorted(
            (one.id for one in kept), reverse=True
        )[:5]
        record = {"look": 1, "n": 24, "calibration_sha256": "0" * 64, "review_k": 4, "unit": "frame"}
        certificates.add(conn, version_id=version.id, record=record, now=NOW)
        assert len(lesson.top_calibration(conn, version.id)) == 8


def test_samples_are_made_once(here: Class) -> None:
    """A part whose frame is a sample already keeps that sample."""
    here.start(60)
    ids = here.collect(60)
    here.look()
    known = here.item(ids[0])
    assert known.frame_sha256
    with writing(here.engine) as conn:
        new = samples.NewSample(here.disc, "train", "import", known.frame_sha256, known.frame_sha256, serial="part-0")
        samples.add(conn, new, NOW)
    here.train()
    assert here.agent() is not None
    with reading(here.engine) as conn:
        assert len(samples.all(conn, here.disc)) == 60


def test_a_refused_sample_gives_its_part_no_role(here: Class) -> None:
    """Nothing learnt from it: were its role to stick, every part would train here and none calibrate."""
    here.start(60)
    here.collect(60)
    here.look()
    with writing(here.engine) as conn:
        for place, view in enumerate(teachings.views(conn, here.disc)):
            blob = add_blob(conn, 5000 + place)
            new = samples.NewSample(here.disc, "train", "flagged", blob, blob, serial=view.serial, state="refused")
            samples.add(conn, new, NOW)
    here.train()
    assert here.agent() is not None, here.lesson().problem
    with reading(here.engine) as conn:
        made = samples.all(conn, here.disc, "calibration")
    assert len(made) > 10 and {one.station_id for one in made} == {here.station_id}
