"""Gaps: the claim that goes on behind one puts it on record and says so, in one transaction."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from agent.frame import StreamKey
from agent.pipeline.claims import Granted, claim_all
from agent.pipeline.gap import Cut, Gap
from agent.settings import Kafka
from agent.sources.base import Bounds, Place
from agent.store import alerts, gaps, offsets
from agent.store.engine import reading, writing
from agent.store.offsets import Counts
from tests.databases import NOW, Line

pytestmark = pytest.mark.usefixtures("each_database")
KEY = StreamKey("cluster", "topic-id", "goodpart.frames")
SUBJECT = "partition:goodpart.frames/0"


def _claim(here: Line, limits: Bounds, later_s: float, cut: Cut | None = None, partition: int = 0) -> Granted:
    with writing(here.engine) as conn:
        (found,) = claim_all(
            conn, KEY, {partition: limits}, partitions=2, settings=Kafka(), holder="me",
            now=NOW + timedelta(seconds=later_s), stored_before={}, cuts={partition: cut} if cut else {},
            ends={},
        )  # fmt: skip
    assert isinstance(found, Granted)
    return found


def _read_to(here: Line, granted: Granted, offset: int) -> None:
    with writing(here.engine) as conn:
        offsets.advance(conn, granted.lane.claim, offset, Counts(), NOW)


@pytest.mark.promise(3)
@pytest.mark.parametrize("kind", ["below_start", "truncated"])
def test_a_gap_is_told_with_the_claim_that_finds_it_once_however_often_that_is_tried(here: Line, kind: str) -> None:
    _read_to(here, _claim(here, Bounds(0, 3), 0), 3)
    limits, cut = (Bounds(5, 9), None) if kind == "below_start" else (Bounds(0, 9), Cut(KEY, Place(1, 4)))
    wanted = Gap(kind, 3, 5 if cut is None else 1)
    first = _claim(here, limits, 1, cut)
    with reading(here.engine) as conn:
        (alert,) = alerts.standing(conn)
    assert (alert.kind, alert.subject, alert.level, alert.n) == ("data_gap", SUBJECT, "error", 1)
    assert alert.words == alert.told == wanted.words(KEY, 0)
    assert alert.numbers == {"gap": kind, "from_offset": 3, "to_offset": wanted.to_offset}
    assert alert.next_attempt_at == NOW + timedelta(seconds=1), "the webhook is told"
    assert first.lane.claim.leader_epoch == (cut and cut.place.leader_epoch), (
        "else a cut below this one leaves no trace"
    )
    again = _claim(here, limits, 1, cut)  # its answer was lost
    assert (first.gap, first.opened, again.gap, again.opened) == (wanted, alert, wanted, None)
    assert replace(again.lane.claim, epoch=first.lane.claim.epoch) == first.lane.claim
    assert _claim(here, limits, 1, partition=1).gap is None
    assert _claim(here, limits, 2, cut).gap is None, "the next start finds nothing odd"
    with reading(here.engine) as conn:
        assert alerts.standing(conn) == [alert]
        assert [one.kind for one in gaps.recent(conn)] == [kind]


@pytest.mark.promise(3)
def test_another_gap_before_somebody_has_seen_the_first_is_counted(here: Line) -> None:
    _claim(here, Bounds(0, 3), 0)
    for number in (1, 2):
        _claim(here, Bounds(5 * number, 20), number)
    with reading(here.engine) as conn:
        (alert,) = alerts.standing(conn)
    assert (alert.n, alert.numbers) == (2, {"gap": "below_start", "from_offset": 5, "to_offset": 10})
