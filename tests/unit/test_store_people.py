"""Users, products, leases, commands and the audit trail."""

from __future__ import annotations

import threading
from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.store import audit, commands, leases, products, stations, users
from agent.store.engine import Conflict, Fenced, NotFound, open_engine, reading, writing
from agent.store.leases import Lease
from agent.store.tables import audit_event
from tests.databases import NOW, Line, database, line

MINUTE = timedelta(minutes=1)


pytestmark = pytest.mark.usefixtures("each_database")


def test_names_are_unique_and_the_retired_are_hidden(here: Line) -> None:
    with writing(here.engine) as conn:
        with pytest.raises(Conflict, match="already a product named 'flange'"):
            products.add(conn, "flange", now=NOW)
        with pytest.raises(Conflict, match="already a station"):
            stations.add(conn, "press-1", now=NOW)
        with pytest.raises(Conflict, match="already a user"):
            users.add(conn, "admin", "viewer", NOW)
        products.retire(conn, here.product_id, NOW)
        stations.change(conn, here.station_id, retired_at=NOW)
        users.disable(conn, here.viewer.id, NOW)
        assert products.all(conn) == []
        assert stations.all(conn) == []
        assert [user.name for user in users.all(conn)] == ["admin", "engineer", "operator"]
        assert len(users.all(conn, disabled=True)) == 4
        assert products.all(conn, retired=True)[0].retired_at == NOW
        assert stations.all(conn, retired=True)[0].name == "press-1"
        assert users.named(conn, "viewer").disabled_at == NOW
        assert products.find(conn, "none") is None


def test_what_is_not_there_is_not_found(here: Line) -> None:
    with writing(here.engine) as conn:
        for act in (
            lambda: products.get(conn, 99),
            lambda: products.change(conn, 99, teacher="resnet18"),
            lambda: stations.named(conn, "x"),
            lambda: users.change_role(conn, 99, "admin"),
            lambda: commands.get(conn, 99),
        ):
            with pytest.raises(NotFound):
                act()


def test_a_change_keeps_what_it_does_not_name(here: Line) -> None:
    with writing(here.engine) as conn:
        products.change(conn, here.product_id, teacher="resnet18", review_rate=0.02, input={"fit": "letterbox"})
        products.change(conn, here.product_id, teacher=None)
        found = products.get(conn, here.product_id)
        assert (found.teacher, found.review_rate, found.input) == (None, 0.02, {"fit": "letterbox"})
        products.change(conn, here.product_id, input=None)
        assert conn.execute(sa.text("SELECT count(*) FROM product WHERE input IS NULL")).scalar_one() == 1
        stations.change(conn, here.station_id, audit_rate=0.0)
        assert stations.get(conn, here.station_id).product_id == here.product_id


ACT = st.tuples(st.sampled_from(["acquire", "renew", "release", "check"]), st.integers(0, 2), st.integers(0, 90))


@settings(max_examples=30, deadline=None)
@given(acts=st.lists(ACT, max_size=12))
def test_at_most_one_holder_has_a_lease_and_tokens_only_rise(acts: list[tuple[str, int, int]]) -> None:
    """Against a model: who holds it and until when; time passes between acts."""
    with TemporaryDirectory() as folder, database(Path(folder)) as engine:
        now, until, owner, highest = NOW, NOW, -1, 0
        held: dict[int, Lease] = {}
        for act, who, seconds in acts:
            now += timedelta(seconds=seconds)
            mine = who in held and who == owner
            with writing(engine) as conn:
                if act == "acquire":
                    got = leases.acquire(conn, "trainer", f"agent-{who}", MINUTE, now)
                    assert (got is not None) == (until <= now)
                    if got:
                        assert got.token > highest
                        held[who], owner, until, highest = got, who, now + MINUTE, got.token
                elif act == "renew" and who in held:
                    if mine:
                        held[who] = leases.renew(conn, held[who], MINUTE, now)
                        until = now + MINUTE
                    else:
                        with pytest.raises(Fenced):
                            leases.renew(conn, held[who], MINUTE, now)
                elif act == "release" and who in held:
                    leases.release(conn, held[who], now)
                    if mine:
                        until, owner = now, -1
                elif act == "check" and who in held:
                    if mine and now < until:
                        leases.check(conn, held[who], now)
                    else:
                        with pytest.raises(Fenced):
                            leases.check(conn, held[who], now)


def test_a_lease_whose_end_is_far_ahead_is_free_once_nothing_changes_in_it(
    here: Line, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its holder's clock was eight hours ahead; the clock of who waits may be behind as well."""
    seconds, ahead, behind = 0.0, NOW + timedelta(hours=8), NOW - timedelta(hours=8)
    monkeypatch.setattr(leases, "monotonic", lambda: seconds)
    with writing(here.engine) as conn:
        held = leases.acquire(conn, "chore", "a", MINUTE, ahead)
        assert held
        for _ in range(3):
            assert leases.acquire(conn, "chore", "b", MINUTE, behind) is None
            seconds += 100
            held = leases.renew(conn, held, MINUTE, ahead + timedelta(seconds=seconds))
        assert leases.acquire(conn, "chore", "b", MINUTE, NOW) is None, "its holder is alive"
        seconds += 119
        assert leases.acquire(conn, "chore", "b", MINUTE, NOW) is None
        seconds += 1
        taken = leases.acquire(conn, "chore", "b", MINUTE, NOW)
        assert taken and taken.token == held.token + 1
        assert leases.acquire(conn, "chore", "a", MINUTE, behind) is None
        with pytest.raises(Fenced):
            leases.check(conn, held, NOW)


def test_a_lease_that_was_given_back_is_free_whatever_the_clock_said_then(here: Line) -> None:
    with writing(here.engine) as conn:
        held = leases.acquire(conn, "retrain", "a", MINUTE, NOW + timedelta(hours=8))
        assert held
        leases.release(conn, held, NOW + timedelta(hours=8))
        assert leases.acquire(conn, "retrain", "b", MINUTE, NOW)


def test_of_many_threads_on_two_engines_one_gets_the_lease(tmp_path: Path) -> None:
    with database(tmp_path) as engine:
        other = open_engine(str(engine.url))
        got: list[Lease | None] = []

        def acquire(number: int) -> None:
            with writing((engine, other)[number % 2]) as conn:
                got.append(leases.acquire(conn, "trainer", f"agent-{number}", MINUTE, NOW))

        threads = [threading.Thread(target=acquire, args=(number,)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        (first,) = [one for one in got if one]
        with writing(other) as conn:
            taken = leases.acquire(conn, "trainer", "late", MINUTE, NOW + MINUTE)
            assert taken is not None
            assert taken.token == first.token + 1
        with pytest.raises(Fenced, match="taken by someone else"), writing(engine) as conn:
            leases.renew(conn, first, MINUTE, NOW)
        other.dispose()


def test_commands_are_taken_once_in_order(here: Line) -> None:
    with writing(here.engine) as conn:
        first = commands.add(conn, "retrain", {"product_id": 1}, here.engineer.id, NOW)
        second = commands.add(conn, "replay", {}, here.engineer.id, NOW)
        commands.add(conn, "retrain", {"product_id": 2}, here.engineer.id, NOW)
        taken = commands.next(conn, ["retrain"])
        assert taken is not None
        assert (taken.id, taken.state, taken.args) == (first, "running", {"product_id": 1})
        commands.finish(conn, first, result={"run": 7}, now=NOW)
        commands.finish(conn, commands.next(conn, ["replay"]).id, failed=True, now=NOW)  # type: ignore[union-attr]
        assert commands.next(conn, ["replay"]) is None
        assert [one.state for one in commands.recent(conn)] == ["queued", "failed", "done"]
        assert commands.get(conn, second).finished_at == NOW
        with pytest.raises(Conflict, match="not running"):
            commands.finish(conn, first, now=NOW)


EVENT = st.tuples(
    st.sampled_from(["review.decide", "model.promote"]),
    st.dictionaries(
        st.text(max_size=5),
        st.one_of(st.integers(), st.floats(allow_nan=False, allow_infinity=False), st.text(max_size=5)),
    ),
)
TAMPERINGS: list[dict[str, object]] = [
    {"action": "review.undo"},
    {"subject": "item:2"},
    {"detail": {"changed": True}},
    {"at": NOW + timedelta(microseconds=1)},
    {"user_id": None},
    {"hash": "f" * 64},
    {"previous": "e" * 64},
]


@settings(max_examples=25, deadline=None)
@given(events=st.lists(EVENT, min_size=1, max_size=6), data=st.data())
def test_any_change_of_the_past_shows_in_the_audit_trail(
    events: list[tuple[str, dict[str, object]]], data: st.DataObject
) -> None:
    with TemporaryDirectory() as folder, line(Path(folder)) as here:
        with writing(here.engine) as conn:
            hashes = [audit.append(conn, here.operator.id, action, "item:1", detail, NOW) for action, detail in events]
            assert audit.verify(conn) is None
            assert audit.last(conn) == hashes[-1]
            assert [event.hash for event in audit.recent(conn)] == hashes[::-1]
        place = data.draw(st.integers(0, len(events) - 1))
        tampering = data.draw(st.sampled_from([*TAMPERINGS, None]))
        at = audit_event.c.hash == hashes[place]
        with writing(here.engine) as conn:
            wanted = conn.execute(sa.select(audit_event.c.id).where(at)).scalar_one()
            if tampering is not None:
                conn.execute(sa.update(audit_event).where(at).values(tampering))
                assert audit.verify(conn) == wanted
            elif place < len(events) - 1:
                conn.execute(sa.delete(audit_event).where(at))
                assert audit.verify(conn) == wanted + 1


def test_a_chain_longer_than_a_page_is_walked_to_its_end(here: Line, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audit, "PAGE", 3)
    with writing(here.engine) as conn:
        for number in range(7):
            audit.append(conn, None, "x", "y", {"b": (number,), "a": {"é": 1.5}}, NOW)
        assert audit.verify(conn) is None
        conn.execute(sa.update(audit_event).where(audit_event.c.id == 7).values(subject="z"))
        assert audit.verify(conn) == 7


def test_the_trail_is_searched_by_who_what_and_whom_page_by_page(here: Line) -> None:
    with writing(here.engine) as conn:
        for number in range(6):
            by = here.operator.id if number % 2 else None
            audit.append(conn, by, f"act.{number % 3}", f"item:{number}", {}, NOW)

        def subjects(**asked: Any) -> list[str]:
            return [one.subject for one in audit.recent(conn, **asked) if one.action.startswith("act.")]

        assert subjects(user_id=here.operator.id) == ["item:5", "item:3", "item:1"]
        assert subjects(action="act.0") == ["item:3", "item:0"]
        assert subjects(subject="item:4", user_id=here.operator.id) == []
        first = audit.recent(conn, 2)
        assert subjects(limit=2, before=first[-1].id) == ["item:3", "item:2"]
        assert {"act.0", "act.1", "act.2"} <= set(audit.actions(conn))


def test_reading_the_trail_needs_no_writer(here: Line) -> None:
    with reading(here.engine) as conn:
        assert (audit.verify(conn), audit.last(conn)) == (None, audit.FIRST)
