"""Newly approved normals: which are counted, and among how many inspected frames."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import Connection

from agent.store import approvals, epochs, proposals, samples, snapshots, trends
from agent.store.approvals import Approvals
from agent.store.engine import reading, writing
from agent.store.samples import NewSample, Sample
from tests.databases import NOW, Line, sha

pytestmark = pytest.mark.usefixtures("each_database")
LATER = NOW + timedelta(days=20)
CLEAR, OFF = ({"found": found, "words": "in words"} for found in ("clear", "off"))


def approve(here: Line, conn: Connection, number: int, at: datetime, **changes: Any) -> Sample:
    """What a review makes of a flagged frame seen then."""
    item = here.add_item(conn, number, event_at=at)
    given = {"role": "train", "origin": "flagged", "added_by": here.operator.id, **changes}
    new = NewSample(
        here.product_id, blob_sha256=sha(number), pixels_sha256=sha(number), item_id=item.id, **given
    )  # fmt: skip
    return samples.add(conn, new, LATER)


def inspect(here: Line, conn: Connection, first: int, count: int, at: datetime) -> None:
    trends.add_inspections(conn, [here.inspection(first + n, event_at=at) for n in range(count)])


def unlearnt(here: Line, beyond: int | None = None) -> Approvals:
    with reading(here.engine) as conn:
        return approvals.unlearnt(conn, here.product_id, beyond, LATER)


def test_only_what_one_person_approved_and_no_model_learnt_counts(here: Line) -> None:
    with writing(here.engine) as conn:
        approve(here, conn, 1, NOW)
        snapshot = snapshots.freeze(conn, here.product_id, NOW)
        new = approve(here, conn, 2, NOW)
        approve(here, conn, 3, NOW, origin="import")
        approve(here, conn, 4, NOW, role="defect")
        approve(here, conn, 5, NOW, state="quarantined")
        twice = approve(here, conn, 6, NOW, state="quarantined")
        proposals.move(conn, twice.id, "accepted", expected=("quarantined",), by=here.engineer.id, now=LATER)
        by_agent = approve(here, conn, 7, NOW, state="proposed")
        proposals.move(conn, by_agent.id, "accepted", expected=("proposed",), by=None, now=LATER)
        clear, off = (approve(here, conn, number, NOW, state="proposed") for number in (9, 10))
        for one, found in ((clear, CLEAR), (off, OFF)):
            proposals.move(conn, one.id, "accepted", expected=("proposed",), by=None, quarantine=found, now=LATER)
    unchecked = frozenset({new.id, by_agent.id, off.id})
    assert unlearnt(here, snapshot.id) == Approvals(unchecked | {clear.id}, 0, unchecked)


def test_the_frames_are_those_since_the_version_that_flagged_the_oldest_went_live(here: Line) -> None:
    day = timedelta(days=1)
    with writing(here.engine) as conn:
        here.deploy(conn, 100)  # at NOW, as tests deploy
        inspect(here, conn, 0, 3, NOW - day)
        inspect(here, conn, 10, 5, NOW + day)
        inspect(here, conn, 20, 7, NOW + 9 * day)
        late = approve(here, conn, 1, NOW + 9 * day)
    assert unlearnt(here) == Approvals(frozenset({late.id}), 12, frozenset({late.id}))
    with writing(here.engine) as conn:
        early = approve(here, conn, 2, NOW - day)
    # Nothing was live when that one was seen: the line counts from its quarter of an hour on.
    assert unlearnt(here) == Approvals(frozenset({late.id, early.id}), 15, frozenset({late.id, early.id}))


def test_what_was_seen_before_the_stream_changed_is_not_counted_but_wants_a_second_look(here: Line) -> None:
    with writing(here.engine) as conn:
        here.deploy(conn, 100)
        inspect(here, conn, 0, 3, NOW + timedelta(hours=1))
        inspect(here, conn, 10, 5, NOW + timedelta(days=2))
        before = approve(here, conn, 1, NOW + timedelta(hours=1))
        epochs.open(conn, here.product_id, "camera", "new lamp", at=NOW + timedelta(days=1), now=LATER)
    assert unlearnt(here) == Approvals(unchecked=frozenset({before.id}))
    with writing(here.engine) as conn:
        since = approve(here, conn, 2, NOW + timedelta(days=2))
    assert unlearnt(here) == Approvals(frozenset({since.id}), 5, frozenset({before.id, since.id}))
