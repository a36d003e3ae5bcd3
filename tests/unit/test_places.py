"""What the directory makes of a frame's headers: by the product of its offset, looked up once a claim."""

from __future__ import annotations

import random
import threading
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection

from agent.frame import BadHeader, Record, StreamKey, parse
from agent.health import Health
from agent.metrics import Metrics
from agent.pipeline.directory import Directory
from agent.pipeline.patience import Patience
from agent.pipeline.work import Lane, Work
from agent.store import changeovers, epochs, lapses, offsets, products, stations
from agent.store.engine import writing
from tests.databases import NOW, Line, line
from tests.streams import headers, settings

KEY = StreamKey("cluster", "topic-id", "goodpart.frames")


class Desk:
    """A directory, and lanes that ask it."""

    def __init__(self, here: Line, folder: Path) -> None:
        self.here = here
        self._ticks = count()
        patience = Patience(Health(), Metrics(), threading.Event(), random.Random(0))
        wanted = settings(folder, kafka={"product": "spare"})
        self._directory = Directory(here.engine, patience, wanted, monotonic=self._now)

    def _now(self) -> float:
        return next(self._ticks) / 1e6  # it never comes to a second

    def claim(self) -> Lane:
        with writing(self.here.engine) as conn:
            return Lane(KEY, offsets.claim(conn, self.here.stream_id, 0, holder="me", start=0, now=NOW))

    def change(self, product_id: int, at: int) -> None:
        with writing(self.here.engine) as conn:
            claim = offsets.claim(conn, self.here.stream_id, 0, holder="me", start=0, now=NOW)
            offsets.reposition(conn, claim, at)
            changeovers.change(conn, stations.get(conn, self.here.station_id), product_id, NOW)

    def later(self, seconds: int) -> None:
        self._ticks = count(next(self._ticks) + seconds * 10**6)

    def audit_rate(self, lane: Lane, station: str = "press-1") -> float:
        self.later(40)
        record = Record(0, 0, NOW, None, tuple(headers(station=station)), b"")
        return self._directory.place(Work(lane, record, NOW, 0), parse(record, stream="s")).audit_rate

    def product(self, lane: Lane, offset: int, **given: Any) -> str:
        record = Record(0, offset, NOW, None, tuple(headers(**({"station": "press-1"} | given))), b"")
        work = Work(lane, record, NOW, self._now())
        return self._directory.place(work, parse(record, stream="s")).product


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    with line(tmp_path) as made:
        yield Desk(made, tmp_path)


def test_a_lane_asks_once_a_span_and_never_for_frames_that_name_their_product(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []
    span = changeovers.span

    def counted(conn: Connection, *given: int) -> changeovers.Span:
        asked.append(given[-1])
        return span(conn, *given)

    monkeypatch.setattr(changeovers, "span", counted)
    lane = desk.claim()
    assert {desk.product(lane, offset) for offset in range(20)} == {"flange"}
    assert asked == [0]
    with writing(desk.here.engine) as conn:
        made = products.add(conn, "bracket", now=NOW).id  # which the directory has not read yet
    desk.change(made, 10)
    lane = desk.claim()
    assert [desk.product(lane, offset) for offset in (10, 11, 12, 9, 8)] == ["bracket"] * 3 + ["flange"] * 2
    assert desk.product(lane, 12, product="flange") == "flange"
    assert asked == [0, 10, 9]


def test_a_retired_product_is_not_taken_for_the_topics(desk: Desk) -> None:
    with writing(desk.here.engine) as conn:
        products.add(conn, "spare", now=NOW)
        stations.add(conn, "press-2", now=NOW)
        products.retire(conn, desk.here.product_id, NOW)
    lane = desk.claim()
    with pytest.raises(BadHeader, match="'press-1' runs a retired product"):
        desk.product(lane, 0)
    assert desk.product(lane, 0, station="press-2") == "spare"


def test_more_parts_are_drawn_while_a_certificate_has_lapsed(desk: Desk) -> None:
    lane, here = desk.claim(), desk.here
    with writing(here.engine) as conn:
        stations.add(conn, "press-2", product_id=here.product_id, audit_rate=0.5, now=NOW)
        epochs.open(conn, here.product_id, "import", "imported images", now=NOW)
    assert [desk.audit_rate(lane, station) for station in ("press-1", "press-2")] == [0, 0.5]
    with writing(here.engine) as conn:
        epochs.open(conn, here.product_id, "camera", "new lamp", now=NOW)
    assert [desk.audit_rate(lane, station) for station in ("press-1", "press-2")] == [0.1, 0.5]


def test_who_has_lapsed_is_counted_less_often_than_the_rest_is_read(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    counted, bursting = [], lapses.bursting

    def counting(*given: Any) -> Any:
        counted.append(given)
        return bursting(*given)

    monkeypatch.setattr(lapses, "bursting", counting)
    lane = desk.claim()
    for offset in range(60):
        desk.later(2)
        desk.product(lane, offset)
    assert len(counted) == 4
    with writing(desk.here.engine) as conn:
        stations.add(conn, "press-9", product_id=desk.here.product_id, now=NOW)
    desk.later(2)
    assert desk.product(desk.claim(), 60, station="press-9") == "flange"
