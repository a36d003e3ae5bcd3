from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from agent.chores import Chore, Chores
from agent.store import leases
from agent.store.errors import Unreachable
from tests.databases import NOW, database


class Time:
    def __init__(self) -> None:
        self.seconds = 0.0

    def clock(self) -> datetime:
        return NOW + timedelta(seconds=self.seconds)

    def monotonic(self) -> float:
        return self.seconds


@pytest.mark.usefixtures("each_database")
def test_two_agents_do_a_chore_once_in_its_time(tmp_path: Path) -> None:
    time, done = Time(), []
    with database(tmp_path) as engine:

        def agent(name: str) -> Chores:
            chore = Chore("sweep", 60, lambda now: done.append((name, now)))
            return Chores(engine, [chore], holder=name, clock=time.clock, monotonic=time.monotonic)

        first, second = agent("a"), agent("b")
        for _ in range(4):
            first.do_due()
            second.do_due()
            time.seconds += 30
    assert done == [("a", NOW), ("a", NOW + timedelta(seconds=60))]


@pytest.mark.usefixtures("each_database")
def test_a_clock_that_was_ahead_once_does_not_stop_the_chores(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    time, done, ahead = Time(), [], timedelta(hours=8)
    monkeypatch.setattr(leases, "monotonic", time.monotonic)
    with database(tmp_path) as engine:

        def agent(name: str, clock: Callable[[], datetime]) -> Chores:
            chore = Chore("watch", 60, lambda now: done.append((name, now)))
            return Chores(engine, [chore], holder=name, clock=clock, monotonic=time.monotonic)

        first, second = agent("a", lambda: time.clock() + ahead), agent("b", time.clock)
        for _ in range(6):
            first.do_due()
            second.do_due()
            time.seconds, ahead = time.seconds + 60, timedelta(0)
    assert done[0] == ("a", NOW + timedelta(hours=8))
    assert [at for _, at in done[1:]] == [NOW + timedelta(seconds=seconds) for seconds in (120, 180, 240, 300)]


def test_a_chore_that_fails_is_tried_again_and_holds_up_no_other(tmp_path: Path) -> None:
    time, done = Time(), []
    errors = iter([ValueError("broken"), Unreachable("away")])

    def fails(now: datetime) -> None:
        if error := next(errors, None):
            raise error
        done.append("first")

    with database(tmp_path) as engine:
        chores = [Chore("first", 10, fails), Chore("second", 10, lambda now: done.append("second"))]
        here = Chores(engine, chores, holder="a", clock=time.clock, monotonic=time.monotonic)
        for _ in range(3):
            here.do_due()
            time.seconds += 10
    assert done == ["second", "second", "first", "second"]


def test_a_stopped_thread_starts_no_further_chore(tmp_path: Path) -> None:
    with database(tmp_path) as engine:
        done: list[datetime] = []
        here = Chores(engine, [Chore("sweep", 10, done.append)], holder="a", clock=lambda: NOW)
        here.start()
        here.stop(10)
        before = len(done)
        here.do_due()
        assert len(done) == before
