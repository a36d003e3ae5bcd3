"""Teaching over a log in memory: what becomes of the frames, which parts are kept, and the whole way to live."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy import Engine

from agent.pipeline.provider import Deployed
from agent.retrain import child, look, looks, run
from agent.retrain import holding as holdings
from agent.retrain.due import due
from agent.retrain.holding import Holding
from agent.retrain.scoring import open_scorer
from agent.service import models, reviews, teach
from agent.settings import Settings, utc_now
from agent.sources.memory import MemoryLog, MemorySource
from agent.store import items, lesson, registry, stations, users
from agent.store.engine import reading, writing
from agent.store.lesson import Lesson
from agent.store.tables import inspection, item
from agent.store.users import User
from model import images
from model.artifact import from_bytes
from model.certificate import Certificate
from tests.integration.retrain_parts import SIDE, picture
from tests.streams import Running, corrupt, frame, headers, running, settings, until

TRAINING: dict[str, dict[str, Any]] = {
    # A patch memory alone, in its plain form: the quickest real model.
    "training": {"height": SIDE, "width": SIDE, "memory_share": 1.0, "positional": False},
    "scoring": {"device": "cpu", "precision": "fp32", "threads": 1},
    "certificate": {"review_rate": 0.3, "reject_rate": 0.2},
}


class Shop:
    """A line and an engineer who teaches `disc` from s1."""

    def __init__(self, engine: Engine, folder: Path) -> None:
        self.engine = engine
        self.settings: Settings = settings(folder, pipeline={"blind_after": 2}, **TRAINING)
        self.log = MemoryLog(2)
        self.sent = 0
        with writing(engine) as conn:
            self.eve: User = users.add(conn, "eve", "engineer", utc_now())

    def teach(self, parts: int) -> int:
        found = teach.start(
            self.engine, self.eve, "disc", station="s1", parts=parts, key=f"start-{parts}", now=utc_now()
        )
        return found.product_id

    def send(self, count: int, *, value: bytes = b"", **given: Any) -> None:
        for _ in range(count):
            self.sent += 1
            named = {"serial": f"S{self.sent}"} | given
            self.log.append(value or picture(self.sent), headers(f"f{self.sent}", **named), partition=self.sent % 2)

    def lesson(self, product_id: int) -> Lesson:
        with reading(self.engine) as conn:
            found = lesson.find(conn, product_id)
        assert found is not None
        return found

    def items(self) -> list[Any]:
        with reading(self.engine) as conn:
            return list(conn.execute(sa.select(item).order_by(item.c.id)))


@pytest.fixture
def shop(engine: Engine, tmp_path: Path) -> Iterator[Shop]:
    yield Shop(engine, tmp_path)


def test_frames_of_a_taught_product_need_no_model_and_its_first_parts_are_kept(shop: Shop) -> None:
    with running(shop.engine, shop.settings, MemorySource(shop.log)) as line:
        disc = shop.teach(4)
        shop.send(9)
        line.until_received(9)
        rows = line.rows()
        assert {(one.verdict, one.reason, one.score, one.deployment_id, one.product_id) for one in rows} == {
            ("review", "uncertified", None, None, disc)
        }
        line.until(lambda: len(line.sink.published) == 9)
        said = json.loads(line.sink.published[0].value)
        assert (said["verdict"], said["reason"], said["score"]) == ("review", "uncertified", None)
        with reading(shop.engine) as conn:
            assert {one.status for one in stations.all(conn)} == {"ok"}
            assert items.queue(conn) == [] and items.counts(conn).open == 0
        kept = shop.items()
        assert len(kept) == 4 and {one.kind for one in kept} == {"teach"}
        assert all(line.store.get(one.frame_sha256) and one.thumbnail_sha256 for one in kept)
        found = shop.lesson(disc)
        assert (found.teaching.state, found.collected, found.look and found.look.state) == ("looking", 4, "queued")
        assert line.scorer.batches == []


def test_other_stations_and_broken_frames_teach_nothing(shop: Shop) -> None:
    with running(shop.engine, shop.settings, MemorySource(shop.log)) as line:
        disc = shop.teach(4)
        shop.send(2, station="s2", product="disc")
        shop.send(1, value=corrupt())
        shop.send(1, value=frame(), station="s2", product="flange")
        line.until_received(4)
        found = {one.frame_id: (one.verdict, one.reason) for one in line.rows()}
        assert found["f1"] == found["f2"] == ("review", "uncertified")
        assert found["f3"] == ("not_inspected", "undecodable")
        assert found["f4"] == ("pass", None)
        assert [one.kind for one in shop.items()] == ["failed"]
        assert shop.lesson(disc).collected == 0


def test_two_frames_of_one_serial_are_one_part(shop: Shop) -> None:
    with running(shop.engine, shop.settings, MemorySource(shop.log)) as line:
        disc = shop.teach(2)
        for serial in ("A", "A", "B", "C"):
            shop.send(1, serial=serial)
            line.until_received(shop.sent)  # in this order
        assert [one.serial for one in shop.items()] == ["A", "A", "B"]
        assert shop.lesson(disc).teaching.state == "looking"


def test_a_part_that_was_taken_out_does_not_come_back_on_its_next_lap(shop: Shop) -> None:
    with running(shop.engine, shop.settings, MemorySource(shop.log)) as line:
        disc = shop.teach(3)
        for serial in ("A", "B"):
            shop.send(1, serial=serial)
            line.until_received(shop.sent)
        reviews.decide(shop.engine, shop.eve, shop.items()[0].id, "defect", "dent", key="d", now=utc_now())
        for serial in ("A", "C", "A", "D"):
            shop.send(1, serial=serial)
            line.until_received(shop.sent)
        assert [(one.serial, one.state) for one in shop.items()] == [
            ("A", "closed"), ("B", "open"), ("C", "open"), ("D", "open")
        ]  # fmt: skip
        assert shop.lesson(disc).teaching.state == "looking"


def test_an_agent_that_starts_again_goes_on_counting(shop: Shop) -> None:
    with running(shop.engine, shop.settings, MemorySource(shop.log)) as line:
        disc = shop.teach(5)
        shop.send(3)
        line.until_received(3)
    shop.send(6)
    with running(shop.engine, shop.settings, MemorySource(shop.log), agent="second") as line:
        line.until_received(9)
    assert shop.lesson(disc).collected == len(shop.items()) == 5


def test_two_agents_collect_one_set(shop: Shop) -> None:
    first, second = MemorySource(shop.log, auto=False), MemorySource(shop.log, auto=False)
    first.assign([0])
    second.assign([1])
    with (
        running(shop.engine, shop.settings, first) as line,
        running(shop.engine, shop.settings, second, agent="second"),
    ):
        disc = shop.teach(6)
        shop.send(20)
        line.until_received(20)
    assert shop.lesson(disc).collected == len(shop.items()) == 6


def test_a_cancelled_teaching_leaves_a_product_without_a_model(shop: Shop) -> None:
    with running(shop.engine, shop.settings, MemorySource(shop.log)) as line:
        disc = shop.teach(5)
        shop.send(2)
        line.until_received(2)
        teach.cancel(shop.engine, shop.eve, disc, key="cancel", now=utc_now())

        def refused() -> bool:  # the agent hears of it within a second
            shop.send(1)
            line.until_received(shop.sent)
            return any(one.reason == "no_model" for one in line.rows())

        line.until(refused)
        assert {(one.state, one.decision) for one in shop.items()} == {("closed", None)}


def test_ninety_parts_are_taught_and_the_next_frame_is_decided(shop: Shop) -> None:
    with running(shop.engine, shop.settings, MemorySource(shop.log)) as line:
        disc = shop.teach(90)
        shop.send(40)
        shop.send(1, value=picture(1, defect=True), serial="odd")
        shop.send(54)
        line.until_received(95)
        _look(shop, line)
        found = shop.lesson(disc)
        assert found.looked and found.may_train
        assert found.views[0].part == "odd", [(one.part, one.oddness) for one in found.views[:3]]
        reviews.decide(shop.engine, shop.eve, found.views[0].item_id, "defect", "blot", key="d", now=utc_now())
        teach.train(shop.engine, shop.eve, disc, key="train", now=utc_now())
        _train(shop, line)
        found = shop.lesson(disc)
        assert found.run and found.run.state == "needs_person" and found.version
        with reading(shop.engine) as conn:
            top = lesson.top_calibration(conn, found.version.id)
        assert len(top) >= 5 and top[0].score == max(one.score for one in top)
        for one in top:
            assert one.preview_sha256 and one.overlay_sha256 and one.station == "s1" and one.frames == 1
            shown = [images.decode(line.store.get(name)) for name in (one.preview_sha256, one.overlay_sha256)]
            assert shown[0].shape == shown[1].shape and (shown[0] != shown[1]).any()
        shop.send(1)
        line.until_received(96)
        assert _last(line).reason == "uncertified", "not live before a person says so"
        digest = shop.settings.decision_hash
        models.promote(shop.engine, shop.eve, found.version.id, "looked", digest, key="p", now=utc_now())
        assert shop.lesson(disc).teaching.state == "done"
        shop.send(1)
        line.until_received(97)
        assert _last(line).reason == "uncertified", "its model is still being loaded"
        line.provider.unusable.add(disc)
        shop.send(1)
        line.until_received(98)
        assert _last(line).reason == "no_model", "it cannot be loaded: the station goes blind"
        line.provider.unusable.clear()
        line.provider.deployed[disc] = _deployed(shop, line, disc)
        shop.send(1)
        line.until_received(99)
        last = _last(line)
        assert last.verdict in ("pass", "review", "reject") and last.reason is None
        assert last.score is not None and last.p_value is not None
        with reading(shop.engine) as conn:
            live = registry.live(conn, disc)
            assert live is not None and last.deployment_id == live.id and live.by == shop.eve.id
            assert live.certificate is not None and live.certificate["n"] == 36


def _look(shop: Shop, line: Running) -> None:
    with writing(shop.engine) as conn:
        taken = looks.take(conn, utc_now())
    assert taken is not None
    with Holding(shop.engine, taken[1], utc_now) as holding:
        look.execute(shop.engine, line.store, shop.settings, taken[0].id, holding, clock=utc_now, threads=1)


def _train(shop: Shop, line: Running) -> None:
    with writing(shop.engine) as conn:
        lease = holdings.acquire(conn, utc_now())
        found = due(conn, shop.settings, utc_now(), None)
        assert lease is not None and found is not None and found.trigger == "teach"
        opened = run.open_run(conn, shop.settings, found, utc_now())
    with Holding(shop.engine, lease, utc_now) as holding:
        run.execute(shop.engine, line.store, shop.settings, opened.id, holding, clock=utc_now, threads=1)


def _deployed(shop: Shop, line: Running, product_id: int) -> Deployed:
    with reading(shop.engine) as conn:
        live = registry.live(conn, product_id)
    assert live is not None and live.certificate is not None
    scorer = open_scorer(shop.settings, from_bytes(line.store.get(live.artifact_sha256)), threads=1)
    return Deployed(live.id, scorer, Certificate.from_dict(dict(live.certificate)))


def _last(line: Running) -> Any:
    with reading(line.engine) as conn:
        rows = conn.execute(sa.select(inspection)).all()
    return max(rows, key=lambda one: int(one.frame_id[1:]))


def test_a_look_that_fails_says_why(shop: Shop) -> None:
    with running(shop.engine, shop.settings, MemorySource(shop.log)) as line:
        disc = shop.teach(2)
        shop.send(2)
        line.until_received(2)
        gone = shop.items()[0]
        line.store.delete(gone.frame_sha256)
        with pytest.raises(Exception, match="cannot be read"):
            _look(shop, line)
    found = shop.lesson(disc)
    assert found.problem and f"item {gone.id}" in found.problem and not found.may_train


def test_a_child_process_looks_through_and_one_that_is_killed_is_said(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    with running(shop.engine, shop.settings, MemorySource(shop.log)) as line:
        disc = shop.teach(2)
        shop.send(2)
        line.until_received(2)
    agent = looks.Looks(shop.settings, shop.engine, utc_now)
    agent.tick()
    assert shop.lesson(disc).looked and shop.lesson(disc).problem is None
    teach.look(shop.engine, shop.eve, disc, key="again", now=utc_now())
    script = "import os, signal; os.kill(os.getpid(), signal.SIGKILL)"
    monkeypatch.setattr(child, "spawn", lambda *_, **__: subprocess.Popen([sys.executable, "-c", script]))
    agent.tick()
    assert shop.lesson(disc).problem == "the parts could not be looked through: its process ended with status -9"


def test_an_agent_that_stops_leaves_the_look_to_the_next(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    with running(shop.engine, shop.settings, MemorySource(shop.log)) as line:
        disc = shop.teach(1)
        shop.send(1)
        line.until_received(1)
    agent = looks.Looks(shop.settings, shop.engine, utc_now)
    sleeps = [sys.executable, "-c", "import time; time.sleep(60)"]
    monkeypatch.setattr(child, "spawn", lambda *_, **__: subprocess.Popen(sleeps))
    thread = threading.Thread(target=agent.tick)
    thread.start()
    until(lambda: agent.running)
    agent.stop()
    thread.join(30)
    assert not thread.is_alive() and shop.lesson(disc).problem is None
    with writing(shop.engine) as conn:
        taken = looks.take(conn, utc_now())
        assert taken is not None and taken[0].args == {"product_id": disc}
