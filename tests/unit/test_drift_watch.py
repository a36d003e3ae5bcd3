"""The drift chore on both databases: what it counts, each part once; alarms, epochs, new deployments."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import timedelta
from math import log
from pathlib import Path
from typing import Any, NoReturn
from zoneinfo import ZoneInfo

import numpy as np
import pytest
import sqlalchemy as sa

from agent import upkeep
from agent.alerts.watch import Watch
from agent.cli import drift as command
from agent.cli.common import Common
from agent.drift import watch as chore
from agent.drift.watch import DELAY, DriftWatch
from agent.metrics import Metrics
from agent.settings import Certificates, Settings
from agent.store import drift, epochs, lapses, products, stations
from agent.store.engine import NotFound, Unreachable, reading, writing
from agent.store.tables import drift as drift_table
from dashboard.drifts import WAITING, lines
from tests.databases import NOW, line
from tests.drifting import CERTIFIED, Plant

pytestmark = pytest.mark.usefixtures("each_database")
SPREAD = 1.349  # interquartile range of Normal(0, 1)


@pytest.fixture
def plant(tmp_path: Path) -> Iterator[Plant]:
    with line(tmp_path) as here:
        yield Plant(here)


def rng(seed: int = 3) -> np.random.Generator:
    return np.random.default_rng(seed)


SUBJECT = "station:press-1 product:flange"


def test_scores_as_certified_raise_no_alarm(plant: Plant) -> None:
    parts = 20_000 if plant.here.engine.dialect.name == "sqlite" else 2_000
    plant.inspect(rng().normal(size=parts))
    plant.chore().check(plant.now)
    row = plant.row()
    assert (row.n, row.stream, row.alarm) == (parts, 1, None)
    assert row.log_wealth < 0 and not plant.standing()
    plant.chore().check(plant.now)
    assert plant.row() == row, "each part once"


def test_a_shift_of_half_a_spread_is_caught_as_soon_as_the_simulation_promises(plant: Plant) -> None:
    plant.inspect(rng().normal(size=1000))
    watch = plant.chore()
    watch.check(plant.now)
    assert not plant.standing()
    plant.inspect(SPREAD / 2 + rng(4).normal(size=300))
    watch.check(plant.now)
    row = plant.row()
    assert row.alarm and row.alarmed_at and 1000 < row.n <= 1120, "the promised median"
    assert row.alarm["log_e"] == row.log_wealth >= log(164)
    assert plant.standing() == [("drift", SUBJECT)]
    (words,) = plant.alarms.words
    assert "scores of flange at press-1 no longer look like those it was certified on (evidence 2" in words
    assert f"after {row.n} parts" in words and "goodpart epochs open flange" in words
    watch.check(plant.now)
    assert len(plant.alarms.words) == 1, "told once"
    Watch(plant.here.engine, plant.alarms, silent_after_s=0, reading_frames=lambda: True).check(plant.now)
    assert plant.standing() == [("drift", SUBJECT)]


def test_however_often_it_is_put_down_it_ends_the_same(plant: Plant) -> None:
    scores = rng().normal(size=900)
    serials = [None if n % 4 else f"p{n // 8}" for n in range(900)]
    for score, serial in zip(scores[:60], serials[:60], strict=True):
        plant.inspect([score], serial=serial)
    plant.inspect(scores[60:])
    whole, end = plant.chore(), plant.now
    for seconds in (5, 17, 40, 41, 300):
        plant.chore(page=7).check(NOW + DELAY + timedelta(seconds=seconds))
    plant.chore(page=50).check(end)
    parts = plant.row()
    with writing(plant.here.engine) as conn:
        conn.execute(sa.delete(drift_table))
    whole.check(end)
    row = plant.row()
    assert row.n == parts.n > 850
    assert (row.state["watch"]["counts"], row.state["open"]) == (parts.state["watch"]["counts"], parts.state["open"])
    assert row.log_wealth == pytest.approx(parts.log_wealth)


def test_a_page_that_could_not_be_written_is_read_again(plant: Plant, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> NoReturn:
        raise Unreachable("away")

    plant.inspect(rng().normal(size=100))
    with monkeypatch.context() as broken:
        broken.setattr(drift, "move", fail)
        with pytest.raises(Unreachable):
            plant.chore(page=30).check(plant.now)
    with reading(plant.here.engine) as conn:
        assert not drift.all(conn)
    plant.chore(page=30).check(plant.now)
    assert plant.row().n == 100


def test_two_agents_count_each_part_once(plant: Plant, monkeypatch: pytest.MonkeyPatch) -> None:
    metrics = Metrics()
    first, second, page = plant.chore(page=40, metrics=metrics), plant.chore(page=40), drift.page
    plant.inspect(rng().normal(size=100))
    turns = [second]

    def overtaken(*given: Any) -> list[drift.Frame]:
        found = page(*given)
        if turns:
            turns.pop().check(plant.now)
        return found

    monkeypatch.setattr(drift, "page", overtaken)
    first.check(plant.now)
    assert plant.row().n == 100
    assert "goodpart_drift_frames_total{" not in metrics.text().decode(), "it drops what another one has counted"
    first.check(plant.now)
    assert plant.row().n == 100


def test_young_frames_wait_and_what_comes_in_order_counts_however_late(plant: Plant) -> None:
    plant.inspect(rng().normal(size=100))
    watch = plant.chore()
    watch.check(NOW + DELAY + timedelta(seconds=49))
    assert plant.row().n == 50
    watch.check(plant.now + timedelta(hours=1))
    assert plant.row().n == 100
    plant.inspect(rng().normal(size=10))
    watch.check(plant.now + timedelta(hours=1))
    assert plant.row().n == 110, "an agent that is behind"
    plant.offset = 20
    plant.inspect(rng().normal(size=5), partition=1)
    watch.check(plant.now + timedelta(hours=1))
    assert plant.row().n == 110, "out of order, and later than the delay"


def test_only_what_the_live_deployment_decided_under_its_certificate_is_counted(plant: Plant) -> None:
    old = plant.deployment_id
    plant.deploy(2, plant.epoch_id)
    plant.inspect(rng().normal(size=20))
    plant.inspect([9.0] * 50, deployment_id=old)
    plant.inspect([9.0] * 50, verdict="review", reason="uncertified", p_value=None, severity=None)
    failed = {"score": None, "p_value": None, "deployment_id": None}
    plant.inspect([9.0] * 50, verdict="not_inspected", reason="undecodable", **failed)
    plant.chore(page=60).check(plant.now)
    assert plant.row().n == 20
    assert plant.row().deployment_id == plant.deployment_id
    plant.inspect([0.0])
    plant.chore().check(plant.now)
    assert plant.row().n == 21


def test_frames_from_before_a_model_went_live_are_left_out(plant: Plant) -> None:
    with writing(plant.here.engine) as conn:
        other = products.add(conn, "bracket", now=NOW).id
        epoch_id = epochs.open(conn, other, "import", "imported images", now=NOW).id
    plant.deploy(2, epoch_id, product_id=other)
    plant.inspect(rng().normal(size=30), product_id=other)
    plant.deploy(3, plant.epoch_id, at=NOW + timedelta(seconds=50))
    plant.inspect([9.0] * 20)  # by a camera whose clock is behind
    plant.inspect(rng().normal(size=10))
    plant.chore().check(plant.now)
    assert plant.row().n == 10
    with reading(plant.here.engine) as conn:
        assert {one.product_id: one.n for one in drift.all(conn)} == {plant.here.product_id: 10, other: 30}


def test_a_station_without_a_certified_model_is_not_followed(plant: Plant) -> None:
    with writing(plant.here.engine) as conn:
        plant.deployment_id = plant.here.deploy(conn, 7)
    plant.inspect(rng().normal(size=20))
    plant.chore().check(plant.now)
    with reading(plant.here.engine) as conn:
        assert not drift.all(conn)


def alarmed(plant: Plant, station: int | None = None, **given: Any) -> DriftWatch:
    plant.inspect([4.0] * 50, station)
    watch = plant.chore(**given)
    watch.check(plant.now)
    return watch


def test_a_new_deployment_ends_the_alarm_and_begins_a_stream_with_its_own_scores(plant: Plant) -> None:
    watch = alarmed(plant)
    assert plant.standing() == [("drift", SUBJECT)]
    plant.deploy(2, plant.epoch_id, [4 + one for one in CERTIFIED], at=plant.now)
    watch.check(plant.now)
    assert not plant.standing()
    plant.offset = 200
    plant.inspect(4 + rng().normal(size=500))
    watch.check(plant.now)
    row = plant.row()
    assert (row.stream, row.n, row.alarm, row.deployment_id) == (2, 500, None, plant.deployment_id)
    assert not plant.standing()


def test_an_epoch_that_a_person_opens_ends_the_alarm_and_the_watch_until_the_next_certificate(plant: Plant) -> None:
    watch = alarmed(plant)
    n = plant.row().n
    with writing(plant.here.engine) as conn:
        cut = epochs.open(conn, plant.here.product_id, "camera", "new lamp", now=plant.now)
    plant.inspect([4.0] * 50)
    watch.check(plant.now)
    assert not plant.standing() and plant.row().n == n
    with reading(plant.here.engine) as conn:
        found, reference = drift.all(conn), drift.references(conn).get(plant.here.product_id)
    assert reference is None and not found[0].of(reference)
    assert lines(found, reference, {}, 0.01, ZoneInfo("UTC")) == [WAITING]
    plant.deploy(2, cut.id, at=plant.now)
    plant.offset = 300
    plant.inspect(rng().normal(size=30))
    watch.check(plant.now)
    assert (plant.row().stream, plant.row().n, plant.row().epoch_id) == (2, 30, cut.id)


def test_an_alarm_opens_an_epoch_where_it_is_told_to_one_for_all_stations(plant: Plant) -> None:
    with writing(plant.here.engine) as conn:
        other = stations.add(conn, "press-2", product_id=plant.here.product_id, now=NOW).id
    plant.inspect([4.0] * 50, other)
    alarmed(plant, opens_epoch=True)
    with reading(plant.here.engine) as conn:
        history = epochs.of_product(conn, plant.here.product_id)
        product = products.get(conn, plant.here.product_id)
        lapse = lapses.of_product(conn, product, Certificates())
    assert [one.cause for one in history] == ["import", "drift"]
    assert lapse and lapse.old and lapse.bursts
    at = {plant.row(one).alarmed_at for one in (plant.here.station_id, other)}
    assert history[1].opened_at in at and history[1].by is None
    assert "scores at press-" in history[1].words and "evidence" in history[1].words
    assert plant.standing() and "an epoch was opened: review its audit items" in plant.alarms.words[-1]
    plant.deploy(2, history[1].id, at=plant.now)
    plant.chore().check(plant.now)
    assert not plant.standing()


def test_the_agent_does_it_and_counts_what_it_did(plant: Plant) -> None:
    metrics = Metrics()
    chores = upkeep.watching(
        plant.here.engine, Settings(), plant.alarms, metrics, host="h", reading_frames=lambda: True, certified=list,
        notify=lambda _: None,
    )  # fmt: skip
    plant.inspect([4.0] * 50)
    (one,) = (chore for chore in chores if chore.name == "drift")
    one.do(plant.now)
    served = metrics.text().decode()
    assert 'goodpart_drift_frames_total{product="flange",station="press-1"} 50.0' in served
    assert 'goodpart_drift_alarms_total{product="flange",station="press-1"} 1.0' in served


def test_a_part_scores_as_its_highest_frame(plant: Plant) -> None:
    for n, score in enumerate(rng().normal(size=40)):
        plant.inspect([score, score - 1], serial=f"p{n}")
    plant.inspect([0.0])
    plant.chore().check(plant.now + timedelta(minutes=1))
    assert (plant.row().n, len(plant.row().state["open"])) == (36, 5), "of the newest more frames may come"


def test_a_turn_is_bounded_and_the_station_farthest_behind_goes_first(plant: Plant) -> None:
    with writing(plant.here.engine) as conn:
        other = stations.add(conn, "press-2", product_id=plant.here.product_id, now=NOW).id
    plant.inspect(rng().normal(size=100))
    plant.inspect(rng().normal(size=100), other)
    seconds = iter(range(1000))
    watch = DriftWatch(
        plant.here.engine, Settings(), plant.alarms, Metrics(), page=10,
        monotonic=lambda: next(seconds) * chore.TURN_S / 4,
    )  # fmt: skip
    counted = []
    for _ in range(4):
        watch.check(plant.now)
        with reading(plant.here.engine) as conn:
            counted.append(sum(one.n for one in drift.all(conn)))
    assert counted == [30, 60, 90, 120]
    with reading(plant.here.engine) as conn:
        assert {one.station_id for one in drift.all(conn)} == {plant.here.station_id, other}


def test_the_models_page_says_how_much_speaks_for_a_change(plant: Plant) -> None:
    alarmed(plant)
    with reading(plant.here.engine) as conn:
        found, reference = drift.all(conn), drift.references(conn)[plant.here.product_id]
    (said,) = lines(found, reference, {plant.here.station_id: "press-1"}, 0.01, ZoneInfo("UTC"))
    assert "Drift at press-1: evidence" in said and "since 2026-03-02 10:07; it alarms at 164 to 1." in said
    assert "**Alarm at 2026-03-02 10:07**" in said


def test_the_command_lists_what_is_watched(
    plant: Plant, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def listed(product: str | None = None) -> list[dict[str, Any]]:
        capsys.readouterr()
        command.list_(product=product, json=True)
        found: list[dict[str, Any]] = json.loads(capsys.readouterr().out)
        return found

    monkeypatch.setattr(Common, "database", lambda _: plant.here.engine)
    command.list_()
    assert "nothing yet" in capsys.readouterr().out
    plant.inspect(rng().normal(size=50))
    watch = plant.chore()
    watch.check(plant.now)
    (found,) = listed("flange")
    assert (found["product"], found["station"], found["state"]) == ("flange", "press-1", "watching")
    assert (found["parts"], found["stream"], found["alarmed_at"]) == (50, 1, None)
    assert found["alarm_at"] == pytest.approx(164.5, abs=0.1) and 0 < found["evidence"] < 10
    assert found["since"].startswith("2026-03-02 10:07")
    alarmed(plant)
    assert listed()[0]["state"] == "alarmed" and listed()[0]["evidence"] > 164
    plant.deploy(2, plant.epoch_id, at=plant.now)
    assert listed()[0]["state"] == "ended"
    with writing(plant.here.engine) as conn:
        epochs.open(conn, plant.here.product_id, "person", "another alloy", now=plant.now)
    assert listed()[0]["state"] == "waiting"
    with pytest.raises(NotFound):
        command.list_(product="nobody")
