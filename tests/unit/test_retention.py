"""Which evidence is let go, and what is still said of an item without it."""

from __future__ import annotations

from datetime import UTC, timedelta
from typing import Any

import pytest
import sqlalchemy as sa

from agent.frame import Record, StreamKey
from agent.pipeline.commit import commit
from agent.pipeline.work import Evidence, Lane, Work
from agent.retention import SUBJECT, Released, Retention
from agent.service import PermissionDenied, reviews
from agent.service import items as service
from agent.settings import Retention as Limits
from agent.settings import Settings
from agent.store import audit, dead_letters, item_vectors, items, offsets, samples
from agent.store.dead_letters import NewDeadLetter
from agent.store.engine import reading, writing
from agent.store.errors import Conflict, Fenced
from agent.store.item_vectors import Vector
from agent.store.lots import Lots
from agent.store.samples import NewSample
from agent.store.tables import blob, dead_letter, item
from dashboard.desk import card
from tests.databases import NOW, Line, add_blob, sha

pytestmark = pytest.mark.usefixtures("each_database")
DAY = timedelta(days=1)


class Heard:
    """Alarms, as they were said."""

    def __init__(self) -> None:
        self.said: list[tuple[str, str, str]] = []

    def raised(self, kind: str, subject: str, words: str, **_: object) -> None:
        self.said.append((kind, subject, words))

    def cleared(self, kind: str, subject: str) -> None:
        self.said.append((kind, subject, "cleared"))


def _item(here: Line, number: int, state: str = "closed", age: timedelta = 10 * DAY, **changes: Any) -> int:
    with writing(here.engine) as conn:
        made = here.add_item(conn, number, **changes)
        closed = {"state": state, "closed_at": NOW - age if state == "closed" else None}
        conn.execute(sa.update(item).where(item.c.id == made.id).values(**closed))
        conn.execute(sa.update(blob).where(blob.c.sha256 == sha(number)).values(bytes=1000))
    return made.id


def _sample(here: Line, number: int, item_id: int) -> None:
    with writing(here.engine) as conn:
        new = NewSample(here.product_id, "train", "flagged", sha(number), f"{number}", item_id=item_id)
        samples.add(conn, new, NOW)


def _held(here: Line) -> list[int]:
    """Items that have their evidence."""
    with reading(here.engine) as conn:
        return list(
            conn.execute(sa.select(item.c.id).where(item.c.released_at.is_(None)).order_by(item.c.id)).scalars()
        )


def _apply(here: Line, heard: Heard | None = None, **limits: float) -> Released:
    return Retention(here.engine, Limits.model_validate(limits), heard or Heard()).apply(NOW)


def _those_that_stay(here: Line) -> list[int]:
    """One item of each kind whose evidence must be kept, as old as any."""
    ids = [
        _item(here, 100, "open"),
        _item(here, 101, "escalated"),
        _item(here, 102),
        _item(here, 103),
        _item(here, 104),
    ]
    service.pin(here.engine, here.engineer, ids[2], key="pin", now=NOW)
    _sample(here, 104, ids[3])  # of the one by its id, of the other by its picture
    return ids


def test_by_age_the_old_closed_ones_go_and_no_others(here: Line) -> None:
    stay = _those_that_stay(here)
    with writing(here.engine) as conn:
        pictures: dict[str, Any] = {
            f"{name}_sha256": add_blob(conn, n) for n, name in enumerate(("heatmap", "preview"), 200)
        }
    old, new = _item(here, 1, **pictures), _item(here, 2, age=DAY)
    assert _apply(here) == Released()
    assert _apply(here, evidence_days=5) == Released(items=1, bytes=1002)
    assert _held(here) == [*stay, new]
    gone = here.item(old)
    hashes = {gone.frame_sha256, gone.heatmap_sha256, gone.preview_sha256, gone.overlay_sha256, gone.thumbnail_sha256}
    assert (hashes, gone.released_at, gone.state) == ({None}, NOW, "closed")
    assert _apply(here, evidence_days=5) == Released()


def test_the_vector_goes_with_its_item(here: Line) -> None:
    ids = [_item(here, n, age=age) for n, age in enumerate((10 * DAY, DAY))]
    vector = Vector("5" * 64, b"\0\x3c", bytes(256), 0.0, 1.0)
    with writing(here.engine) as conn:
        item_vectors.add_all(conn, here.stream_id, 0, {0: vector, 1: vector})
    assert _apply(here, evidence_days=5).items == 1
    with reading(here.engine) as conn:
        assert item_vectors.of_items(conn, ids) == {ids[1]: vector}


def test_by_bytes_the_oldest_go_until_the_limit_holds(here: Line, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agent.retention.CHUNK", 1)
    stay = _those_that_stay(here)
    ids = [_item(here, n, age=(5 - n) * DAY) for n in range(4)]
    with writing(here.engine) as conn:  # two items of one picture: its bytes count once and go with the last of them
        items.add_all(conn, [here.new_item(50, frame_sha256=sha(0))])
        conn.execute(sa.update(item).where(item.c.offset == 50).values(state="closed", closed_at=NOW))
    heard = Heard()
    assert _apply(here, heard, evidence_gb=9e-6) == Released()
    assert _apply(here, heard, evidence_gb=7.5e-6) == Released(items=3, bytes=2000)
    assert _held(here) == [*stay, ids[3], ids[3] + 1]
    assert heard.said == [("disk", SUBJECT, "cleared")] * 2


def test_what_must_be_kept_beyond_the_limit_is_alarmed_until_it_is_over(here: Line) -> None:
    stay, heard = _those_that_stay(here), Heard()
    _item(here, 1)
    assert _apply(here, heard, evidence_gb=4e-6).items == 1
    assert _held(here) == stay
    ((kind, subject, words),) = heard.said
    assert (kind, subject) == ("disk", SUBJECT)
    assert "retention.evidence_gb = 4e-06" in words
    service.unpin(here.engine, here.engineer, stay[2], key="unpin", now=NOW)
    assert _apply(here, heard, evidence_gb=4e-6).items == 1
    assert heard.said[-1] == ("disk", SUBJECT, "cleared")


def test_old_dead_letters_lose_their_bytes_and_nothing_else(here: Line) -> None:
    with writing(here.engine) as conn:
        add_blob(conn, 1)
        letters = [
            NewDeadLetter(
                here.stream_id, 0, n, "press-1", "undecodable", "", [("ce_id", "1")], sha(1), sha(1), True, at
            )
            for n, at in enumerate((NOW - 10 * DAY, NOW - DAY))
        ]
        dead_letters.add_all(conn, letters)
    assert _apply(here, evidence_days=5) == Released(dead_letters=1)
    with reading(here.engine) as conn:
        new, old = dead_letters.recent(conn)
    assert (new.blob_sha256, old.blob_sha256, old.value_sha256) == (sha(1), None, sha(1))
    assert old.headers == (("ce_id", "1"),)


def test_retention_ends_when_told(here: Line) -> None:
    item_id, heard = _item(here, 1), Heard()
    limits = Limits(evidence_days=1, evidence_gb=1e-9)
    assert Retention(here.engine, limits, heard, stopping=lambda: True).apply(NOW) == Released()
    assert (_held(here), heard.said) == ([item_id], [])


def test_an_item_without_evidence_is_neither_reopened_nor_pinned_nor_a_sample(here: Line) -> None:
    with writing(here.engine) as conn:
        item_id = here.add_item(conn, 1, kind="failed").id
    reviews.decide(here.engine, here.operator, item_id, "normal", key="1", now=NOW - 10 * DAY)
    assert _apply(here, evidence_days=5).items == 1
    with pytest.raises(Conflict, match="no longer kept"):
        reviews.undo(here.engine, here.operator, item_id, key="2", now=NOW)
    with pytest.raises(Conflict, match="no longer kept"):
        service.pin(here.engine, here.engineer, item_id, key="3", now=NOW)
    assert card(here.item(item_id))["frame"] is None
    with writing(here.engine) as conn:  # as a restored database might have it
        conn.execute(sa.update(item).values(state="open", kind="flagged"))
    done = reviews.decide(here.engine, here.operator, item_id, "normal", key="4", now=NOW)
    assert (done.sample_id, done.unused) == (None, "its evidence is no longer kept")


def test_pinning_is_an_engineers_act_on_the_trail(here: Line) -> None:
    item_id = _item(here, 1)
    with pytest.raises(PermissionDenied):
        service.pin(here.engine, here.operator, item_id, key="1", now=NOW)
    service.pin(here.engine, here.engineer, item_id, key="2", now=NOW)
    service.pin(here.engine, here.engineer, item_id, key="2", now=NOW)
    assert here.item(item_id).pinned
    with pytest.raises(Conflict, match="pinned already"):
        service.pin(here.engine, here.engineer, item_id, key="3", now=NOW)
    service.unpin(here.engine, here.engineer, item_id, key="4", now=NOW)
    with pytest.raises(Conflict, match="not pinned"):
        service.unpin(here.engine, here.engineer, item_id, key="5", now=NOW)
    with reading(here.engine) as conn:
        said = [(event.action, event.subject) for event in audit.recent(conn)]
    assert said == [("item.unpin", f"item:{item_id}"), ("item.pin", f"item:{item_id}")]


def test_evidence_that_waited_long_is_held_or_the_frame_is_read_again(here: Line) -> None:
    with writing(here.engine) as conn:
        add_blob(conn, 1)
        claim = offsets.claim(conn, here.stream_id, 0, holder="me", start=0, now=NOW)
    lane = Lane(StreamKey("cluster", "topic-id", "goodpart.frames"), claim)
    later = NOW + 2 * DAY

    def record(offset: int) -> None:
        work = Work(lane, Record(0, offset, NOW, None, (), b""), NOW, 0.0)
        work.dead_letter("no station", NOW)
        work.evidence = Evidence(NOW, frame=sha(1), received=sha(1))
        with writing(here.engine) as conn:
            lane.claim = commit(conn, lane, [work], Lots(9, UTC), Settings(), later).claim

    record(0)
    with reading(here.engine) as conn:
        assert conn.execute(sa.select(blob.c.touched_at)).scalar_one() == later
    with writing(here.engine) as conn:
        conn.execute(sa.update(blob).values(state="deleting"))
    with pytest.raises(Fenced, match="read it again"):
        record(1)
    with reading(here.engine) as conn:
        assert conn.execute(sa.select(sa.func.count()).select_from(dead_letter)).scalar_one() == 1
        assert offsets.stored(conn, here.stream_id, 0) == 1
