"""The store of alerts: one open row per kind and subject, and which messages are due of it."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from itertools import pairwise
from pathlib import Path
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine

from agent.service import PermissionDenied
from agent.service import alerts as service
from agent.store import alerts, audit
from agent.store.alerts import LONGEST, QUIET, Alert, fitted
from agent.store.engine import reading, writing
from agent.store.errors import Conflict, NotFound
from tests.databases import NOW, Line, line

pytestmark = pytest.mark.usefixtures("each_database")
BLIND = ("station_blind", "station:press-1")


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory, each_database: None) -> Iterator[Line]:
    with line(tmp_path_factory.mktemp("alerts")) as made:
        yield made


def at(minutes: float) -> datetime:
    return NOW + timedelta(minutes=minutes)


class Teller:
    """Raises, ends and sends about one subject, as agents and their webhook do."""

    def __init__(self, engine: Engine, subject: str, *, event: bool = False) -> None:
        self.engine, self.key, self.event = engine, ("data_gap" if event else "station_blind", subject), event

    def raised(self, minutes: float, words: str = "w", n: int = 1) -> Alert | None:
        with writing(self.engine) as conn:
            return alerts.raise_(
                conn, *self.key, words, level="error", detail={"a": n}, event=self.event, n=n, now=at(minutes)
            )

    def cleared(self, minutes: float) -> Alert | None:
        with writing(self.engine) as conn:
            return alerts.clear(conn, *self.key, at(minutes))

    def due(self, minutes: float) -> list[Alert]:
        with reading(self.engine) as conn:
            return [one for one in alerts.due(conn, at(minutes), 1000) if one.subject == self.key[1]]

    def send(self, minutes: float) -> list[str]:
        due = self.due(minutes)
        with writing(self.engine) as conn:
            for one in due:
                assert alerts.take(conn, one, "m", at(minutes + 1))
                alerts.sent(conn, one, at(minutes))
        return [one.state for one in due]

    def open(self) -> list[Alert]:
        with reading(self.engine) as conn:
            return [one for one in alerts.standing(conn) if one.subject == self.key[1]]


def test_an_open_alert_is_counted_and_told_once(here: Line) -> None:
    press = Teller(here.engine, "station:a")
    opened = press.raised(0, "20 frames")
    assert opened is not None
    assert (opened.state, opened.n, opened.opened_at) == ("open", 1, NOW)
    assert press.raised(1, "25 frames", n=3) is None
    (found,) = press.open()
    assert (found.id, found.n, found.words, found.detail, found.seen_at) == (opened.id, 4, "25 frames", {"a": 3}, at(1))
    assert press.send(1) == ["open"]
    assert press.raised(2) is None
    assert press.due(60) == []
    ended = press.cleared(3)
    assert ended is not None and ended.closed_at == at(3)
    assert press.cleared(4) is None
    assert press.send(4) == ["over"]
    assert press.due(9999) == []


def test_an_end_is_told_only_where_the_beginning_was(here: Line) -> None:
    press = Teller(here.engine, "station:b")
    press.raised(0)
    press.cleared(1)
    assert press.due(9999) == []


def test_an_alert_that_ends_while_its_message_is_under_way_tells_of_its_end(here: Line) -> None:
    press = Teller(here.engine, "station:c")
    press.raised(0)
    (due,) = press.due(0)
    with writing(here.engine) as conn:
        assert alerts.take(conn, due, "m", at(1))
        assert not alerts.take(conn, due, "m", at(1)), "another agent must not send it too"
    press.cleared(0.5)
    with writing(here.engine) as conn:
        alerts.sent(conn, due, at(0.6))
    assert press.send(1) == ["over"]


def test_what_comes_back_soon_goes_on_and_tells_nobody_twice_in_the_quiet_time(here: Line) -> None:
    press = Teller(here.engine, "station:d")
    first = press.raised(0)
    assert press.send(0) == ["open"]
    press.cleared(1)
    again = press.raised(1.1)  # before anybody was told of the end: nobody needs to be told anything
    assert first is not None and again is not None
    assert (again.id, again.closed_at, press.due(9999)) == (first.id, None, [])
    press.cleared(2)
    assert press.send(2) == ["over"]
    second = press.raised(3)
    assert second is not None and second.id != first.id
    assert press.due(11.9) == []
    press.cleared(4)
    assert press.raised(5) is not None
    assert [one.id for one in press.open()] == [second.id]
    assert press.due(11.9) == []
    assert press.send(12.1) == ["open"]


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=st.lists(st.tuples(st.sampled_from(["raise", "clear", "send"]), st.floats(0.01, 4)), max_size=14))
def test_however_it_flaps_messages_alternate_and_openings_are_quiet_apart(
    here: Line, steps: list[tuple[str, float]]
) -> None:
    """Whoever hears the messages knows the state at the end, after a quiet time."""
    press = Teller(here.engine, f"station:{uuid4()}")
    minutes, is_open, heard = 0.0, False, []
    for what, pause in [*steps, ("send", 2 * QUIET.total_seconds() / 60)]:
        minutes += pause
        if what == "raise":
            press.raised(minutes)
            is_open = True
        elif what == "clear":
            press.cleared(minutes)
            is_open = False
        else:
            heard += [(state, minutes) for state in press.send(minutes)]
    assert [one.state for one in press.open()] == ["open"] * is_open
    assert [state for state, _ in heard] == ["open", "over"] * (len(heard) // 2) + ["open"] * (len(heard) % 2)
    assert (len(heard) % 2 == 1) == is_open
    openings = [when for state, when in heard if state == "open"]
    assert all(later - earlier >= 10 - 1e-6 for earlier, later in pairwise(openings))


def test_a_message_is_tried_again_until_it_is_given_up(here: Line) -> None:
    press = Teller(here.engine, "station:e")
    press.raised(0)
    (due,) = press.due(0)
    with writing(here.engine) as conn:
        alerts.take(conn, due, "m", at(5))
    assert press.due(4.9) == []
    (again,) = press.due(5)
    assert (again.id, again.attempts) == (due.id, 1)
    with writing(here.engine) as conn:
        alerts.take(conn, again, "m", at(9))
        alerts.give_up(conn, again)
    assert press.due(9999) == []
    assert [one.attempts for one in press.open()] == [2]


def test_of_what_was_sent_together_all_are_due_or_none(here: Line) -> None:
    tellers = [Teller(here.engine, f"station:together-{n}") for n in range(6)]
    for minutes, press in enumerate(tellers):
        press.raised(minutes)
    with reading(here.engine) as conn:
        first, *others, last = alerts.due(conn, at(9), 99)
    with writing(here.engine) as conn:
        for message, one in [("alone", first), *(("both", one) for one in others[:2])]:
            assert alerts.take(conn, one, message, at(0.5 if message == "alone" else 1.5))
    with reading(here.engine) as conn:
        found = {limit: [one.message for one in alerts.due(conn, at(9), limit)] for limit in (2, 3, 4)}
    assert found == {2: ["alone"], 3: ["alone", "both", "both"], 4: ["alone", "both", "both", None]}
    tellers[1].cleared(1)
    with reading(here.engine) as conn:
        assert [one.message for one in alerts.due(conn, at(9), 2)] == ["alone", "both"], "what is over is left out"
        assert alerts.due(conn, at(9), 9)[-1] == last


def test_who_has_seen_it_and_that_an_event_ends_with_it(here: Line) -> None:
    condition, event = Teller(here.engine, "station:f"), Teller(here.engine, "partition:t/0", event=True)
    one, other = condition.raised(0), event.raised(0)
    assert one is not None and other is not None
    assert event.send(0) == ["open"]
    with pytest.raises(PermissionDenied):
        service.acknowledge(here.engine, here.viewer, one.id, key="f0", now=at(1))
    seen = service.acknowledge(here.engine, here.operator, one.id, key="f1", now=at(1))
    assert (seen.acknowledged_by, seen.acknowledged_at, seen.closed_at) == (here.operator.id, at(1), None)
    assert service.acknowledge(here.engine, here.operator, one.id, key="f1", now=at(2)) == seen
    with pytest.raises(Conflict, match="somebody has acknowledged it"):
        service.acknowledge(here.engine, here.engineer, one.id, key="f2", now=at(2))
    closed = service.acknowledge(here.engine, here.operator, other.id, key="f3", now=at(1))
    assert closed.closed_at == at(1)
    assert event.send(1) == ["over"]
    assert event.raised(2) is not None, "what happens after that is another one"
    assert [found.id != other.id for found in event.open()] == [True]
    condition.cleared(3)
    with pytest.raises(Conflict, match="somebody has"):
        service.acknowledge(here.engine, here.engineer, one.id, key="f4", now=at(4))
    with pytest.raises(NotFound):
        service.acknowledge(here.engine, here.engineer, 10**6, key="f5", now=at(4))
    with reading(here.engine) as conn:
        told = [(found.action, found.subject) for found in audit.recent(conn)]
    assert told == [("alert.acknowledge", f"alert:{other.id}"), ("alert.acknowledge", f"alert:{one.id}")]


def test_lists_put_errors_first_and_count_by_kind(tmp_path: Path) -> None:
    with line(tmp_path) as made:
        with writing(made.engine) as conn:
            for level, subject in (("warning", "x"), ("error", "y"), ("warning", "z")):
                alerts.raise_(conn, "disk", subject, "w", level=level, detail={}, event=False, now=NOW)
            alerts.clear(conn, "disk", "z", NOW)
        with reading(made.engine) as conn:
            assert [one.subject for one in alerts.standing(conn)] == ["y", "x"]
            assert [one.subject for one in alerts.recent(conn, 2)] == ["z", "y"]
            assert alerts.counts(conn) == {"disk": 2}


def test_subjects_of_any_length_are_kept_apart(here: Line) -> None:
    long = "station:" + "n" * 300
    one, other = Teller(here.engine, long + "1"), Teller(here.engine, long + "2")
    assert one.raised(0) is not None and other.raised(0) is not None
    assert len(fitted(long)) == LONGEST
    assert fitted(fitted(long)) == fitted(long)
    assert one.cleared(1) is not None and other.cleared(1) is not None
