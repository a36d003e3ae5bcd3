"""Escape, miss and false-alarm rates: which audited parts count, as what, and in which windows."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from agent.service import reviews
from agent.store import rates, stations
from agent.store.engine import reading, writing
from agent.store.rates import Audited
from model.statistics import AuditSample, Judged
from tests.databases import Line, line

pytestmark = pytest.mark.usefixtures("each_database")
MIDNIGHT = datetime(2026, 3, 2, tzinfo=UTC)


class Audits:
    def __init__(self, here: Line) -> None:
        self.here, self._offset = here, 0

    def part(self, decision: str | None, verdict: str = "pass", hours: float = 1, **changes: Any) -> None:
        self._offset += 1
        given = {"kind": "audit", "verdict": verdict, "event_at": MIDNIGHT + timedelta(hours=hours), **changes}
        with writing(self.here.engine) as conn:
            item = self.here.add_item(conn, self._offset, **given)
        if decision:
            reviews.decide(
                self.here.engine, self.here.operator, item.id, decision, "crack" if decision == "defect" else None,
                key=str(item.id), now=MIDNIGHT,
            )  # fmt: skip

    def found(self, until: float = 48, **given: Any) -> list[Audited]:
        end = MIDNIGHT + timedelta(hours=until)
        with reading(self.here.engine) as conn:
            return rates.audited(conn, self.here.product_id, MIDNIGHT, end, hours=24, timezone=UTC, **given)


@pytest.fixture
def audits(tmp_path: Path) -> Iterator[Audits]:
    with line(tmp_path) as here:
        yield Audits(here)


def test_parts_count_by_verdict_and_decision(audits: Audits) -> None:
    for _ in range(20):
        audits.part("normal")
    audits.part("defect")
    audits.part("normal", "review")
    audits.part("defect", "reject")
    audits.part("unsure")
    (found,) = audits.found()
    assert found == Audited(
        audits.here.product_id, audits.here.station_id, 1, 1, AuditSample(Judged(20, 1, 1), Judged(1, 1, 0))
    )
    assert (found.sample.escape_rate.hits, found.sample.escape_rate.n, found.sample.escape_rate.open) == (1, 21, 1)


def test_a_window_counts_from_ninety_five_percent_judged_once_it_has_ended(audits: Audits) -> None:
    for hours, decided, left in ((1, 19, 1), (25, 9, 1), (49, 1, 0)):
        for number in range(decided + left):
            audits.part("normal" if number < decided else None, hours=hours)
    (found,) = audits.found(until=60)
    assert (found.windows, found.judged, found.sample) == (2, 1, AuditSample(Judged(19, 0, 1)))
    assert audits.found(until=23) == []


def test_a_part_is_what_its_frames_at_the_station_are_together(audits: Audits) -> None:
    with writing(audits.here.engine) as conn:
        other = stations.add(conn, "press-2", now=MIDNIGHT).id
    audits.part("normal", serial="a")
    audits.part("normal", "review", serial="a")
    audits.part("defect", serial="a", station_id=other)
    audits.part(None, serial="a", station_id=other)
    audits.part("normal", hours=23.9, serial="b")
    audits.part("normal", hours=24.1, serial="b")
    one, two = audits.found()
    assert (one.windows, one.sample) == (1, AuditSample(Judged(1), Judged(1)))
    assert (two.station_id, two.sample) == (other, AuditSample(Judged(0, 1)))
    assert audits.found(station_id=other) == [two]


def test_what_no_model_decided_says_nothing_of_one(audits: Audits) -> None:
    audits.part("normal", "review", reason="uncertified")
    audits.part("normal", "not_inspected", reason="model_error")
    audits.part("normal", "review", kind="flagged")
    assert audits.found() == []
