"""What retention lets go of dead letters: their bytes count, and the oldest go, but those that somebody is at."""

from __future__ import annotations

from datetime import timedelta

import pytest
import sqlalchemy as sa

from agent.retention import SUBJECT, Released, Retention
from agent.service import dead_letters as service
from agent.settings import Retention as Limits
from agent.store import commands, dead_letters
from agent.store.dead_letters import DeadLetter, NewDeadLetter
from agent.store.engine import reading, writing
from agent.store.errors import Conflict
from agent.store.references import NAMING
from agent.store.tables import blob, command, dead_letter, item
from tests.databases import NOW, Line, add_blob, sha
from tests.unit.test_retention import Heard

pytestmark = pytest.mark.usefixtures("each_database")
DAY = timedelta(days=1)
KB = 1e-6  # in GB


def _letter(here: Line, number: int, *, reason: str = "bad_header", age: timedelta = 10 * DAY) -> int:
    """A dead letter with a kilobyte of its own, or that of the item of this number."""
    with writing(here.engine) as conn:
        if conn.execute(sa.select(blob.c.sha256).where(blob.c.sha256 == sha(number))).first() is None:
            add_blob(conn, number)
        conn.execute(sa.update(blob).values(bytes=1000))
        new = NewDeadLetter(
            here.stream_id, 0, number, "press-1", reason, "", [], sha(number), sha(number), True, NOW - age
        )
        dead_letters.add_all(conn, [new])
        return int(conn.execute(sa.select(sa.func.max(dead_letter.c.id))).scalar_one())


def _failed(here: Line, number: int, state: str = "closed", age: timedelta = 10 * DAY) -> tuple[int, int]:
    """An item and a dead letter of one frame, which name the same bytes."""
    with writing(here.engine) as conn:
        made = here.add_item(conn, number, kind="failed", created_at=NOW - age)
        closed = {"state": state, "closed_at": NOW - age if state == "closed" else None}
        conn.execute(sa.update(item).where(item.c.id == made.id).values(**closed))
    return made.id, _letter(here, number, reason="undecodable", age=age)


def _with_bytes(here: Line) -> list[int]:
    """Dead letters that have theirs."""
    with reading(here.engine) as conn:
        found: list[DeadLetter] = dead_letters.recent(conn)
    return sorted(one.id for one in found if one.blob_sha256)


def _named(here: Line) -> set[str]:
    with reading(here.engine) as conn:
        return {one for column in NAMING for one in conn.execute(sa.select(column)).scalars() if one}


def _apply(here: Line, heard: Heard | None = None, **limits: float) -> Released:
    return Retention(here.engine, Limits.model_validate(limits), heard or Heard()).apply(NOW)


def test_the_bytes_of_a_failed_frame_are_free_once_its_dead_letter_lets_go_too(
    here: Line, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agent.retention.CHUNK", 1)
    _failed(here, 1)
    _, newer = _failed(here, 2, age=DAY)
    heard = Heard()
    assert _apply(here, heard, evidence_gb=2 * KB) == Released(), "item and dead letter count once"
    assert _apply(here, heard, evidence_gb=KB) == Released(items=1, dead_letters=1, bytes=1000)
    assert (_with_bytes(here), _named(here)) == ([newer], {sha(2)})
    assert heard.said == [("disk", SUBJECT, "cleared")] * 2


def test_frames_without_an_item_count_and_the_oldest_go(here: Line, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agent.retention.CHUNK", 2)
    ids = [_letter(here, n, age=(10 - n) * DAY) for n in range(5)]
    with writing(here.engine) as conn:
        assert dead_letters.keep_preview(conn, ids[0], add_blob(conn, 90))
        conn.execute(sa.update(blob).values(bytes=1000))
    heard = Heard()
    assert _apply(here, heard, evidence_gb=6 * KB) == Released()
    assert _apply(here, heard, evidence_gb=3 * KB) == Released(dead_letters=2, bytes=3000)
    assert _with_bytes(here) == ids[2:]
    with reading(here.engine) as conn:
        gone = dead_letters.get(conn, ids[0])
    assert (gone.blob_sha256, gone.preview_sha256, gone.value_sha256, gone.state) == (None, None, sha(0), "waiting")
    with pytest.raises(Conflict, match="nothing to see"):
        service.ask_preview(here.engine, here.engineer, ids[0], key="look", now=NOW)
    assert heard.said == [("disk", SUBJECT, "cleared")] * 2


def test_the_older_of_items_and_dead_letters_goes_first(here: Line, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agent.retention.CHUNK", 1)
    _letter(here, 1, age=9 * DAY)
    _failed(here, 2, age=8 * DAY)
    kept = [_letter(here, 3, age=7 * DAY), _failed(here, 4, age=6 * DAY)[1]]
    assert _apply(here, evidence_gb=2 * KB) == Released(items=1, dead_letters=2, bytes=2000)
    assert _with_bytes(here) == kept


@pytest.mark.parametrize("limits", [{"evidence_gb": KB / 2}, {"evidence_days": 5.0}])
def test_what_an_agent_was_asked_for_stays_until_it_is_done(here: Line, limits: dict[str, float]) -> None:
    replayed, shown, other = (_letter(here, n) for n in range(3))
    service.ask_replay(here.engine, here.engineer, [replayed], key="replay", now=NOW)
    service.ask_preview(here.engine, here.engineer, shown, key="show", now=NOW)
    heard = Heard()
    assert _apply(here, heard, **limits) == Released(dead_letters=1, bytes=1000)
    assert _with_bytes(here) == [replayed, shown] and other
    assert ("evidence_gb" in limits) == ("must be kept" in heard.said[0][2])
    with writing(here.engine) as conn:
        for kind in (service.REPLAY, service.PREVIEW):
            found = commands.next(conn, [kind])
            assert found
            commands.finish(conn, found.id, now=NOW)
        assert not conn.execute(sa.select(command.c.id).where(command.c.state.in_(commands.PENDING))).all()
    assert _apply(here, heard, **limits) == Released(dead_letters=2, bytes=2000)
    assert heard.said[-1] == ("disk", SUBJECT, "cleared")


def test_the_bytes_of_a_frame_that_waits_for_its_review_stay_replayable(here: Line) -> None:
    _, letter = _failed(here, 1, "open")
    heard = Heard()
    assert _apply(here, heard, evidence_gb=KB / 2, evidence_days=5) == Released()
    assert _with_bytes(here) == [letter]
    assert "must be kept" in heard.said[-1][2]
