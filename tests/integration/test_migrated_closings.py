"""What migrations make of closings that were counted before them."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy import Connection

from agent.service import reviews
from agent.store import closings, trends
from agent.store.closings import Judged
from agent.store.engine import downgrade, reading, upgrade, writing
from agent.store.scopes import Scope
from agent.store.tables import closing_day, closing_hour, item, review, rollup_hour, sample
from tests.databases import NOW, Line, line

both = pytest.mark.usefixtures("each_database")


@both
def test_closings_of_a_second_model_are_told_apart(tmp_path: Path) -> None:
    with line(tmp_path) as here:
        with writing(here.engine) as conn:
            verdicts = ("review", "pass", "pass", "pass")
            ids = [here.add_item(conn, n, verdict=one).id for n, one in enumerate(verdicts)]
        for item_id in ids[:3]:
            reviews.decide(here.engine, here.operator, item_id, "normal", key=f"k{item_id}", now=NOW)
        reviews.decide(here.engine, here.operator, ids[3], "defect", "dent", key="dent", now=NOW)
        span = (NOW - timedelta(hours=1), NOW + timedelta(hours=1))  # before 0026 days have no sums
        with reading(here.engine) as conn:
            counted = closings.counts(conn, *span)
        assert counted == {
            ("flagged", "normal", ""): 1, ("second", "normal", ""): 2, ("second", "defect", "dent"): 1,
        }  # fmt: skip
        downgrade(here.engine, "0021")
        with reading(here.engine) as conn:
            assert closings.counts(conn, *span) == {("flagged", "normal", ""): 3, ("flagged", "defect", "dent"): 1}
        upgrade(here.engine)
        with reading(here.engine) as conn:
            assert closings.counts(conn, *span) == counted


@both
def test_hours_and_days_are_summed_from_the_quarters(tmp_path: Path) -> None:
    def sums(conn: Connection) -> dict[str, list[tuple[object, ...]]]:
        tables = (rollup_hour, closing_hour, closing_day)
        return {one.name: sorted(map(tuple, conn.execute(sa.select(one)))) for one in tables}

    with line(tmp_path) as here:
        late = NOW.replace(hour=23, minute=50)
        times = [NOW, NOW + timedelta(minutes=20), NOW + timedelta(hours=1), late, late + timedelta(minutes=20)]
        with writing(here.engine) as conn:
            seen = [here.inspection(n, "review", event_at=at, lot="L7") for n, at in enumerate(2 * times)]
            trends.add_inspections(conn, seen)
            kinds = ("flagged", "flagged", "audit", "flagged", "failed")
            ids = [
                here.add_item(conn, n, kind=kind, verdict="pass" if kind == "audit" else "review", event_at=at).id
                for n, (kind, at) in enumerate(zip(kinds, times, strict=True))
            ]
        for item_id, (decision, reason) in zip(ids, 2 * [("normal", None), ("defect", "dent")], strict=False):
            reviews.decide(here.engine, here.operator, item_id, decision, reason, key=f"k{item_id}", now=NOW)
        reviews.decide(here.engine, here.operator, ids[4], "defect", "crack", key="failed", now=NOW)
        reviews.undo(here.engine, here.operator, ids[1], key="undo", now=NOW)
        with reading(here.engine) as conn:
            written = sums(conn)
        assert {name: len(found) for name, found in written.items()} == {
            "rollup_hour": 4, "closing_hour": 3, "closing_day": 4,
        }  # fmt: skip
        downgrade(here.engine, "0025")
        upgrade(here.engine)
        with reading(here.engine) as conn:
            assert sums(conn) == written


@both
def test_closings_are_counted_anew_from_the_items(tmp_path: Path) -> None:
    with line(tmp_path) as here:
        with writing(here.engine) as conn:
            kinds = ("flagged", "flagged", "audit", "flagged")
            ids = [
                here.add_item(conn, n, kind=kind, verdict="pass" if kind == "audit" else "review", lot="L7").id
                for n, kind in enumerate(kinds)
            ]
        for item_id, decision, reason in zip(ids, ("normal", "defect", "normal"), (None, "dent", None), strict=False):
            reviews.decide(here.engine, here.operator, item_id, decision, reason, key=f"k{item_id}", now=NOW)
        reviews.decide(here.engine, here.operator, ids[3], "unsure", key="unsure", now=NOW)
        span = (NOW - timedelta(days=1), NOW + timedelta(days=1))
        with reading(here.engine) as conn:
            counted = closings.counts(conn, *span, Scope(lot="L7"))
        assert counted == {
            ("audit", "normal", ""): 1, ("flagged", "defect", "dent"): 1, ("flagged", "normal", ""): 1,
        }  # fmt: skip
        downgrade(here.engine, "0007")
        with reading(here.engine) as conn:
            sums = conn.execute(sa.text("SELECT decision, reason, n FROM review_rollup ORDER BY decision")).all()
        assert [tuple(one) for one in sums] == [("defect", "dent", 1), ("normal", "", 2)]
        upgrade(here.engine)
        with reading(here.engine) as conn:
            assert closings.counts(conn, *span, Scope(lot="L7")) == counted


LATER = NOW + timedelta(minutes=30)


def _close_as_before(here: Line, ids: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    """As the program did that counted a flagged part as audited where it was drawn, too; the second one is a defect."""
    with monkeypatch.context() as patched:
        patched.setattr(closings, "_kind", lambda one: one.kind)
        for at, item_id in enumerate(ids):
            decision = ("defect", "dent") if at == 1 else ("normal", None)
            reviews.decide(here.engine, here.operator, item_id, *decision, key=f"old{at}", now=NOW)


@both
def test_flagged_parts_that_were_drawn_are_counted_as_flagged_whenever_they_were_closed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a quarter hour whose items are not all there any more, and nothing tells what they were, the counts stay."""
    span = (NOW - timedelta(days=1), NOW + timedelta(days=1))
    with line(tmp_path) as here:
        with writing(here.engine) as conn:
            seen: list[dict[str, Any]] = [
                {"verdict": "review"}, {"verdict": "reject"}, {"verdict": "review"}, {"verdict": "pass"},
                {"verdict": "review", "event_at": LATER}, {"verdict": "review", "event_at": LATER},
            ]  # fmt: skip
            ids = [here.add_item(conn, n, kind="audit", lot="L7", **one).id for n, one in enumerate(seen)]
            flagged = here.add_item(conn, 9, lot="L7").id
        reviews.decide(here.engine, here.operator, flagged, "normal", key="flagged", now=NOW)
        _close_as_before(here, ids, monkeypatch)
        for at in (1, 2):
            reviews.undo(here.engine, here.operator, ids[at], key=f"undo{at}", now=NOW)
        reviews.decide(here.engine, here.operator, ids[1], "defect", "crack", key="again", now=NOW)
        with writing(here.engine) as conn:
            for table in (sample, review):
                conn.execute(sa.delete(table).where(table.c.item_id == ids[4]))
            conn.execute(sa.delete(item).where(item.c.id == ids[4]))
        with reading(here.engine) as conn:
            wrong = closings.counts(conn, *span)
        assert (wrong["flagged", "defect", "dent"], wrong["audit", "defect", "dent"]) == (-1, 1)
        for _ in range(2):
            downgrade(here.engine, "0032")
            upgrade(here.engine)
            with reading(here.engine) as conn:
                assert closings.counts(conn, *span) == {
                    ("flagged", "normal", ""): 2, ("flagged", "defect", "crack"): 1, ("audit", "normal", ""): 3,
                }  # fmt: skip
                quarters, hours = (closings.series(conn, *span, width) for width in ("quarter", "hour"))
            assert list(quarters.values()) == [Judged(3, 2, 1), Judged(0, 0, 0)]
            assert list(hours.values()) == [Judged(3, 2, 1)]
        reviews.undo(here.engine, here.operator, ids[0], key="undo", now=NOW)
        with reading(here.engine) as conn:
            assert closings.judged(conn, *span, "lot") == {"L7": Judged(2, 1, 1)}
